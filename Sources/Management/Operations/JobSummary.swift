public import Resources

public import struct Foundation.Date

/// How far a job is.
public enum JobState: String, Codable, Sendable, Hashable {
    /// It waits for other changes, or for its turn.
    case waiting
    /// It is under way.
    case running
    /// It has done what it was to do.
    case done
    /// It could not; nothing of it is left, as far as `problem` does not say otherwise.
    case failed
    /// It was cancelled, and nothing of it is left.
    case cancelled

    /// Whether it has come to its end.
    public var isFinal: Bool { self == .done || self == .failed || self == .cancelled }
}

/// A change or a check that takes long, under way or ended.
public struct JobSummary: Codable, Sendable, Hashable {
    /// Its number, from 1 since the daemon's start.
    public var id: Int
    /// What it does: `create`, `delete` or `check`.
    public var verb: String
    /// The kind of thing that it does it to: `library`; `media` or `everything` for a check.
    public var kind: String
    /// The name of the thing, or several with commas; empty when it is about everything.
    public var name: String
    /// Who asked for it, in the words of events.
    public var actor: String
    /// How far it is.
    public var state: JobState
    /// What `done` and `total` count: `cartridges`, `bytes`.
    public var unit: String
    /// How many of them are done.
    public var done: Int
    /// How many there are to do.
    public var total: Int
    /// How many are done in a second, since it runs; nil before the first.
    public var rate: Double?
    /// How many seconds the rest takes at this rate; nil when that is not known, or when it has ended.
    public var remaining: Double?
    /// When it was asked for, by the daemon's clock.
    public var asked: Date
    /// When it began; nil when it has not.
    public var began: Date?
    /// When it ended; nil when it has not.
    public var ended: Date?
    /// Whether it can be cancelled now.
    public var canBeCancelled: Bool
    /// Why it failed or was cancelled; nil when it was not.
    public var problem: String?
    /// What kind of refusal that is.
    public var problemCode: ManagementError.Code?
}

extension JobSummary {
    /// What it does, in words: `create library vtl`.
    public var work: String { [verb, kind, name].filter { !$0.isEmpty }.joined(separator: " ") }
}
