internal import Bytes

/// Collects the text of one negotiation sequence from PDUs with the C bit (RFC 7143 sections 11.10.2 and 11.12.2).
public struct TextAssembler: Sendable {
    /// The most bytes that the text of one sequence may have.
    public let limit: Int
    /// The most pairs that it may have.
    public let parameterLimit: Int
    private var text: [UInt8] = []

    /// An empty assembler for texts of at most `limit` bytes and `parameterLimit` pairs.
    public init(limit: Int, parameterLimit: Int = TextCodec.maximumParameterCount) {
        self.limit = limit
        self.parameterLimit = parameterLimit
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
        return try TextCodec.parse(text.rawSpan, limit: parameterLimit)
    }

    /// Whether no part of a text is waiting for its rest.
    public var isEmpty: Bool { text.isEmpty }
}

/// A text on its way out, cut into the data segments that the other side takes.
///
/// The targets of a discovery are written into text only when their turn comes: what is kept meanwhile is the list
/// itself, and each part costs as much as it is long.
public struct OutgoingText: Sendable {
    /// The most bytes of a part: no side can declare that it takes more (MaxRecvDataSegmentLength, section 13.12).
    public static let maximumPartLength = 16_777_215

    /// What is written and not yet taken: never more than one part and one target.
    private var written: [UInt8]
    private let targets: [DiscoveredTarget]
    private var nextTarget = 0

    /// The text of `parameters`, and after it the answer to SendTargets with `targets`.
    public init(_ parameters: [TextParameter], targets: [DiscoveredTarget] = []) {
        written = TextCodec.format(parameters)
        self.targets = targets
    }

    /// Whether all of the text has been taken.
    public var isExhausted: Bool { written.isEmpty && nextTarget == targets.count }

    /// The next data segment, of at most `limit` bytes (at least 1) and `maximumPartLength`. Cuts may fall anywhere
    /// (section 6.1); more remains when `isExhausted` is false afterwards, and then the PDU carries the C bit.
    public mutating func next(limit: Int) -> [UInt8] {
        let length = max(1, min(limit, Self.maximumPartLength))
        while written.count < length, nextTarget < targets.count {
            for parameter in SendTargets.response(targets[nextTarget]) {
                TextCodec.append(parameter, to: &written)
            }
            nextTarget += 1
        }
        guard written.count > length else {
            defer { written.removeAll(keepingCapacity: true) }
            return written
        }
        defer { written.removeFirst(length) }
        return Array(written[..<length])
    }
}
