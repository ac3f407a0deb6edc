public import struct Foundation.Date

/// Whether a cartridge can be used.
public enum CartridgeState: String, FieldWord {
    /// Its files are there and are those of this cartridge.
    case ready
    /// It is read, but not written: data that were written are lost, and nobody has acknowledged that.
    case dataLost = "data lost"
    /// Its files are not there.
    case missing
    /// Its files cannot be read, or contradict themselves or the catalog.
    case damaged
    /// The host does not let its files be used now: its file system is full or read-only, its storage fails.
    case unavailable
    /// It was being made when the daemon or the file system failed; the next start removes it.
    case creating = "being made"
    /// It is deleted, but files are left; the next start, or another deletion, removes them.
    case deleting = "being deleted"
}

/// A cartridge of a library.
public enum Cartridge: ResourceKind {
    /// The native capacities: from room for the early warning zone and some data on.
    public static let sizes: ClosedRange<Int64> = (1 << 20)...(1 << 50)

    public struct Spec: Record {
        /// The native capacity in bytes; that of the kind that the barcode's ending means when nil.
        public var size: Int64?
        /// Where it lies when no drive has it: `slot:3`, `mail:1` or `vault`; nil when it is in a drive and no slot is
        /// kept for it.
        public var home: String?

        public init() {}

        public init(size: Int64?, home: String? = nil) {
            self.size = size
            self.home = home
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "size", \.size, .size(sizes), column: "SIZE",
                help: "The capacity, as in 100GiB; that of its kind if left out."),
            Field(
                "home", \.home, .text(.home), change: .always,
                help: "Where it lies when no drive has it: slot:3, mail:1 or vault; the first free slot if left out."),
        ]
    }

    public struct Status: Record {
        /// Where it is: `slot:3` or `vault`.
        public var place = ""
        /// Whether it can be used.
        public var state = CartridgeState.ready
        /// The slot it was last taken from; nil when it has been in none.
        public var source: String?
        /// The format of its medium, and whether it is WORM; nil where that was not asked for or is not known.
        public var medium: String?
        /// How many bytes of it are written; nil where that was not asked for or is not known.
        public var used: Int64?
        /// The medium's serial number (MAM attribute 0401h), unique in the catalog.
        public var serialNumber = ""
        /// When it was made.
        public var created = Date(timeIntervalSince1970: 0)
        /// Why it cannot be used, or not written, and what to do; nil when it can, as far as is known without loading
        /// it.
        public var problem: String?
        /// What was lost of it; nil without a loss.
        public var loss: LossSummary?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("place", \.place, .text(.any("place")), .required, column: "PLACE", help: "Where it is."),
            Field("state", \.state, CartridgeState.type, .required, column: "STATE", help: "Whether it can be used."),
            Field("source", \.source, .text(.element), help: "The slot it was last taken from."),
            Field("medium", \.medium, .text(.any("kind")), help: "The format of its medium, and whether it is WORM."),
            Field("used", \.used, .size(0...Int64.max), help: "How much of it is written."),
            Field(
                "serialNumber", \.serialNumber, .text(.any("text")), .required,
                help: "The medium's serial number (MAM attribute 0401h)."),
            Field("created", \.created, .date, .required, help: "When it was made."),
            Field(
                "problem", \.problem, .text(.any("sentence")),
                help: "Why it cannot be used, or not written, and what to do."),
            Field(
                "loss", \.loss, LossSummary.type, help: "Written data that were lost, which nobody has acknowledged."),
        ]
    }

    public static let description = KindDescription(
        Cartridge.self, "cartridge", "cartridges", command: "tape",
        help: "List, show, make, place and delete cartridges, and acknowledge a loss of data.",
        naming: .part(of: .name(of: "library"), .barcode), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .show: "With how much of it is written.",
            .create: """
            It is empty, and lies in the first free slot of the library unless --home says another place. The last two \
            characters of its barcode say what kind of cartridge it is: L8 and L7 are LTO-8 and LTO-7, M8 is LTO-7 in \
            the denser format of LTO-8 drives, LY and LX are WORM.
            """,
            .set: "Puts it into another place, which is empty. One in a drive is refused.",
            .delete: "One in a drive is refused.",
        ], deletionIsDestructive: true)

    public static func summary(_ cartridge: Resource<Cartridge>) -> String {
        let barcode = cartridge.name.split(separator: "/").last ?? ""
        let size = cartridge.spec.size.map { " of \(ByteSize.format($0))" } ?? ""
        return "cartridge \(barcode)\(size) is in \(cartridge.status.place)"
    }

    public static var actions: [any ResourceAction.Type] { [AcknowledgeLoss.self] }

    public enum AcknowledgeLoss: ResourceAction {
        public typealias Kind = Cartridge
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "acknowledge-loss", Arguments.self,
            help: "Say that a loss of written data is known, so that the cartridge can be written again.",
            discussion: """
                When the host could not make written data durable, the cartridge ends where durability ended, and \
                refuses to be written until then.
                """)
    }
}
