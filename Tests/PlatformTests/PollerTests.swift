import Bytes
import Platform
import Synchronization
import TestSupport
import Testing

@Suite("Pollers")
struct PollerTests {
    /// A queue in memory, as a network adapter has them: whoever adds an entry makes no descriptor ready unless it is
    /// armed.
    final class Queue: Poller, @unchecked Sendable {
        let reactor: Reactor
        let entries = Atomic<Int>(0)
        let isArmed = Atomic<Bool>(false)
        let handled = Atomic<Int>(0)
        let polls = Atomic<Int>(0)
        let waits = Atomic<Int>(0)
        /// So many entries come while the queue is being armed. On the reactor.
        var lateEntries = 0
        /// Removed when this one finds work. On the reactor.
        var other: Queue?

        init(_ reactor: Reactor) {
            self.reactor = reactor
        }

        func add() {
            entries.add(1, ordering: .sequentiallyConsistent)
            if isArmed.exchange(false, ordering: .sequentiallyConsistent) { reactor.post {} }
        }

        func poll() -> Bool {
            polls.add(1, ordering: .relaxed)
            let count = entries.exchange(0, ordering: .sequentiallyConsistent)
            handled.add(count, ordering: .sequentiallyConsistent)
            if count > 0, let other { reactor.removePoller(other) }
            return count > 0
        }

        func prepareToWait() -> Bool {
            isArmed.store(true, ordering: .sequentiallyConsistent)
            if lateEntries > 0 {
                lateEntries -= 1
                entries.add(1, ordering: .sequentiallyConsistent)
            }
            waits.add(1, ordering: .sequentiallyConsistent)
            return entries.load(ordering: .sequentiallyConsistent) == 0
        }
    }

    private func eventually(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test("Entries are found without a descriptor, and when the reactor has gone to sleep, the armed queue wakes it")
    func entries() async throws {
        let fixture = try ReactorFixture()
        let queue = Queue(fixture.reactor)
        let isAdded = await onReactor(fixture.reactor) { queue.reactor.addPoller(queue) }
        #expect(isAdded)
        for round in 1...200 {
            queue.add()
            try await eventually { queue.handled.load(ordering: .sequentiallyConsistent) == round }
            if round % 50 == 0 {
                // Asleep: it was asked to prepare after its last entry, and is armed.
                try await eventually { queue.isArmed.load(ordering: .sequentiallyConsistent) }
            }
        }
        #expect(queue.waits.load(ordering: .sequentiallyConsistent) > 0)
    }

    @Test("An entry that comes while the queue is armed is handled although nothing wakes the reactor")
    func lateEntries() async throws {
        let fixture = try ReactorFixture()
        let queue = Queue(fixture.reactor)
        _ = await onReactor(fixture.reactor) {
            queue.lateEntries = 5
            return queue.reactor.addPoller(queue)
        }
        try await eventually { queue.handled.load(ordering: .sequentiallyConsistent) == 5 }
    }

    @Test("A poller that is removed is asked no more, not even when another removes it in the same turn")
    func removal() async throws {
        let fixture = try ReactorFixture()
        let first = Queue(fixture.reactor)
        let second = Queue(fixture.reactor)
        first.other = second
        let polls = await onReactor(fixture.reactor) {
            first.entries.store(1, ordering: .sequentiallyConsistent)
            _ = first.reactor.addPoller(first)
            _ = first.reactor.addPoller(second)
            return second.polls.load(ordering: .relaxed)
        }
        try await eventually { first.handled.load(ordering: .sequentiallyConsistent) == 1 }
        first.add()
        try await eventually { first.handled.load(ordering: .sequentiallyConsistent) == 2 }
        #expect(polls == 0)
        #expect(second.polls.load(ordering: .relaxed) == 0)
        await onReactor(fixture.reactor) { first.other = nil }
    }

    @Test("A reactor has a named number of pollers, and takes others when some are gone")
    func limit() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        let added = await onReactor(reactor) {
            let queues = (0...Reactor.maximumPollers).map { _ in Queue(reactor) }
            let added = queues.map { reactor.addPoller($0) }
            for queue in queues { reactor.removePoller(queue) }
            return added + [reactor.addPoller(queues[0])]
        }
        #expect(added == Array(repeating: true, count: Reactor.maximumPollers) + [false, true])
    }
}

@Suite("A reactor's idle memory")
struct PoolUpkeepTests {
    @Test("A reactor gives idle memory of its pool back as time passes")
    func upkeep() async throws {
        // The box keeps the atomic reachable from sendable closures.
        final class Hand: Sendable { let nanoseconds = Atomic<Int64>(1) }
        let hand = Hand()
        let clock = MonotonicClock { MonotonicTime(nanoseconds: hand.nanoseconds.load(ordering: .relaxed)) }
        let engine = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "idle", poolLimit: 64 << 20, fileEngine: engine, clock: clock)
        defer {
            reactor.stop()
            engine.stop()
        }
        await onReactor(reactor) {
            var leases: [BufferLeaseBox] = []
            while let lease = reactor.pool.lease(capacity: 4 << 20) { leases.append(BufferLeaseBox(lease)) }
        }
        var resident: [Int] = []
        for _ in 0..<20 {
            hand.nanoseconds.add(1_000_000_000, ordering: .relaxed)
            resident.append(await onReactor(reactor) { reactor.pool.residentBytes })
        }
        #expect(resident.first == 64 << 20)
        #expect(resident.last == BufferPool.keptIdleLength)
        #expect(zip(resident, resident.dropFirst()).allSatisfy { $0 >= $1 })
    }
}
