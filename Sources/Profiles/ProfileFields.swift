internal import Foundation

/// What is wrong with a field, before the file is known.
struct FieldError: Error {
    let path: [any CodingKey]
    let problem: String

    /// The path as in `densities[0].code`.
    var field: String { Self.text(path) }

    static func text(_ path: [any CodingKey]) -> String {
        path.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += text.isEmpty ? key.stringValue : ".\(key.stringValue)"
            }
        }
    }
}

/// A field's name that is known only at run time.
struct FieldName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) {
        self.stringValue = stringValue
    }

    init?(intValue: Int) { nil }
}

/// The fields of one JSON object, read with their limits, so that every error names the field.
struct ProfileFields {
    private let container: KeyedDecodingContainer<FieldName>

    /// The object at the decoder's place; a field that is not `known` is an error, because it is likely a
    /// misspelt one.
    init(_ decoder: any Decoder, known: [String]) throws {
        container = try decoder.container(keyedBy: FieldName.self)
        for key in container.allKeys where !known.contains(key.stringValue) {
            throw FieldError(path: container.codingPath + [key], problem: "is not a field that profiles have")
        }
    }

    /// An error about a field of this object.
    func error(_ name: String, _ problem: String) -> FieldError {
        FieldError(path: container.codingPath + [FieldName(stringValue: name)], problem: problem)
    }

    /// Whether the field is there.
    func has(_ name: String) -> Bool { container.contains(FieldName(stringValue: name)) }

    /// A field of any decodable type.
    func value<Value: Decodable>(_ name: String, as type: Value.Type = Value.self) throws -> Value {
        guard has(name) else { throw error(name, "is missing") }
        return try container.decode(type, forKey: FieldName(stringValue: name))
    }

    /// Printable ASCII of at most `maximumLength` characters.
    func text(_ name: String, maximumLength: Int) throws -> String {
        let text: String = try value(name)
        guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw error(name, "must be printable ASCII")
        }
        guard !text.isEmpty, text.utf8.count <= maximumLength else {
            throw error(name, "must have 1 to \(maximumLength) characters, not \(text.utf8.count)")
        }
        return text
    }

    /// An integer within limits.
    func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int {
        let number: Int = try value(name)
        guard range.contains(number) else {
            throw error(name, "must be from \(range.lowerBound) to \(range.upperBound), not \(number)")
        }
        return number
    }

    /// A number in hexadecimal notation such as `"0x5E"`, within limits.
    func hexadecimal(_ name: String, in range: ClosedRange<Int>) throws -> Int {
        let text: String = try value(name)
        guard text.hasPrefix("0x"), let number = Int(text.dropFirst(2), radix: 16) else {
            throw error(name, "must be a hexadecimal number such as \"0x1D\", not \"\(text)\"")
        }
        guard range.contains(number) else {
            let limits = [range.lowerBound, range.upperBound].map { "0x" + String($0, radix: 16, uppercase: true) }
            throw error(name, "must be from \(limits[0]) to \(limits[1]), not \(text)")
        }
        return number
    }

    /// A truth value, false when the field is not there.
    func flag(_ name: String) throws -> Bool { has(name) ? try value(name) : false }

    /// Beginnings or endings of labels: letters A to Z and digits, of so many characters.
    func barcodeParts(_ name: String, lengths: ClosedRange<Int>) throws -> [String] {
        let parts: [String] = try value(name)
        for part in parts {
            let isPlain = part.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) }
            guard isPlain, lengths.contains(part.utf8.count) else {
                let count =
                    lengths.count == 1 ? "\(lengths.lowerBound)" : "\(lengths.lowerBound) to \(lengths.upperBound)"
                throw error(name, "must each have \(count) of the letters A to Z and digits")
            }
        }
        return parts
    }

    /// Bytes as hexadecimal digits, spaces between them ignored, at most `maximumCount` bytes.
    func bytes(_ name: String, maximumCount: Int) throws -> [UInt8] {
        let text: String = try value(name)
        let digits = text.filter { $0 != " " }.map(\.hexDigitValue)
        guard digits.count % 2 == 0, !digits.contains(nil) else {
            throw error(name, "must be pairs of hexadecimal digits")
        }
        let values = digits.compactMap(\.self)
        guard values.count / 2 <= maximumCount else {
            throw error(name, "must have at most \(maximumCount) bytes, not \(values.count / 2)")
        }
        return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
    }
}
