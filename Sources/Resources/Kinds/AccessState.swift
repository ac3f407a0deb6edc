/// Through which portal groups a device lets itself be used, and how (asymmetric logical unit access, SPC-5 clause
/// 5.16.2). Its name is that of the disk, of the library for its changer, or `LIBRARY/drive:N`.
public enum AccessState: ResourceKind {
    /// How long a change may take, in seconds: IMPLICIT TRANSITION TIME has 8 bits.
    public static let transitionTimes: ClosedRange<Int64> = 0...255

    public typealias Spec = NoFields

    /// What may be done with a device through a portal group, in SPC's words.
    public enum Word: String, FieldWord {
        case activeOptimized = "active/optimized"
        case activeNonOptimized = "active/non-optimized"
        case standby
        case unavailable
        case offline
    }

    /// Why it is so.
    public enum Cause: String, FieldWord {
        /// It has been so all the time.
        case none = "as at first"
        /// SET TARGET PORT GROUPS of an initiator has changed it.
        case explicit = "an initiator"
        /// The operator has.
        case implicit = "the operator"
    }

    public struct Group: Record {
        /// The tag of the portal group.
        public var group = 1
        /// The state; the one that comes next while a transition lasts.
        public var state = Word.activeOptimized
        /// Whether a transition to the state has not ended.
        public var isTransitioning = false
        /// Whether initiators are to prefer the group.
        public var isPreferred = false
        /// How long changes of the state take, in seconds.
        public var transition = 0
        /// Who has changed the state.
        public var changedBy = Cause.none
        /// Whether an open portal is in the group.
        public var isOpen = false

        public init() {}

        public init(group: Int) { self.group = group }

        public var line: String {
            "\(group) \(isTransitioning ? "in transition to " : "")\(state.rawValue)\(isPreferred ? ", preferred" : "")"
        }

        public static let fields: [Field<Group>] = [
            Field(
                "group", \.group, .number, .required, column: "PORTAL GROUP", help: "The tag of the portal group."),
            Field("state", \.state, Word.type, .required, column: "STATE", help: "What may be done through it."),
            Field(
                "isTransitioning", \.isTransitioning, .flag, .required, column: "TRANSITIONING",
                help: "Whether a transition to the state has not ended."),
            Field(
                "isPreferred", \.isPreferred, .flag, .required, column: "PREFERRED",
                help: "Whether initiators are to prefer it."),
            Field(
                "transition", \.transition, .seconds(transitionTimes), .required, column: "TRANSITION",
                help: "How long changes of the state take."),
            Field(
                "changedBy", \.changedBy, Cause.type, .required, column: "CHANGED BY",
                help: "Who has changed the state."),
            Field(
                "isOpen", \.isOpen, .flag, .required, column: "OPEN",
                help: "Whether an open portal is in the group: initiators are told of no others."),
        ]
    }

    public struct Status: Record {
        /// The portal groups that there are, and those that had another state than the first one.
        public var groups: [Group] = []

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "groups", \.groups, .list(Group.type, maximumCount: 512), .required, column: "PORTAL GROUPS",
                help: "The portal groups, with what may be done through them.")
        ]
    }

    public static let description = KindDescription(
        AccessState.self, "access state", "access-states", command: "alua",
        help: "Say which paths to a device initiators are to use.",
        discussion: """
            Asymmetric logical unit access: of each device, every portal group is in a state, which multipath software \
            of initiators goes by. A device is named by its disk, its library (the changer), or LIBRARY/drive:N. The \
            states are kept until somebody changes them, also when the portal group goes.
            """,
        naming: .name(.any("device")), nameLabel: "device", verbs: [.list, .show],
        verbHelp: [.show: "Portal group by portal group."])

    public static var actions: [any ResourceAction.Type] { [SetState.self] }

    public enum SetState: ResourceAction {
        public typealias Kind = AccessState

        public struct Arguments: Record {
            /// The tag of the portal group.
            public var group = 1
            public var state = Word.activeOptimized
            /// Whether initiators are to prefer the group.
            public var isPreferred = false
            /// How long this change takes, and later ones of initiators, in seconds.
            public var transition = 0

            public init() {}

            public init(group: Int, state: Word, isPreferred: Bool = false, transition: Int = 0) {
                self.group = group
                self.state = state
                self.isPreferred = isPreferred
                self.transition = transition
            }

            public static let fields: [Field<Arguments>] = [
                Field(
                    "group", \.group, .count(Portal.portalGroups), .required, help: "The tag of the portal group."),
                Field("state", \.state, Word.type, .required, help: "What may be done through it."),
                Field(
                    "isPreferred", \.isPreferred, .flag, .withDefault(false),
                    help: "Whether initiators are to prefer the group; without it they are not."),
                Field(
                    "transition", \.transition, .seconds(transitionTimes), .withDefault(0),
                    help: "How long this change takes, and later ones of initiators; at once if left out."),
            ]
        }

        public static let description = ActionDescription(
            "set", Arguments.self, help: "Change the state of a device in a portal group.",
            discussion: """
                Through a group that is active/optimized or active/non-optimized everything is done; through one that \
                is standby only what tells of the device and sets it, no reading and writing; through an unavailable \
                one hardly more than the question for states, and another state; through an offline one, and while \
                a transition lasts, not even that. Initiators learn of the change by a unit attention, and change \
                states themselves with SET TARGET PORT GROUPS.
                """, positional: ["group", "state"])
    }
}
