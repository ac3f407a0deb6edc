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
    /// Whether a single thing shows it only when there is something to show.
    public let isHiddenWhenAbsent: Bool

    /// Its name on the command line, without the dashes: `block-size`.
    public var optionName: String { words.joined(separator: "-") }
    /// Its name for people: `block size`.
    public var label: String { words.joined(separator: " ") }

    private var words: [String] {
        var words: [String] = []
        for character in name {
            if character.isUppercase || words.isEmpty {
                words.append(character.lowercased())
            } else {
                words[words.count - 1].append(character)
            }
        }
        return words
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
        help: String
    ) {
        description = FieldDescription(
            name: name, type: type, need: need, change: change, column: column, help: help, isSecret: isSecret,
            isHiddenWhenAbsent: need == .optional)
        value = { $0[keyPath: path].json }
        set = { root, json in
            guard let value = Value.from(json) else { return false }
            root[keyPath: path] = value
            return true
        }
    }
}

extension Collection<FieldDescription> {
    /// The members of an object in their canonical form: each is a field, and has a possible value. `thing` and `path`
    /// are for the sentences: what the object is, and what stands before the names of its members.
    func checked(
        _ members: [String: JSONValue], of thing: String, path: String = ""
    ) throws(ManagementError) -> [String: JSONValue] {
        var checked: [String: JSONValue] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let field = first(where: { $0.name == name }) else {
                let known = map(\.name).joined(separator: ", ")
                throw ManagementError(
                    .invalid, "\(thing) has no field '\(name)'; it has \(known.isEmpty ? "none" : known)",
                    field: path + name)
            }
            guard value != .null else { continue }
            checked[name] = try field.type.checked(value, field: path + name)
        }
        return checked
    }

    /// The schema of an object with these fields in a request.
    public var schema: JSONValue { schema(isStrict: true) }

    /// The schema of an object with these fields in an answer, which may get more of them one day.
    public var schemaOfAnswer: JSONValue { filter { $0.change != .onlyAtCreation }.schema(isStrict: false) }

    private func schema(isStrict: Bool) -> JSONValue {
        var properties: [String: JSONValue] = [:]
        var required: [JSONValue] = []
        for field in self {
            var schema: [String: JSONValue] = ["description": .text(field.help)]
            if case .object(let type) = field.type.schema { schema.merge(type) { first, _ in first } }
            if case .withDefault(let value) = field.need { schema["default"] = value }
            if field.isSecret { schema["writeOnly"] = true }
            properties[field.name] = .object(schema)
            if field.need == .required { required.append(.text(field.name)) }
        }
        var schema: [String: JSONValue] = ["type": "object", "properties": .object(properties)]
        if isStrict { schema["additionalProperties"] = false }
        if !required.isEmpty { schema["required"] = .array(required) }
        return .object(schema)
    }
}
