public import struct Foundation.Date

/// A tape library: a target with the medium changer (SMC) at logical unit 0 and its drives from 1 on.
public enum Library: ResourceKind {
    public static let maximumDrives: Int64 = 64
    /// Of storage elements.
    public static let maximumSlots: Int64 = 8192
    /// Of import/export elements.
    public static let maximumMailSlots: Int64 = 255

    public struct Spec: Record {
        /// The name of its library profile.
        public var profile = ""
        /// How many drives it has, from 1 on.
        public var drives = 1
        /// The name of the profile of its drives.
        public var driveProfile = ""
        /// How many storage elements it has.
        public var slots = 1
        /// How many import/export elements it has.
        public var mailSlots = 0
        /// How many cartridges it is made with, in the first slots.
        public var cartridges = 0
        /// The barcode of the first of these; the others count up. When nil, the first one that no library uses.
        public var firstBarcode: String?
        /// The native capacity of these in bytes; that of its kind when nil.
        public var cartridgeSize: Int64?

        public init() {}

        public init(
            profile: String, drives: Int, driveProfile: String, slots: Int, mailSlots: Int = 0, cartridges: Int = 0,
            firstBarcode: String? = nil, cartridgeSize: Int64? = nil
        ) {
            self.profile = profile
            self.drives = drives
            self.driveProfile = driveProfile
            self.slots = slots
            self.mailSlots = mailSlots
            self.cartridges = cartridges
            self.firstBarcode = firstBarcode
            self.cartridgeSize = cartridgeSize
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "profile", \.profile, .text(.any("profile")), .required, column: "PROFILE",
                help: "The library profile, as in ibm-03584l32."),
            Field(
                "drives", \.drives, .count(1...maximumDrives), .required, column: "DRIVES", help: "How many drives."),
            Field(
                "driveProfile", \.driveProfile, .text(.any("profile")), .required,
                help: "The profile of the drives, as in ibm-ult3580-td8."),
            Field("slots", \.slots, .count(1...maximumSlots), .required, column: "SLOTS", help: "How many slots."),
            Field(
                "mailSlots", \.mailSlots, .count(0...maximumMailSlots), .required, column: "MAIL",
                help: "How many mail slots."),
            Field(
                "cartridges", \.cartridges, .count(0...maximumSlots), .withDefault(0), change: .onlyAtCreation,
                help: "How many cartridges to put into the first slots."),
            Field(
                "firstBarcode", \.firstBarcode, .text(.barcode), change: .onlyAtCreation,
                help: "The first barcode; V00001L8, or the one behind those of other libraries, if left out."),
            Field(
                "cartridgeSize", \.cartridgeSize, .size(Cartridge.sizes), change: .onlyAtCreation,
                help: "The capacity of each, as in 100GiB; that of its kind if left out."),
        ]
    }

    public struct Status: Record {
        /// Whether it is served.
        public var state = ServiceState.serving
        /// How many of its cartridges are in the library.
        public var cartridges = 0
        /// How many of its cartridges are in the vault.
        public var exported = 0
        /// How many sessions are logged in.
        public var sessions = 0
        /// The iSCSI name of the target.
        public var target = ""
        /// The unit serial number of the changer (VPD page 80h).
        public var serialNumber = ""
        /// The NAA designator of the changer (VPD page 83h), 16 hexadecimal digits.
        public var naa = ""
        /// The revision of the microcode that the changer runs (standard INQUIRY data); nil when it is not served.
        public var revision: String?
        /// When it was made.
        public var created = Date(timeIntervalSince1970: 0)
        /// Why it is not served, or not all of it; nil when all is well.
        public var problem: String?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "cartridges", \.cartridges, .number, .required, column: "CARTRIDGES",
                help: "How many of its cartridges are in the library."),
            Field("exported", \.exported, .number, .required, help: "How many of its cartridges are in the vault."),
            Field(
                "sessions", \.sessions, .number, .required, column: "SESSIONS", help: "How many sessions are logged in."
            ),
            Field("state", \.state, ServiceState.type, .required, column: "STATE", help: "Whether it is served."),
            Field(
                "target", \.target, .text(.any("name")), .required, column: "TARGET",
                help: "The iSCSI name of its target."),
            Field(
                "serialNumber", \.serialNumber, .text(.any("text")), .required,
                help: "The unit serial number of the changer (VPD page 80h)."),
            Field(
                "naa", \.naa, .text(.any("text")), .required,
                help: "The NAA designator of the changer (VPD page 83h), 16 hexadecimal digits."),
            Field(
                "revision", \.revision, .text(.any("text")),
                help: "The revision of the microcode that the changer runs; none while it is not served."),
            Field("created", \.created, .date, .required, help: "When it was made."),
            Field("problem", \.problem, .text(.any("sentence")), help: "Why it is not served, or not all of it."),
        ]
    }

    public static let description = KindDescription(
        Library.self, "library", "libraries",
        help: "List, show, make and delete tape libraries, and move their cartridges.",
        discussion: """
            A library is a target, iqn.2026-11.dev.carousel:NAME, with the medium changer at logical unit 0 and its \
            drives from 1 on.
            """,
        naming: .name(.name(of: "library")), verbs: [.list, .show, .create, .delete],
        verbHelp: [
            .show: "With its drives, its cartridges and their last moves.",
            .create: """
            With --cartridges, new cartridges fill the first slots; their barcodes count up from --first-barcode. \
            They take space only as they are written.
            """,
            .delete: "All its cartridges go too, those in the vault as well. Refused while an initiator is logged in.",
        ], parts: ["drives", "cartridges", "moves"], deletionIsDestructive: true, jobVerbs: [.create, .delete])

    public static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError) {
        guard spec.cartridges <= spec.slots else {
            throw ManagementError(
                .invalid, "\(spec.cartridges) cartridges do not fit \(spec.slots) slots; give 0 to \(spec.slots)",
                field: "cartridges")
        }
    }

    public static func summary(_ library: Resource<Library>) -> String {
        let (drives, cartridges) = (library.spec.drives, library.status.cartridges)
        return "library \(library.name) with \(drives) \(drives == 1 ? "drive" : "drives") and "
            + "\(cartridges) \(cartridges == 1 ? "cartridge" : "cartridges") is target \(library.status.target)"
    }

    // MARK: Actions

    public static var actions: [any ResourceAction.Type] { [Move.self, Export.self, Import.self] }

    public enum Move: ResourceAction {
        public typealias Kind = Library

        public struct Arguments: Record {
            /// The element that holds the cartridge, `slot:3`.
            public var from = ""
            /// The empty element that gets it, `drive:1`.
            public var to = ""

            public init() {}

            public init(from: String, to: String) {
                self.from = from
                self.to = to
            }

            public static let fields: [Field<Arguments>] = [
                Field("from", \.from, .text(.element), .required, help: "The element that holds the cartridge."),
                Field("to", \.to, .text(.element), .required, help: "The empty element that gets it."),
            ]
        }

        public static let description = ActionDescription(
            "move", Arguments.self, help: "Move the cartridge in one element to another.",
            discussion: "Elements are written slot:3, drive:1 and mail:1. A cartridge that gets to a drive is loaded.",
            positional: ["from", "to"])
    }

    public struct BarcodeArgument: Record {
        /// The label of a cartridge.
        public var barcode = ""

        public init() {}

        public init(barcode: String) { self.barcode = barcode }

        public static let fields: [Field<BarcodeArgument>] = [
            Field("barcode", \.barcode, .text(.barcode), .required, help: "The cartridge.")
        ]
    }

    public enum Export: ResourceAction {
        public typealias Kind = Library
        public typealias Arguments = BarcodeArgument

        public static let description = ActionDescription(
            "export", Arguments.self, help: "Take a cartridge out of the library, to the vault.",
            discussion: """
                It keeps its content and comes back with 'carousel library import'. One in a drive is refused.
                """,
            positional: ["barcode"])
    }

    public enum Import: ResourceAction {
        public typealias Kind = Library
        public typealias Arguments = BarcodeArgument

        public static let description = ActionDescription(
            "import", Arguments.self, help: "Put a cartridge from the vault into a mail slot.",
            discussion: "A library without mail slots gets it into a free slot.",
            positional: ["barcode"])
    }
}
