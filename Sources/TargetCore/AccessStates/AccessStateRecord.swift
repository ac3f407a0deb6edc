/// The access state of a logical unit through one target port group, as it is kept beyond the life of the process.
public struct AccessStateRecord: Hashable, Sendable {
    /// TARGET PORT GROUP.
    public let group: UInt16
    /// The state; the one that comes next while a transition lasts.
    public var state: AsymmetricAccessState
    /// PREF: whether the group is a preferred one.
    public var isPreferred: Bool
    /// How long changes of the state take, in seconds.
    public var transitionTime: UInt8
    public var cause: AccessStateCause

    public init(
        group: UInt16, state: AsymmetricAccessState = .activeOptimized, isPreferred: Bool = false,
        transitionTime: UInt8 = 0, cause: AccessStateCause = .none
    ) {
        self.group = group
        self.state = state
        self.isPreferred = isPreferred
        self.transitionTime = transitionTime
        self.cause = cause
    }
}

/// What keeps the access states of one logical unit beyond the life of the process.
public protocol AccessStateKeeper: Sendable {
    /// What was kept, and is in force again; of groups that are not named nothing was.
    var kept: [AccessStateRecord] { get }
    /// Whether that could be read. If not, nothing is kept, and nothing is in force: all groups are unavailable, for
    /// somebody may have meant that.
    var isReadable: Bool { get }
    /// Keeps `records` in place of what was kept, and calls `completion` with true when they are durable, and with
    /// false when they could not be kept and what was kept before still is. It does not wait; `completion` is called on
    /// any thread, and the next records come behind that.
    func keep(_ records: [AccessStateRecord], completion: @escaping @Sendable (Bool) -> Void)
}

extension AccessStateKeeper {
    public var isReadable: Bool { true }
}
