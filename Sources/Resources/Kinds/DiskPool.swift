/// The space of all disk images in the state folder, and a limit of it.
public enum DiskPool: ResourceKind {
    public struct Spec: Record {
        /// The bytes that they may take together.
        public var spaceLimit: Int64 = 0

        public init() {}

        public init(spaceLimit: Int64) { self.spaceLimit = spaceLimit }

        public static let fields: [Field<Spec>] = [
            Field(
                "spaceLimit", \.spaceLimit, .size(Disk.spaceLimits), .required, change: .always, column: "LIMIT",
                help: "How much they may take together, as in 1TiB.")
        ]
    }

    public struct Status: Record {
        /// The bytes in use in images of the format carousel.
        public var used: Int64 = 0
        /// The storage that raw images take, as seen last.
        public var raw: Int64 = 0

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "used", \.used, .size(0...Int64.max), .required, column: "USED",
                help: "How much is in use in images of the format carousel that are served."),
            Field(
                "raw", \.raw, .size(0...Int64.max), .required, column: "RAW",
                help: "How much storage the raw images of served disks take, as of some seconds ago."),
        ]
    }

    public static let description = KindDescription(
        DiskPool.self, "disk pool", "disk-pools", command: "pool",
        help: "Limit the space of all disk images in the state folder together.",
        discussion: """
            Where a limit is set and reached, writes to disks of the format carousel that need new storage are refused \
            as on a full host: DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT. Reads, overwrites of what has \
            storage, UNMAP and the deletion of snapshots go on, and so do writes when there is room again. What raw \
            disks take counts too, but these are not refused anything: they get their storage from the host. A limit \
            of single images is 'carousel disk set NAME --space-limit SIZE'.
            """,
        naming: .single("disks"), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .create: "There is one at most; without it nothing is limited.",
            .set: "The new limit counts at once. What is beyond it stays.",
            .delete: "The limit is taken away; what the images have stays.",
        ], roleOfChanges: .admin)

    public static func summary(_ pool: Resource<DiskPool>) -> String {
        "all disk images together may take \(ByteSize.format(pool.spec.spaceLimit))"
    }
}
