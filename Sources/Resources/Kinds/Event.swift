public import struct Foundation.Date

/// Something that was changed, by whom and when.
public enum Event: ResourceKind {
    public typealias Spec = NoFields

    public struct Status: Record {
        /// When it happened, by the daemon's clock at that time.
        public var time = Date(timeIntervalSince1970: 0)
        /// Who did it: `daemon`, `uid:0 pid:4711`, `token:backup`, the name of an initiator.
        public var actor = ""
        /// What was done: `create`, `delete`, `move` …
        public var verb = ""
        /// The kind of thing that it was done to.
        public var kind = ""
        /// The name of the thing.
        public var thing = ""
        /// What it was before, in JSON, without secrets; nil where there is nothing to say.
        public var old: String?
        /// What it is since then, in JSON, without secrets.
        public var new: String?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("time", \.time, .date, .required, column: "TIME", help: "When it happened."),
            Field("actor", \.actor, .text(.any("name")), .required, column: "BY", help: "Who did it."),
            Field("verb", \.verb, .text(.any("word")), .required, column: "DID", help: "What was done."),
            Field("kind", \.kind, .text(.any("word")), .required, column: "TO", help: "The kind of thing."),
            Field("thing", \.thing, .text(.any("name")), .required, column: "NAME", help: "The name of the thing."),
            Field("old", \.old, .text(.any("text")), help: "What it was before, without secrets."),
            Field("new", \.new, .text(.any("text")), help: "What it is since then, without secrets."),
        ]
    }

    public static let description = KindDescription(
        Event.self, "event", "events", help: "Show what was changed, by whom and when.",
        discussion: """
            Disks, libraries, cartridges, their moves, and changes of access are recorded, with what the thing was \
            before. The last 100,000 events of initiators are kept, and as many of all others.
            """,
        naming: .number(1...Int.max), nameLabel: "number", verbs: [.list, .show],
        verbHelp: [
            .list: "The oldest first; --last 20 shows the last ones. With --follow those that come, until Ctrl-C.",
            .show: "With what it changed.",
        ], filters: ["kind", "thing"], isFollowed: true)
}
