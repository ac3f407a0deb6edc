public import Bytes
public import SCSI

/// SCSI Command (RFC 7143 section 11.3).
@frozen public struct SCSICommandPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .scsiCommand }

    /// The I bit: deliver at once, out of CmdSN order.
    public var isImmediate = false
    /// The F bit: no unsolicited Data-Out follows.
    public var isFinal = true
    /// The R bit: the initiator expects data.
    public var isRead = false
    /// The W bit: the initiator has data to send.
    public var isWrite = false
    /// ATTR, three bits; `taskAttribute` gives its meaning.
    public var attributes: UInt8 = TaskAttribute.simple.rawValue
    /// TotalAHSLength, in bytes.
    public var additionalHeaderLength = 0
    /// DataSegmentLength: the immediate data, in bytes.
    public var dataSegmentLength = 0
    /// LUN: where the request goes.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The initiator's name of the task.
    public var initiatorTaskTag: UInt32 = 0
    /// Expected Data Transfer Length, in bytes: of the write when both R and W are one.
    public var expectedDataTransferLength: UInt32 = 0
    /// CmdSN: the request's number in its session (section 4.2.2.1).
    public var cmdSN = SequenceNumber(0)
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)
    /// The first 16 bytes of the command descriptor block; an additional header segment may carry more.
    public var cdb = CommandDescriptorBlock()

    @inlinable
    public init() {}

    @inlinable
    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        isImmediate = bytes.isImmediate
        isFinal = flags & 0x80 != 0
        isRead = flags & 0x40 != 0
        isWrite = flags & 0x20 != 0
        attributes = flags & 0x07
        additionalHeaderLength = bytes.additionalHeaderLength
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        expectedDataTransferLength = bytes.loadBE32(at: 20)
        cmdSN = SequenceNumber(bytes.loadBE32(at: 24))
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
        cdb = CommandDescriptorBlock(bytes.extracting(32..<48))
    }

    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        var flags = UInt32(attributes & 0x07)
        if isFinal { flags |= 0x80 }
        if isRead { flags |= 0x40 }
        if isWrite { flags |= 0x20 }
        bytes.storeHeaderStart(
            Self.opcode, isImmediate: isImmediate, firstWord: flags << 16,
            additionalHeaderLength: additionalHeaderLength, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(expectedDataTransferLength, at: 20)
        bytes.storeBE32(cmdSN.rawValue, at: 24)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
        bytes.store(cdb.bytes.extracting(0..<16), at: 32)
    }

    /// What ATTR means, or nil for the reserved values, which are protocol errors (section 11.3.1).
    @inlinable
    public var taskAttribute: TaskAttribute? { TaskAttribute(rawValue: attributes) }
}

/// SCSI Response (RFC 7143 section 11.4).
@frozen public struct SCSIResponsePDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .scsiResponse }

    /// The response code of a command that reached the target (section 11.4.3).
    public static let completedAtTarget: UInt8 = 0x00
    /// The response code of a command that failed in the target's iSCSI layer.
    public static let targetFailure: UInt8 = 0x01

    /// Response; `status` is meaningful only when it is `completedAtTarget`.
    public var response: UInt8 = SCSIResponsePDU.completedAtTarget
    /// Status, of SAM-5.
    public var status = SCSIStatus.good
    /// The residual of the command's data, or of the write of a bidirectional command.
    public var residual = Residual.none
    /// The residual of the read of a bidirectional command.
    public var bidirectionalReadResidual = Residual.none
    /// DataSegmentLength: sense length, sense and response data, in bytes.
    public var dataSegmentLength = 0
    /// The initiator's name of the task.
    public var initiatorTaskTag: UInt32 = 0
    /// SNACK Tag; 0 unless an R-Data SNACK was answered.
    public var snackTag: UInt32 = 0
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// ExpDataSN: how many Data-In PDUs (or, for a write, R2Ts) the target sent for the command.
    public var expDataSN: UInt32 = 0

    @inlinable
    public init() {}

    @inlinable
    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        response = bytes.byte(at: 2)
        status = SCSIStatus(rawValue: bytes.byte(at: 3))
        residual = Residual(
            isOverflow: flags & 0x04 != 0, isUnderflow: flags & 0x02 != 0, count: bytes.loadBE32(at: 44))
        bidirectionalReadResidual = Residual(
            isOverflow: flags & 0x10 != 0, isUnderflow: flags & 0x08 != 0, count: bytes.loadBE32(at: 40))
        dataSegmentLength = bytes.dataSegmentLength
        initiatorTaskTag = bytes.loadBE32(at: 16)
        snackTag = bytes.loadBE32(at: 20)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        expDataSN = bytes.loadBE32(at: 36)
    }

    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        let flags = 0x80 | residual.flags | bidirectionalReadResidual.flags << 2
        bytes.storeHeaderStart(
            Self.opcode, firstWord: UInt32(flags) << 16 | UInt32(response) << 8 | UInt32(status.rawValue),
            dataSegmentLength: dataSegmentLength)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(snackTag, at: 20)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE32(expDataSN, at: 36)
        bytes.storeBE32(bidirectionalReadResidual.count, at: 40)
        bytes.storeBE32(residual.count, at: 44)
    }
}
