/// A session of an initiator with a target (RFC 7143 section 4.2.6); its name is its TSIH.
public enum Session: ResourceKind {
    /// How long initiators may be given to log out, in seconds: Parameter3 of the message has 16 bits, but nobody waits
    /// that long.
    public static let gracePeriods: ClosedRange<Int64> = 1...3600

    public typealias Spec = NoFields

    public struct Connection: Record {
        /// The CID, unique in the session.
        public var connectionID = 0
        /// The initiator's address and port.
        public var peer = ""
        /// The address and port that the initiator connected to.
        public var local = ""
        /// The address and port of the portal, which may be a wildcard.
        public var portal = ""

        public init() {}

        public init(connectionID: Int, peer: String, local: String, portal: String) {
            self.connectionID = connectionID
            self.peer = peer
            self.local = local
            self.portal = portal
        }

        public var line: String { peer }

        public static let fields: [Field<Connection>] = [
            Field(
                "connectionID", \.connectionID, .number, .required, column: "CID",
                help: "The initiator's number of the connection."),
            Field(
                "peer", \.peer, .text(.any("address")), .required, column: "INITIATOR'S ADDRESS",
                help: "The initiator's address and port."),
            Field(
                "local", \.local, .text(.any("address")), .required, column: "ADDRESS USED",
                help: "The address and port that the initiator connected to."),
            Field(
                "portal", \.portal, .text(.any("address")), .required, column: "PORTAL",
                help: "The address and port of the portal, which may be a wildcard."),
        ]
    }

    public struct Status: Record {
        /// The iSCSI name of the initiator.
        public var initiator = ""
        /// InitiatorAlias, if the initiator sent one.
        public var initiatorAlias: String?
        /// The name that the initiator has proved to have by CHAP; nil when it had to prove nothing.
        public var chapUser: String?
        /// The iSCSI name of the target.
        public var target = ""
        /// The ISID, 12 hexadecimal digits.
        public var isid = ""
        /// The tag of the portal group that the session is in.
        public var portalGroup = 1
        /// The connections by CID.
        public var connections: [Connection] = []
        /// For how many seconds it has been logged in.
        public var age = 0
        /// How many commands have ended.
        public var commands = 0
        /// How many bytes were sent as Data-In.
        public var sentBytes = 0
        /// How many bytes were received as Data-Out.
        public var receivedBytes = 0
        /// The negotiated keys of the session, and those of the leading connection, as they were declared.
        public var parameters: [String: String] = [:]

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "initiator", \.initiator, .text(.any("name")), .required, column: "INITIATOR",
                help: "The iSCSI name of the initiator."),
            Field("initiatorAlias", \.initiatorAlias, .text(.any("text")), help: "InitiatorAlias, if it sent one."),
            Field(
                "chapUser", \.chapUser, .text(.any("name")),
                help: "The name that the initiator has proved to have by CHAP, if it had to prove something."),
            Field(
                "target", \.target, .text(.any("name")), .required, column: "TARGET",
                help: "The iSCSI name of the target."),
            Field(
                "isid", \.isid, .text(.any("text")), .required, column: "ISID", help: "The ISID, 12 hexadecimal digits."
            ),
            Field(
                "portalGroup", \.portalGroup, .number, .required, column: "PORTAL GROUP",
                help: "The tag of the portal group that it is in."),
            Field(
                "connections", \.connections, .list(Connection.type, maximumCount: 64), .required,
                column: "CONNECTIONS", help: "Its connections by CID."),
            Field("age", \.age, .seconds(0 ... .max), .required, help: "For how long it has been logged in."),
            Field("commands", \.commands, .number, .required, help: "How many commands have ended."),
            Field("sentBytes", \.sentBytes, .size(0 ... .max), .required, help: "How much was sent as Data-In."),
            Field(
                "receivedBytes", \.receivedBytes, .size(0 ... .max), .required,
                help: "How much was received as Data-Out."
            ),
            Field(
                "parameters", \.parameters, .map(.any("key"), .text(.any("value")), maximumCount: 64), .required,
                help: "What was negotiated for the session, and for its leading connection."),
        ]
    }

    public static let description = KindDescription(
        Session.self, "session", "sessions", help: "Show who is logged in, and close sessions.",
        naming: .number(1...65535), nameLabel: "TSIH", verbs: [.list, .show],
        verbHelp: [.show: "With its connections and what was negotiated."])

    public static var actions: [any ResourceAction.Type] { [Close.self] }

    public enum Close: ResourceAction {
        public typealias Kind = Session

        public struct Arguments: Record {
            /// The iSCSI name of the initiator whose sessions are closed, where no session is named.
            public var initiator: String?
            /// Of the initiator's sessions only those with this target.
            public var target: String?
            /// How long initiators get to log out, in seconds.
            public var seconds = 10

            public init() {}

            public init(initiator: String? = nil, target: String? = nil, seconds: Int = 10) {
                self.initiator = initiator
                self.target = target
                self.seconds = seconds
            }

            public static let fields: [Field<Arguments>] = [
                Field("initiator", \.initiator, .text(.iSCSIName), help: "All sessions of this initiator."),
                Field(
                    "target", \.target, .text(.target), help: "Of the initiator's sessions only those with this target."
                ),
                Field(
                    "seconds", \.seconds, .seconds(gracePeriods), .withDefault(10),
                    help: "How long the initiator gets to log out."),
            ]
        }

        public static let description = ActionDescription(
            "close", Arguments.self, help: "Ask initiators to log out, and close what is left.",
            discussion: """
                Many initiators log in again by themselves: to keep one out, take its access away ('carousel group', \
                'carousel target unmap').
                """, of: .either)
    }
}
