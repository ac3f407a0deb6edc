internal import Synchronization

/// What a reactor has done since its start. Written by its thread alone, read by any.
public final class ReactorCounters: Sendable {
    private let turnCount = Atomic<Int>(0)
    private let eventCount = Atomic<Int>(0)
    private let systemCallCount = Atomic<Int>(0)
    private let receivedByteCount = Atomic<Int>(0)
    private let sentByteCount = Atomic<Int>(0)

    init() {}

    /// Loop turns.
    public var turns: Int { turnCount.load(ordering: .relaxed) }
    /// Readiness reports handled.
    public var events: Int { eventCount.load(ordering: .relaxed) }
    /// System calls for waiting, receiving and sending.
    public var systemCalls: Int { systemCallCount.load(ordering: .relaxed) }
    /// Bytes received on stream sockets.
    public var receivedBytes: Int { receivedByteCount.load(ordering: .relaxed) }
    /// Bytes sent on stream sockets.
    public var sentBytes: Int { sentByteCount.load(ordering: .relaxed) }

    // There is one writer, so a load and a store do for an add, without a locked instruction.
    private func add(_ amount: Int, to counter: borrowing Atomic<Int>) {
        counter.store(counter.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    func countTurn(events: Int) {
        add(1, to: turnCount)
        add(events, to: eventCount)
        add(1, to: systemCallCount)
    }

    func countSystemCall() { add(1, to: systemCallCount) }

    func countReceive(bytes: Int) {
        add(1, to: systemCallCount)
        add(bytes, to: receivedByteCount)
    }

    func countSend(bytes: Int) {
        add(1, to: systemCallCount)
        add(bytes, to: sentByteCount)
    }
}
