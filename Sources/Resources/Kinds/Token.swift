public import struct Foundation.Date

/// What a program, or somebody on another machine, asks the daemon with, in a role of its own.
public enum Token: ResourceKind {
    /// How many seconds a token may be good for: a minute to a hundred years.
    public static let lifetimes: ClosedRange<Int64> = 60...3_155_760_000

    public struct Spec: Record {
        /// What whoever has it may ask for.
        public var role = Role.viewer
        /// For how many seconds from its creation on it is good; nil for ever.
        public var lifetime: Int?

        public init() {}

        public init(role: Role, lifetime: Int? = nil) {
            self.role = role
            self.lifetime = lifetime
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "role", \.role, Role.type, .required, column: "ROLE",
                help: "What whoever has it may do: look (viewer), run devices (operator), or all (admin)."),
            Field(
                "lifetime", \.lifetime, .seconds(lifetimes), change: .onlyAtCreation, option: "expires",
                help: "After how long it is good no more, as in 90d or 12h; never when left out."),
        ]
    }

    public struct Status: Record {
        /// When it was made.
        public var created = Date(timeIntervalSince1970: 0)
        /// From when on it is good no more; nil when it always is.
        public var expires: Date?
        /// When somebody last asked with it since the daemon started; nil when nobody has.
        public var lastUsed: Date?
        /// The token itself, in the answer to its creation only: the daemon does not know it afterwards.
        public var token: String?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("created", \.created, .date, .required, column: "CREATED", help: "When it was made."),
            Field("expires", \.expires, .date, column: "EXPIRES", help: "From when on it is good no more."),
            Field(
                "lastUsed", \.lastUsed, .date, column: "LAST USED",
                help: "When somebody last asked with it since the daemon started."),
            Field("token", \.token, .text(.any("token")), help: "The token, in the answer to its creation only."),
        ]
    }

    public static let description = KindDescription(
        Token.self, "token", "tokens", help: "Let programs and other machines ask the daemon.",
        discussion: """
            Whoever sends a token with a request ('Authorization: Bearer TOKEN') may do what its role says, whoever \
            that is: a viewer looks; an operator makes and changes devices, moves media and acknowledges losses; an \
            admin decides who sees what, deletes media, and does all else. Root and the daemon's own user need none on \
            this machine. The daemon keeps a digest of each in tokens.json in the state folder, no token. Events tell \
            who asked as token:NAME.
            """,
        naming: .name(.name(of: "token")), verbs: [.list, .show, .create, .delete],
        verbHelp: [
            .create: "It is shown this once: put it into a file that only its user can read.",
            .delete: "Who asks with it is refused from then on.",
        ], roleOfChanges: .admin, hasGenerations: false)

    public static func summary(_ token: Resource<Token>) -> String {
        let kept = token.status.token.map { ", and shown only now: \($0)" } ?? ""
        return "token \(token.name) is \(token.spec.role.aName)'s\(kept)"
    }
}
