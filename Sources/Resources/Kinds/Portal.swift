/// Where the daemon listens: an address and a port.
public enum Portal: ResourceKind {
    /// The tags that portal groups may have (RFC 7143 section 13.9).
    public static let portalGroups: ClosedRange<Int64> = 1...65535

    public struct Spec: Record {
        /// The tag of its portal group.
        public var portalGroup = 1

        public init() {}

        public init(portalGroup: Int) { self.portalGroup = portalGroup }

        public static let fields: [Field<Spec>] = [
            Field(
                "portalGroup", \.portalGroup, .count(portalGroups), .withDefault(1), column: "PORTAL GROUP",
                help: "The tag of its portal group.")
        ]
    }

    public struct Status: Record {
        /// Whether new logins are sent elsewhere.
        public var isDraining = false
        /// How many connections came in through it, logged in or not.
        public var connections = 0
        /// Why it could not be opened when the daemon started; nil when it is open.
        public var problem: String?

        public init() {}

        public init(isDraining: Bool, connections: Int) {
            self.isDraining = isDraining
            self.connections = connections
        }

        public static let fields: [Field<Status>] = [
            Field(
                "isDraining", \.isDraining, .flag, .required, column: "DRAINING",
                help: "Whether new logins are sent elsewhere."),
            Field(
                "connections", \.connections, .number, .required, column: "CONNECTIONS",
                help: "How many connections came in through it, logged in or not."),
            Field("problem", \.problem, .text(.any("sentence")), help: "Why it is not open."),
        ]
    }

    public static let description = KindDescription(
        Portal.self, "portal", "portals", help: "Say where the daemon listens.",
        discussion: """
            A portal is an address and a port: 192.0.2.1:3260, [2001:db8::1]:3260, 0.0.0.0:3260 or [::]:3260 for all \
            addresses of the machine. Portals form groups, which have tags from 1 to 65535: a session stays in the \
            group in which it began, and a target can be offered by some groups only ('carousel target set'). The \
            daemon remembers its portals.
            """,
        naming: .name(.portal), nameLabel: "portal", verbs: [.list, .show, .create, .delete],
        verbHelp: [
            .create: "The daemon listens there at once. Port 0 lets the system choose one.",
            .delete: "Refused while a session uses the portal: drain it first. The last portal stays.",
        ], roleOfChanges: .admin)

    public static var actions: [any ResourceAction.Type] { [Drain.self, Resume.self] }

    public enum Drain: ResourceAction {
        public typealias Kind = Portal

        public struct Arguments: Record {
            /// How long initiators get to log out, in seconds.
            public var seconds = 30

            public init() {}

            public static let fields: [Field<Arguments>] = [
                Field(
                    "seconds", \.seconds, .seconds(Session.gracePeriods), .withDefault(30),
                    help: "How long initiators get to log out.")
            ]
        }

        public static let description = ActionDescription(
            "drain", Arguments.self, help: "Free a portal of its sessions.",
            discussion: """
                New logins are sent to another portal of the group, or of another group that offers the target; \
                without one they are refused as unavailable. Initiators that are logged in through the portal are \
                asked to log out, and what is left after the time is closed. Discovery goes on. The state ends with \
                'carousel portal resume' or with the daemon.
                """,
            role: .operator)
    }

    public enum Resume: ResourceAction {
        public typealias Kind = Portal
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "resume", Arguments.self, help: "Let a drained portal take logins again.",
            role: .operator)
    }

    public static func summary(_ portal: Resource<Portal>) -> String {
        portal.status.isDraining
            ? "portal \(portal.name) is draining"
            : "portal \(portal.name) is open in portal group \(portal.spec.portalGroup)"
    }
}
