internal import Bytes

/// SRP_I_LOGOUT: the initiator port ends the channel; nothing answers it but the end of the connection (SRP r16a
/// clause 6.5).
@frozen public struct SRPInitiatorLogout: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .initiatorLogout }
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

/// Why a target port ends a channel (SRP r16a clause 6.6).
@frozen public struct SRPTargetLogoutReason: RawRepresentable, Hashable, Sendable {
    /// The field's value, four bytes.
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// No reason specified.
    public static let unspecified = Self(rawValue: 0)
    /// The RDMA channel was inactive, and its resources are needed.
    public static let inactive = Self(rawValue: 1)
    /// The target port received an information unit of a type that is none, or none of an initiator port.
    public static let invalidType = Self(rawValue: 2)
    /// The initiator port sent a response, and there was no request that it belongs to.
    public static let unexpectedResponse = Self(rawValue: 3)
    /// MULTI-CHANNEL ACTION of a new login ends this channel.
    public static let multiChannelAction = Self(rawValue: 4)
    /// DATA-OUT BUFFER DESCRIPTOR FORMAT is not supported.
    public static let unsupportedDataOutFormat = Self(rawValue: 6)
    /// DATA-IN BUFFER DESCRIPTOR FORMAT is not supported.
    public static let unsupportedDataInFormat = Self(rawValue: 7)
    /// The length is wrong for the type of the information unit.
    public static let invalidLength = Self(rawValue: 8)
}

/// SRP_T_LOGOUT: the target port ends the channel (SRP r16a clause 6.6).
@frozen public struct SRPTargetLogout: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .targetLogout }
    @inlinable public static var minimumLength: Int { 16 }

    public var tag: UInt64 = 0
    /// SOLNT.
    public var isSolicited = false
    /// REASON.
    public var reason = SRPTargetLogoutReason.unspecified

    public init() {}

    /// A logout for `reason`.
    public init(_ reason: SRPTargetLogoutReason, tag: UInt64 = 0, isSolicited: Bool = false) {
        self.tag = tag
        self.isSolicited = isSolicited
        self.reason = reason
    }

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        isSolicited = bytes.byte(at: 1) & solicitedNotification != 0
        reason = SRPTargetLogoutReason(rawValue: bytes.loadBE32(at: 4))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(
            Self.type, second: isSolicited ? solicitedNotification : 0, tag: tag, length: Self.minimumLength)
        bytes.storeBE32(reason.rawValue, at: 4)
    }
}
