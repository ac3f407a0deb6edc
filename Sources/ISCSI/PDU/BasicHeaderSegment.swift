public import Bytes
public import SCSI

/// The 48 bytes that every PDU starts with (RFC 7143 section 11.2.1), held inline.
///
/// It keeps a header beyond the receive buffer that it came in, for Reject and for PDUs whose data is still on its way.
/// The typed headers (`SCSICommandPDU` and so on) parse straight from a receive buffer and do not need it.
@frozen public struct BasicHeaderSegment: Sendable {
    /// The length of a basic header segment, in bytes.
    public static let length = 48

    @usableFromInline var storage: InlineArray<48, UInt8>

    /// A header of zeros.
    @inlinable
    public init() {
        storage = InlineArray(repeating: 0)
    }

    /// A copy of the first 48 bytes of `bytes`, or nil when there are fewer.
    @inlinable
    public init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= Self.length else { return nil }
        storage = InlineArray(repeating: 0)
        let source = bytes.extracting(0..<Self.length)
        storage.modifyBytes { $0.store(source, at: 0) }
    }

    /// The encoded form of `header`.
    @inlinable
    public init<Header: PDUHeader>(_ header: Header) {
        storage = InlineArray(repeating: 0)
        storage.modifyBytes { header.encode(into: &$0) }
    }

    /// The 48 bytes.
    @inlinable
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { storage.rawSpan }
    }

    /// Calls `body` with the 48 bytes, for writing fields in place: a test initiator's way to a wrong header.
    @inlinable
    public mutating func modifyBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        storage.modifyBytes(body)
    }

    /// What the PDU is.
    @inlinable
    public var opcode: Opcode { bytes.opcode }

    /// The I bit: deliver at once, out of CmdSN order (section 11.2.1.1).
    @inlinable
    public var isImmediate: Bool { bytes.isImmediate }

    /// The F bit (section 11.2.1.3); in Login PDUs it is the T bit.
    @inlinable
    public var isFinal: Bool { bytes.isFinal }

    /// TotalAHSLength, in bytes.
    @inlinable
    public var additionalHeaderLength: Int { bytes.additionalHeaderLength }

    /// DataSegmentLength, in bytes, without padding.
    @inlinable
    public var dataSegmentLength: Int { bytes.dataSegmentLength }

    /// The logical unit number, in those PDUs that have one.
    @inlinable
    public var logicalUnitNumber: LogicalUnitNumber { LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8)) }

    @inlinable
    public var initiatorTaskTag: UInt32 { bytes.initiatorTaskTag }
}

/// The reserved value of task tags: "no task" or "no transfer" (RFC 7143 sections 11.2.1.8 and 11.7.4).
public let reservedTag: UInt32 = 0xFFFF_FFFF

/// The fields that every header has, read from a span of at least 48 bytes.
extension RawSpan {
    /// What the PDU is.
    @inlinable
    public var opcode: Opcode { Opcode(rawValue: byte(at: 0) & 0x3F) }

    /// The I bit.
    @inlinable
    public var isImmediate: Bool { byte(at: 0) & 0x40 != 0 }

    /// The F bit.
    @inlinable
    public var isFinal: Bool { byte(at: 1) & 0x80 != 0 }

    /// TotalAHSLength, in bytes: the field counts words of four.
    @inlinable
    public var additionalHeaderLength: Int { Int(byte(at: 4)) * 4 }

    /// DataSegmentLength, in bytes, without padding.
    @inlinable
    public var dataSegmentLength: Int { Int(loadBE32(at: 4) & 0x00FF_FFFF) }

    @inlinable
    public var initiatorTaskTag: UInt32 { loadBE32(at: 16) }
}

/// A header of one kind, as the values of its fields.
///
/// Parsing takes what the wire says: bits that the RFC reserves are ignored (RFC 7143 section 11), and codes are kept
/// as they are for the receiver to judge. Encoding writes all 48 bytes, reserved ones as zero.
public protocol PDUHeader: Sendable {
    /// The Opcode field of its header.
    static var opcode: Opcode { get }

    /// DataSegmentLength, in bytes, without padding; 0 for the PDUs that carry no data.
    var dataSegmentLength: Int { get }

    /// The fields of the header in `bytes`, or nil when there are fewer than 48 bytes or they are another PDU's.
    init?(parsing bytes: RawSpan)

    /// Writes the 48 bytes of the header at the start of `bytes`, which must be at least that long.
    @_lifetime(bytes: copy bytes)
    func encode(into bytes: inout MutableRawSpan)
}

extension PDUHeader {
    /// No data, unless the PDU says otherwise.
    @inlinable
    public var dataSegmentLength: Int { 0 }

    /// Whether `bytes` can be a header of this kind.
    @inlinable
    static func matches(_ bytes: RawSpan) -> Bool {
        bytes.byteCount >= BasicHeaderSegment.length && bytes.opcode == opcode
    }
}

extension MutableRawSpan {
    /// Writes the first eight bytes of a header and zeros after them up to byte 48.
    ///
    /// `firstWord` holds bytes 1–3; lengths are in bytes, the additional header's a multiple of four.
    @inlinable @_lifetime(self: copy self)
    mutating func storeHeaderStart(
        _ opcode: Opcode, isImmediate: Bool = false, firstWord: UInt32, additionalHeaderLength: Int = 0,
        dataSegmentLength: Int = 0
    ) {
        let first = UInt32(opcode.rawValue | (isImmediate ? 0x40 : 0)) << 24
        storeBE32(first | firstWord & 0x00FF_FFFF, at: 0)
        let lengths =
            UInt32(truncatingIfNeeded: additionalHeaderLength / 4) << 24
            | UInt32(truncatingIfNeeded: dataSegmentLength) & 0x00FF_FFFF
        storeBE32(lengths, at: 4)
        fill(at: 8, count: BasicHeaderSegment.length - 8)
    }
}
