public import Foundation

/// A Swift type that a field may have.
public protocol FieldValue: Sendable {
    /// The value that `json` means; nil when it is of another type or out of range.
    static func from(_ json: JSONValue) -> Self?
    /// Null where there is nothing.
    var json: JSONValue { get }
}

extension Bool: FieldValue {
    public static func from(_ json: JSONValue) -> Bool? {
        guard case .bool(let value) = json else { return nil }
        return value
    }
    public var json: JSONValue { .bool(self) }
}

extension Int64: FieldValue {
    public static func from(_ json: JSONValue) -> Int64? {
        guard case .integer(let value) = json else { return nil }
        return value
    }
    public var json: JSONValue { .integer(self) }
}

extension Int: FieldValue {
    public static func from(_ json: JSONValue) -> Int? { Int64.from(json).flatMap { Int(exactly: $0) } }
    public var json: JSONValue { .integer(Int64(self)) }
}

extension Double: FieldValue {
    public static func from(_ json: JSONValue) -> Double? {
        switch json {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
    public var json: JSONValue { .number(self) }
}

extension String: FieldValue {
    public static func from(_ json: JSONValue) -> String? { json.text }
    public var json: JSONValue { .text(self) }
}

extension Date: FieldValue {
    /// The time in ISO 8601, as in `2026-11-28T09:30:00Z`.
    public static func from(_ json: JSONValue) -> Date? {
        guard let text = json.text, let date = try? Date(text, strategy: .iso8601) else { return nil }
        // A day that the month does not have, or an hour 25, would be another day, whatever the zone.
        let begin = String(text.prefix(10)) + "T00:00:00Z"
        guard (try? Date(begin, strategy: .iso8601))?.formatted(.iso8601) == begin,
            Int(text.dropFirst(11).prefix(2)).map({ $0 < 24 }) == true
        else { return nil }
        return date
    }
    public var json: JSONValue { .text(formatted(.iso8601)) }
}

extension Optional: FieldValue where Wrapped: FieldValue {
    public static func from(_ json: JSONValue) -> Wrapped?? {
        if json == .null { return .some(nil) }
        return Wrapped.from(json).map { .some($0) }
    }
    public var json: JSONValue { map(\.json) ?? .null }
}

extension Array: FieldValue where Element: FieldValue {
    public static func from(_ json: JSONValue) -> [Element]? {
        guard let elements = json.elements else { return nil }
        var values: [Element] = []
        for element in elements {
            guard let value = Element.from(element) else { return nil }
            values.append(value)
        }
        return values
    }
    public var json: JSONValue { .array(map(\.json)) }
}

/// What may be the key of a map: a word or a number.
public protocol FieldKey: Hashable, Sendable, LosslessStringConvertible {}

extension String: FieldKey {}
extension Int: FieldKey {}

extension Dictionary: FieldValue where Key: FieldKey, Value: FieldValue {
    public static func from(_ json: JSONValue) -> [Key: Value]? {
        guard case .object(let members) = json else { return nil }
        var values: [Key: Value] = [:]
        for (name, member) in members {
            guard let key = Key(name), let value = Value.from(member) else { return nil }
            values[key] = value
        }
        return values
    }
    public var json: JSONValue {
        .object([String: JSONValue](uniqueKeysWithValues: map { ($0.key.description, $0.value.json) }))
    }
}

/// Bytes that only the daemon may know.
public struct Secret: FieldValue, Hashable, CustomStringConvertible {
    public var bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The bytes that the text is in Base64.
    public static func from(_ json: JSONValue) -> Secret? {
        json.text.flatMap { Data(base64Encoded: $0) }.map { Secret(Array($0)) }
    }
    public var json: JSONValue { .text(Data(bytes).base64EncodedString()) }

    /// Nothing of it.
    public var description: String { "(secret)" }
}

/// An enumeration whose raw values stand in JSON.
public protocol FieldWord: FieldValue, RawRepresentable<String>, CaseIterable {}

extension FieldWord {
    public static func from(_ json: JSONValue) -> Self? { json.text.flatMap(Self.init(rawValue:)) }
    public var json: JSONValue { .text(rawValue) }

    /// The type of a field that holds one.
    public static var type: FieldType { .choice(allCases.map { .text($0.rawValue) }) }
}
