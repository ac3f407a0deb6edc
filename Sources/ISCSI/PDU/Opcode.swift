/// What a PDU is (RFC 7143 section 11.2.1.2); an open set, so that unknown values survive to be rejected.
@frozen public struct Opcode: RawRepresentable, Hashable, Sendable {
    /// The six bits on the wire.
    public let rawValue: UInt8

    /// The opcode with those bits.
    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    // MARK: Sent by initiators

    /// NOP-Out.
    public static let nopOut = Self(rawValue: 0x00)
    /// SCSI Command.
    public static let scsiCommand = Self(rawValue: 0x01)
    /// SCSI Task Management Function Request.
    public static let taskManagementRequest = Self(rawValue: 0x02)
    /// Login Request.
    public static let loginRequest = Self(rawValue: 0x03)
    /// Text Request.
    public static let textRequest = Self(rawValue: 0x04)
    /// SCSI Data-Out.
    public static let dataOut = Self(rawValue: 0x05)
    /// Logout Request.
    public static let logoutRequest = Self(rawValue: 0x06)
    /// SNACK Request.
    public static let snackRequest = Self(rawValue: 0x10)

    // MARK: Sent by targets

    /// NOP-In.
    public static let nopIn = Self(rawValue: 0x20)
    /// SCSI Response.
    public static let scsiResponse = Self(rawValue: 0x21)
    /// SCSI Task Management Function Response.
    public static let taskManagementResponse = Self(rawValue: 0x22)
    /// Login Response.
    public static let loginResponse = Self(rawValue: 0x23)
    /// Text Response.
    public static let textResponse = Self(rawValue: 0x24)
    /// SCSI Data-In.
    public static let dataIn = Self(rawValue: 0x25)
    /// Logout Response.
    public static let logoutResponse = Self(rawValue: 0x26)
    /// Ready To Transfer.
    public static let readyToTransfer = Self(rawValue: 0x31)
    /// Asynchronous Message.
    public static let asyncMessage = Self(rawValue: 0x32)
    /// Reject.
    public static let reject = Self(rawValue: 0x3F)

    /// Whether initiators may send it: everything else that a target receives is answered with Reject.
    @inlinable
    public var isInitiatorOpcode: Bool { rawValue <= 0x06 || rawValue == 0x10 }
}
