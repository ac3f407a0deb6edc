public import struct Foundation.Date

/// A move of a cartridge that was made.
public enum Move: ResourceKind {
    public typealias Spec = NoFields

    public struct Status: Record {
        /// When it was made, by the daemon's clock.
        public var time = Date(timeIntervalSince1970: 0)
        /// The barcode of the cartridge.
        public var cartridge = ""
        /// From where: `slot:3` or `vault`.
        public var from = ""
        /// To where: `drive:1` or `vault`.
        public var to = ""
        /// Who asked: `command` or `initiator`.
        public var cause = ""

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("time", \.time, .date, .required, column: "TIME", help: "When it was made."),
            Field(
                "cartridge", \.cartridge, .text(.barcode), .required, column: "CARTRIDGE",
                help: "The barcode of the cartridge."),
            Field("from", \.from, .text(.any("place")), .required, column: "FROM", help: "From where."),
            Field("to", \.to, .text(.any("place")), .required, column: "TO", help: "To where."),
            Field("cause", \.cause, .text(.any("word")), .required, column: "BY", help: "Who asked for it."),
        ]
    }

    public static let description = KindDescription(
        Move.self, "move", "moves", help: "List the last moves of cartridges.",
        naming: .part(of: .name(of: "library"), .any("number")), verbs: [.list],
        verbHelp: [.list: "The newest first."])
}
