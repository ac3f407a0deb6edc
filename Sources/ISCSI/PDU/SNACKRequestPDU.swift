internal import Bytes
public import SCSI

/// What a SNACK asks for or acknowledges (RFC 7143 section 11.16.1).
@frozen public struct SNACKType: RawRepresentable, Hashable, Sendable {
    /// The field's value, four bits.
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Data/R2T SNACK: send Data-In or R2T PDUs again.
    public static let dataOrR2T = Self(rawValue: 0)
    /// Status SNACK: send responses again.
    public static let status = Self(rawValue: 1)
    /// DataACK: Data-In up to BegRun has arrived.
    public static let dataACK = Self(rawValue: 2)
    /// R-Data SNACK: send Data-In again, possibly cut differently.
    public static let rData = Self(rawValue: 3)
}

/// SNACK Request (RFC 7143 section 11.16).
@frozen public struct SNACKRequestPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .snackRequest }

    /// Type: which PDUs are to be sent again, or acknowledged (section 11.16.1).
    public var type = SNACKType.dataOrR2T
    /// The logical unit, for DataACK.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The initiator's name of the task; `reservedTag` for status and DataACK.
    public var initiatorTaskTag: UInt32 = reservedTag
    /// The target transfer tag (DataACK) or SNACK tag (R-Data), else `reservedTag`.
    public var targetTransferTag: UInt32 = reservedTag
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)
    /// BegRun: the first number that is asked for.
    public var begRun: UInt32 = 0
    /// RunLength: how many; 0 means all from BegRun on.
    public var runLength: UInt32 = 0

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        type = SNACKType(rawValue: bytes.byte(at: 1) & 0x0F)
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        targetTransferTag = bytes.loadBE32(at: 20)
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
        begRun = bytes.loadBE32(at: 40)
        runLength = bytes.loadBE32(at: 44)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(Self.opcode, firstWord: UInt32(0x80 | type.rawValue & 0x0F) << 16)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(targetTransferTag, at: 20)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
        bytes.storeBE32(begRun, at: 40)
        bytes.storeBE32(runLength, at: 44)
    }
}
