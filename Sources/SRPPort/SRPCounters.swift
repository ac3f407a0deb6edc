internal import Synchronization

/// What an `SRPServer` has counted until now.
public struct SRPCounters: Sendable, Equatable {
    /// Logins that were accepted, whatever became of the connection.
    public internal(set) var acceptedLogins = 0
    /// Logins that were rejected.
    public internal(set) var refusedLogins = 0
    /// Commands that were answered.
    public internal(set) var commands = 0
    /// Bytes written into the memory of initiators.
    public internal(set) var sentBytes = 0
    /// Bytes read from there, and immediate data.
    public internal(set) var receivedBytes = 0
    /// Bytes of registered memory that channels hold for information units now.
    public internal(set) var bufferBytes = 0
}

/// What one reactor counts; readable on any thread.
final class PortCounters: Sendable {
    private let accepted = Atomic<Int>(0)
    private let refused = Atomic<Int>(0)
    private let commandSum = Atomic<Int>(0)
    private let sentSum = Atomic<Int>(0)
    private let receivedSum = Atomic<Int>(0)
    private let channelBytes = Atomic<Int>(0)

    // One thread counts: a load and a store do.
    private func add(_ change: Int, to counter: borrowing Atomic<Int>) {
        counter.store(counter.load(ordering: .relaxed) &+ change, ordering: .relaxed)
    }

    func countAcceptedLogin() { add(1, to: accepted) }
    func countRefusedLogin() { add(1, to: refused) }
    func countCommand() { add(1, to: commandSum) }
    func count(sent: Int) { add(sent, to: sentSum) }
    func count(received: Int) { add(received, to: receivedSum) }
    func countBuffers(_ change: Int) { add(change, to: channelBytes) }

    /// Adds what was counted.
    func add(to counters: inout SRPCounters) {
        counters.acceptedLogins += accepted.load(ordering: .relaxed)
        counters.refusedLogins += refused.load(ordering: .relaxed)
        counters.commands += commandSum.load(ordering: .relaxed)
        counters.sentBytes += sentSum.load(ordering: .relaxed)
        counters.receivedBytes += receivedSum.load(ordering: .relaxed)
        counters.bufferBytes += channelBytes.load(ordering: .relaxed)
    }
}
