internal import Bytes

/// Why an initiator logs out (RFC 7143 section 11.14.1).
@frozen public struct LogoutReason: RawRepresentable, Hashable, Sendable {
    /// The field's value, seven bits.
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    public static let closeSession = Self(rawValue: 0)
    public static let closeConnection = Self(rawValue: 1)
    public static let removeConnectionForRecovery = Self(rawValue: 2)
}

/// How a logout ended (RFC 7143 section 11.15.1).
@frozen public struct LogoutOutcome: RawRepresentable, Hashable, Sendable {
    /// The field's value, one byte.
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Connection or session closed successfully.
    public static let closed = Self(rawValue: 0)
    /// CID not found.
    public static let connectionNotFound = Self(rawValue: 1)
    /// Connection recovery is not supported.
    public static let recoveryNotSupported = Self(rawValue: 2)
    public static let cleanupFailed = Self(rawValue: 3)
}

/// Logout Request (RFC 7143 section 11.14).
@frozen public struct LogoutRequestPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .logoutRequest }

    /// I: delivered at once, outside of the order of CmdSN (section 4.2.2.1).
    public var isImmediate = true
    /// Reason Code: what is to be closed, or recovered (section 11.14.1).
    public var reason = LogoutReason.closeSession
    /// The initiator's name of this request.
    public var initiatorTaskTag: UInt32 = 0
    /// The CID of the connection to close; reserved when the session is closed.
    public var connectionID: UInt16 = 0
    /// CmdSN: the request's number in its session (section 4.2.2.1).
    public var cmdSN = SequenceNumber(0)
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        isImmediate = bytes.isImmediate
        reason = LogoutReason(rawValue: bytes.byte(at: 1) & 0x7F)
        initiatorTaskTag = bytes.loadBE32(at: 16)
        connectionID = bytes.loadBE16(at: 20)
        cmdSN = SequenceNumber(bytes.loadBE32(at: 24))
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(
            Self.opcode, isImmediate: isImmediate, firstWord: UInt32(0x80 | reason.rawValue & 0x7F) << 16)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE16(connectionID, at: 20)
        bytes.storeBE32(cmdSN.rawValue, at: 24)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
    }
}

/// Logout Response (RFC 7143 section 11.15).
@frozen public struct LogoutResponsePDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .logoutResponse }

    /// How the logout ended.
    public var response = LogoutOutcome.closed
    /// The tag of the request.
    public var initiatorTaskTag: UInt32 = 0
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// Time2Wait, in seconds.
    public var time2Wait: UInt16 = 0
    /// Time2Retain, in seconds.
    public var time2Retain: UInt16 = 0

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        response = LogoutOutcome(rawValue: bytes.byte(at: 2))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        time2Wait = bytes.loadBE16(at: 40)
        time2Retain = bytes.loadBE16(at: 42)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(Self.opcode, firstWord: 0x80_0000 | UInt32(response.rawValue) << 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE16(time2Wait, at: 40)
        bytes.storeBE16(time2Retain, at: 42)
    }
}
