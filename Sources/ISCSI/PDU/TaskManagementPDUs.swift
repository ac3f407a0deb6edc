internal import Bytes
public import SCSI

/// Task Management Function Request (RFC 7143 section 11.5).
@frozen public struct TaskManagementRequestPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .taskManagementRequest }

    /// I: delivered at once, outside of the order of CmdSN (section 4.2.2.1).
    public var isImmediate = true
    /// The function's seven bits; `function` gives their meaning.
    public var functionCode: UInt8 = TaskManagementFunction.abortTask.rawValue
    /// The logical unit, for the functions that act on one.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// The initiator's name of this request.
    public var initiatorTaskTag: UInt32 = 0
    /// Referenced Task Tag: the task of ABORT TASK and TASK REASSIGN, else `reservedTag`.
    public var referencedTaskTag: UInt32 = reservedTag
    /// CmdSN: the request's number in its session (section 4.2.2.1).
    public var cmdSN = SequenceNumber(0)
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public var expStatSN = SequenceNumber(0)
    /// RefCmdSN: the CmdSN of the task to abort.
    public var refCmdSN = SequenceNumber(0)
    /// ExpDataSN, for TASK REASSIGN.
    public var expDataSN: UInt32 = 0

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        isImmediate = bytes.isImmediate
        functionCode = bytes.byte(at: 1) & 0x7F
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        referencedTaskTag = bytes.loadBE32(at: 20)
        cmdSN = SequenceNumber(bytes.loadBE32(at: 24))
        expStatSN = SequenceNumber(bytes.loadBE32(at: 28))
        refCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        expDataSN = bytes.loadBE32(at: 36)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(
            Self.opcode, isImmediate: isImmediate, firstWord: UInt32(0x80 | functionCode & 0x7F) << 16)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(referencedTaskTag, at: 20)
        bytes.storeBE32(cmdSN.rawValue, at: 24)
        bytes.storeBE32(expStatSN.rawValue, at: 28)
        bytes.storeBE32(refCmdSN.rawValue, at: 32)
        bytes.storeBE32(expDataSN, at: 36)
    }

    /// The function, or nil when no standard defines the code.
    public var function: TaskManagementFunction? { TaskManagementFunction(rawValue: functionCode) }
}

/// How a task management function ended (RFC 7143 section 11.6.1, RFC 7144).
@frozen public struct TaskManagementOutcome: RawRepresentable, Hashable, Sendable {
    /// The field's value, one byte.
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    public static let functionComplete = Self(rawValue: 0)
    public static let taskDoesNotExist = Self(rawValue: 1)
    /// LUN does not exist.
    public static let logicalUnitDoesNotExist = Self(rawValue: 2)
    public static let taskStillAllegiant = Self(rawValue: 3)
    /// Task allegiance reassignment not supported.
    public static let reassignmentNotSupported = Self(rawValue: 4)
    public static let functionNotSupported = Self(rawValue: 5)
    /// Function authorization failed.
    public static let authorizationFailed = Self(rawValue: 6)
    /// Function succeeded: the answer "yes" of the query functions (RFC 7144).
    public static let functionSucceeded = Self(rawValue: 7)
    public static let functionRejected = Self(rawValue: 255)
}

/// Task Management Function Response (RFC 7143 section 11.6).
@frozen public struct TaskManagementResponsePDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .taskManagementResponse }

    /// How the function ended.
    public var response = TaskManagementOutcome.functionComplete
    /// Additional Response Information: bytes 36–39, of QUERY ASYNCHRONOUS EVENT (RFC 7144), else 0.
    public var additionalResponseInformation: UInt32 = 0
    /// The tag of the request.
    public var initiatorTaskTag: UInt32 = 0
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        response = TaskManagementOutcome(rawValue: bytes.byte(at: 2))
        initiatorTaskTag = bytes.loadBE32(at: 16)
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        additionalResponseInformation = bytes.loadBE32(at: 36)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(Self.opcode, firstWord: 0x80_0000 | UInt32(response.rawValue) << 8)
        bytes.storeBE32(initiatorTaskTag, at: 16)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE32(additionalResponseInformation, at: 36)
    }
}
