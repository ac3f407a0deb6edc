public import struct Foundation.Date

/// A disk (SBC): logical unit 0 of a target of its own.
public enum Disk: ResourceKind {
    /// The largest: what ext4 and XFS both hold sparsely is less, and then the file system says so.
    public static let maximumSize: Int64 = 1 << 50

    public struct Spec: Record {
        /// The capacity in bytes, a multiple of the block size; nil until the image says it.
        public var size: Int64?
        /// The logical block length in bytes.
        public var blockSize = 512
        /// What it is for, in the user's words.
        public var description: String?
        /// The absolute path of a file of the user's that is the medium; nil for one in the state folder.
        public var image: String?

        public init() {}

        public init(size: Int64?, blockSize: Int = 512, image: String? = nil) {
            self.size = size
            self.blockSize = blockSize
            self.image = image
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "size", \.size, .size(1...maximumSize), change: .growing, column: "SIZE",
                help: "The capacity, as in 1GiB, rounded up to whole blocks; may be left out with an image."),
            Field(
                "blockSize", \.blockSize, .choice([512, 4096]), .withDefault(512), column: "BLOCK",
                help: "The logical block size."),
            Field(
                "image", \.image, .text(.path), role: .admin,
                help: "An existing file that becomes the medium, keeps its content, and stays when the disk is deleted."
            ),
            Field(
                "description", \.description, .text(.line("text", maximumLength: 1024)), change: .always,
                absence: "none", help: "What it is for, in your words."),
        ]
    }

    public struct Status: Record {
        /// Whether it is served.
        public var state = ServiceState.serving
        /// How many sessions are logged in.
        public var sessions = 0
        /// The iSCSI name of the target.
        public var target = ""
        /// The absolute path of the image.
        public var image = ""
        /// The unit serial number (VPD page 80h).
        public var serialNumber = ""
        /// The NAA designator (VPD page 83h), 16 hexadecimal digits.
        public var naa = ""
        /// When it was made.
        public var created = Date(timeIntervalSince1970: 0)
        /// Why it is not served, or not written, and what to do; nil when all is well.
        public var problem: String?
        /// What was lost of it; nil without a loss, and when it is not served.
        public var loss: LossSummary?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "sessions", \.sessions, .number, .required, column: "SESSIONS", help: "How many sessions are logged in."
            ),
            Field("state", \.state, ServiceState.type, .required, column: "STATE", help: "Whether it is served."),
            Field(
                "target", \.target, .text(.any("name")), .required, column: "TARGET",
                help: "The iSCSI name of its target."),
            Field("image", \.image, .text(.any("file")), .required, help: "The absolute path of its image."),
            Field(
                "serialNumber", \.serialNumber, .text(.any("text")), .required,
                help: "The unit serial number (VPD page 80h)."),
            Field(
                "naa", \.naa, .text(.any("text")), .required,
                help: "The NAA designator (VPD page 83h), 16 hexadecimal digits."),
            Field("created", \.created, .date, .required, help: "When it was made."),
            Field(
                "problem", \.problem, .text(.any("sentence")),
                help: "Why it is not served, or not written, and what to do."),
            Field(
                "loss", \.loss, LossSummary.type, help: "Written data that were lost, which nobody has acknowledged."),
        ]
    }

    public static let description = KindDescription(
        Disk.self, "disk", "disks", help: "List, show, make, change and delete disks.",
        discussion: "A disk is logical unit 0 of a target of its own, iqn.2026-11.dev.carousel:NAME.",
        naming: .name(.name(of: "disk")), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .create: "Its image is a sparse file in the state folder, or the file given with --image.",
            .set: "Initiators may go on using it, and learn of a new size.",
            .delete: "An image given with --image stays. Refused while an initiator is logged in.",
        ],
        deletionIsDestructive: true)

    public static var actions: [any ResourceAction.Type] { [AcknowledgeLoss.self] }

    public enum AcknowledgeLoss: ResourceAction {
        public typealias Kind = Disk
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "acknowledge-loss", Arguments.self,
            help: "Say that a loss of written data is known, so that the disk can be written again.",
            discussion: """
                When the host could not make written data durable, the disk refuses to be written and to call anything \
                durable until then. Check or restore its content first.
                """)
    }

    public static func summary(_ disk: Resource<Disk>) -> String {
        "disk \(disk.name) of \(ByteSize.format(disk.spec.size ?? 0)) is target \(disk.status.target)"
    }

    public static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError) {
        guard spec.size != nil || spec.image != nil else {
            throw ManagementError(
                .invalid, "a disk needs a size, as in 1GiB, unless it is given an image", field: "size")
        }
    }
}
