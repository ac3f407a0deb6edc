internal import Bytes

/// Why a PDU was rejected (RFC 7143 section 11.17.1).
@frozen public struct RejectReason: RawRepresentable, Hashable, Sendable {
    /// The field's value, one byte.
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Data (payload) digest error.
    public static let dataDigestError = Self(rawValue: 0x02)
    public static let snackReject = Self(rawValue: 0x03)
    public static let protocolError = Self(rawValue: 0x04)
    public static let commandNotSupported = Self(rawValue: 0x05)
    /// Immediate command reject: too many immediate commands.
    public static let tooManyImmediateCommands = Self(rawValue: 0x06)
    public static let taskInProgress = Self(rawValue: 0x07)
    public static let invalidDataACK = Self(rawValue: 0x08)
    public static let invalidPDUField = Self(rawValue: 0x09)
    /// Long Operation Reject: can't generate a target transfer tag.
    public static let longOperationReject = Self(rawValue: 0x0A)
    public static let waitingForLogout = Self(rawValue: 0x0C)
}

/// Reject (RFC 7143 section 11.17). Its data segment is the header of the rejected PDU.
@frozen public struct RejectPDU: PDUHeader {
    @inlinable public static var opcode: Opcode { .reject }

    /// Reason: why the PDU was rejected (table of section 11.17.1).
    public var reason = RejectReason.protocolError
    /// DataSegmentLength: the rejected header and what else the target sends back, in bytes.
    public var dataSegmentLength = BasicHeaderSegment.length
    /// StatSN: the number of this response on its connection (section 4.2.2.2).
    public var statSN = SequenceNumber(0)
    /// ExpCmdSN: the CmdSN that the target expects next (section 4.2.2.1).
    public var expCmdSN = SequenceNumber(0)
    /// MaxCmdSN: the last CmdSN that the target takes (section 4.2.2.1).
    public var maxCmdSN = SequenceNumber(0)
    /// DataSN or R2TSN: the next one that the target would send, in rejects of SNACKs.
    public var dataSN: UInt32 = 0

    public init() {}

    public init?(parsing bytes: RawSpan) {
        guard Self.matches(bytes) else { return nil }
        reason = RejectReason(rawValue: bytes.byte(at: 2))
        dataSegmentLength = bytes.dataSegmentLength
        statSN = SequenceNumber(bytes.loadBE32(at: 24))
        expCmdSN = SequenceNumber(bytes.loadBE32(at: 28))
        maxCmdSN = SequenceNumber(bytes.loadBE32(at: 32))
        dataSN = bytes.loadBE32(at: 36)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeaderStart(
            Self.opcode, firstWord: 0x80_0000 | UInt32(reason.rawValue) << 8, dataSegmentLength: dataSegmentLength)
        bytes.storeBE32(reservedTag, at: 16)
        bytes.storeBE32(statSN.rawValue, at: 24)
        bytes.storeBE32(expCmdSN.rawValue, at: 28)
        bytes.storeBE32(maxCmdSN.rawValue, at: 32)
        bytes.storeBE32(dataSN, at: 36)
    }
}
