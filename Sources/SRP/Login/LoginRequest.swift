internal import Bytes

/// What becomes of the channels that an I_T nexus already has (SRP r16a clause 6.2, MULTI-CHANNEL ACTION).
@frozen public enum SRPMultiChannelAction: UInt8, Sendable {
    /// The target port ends them.
    case endOthers = 0
    /// They go on, independently of the new one.
    case keepOthers = 1
}

/// SRP_LOGIN_REQ: an initiator port asks for an RDMA channel (SRP r16a clause 6.2).
///
/// It travels as private data of the connection manager's request: in 64 bytes over the communication manager of
/// InfiniBand, and without its reserved fields, in 56 bytes, over RDMA-CM, which leaves no more (Linux,
/// `struct srp_login_req_rdma`).
@frozen public struct SRPLoginRequest: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .loginRequest }
    @inlinable public static var minimumLength: Int { 64 }
    /// The length of the form for RDMA-CM, in bytes.
    public static let privateDataLength = 56

    /// The least that REQUESTED MAXIMUM INITIATOR TO TARGET IU LENGTH may be, in bytes: a login request fits.
    public static let smallestMaximumLength: UInt32 = 64

    public var tag: UInt64 = 0
    /// REQUESTED MAXIMUM INITIATOR TO TARGET IU LENGTH, in bytes.
    public var maximumLength: UInt32 = Self.smallestMaximumLength
    /// REQUIRED BUFFER FORMATS.
    public var bufferFormats = SRPBufferFormats.all
    /// MULTI-CHANNEL ACTION.
    public var multiChannelAction = SRPMultiChannelAction.endOthers
    /// LOSOLNT: SRP_T_LOGOUT shall be solicited.
    public var solicitsLogout = false
    /// CRSOLNT: SRP_CRED_REQ shall be solicited.
    public var solicitsCreditRequests = false
    /// AESOLNT: SRP_AER_REQ shall be solicited.
    public var solicitsAsyncEvents = false
    /// Whether the initiator port asks to send immediate data (SRP-2, as Linux has it).
    public var requestsImmediateData = false
    /// Where immediate data begins in each SRP_CMD that has such, in bytes from its start; for `requestsImmediateData`.
    public var immediateDataOffset: UInt16 = 0
    /// INITIATOR PORT IDENTIFIER.
    public var initiatorPort: SRPPortIdentifier
    /// TARGET PORT IDENTIFIER.
    public var targetPort: SRPPortIdentifier

    /// A login of `initiatorPort` at `targetPort`.
    @inlinable
    public init(initiatorPort: SRPPortIdentifier, targetPort: SRPPortIdentifier) {
        self.initiatorPort = initiatorPort
        self.targetPort = targetPort
    }

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        initiatorPort = SRPPortIdentifier(bytes, at: 32)
        targetPort = SRPPortIdentifier(bytes, at: 48)
        tag = bytes.loadBE64(at: 8)
        bufferFormats = SRPBufferFormats(rawValue: bytes.loadBE16(at: 24))
        immediateDataOffset = bytes.loadBE16(at: 28)
        try take(maximumLength: bytes.loadBE32(at: 16), flags: bytes.byte(at: 26))
    }

    /// The request in the private data of an RDMA-CM connection request, all of which is in `bytes`.
    public init(parsingPrivateData bytes: RawSpan) throws(SRPError) {
        guard bytes.byteCount >= Self.privateDataLength else {
            throw .tooShort(.loginRequest, length: bytes.byteCount, needed: Self.privateDataLength)
        }
        let found = SRPInformationUnitType(rawValue: bytes.byte(at: 11))
        guard found == .loginRequest else { throw .unexpectedType(found, expected: .loginRequest) }
        initiatorPort = SRPPortIdentifier(bytes, at: 16)
        targetPort = SRPPortIdentifier(bytes, at: 32)
        tag = bytes.loadBE64(at: 0)
        bufferFormats = SRPBufferFormats(rawValue: bytes.loadBE16(at: 8))
        immediateDataOffset = bytes.loadBE16(at: 48)
        try take(maximumLength: bytes.loadBE32(at: 12), flags: bytes.byte(at: 10))
    }

    /// The fields that have values which no login may have.
    private mutating func take(maximumLength: UInt32, flags: UInt8) throws(SRPError) {
        guard maximumLength >= Self.smallestMaximumLength else { throw .maximumLengthTooSmall(maximumLength) }
        guard let action = SRPMultiChannelAction(rawValue: flags & Flags.multiChannelAction) else {
            throw .reservedMultiChannelAction(flags & Flags.multiChannelAction)
        }
        self.maximumLength = maximumLength
        multiChannelAction = action
        solicitsLogout = flags & Flags.solicitsLogout != 0
        solicitsCreditRequests = flags & Flags.solicitsCreditRequests != 0
        solicitsAsyncEvents = flags & Flags.solicitsAsyncEvents != 0
        requestsImmediateData = flags & Flags.requestsImmediateData != 0
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, tag: tag, length: Self.minimumLength)
        bytes.storeBE32(maximumLength, at: 16)
        bytes.storeBE16(bufferFormats.rawValue, at: 24)
        bytes.store(byte: flags, at: 26)
        bytes.storeBE16(immediateDataOffset, at: 28)
        bytes.store(initiatorPort, at: 32)
        bytes.store(targetPort, at: 48)
    }

    /// Writes the form for RDMA-CM at the start of `bytes`, which must have `privateDataLength` bytes at least.
    @_lifetime(bytes: copy bytes)
    public func encodePrivateData(into bytes: inout MutableRawSpan) {
        bytes.fill(at: 0, count: Self.privateDataLength)
        bytes.storeBE64(tag, at: 0)
        bytes.storeBE16(bufferFormats.rawValue, at: 8)
        bytes.store(byte: flags, at: 10)
        bytes.store(byte: Self.type.rawValue, at: 11)
        bytes.storeBE32(maximumLength, at: 12)
        bytes.store(initiatorPort, at: 16)
        bytes.store(targetPort, at: 32)
        bytes.storeBE16(immediateDataOffset, at: 48)
    }

    private var flags: UInt8 {
        multiChannelAction.rawValue | (solicitsLogout ? Flags.solicitsLogout : 0)
            | (solicitsCreditRequests ? Flags.solicitsCreditRequests : 0)
            | (solicitsAsyncEvents ? Flags.solicitsAsyncEvents : 0)
            | (requestsImmediateData ? Flags.requestsImmediateData : 0)
    }

    /// The bits of byte 26 (SRP r16a table 9).
    private enum Flags {
        static let multiChannelAction: UInt8 = 0x03
        static let solicitsLogout: UInt8 = 0x10
        static let solicitsCreditRequests: UInt8 = 0x20
        static let solicitsAsyncEvents: UInt8 = 0x40
        static let requestsImmediateData: UInt8 = 0x80
    }
}

/// What a target port offers to those who log in.
public struct SRPTargetOffer: Hashable, Sendable {
    /// The target port.
    public var targetPort: SRPPortIdentifier
    /// The longest information unit that it receives, in bytes.
    public var maximumLength: UInt32
    /// The buffer formats that it knows.
    public var bufferFormats: SRPBufferFormats
    /// Whether an I_T nexus may have several channels.
    public var allowsMultipleChannels: Bool
    /// Whether commands may carry immediate data.
    public var allowsImmediateData: Bool

    public init(
        targetPort: SRPPortIdentifier, maximumLength: UInt32, bufferFormats: SRPBufferFormats = .all,
        allowsMultipleChannels: Bool = true, allowsImmediateData: Bool = true
    ) {
        self.targetPort = targetPort
        self.maximumLength = maximumLength
        self.bufferFormats = bufferFormats
        self.allowsMultipleChannels = allowsMultipleChannels
        self.allowsImmediateData = allowsImmediateData
    }

    /// Why `request` cannot be accepted; nil when nothing that is known here speaks against it. The order is that of
    /// the reasons' importance: a wrong port comes before everything that the right one might refuse.
    public func rejectReason(of request: SRPLoginRequest) -> SRPLoginRejectReason? {
        if !targetPort.isSamePort(as: request.targetPort) { return .noNexus }
        if request.maximumLength > maximumLength { return .maximumLengthTooLarge }
        if !request.bufferFormats.isSubset(of: bufferFormats) { return .unsupportedBufferFormat }
        if request.multiChannelAction == .keepOthers && !allowsMultipleChannels { return .multipleChannelsUnsupported }
        return nil
    }

    /// Where immediate data of `request`'s channel begins, in bytes from the start of SRP_CMD. It is nil when the
    /// initiator did not ask for it, when it is not offered, and when no command with immediate data could be that
    /// long: SRP_LOGIN_RSP does not grant it then.
    public func immediateDataOffset(of request: SRPLoginRequest) -> Int? {
        let offset = Int(request.immediateDataOffset)
        let least = SRPCommand.minimumLength + SRPDataBuffer.immediateDescriptorLength
        guard allowsImmediateData, request.requestsImmediateData, offset >= least, offset < request.maximumLength else {
            return nil
        }
        return offset
    }
}
