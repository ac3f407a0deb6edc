internal import Bytes
public import SCSI

/// Text Request (RFC 7143 section 11.10).
@frozen public struct TextRequestPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .textRequest }

    /// I: delivered at once, outside of the order of CmdSN (section 4.2.2.1).
    public var isImmediate = false
    /// The F bit: the initiator has no more to say in this negotiation.
    public var isFinal = true
    /// The C bit: the text goes on in the next Text Request.
    public var isContinued = false
    /// DataSegmentLength, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit number of the Text Response that this continues, else 0.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The tag of the negotiation.
    public var initiatorTaskTag: UInt32 = 0
    /// The tag of the Text Response that this continues; `reservedTag` starts a negotiation.
    public var targetTransferTag: UInt32 = reservedTag
    /// CmdSN: the request's number in its session (section 4.2.2.1).
    public var cmdSN = SequenceNumber(0)
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        isImmediate = bytes.isImmediate
        isFinal = flags & 0x80 != 0
        isContinued = flags & 0x40 != 0
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        cmdSN = SequenceNumber(bytes.loadBE32(at: 24))
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        let flags: UInt32 = (isFinal ? 0x80 : 0) | (isContinued ? 0x40 : 0)
        bytes.storeHeaderStart(
            Self.opcode, isImmediate: isImmediate, firstWord: flags << 16, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(cmdSN.rawValue, at: 24)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
    }
}

/// Text Response (RFC 7143 section 11.11).
@frozen public struct TextResponsePDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .textResponse }

    /// The F bit: the negotiation is over.
    public var isFinal = true
    /// The C bit: the text goes on in the next Text Response.
    public var isContinued = false
    /// DataSegmentLength, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit number that the next Text Request shall repeat; 0 when the target transfer tag is reserved.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The tag of the negotiation.
    public var initiatorTaskTag: UInt32 = 0
    /// The tag that the next Text Request shall carry; `reservedTag` with the F bit.
    public var targetTransferTag: UInt32 = reservedTag
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        isFinal = flags & 0x80 != 0
        isContinued = flags & 0x40 != 0
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        let flags: UInt32 = (isFinal ? 0x80 : 0) | (isContinued ? 0x40 : 0)
        bytes.storeHeaderStart(Self.opcode, firstWord: flags << 16, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
    }
}
