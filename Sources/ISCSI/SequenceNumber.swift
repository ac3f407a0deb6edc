/// A CmdSN or StatSN: 32-bit serial arithmetic (RFC 1982 with SERIAL_BITS 32, RFC 7143 section 4.2.2).
///
/// There is no total order, so the type is not `Comparable`: `precedes` is meaningful for numbers that are less than
/// 2³¹ apart.
@frozen public struct SequenceNumber: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The field's value, four bytes.
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    @inlinable
    public init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Whether this number comes before `other`.
    @inlinable
    public func precedes(_ other: Self) -> Bool {
        Int32(bitPattern: rawValue &- other.rawValue) < 0
    }

    /// The number `count` after this one, or before it when `count` is negative.
    @inlinable
    public func advanced(by count: Int) -> Self {
        Self(rawValue &+ UInt32(truncatingIfNeeded: count))
    }

    /// How far `other` is after this number; negative when it comes before.
    @inlinable
    public func distance(to other: Self) -> Int {
        Int(Int32(bitPattern: other.rawValue &- rawValue))
    }

    /// The number in decimal digits.
    public var description: String { String(rawValue) }
}

/// A connection's StatSN counter (RFC 7143 section 4.2.2.2).
public struct StatusSequence: Sendable {
    /// The StatSN of the next PDU that carries status; PDUs that do not advance the counter show it too.
    public private(set) var next: SequenceNumber

    /// A counter whose first StatSN is `first`.
    public init(first: SequenceNumber = SequenceNumber(1)) {
        next = first
    }

    /// The StatSN of a PDU that carries status; the counter moves on.
    public mutating func take() -> SequenceNumber {
        defer { next = next.advanced(by: 1) }
        return next
    }

    /// How many PDUs with status an initiator whose ExpStatSN is `expStatSN` has not acknowledged, or nil when it
    /// acknowledges what was never sent.
    public func unacknowledgedCount(expStatSN: SequenceNumber) -> Int? {
        let count = expStatSN.distance(to: next)
        return count >= 0 ? count : nil
    }
}

/// A session's command numbering at the target: ExpCmdSN, MaxCmdSN and what to do with a CmdSN
/// (RFC 7143 section 4.2.2.1).
public struct CommandWindow: Sendable {
    /// What to do with a command.
    public enum Verdict: Sendable, Hashable {
        /// It is the next one: deliver it.
        case deliver
        /// It is ahead of its turn, by that many commands (at least 1): keep it until the gap is filled.
        case keep(ahead: Int)
        /// It is outside the window: ignore it silently.
        case ignore
    }

    /// The most commands that a window can have.
    public static let maximumLimit = 65_535

    /// ExpCmdSN: the next command that the target expects.
    public private(set) var expCmdSN: SequenceNumber
    /// MaxCmdSN: the last command that the target takes now. Never goes back.
    public private(set) var maxCmdSN: SequenceNumber
    /// The most commands that may be in flight.
    public let limit: Int

    /// A window of `limit` commands (1…`maximumLimit`) whose first is `first`.
    public init(first: SequenceNumber, limit: Int) {
        precondition(limit >= 1 && limit <= Self.maximumLimit, "a command window has 1 to 65535 commands")
        self.limit = limit
        expCmdSN = first
        maxCmdSN = first.advanced(by: limit - 1)
    }

    /// A window in the middle of its life, of at most `limit` commands.
    public init(expCmdSN: SequenceNumber, maxCmdSN: SequenceNumber, limit: Int) {
        precondition(limit >= 1 && limit <= Self.maximumLimit, "a command window has 1 to 65535 commands")
        self.limit = limit
        self.expCmdSN = expCmdSN
        self.maxCmdSN = maxCmdSN
    }

    /// What to do with a command numbered `cmdSN`. An immediate command carries a number but is delivered at once and
    /// uses none up. `deliver` of a numbered command moves ExpCmdSN on.
    public mutating func receive(_ cmdSN: SequenceNumber, isImmediate: Bool) -> Verdict {
        if isImmediate { return .deliver }
        if cmdSN == expCmdSN && !maxCmdSN.precedes(cmdSN) {
            expCmdSN = expCmdSN.advanced(by: 1)
            return .deliver
        }
        if cmdSN.precedes(expCmdSN) || maxCmdSN.precedes(cmdSN) { return .ignore }
        return .keep(ahead: expCmdSN.distance(to: cmdSN))
    }

    /// Opens the window as far as `limit` allows with `inFlight` commands delivered and not yet answered.
    public mutating func open(inFlight: Int) {
        let candidate = expCmdSN.advanced(by: Swift.max(limit - inFlight, 0) - 1)
        if maxCmdSN.precedes(candidate) { maxCmdSN = candidate }
    }
}
