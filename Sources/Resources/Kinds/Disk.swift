public import struct Foundation.Date

/// A disk (SBC): logical unit 0 of a target of its own.
public enum Disk: ResourceKind {
    /// The largest: what ext4 and XFS both hold sparsely is less, and then the file system says so.
    public static let maximumSize: Int64 = 1 << 50
    /// The largest of the format carousel.
    public static let maximumCarouselSize: Int64 = 1 << 48
    /// How the blocks of a disk lie in its image where nothing is said.
    public static let standardFormat = DiskFormat.carousel
    /// Revolutions a minute that a medium can be said to make (SBC-4 clause 6.6.2).
    public static let rotationRates = 1025...65534
    /// The seconds that may be between two automatic snapshots: a minute to a year.
    public static let snapshotIntervals: ClosedRange<Int64> = 60...31_622_400
    /// How many automatic snapshots may stay.
    public static let snapshotCounts: ClosedRange<Int64> = 1...10_000
    /// How many automatic snapshots stay where nothing is said.
    public static let standardSnapshots = 24
    /// The limits that the space of an image may have.
    public static let spaceLimits: ClosedRange<Int64> = 1 << 20...maximumSize
    /// The most bytes of a command for a key.
    public static let keyCommandLength = 4096

    public struct Spec: Record {
        /// The capacity in bytes, a multiple of the block size; nil until the image says it.
        public var size: Int64?
        /// The logical block length in bytes.
        public var blockSize = 512
        /// What it is for, in the user's words.
        public var description: String?
        /// How its blocks lie in its image; nil of a disk that is older than the choice, which is raw.
        public var format: DiskFormat?
        /// How the image of a new disk is compressed, `zstd` or `zstd:LEVEL`; nil when it is not. Of a disk that there
        /// is, the image says it: `Status.compression`.
        public var compression: String?
        /// Whether its image has checksums of data.
        public var hasChecksums = false
        /// The absolute path of a file or block device of the user's that is the medium; nil for one in the state
        /// folder.
        public var image: String?
        /// The bytes of a physical block; nil for those of a logical one.
        public var physicalBlockSize: Int?
        /// The lowest logical block that begins a physical one.
        public var alignment = 0
        /// Whether its medium can be ejected and loaded.
        public var isRemovable = false
        /// Whether initiators cannot write it.
        public var isReadOnly = false
        /// What a write that has ended promises.
        public var cache = CachePolicy.writeBack
        /// MEDIUM ROTATION RATE: 1 for what does not rotate, 0 when nothing is said, else revolutions a minute.
        public var rotationRate = 1
        /// NOMINAL FORM FACTOR; nil when nothing is said.
        public var formFactor: FormFactor?
        /// LBPRZ: 1 promises zeros, 2 the provisioning initialization pattern, 0 nothing.
        public var unmappedReads = 1
        /// The type of protection information that its blocks have; 0 for none.
        public var protection = 0
        /// The absolute path of the file with the user's key, of a disk that is encrypted with one from there.
        public var encryptionKeyFile: String?
        /// The command whose output is the user's key, of a disk that is encrypted with one from there.
        public var encryptionKeyCommand: String?
        /// The seconds between two automatic snapshots; nil when there are none.
        public var snapshotEvery: Int?
        /// How many automatic snapshots stay; `standardSnapshots` when nil.
        public var snapshotKeep: Int?
        /// The percentage of its size that may have storage before initiators are told; nil when they never are.
        public var threshold: Int?
        /// The bytes that may be in use in its image, by all disks and snapshots in it; nil without a limit.
        public var spaceLimit: Int64?

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
                "format", \.format, DiskFormat.type, column: "FORMAT",
                help: """
                    carousel: copy-on-write in one file, with snapshots and clones; raw: one block after another, as \
                    on the disk, for images of yours and protection information too; ram: in the host's memory only, \
                    zeros after each start of the daemon.
                    """),
            Field(
                "compression", \.compression, .text(.line("zstd[:LEVEL]", maximumLength: 8)),
                help: """
                    Compress what is written in 64 KiB and more, where it saves storage: zstd, or zstd:1 (fast) to \
                    zstd:19 (small, very slow); 3 if left out. For disks of format carousel, kept with \
                    the image, and with its clones and snapshots.
                    """),
            Field(
                "hasChecksums", \.hasChecksums, .flag, .withDefault(false), option: "checksums",
                help: """
                    Keep a checksum of each 4 KiB of data, and prove all that is read: a flipped bit on the host is a \
                    medium error, never wrong data. Nothing is overwritten in place then. For disks of format carousel.
                    """),
            Field(
                "image", \.image, .text(.path), role: .admin,
                help: """
                    An existing file or block device that becomes the medium, keeps its content, and stays when the \
                    disk is deleted.
                    """),
            Field(
                "physicalBlockSize", \.physicalBlockSize, .choice([512, 4096]),
                help: "The physical block size that initiators see; that of logical blocks if left out."),
            Field(
                "alignment", \.alignment, .count(0...7), .withDefault(0),
                help: "The first logical block that begins a physical one."),
            Field(
                "isRemovable", \.isRemovable, .flag, .withDefault(false),
                help: "Whether its medium can be ejected and loaded."),
            Field(
                "isReadOnly", \.isReadOnly, .flag, .withDefault(false), change: .always,
                help: "Whether initiators cannot write it."),
            Field(
                "cache", \.cache, CachePolicy.type, .withDefault(CachePolicy.writeBack.json), change: .always,
                help: """
                    When a write ends: write-back when the host's page cache has it, write-through when it is durable; \
                    direct is write-back past the page cache.
                    """),
            Field(
                "rotationRate", \.rotationRate, .count(0...Int64(rotationRates.upperBound)), .withDefault(1),
                help: "Revolutions a minute that initiators see; 1 for none, 0 to say nothing."),
            Field("formFactor", \.formFactor, FormFactor.type, help: "The form factor that initiators see, in inches."),
            Field(
                "unmappedReads", \.unmappedReads, .choice([0, 1, 2]), .withDefault(1), option: "lbprz",
                help: "What initiators are promised of unmapped blocks: 1 zeros, 2 the initial pattern, 0 nothing."),
            Field(
                "protection", \.protection, .choice([0, 1, 2, 3]), .withDefault(0),
                help: """
                    The type of protection information (T10 PI), 8 bytes that are kept beside each block and checked; \
                    0 for none. Not with --image; later only an initiator changes it, by FORMAT UNIT.
                    """),
            Field(
                "encryptionKeyFile", \.encryptionKeyFile, .text(.path), role: .admin,
                help: """
                    Encrypt its blocks, with a key that is kept beside the image and needs the content of this file \
                    at every start: 32 random bytes, or a passphrase. Not with --image or --protection.
                    """),
            Field(
                "encryptionKeyCommand", \.encryptionKeyCommand,
                .text(.line("command", maximumLength: keyCommandLength)), role: .admin,
                help: """
                    As encryption-key-file, with what this command writes to its standard output. It is run as the \
                    daemon's user, without a shell: an absolute path and words that spaces divide. No secret belongs \
                    into them: they are stored and shown.
                    """),
            Field(
                "snapshotEvery", \.snapshotEvery, .seconds(snapshotIntervals), change: .always, absence: "none",
                help: "How often a snapshot auto-TIME is made by itself, as in 1h; for disks of format carousel."),
            Field(
                "snapshotKeep", \.snapshotKeep, .count(snapshotCounts), change: .always,
                help: """
                    How many automatic snapshots stay; older ones are deleted, but those that are locked or mapped. \
                    24 if left out.
                    """),
            Field(
                "threshold", \.threshold, .percent(1...100), change: .always, absence: "none",
                help: "How much of its size may have storage before initiators are warned, as in 80%."),
            Field(
                "spaceLimit", \.spaceLimit, .size(spaceLimits), change: .always, absence: "none",
                help: """
                    How much its image may use, with its snapshots and clones; writes that need more are refused as on \
                    a full host. The smallest limit of the disks in an image counts. For disks of format carousel.
                    """),
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
        /// How its blocks are encrypted where they are stored; nil when they are not.
        public var encryption: String?
        /// How its image is compressed; nil when it is not, or not served.
        public var compression: String?
        /// What SANITIZE or FORMAT UNIT does to all of its blocks, or has failed to do; nil when there is nothing.
        public var operation: OperationSummary?
        /// Where its medium is; nil when it is not removable.
        public var medium: MediumState?
        /// The snapshot that it shows, as `DISK@NAME`; nil of a disk of its own.
        public var snapshot: String?
        /// The bytes of it that have storage; nil when that is not known (yet), or it is not served.
        public var used: Int64?
        /// The bytes that its deletion alone would give back; nil in the same cases.
        public var unique: Int64?
        /// The bytes that its image takes on the host, with all that is in it; nil in the same cases.
        public var allocated: Int64?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "used", \.used, .size(0...Int64.max), column: "USED",
                help: "How much of it has storage; nothing where that is not known, or not yet."),
            Field(
                "unique", \.unique, .size(0...Int64.max), column: "UNIQUE",
                help: "How much only it has: what its deletion would give back, its snapshots staying."),
            Field(
                "allocated", \.allocated, .size(0...Int64.max),
                help: "How much its image takes on the host, with all disks and snapshots that are in it."),
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
                "encryption", \.encryption, .text(.any("cipher")), column: "ENCRYPTION", absence: "none",
                help: "How its blocks are encrypted where they are stored."),
            Field(
                "compression", \.compression, .text(.any("zstd:LEVEL")), absence: "none",
                help: "How its image is compressed, while it is served."),
            Field(
                "loss", \.loss, LossSummary.type, help: "Written data that were lost, which nobody has acknowledged."),
            Field(
                "operation", \.operation, OperationSummary.type,
                help: "What SANITIZE or FORMAT UNIT does to all of its blocks, or has failed to do."),
            Field("medium", \.medium, MediumState.type, help: "Where the medium of a removable disk is."),
            Field(
                "snapshot", \.snapshot, .text(.any("name")), help: "The snapshot that it shows, which nobody writes."),
        ]
    }

    public static let description = KindDescription(
        Disk.self, "disk", "disks", help: "List, show, make, change and delete disks.",
        discussion: "A disk is logical unit 0 of a target of its own, iqn.2026-11.dev.carousel:NAME.",
        naming: .name(.name(of: "disk")), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .create: "Its image is a sparse file in the state folder, or the file given with --image.",
            .set: "Initiators may go on using it, and learn of what has changed.",
            .delete: "An image given with --image stays. Refused while an initiator is logged in.",
        ],
        deletionIsDestructive: true, hasSpace: true)

    public static var actions: [any ResourceAction.Type] {
        [AcknowledgeLoss.self, Eject.self, Load.self, Copy.self, Export.self, Import.self]
    }

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

    public enum Eject: ResourceAction {
        public typealias Kind = Disk

        public struct Arguments: Record {
            /// Whether initiators that prevent it are overruled.
            public var isForced = false

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field(
                    "isForced", \.isForced, .flag, .withDefault(false), option: "force",
                    help: "Eject it also when initiators prevent that: what they have not written yet is refused.")
            ]
        }

        public static let description = ActionDescription(
            "eject", Arguments.self, help: "Eject the medium of a removable disk.",
            discussion: """
                What was written is made durable first. Until the medium is loaded again, also over restarts, \
                initiators find none. An initiator that has mounted it prevents that, as a rule.
                """)
    }

    public enum Load: ResourceAction {
        public typealias Kind = Disk
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "load", Arguments.self, help: "Load the medium of a removable disk.",
            discussion: "Initiators learn that there is one, which may be another.")
    }

    public static func summary(_ disk: Resource<Disk>) -> String {
        "disk \(disk.name) of \(ByteSize.format(disk.spec.size ?? 0)) is target \(disk.status.target)"
    }

    public static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError) {
        guard spec.size != nil || spec.image != nil else {
            throw ManagementError(
                .invalid, "a disk needs a size, as in 1GiB, unless it is given an image", field: "size")
        }
        try spec.checkGeometry()
        try spec.checkEncryption()
        try spec.checkFormat()
        try spec.checkCompression()
        try spec.checkSize(isNew: old == nil)
        try spec.checkSchedule(isNew: old == nil)
        try spec.checkSpaceLimit(isNew: old == nil)
    }
}
