internal import Bytes
public import SCSI

/// NOP-Out: an initiator's ping, or its answer to a target's (RFC 7143 section 11.18).
@frozen public struct NOPOutPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .nopOut }

    /// The I bit; one when the initiator task tag is reserved.
    public var isImmediate = false
    /// DataSegmentLength: the ping data, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit number of the NOP-In that this answers, else 0.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The tag of the ping; `reservedTag` when no answer is wanted.
    public var initiatorTaskTag: UInt32 = reservedTag
    /// The tag of the NOP-In that this answers, else `reservedTag`.
    public var targetTransferTag: UInt32 = reservedTag
    /// CmdSN: the request's number in its session (section 4.2.2.1).
    public var cmdSN = SequenceNumber(0)
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        isImmediate = bytes.isImmediate
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        cmdSN = SequenceNumber(bytes.loadBE32(at: 24))
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(
            Self.opcode, isImmediate: isImmediate, firstWord: 0x80_0000, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(cmdSN.rawValue, at: 24)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
    }
}

/// NOP-In: a target's answer to a ping, or its own ping (RFC 7143 section 11.19).
@frozen public struct NOPInPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .nopIn }

    /// DataSegmentLength: the ping data that comes back, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit number that an answer shall repeat, else 0.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The tag of the NOP-Out that this answers, else `reservedTag`.
    public var initiatorTaskTag: UInt32 = reservedTag
    /// The tag that an answer shall carry; `reservedTag` when none is wanted.
    public var targetTransferTag: UInt32 = reservedTag
    /// StatSN; not used up unless this answers a NOP-Out.
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
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
        bytes.storeHeaderStart(Self.opcode, firstWord: 0x80_0000, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
    }
}
