internal import Bytes

/// Collects the text of one negotiation sequence from PDUs with the C bit (RFC 7143 sections 11.10.2 and 11.12.2).
public struct TextAssembler: Sendable {
    /// The most bytes that the text of one sequence may have.
    public let limit: Int
    private var text: [UInt8] = []

    /// An empty assembler for texts of at most `limit` bytes.
    public init(limit: Int) {
        self.limit = limit
    }

    /// Adds the data of one PDU; false when the text would exceed the limit.
    public mutating func append(_ data: RawSpan) -> Bool {
        guard data.byteCount <= limit - text.count else { return false }
        text += data.copyToArray()
        return true
    }

    /// The parameters of the whole text; the assembler is empty again.
    public mutating func finish() throws(TextCodec.ParsingError) -> [TextParameter] {
        defer { text.removeAll(keepingCapacity: true) }
        return try TextCodec.parse(text.rawSpan)
    }

    /// Whether part of a text is waiting for its rest.
    public var isEmpty: Bool { text.isEmpty }
}

/// A text on its way out, cut into the data segments that the other side takes.
public struct OutgoingText: Sendable {
    private let text: [UInt8]
    private var offset = 0

    /// The most bytes that an outgoing text may have, so that an answer's memory is bounded.
    public static let maximumLength = 4 << 20

    /// The text of `parameters`, up to the last one that still fits into `maximumLength`.
    public init(_ parameters: [TextParameter]) {
        var length = 0
        text = TextCodec.format(
            Array(
                parameters.prefix { parameter in
                    length += parameter.encodedLength
                    return length <= Self.maximumLength
                }))
    }

    /// Whether all of the text has been taken.
    public var isExhausted: Bool { offset == text.count }

    /// The next data segment, of at most `limit` bytes (at least 1). Cuts may fall anywhere (section 6.1); more
    /// remains when `isExhausted` is false afterwards, and then the PDU carries the C bit.
    public mutating func next(limit: Int) -> [UInt8] {
        precondition(limit >= 1, "a data segment has at least one byte")
        let end = min(text.count, offset + limit)
        defer { offset = end }
        return Array(text[offset..<end])
    }
}
