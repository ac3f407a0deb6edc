internal import Bytes
internal import ISCSI

/// Where the parts of an iSCSI control-type PDU are in the message that brought it: the iSER header, the basic header
/// segment, additional header segments and the data segment. There are no digests (RFC 7145 sections 6.1 and 9.2).
@frozen public struct ISERMessage: Hashable, Sendable {
    /// The length of the two headers that each message has, in bytes.
    public static let headersLength = 76

    /// The basic header segment, in bytes from the start of every message.
    public static let basicHeader = ISERHeader.length..<headersLength

    /// What the iSER header says.
    public let header: ISERControlHeader
    /// The additional header segments, in bytes from the start of the message.
    public let additionalHeader: Range<Int>
    /// The data segment without padding, in bytes from the start of the message.
    public let data: Range<Int>

    /// The parts of the message in `bytes`, which are all that was received. Padding of the data segment, and whatever
    /// follows it, is ignored: initiators in use send none.
    public init(parsing bytes: RawSpan) throws(ISERError) {
        header = try ISERControlHeader(parsing: bytes)
        guard bytes.byteCount >= Self.headersLength else {
            throw .tooShort(length: bytes.byteCount, needed: Self.headersLength)
        }
        let basic = bytes.extracting(Self.basicHeader)
        let dataStart = Self.headersLength + basic.additionalHeaderLength
        additionalHeader = Self.headersLength..<dataStart
        data = dataStart..<dataStart + basic.dataSegmentLength
        guard data.upperBound <= bytes.byteCount else {
            throw .tooShort(length: bytes.byteCount, needed: data.upperBound)
        }
    }
}
