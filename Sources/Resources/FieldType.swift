import Foundation

/// A rule for text: the one place that knows what may stand there.
public struct TextRule: Sendable {
    /// What it is, for usage lines: `name`, `address:port`.
    public let valueName: String
    /// The text in its canonical form, or the sentence that refuses it.
    public let canonical: @Sendable (String) throws(ManagementError) -> String
    /// Whether it is the path of a file, which a command line may give relative to the current folder.
    public let isPath: Bool
    /// Whether it is somebody's words, which mean the same with a space in place of what the rule does not permit.
    let isWords: Bool

    public init(
        _ valueName: String, isPath: Bool = false, isWords: Bool = false,
        _ canonical: @escaping @Sendable (String) throws(ManagementError) -> String
    ) {
        self.valueName = valueName
        self.isPath = isPath
        self.isWords = isWords
        self.canonical = canonical
    }

    /// Any text of at most `maximumLength` bytes in UTF-8.
    public static func any(_ valueName: String, maximumLength: Int = 4096) -> TextRule {
        TextRule(valueName) { text throws(ManagementError) in
            guard text.utf8.count <= maximumLength else {
                throw ManagementError(
                    .invalid, "a \(valueName) of \(text.utf8.count) bytes is too long; it may have \(maximumLength)")
            }
            return text
        }
    }
}

extension TextRule {
    /// One line of at most `maximumLength` bytes in UTF-8, in somebody's words: without control characters, which could
    /// command the terminal of whoever reads it, and ends of lines.
    public static func line(_ valueName: String, maximumLength: Int) -> TextRule {
        TextRule(valueName, isWords: true) { text throws(ManagementError) in
            let text = try any(valueName, maximumLength: maximumLength).canonical(text)
            guard text.unicodeScalars.allSatisfy(isPlain) else {
                throw ManagementError(
                    .invalid,
                    "the \(valueName) '\(PrintableText.escaped(text))' has control characters or ends of lines; write "
                        + "one line without them")
            }
            return text
        }
    }
}

extension TextRule {
    /// Whether words may have it.
    fileprivate static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: false
        // What turns the direction of text has it say something else than it holds.
        default: !scalar.properties.isBidiControl
        }
    }
}

/// What values a field has: how they are checked, written on a command line, shown in tables and described in OpenAPI.
public indirect enum FieldType: Sendable {
    case flag
    /// A number of things.
    case count(ClosedRange<Int64>)
    /// A number of bytes.
    case size(ClosedRange<Int64>)
    /// A share in percent.
    case percent(ClosedRange<Int64>)
    /// A time in seconds.
    case seconds(ClosedRange<Int64>)
    /// A number that is only shown.
    case number
    case text(TextRule)
    /// So many bytes that only the daemon may know; in JSON in Base64, and in no answer. Command lines name a file
    /// with them.
    case secret(ClosedRange<Int>)
    /// One of a few numbers or words.
    case choice([JSONValue])
    case date
    /// At most so many values of one type.
    case list(FieldType, maximumCount: Int)
    /// At most so many values of one type by name.
    case map(TextRule, FieldType, maximumCount: Int)
    /// Some fields; `line` is such a value for people, in one line.
    case record([FieldDescription], line: @Sendable (JSONValue) -> String)

    // MARK: Checks

    /// `value`, and if it is words that an older rule has permitted, with spaces where this one permits nothing.
    public func withPlainWords(_ value: JSONValue) -> JSONValue {
        guard case .text(let rule) = self, rule.isWords, case .text(let text) = value else { return value }
        let scalars = text.unicodeScalars.map { TextRule.isPlain($0) ? $0 : " " }
        return .text(String(String.UnicodeScalarView(scalars)))
    }

    /// `value` in its canonical form; `field` is its name, for the sentence that refuses it.
    public func checked(_ value: JSONValue, field: String) throws(ManagementError) -> JSONValue {
        switch (self, value) {
        case (.flag, .bool), (.number, .integer), (.number, .number): return value
        case (.count(let range), .integer(let number)), (.seconds(let range), .integer(let number)),
            (.percent(let range), .integer(let number)):
            guard range.contains(number) else {
                throw ManagementError(
                    .invalid, "\(field) \(number) is not possible; give \(range.lowerBound) to \(range.upperBound)",
                    field: field)
            }
            return value
        case (.count(let range), .number(let number)), (.seconds(let range), .number(let number)),
            (.size(let range), .number(let number)), (.percent(let range), .number(let number)):
            throw ManagementError(
                .invalid,
                "\(field) \(number) is not possible; give a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound)", field: field)
        case (.size(let range), .integer(let size)):
            try Self.check(size, in: range, field: field)
            return value
        case (.text(let rule), .text(let text)):
            do throws(ManagementError) {
                return .text(try rule.canonical(text))
            } catch {
                throw error.about(field)
            }
        case (.secret(let lengths), .text(let text)):
            guard let count = Secret.from(.text(text))?.bytes.count else {
                throw ManagementError(
                    .invalid, "\(field) is no Base64; give \(lengths.lowerBound) to \(lengths.upperBound) bytes so",
                    field: field)
            }
            guard lengths.contains(count) else {
                throw ManagementError(
                    .invalid,
                    "\(field) has \(count == 1 ? "1 byte" : "\(count) bytes"), which is too "
                        + "\(count < lengths.lowerBound ? "short" : "long"); give \(lengths.lowerBound) to "
                        + "\(lengths.upperBound) bytes", field: field)
            }
            return value
        case (.choice(let choices), _):
            guard choices.contains(value) else {
                throw ManagementError(
                    .invalid, "\(field) \(Self.quoted(value)) is not offered; use \(Self.either(choices))", field: field
                )
            }
            return value
        case (.date, .text):
            guard Date.from(value) != nil else { break }
            return value
        case (.list(let type, let maximumCount), .array(let elements)):
            try Self.check(elements.count, atMost: maximumCount, field: field)
            var checked: [JSONValue] = []
            for element in elements { checked.append(try type.checked(element, field: field)) }
            return .array(checked)
        case (.map(let rule, let type, let maximumCount), .object(let members)):
            try Self.check(members.count, atMost: maximumCount, field: field)
            var checked: [String: JSONValue] = [:]
            for (name, member) in members.sorted(by: { $0.key < $1.key }) {
                let canonical: String
                do throws(ManagementError) { canonical = try rule.canonical(name) } catch { throw error.about(field) }
                let value = try type.checked(member, field: "\(field).\(name)")
                guard checked.updateValue(value, forKey: canonical) == nil else {
                    throw ManagementError(.invalid, "\(field) has '\(canonical)' twice; give it once", field: field)
                }
            }
            return .object(checked)
        case (.record(let fields, _), .object(let members)):
            let checked = try fields.checked(members, of: field, path: field + ".")
            if let missing = fields.first(where: { $0.need == .required && [nil, .null].contains(checked[$0.name]) }) {
                throw ManagementError(
                    .invalid, "\(field) needs its \(missing.label): \(missing.help)", field: "\(field).\(missing.name)")
            }
            return .object(checked.filter { $0.value != .null })
        default: break
        }
        throw ManagementError(
            .invalid, "\(field) is \(value.typeName) where \(expectation) is expected", field: field)
    }

    private static func check(_ size: Int64, in range: ClosedRange<Int64>, field: String) throws(ManagementError) {
        guard !range.contains(size) else { return }
        let sentence =
            if size <= 0 {
                "\(field) \(size) is nothing; give at least \(ByteSize.format(range.lowerBound))"
            } else if size < range.lowerBound {
                "\(field) \(ByteSize.format(size)) is too little; give at least \(ByteSize.format(range.lowerBound))"
            } else {
                "\(field) \(ByteSize.format(size)) is too much; give at most \(ByteSize.format(range.upperBound))"
            }
        throw ManagementError(.invalid, sentence, field: field)
    }

    private static func check(_ count: Int, atMost maximum: Int, field: String) throws(ManagementError) {
        guard count <= maximum else {
            throw ManagementError(
                .invalid, "\(count) values of \(field) are too many; give at most \(maximum)", field: field)
        }
    }

    /// What is expected, for a sentence.
    private var expectation: String {
        switch self {
        case .flag: "true or false"
        case .count, .number, .percent: "a number"
        case .seconds: "a number of seconds"
        case .size: "a number of bytes"
        case .text(let rule): "the text of a \(rule.valueName)"
        case .secret: "a text in Base64"
        case .choice(let choices): Self.either(choices)
        case .date: "a time in ISO 8601"
        case .list: "a list"
        case .map, .record: "an object"
        }
    }

    private static func quoted(_ value: JSONValue) -> String { "'\(FieldType.number.shown(value))'" }

    private static func either(_ choices: [JSONValue]) -> String {
        let words = choices.map { FieldType.number.shown($0) }
        guard words.count > 1, let last = words.last else { return words.first ?? "nothing" }
        return "\(words.dropLast().joined(separator: ", ")) or \(last)"
    }

    // MARK: Command line

    /// The value that the word `text` of a command line means. Lists have commas between their elements.
    public func parsed(_ text: String, field: String) throws(ManagementError) -> JSONValue {
        func number(_ range: ClosedRange<Int64> = .min ... .max) throws(ManagementError) -> JSONValue {
            do throws(ManagementError) {
                return .integer(try PlainNumber.number(text, for: field, in: range))
            } catch {
                throw error.about(field)
            }
        }
        let value: JSONValue
        switch self {
        case .flag:
            guard let flag = ["yes": true, "true": true, "no": false, "false": false][text] else {
                throw ManagementError(.invalid, "'\(text)' is neither yes nor no, for \(field)", field: field)
            }
            value = .bool(flag)
        case .count(let range): value = try number(range)
        case .percent(let range):
            let digits = text.hasSuffix("%") ? String(text.dropLast()) : text
            guard let percent = PlainNumber.parse(digits, as: Int64.self) else {
                throw ManagementError(
                    .invalid,
                    "'\(text)' is no percentage for \(field); give \(range.lowerBound)% to \(range.upperBound)%",
                    field: field)
            }
            value = .integer(percent)
        case .number: value = try number()
        case .seconds:
            guard let seconds = TimeSpan.seconds(text) else {
                throw ManagementError(
                    .invalid, "'\(text)' is no time for \(field); give seconds, or as in 30m, 12h and 90d", field: field
                )
            }
            value = .integer(seconds)
        case .size: value = .integer(try ByteSize.parse(text))
        case .choice(let choices): value = choices.first { Self.number.shown($0) == text } ?? .text(text)
        case .text, .secret: value = .text(text)
        // A day begins at midnight, UTC.
        case .date: value = .text(text.utf8.count == Self.dayLength ? text + "T00:00:00Z" : text)
        case .list(let type, _):
            var elements: [JSONValue] = []
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                elements.append(try type.parsed(String(part), field: field))
            }
            value = .array(elements)
        case .map, .record:
            throw ManagementError(.invalid, "\(field) cannot be written as one word", field: field)
        }
        return try checked(value, field: field)
    }

    /// The characters of a day, `2027-01-31`.
    private static let dayLength = 10

    /// What stands for a value in usage lines.
    public var valueName: String {
        switch self {
        case .flag: "yes|no"
        case .count, .number: "n"
        case .percent: "percentage"
        case .seconds: "seconds"
        case .size: "size"
        case .text(let rule): rule.valueName
        case .secret: "file"
        case .choice(let choices): choices.map { Self.number.shown($0) }.joined(separator: "|")
        case .date: "time"
        case .list(let type, _): type.valueName
        case .map(let rule, let type, _): "\(rule.valueName)=\(type.valueName)"
        case .record: "object"
        }
    }

    /// Whether a word of a command line can be a value.
    public var isWritable: Bool {
        switch self {
        case .record: false
        case .list(let type, _), .map(_, let type, _): type.isWritable
        default: true
        }
    }

    // MARK: Tables

    /// `value` for people.
    public func shown(_ value: JSONValue) -> String {
        switch (self, value) {
        case (_, .null): "-"
        case (.size, .integer(let size)): ByteSize.format(size)
        case (.seconds, .integer(let number)): "\(number) s"
        case (.percent, .integer(let number)): "\(number)%"
        case (_, .bool(let flag)): flag ? "yes" : "no"
        case (_, .integer(let number)): "\(number)"
        case (_, .number(let number)): "\((number * 10).rounded() / 10)"
        case (_, .text(let text)): text
        case (.list(let type, _), .array(let elements)):
            elements.isEmpty ? "-" : elements.map(type.shown).joined(separator: ", ")
        case (.map(_, let type, _), .object(let members)):
            members.isEmpty
                ? "-" : Self.ordered(members).map { "\($0)=\(type.shown($1))" }.joined(separator: ", ")
        case (.record(_, let line), .object): line(value)
        case (_, .array(let elements)): "\(elements.count) values"
        case (_, .object(let members)): "\(members.count) values"
        }
    }

    /// The members of a map in the order of their names; numbers as such.
    public static func ordered(_ members: [String: JSONValue]) -> [(String, JSONValue)] {
        members.sorted { first, second in
            if let first = Int(first.key), let second = Int(second.key) { return first < second }
            return first.key < second.key
        }.map { ($0.key, $0.value) }
    }

    // MARK: OpenAPI

    /// The schema in OpenAPI 3.1.
    public var schema: JSONValue {
        switch self {
        case .flag: ["type": "boolean"]
        case .count(let range), .size(let range), .seconds(let range), .percent(let range):
            [
                "type": "integer", "format": "int64", "minimum": .integer(range.lowerBound),
                "maximum": .integer(range.upperBound),
            ]
        case .number: ["type": "number"]
        case .text: ["type": "string"]
        case .secret: ["type": "string", "contentEncoding": "base64"]
        case .choice(let choices): ["enum": .array(choices)]
        case .date: ["type": "string", "format": "date-time"]
        case .list(let type, let maximumCount):
            ["type": "array", "items": type.schema, "maxItems": .integer(Int64(maximumCount))]
        case .map(_, let type, let maximumCount):
            [
                "type": "object", "additionalProperties": type.schema,
                "maxProperties": .integer(Int64(maximumCount)),
            ]
        case .record(let fields, _): fields.schema
        }
    }
}
