internal import Bytes

/// The six bytes that make a session's initiator port unique (RFC 7143 section 11.12.5).
@frozen public struct InitiatorSessionID: RawRepresentable, Hashable, Sendable {
    /// The six bytes, first byte most significant; the upper 16 bits are zero.
    public let rawValue: UInt64

    public init(rawValue: UInt64) {
        self.rawValue = rawValue & 0x0000_FFFF_FFFF_FFFF
    }
}

/// A stage of the login phase (RFC 7143 section 11.12.3).
@frozen public enum LoginStage: UInt8, Sendable {
    /// Both sides prove who they are.
    case securityNegotiation = 0
    /// The parameters of session and connection are agreed on.
    case operationalNegotiation = 1
    /// The login is over.
    case fullFeaturePhase = 3
}

/// Login Request (RFC 7143 section 11.12).
@frozen public struct LoginRequestPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .loginRequest }

    /// The T bit: the initiator is ready for the next stage.
    public var isTransit = false
    /// The C bit: the text goes on in the next Login Request.
    public var isContinued = false
    /// CSG, two bits; value 2 is reserved.
    public var currentStageCode: UInt8 = 0
    /// NSG, two bits; meaningful only with the T bit.
    public var nextStageCode: UInt8 = 0
    /// Version-max: the highest version of the protocol that the sender has; 0 is RFC 7143.
    public var versionMax: UInt8 = 0
    /// Version-min: the lowest version of the protocol that the initiator takes.
    public var versionMin: UInt8 = 0
    /// TotalAHSLength, in bytes; a Login Request has none.
    public var additionalHeaderLength = 0
    /// DataSegmentLength, in bytes.
    public var dataSegmentLength = 0
    /// ISID: with the initiator's name it is the initiator port (section 4.2.4).
    public var initiatorSessionID = InitiatorSessionID(rawValue: 0)
    /// The TSIH: 0 for a new session.
    public var targetSessionHandle: UInt16 = 0
    /// The tag of the whole login.
    public var initiatorTaskTag: UInt32 = 0
    /// CID: the initiator's number of the connection in its session (section 4.2.4).
    public var connectionID: UInt16 = 0
    /// CmdSN: the session's first, the same in every request of a login.
    public var cmdSN = SequenceNumber(0)
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        isTransit = flags & 0x80 != 0
        isContinued = flags & 0x40 != 0
        currentStageCode = flags >> 2 & 0x03
        nextStageCode = flags & 0x03
        versionMax = bytes.byte(at: 2)
        versionMin = bytes.byte(at: 3)
        additionalHeaderLength = bytes.additionalHeaderLength
        dataSegmentLength = bytes.dataSegmentLength
        initiatorSessionID = InitiatorSessionID(rawValue: bytes.loadBE64(at: 8) >> 16)
        targetSessionHandle = bytes.loadBE16(at: 14)
        initiatorTaskTag = bytes.loadBE32(at: 16)
        connectionID = bytes.loadBE16(at: 20)
        cmdSN = SequenceNumber(bytes.loadBE32(at: 24))
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        var flags = (currentStageCode & 0x03) << 2 | nextStageCode & 0x03
        if isTransit { flags |= 0x80 }
        if isContinued { flags |= 0x40 }
        // A Login Request is always immediate (section 11.12).
        bytes.storeHeaderStart(
            Self.opcode, isImmediate: true,
            firstWord: UInt32(flags) << 16 | UInt32(versionMax) << 8 | UInt32(versionMin),
            additionalHeaderLength: additionalHeaderLength, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(initiatorSessionID.rawValue << 16 | UInt64(targetSessionHandle), at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE16(connectionID, at: 20)
        bytes.storeBE32(cmdSN.rawValue, at: 24)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
    }

    /// The stage that the initiator is in, or nil for the reserved value.
    public var currentStage: LoginStage? { LoginStage(rawValue: currentStageCode) }

    /// The stage that the initiator wants next, or nil for the reserved value; meaningful only with the T bit.
    public var nextStage: LoginStage? { LoginStage(rawValue: nextStageCode) }
}

/// Login Response (RFC 7143 section 11.13).
@frozen public struct LoginResponsePDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .loginResponse }

    /// The T bit: the target moves to the next stage.
    public var isTransit = false
    /// The C bit: the text goes on in the next Login Response.
    public var isContinued = false
    /// CSG, two bits.
    public var currentStageCode: UInt8 = 0
    /// NSG, two bits; meaningful only with the T bit.
    public var nextStageCode: UInt8 = 0
    /// Version-max: the highest version of the protocol that the sender has; 0 is RFC 7143.
    public var versionMax: UInt8 = 0
    /// Version-active: the version that the session uses.
    public var versionActive: UInt8 = 0
    /// DataSegmentLength, in bytes.
    public var dataSegmentLength = 0
    /// The ISID of the request.
    public var initiatorSessionID = InitiatorSessionID(rawValue: 0)
    /// The TSIH: that of the new session in the final response, else that of the request.
    public var targetSessionHandle: UInt16 = 0
    /// The tag of the whole login.
    public var initiatorTaskTag: UInt32 = 0
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// Status-Class and Status-Detail.
    public var status = LoginStatus.success

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        let flags = bytes.byte(at: 1)
        isTransit = flags & 0x80 != 0
        isContinued = flags & 0x40 != 0
        currentStageCode = flags >> 2 & 0x03
        nextStageCode = flags & 0x03
        versionMax = bytes.byte(at: 2)
        versionActive = bytes.byte(at: 3)
        dataSegmentLength = bytes.dataSegmentLength
        initiatorSessionID = InitiatorSessionID(rawValue: bytes.loadBE64(at: 8) >> 16)
        targetSessionHandle = bytes.loadBE16(at: 14)
        initiatorTaskTag = bytes.loadBE32(at: 16)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        status = LoginStatus(rawValue: bytes.loadBE16(at: 36))
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        var flags = (currentStageCode & 0x03) << 2 | nextStageCode & 0x03
        if isTransit { flags |= 0x80 }
        if isContinued { flags |= 0x40 }
        bytes.storeHeaderStart(
            Self.opcode, firstWord: UInt32(flags) << 16 | UInt32(versionMax) << 8 | UInt32(versionActive),
            dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(initiatorSessionID.rawValue << 16 | UInt64(targetSessionHandle), at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE16(status.rawValue, at: 36)
    }

    /// The stage that the target is in, or nil for the reserved value.
    public var currentStage: LoginStage? { LoginStage(rawValue: currentStageCode) }

    /// The stage that comes next, or nil for the reserved value; meaningful only with the T bit.
    public var nextStage: LoginStage? { LoginStage(rawValue: nextStageCode) }
}

/// Status-Class (high byte) and Status-Detail (low byte) of a login (RFC 7143 section 11.13.5).
@frozen public struct LoginStatus: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The field's value, two bytes.
    public let rawValue: UInt16

    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// Status-Class: 0 success, 1 redirection, 2 initiator error, 3 target error.
    public var statusClass: UInt8 { UInt8(rawValue >> 8) }

    /// Status-Detail: the lower byte, which says more about the class.
    public var statusDetail: UInt8 { UInt8(truncatingIfNeeded: rawValue) }

    /// Success: the login goes on.
    public static let success = Self(rawValue: 0x0000)
    public static let targetMovedTemporarily = Self(rawValue: 0x0101)
    public static let targetMovedPermanently = Self(rawValue: 0x0102)
    /// Initiator error: anything without a detail of its own.
    public static let initiatorError = Self(rawValue: 0x0200)
    public static let authenticationFailure = Self(rawValue: 0x0201)
    /// Authorization failure: the initiator may not use the target.
    public static let authorizationFailure = Self(rawValue: 0x0202)
    public static let targetNotFound = Self(rawValue: 0x0203)
    public static let targetRemoved = Self(rawValue: 0x0204)
    public static let unsupportedVersion = Self(rawValue: 0x0205)
    public static let tooManyConnections = Self(rawValue: 0x0206)
    public static let missingParameter = Self(rawValue: 0x0207)
    /// Can't include in session.
    public static let cannotIncludeInSession = Self(rawValue: 0x0208)
    public static let sessionTypeNotSupported = Self(rawValue: 0x0209)
    public static let sessionDoesNotExist = Self(rawValue: 0x020A)
    public static let invalidDuringLogin = Self(rawValue: 0x020B)
    public static let targetError = Self(rawValue: 0x0300)
    public static let serviceUnavailable = Self(rawValue: 0x0301)
    public static let outOfResources = Self(rawValue: 0x0302)

    /// The RFC's words for the status, for messages to people.
    public var description: String {
        switch self {
        case .success: "success"
        case .targetMovedTemporarily: "target moved temporarily"
        case .targetMovedPermanently: "target moved permanently"
        case .initiatorError: "initiator error"
        case .authenticationFailure: "authentication failure"
        case .authorizationFailure: "authorization failure"
        case .targetNotFound: "target not found"
        case .targetRemoved: "target removed"
        case .unsupportedVersion: "unsupported version"
        case .tooManyConnections: "too many connections"
        case .missingParameter: "missing parameter"
        case .cannotIncludeInSession: "can't include in session"
        case .sessionTypeNotSupported: "session type not supported"
        case .sessionDoesNotExist: "session does not exist"
        case .invalidDuringLogin: "invalid during login"
        case .targetError: "target error"
        case .serviceUnavailable: "service unavailable"
        case .outOfResources: "out of resources"
        default: "login status class \(statusClass) detail \(statusDetail)"
        }
    }
}
