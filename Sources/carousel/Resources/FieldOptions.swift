import ArgumentParser
import Management
import Resources

/// Where a command takes its options from.
protocol OptionSource {
    /// The fields that options give.
    static var options: [FieldDescription] { get }
    /// The fields that words without an option's name give, in their order.
    static var words: [FieldDescription] { get }
    /// Whether options are required that a thing cannot be made without.
    static var requiresFields: Bool { get }
    /// Whether flags are wishes: given or not, without a way to say no.
    static var areWishes: Bool { get }
    /// Whether the options change something that there is.
    static var areChanges: Bool { get }
}

extension OptionSource {
    static var words: [FieldDescription] { [] }
    static var areWishes: Bool { false }
    static var areChanges: Bool { false }
}

/// The options that a table of fields describes: `--block-size 512`, `--removable`.
///
/// ArgumentParser asks a mirror of the value for its options, so the mirror tells it of one for each field; help,
/// completion and manual pages follow from that.
struct FieldOptions<Source: OptionSource>: ParsableArguments, CustomReflectable {
    private var given: [String: JSONValue] = [:]
    /// Secrets by field: the file that was named, or nil to ask for it.
    private var secrets: [(field: FieldDescription, file: String?)] = []
    /// What is wrong with what was given: ArgumentParser has no way to pass it on while it decodes.
    private var failure: CommandFailure?

    init() {}

    /// What was given: fields with their values in JSON.
    var members: [String: JSONValue] {
        get throws {
            if let failure { throw failure }
            var members = given
            for (field, file) in secrets {
                let bytes = try SecretSource(path: file).read(field.label, option: "--\(Self.name(of: field))")
                members[field.name] = Secret(bytes).json
            }
            return members
        }
    }

    // MARK: Definition

    var customMirror: Mirror {
        let words = Source.words.map { (label: String?.some($0.name), value: Self.argument($0)) }
        let options = Self.options.map { (label: String?.some($0.name), value: Self.option($0)) }
        return Mirror(self, children: words + options)
    }

    /// Those that a command line can give.
    private static var options: [FieldDescription] { Source.options.filter(\.type.isWritable) }

    /// The name of the option, without the dashes: secrets come from files.
    private static func name(of field: FieldDescription) -> String {
        if case .secret = field.type { field.optionName + "-file" } else { field.optionName }
    }

    private static func argument(_ field: FieldDescription) -> Any {
        Argument<String>(help: ArgumentHelp(field.help))
    }

    private static func option(_ field: FieldDescription) -> Any {
        let name = NameSpecification.customLong(name(of: field))
        let help = ArgumentHelp(
            field.help + defaultText(field), valueName: field.type.valueName)
        switch kind(of: field) {
        case .flag: return Flag<Bool?>(name: name, inversion: .prefixedNo, help: help)
        case .wish: return Flag<Bool>(wrappedValue: false, name: name, help: help)
        case .several: return Option<[String]>(wrappedValue: [], name: name, help: help)
        case .one:
            var completion: CompletionKind?
            if case .choice(let choices) = field.type { completion = .list(choices.map { field.type.shown($0) }) }
            return Option<String?>(name: name, help: help, completion: completion)
        }
    }

    private enum OptionKind {
        case one, several, flag
        /// A flag that is only given or not.
        case wish
    }

    private static func kind(of field: FieldDescription) -> OptionKind {
        switch field.type {
        case .flag: Source.areWishes ? .wish : .flag
        case .list, .map: .several
        default: .one
        }
    }

    private static func defaultText(_ field: FieldDescription) -> String {
        if let absence = field.absence, Source.areChanges { return " '\(absence)' takes it away." }
        guard case .withDefault(let value) = field.need, Source.requiresFields, kind(of: field) != .wish else {
            return ""
        }
        return " (default: \(field.type.shown(value)))"
    }

    // MARK: Values

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        for field in Source.words {
            let word = try container.decode(Argument<String>.self, forKey: Key(stringValue: field.name)).wrappedValue
            take(field) { () throws(CommandFailure) in try Self.value(of: word, field) }
        }
        for field in Self.options {
            let key = Key(stringValue: field.name)
            switch Self.kind(of: field) {
            case .flag:
                given[field.name] = try container.decode(Flag<Bool?>.self, forKey: key).wrappedValue.map { .bool($0) }
            case .wish:
                if try container.decode(Flag<Bool>.self, forKey: key).wrappedValue { given[field.name] = true }
            case .several:
                let words = try container.decode(Option<[String]>.self, forKey: key).wrappedValue
                guard !words.isEmpty else { continue }
                take(field) { () throws(CommandFailure) in try Self.values(of: words, field) }
            case .one:
                let word = try container.decode(Option<String?>.self, forKey: key).wrappedValue
                if case .secret = field.type {
                    if word != nil || field.need == .required && Source.requiresFields {
                        secrets.append((field, word))
                    }
                    continue
                }
                if let word { take(field) { () throws(CommandFailure) in try Self.value(of: word, field) } }
            }
            if given[field.name] == nil, field.need == .required, Source.requiresFields {
                failure =
                    failure
                    ?? CommandFailure(.usage, "give the \(field.label) with --\(field.optionName): \(field.help)")
            }
        }
    }

    /// Remembers the first failure.
    private mutating func take(
        _ field: FieldDescription, _ value: () throws(CommandFailure) -> JSONValue
    ) {
        do {
            given[field.name] = try value()
        } catch {
            failure = failure ?? error
        }
    }

    private static func value(of word: String, _ field: FieldDescription) throws(CommandFailure) -> JSONValue {
        if word == field.absence { return .null }
        if case .text(let rule) = field.type, rule.isPath {
            return .text(try PathArgument.absolute(word, "a file, for --\(name(of: field))"))
        }
        return try parsing { () throws(ManagementError) in
            try field.type.parsed(word, field: field.label)
        }
    }

    /// Lists may be given by several options, and by one with commas.
    private static func values(of words: [String], _ field: FieldDescription) throws(CommandFailure) -> JSONValue {
        if words == [field.absence] { return .null }
        return try parsing { () throws(ManagementError) in
            guard case .map(_, let type, _) = field.type else {
                return try field.type.parsed(words.joined(separator: ","), field: field.label)
            }
            var members: [String: JSONValue] = [:]
            for word in words {
                let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else {
                    throw ManagementError(
                        .invalid,
                        "'\(word)' is not possible for --\(field.optionName); write \(field.type.valueName)")
                }
                guard members[String(parts[0])] == nil else {
                    throw ManagementError(.invalid, "--\(field.optionName) \(parts[0]) is given twice; give it once")
                }
                members[String(parts[0])] = try type.parsed(String(parts[1]), field: field.label)
            }
            return try field.type.checked(.object(members), field: field.label)
        }
    }
}
