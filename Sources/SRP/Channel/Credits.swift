internal import Bytes

/// SRP_CRED_REQ: the target port changes the request limit without an answer at hand that could (SRP r16a clause 6.10).
@frozen public struct SRPCreditRequest: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .creditRequest }
    @inlinable public static var minimumLength: Int { 16 }

    public var tag: UInt64 = 0
    /// SOLNT.
    public var isSolicited = false
    /// REQUEST LIMIT DELTA: how many more requests the initiator port may have outstanding.
    public var requestLimitDelta: Int32 = 0

    public init() {}

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        isSolicited = bytes.byte(at: 1) & solicitedNotification != 0
        requestLimitDelta = Int32(bitPattern: bytes.loadBE32(at: 4))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(
            Self.type, second: isSolicited ? solicitedNotification : 0, tag: tag, length: Self.minimumLength)
        bytes.storeBE32(UInt32(bitPattern: requestLimitDelta), at: 4)
    }
}

/// SRP_CRED_RSP: the initiator port has taken SRP_CRED_REQ of this tag (SRP r16a clause 6.11).
@frozen public struct SRPCreditResponse: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .creditResponse }
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
