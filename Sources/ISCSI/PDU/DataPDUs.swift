public import Bytes
public import SCSI

/// SCSI Data-Out (RFC 7143 section 11.7).
@frozen public struct DataOutPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .dataOut }

    /// The F bit: the last PDU of its sequence.
    public var isFinal = true
    /// DataSegmentLength, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit, when the target transfer tag is not `reservedTag`.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The initiator's name of the task.
    public var initiatorTaskTag: UInt32 = 0
    /// The tag of the R2T that asked for the data; `reservedTag` for unsolicited data.
    public var targetTransferTag: UInt32 = reservedTag
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)
    /// DataSN: 0 for the first PDU of the sequence.
    public var dataSN: UInt32 = 0
    /// Buffer Offset, in bytes from the start of the command's data.
    public var bufferOffset: UInt32 = 0

    @inlinable
    public init() {}

    @inlinable
    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        isFinal = bytes.isFinal
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
        dataSN = bytes.loadBE32(at: 36)
        bufferOffset = bytes.loadBE32(at: 40)
    }

    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(
            Self.opcode, firstWord: isFinal ? 0x80_0000 : 0, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
        bytes.storeBE32(dataSN, at: 36)
        bytes.storeBE32(bufferOffset, at: 40)
    }
}

/// SCSI Data-In (RFC 7143 section 11.7).
@frozen public struct DataInPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .dataIn }

    /// The F bit: the last PDU of its sequence.
    public var isFinal = true
    /// The A bit: the initiator shall acknowledge with a DataACK SNACK.
    public var isAcknowledgeRequested = false
    /// The S bit: `status`, `statSN` and `residual` are meaningful, and no SCSI Response follows.
    public var hasStatus = false
    /// The SCSI status, when `hasStatus`.
    public var status = SCSIStatus.good
    /// The residual, when `hasStatus`.
    public var residual = Residual.none
    /// DataSegmentLength, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit, when the A bit is one.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The initiator's name of the task.
    public var initiatorTaskTag: UInt32 = 0
    /// The tag that a DataACK SNACK shall carry when the A bit is one, else `reservedTag`.
    public var targetTransferTag: UInt32 = reservedTag
    /// StatSN, when `hasStatus`; else 0.
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// DataSN: 0 for the first Data-In of the command.
    public var dataSN: UInt32 = 0
    /// Buffer Offset, in bytes from the start of the command's data.
    public var bufferOffset: UInt32 = 0

    @inlinable
    public init() {}

    @inlinable
    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        isFinal = flags & 0x80 != 0
        isAcknowledgeRequested = flags & 0x40 != 0
        hasStatus = flags & 0x01 != 0
        status = SCSIStatus(rawValue: bytes.byte(at: 3))
        residual = Residual(
            isOverflow: flags & 0x04 != 0, isUnderflow: flags & 0x02 != 0, count: bytes.loadBE32(at: 44))
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        dataSN = bytes.loadBE32(at: 36)
        bufferOffset = bytes.loadBE32(at: 40)
    }

    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        var flags = residual.flags
        if isFinal { flags |= 0x80 }
        if isAcknowledgeRequested { flags |= 0x40 }
        if hasStatus { flags |= 0x01 }
        bytes.storeHeaderStart(
            Self.opcode, firstWord: UInt32(flags) << 16 | UInt32(status.rawValue),
            dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE32(dataSN, at: 36)
        bytes.storeBE32(bufferOffset, at: 40)
        bytes.storeBE32(residual.count, at: 44)
    }
}

/// Ready To Transfer (RFC 7143 section 11.8).
@frozen public struct ReadyToTransferPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .readyToTransfer }

    /// LUN: where the request goes.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The initiator's name of the task.
    public var initiatorTaskTag: UInt32 = 0
    /// The tag that the Data-Out PDUs of this R2T carry; never `reservedTag`.
    public var targetTransferTag: UInt32 = 0
    /// The next StatSN; an R2T does not use it up.
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// R2TSN: 0 for the first R2T of the command.
    public var r2tSN: UInt32 = 0
    /// Buffer Offset, in bytes from the start of the command's data.
    public var bufferOffset: UInt32 = 0
    /// Desired Data Transfer Length, in bytes: 1 up to MaxBurstLength.
    public var desiredDataTransferLength: UInt32 = 0

    @inlinable
    public init() {}

    @inlinable
    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        r2tSN = bytes.loadBE32(at: 36)
        bufferOffset = bytes.loadBE32(at: 40)
        desiredDataTransferLength = bytes.loadBE32(at: 44)
    }

    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(Self.opcode, firstWord: 0x80_0000)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE32(r2tSN, at: 36)
        bytes.storeBE32(bufferOffset, at: 40)
        bytes.storeBE32(desiredDataTransferLength, at: 44)
    }
}
