/// The outcome byte of a command (SAM-5 clause 5.3.1).
public struct SCSIStatus: RawRepresentable, Hashable, Sendable {
    /// The status code.
    public let rawValue: UInt8

    /// The status with that code, known or not.
    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    public static let good = Self(rawValue: 0x00)
    /// CHECK CONDITION: sense data says more.
    public static let checkCondition = Self(rawValue: 0x02)
    /// CONDITION MET (PRE-FETCH).
    public static let conditionMet = Self(rawValue: 0x04)
    /// BUSY: try again later.
    public static let busy = Self(rawValue: 0x08)
    /// RESERVATION CONFLICT: another I_T nexus holds the logical unit.
    public static let reservationConflict = Self(rawValue: 0x18)
    /// TASK SET FULL: no room for another command.
    public static let taskSetFull = Self(rawValue: 0x28)
    public static let acaActive = Self(rawValue: 0x30)
    /// TASK ABORTED: another I_T nexus ended the command, and the TAS bit is one.
    public static let taskAborted = Self(rawValue: 0x40)
}

/// The ordering that the initiator asks for (SAM-5 clause 8.6); the raw values are those of iSCSI's ATTR field.
public enum TaskAttribute: UInt8, Sendable {
    /// No attribute given; treated as SIMPLE.
    case untagged = 0
    case simple = 1
    /// ORDERED: after all older and before all newer commands.
    case ordered = 2
    /// HEAD OF QUEUE: before all others that have not started.
    case headOfQueue = 3
    /// ACA.
    case autoContingentAllegiance = 4
}

/// Task management functions (SAM-5 clause 7); the raw values are those of iSCSI (RFC 7143 section 11.5.1, RFC 7144).
public enum TaskManagementFunction: UInt8, Sendable, CaseIterable {
    case abortTask = 1
    case abortTaskSet = 2
    case clearACA = 3
    case clearTaskSet = 4
    case logicalUnitReset = 5
    case targetWarmReset = 6
    case targetColdReset = 7
    /// TASK REASSIGN (iSCSI only).
    case taskReassign = 8
    case queryTask = 9
    case queryTaskSet = 10
    case iTNexusReset = 11
    case queryAsynchronousEvent = 12
}
