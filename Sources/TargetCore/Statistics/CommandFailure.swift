public import SCSI

/// A command that has failed because of the medium or the host: what an operator wants to know, beside the initiator.
public struct CommandFailure: Sendable {
    /// What kind of failure it is.
    public enum Cause: String, Sendable, CaseIterable {
        /// MEDIUM ERROR: what was stored cannot be read, or not be written.
        case mediumError = "medium error"
        /// HARDWARE ERROR: the host's storage does not do what it should.
        case hardwareError = "hardware error"
        /// SPACE ALLOCATION FAILED: the host's file system is full.
        case hostFull = "host is full"
    }

    /// What kind of failure it is.
    public let cause: Cause
    public let operationCode: UInt8
    /// The sense data that the initiator gets.
    public let sense: SenseData
    /// The name of the initiator port.
    public let initiator: String

    /// The failure of a command with that sense data; nil when that is the initiator's affair.
    public init?(operationCode: UInt8, sense: SenseData, initiator: String) {
        guard let cause = Self.cause(of: sense) else { return nil }
        self.cause = cause
        self.operationCode = operationCode
        self.sense = sense
        self.initiator = initiator
    }

    /// The failure of `task`; nil when it ends with what is the initiator's affair.
    init?(_ task: SCSITask) {
        guard let sense = task.sense, let nexus = task.nexus else { return nil }
        self.init(
            operationCode: task.commandDescriptorBlock.operationCode, sense: sense,
            initiator: nexus.iTNexus.initiatorPort.name)
    }

    private static func cause(of sense: SenseData) -> Cause? {
        switch sense.key {
        case .mediumError: .mediumError
        case .hardwareError: .hardwareError
        case .dataProtect where sense.additionalSenseCode == .spaceAllocationFailed: .hostFull
        default: nil
        }
    }
}
