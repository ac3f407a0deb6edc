internal import Bytes

/// Why a channel is refused (SRP r16a clause 6.4).
@frozen public struct SRPLoginRejectReason: RawRepresentable, Hashable, Sendable {
    /// The field's value, four bytes.
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Unable to establish the RDMA channel, no reason specified.
    public static let unspecified = Self(rawValue: 0x0001_0000)
    /// Insufficient RDMA channel resources.
    public static let insufficientResources = Self(rawValue: 0x0001_0001)
    /// REQUESTED MAXIMUM INITIATOR TO TARGET IU LENGTH is too large.
    public static let maximumLengthTooLarge = Self(rawValue: 0x0001_0002)
    /// Unable to associate the RDMA channel with the I_T nexus: the target port is another one, or is not for this
    /// initiator port.
    public static let noNexus = Self(rawValue: 0x0001_0003)
    /// One or more of REQUIRED BUFFER FORMATS are not supported; the reject says which ones are.
    public static let unsupportedBufferFormat = Self(rawValue: 0x0001_0004)
    /// The target port does not support several RDMA channels for an I_T nexus.
    public static let multipleChannelsUnsupported = Self(rawValue: 0x0001_0005)
    /// The initiator port has as many RDMA channels as it may.
    public static let channelLimitReached = Self(rawValue: 0x0001_0006)

    /// All that the standard defines.
    public static let all: [Self] = (0x0001_0000...0x0001_0006).map { Self(rawValue: $0) }
}

/// SRP_LOGIN_REJ: the target port refuses an RDMA channel (SRP r16a clause 6.4). It travels as private data of the
/// connection manager's reject, whose own reason is "consumer defined".
@frozen public struct SRPLoginReject: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .loginReject }
    @inlinable public static var minimumLength: Int { 32 }

    public var tag: UInt64 = 0
    /// REASON.
    public var reason = SRPLoginRejectReason.unspecified
    /// SUPPORTED BUFFER FORMATS.
    public var bufferFormats = SRPBufferFormats.all

    public init() {}

    /// The answer to the login with that tag.
    public init(_ reason: SRPLoginRejectReason, tag: UInt64, bufferFormats: SRPBufferFormats = .all) {
        self.tag = tag
        self.reason = reason
        self.bufferFormats = bufferFormats
    }

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        reason = SRPLoginRejectReason(rawValue: bytes.loadBE32(at: 4))
        bufferFormats = SRPBufferFormats(rawValue: bytes.loadBE16(at: 24))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, tag: tag, length: Self.minimumLength)
        bytes.storeBE32(reason.rawValue, at: 4)
        bytes.storeBE16(bufferFormats.rawValue, at: 24)
    }
}
