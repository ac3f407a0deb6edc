import Foundation

/// Names that stand twice in an object of JSON: RFC 8259 section 4 leaves open what these mean, and readers take the
/// first or the last of them.
public enum JSONNames {
    /// Whether `bytes` are text in UTF-8, which JSON between systems has to be (RFC 8259 section 8.1), and no other
    /// encoding that decoders recognise by its zeros: no JSON has U+0000 itself.
    public static func isUTF8(_ bytes: some Collection<UInt8>) -> Bool {
        !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil
    }

    /// The first name that an object in `text` has twice; nil when each has its names once. `text` is JSON in UTF-8.
    public static func doubled(in text: some Sequence<UInt8>) -> String? {
        let bytes = Array(text)
        /// The names of the objects that are open, from the outermost on; nil for lists.
        var open: [Set<String>?] = []
        var expectsName = false
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "{"):
                open.append([])
                expectsName = true
            case UInt8(ascii: "["):
                open.append(nil)
                expectsName = false
            case UInt8(ascii: "}"), UInt8(ascii: "]"): _ = open.popLast()
            case UInt8(ascii: ","): expectsName = open.last.flatMap { $0 } != nil
            case UInt8(ascii: "\""):
                let end = endOfText(bytes, from: index)
                // In place: a copy of the names for each name would take its time with large objects.
                if expectsName, !open.isEmpty {
                    let name = self.name(bytes[index..<end])
                    if open[open.endIndex - 1]?.insert(name).inserted == false { return name }
                    expectsName = false
                }
                index = end - 1
            default: break
            }
            index += 1
        }
        return nil
    }

    /// Where the text that begins with the quotation mark at `start` has ended.
    private static func endOfText(_ bytes: [UInt8], from start: Int) -> Int {
        var index = start + 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(index + 1, bytes.count)
    }

    /// What the text between and with quotation marks means: `"\u0061"` is `a`.
    private static func name(_ literal: ArraySlice<UInt8>) -> String {
        if literal.contains(UInt8(ascii: "\\")), let text = try? JSONDecoder().decode(String.self, from: Data(literal))
        {
            return text
        }
        return String(decoding: literal.dropFirst().dropLast(), as: UTF8.self)
    }
}
