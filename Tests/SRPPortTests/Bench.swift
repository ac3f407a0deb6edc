import Dispatch
import Platform

@testable import SRPPort

/// A reactor of a test. What is called on it in one turn can be repeated: all else of the test stands on the fabric,
/// which a seed decides.
final class Bench: Sendable {
    private static let engine: FileEngine = {
        guard let engine = try? FileEngine(threads: 1, queueLimit: 64) else {
            preconditionFailure("the tests need threads")
        }
        return engine
    }()
    private static let reactors = Lock<[Reactor]>([])

    let reactor: Reactor

    /// A reactor that works by itself.
    static func makeReactor(_ index: Int) throws -> Reactor {
        try Reactor.start(name: "srp-\(index)", index: index, poolLimit: 1 << 28, fileEngine: engine)
    }

    init() throws {
        reactor = try Reactor.start(name: "bench", poolLimit: 1 << 28, fileEngine: Self.engine)
        let reactor = reactor
        Self.reactors.withLock { $0.append(reactor) }
    }

    /// The reactor on whose thread the caller runs.
    static var current: Reactor? { reactors.withLock { $0.first { $0.isCurrent } } }

    /// Carries what is used on one thread at a time to that thread.
    private struct Carrier<Value>: @unchecked Sendable {
        var value: Value
    }

    /// Runs `body` in one turn and waits for it. What was posted to the reactor meanwhile runs before the next call.
    @discardableResult
    func run<Result>(_ body: @escaping () throws -> Result) throws -> Result {
        let done = DispatchSemaphore(value: 0)
        let outcome = Lock<Carrier<Swift.Result<Result, any Error>>?>(nil)
        let carrier = Carrier(value: body)
        reactor.postCompletion {
            let result = Carrier(value: Swift.Result(catching: carrier.value))
            outcome.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard let result = outcome.withLock({ $0 }) else { throw TestFailure(description: "the reactor has stopped") }
        return try result.value.get()
    }

    /// Has messages to the reactor run, also those that they post, and does all that the fabric has to do.
    func settle(_ fixture: PortFixture) throws {
        for _ in 0..<8 { try run { fixture.settle() } }
    }

    func stop() {
        let reactor = reactor
        Self.reactors.withLock { $0.removeAll { $0 === reactor } }
        reactor.stop()
    }
}

/// Runs a test of one turn on a reactor of its own.
func onReactor(_ body: @escaping () throws -> Void) throws {
    try withBench { try $0.run(body) }
}

/// Runs a test of several turns, with a reactor of its own.
func withBench(_ body: (Bench) throws -> Void) throws {
    let bench = try Bench()
    defer { bench.stop() }
    try body(bench)
}
