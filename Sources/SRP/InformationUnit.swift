public import Bytes

/// What an information unit is (SRP r16a clause 6.1); an open set, so that unknown values survive to be refused.
@frozen public struct SRPInformationUnitType: RawRepresentable, Hashable, Sendable {
    /// The first byte of the information unit. Bit 7 says that the target port sends it, bit 6 that it answers another.
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    // MARK: Sent by SRP initiator ports

    /// SRP_LOGIN_REQ: the request for an RDMA channel (clause 6.2).
    public static let loginRequest = Self(rawValue: 0x00)
    /// SRP_TSK_MGMT: a task management function (clause 6.7).
    public static let taskManagement = Self(rawValue: 0x01)
    /// SRP_CMD: a SCSI command (clause 6.8).
    public static let command = Self(rawValue: 0x02)
    /// SRP_I_LOGOUT: the initiator port ends the channel (clause 6.5).
    public static let initiatorLogout = Self(rawValue: 0x03)
    /// SRP_CRED_RSP: the answer to SRP_CRED_REQ (clause 6.11).
    public static let creditResponse = Self(rawValue: 0x41)
    /// SRP_AER_RSP: the answer to SRP_AER_REQ (clause 6.13).
    public static let asyncEventResponse = Self(rawValue: 0x42)

    // MARK: Sent by SRP target ports

    /// SRP_T_LOGOUT: the target port ends the channel, and says why (clause 6.6).
    public static let targetLogout = Self(rawValue: 0x80)
    /// SRP_CRED_REQ: requests that the initiator port may send more, or fewer (clause 6.10).
    public static let creditRequest = Self(rawValue: 0x81)
    /// SRP_AER_REQ: an asynchronous event of a logical unit (clause 6.12).
    public static let asyncEventRequest = Self(rawValue: 0x82)
    /// SRP_LOGIN_RSP: the channel is accepted (clause 6.3).
    public static let loginResponse = Self(rawValue: 0xC0)
    /// SRP_RSP: the end of a command or of a task management function (clause 6.9).
    public static let response = Self(rawValue: 0xC1)
    /// SRP_LOGIN_REJ: the channel is refused, and why (clause 6.4).
    public static let loginReject = Self(rawValue: 0xC2)

    /// Whether SRP initiator ports send it: any other one that a target port receives ends the channel.
    @inlinable
    public var isInitiatorType: Bool { rawValue <= 0x03 || rawValue == 0x41 || rawValue == 0x42 }

    /// Whether SRP target ports send it.
    @inlinable
    public var isTargetType: Bool { (0x80...0x82).contains(rawValue) || (0xC0...0xC2).contains(rawValue) }
}

/// What every information unit begins with: its type, its flags and its tag.
///
/// It is enough to dispatch an information unit, and to answer one that its own parser refuses.
@frozen public struct SRPHeader: Hashable, Sendable {
    /// The length of the shortest information units, in bytes.
    public static let length = 16

    /// What the information unit is.
    public var type: SRPInformationUnitType
    /// The second byte: which answers are to be solicited, in commands and task management functions.
    public var solicitation: SRPSolicitation
    /// TAG: the requester's name of the request.
    public var tag: UInt64

    /// The header of the information unit in `bytes`. It is refused when it is shorter than any may be, or when no
    /// standard defines its type.
    @inlinable
    public init(parsing bytes: RawSpan) throws(SRPError) {
        guard bytes.byteCount > 0 else { throw .empty }
        type = SRPInformationUnitType(rawValue: bytes.byte(at: 0))
        guard type.isInitiatorType || type.isTargetType else { throw .unknownType(type.rawValue) }
        guard bytes.byteCount >= Self.length else {
            throw .tooShort(type, length: bytes.byteCount, needed: Self.length)
        }
        solicitation = SRPSolicitation(rawValue: bytes.byte(at: 1))
        tag = bytes.loadBE64(at: 8)
    }
}

/// Which answers of the target port shall cause a solicited event at the initiator's completion queue (SRP r16a
/// tables 18 and 20).
@frozen public struct SRPSolicitation: OptionSet, Hashable, Sendable {
    /// The bits of the second byte.
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue & 0x06
    }

    /// SCSOLNT: the answer to a request that succeeds.
    public static let success = Self(rawValue: 0x02)
    /// UCSOLNT: the answer to a request that fails.
    public static let failure = Self(rawValue: 0x04)

    /// SOLNT of the answer to a request with these bits.
    @inlinable
    public func isSolicited(succeeded: Bool) -> Bool { contains(succeeded ? .success : .failure) }
}

/// An information unit of one type, as the values of its fields.
///
/// Parsing takes what the wire says: reserved fields are ignored, codes are kept as they are where their receiver has
/// to judge them, and bytes behind the end of the information unit are ignored, because connection managers fill
/// private data up with zeros. Encoding writes reserved fields as zero.
public protocol SRPInformationUnit: Sendable {
    /// The first byte.
    static var type: SRPInformationUnitType { get }

    /// How many bytes it has at least.
    static var minimumLength: Int { get }

    /// How many bytes it has, with all that follows its fixed part.
    var length: Int { get }

    /// TAG: the requester's name of the request.
    var tag: UInt64 { get }

    /// The fields of the information unit in `bytes`, which are all that was received.
    init(parsing bytes: RawSpan) throws(SRPError)

    /// Writes the information unit at the start of `bytes`, which must have `length` bytes at least.
    @_lifetime(bytes: copy bytes)
    func encode(into bytes: inout MutableRawSpan)
}

extension SRPInformationUnit {
    /// As many as there are at least, unless the type has parts of variable length.
    @inlinable
    public var length: Int { Self.minimumLength }

    /// Refuses `bytes` when they are another information unit's, or fewer than any of this type has.
    @inlinable
    static func check(_ bytes: RawSpan) throws(SRPError) {
        guard bytes.byteCount > 0 else { throw .empty }
        let found = SRPInformationUnitType(rawValue: bytes.byte(at: 0))
        guard found == type else { throw .unexpectedType(found, expected: type) }
        guard bytes.byteCount >= minimumLength else {
            throw .tooShort(type, length: bytes.byteCount, needed: minimumLength)
        }
    }
}

extension MutableRawSpan {
    /// Writes type, second byte and tag, and zeros in all else of the first `length` bytes.
    @inlinable @_lifetime(self: copy self)
    mutating func storeHeader(_ type: SRPInformationUnitType, second: UInt8 = 0, tag: UInt64, length: Int) {
        fill(at: 0, count: length)
        store(byte: type.rawValue, at: 0)
        store(byte: second, at: 1)
        storeBE64(tag, at: 8)
    }
}

/// SOLNT, in the second byte of what the target port sends (SRP r16a tables 16 and 22).
@usableFromInline let solicitedNotification: UInt8 = 0x01
