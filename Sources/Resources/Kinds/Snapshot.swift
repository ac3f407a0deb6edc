public import struct Foundation.Date

/// What a disk was at some instant. Its name is `DISK@NAME`; it is in the image of the disk, and nowhere else.
public enum Snapshot: ResourceKind {
    public typealias Spec = NoFields

    /// The most snapshots that one request makes.
    public static let groupLimit = 256
    /// The most ranges in one answer about differences.
    public static let rangeLimit = 4096
    /// How many ranges an answer has where nothing is said.
    public static let standardRanges = 1000

    public struct Status: Record {
        /// The disk that it is a snapshot of.
        public var disk = ""
        /// When it was made.
        public var created = Date(timeIntervalSince1970: 0)
        /// The capacity of the disk at that time, in bytes.
        public var size: Int64 = 0
        /// The bytes of it that have storage; nil when that is not known (yet).
        public var used: Int64?
        /// The bytes that its deletion alone would give back; nil in the same case.
        public var reclaimable: Int64?
        /// Which content it has: what was made of it by a delta stream has the same, 32 hexadecimal digits.
        public var uuid = ""
        /// Until when nobody deletes it.
        public var lockedUntil: Date?
        /// The disk that shows it.
        public var mappedAs: String?
        /// The disks that were made of it.
        public var clones: [String] = []

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("disk", \.disk, .text(.any("name")), .required, help: "The disk that it is a snapshot of."),
            Field("created", \.created, .date, .required, column: "CREATED", help: "When it was made."),
            Field(
                "size", \.size, .size(0...Int64.max), .required, column: "SIZE",
                help: "The capacity of the disk at that time."),
            Field(
                "used", \.used, .size(0...Int64.max), column: "USED",
                help: "How much of it has storage, with what others have too; nothing where that is not known yet."),
            Field(
                "reclaimable", \.reclaimable, .size(0...Int64.max), column: "RECLAIMABLE",
                help: "How much only it has: what its deletion, and no other, would give back."),
            Field(
                "uuid", \.uuid, .text(.any("text")), .required,
                help:
                    "Which content it has, 32 hexadecimal digits: snapshots made of it by delta streams have the same."
            ),
            Field(
                "lockedUntil", \.lockedUntil, .date, column: "LOCKED UNTIL", help: "Until when nobody deletes it."),
            Field(
                "mappedAs", \.mappedAs, .text(.any("name")), column: "MAPPED AS",
                help: "The disk that shows it to initiators."),
            Field(
                "clones", \.clones, .list(.text(.any("name")), maximumCount: 65536), .required, column: "CLONES",
                help: "The disks that were made of it."),
        ]
    }

    public static let description = KindDescription(
        Snapshot.self, "snapshot", "snapshots",
        help: "Make, show, compare and delete snapshots of disks, go back to them, and show them to initiators.",
        discussion: """
            Disks with --format carousel have snapshots: DISK@NAME is what DISK was when it was made. A snapshot takes \
            no room at first; what the disk overwrites later stays for it. 'carousel disk clone' makes a disk of one.
            """,
        naming: .name(.snapshot), verbs: [.list, .show, .create, .delete],
        verbHelp: [
            .create: """
            All that are named in one command are made at one instant, of several disks too: a write that began after \
            another had ended is in them only with that one. What initiators keep in their own caches is not in them; \
            have them write it out first where that counts.
            """,
            .delete: """
            It is gone at once; what nobody else needs is freed in the background. Clones of it stay what they are. \
            Refused while it is locked, and while a disk shows it.
            """,
        ], deletionIsDestructive: true, hasSpace: true, hasGenerations: false)

    public static var actions: [any ResourceAction.Type] {
        [Take.self, Rollback.self, Compare.self, LockUntil.self, Map.self, Clone.self]
    }

    public static func summary(_ snapshot: Resource<Snapshot>) -> String {
        "snapshot \(snapshot.name) of \(ByteSize.format(snapshot.status.size)) is made"
    }

    /// Several snapshots at one instant.
    public enum Take: ResourceAction {
        public typealias Kind = Snapshot

        public struct Arguments: Record {
            /// `DISK@NAME`, of each disk one.
            public var names: [String] = []

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field(
                    "names", \.names, .list(.text(.snapshot), maximumCount: groupLimit), .required,
                    help: "The snapshots to make, of each disk one.")
            ]
        }

        public static let description = ActionDescription(
            "take", Arguments.self, help: "Make several snapshots at one instant.", of: .kind)
    }

    public enum Rollback: ResourceAction {
        public typealias Kind = Snapshot
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "rollback", Arguments.self, help: "Make a disk what it was when the snapshot was made.",
            discussion: """
                What the disk is now becomes the snapshot DISK@before-rollback-TIME first, and all other snapshots and \
                clones stay, so it can be undone. Initiators that are logged in are told that the disk is another one; \
                what they have mounted must be unmounted before, for they do not expect that.
                """, role: .admin)
    }

    /// `diff`: what two of them do not have in common.
    public enum Compare: ResourceAction {
        public typealias Kind = Snapshot

        public struct Arguments: Record {
            public var from = ""
            public var to = ""
            /// The byte to begin at.
            public var after: Int64 = 0
            public var limit = standardRanges

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field("from", \.from, .text(.diskOrSnapshot), .required, help: "A snapshot, or a disk as it is now."),
                Field(
                    "to", \.to, .text(.diskOrSnapshot), .required,
                    help: "Another one of the same image: of the same disk, or of a clone."),
                Field(
                    "after", \.after, .count(0...Disk.maximumSize), .withDefault(0), help: "The byte to begin at."),
                Field(
                    "limit", \.limit, .count(1...Int64(rangeLimit)), .withDefault(.integer(Int64(standardRanges))),
                    help: "How many ranges an answer has at most."),
            ]
        }

        /// Bytes in succession that differ.
        public struct ChangedRange: Record {
            public var offset: Int64 = 0
            public var length: Int64 = 0

            public init() {}

            public init(_ range: Range<Int64>) {
                (offset, length) = (range.lowerBound, range.upperBound - range.lowerBound)
            }

            public static let fields: [Field<ChangedRange>] = [
                Field("offset", \.offset, .number, .required, column: "OFFSET", help: "The first byte."),
                Field("length", \.length, .number, .required, column: "LENGTH", help: "How many bytes."),
            ]
        }

        public static let description = ActionDescription(
            "diff", Arguments.self, help: "Tell which parts of two snapshots differ.",
            discussion: """
                The ranges are in bytes, in whole units of 4096 but at the end of a disk. A range may have been \
                written with what was there already. Where an answer has 'next', the rest follows with that as 'after'.
                """, of: .kind, role: .operator)
    }

    public enum LockUntil: ResourceAction {
        public typealias Kind = Snapshot

        public struct Arguments: Record {
            /// Until when nobody deletes it.
            public var until = Date(timeIntervalSince1970: 0)

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field(
                    "until", \.until, .date, .required,
                    help: "Until when, in UTC: 2027-01-31, or 2027-01-31T18:00:00Z.")
            ]
        }

        public static let description = ActionDescription(
            "lock", Arguments.self, help: "Keep a snapshot from being deleted until some day.",
            discussion: "Nobody can delete it before, or take the lock back. A later lock can be longer, not shorter.")
    }

    public enum Map: ResourceAction {
        public typealias Kind = Snapshot

        public struct Arguments: Record {
            /// The name of the disk that shows it; `DISK-NAME` when nil.
            public var name: String?
            /// A target that shows this disk besides.
            public var target: String?
            /// The logical unit number there.
            public var lun: Int?

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field(
                    "name", \.name, .text(.name(of: "disk")),
                    help: "The name of the disk that shows it; DISK-NAME if left out."),
                Field(
                    "target", \.target, .text(.target), role: .admin,
                    help: "A target at which it is shown besides its own."),
                Field("lun", \.lun, .count(0...65535), help: "The logical unit number at that target."),
            ]
        }

        public static let description = ActionDescription(
            "map", Arguments.self, help: "Make a disk that shows a snapshot, which nobody can write.",
            discussion: """
                It is a disk with an identity and a target of its own, which stays what the snapshot is. 'carousel \
                disk delete' takes it away again, and leaves the snapshot.
                """)
    }

    /// `carousel disk clone`
    public enum Clone: ResourceAction {
        public typealias Kind = Snapshot

        public struct Arguments: Record {
            /// The name of the new disk.
            public var name = ""

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field("name", \.name, .text(.name(of: "disk")), .required, help: "The name of the new disk.")
            ]
        }

        public static let description = ActionDescription(
            "clone", Arguments.self, help: "Make a disk that begins as a snapshot.",
            discussion: """
                It takes no room at first: what it has in common with the snapshot is in the same image. It has an \
                identity, a target and snapshots of its own, and is written without changing anything else. It gets \
                what the disk says of itself: block sizes, cache, form factor.
                """, positional: ["name"])
    }
}
