/// What a PDU is (RFC 7143 section 11.2.1.2); an open set, so that unknown values survive to be rejected.
@frozen public struct Opcode: RawRepresentable, Hashable, Sendable {
    /// The field's value, six bits.
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    // MARK: Sent by initiators

    /// A ping of the initiator, or the answer to the target's (section 11.18).
    public static let nopOut = Self(rawValue: 0x00)
    /// A command with its CDB, perhaps with data (section 11.3).
    public static let scsiCommand = Self(rawValue: 0x01)
    /// SCSI Task Management Function Request.
    public static let taskManagementRequest = Self(rawValue: 0x02)
    /// The first PDU of a connection, and each step of its negotiation (section 11.12).
    public static let loginRequest = Self(rawValue: 0x03)
    /// A negotiation, or discovery, in full feature phase (section 11.10).
    public static let textRequest = Self(rawValue: 0x04)
    /// Data of a write (section 11.7).
    public static let dataOut = Self(rawValue: 0x05)
    /// The initiator closes a connection or its session (section 11.14).
    public static let logoutRequest = Self(rawValue: 0x06)
    /// The initiator asks for PDUs that it has missed, or acknowledges data (section 11.16).
    public static let snackRequest = Self(rawValue: 0x10)

    // MARK: Sent by targets

    /// A ping of the target, or the answer to the initiator's (section 11.19).
    public static let nopIn = Self(rawValue: 0x20)
    /// The end of a command: status, sense data, residuals (section 11.4).
    public static let scsiResponse = Self(rawValue: 0x21)
    /// SCSI Task Management Function Response.
    public static let taskManagementResponse = Self(rawValue: 0x22)
    /// The target's step in the negotiation of a login (section 11.13).
    public static let loginResponse = Self(rawValue: 0x23)
    /// The target's part of a text negotiation (section 11.11).
    public static let textResponse = Self(rawValue: 0x24)
    /// Data of a read, perhaps with its status (section 11.7).
    public static let dataIn = Self(rawValue: 0x25)
    /// The end of a connection or session (section 11.15).
    public static let logoutResponse = Self(rawValue: 0x26)
    /// The target asks for data of a write (section 11.8).
    public static let readyToTransfer = Self(rawValue: 0x31)
    /// An unsolicited event of the target (section 11.9).
    public static let asyncMessage = Self(rawValue: 0x32)
    /// A PDU that the target cannot take comes back (section 11.17).
    public static let reject = Self(rawValue: 0x3F)

    /// Whether initiators may send it: everything else that a target receives is answered with Reject.
    @inlinable
    public var isInitiatorOpcode: Bool { rawValue <= 0x06 || rawValue == 0x10 }
}
