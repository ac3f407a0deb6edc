public import Bytes

/// What an iSER message is (RFC 7145 section 9.1).
@frozen public enum ISEROpcode: UInt8, Sendable {
    /// An iSCSI control-type PDU (section 9.2).
    case control = 0x1
    /// Hello: the initiator offers versions and resources (section 9.3).
    case hello = 0x2
    /// HelloReply: the target accepts or rejects them (section 9.4).
    case helloReply = 0x3
}

/// The iSER header: 28 bytes before everything that is sent as a message (RFC 7145 section 9).
public enum ISERHeader {
    /// The length of each iSER header, in bytes.
    public static let length = 28

    /// What the message in `bytes` is; a header of it is there.
    @inlinable
    public static func opcode(of bytes: RawSpan) throws(ISERError) -> ISEROpcode {
        guard bytes.byteCount >= length else { throw .tooShort(length: bytes.byteCount, needed: length) }
        guard let opcode = ISEROpcode(rawValue: bytes.byte(at: 0) >> 4) else {
            throw .unknownOpcode(bytes.byte(at: 0) >> 4)
        }
        return opcode
    }

    /// Refuses all but messages of that kind.
    @inlinable
    static func check(_ bytes: RawSpan, is expected: ISEROpcode) throws(ISERError) {
        let found = try opcode(of: bytes)
        guard found == expected else { throw .unexpectedOpcode(found, expected: expected) }
    }
}
