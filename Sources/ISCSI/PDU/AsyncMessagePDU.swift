internal import Bytes
public import SCSI

/// What a target tells without being asked (RFC 7143 section 11.9.1).
@frozen public struct AsyncEvent: RawRepresentable, Hashable, Sendable {
    /// The field's value, one byte.
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// A SCSI asynchronous event, with sense data.
    public static let scsiEvent = Self(rawValue: 0)
    /// The target asks for a logout within Parameter3 seconds.
    public static let logoutRequested = Self(rawValue: 1)
    /// The target will drop the connection Parameter1; Parameter2 and 3 are Time2Wait and Time2Retain.
    public static let connectionDropped = Self(rawValue: 2)
    /// The target will drop all connections; Parameter2 and 3 are Time2Wait and Time2Retain.
    public static let allConnectionsDropped = Self(rawValue: 3)
    /// The target asks for parameter negotiation within Parameter3 seconds.
    public static let negotiationRequested = Self(rawValue: 4)
    /// All tasks of the logical unit and I_T nexus are being ended (FastAbort).
    public static let tasksTerminated = Self(rawValue: 5)
    /// A vendor's event.
    public static let vendorSpecific = Self(rawValue: 255)
}

/// Asynchronous Message (RFC 7143 section 11.9).
@frozen public struct AsyncMessagePDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .asyncMessage }

    /// AsyncEvent (section 11.9.1).
    public var event = AsyncEvent.logoutRequested
    /// AsyncVCode, for vendor's events.
    public var vendorCode: UInt8 = 0
    /// DataSegmentLength: sense and event data, in bytes.
    public var dataSegmentLength = 0
    /// The logical unit, for the events that concern one.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// Parameter1: its meaning depends on the event (section 11.9.1).
    public var parameter1: UInt16 = 0
    /// Parameter2: its meaning depends on the event (section 11.9.1).
    public var parameter2: UInt16 = 0
    /// Parameter3: its meaning depends on the event (section 11.9.1).
    public var parameter3: UInt16 = 0

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        dataSegmentLength = bytes.dataSegmentLength
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 8))
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        event = AsyncEvent(rawValue: bytes.byte(at: 36))
        vendorCode = bytes.byte(at: 37)
        parameter1 = bytes.loadBE16(at: 38)
        parameter2 = bytes.loadBE16(at: 40)
        parameter3 = bytes.loadBE16(at: 42)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(Self.opcode, firstWord: 0x80_0000, dataSegmentLength: dataSegmentLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 8)
        bytes.storeBE32(reservedTag, at: 16)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.store(byte: event.rawValue, at: 36)
        bytes.store(byte: vendorCode, at: 37)
        bytes.storeBE16(parameter1, at: 38)
        bytes.storeBE16(parameter2, at: 40)
        bytes.storeBE16(parameter3, at: 42)
    }
}
