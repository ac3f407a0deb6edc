internal import Synchronization

/// Counts of one session: written on its reactor, read on any thread.
final class SessionCounters: Sendable {
    private let commandCount = Atomic<Int>(0)
    private let sentByteCount = Atomic<Int>(0)
    private let receivedByteCount = Atomic<Int>(0)

    var commands: Int { commandCount.load(ordering: .relaxed) }
    var sentBytes: Int { sentByteCount.load(ordering: .relaxed) }
    var receivedBytes: Int { receivedByteCount.load(ordering: .relaxed) }

    // One writer, so a load and a store make an addition.
    func countCommand() { commandCount.store(commands &+ 1, ordering: .relaxed) }
    func count(sent: Int) { sentByteCount.store(sentBytes &+ sent, ordering: .relaxed) }
    func count(received: Int) { receivedByteCount.store(receivedBytes &+ received, ordering: .relaxed) }
}
