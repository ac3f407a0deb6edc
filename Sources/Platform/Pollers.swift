/// A source of work that a reactor asks in each turn, such as a completion queue in memory that a network adapter
/// writes.
public protocol Poller: AnyObject {
    /// Handles what there is, without waiting; whether there was anything.
    func poll() -> Bool
    /// The reactor is about to wait: from now on, work must make one of its registered descriptors ready (a completion
    /// queue is armed). False when there is work already: the reactor then polls again instead of waiting.
    func prepareToWait() -> Bool
}

extension Reactor {
    /// The most pollers of a reactor.
    public static let maximumPollers = 16
    /// How long a reactor with pollers goes on asking them after the last work before it waits: longer than it takes to
    /// sleep and to be woken, so that a busy queue is never waited for.
    public static let pollDuration = Duration.microseconds(50)

    /// Asks `poller` in each turn from now on; false when there are `maximumPollers`. The poller is kept until
    /// `removePoller`.
    public func addPoller(_ poller: any Poller) -> Bool {
        guard pollers.count < Self.maximumPollers else { return false }
        pollers.append(poller)
        lastPolledWork = now
        return true
    }

    /// Asks `poller` no more; one poller may remove another, or itself, while it is asked.
    public func removePoller(_ poller: any Poller) {
        pollers.removeAll { $0 === poller }
    }

    /// Asks all pollers; `hasWork` tells whether the turn had other work.
    func poll(hasWork: Bool) {
        guard !pollers.isEmpty else { return }
        var hasWork = hasWork
        for poller in pollers where isPolled(poller) && poller.poll() { hasWork = true }
        if hasWork { lastPolledWork = now }
    }

    /// Whether the reactor may wait for its descriptors, rather than only look at them and poll again.
    func mayWait() -> Bool {
        if pollers.isEmpty { return true }
        if now < lastPolledWork + Self.pollDuration { return false }
        // Each is asked, because each has to prepare.
        var mayWait = true
        for poller in pollers where isPolled(poller) && !poller.prepareToWait() { mayWait = false }
        if !mayWait { lastPolledWork = now }
        return mayWait
    }

    private func isPolled(_ poller: any Poller) -> Bool { pollers.contains { $0 === poller } }
}
