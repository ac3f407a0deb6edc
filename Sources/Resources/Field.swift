/// Whether a field must be given when its thing is made.
public enum FieldNeed: Sendable, Hashable {
    case required
    case optional
    /// When it is not given, it has this value.
    case withDefault(JSONValue)
}

/// Whether a field may be changed later.
public enum FieldChange: Sendable, Hashable {
    case never
    /// To larger values only.
    case growing
    case always
    /// It is only given when the thing is made, and not kept.
    case onlyAtCreation
}

/// What is known of one field of a spec, a status or the arguments of an action: everything that command line, API,
/// tables, OpenAPI and configuration files need.
public struct FieldDescription: Sendable {
    /// In JSON, in camel case: `blockSize`.
    public let name: String
    public let type: FieldType
    public let need: FieldNeed
    public let change: FieldChange
    /// Its heading in lists; nil when it is shown of single things only.
    public let column: String?
    /// The sentence of the help.
    public let help: String
    /// Whether it is kept out of answers, logs and events.
    public let isSecret: Bool
    /// What stands for its absence on command lines and in tables: `all`, `none`; nil when nothing does.
    public let absence: String?
    /// The role that whoever gives the field needs; nil where what it is given to says so.
    public let role: Role?
    /// Its name on the command line, where that is another than its own: `name` of `names`.
    fileprivate let option: String?

    /// Its name on the command line, without the dashes: `block-size`; `draining` of `isDraining`.
    public var optionName: String { option ?? words.joined(separator: "-") }
    /// Its name for people: `block size`; `checksums` of `hasChecksums`.
    public var label: String { words.joined(separator: " ") }

    /// The name of the field by which requests allow that somebody sees more than before.
    public static let openName = "open"
    /// What `open` means in requests that may let somebody see more than before.
    public static let openHelp = "Whether somebody may see more than before; that is refused otherwise."

    /// `value` for people.
    public func shown(_ value: JSONValue) -> String {
        if value == .null, let absence { return absence }
        return type.shown(value)
    }

    /// Whether its label is what things are or are not: `mutual` of `isMutual`.
    var isAdjective: Bool { name.hasPrefix("is") && name.dropFirst(2).first?.isUppercase == true }

    private var words: [String] {
        var words: [String] = []
        for character in name {
            if character.isUppercase || words.isEmpty {
                words.append(character.lowercased())
            } else {
                words[words.count - 1].append(character)
            }
        }
        return words.count > 1 && ["is", "has"].contains(words[0]) ? Array(words.dropFirst()) : words
    }
}

/// A field of `Root`.
public struct Field<Root: Sendable>: Sendable {
    public let description: FieldDescription
    let value: @Sendable (Root) -> JSONValue
    /// False when the value has another type.
    let set: @Sendable (inout Root, JSONValue) -> Bool

    /// The field `name`, which is at `path`.
    public init<Value: FieldValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ type: FieldType,
        _ need: FieldNeed = .optional, change: FieldChange = .never, column: String? = nil, isSecret: Bool = false,
        absence: String? = nil, option: String? = nil, role: Role? = nil, help: String
    ) {
        description = FieldDescription(
            name: name, type: type, need: need, change: change, column: column, help: help, isSecret: isSecret,
            absence: absence, role: role, option: option)
        value = { $0[keyPath: path].json }
        set = { root, json in
            guard let value = Value.from(json) else { return false }
            root[keyPath: path] = value
            return true
        }
    }
}

extension Field {
    /// Whether an action may let somebody see more than before: `open` in requests, `--open` on the command line.
    public static func open(_ path: any WritableKeyPath<Root, Bool> & Sendable) -> Field {
        Field(FieldDescription.openName, path, .flag, .withDefault(false), help: FieldDescription.openHelp)
    }
}

extension Collection<FieldDescription> {
    /// The members of an object in their canonical form: each is a field, and has a possible value or null. `thing` and
    /// `path` are for the sentences: what the object is, and what stands before the names of its members; so is
    /// `others`, the names that have been taken out of the object before.
    func checked(
        _ members: [String: JSONValue], of thing: String, path: String = "", besides others: [String] = []
    ) throws(ManagementError) -> [String: JSONValue] {
        var checked: [String: JSONValue] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let field = first(where: { $0.name == name }) else {
                let known = (others + map(\.name)).joined(separator: ", ")
                throw ManagementError(
                    .invalid, "\(thing) has no field '\(name)'; it has \(known.isEmpty ? "none" : known)",
                    field: path + name)
            }
            guard value != .null else {
                checked[name] = .null
                continue
            }
            checked[name] = try field.type.checked(value, field: path + name)
        }
        return checked
    }

    /// The schema of an object with these fields in a request; null is the same as leaving an optional one out.
    public var schema: JSONValue { schema(isStrict: true) }

    /// The schema of an object with those of these fields that can be changed; null takes an optional one away.
    public var schemaOfChange: JSONValue {
        filter { $0.change == .always || $0.change == .growing }.schema(isStrict: true, isChange: true)
    }

    /// The schema of an object with these fields in an answer, which may get more of them one day.
    public var schemaOfAnswer: JSONValue { filter { $0.change != .onlyAtCreation }.schema(isStrict: false) }

    private func schema(isStrict: Bool, isChange: Bool = false) -> JSONValue {
        var properties: [String: JSONValue] = [:]
        var required: [JSONValue] = []
        for field in self {
            var schema: [String: JSONValue] = ["description": .text(field.help)]
            if isStrict, field.need != .required {
                // Null is as good as nothing; in a change it takes the field away.
                schema["anyOf"] = [field.type.schema, ["type": "null"]]
            } else if case .object(let type) = field.type.schema {
                schema.merge(type) { first, _ in first }
            }
            if case .withDefault(let value) = field.need { schema["default"] = value }
            if field.isSecret { schema["writeOnly"] = true }
            if isStrict, let role = field.role { schema["x-role"] = role.json }
            properties[field.name] = .object(schema)
            if field.need == .required, !isChange { required.append(.text(field.name)) }
        }
        var schema: [String: JSONValue] = ["type": "object", "properties": .object(properties)]
        if isStrict { schema["additionalProperties"] = false }
        if !required.isEmpty { schema["required"] = .array(required) }
        return .object(schema)
    }
}
