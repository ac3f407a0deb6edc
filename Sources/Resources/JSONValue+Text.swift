import Foundation

// The JSON text of values, as the catalog keeps it.
extension JSONValue {
    /// The text, with names in order.
    public var serialized: String? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).flatMap { String(data: $0, encoding: .utf8) }
    }

    /// The value whose text `serialized` is; nil when it is none.
    public init?(serialized: String) {
        guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(serialized.utf8)) else { return nil }
        self = value
    }
}
