internal import Bytes
public import SCSI

/// What the additional header segments of a SCSI Command say (RFC 7143 section 11.2.2).
public struct AdditionalHeaderSegments: Sendable {
    /// Why additional header segments could not be understood; the answer is Reject with "invalid PDU field".
    public enum ParsingError: Error, Sendable, Hashable {
        /// A segment's length does not fit its type or what is left of the header.
        case invalidLength
        /// The type is reserved.
        case unknownType(UInt8)
        /// The type appears twice.
        case repeatedType(UInt8)
        /// The command descriptor block is longer than `CommandDescriptorBlock.maximumLength`.
        case commandTooLong
    }

    /// AHSType of an extended CDB.
    public static let extendedCDBType: UInt8 = 0x01
    /// AHSType of a bidirectional expected read data length.
    public static let bidirectionalReadLengthType: UInt8 = 0x02

    /// The whole command descriptor block when a segment extends it beyond 16 bytes.
    public private(set) var extendedCDB: CommandDescriptorBlock?
    /// The bidirectional read expected data transfer length, in bytes.
    public private(set) var bidirectionalReadLength: UInt32?

    /// The segments in `bytes` (TotalAHSLength long, a multiple of four) after a header whose first 16 bytes of
    /// command descriptor block are `cdb`.
    public init(parsing bytes: RawSpan, cdb: CommandDescriptorBlock) throws(ParsingError) {
        var offset = 0
        while offset < bytes.byteCount {
            guard bytes.byteCount - offset >= 4 else { throw .invalidLength }
            // AHSLength counts what follows AHSType, so at least the AHS-specific byte, without padding.
            let length = Int(bytes.loadBE16(at: offset))
            let type = bytes.byte(at: offset + 2) & 0x3F
            let end = offset + 3 + length
            guard length >= 1, end <= bytes.byteCount else { throw .invalidLength }
            switch type {
            case Self.extendedCDBType:
                guard extendedCDB == nil else { throw .repeatedType(type) }
                extendedCDB = try Self.extended(cdb, by: bytes.extracting((offset + 4)..<end))
            case Self.bidirectionalReadLengthType:
                guard bidirectionalReadLength == nil else { throw .repeatedType(type) }
                guard length == 5 else { throw .invalidLength }
                bidirectionalReadLength = bytes.loadBE32(at: offset + 4)
            default:
                throw .unknownType(type)
            }
            offset = (end + 3) & ~3
        }
    }

    private static func extended(
        _ cdb: CommandDescriptorBlock, by rest: RawSpan
    ) throws(ParsingError) -> CommandDescriptorBlock {
        let count = 16 + rest.byteCount
        guard rest.byteCount > 0 else { throw .invalidLength }
        guard count <= CommandDescriptorBlock.maximumLength else { throw .commandTooLong }
        var whole = InlineArray<32, UInt8>(repeating: 0)
        let start = cdb.bytes.extracting(0..<16)
        whole.modifyBytes { bytes in
            bytes.store(start, at: 0)
            bytes.store(rest, at: 16)
        }
        return CommandDescriptorBlock(whole.rawSpan.extracting(0..<count))
    }

    /// The bytes of an extended CDB segment for `cdb`, empty when it has at most 16 bytes.
    public static func encodeExtendedCDB(_ cdb: CommandDescriptorBlock) -> [UInt8] {
        guard cdb.count > 16 else { return [] }
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(cdb.count - 15))
        bytes.append(extendedCDBType)
        bytes.append(0)
        bytes += cdb.bytes.extracting(16..<cdb.count).copyToArray()
        bytes += [UInt8](repeating: 0, count: -bytes.count & 3)
        return bytes
    }

    /// The bytes of a bidirectional read length segment.
    public static func encodeBidirectionalReadLength(_ length: UInt32) -> [UInt8] {
        var bytes: [UInt8] = [0x00, 0x05, bidirectionalReadLengthType, 0x00]
        bytes.appendBE32(length)
        return bytes
    }
}
