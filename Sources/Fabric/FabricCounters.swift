internal import Synchronization

/// What a `FabricContext` has of its provider now and has done; counted on its thread, readable on any.
///
/// When all is closed, everything but the sums is 0: that is how tests and operators see that nothing has leaked.
public final class FabricCounters: Sendable {
    private let regions = Atomic<Int>(0)
    private let bytes = Atomic<Int>(0)
    private let windowCount = Atomic<Int>(0)
    private let pairs = Atomic<Int>(0)
    private let receives = Atomic<Int>(0)
    private let sends = Atomic<Int>(0)
    private let completionSum = Atomic<Int>(0)
    private let failureSum = Atomic<Int>(0)
    private let strayCompletionSum = Atomic<Int>(0)

    init() {}

    /// Memory regions that are registered.
    public var registeredRegions: Int { regions.load(ordering: .relaxed) }
    /// Their bytes.
    public var registeredBytes: Int { bytes.load(ordering: .relaxed) }
    /// Memory windows that are allocated.
    public var windows: Int { windowCount.load(ordering: .relaxed) }
    /// Queue pairs that are not closed.
    public var queuePairs: Int { pairs.load(ordering: .relaxed) }
    /// Receives that are posted and not completed.
    public var postedReceives: Int { receives.load(ordering: .relaxed) }
    /// Requests of send queues that are posted and not completed.
    public var postedSends: Int { sends.load(ordering: .relaxed) }
    /// Completions so far.
    public var completions: Int { completionSum.load(ordering: .relaxed) }
    /// Those of them that were no success.
    public var failures: Int { failureSum.load(ordering: .relaxed) }
    /// Entries of completion queues that belong to no request: none, as long as the device is sound.
    public var strayCompletions: Int { strayCompletionSum.load(ordering: .relaxed) }

    // One thread counts: a load and a store do.
    private func add(_ change: Int, to counter: borrowing Atomic<Int>) {
        counter.store(counter.load(ordering: .relaxed) &+ change, ordering: .relaxed)
    }

    func countRegion(_ length: Int, _ sign: Int) {
        add(sign, to: regions)
        add(sign * length, to: bytes)
    }

    func countWindow(_ change: Int) { add(change, to: windowCount) }
    func countQueuePair(_ change: Int) { add(change, to: pairs) }
    func countReceives(_ change: Int) { add(change, to: receives) }
    func countSends(_ change: Int) { add(change, to: sends) }
    func countStrayCompletion() { add(1, to: strayCompletionSum) }

    func countCompletion(isSuccess: Bool) {
        add(1, to: completionSum)
        if !isSuccess { add(1, to: failureSum) }
    }
}
