/// A name and a secret of CHAP (RFC 7143 section 9.2.1), which initiators prove to know at a place: `PLACE/USER`.
public enum Credential: ResourceKind {
    /// How many bytes a secret may have.
    public static let secretLengths = 12...255
    /// The algorithms of CHAP_A by name.
    public static let algorithms = ["md5", "sha1", "sha-256", "sha3-256"]

    public struct Spec: Record {
        /// The secret; nil in answers.
        public var secret: Secret?
        /// Whether it is the target's own, with which it answers initiators that ask it to prove itself too.
        public var isMutual = false
        /// The algorithms that its place allows, for all names there; nil for those that are allowed already, or all.
        public var algorithms: [String]?

        public init() {}

        public init(secret: Secret?, isMutual: Bool = false, algorithms: [String]? = nil) {
            self.secret = secret
            self.isMutual = isMutual
            self.algorithms = algorithms
        }

        public static let fields: [Field<Spec>] = [
            Field(
                "secret", \.secret, .secret(secretLengths), .required, change: .always, isSecret: true,
                help: "The file whose first line is the secret, - for standard input; asked for if left out."),
            Field(
                "isMutual", \.isMutual, .flag, .withDefault(false), column: "TARGET'S OWN",
                help: "Whether it is the target's own, with which it proves itself to initiators that ask."),
            Field(
                "algorithms", \.algorithms,
                .list(.choice(Credential.algorithms.map { .text($0) }), maximumCount: Credential.algorithms.count),
                change: .always, column: "ALGORITHMS", option: "algorithm",
                help: "The algorithms that the place allows, for all names there; all until they are chosen."),
        ]
    }

    public typealias Status = NoFields

    public static let description = KindDescription(
        Credential.self, "credential", "credentials", command: "chap", help: "Let initiators prove who they are.",
        discussion: """
            CHAP can be asked for at a target (target:NAME), of the members of a group (group:NAME; at every target \
            that the group was mapped to, and before that of the target), and in discovery sessions (discovery). \
            Secrets have 12 to 255 bytes. They are stored in chap.json in the state folder, which only the daemon's \
            user may read, and shown nowhere. Sessions that are logged in stay; the next login has to know the secret.

            A slash ends the place, so one in the name of a target is written %2F, here and in requests: \
            target:iqn.2004-10.com.example:a%2Fb/USER. What follows the slash is the user, slashes included. A drive \
            is no place: whoever wants it has to log in to a target that shows it.

            That a proof is required is remembered apart from the secrets: where these are deleted or lost, nobody \
            gets in until others are set, or 'carousel chap waive' says that none is needed.
            """,
        naming: .part(of: .credentialPlace, .credentialUser), verbs: [.list, .show, .create, .set, .delete],
        verbHelp: [
            .create: """
            The secret is read from the first line of a file, from standard input with '--secret-file -', or asked \
            for on the terminal. The target's own needs a user there besides, with another secret.
            """,
            .set: "Another secret for the user.",
            .delete: "Where the last user goes, nobody gets in any more: see 'carousel chap waive'.",
        ], roleOfChanges: .admin)

    public static var actions: [any ResourceAction.Type] { [Allow.self, Waive.self] }

    public enum Allow: ResourceAction {
        public typealias Kind = Credential

        public struct Arguments: Record {
            /// Where: `target:NAME`, `group:NAME` or `discovery`.
            public var place = ""
            /// The names of the algorithms.
            public var algorithms: [String] = []

            public init() {}

            public init(place: String, algorithms: [String]) {
                self.place = place
                self.algorithms = algorithms
            }

            public static let fields: [Field<Arguments>] = [
                Field(
                    "place", \.place, .text(.credentialPlace), .required,
                    help: "target:NAME, group:NAME or discovery."),
                Field(
                    "algorithms", \.algorithms,
                    .list(
                        .choice(Credential.algorithms.map { .text($0) }), maximumCount: Credential.algorithms.count),
                    .required, help: "The algorithms, with commas: \(Credential.algorithms.joined(separator: ", "))."),
            ]
        }

        public static let description = ActionDescription(
            "allow", Arguments.self, help: "Choose the algorithms that initiators may use at a place.",
            discussion: "All are allowed until then.", positional: ["place", "algorithms"], of: .kind)
    }

    public enum Waive: ResourceAction {
        public typealias Kind = Credential

        public struct Arguments: Record {
            /// Where: `target:NAME`, `group:NAME` or `discovery`.
            public var place = ""
            /// Whether somebody may get in then who has to prove something now.
            public var mayWiden = false

            public init() {}

            public init(place: String, mayWiden: Bool = false) {
                self.place = place
                self.mayWiden = mayWiden
            }

            public static let fields: [Field<Arguments>] = [
                Field(
                    "place", \.place, .text(.credentialPlace), .required,
                    help: "target:NAME, group:NAME or discovery."),
                .open(\.mayWiden),
            ]
        }

        public static let description = ActionDescription(
            "waive", Arguments.self, help: "Ask for no proof at a place any more, and forget its secrets.",
            discussion: """
                Everyone gets in then whom the target's access lets in; --open has to say that it is meant.
                """, positional: ["place"], of: .kind)
    }

    public static func summary(_ credential: Resource<Credential>) -> String {
        let parts = credential.name.split(separator: "/", maxSplits: 1)
        let (place, user) = (parts.first ?? "", parts.last ?? "")
        return credential.spec.isMutual ? "\(place) answers as \(user)" : "\(place) asks for \(user)"
    }
}
