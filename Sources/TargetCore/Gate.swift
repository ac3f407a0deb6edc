/// Conditions of an I_T_L nexus that keep commands from being performed, or have them inspected first.
///
/// All of them stand in one atomic word of the nexus. Whoever establishes or clears a condition, on any thread, changes
/// the word; the way of a command reads it once and compares it with what the command's row allows. So a condition
/// costs commands nothing as long as it does not exist, and a new one (a registration of a persistent reservation, a
/// standby target port, a trace) is one more bit here and one more case in
/// `LogicalUnit.stop`.
public struct GateConditions: OptionSet, Sendable {
    /// A bit for each condition.
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A unit attention is pending (SAM-5 clause 5.14).
    public static let unitAttention = Self(rawValue: 1 << 0)
    /// A deferred error is pending (SPC-5 clause 4.4.7).
    public static let deferredError = Self(rawValue: 1 << 1)
    /// Another nexus holds a reservation (SPC-2 clause 5.5).
    public static let reservationConflict = Self(rawValue: 1 << 2)
    /// A `TaskInterposer` sees each command of the nexus first.
    public static let intercepted = Self(rawValue: 1 << 3)
    /// A persistent reservation lets the nexus read and not write (SPC-5 clause 5.14.1).
    public static let writeExclusion = Self(rawValue: 1 << 4)
    /// A persistent reservation lets the nexus neither read nor write.
    public static let accessExclusion = Self(rawValue: 1 << 5)
    /// The nexus has an auto contingent allegiance (SAM-5 clause 5.9).
    public static let contingentAllegiance = Self(rawValue: 1 << 6)
    /// Another nexus with the same task set has one.
    public static let contingentAllegianceOfAnother = Self(rawValue: 1 << 7)
    /// The target port is in the standby state (SPC-5 clause 5.16.2.4.4).
    public static let standby = Self(rawValue: 1 << 8)
    /// It is in the unavailable state (SPC-5 clause 5.16.2.4.5).
    public static let unavailable = Self(rawValue: 1 << 9)
    /// It is in the offline state (SPC-5 clause 5.16.2.4.6).
    public static let offline = Self(rawValue: 1 << 10)
    /// Its access state is in transition (SPC-5 clause 5.16.2.5).
    public static let transitioning = Self(rawValue: 1 << 11)
    /// The unit is in an idle or standby power condition, which a command that needs the medium ends (SPC-5 clause
    /// 5.14).
    public static let lowPower = Self(rawValue: 1 << 12)
}

/// Sees commands before and after the device server does: for injected faults, traces, statistics.
///
/// Both functions run on the reactor of the task's nexus. One interposer serves all nexuses of a logical unit.
public protocol TaskInterposer: AnyObject, Sendable {
    /// The command is about to be checked and performed. Nil performs it as usual; any other progress takes the place
    /// of the device server's. After `.pending` the interposer ends the task with `SCSITask.finish()`, or has it
    /// performed with `SCSITask.performIntercepted()`, on the task's reactor.
    func taskWillBegin(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress?

    /// The task has its outcome, which is about to go to the port and may still be changed. It is not called for
    /// aborted tasks.
    func taskWillEnd(_ task: SCSITask, _ nexus: ITLNexus)
}
