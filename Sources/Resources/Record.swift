/// A value that is made of fields: a spec, a status, the arguments of an action, or a part of these.
public protocol Record: FieldValue, Hashable {
    /// All fields, in the order in which they are shown.
    static var fields: [Field<Self>] { get }
    /// With the default values.
    init()
    /// The value for people, in one line.
    var line: String { get }
}

extension Record {
    /// What is known of the fields.
    public static var descriptions: [FieldDescription] { fields.map(\.description) }
    /// The type of a field that holds one.
    public static var type: FieldType { .record(descriptions) { json in from(json)?.line ?? "" } }

    public var line: String {
        Self.fields.compactMap { field in
            let value = field.value(self)
            guard value != .null, !field.description.isSecret else { return nil }
            return "\(field.description.label) \(field.description.type.shown(value))"
        }.joined(separator: ", ")
    }

    /// Reads what it knows, and ignores the rest.
    public static func from(_ json: JSONValue) -> Self? {
        guard case .object(let members) = json else { return nil }
        var record = Self()
        for field in fields {
            if let value = members[field.description.name], !field.set(&record, value) { return nil }
        }
        return record
    }

    /// An object without absent and secret fields.
    public var json: JSONValue {
        var members: [String: JSONValue] = [:]
        for field in Self.fields where !field.description.isSecret && field.description.change != .onlyAtCreation {
            let value = field.value(self)
            if value != .null { members[field.description.name] = value }
        }
        return .object(members)
    }

    /// The record that is described by `members`: those that are not given have their defaults.
    ///
    /// - Parameters:
    ///   - thing: What it describes, for the sentence: `a disk`.
    ///   - others: The names that it has beside those of the record, for the sentence.
    /// - Throws: `ManagementError.Code.invalid`, with the field, for unknown, impossible and missing fields.
    public init(
        _ members: [String: JSONValue], of thing: String, besides others: [String] = []
    ) throws(ManagementError) {
        self.init()
        let checked = try Self.descriptions.checked(members, of: thing, besides: others)
        for field in Self.fields {
            let name = field.description.name
            guard let value = checked[name], value != .null else {
                guard field.description.need != .required else {
                    throw ManagementError(
                        .invalid, "\(thing) needs its \(field.description.label): \(field.description.help)",
                        field: name)
                }
                continue
            }
            try Self.set(field, value, in: &self)
        }
    }

    /// Refuses values that the fields may not have, in a record that was not made of JSON.
    public func check() throws(ManagementError) {
        for field in Self.fields {
            let value = field.value(self)
            if value != .null { _ = try field.description.type.checked(value, field: field.description.name) }
        }
    }

    /// The record with the fields in `members` changed; null makes a field what it is when it is not given.
    ///
    /// - Throws: `ManagementError.Code.invalid` for unknown and impossible fields, and for those that cannot change;
    ///   to give the value that a field has is no change.
    public func changed(_ members: [String: JSONValue], of thing: String) throws(ManagementError) -> Self {
        var record = self
        let checked = try Self.descriptions.checked(members, of: thing)
        for field in Self.fields {
            let description = field.description
            guard var value = checked[description.name] else { continue }
            if value == .null {
                guard description.need != .required else {
                    throw ManagementError(
                        .invalid, "\(thing) needs its \(description.label): \(description.help)",
                        field: description.name)
                }
                value = field.value(Self())
            }
            guard value != field.value(self) else { continue }
            switch description.change {
            case .always: break
            case .growing:
                guard case (.integer(let new), .integer(let old)) = (value, field.value(self)), new >= old else {
                    throw ManagementError(
                        .invalid,
                        "the \(description.label) of \(thing) cannot become smaller; it is "
                            + description.type.shown(field.value(self)), field: description.name)
                }
            case .never, .onlyAtCreation:
                let what =
                    description.isAdjective
                    ? "whether \(thing) is \(description.label)" : "the \(description.label) of \(thing)"
                throw ManagementError(.invalid, "\(what) cannot be changed", field: description.name)
            }
            try Self.set(field, value, in: &record)
        }
        return record
    }

    /// The record that a description of all fields, `members`, makes of this one: those that it does not have get their
    /// defaults, but what has none, and was chosen when the thing was made, stays; so do secrets.
    ///
    /// - Throws: As `changed`, and for required fields that are missing.
    public func replaced(by members: [String: JSONValue], of thing: String) throws(ManagementError) -> Self {
        var wanted = members
        let standard = Self()
        for field in Self.fields where members[field.description.name] == nil {
            let description = field.description
            guard !description.isSecret, description.change != .onlyAtCreation else { continue }
            guard description.need != .required else {
                throw ManagementError(
                    .invalid, "\(thing) needs its \(description.label): \(description.help)", field: description.name)
            }
            let value = field.value(standard)
            if value != .null || description.absence != nil { wanted[description.name] = value }
        }
        return try changed(wanted, of: thing)
    }

    /// All fields that have a value and are kept, secrets among them.
    public var members: [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        for field in Self.fields where field.description.change != .onlyAtCreation {
            let value = field.value(self)
            if value != .null { members[field.description.name] = value }
        }
        return members
    }

    /// The record with the values that `other` has of the fields that may change.
    public func changed(to other: Self) -> Self {
        var record = self
        for field in Self.fields where field.description.change == .always || field.description.change == .growing {
            // A value of the same type: it is taken.
            _ = field.set(&record, field.value(other))
        }
        return record
    }

    /// The fields in which the record and `other` differ, as they are here: null where there is nothing.
    public func difference(from other: Self) -> [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        for field in Self.fields where !field.description.isSecret {
            let value = field.value(self)
            if value != field.value(other) { members[field.description.name] = value }
        }
        return members
    }

    private static func set(
        _ field: Field<Self>, _ value: JSONValue, in record: inout Self
    ) throws(ManagementError) {
        guard field.set(&record, value) else {
            throw ManagementError(
                .internal, "field \(field.description.name) does not take \(value.typeName)",
                field: field.description.name)
        }
    }
}

/// No fields at all.
public struct NoFields: Record {
    public static let fields: [Field<NoFields>] = []
    public init() {}
}
