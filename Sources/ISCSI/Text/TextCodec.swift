internal import Bytes

/// One `key=value` of a Login or Text PDU.
public struct TextParameter: Hashable, Sendable, CustomStringConvertible {
    /// The key, 1…63 bytes.
    public var key: String
    /// The value, possibly empty.
    public var value: String

    /// The pair of `key` and `value`.
    public init(_ key: String, _ value: String) {
        self.key = key
        self.value = value
    }

    /// The pair as it stands on the wire, without its ending NUL.
    public var description: String { "\(key)=\(value)" }

    /// How many bytes the pair takes on the wire, with `=` and NUL.
    public var encodedLength: Int { key.utf8.count + value.utf8.count + 2 }
}

/// The text format of Login and Text data segments (RFC 7143 section 6.1): pairs `key=value`, each ended by NUL.
public enum TextCodec {
    /// The most bytes of a key.
    public static let maximumKeyLength = 63
    /// The most bytes of a value, unless its key allows more.
    public static let maximumValueLength = 255
    /// The most bytes of a value that carries binary data of at most 1024 bytes (section 6.1), with its prefix: the
    /// challenge and response of CHAP.
    public static let maximumBinaryValueLength = 2 + 2 * 1024
    /// The most pairs that one negotiation text may have.
    public static let maximumParameterCount = 128

    /// Why a text could not be taken apart.
    public enum ParsingError: Error, Hashable, Sendable {
        /// The last pair has no ending NUL.
        case unterminated
        /// A pair has no `=`.
        case missingEqualsSign
        /// A key is empty, longer than 63 bytes or has characters that keys may not have.
        case invalidKey
        /// A value is longer than its key allows.
        case valueTooLong
        /// A value is not UTF-8 or has control characters.
        case invalidValue
        /// There are more pairs than the limit.
        case tooManyParameters
    }

    /// The pairs in `text`, at most `limit`. Additional NULs between pairs are skipped.
    public static func parse(
        _ text: RawSpan, limit: Int = maximumParameterCount
    ) throws(ParsingError) -> [TextParameter] {
        var parameters: [TextParameter] = []
        var start = 0
        for offset in 0..<text.byteCount where text.byte(at: offset) == 0 {
            if offset > start {
                guard parameters.count < limit else { throw .tooManyParameters }
                parameters.append(try parsePair(text.extracting(start..<offset)))
            }
            start = offset + 1
        }
        guard start == text.byteCount else { throw .unterminated }
        return parameters
    }

    private static func parsePair(_ bytes: RawSpan) throws(ParsingError) -> TextParameter {
        var equals: Int?
        for offset in 0..<bytes.byteCount where bytes.byte(at: offset) == UInt8(ascii: "=") {
            equals = offset
            break
        }
        guard let equals else { throw .missingEqualsSign }
        guard (1...maximumKeyLength).contains(equals) else { throw .invalidKey }
        for offset in 0..<equals where !isKeyCharacter(bytes.byte(at: offset)) { throw .invalidKey }
        // Key characters are ASCII, so the conversion cannot repair anything.
        let key = String(decoding: bytes.extracting(0..<equals).copyToArray(), as: UTF8.self)
        let valueBytes = bytes.extracting((equals + 1)..<bytes.byteCount)
        guard valueBytes.byteCount <= maximumValueLength(of: key) else { throw .valueTooLong }
        for offset in 0..<valueBytes.byteCount {
            let byte = valueBytes.byte(at: offset)
            guard byte >= 0x20 && byte != 0x7F else { throw .invalidValue }
        }
        guard let value = String(validating: valueBytes.copyToArray(), as: UTF8.self) else {
            throw .invalidValue
        }
        return TextParameter(key, value)
    }

    /// The most bytes that the value of `key` may have.
    public static func maximumValueLength(of key: String) -> Int {
        switch key {
        case "CHAP_C", "CHAP_R": maximumBinaryValueLength
        default: maximumValueLength
        }
    }

    /// Letters, digits and `.-+@_/#`: text labels of section 6.1, and `#` for registered extension keys.
    private static func isKeyCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "+"),
            UInt8(ascii: "@"), UInt8(ascii: "_"), UInt8(ascii: "/"), UInt8(ascii: "#"):
            true
        default: false
        }
    }

    public static func format(_ parameters: [TextParameter]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(parameters.reduce(0) { $0 + $1.encodedLength })
        for parameter in parameters { append(parameter, to: &bytes) }
        return bytes
    }

    /// Adds the text of `parameter` to `bytes`.
    static func append(_ parameter: TextParameter, to bytes: inout [UInt8]) {
        bytes += parameter.key.utf8
        bytes.append(UInt8(ascii: "="))
        bytes += parameter.value.utf8
        bytes.append(0)
    }

    /// A numerical value (section 6.1): decimal, or hexadecimal after `0x`; nil when it is neither or needs more
    /// than 64 bits.
    public static func number(_ value: String) -> UInt64? {
        let utf8 = value.utf8
        let isHexadecimal = value.hasPrefix("0x") || value.hasPrefix("0X")
        let digits = isHexadecimal ? utf8.dropFirst(2) : utf8[...]
        // `UInt64(_:radix:)` also takes a sign, which the format does not have.
        guard let first = digits.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-") else {
            return nil
        }
        return UInt64(Substring(digits), radix: isHexadecimal ? 16 : 10)
    }

    /// A binary value (section 6.1): hexadecimal after `0x` or base64 after `0b`; nil when malformed or longer than
    /// `limit` bytes.
    public static func binary(_ value: String, limit: Int = 1024) -> [UInt8]? {
        let digits = Array(value.utf8.dropFirst(2))
        guard !digits.isEmpty else { return nil }
        if value.hasPrefix("0x") || value.hasPrefix("0X") { return hexadecimal(digits, limit: limit) }
        if value.hasPrefix("0b") || value.hasPrefix("0B") { return base64(digits, limit: limit) }
        return nil
    }

    private static func hexadecimal(_ digits: [UInt8], limit: Int) -> [UInt8]? {
        guard (digits.count + 1) / 2 <= limit else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8 = 0
        for (position, digit) in digits.enumerated() {
            guard let nibble = Character(Unicode.Scalar(digit)).hexDigitValue, digit < 0x80 else {
                return nil
            }
            // An odd number of digits leaves the first byte with one digit.
            if (position + digits.count) % 2 == 0 {
                high = UInt8(nibble)
            } else {
                bytes.append(high << 4 | UInt8(nibble))
                high = 0
            }
        }
        return bytes
    }

    private static func base64(_ digits: [UInt8], limit: Int) -> [UInt8]? {
        guard digits.count % 4 == 0 else { return nil }
        let padding = digits.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        guard padding <= 2, digits.count / 4 * 3 - padding <= limit else { return nil }
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var bitCount = 0
        for digit in digits.dropLast(padding) {
            guard let value = base64Value(digit) else { return nil }
            bits = bits << 6 | UInt32(value)
            bitCount += 6
            if bitCount >= 8 {
                bitCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
            }
        }
        return bytes
    }

    private static func base64Value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): digit - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// The hexadecimal form of a binary value, with its `0x`.
    public static func formatBinary(_ bytes: [UInt8]) -> String {
        var text = "0x"
        for byte in bytes {
            text += byte < 16 ? "0" : ""
            text += String(byte, radix: 16)
        }
        return text
    }
}
