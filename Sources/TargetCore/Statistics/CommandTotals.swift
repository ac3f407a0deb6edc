/// What was counted of commands, whatever their operation codes: a copy of some moment.
public struct CommandTotals: Sendable, Hashable {
    /// Commands that have come and not ended.
    public var inFlight = 0
    /// Commands that ended without an outcome.
    public var aborted: UInt = 0
    /// Those that ended, without aborted ones.
    public var commands: UInt = 0
    /// Those of them that did not end with GOOD or CONDITION MET.
    public var failures: UInt = 0
    /// Data-In that initiators took, in bytes.
    public var readBytes: UInt = 0
    /// Data-Out of commands that ended with GOOD, in bytes.
    public var writtenBytes: UInt = 0

    /// Nothing.
    public init() {}
}
