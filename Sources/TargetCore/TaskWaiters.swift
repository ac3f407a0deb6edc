/// What waits for tasks that the medium has.
protocol TaskWaiter: AnyObject, Sendable {
    /// Whether nobody waits any more. Any thread.
    var isWithdrawn: Bool { get }

    /// One of the tasks, or groups of tasks, that it waits for has come back: called once for each, on any thread.
    func hasEnded()
}

/// Those who wait for the same task, or group of tasks.
///
/// It may take for ever, and initiators come and go meanwhile. Those who have withdrawn are at most as many as the
/// others, or `sweepCount`.
struct TaskWaiters {
    /// How many there are before those who have withdrawn are looked for.
    static let sweepCount = 64

    private var waiters: [any TaskWaiter] = []
    private var nextSweep = Self.sweepCount

    /// How many there are, with those who have withdrawn.
    var count: Int { waiters.count }

    mutating func append(_ waiter: any TaskWaiter) {
        if waiters.count >= nextSweep {
            waiters.removeAll { $0.isWithdrawn }
            nextSweep = max(Self.sweepCount, 2 * waiters.count)
        }
        waiters.append(waiter)
    }

    /// Takes in those of `others`. The fewer are moved, so that what is joined again and again costs little.
    mutating func append(_ others: TaskWaiters) {
        var others = others
        if others.count > count { swap(&self, &others) }
        for waiter in others.waiters { append(waiter) }
    }

    /// Gives all of them and forgets them.
    mutating func takeAll() -> [any TaskWaiter] {
        defer { self = TaskWaiters() }
        return waiters
    }
}
