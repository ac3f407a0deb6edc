internal import Bytes
public import SCSI

/// SRP_AER_REQ: a logical unit reports an asynchronous event as sense data (SRP r16a clause 6.12).
@frozen public struct SRPAsyncEventRequest: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .asyncEventRequest }
    @inlinable public static var minimumLength: Int { 36 }

    public var tag: UInt64 = 0
    /// SOLNT.
    public var isSolicited = false
    /// REQUEST LIMIT DELTA: how many more requests the initiator port may have outstanding.
    public var requestLimitDelta: Int32 = 0
    /// LOGICAL UNIT NUMBER.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// SENSE DATA LIST LENGTH, in bytes.
    public var senseLength = 0

    public init() {}

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        isSolicited = bytes.byte(at: 1) & solicitedNotification != 0
        requestLimitDelta = Int32(bitPattern: bytes.loadBE32(at: 4))
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 20))
        senseLength = Int(bytes.loadBE32(at: 28))
        guard length <= bytes.byteCount else {
            throw .tooShort(Self.type, length: bytes.byteCount, needed: length)
        }
    }

    public var length: Int { Self.minimumLength + senseLength }

    /// Where the sense data is.
    public var sense: Range<Int> { Self.minimumLength..<length }

    /// Writes the fixed part, and zeros as sense data, which the caller puts at `sense`.
    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, second: isSolicited ? solicitedNotification : 0, tag: tag, length: length)
        bytes.storeBE32(UInt32(bitPattern: requestLimitDelta), at: 4)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 20)
        bytes.storeBE32(UInt32(truncatingIfNeeded: senseLength), at: 28)
    }
}

/// SRP_AER_RSP: the initiator port has taken SRP_AER_REQ of this tag (SRP r16a clause 6.13).
@frozen public struct SRPAsyncEventResponse: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .asyncEventResponse }
    @inlinable public static var minimumLength: Int { 16 }

    public var tag: UInt64 = 0

    public init() {}

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, tag: tag, length: Self.minimumLength)
    }
}
