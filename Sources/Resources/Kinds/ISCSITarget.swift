/// A target (RFC 7143 section 4.2.6.1) with the logical units that it shows; its name is its iSCSI name.
public enum ISCSITarget: ResourceKind {
    /// The logical unit numbers that there are: a single level, from 16384 on of extended flat space addressing (SAM-5
    /// clause 4.7.7.5), which not every initiator knows.
    public static let numbers = 0...65535
    /// The most logical units that a target shows, to a group or to everyone.
    public static let maximumUnits = 16384
    /// The most groups that a target can be shown to, and the most portal groups that can offer it.
    public static let maximumGroups = 1024

    /// What a group of initiators sees.
    public struct GroupAccess: Record {
        /// Devices by logical unit number; what the target itself shows when nil.
        public var units: [Int: String]?

        public init() {}

        public init(units: [Int: String]?) { self.units = units }

        public var line: String { units.map { Self.fields[0].description.type.shown($0.json) } ?? "all units" }

        public static let fields: [Field<GroupAccess>] = [
            Field(
                "units", \.units, ISCSITarget.units,
                help: "Devices by logical unit number; what the target itself shows when there are none given.")
        ]
    }

    /// Devices by logical unit number.
    static let units = FieldType.map(.number(numbers), .text(.device), maximumCount: maximumUnits)

    public struct Spec: Record {
        /// Who may log in.
        public var access = AccessLevel.loopback
        /// Whether initiators have to prove who they are, where their group does not say something else.
        public var authentication = AuthenticationMethod.none
        /// Devices by logical unit number, as all see them for whom nothing else is mapped: `disk0`, `vtl` for the
        /// changer of that library, `vtl/drive:1`.
        public var units: [Int: String] = [:]
        /// The groups that may log in at access `groups`, with what they see.
        public var groups: [String: GroupAccess] = [:]
        /// The tags of the portal groups that offer it; nil when all do.
        public var portalGroups: [Int]?
        /// Where logins are sent instead, as `address:port` (RFC 7143 section 11.13.5); nil when they are taken.
        public var redirection: String?
        /// Whether initiators are to remember the redirection (status 0102h).
        public var isPermanent = false

        public init() {}

        public init(units: [Int: String]) { self.units = units }

        public static let fields: [Field<Spec>] = [
            Field(
                "access", \.access, AccessLevel.type, .withDefault("loopback"), change: .always, column: "ACCESS",
                help: "Who may log in."),
            Field(
                "authentication", \.authentication, AuthenticationMethod.type, .withDefault("none"), change: .always,
                column: "PROOF",
                help: "Whether initiators have to prove who they are, where their group does not say something else."),
            Field(
                "units", \.units, ISCSITarget.units, change: .always, option: "lun",
                help: "A logical unit number and a device, as in 3=disk0; may be given several times."),
            Field(
                "groups", \.groups, .map(.name(of: "group"), GroupAccess.type, maximumCount: maximumGroups),
                change: .always, help: "The groups that may log in at access 'groups', with what they see."),
            Field(
                "portalGroups", \.portalGroups,
                .list(.count(Portal.portalGroups), maximumCount: maximumGroups), change: .always,
                absence: "all", option: "portal-group",
                help: "The tags of the portal groups that offer it."),
            Field(
                "redirection", \.redirection, .text(.portal), change: .always, absence: "none",
                option: "redirect", help: "Where logins are sent instead, which may be another daemon."),
            Field(
                "isPermanent", \.isPermanent, .flag, .withDefault(false), change: .always,
                help: "Whether initiators are to remember the redirection."),
        ]
    }

    /// A logical unit that a target shows.
    public struct Unit: Record {
        /// The group that sees it there; nil when all do for whom nothing else is mapped.
        public var group: String?
        /// The logical unit number.
        public var number = 0
        /// `disk`, `changer` or `drive`.
        public var kind = ""
        /// What it is in words: `disk disk0`, `drive:1 of library vtl`.
        public var device = ""
        /// The unit serial number (VPD page 80h).
        public var serialNumber = ""
        /// The NAA designator (VPD page 83h), 16 hexadecimal digits.
        public var naa = ""

        public init() {}

        public static let fields: [Field<Unit>] = [
            Field("number", \.number, .number, .required, column: "LUN", help: "The logical unit number."),
            Field("kind", \.kind, .text(.any("kind")), .required, column: "KIND", help: "disk, changer or drive."),
            Field("device", \.device, .text(.any("device")), .required, column: "DEVICE", help: "What it is."),
            Field(
                "serialNumber", \.serialNumber, .text(.any("text")), .required, column: "SERIAL",
                help: "The unit serial number (VPD page 80h)."),
            Field(
                "naa", \.naa, .text(.any("text")), .required, column: "NAA",
                help: "The NAA designator (VPD page 83h), 16 hexadecimal digits."),
            Field(
                "group", \.group, .text(.any("name")), column: "GROUP", absence: "all",
                help: "The group that sees it there; all do when absent, for whom nothing else is mapped."),
        ]
    }

    public struct Status: Record {
        /// How many sessions are logged in.
        public var sessions = 0
        /// The portals that offer it.
        public var portals: [String] = []
        /// Whether it was made for itself, not with a disk or a library.
        public var isOwn = false
        /// The groups that it is shown to, in the order in which it is decided which of them an initiator belongs to.
        public var groups: [String] = []
        /// The logical units by number, first what the target itself shows, then what groups see instead.
        public var units: [Unit] = []

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "sessions", \.sessions, .number, .required, column: "SESSIONS", help: "How many sessions are logged in."
            ),
            Field(
                "portals", \.portals, .list(.text(.any("address")), maximumCount: 64), .required,
                help: "The portals that offer it."),
            Field(
                "isOwn", \.isOwn, .flag, .required,
                help: "Whether it was made for itself, not with a disk or a library."),
            Field(
                "groups", \.groups, .list(.text(.any("name")), maximumCount: maximumGroups), .required,
                column: "GROUPS", help: "The groups that it is shown to, in the order in which they count."),
            Field(
                "units", \.units, .list(Unit.type, maximumCount: maximumUnits), .required,
                help: "The logical units by number: what the target shows, and what groups see instead."),
        ]
    }

    public static let description = KindDescription(
        ISCSITarget.self, "target", "targets", help: "Show the iSCSI targets, and say who sees what there.",
        discussion: """
            Every disk and library has a target of its own. More can be made, and show any devices: disk0 for a disk, \
            vtl for the changer of a library, vtl/drive:1 for a drive. All units of one target that are parts of \
            libraries are of one library.

            A new target lets in who reaches it through a loopback address of this machine. Once a group is mapped to \
            it, only members of such groups get in, and each sees what was mapped to the first group that it belongs \
            to. 'carousel target access' closes a target, opens it to everyone, and changes back; nothing else does, \
            not even the end of its last group. Others do not find the target by discovery, and their logins are \
            refused as not authorised. Sessions of initiators that lose access, or would see other units, are closed \
            at once; units that come and go in what they see are told to those that stay.
            """,
        naming: .name(.target), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .create: "NAME is the end of its iSCSI name after iqn.2026-11.dev.carousel:, or a whole iSCSI name.",
            .set: """
            Sessions that may not stay, and those with a target that is redirected, are closed. A portal of this \
            daemon is no place to redirect to: choose portal groups.
            """,
            .delete: """
            Only what was made with 'carousel target create'. The devices stay. Refused while an initiator is \
            logged in.
            """,
        ],
        wideningVerbs: [.set], roleOfChanges: .admin)

    public static var actions: [any ResourceAction.Type] { [Access.self, Map.self, Unmap.self] }

    public enum Access: ResourceAction {
        public typealias Kind = ISCSITarget

        public struct Arguments: Record {
            /// Who may log in.
            public var access = AccessLevel.loopback
            /// Whether somebody may see more than before; refused otherwise.
            public var mayWiden = false

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field("access", \.access, AccessLevel.type, .required, help: "closed, loopback, groups or open."),
                .open(\.mayWiden),
            ]
        }

        public static let description = ActionDescription(
            "access", Arguments.self,
            help: "Say who may log in to a target: nobody, this machine, groups, or everyone.",
            discussion: """
                closed: nobody. loopback: who reaches it through a loopback address of this machine, whatever portal \
                that is; so targets begin. groups: the members of the groups that are mapped to it. open: everyone who \
                reaches a portal. Whatever lets somebody see more than before needs --open. Sessions that may not stay \
                are closed at once.
                """, positional: ["access"])
    }

    public enum Map: ResourceAction {
        public typealias Kind = ISCSITarget

        public struct Arguments: Record {
            /// The group that sees them, and may log in; all who see what the target shows when nil.
            public var group: String?
            /// Devices by logical unit number.
            public var units: [Int: String] = [:]
            /// Whether a group that was given some units shall see all from now on.
            public var allUnits = false

            public init() {}

            public init(group: String? = nil, units: [Int: String] = [:], allUnits: Bool = false) {
                self.group = group
                self.units = units
                self.allUnits = allUnits
            }

            public static let fields: [Field<Arguments>] = [
                Field("group", \.group, .text(.name(of: "group")), help: "The group of initiators."),
                Field(
                    "units", \.units, ISCSITarget.units, option: "lun",
                    help: """
                        A logical unit number and a device; may be given several times. Not every initiator knows \
                        numbers above 16383.
                        """),
                Field(
                    "allUnits", \.allUnits, .flag, .withDefault(false),
                    help: "Show all units to a group that was given some only."),
            ]
        }

        public static let description = ActionDescription(
            "map", Arguments.self, help: "Show devices at a target, to a group or to all who get in.",
            discussion: """
                The first group that is mapped to a target makes its access 'groups': only members of such groups get \
                in from then on. Without --lun the group sees all units of the target, else those that it was given, \
                to which later ones are added; one that was given some sees all only with --all-units. Without --group \
                all see the device for whom nothing else is mapped.
                """)
    }

    public enum Unmap: ResourceAction {
        public typealias Kind = ISCSITarget

        public struct Arguments: Record {
            /// The group that saw them; all who see what the target shows when nil.
            public var group: String?
            /// The numbers; with a group and none, the group's access ends.
            public var units: [Int] = []
            /// Whether initiators may see more then, because another group decides for them.
            public var mayWiden = false

            public init() {}

            public init(group: String? = nil, units: [Int] = [], mayWiden: Bool = false) {
                self.group = group
                self.units = units
                self.mayWiden = mayWiden
            }

            public static let fields: [Field<Arguments>] = [
                Field("group", \.group, .text(.name(of: "group")), help: "The group of initiators."),
                Field(
                    "units", \.units,
                    .list(
                        .count(Int64(numbers.lowerBound)...Int64(numbers.upperBound)), maximumCount: maximumUnits),
                    option: "lun", help: "A logical unit number; may be given several times."),
                .open(\.mayWiden),
            ]
        }

        public static let description = ActionDescription(
            "unmap", Arguments.self, help: "Show devices no longer, or end a group's access.",
            discussion: """
                With --group and without --lun the group's access ends. When that was the last group, nobody gets in: \
                see 'carousel target access'. Where another group shows more to initiators for whom this one decides, \
                --open has to say that it is meant.
                """)
    }

    public static func summary(_ target: Resource<ISCSITarget>) -> String {
        let units = target.spec.units.count
        let groups = target.spec.groups.keys.sorted().joined(separator: ", ")
        let access =
            switch target.spec.access {
            case .closed: "nobody"
            case .loopback: "this machine"
            case .groups: groups.isEmpty ? "no group" : "group \(groups)"
            case .open: "everyone"
            }
        return "target \(target.name) shows \(units == 1 ? "1 unit" : "\(units) units") to \(access)"
    }

    public static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError) {
        guard spec.redirection != nil || !spec.isPermanent || old?.isPermanent == true else {
            throw ManagementError(.invalid, "only a redirection is permanent; say where to", field: "isPermanent")
        }
    }
}
