import Bytes
import Platform
import Synchronization
import Testing

/// Runs `body` on the reactor and waits for its value.
func onReactor<Value: Sendable>(_ reactor: Reactor, _ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        reactor.post { continuation.resume(returning: body()) }
    }
}

/// An engine and a reactor for one test.
struct ReactorFixture: ~Copyable {
    let engine: FileEngine
    let reactor: Reactor

    init(threads: Int = 2, queueLimit: Int = 64) throws {
        let engine = try FileEngine(threads: threads, queueLimit: queueLimit)
        let reactor = try Reactor.start(name: "test", poolLimit: 64 << 20, fileEngine: engine)
        self.engine = engine
        self.reactor = reactor
    }

    deinit {
        engine.stop()
        reactor.stop()
    }
}

@Suite("Reactor")
struct ReactorTests {
    @Test("Posted work runs on the reactor's thread, in order")
    func posting() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        #expect(!reactor.isCurrent)
        // The box keeps the lock reachable from sendable closures.
        final class Box: Sendable { let seen = Lock<[Int]>([]) }
        let box = Box()
        for number in 0..<1000 { reactor.post { box.seen.withLock { $0.append(number) } } }
        let isCurrent = await onReactor(reactor) { reactor.isCurrent }
        #expect(isCurrent)
        let order = box.seen.withLock { $0 }
        #expect(order == Array(0..<1000))
    }

    final class Ticker: TimerHandler, TurnHandler, Sendable {
        let fired = Lock<[UInt64]>([])
        let turns = Atomic<Int>(0)

        func timerFired(_ token: UInt64) { fired.withLock { $0.append(token) } }
        func turnEnded() { turns.add(1, ordering: .relaxed) }
    }

    @Test("Timers fire in order of their deadlines, cancelled ones never")
    func timers() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        let ticker = Ticker()
        await onReactor(reactor) {
            _ = reactor.schedule(after: .milliseconds(30), ticker, token: 3)
            _ = reactor.schedule(after: .milliseconds(10), ticker, token: 1)
            let cancelled = reactor.schedule(after: .milliseconds(15), ticker, token: 9)
            _ = reactor.schedule(after: .milliseconds(20), ticker, token: 2)
            for _ in 0..<2 { if let cancelled { reactor.cancel(cancelled) } }
            // Cancelling must not let the heap grow.
            for _ in 0..<10000 {
                if let timer = reactor.schedule(after: .seconds(60), ticker, token: 0) { reactor.cancel(timer) }
            }
            for _ in 0..<3 { reactor.afterEvents(ticker) }
        }
        while ticker.fired.withLock({ $0.count }) < 3 { try await Task.sleep(for: .milliseconds(2)) }
        let fired = ticker.fired.withLock { $0 }
        #expect(fired == [1, 2, 3])
        #expect(ticker.turns.load(ordering: .relaxed) == 3)
    }

    @Test("At the limit of timers none is scheduled, and those that are go on")
    func timerLimit() async throws {
        let engine = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "few", poolLimit: 1 << 20, timerLimit: 2, fileEngine: engine)
        let ticker = Ticker()
        await onReactor(reactor) {
            let late = reactor.schedule(after: .seconds(60), ticker, token: 1)
            #expect(late != nil)
            #expect(reactor.schedule(after: .zero, ticker, token: 2) != nil)
            #expect(reactor.schedule(after: .zero, ticker, token: 3) == nil)
            #expect(reactor.pendingTimers == 2)
            if let late { reactor.cancel(late) }
            #expect(reactor.schedule(after: .zero, ticker, token: 4) != nil)
            #expect(reactor.schedule(after: .zero, ticker, token: 5) == nil)
        }
        while ticker.fired.withLock({ $0.count }) < 2 { try await Task.sleep(for: .milliseconds(1)) }
        #expect(ticker.fired.withLock { $0 } == [2, 4])
        engine.stop()
        reactor.stop()
    }

    @Test("A reactor's timers go by its clock")
    func movedClock() async throws {
        let nanoseconds = Shared()
        let engine = try FileEngine(threads: 1)
        let reactor = try Reactor.start(
            name: "clock", poolLimit: 1 << 20, fileEngine: engine,
            clock: MonotonicClock { MonotonicTime(nanoseconds: nanoseconds.value.load(ordering: .relaxed)) })
        let ticker = Ticker()
        await onReactor(reactor) { _ = reactor.schedule(after: .seconds(3600), ticker, token: 1) }
        await onReactor(reactor) {}
        #expect(ticker.fired.withLock { $0 } == [])
        nanoseconds.value.store(3600 * 1_000_000_000, ordering: .relaxed)
        // Timers fire at the end of the turn that runs what is posted.
        await onReactor(reactor) {}
        #expect(await onReactor(reactor) { reactor.now } == MonotonicTime(nanoseconds: 3600 * 1_000_000_000))
        #expect(ticker.fired.withLock { $0 } == [1])
        reactor.stop()
        engine.stop()
    }

    final class Shared: Sendable { let value = Atomic<Int64>(0) }

    /// Of two ready sockets, whichever is handled first closes the other and puts a new socket in its place.
    final class Replacer: ReadyHandler, @unchecked Sendable {
        let reactor: Reactor
        var socket: StreamSocket?
        var name: RegistrationName?
        var other: Replacer?
        var calls = 0
        var staleCalls = 0

        init(reactor: Reactor, socket: StreamSocket) {
            self.reactor = reactor
            self.socket = socket
        }

        func ready(_ events: ReadyEvents) {
            calls += 1
            if socket == nil { staleCalls += 1 }
            if let name { reactor.unregister(name) }
            guard let other, let otherName = other.name else { return }
            reactor.unregister(otherName)
            reactor.unregister(otherName)
            other.name = nil
            other.socket = nil
            self.other = nil
        }
    }

    @Test("An event that was found before an unregistration reaches nobody")
    func staleEvents() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        let (first, firstPeer) = try StreamSocket.pair()
        let (second, secondPeer) = try StreamSocket.pair()
        let output = OutputQueue()
        for peer in [firstPeer, secondPeer] {
            _ = output.append(copying: [1].rawSpan)
            #expect(output.flush(to: peer) == .drained)
        }
        let left = Replacer(reactor: reactor, socket: first)
        let right = Replacer(reactor: reactor, socket: second)
        await onReactor(reactor) {
            left.other = right
            right.other = left
            left.name = try? reactor.register(first.fileDescriptor, interest: .readable, handler: left)
            right.name = try? reactor.register(second.fileDescriptor, interest: .readable, handler: right)
        }
        var calls = 0
        while calls == 0 { calls = await onReactor(reactor) { left.calls + right.calls } }
        try await Task.sleep(for: .milliseconds(20))
        let (total, stale) = await onReactor(reactor) {
            (left.calls + right.calls, left.staleCalls + right.staleCalls)
        }
        #expect(total == 1)
        #expect(stale == 0)
        #expect(reactor.counters.events > 0 && reactor.counters.turns > 0 && reactor.counters.systemCalls > 0)
        await onReactor(reactor) {
            left.other = nil
            right.other = nil
        }
        withExtendedLifetime((firstPeer, secondPeer)) {}
    }

    @Test("After the stop nothing is accepted")
    func stopping() throws {
        let engine = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "short", poolLimit: 1 << 20, fileEngine: engine)
        reactor.stop()
        engine.stop()
        let accepted = reactor.post {}
        #expect(!accepted)
    }
}
