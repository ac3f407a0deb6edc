public import struct Foundation.Date

/// A change or a check that takes long, under way or ended.
public enum DaemonJob: ResourceKind {
    public typealias Spec = NoFields

    public struct Status: Record {
        /// What it does: `create library vtl`.
        public var work = ""
        /// How far it is: `waiting`, `running`, `done`, `failed` or `cancelled`.
        public var state = ""
        /// How much of it is done, in words: `40 of 200 cartridges`.
        public var progress = ""
        /// How many units are done.
        public var done = 0
        /// How many units there are to do, as far as is known.
        public var total = 0
        /// What is counted: `cartridges`, `bytes`.
        public var unit = ""
        /// How many are done in a second; nil before the first.
        public var rate: Double?
        /// How many seconds the rest takes at this rate; nil when that is not known.
        public var remaining: Int?
        /// Who asked for it, as in events.
        public var actor = ""
        /// When it was asked for.
        public var asked = Date(timeIntervalSince1970: 0)
        /// When it ended; nil when it has not.
        public var ended: Date?
        /// Whether it can be cancelled now.
        public var canBeCancelled = false
        /// Why it failed or was cancelled; nil when it was not.
        public var problem: String?
        /// What kind of refusal that is: one of `ManagementError.Code`.
        public var problemCode: String?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("work", \.work, .text(.any("text")), .required, column: "WORK", help: "What it does."),
            Field("state", \.state, .text(.any("word")), .required, column: "STATE", help: "How far it is."),
            Field("progress", \.progress, .text(.any("text")), .required, column: "PROGRESS", help: "What is done."),
            Field("done", \.done, .count(0 ... .max), .required, help: "How many units are done."),
            Field("total", \.total, .count(0 ... .max), .required, help: "How many units there are to do."),
            Field("unit", \.unit, .text(.any("word")), .required, help: "What is counted: cartridges, bytes."),
            Field("rate", \.rate, .number, help: "How many are done in a second."),
            Field(
                "remaining", \.remaining, .seconds(0 ... .max), column: "REMAINING", help: "How long the rest takes."),
            Field("actor", \.actor, .text(.any("name")), .required, help: "Who asked for it."),
            Field("asked", \.asked, .date, .required, column: "ASKED", help: "When it was asked for."),
            Field("ended", \.ended, .date, help: "When it ended."),
            Field("canBeCancelled", \.canBeCancelled, .flag, .required, help: "Whether it can be cancelled now."),
            Field("problem", \.problem, .text(.any("sentence")), help: "Why it failed or was cancelled."),
            Field("problemCode", \.problemCode, .text(.any("word")), help: "The code of that problem."),
        ]
    }

    public static let description = KindDescription(
        DaemonJob.self, "job", "jobs", help: "Show what takes long, wait for it, and cancel it.",
        discussion: """
            The making and the deletion of libraries are jobs, and checks: those that are under way and the last that \
            have ended, since the daemon's start.
            """,
        naming: .number(1...Int.max), nameLabel: "number", verbs: [.list, .show])

    public static var actions: [any ResourceAction.Type] { [Cancel.self] }

    public enum Cancel: ResourceAction {
        public typealias Kind = DaemonJob
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "cancel", Arguments.self, help: "Have a job stop, and nothing of it stay.",
            discussion: "It may take a moment to end. A deletion that runs cannot be cancelled.")
    }
}
