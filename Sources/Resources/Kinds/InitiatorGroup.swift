public import struct Foundation.Date

/// How initiators have to prove who they are (AuthMethod, RFC 7143 section 12.1).
public enum AuthenticationMethod: String, FieldWord {
    /// They need not.
    case none
    /// By CHAP (RFC 7143 section 9.2.1); where no secret is set, nobody gets in.
    case chap
}

/// A group of initiators, to which targets are shown.
public enum InitiatorGroup: ResourceKind {
    /// What ranks may be.
    public static let ranks: ClosedRange<Int64> = 1...1_000_000
    /// The most patterns and ranges of a group.
    public static let maximumMembers = 1024

    public struct Spec: Record {
        /// The patterns of initiators' names; any name when empty and `addresses` is not.
        public var names: [String] = []
        /// The ranges of initiators' addresses; any address when empty and `names` is not.
        public var addresses: [String] = []
        /// Where several groups match an initiator, that with the lowest rank counts; after all others when nil.
        public var rank: Int?
        /// Whether members have to prove who they are; goes before what the target asks for.
        public var authentication = AuthenticationMethod.none

        public init() {}

        public init(names: [String] = [], addresses: [String] = [], rank: Int? = nil) {
            self.names = names
            self.addresses = addresses
            self.rank = rank
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "rank", \.rank, .count(ranks), change: .always, column: "RANK",
                help: "Its place among the groups, the lowest first; the last if left out."),
            Field(
                "names", \.names, .list(.text(.namePattern), maximumCount: maximumMembers), change: .always,
                column: "NAMES", option: "name", help: "The patterns of initiators' names."),
            Field(
                "addresses", \.addresses, .list(.text(.addressRange), maximumCount: maximumMembers), change: .always,
                column: "ADDRESSES", option: "address", help: "The ranges of initiators' addresses."),
            Field(
                "authentication", \.authentication, AuthenticationMethod.type, .withDefault("none"), change: .always,
                help: "Whether members have to prove who they are; goes before what the target asks for."),
        ]
    }

    public struct Status: Record {
        /// The iSCSI names of the targets that are shown to it.
        public var targets: [String] = []
        /// When it was made.
        public var created = Date(timeIntervalSince1970: 0)

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "targets", \.targets, .list(.text(.any("name")), maximumCount: 1 << 20), .required, column: "TARGETS",
                help: "The iSCSI names of the targets that are shown to it."),
            Field("created", \.created, .date, .required, help: "When it was made."),
        ]
    }

    public static let description = KindDescription(
        InitiatorGroup.self, "initiator group", "initiator-groups", command: "group",
        help: "Make groups of initiators and change them.",
        discussion: """
            An initiator belongs to a group when its name matches one of the group's patterns (or there are none) and \
            its address is in one of the group's ranges (or there are none); a group without any has no members. \
            Patterns know * and ?, as in iqn.2004-10.com.example:*; ranges are written 10.1.0.0/16, fd00::/8 or \
            192.0.2.7.

            A group gets access to a target by 'carousel target map TARGET --group GROUP'. Where several groups match, \
            that with the lowest rank counts. Sessions of initiators that lose access, or would see other logical \
            units, are closed at once.
            """,
        naming: .name(.name(of: "group")), nameLabel: "group", verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .set: """
            Patterns and ranges that are given take the place of all of their kind; 'carousel group add' and \
            'remove' change some.
            """,
            .delete: """
            Refused while a target is shown to it: see 'carousel target unmap'. CHAP secrets of the group go with \
            it.
            """,
        ],
        wideningVerbs: [.set], roleOfChanges: .admin)

    public static var actions: [any ResourceAction.Type] { [Add.self, Remove.self] }

    /// More members.
    public enum Add: ResourceAction {
        public typealias Kind = InitiatorGroup

        public struct Arguments: Record {
            public var names: [String] = []
            public var addresses: [String] = []
            /// Whether initiators may see more of a target, because another group decides for them then.
            public var mayWiden = false

            public init() {}

            public init(names: [String] = [], addresses: [String] = [], mayWiden: Bool = false) {
                self.names = names
                self.addresses = addresses
                self.mayWiden = mayWiden
            }

            public static let fields: [Field<Arguments>] = [
                Field(
                    "names", \.names, .list(.text(.namePattern), maximumCount: maximumMembers), option: "name",
                    help: "A pattern of initiators' names; may be given several times."),
                Field(
                    "addresses", \.addresses, .list(.text(.addressRange), maximumCount: maximumMembers),
                    option: "address", help: "A range of addresses; may be given several times."),
                .open(\.mayWiden),
            ]
        }

        public static let description = ActionDescription(
            "add", Arguments.self, help: "Give a group more members.",
            discussion: """
                The first pattern of a group that has ranges takes members from it, for both have to match then, and \
                so does the first range of one that has patterns. Where another group, which shows more, decides for \
                them then, --open has to say that it is meant.
                """)
    }

    /// Fewer members.
    public enum Remove: ResourceAction {
        public typealias Kind = InitiatorGroup

        public struct Arguments: Record {
            public var names: [String] = []
            public var addresses: [String] = []
            /// Whether any name shall do when the last pattern is removed; that is refused otherwise.
            public var anyName = false
            /// Whether any address shall do when the last range is removed; that is refused otherwise.
            public var anyAddress = false
            /// Whether initiators may see more of a target, because another group decides for them then.
            public var mayWiden = false

            public init() {}

            public init(
                names: [String] = [], addresses: [String] = [], anyName: Bool = false, anyAddress: Bool = false,
                mayWiden: Bool = false
            ) {
                self.names = names
                self.addresses = addresses
                self.anyName = anyName
                self.anyAddress = anyAddress
                self.mayWiden = mayWiden
            }

            public static let fields: [Field<Arguments>] = [
                Field(
                    "names", \.names, .list(.text(.namePattern), maximumCount: maximumMembers), option: "name",
                    help: "A pattern of initiators' names; may be given several times."),
                Field(
                    "addresses", \.addresses, .list(.text(.addressRange), maximumCount: maximumMembers),
                    option: "address", help: "A range of addresses; may be given several times."),
                Field(
                    "anyName", \.anyName, .flag, .withDefault(false),
                    help: "Let any name belong to it when no pattern is left."),
                Field(
                    "anyAddress", \.anyAddress, .flag, .withDefault(false),
                    help: "Let any address belong to it when no range is left."),
                .open(\.mayWiden),
            ]
        }

        public static let description = ActionDescription(
            "remove", Arguments.self, help: "Take members from a group.",
            discussion: """
                When the last pattern goes and ranges are left, any name in the ranges would belong to the group, and \
                the other way round: that has to be asked for. So has to be what lets another group, which shows more, \
                decide for initiators that leave this one.
                """)
    }

    public static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError) {
        try checkCount(spec.names, spec.addresses)
    }

    /// Refuses more members than a group may have.
    public static func checkCount(_ names: [String], _ addresses: [String]) throws(ManagementError) {
        guard names.count + addresses.count <= maximumMembers else {
            throw ManagementError(
                .invalid, "a group has at most \(maximumMembers) patterns and ranges; make another group")
        }
    }

    public static func summary(_ group: Resource<InitiatorGroup>) -> String {
        let spec = group.spec
        guard !spec.names.isEmpty || !spec.addresses.isEmpty else { return "group \(group.name) has no members" }
        let names = spec.names.isEmpty ? "any name" : spec.names.joined(separator: ", ")
        let addresses = spec.addresses.isEmpty ? "any address" : spec.addresses.joined(separator: ", ")
        return "group \(group.name) has \(names) at \(addresses)"
    }
}
