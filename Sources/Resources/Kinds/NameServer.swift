public import struct Foundation.Date

/// The iSNS server (RFC 4171) that targets, portals and portal groups are registered with; there is one at most.
public enum NameServer: ResourceKind {
    public struct Spec: Record {
        /// `host:port`, an IPv6 address in brackets.
        public var server = ""
        /// Whether discovery domains decide who gets in.
        public var accessControl = false

        public init() {}

        public init(server: String, accessControl: Bool = false) {
            self.server = server
            self.accessControl = accessControl
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "server", \.server, .text(.nameServer), .required, change: .always, column: "SERVER",
                help: "Its name or address, and the port if it is not \(NameServerAddress.defaultPort)."),
            Field(
                "accessControl", \.accessControl, .flag, .withDefault(false), change: .always,
                column: "ACCESS CONTROL", help: "Whether its discovery domains decide who gets in."),
        ]
    }

    public struct Status: Record {
        /// Whether everything is registered.
        public var isRegistered = false
        /// The time since which it is registered.
        public var registeredSince: Date?
        /// What names this daemon at the server.
        public var entity = ""
        /// How many targets are registered.
        public var targets = 0
        /// How many portals are registered.
        public var portals = 0
        /// What went wrong last; nil when it has come right since.
        public var problem: String?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "isRegistered", \.isRegistered, .flag, .required, column: "REGISTERED",
                help: "Whether everything is registered."),
            Field("registeredSince", \.registeredSince, .date, help: "Since when it is registered."),
            Field(
                "entity", \.entity, .text(.any("name")), .required, help: "What names this daemon at the server."),
            Field(
                "targets", \.targets, .number, .required, column: "TARGETS", help: "How many targets are registered."),
            Field(
                "portals", \.portals, .number, .required, column: "PORTALS", help: "How many portals are registered."),
            Field("problem", \.problem, .text(.any("sentence")), help: "What went wrong last."),
        ]
    }

    public static let description = KindDescription(
        NameServer.self, "name server", "name-servers", command: "isns",
        help: "Register targets and portals with an iSNS server.",
        discussion: """
            The daemon registers its targets, portals and portal groups with one iSNS server (RFC 4171), follows \
            changes, and withdraws the registration when it ends. iSNS has neither encryption nor proof of who \
            speaks: use it on networks that you trust.

            With access control an initiator gets in to a target only if both are in one discovery domain at the \
            server, in addition to what groups of initiators say. Until the server has told who may see a target, \
            nobody gets in there; when the server is away, what it told last counts. Sessions of initiators that \
            leave the domain are ended, within seconds where the server tells of it, else within 15 seconds.
            """,
        naming: .single("isns"), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .create: "There is one at most. 'carousel isns show' tells whether it answers.",
            .set: "Another server gets the registration, which is withdrawn from the former one.",
            .delete: "The registration is taken back.",
        ],
        wideningVerbs: [.set, .delete], roleOfChanges: .admin)

    public static func summary(_ server: Resource<NameServer>) -> String {
        "iSNS server \(server.spec.server) is set; 'carousel isns show' tells whether it answers"
    }
}
