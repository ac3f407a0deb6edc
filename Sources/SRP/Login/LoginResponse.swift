internal import Bytes

/// What became of the channels that the I_T nexus had (SRP r16a clause 6.3, MULTI-CHANNEL RESULT).
@frozen public struct SRPMultiChannelResult: RawRepresentable, Hashable, Sendable {
    /// The field's value, two bits.
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// There were none.
    public static let noOthers = Self(rawValue: 0)
    /// They were ended.
    public static let othersEnded = Self(rawValue: 1)
    /// They go on.
    public static let othersKept = Self(rawValue: 2)
}

/// SRP_LOGIN_RSP: the target port accepts an RDMA channel (SRP r16a clause 6.3). It travels as private data of the
/// connection manager's reply.
@frozen public struct SRPLoginResponse: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .loginResponse }
    @inlinable public static var minimumLength: Int { 52 }

    public var tag: UInt64 = 0
    /// REQUEST LIMIT DELTA: how many requests the initiator port may have outstanding.
    public var requestLimitDelta: Int32 = 0
    /// MAXIMUM INITIATOR TO TARGET IU LENGTH, in bytes.
    public var maximumInitiatorLength: UInt32 = 0
    /// MAXIMUM TARGET TO INITIATOR IU LENGTH, in bytes.
    public var maximumTargetLength: UInt32 = 0
    /// SUPPORTED BUFFER FORMATS.
    public var bufferFormats = SRPBufferFormats.all
    /// MULTI-CHANNEL RESULT.
    public var multiChannelResult = SRPMultiChannelResult.noOthers
    /// SOLNTSUP: the target port solicits answers and requests as it is asked to.
    public var supportsSolicitation = false
    /// Whether commands may carry immediate data (SRP-2, as Linux has it).
    public var grantsImmediateData = false

    public init() {}

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        requestLimitDelta = Int32(bitPattern: bytes.loadBE32(at: 4))
        maximumInitiatorLength = bytes.loadBE32(at: 16)
        maximumTargetLength = bytes.loadBE32(at: 20)
        bufferFormats = SRPBufferFormats(rawValue: bytes.loadBE16(at: 24))
        let flags = bytes.byte(at: 26)
        multiChannelResult = SRPMultiChannelResult(rawValue: flags & Flags.multiChannelResult)
        supportsSolicitation = flags & Flags.supportsSolicitation != 0
        grantsImmediateData = flags & Flags.grantsImmediateData != 0
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, tag: tag, length: Self.minimumLength)
        bytes.storeBE32(UInt32(bitPattern: requestLimitDelta), at: 4)
        bytes.storeBE32(maximumInitiatorLength, at: 16)
        bytes.storeBE32(maximumTargetLength, at: 20)
        bytes.storeBE16(bufferFormats.rawValue, at: 24)
        let flags =
            multiChannelResult.rawValue & Flags.multiChannelResult
            | (supportsSolicitation ? Flags.supportsSolicitation : 0)
            | (grantsImmediateData ? Flags.grantsImmediateData : 0)
        bytes.store(byte: flags, at: 26)
    }

    /// The bits of byte 26.
    private enum Flags {
        static let multiChannelResult: UInt8 = 0x03
        static let supportsSolicitation: UInt8 = 0x10
        static let grantsImmediateData: UInt8 = 0x80
    }
}
