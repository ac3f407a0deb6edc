internal import Initiator
internal import Platform

/// Runs load connections on one reactor for some time.
struct LoadRun {
    private let loads: [LoadConnection]

    /// Memory for the data of writes: one block a connection.
    private static let poolLimit = 1 << 30

    init(_ loads: [LoadConnection]) {
        self.loads = loads
    }

    /// What was measured.
    struct Outcome {
        var report: LoadReport
        /// How long it took.
        var seconds: Double
        /// How much the clock given to `measure` went on.
        var processorNanoseconds: Int64
    }

    /// Works for `warmup` seconds, then measures for `seconds`, during which `processorNanoseconds`, a clock of the
    /// target's processor time, is watched.
    func measure(
        warmup: Double, seconds: Double, processorNanoseconds: @escaping @Sendable () -> Int64 = { 0 }
    ) async throws -> Outcome {
        try await withReactor { reactor in
            let loads = loads
            try await Task.sleep(for: .seconds(warmup))
            let (begin, processorBegin) = try await onReactor(reactor) {
                for load in loads { load.beginMeasuring() }
                return (MonotonicTime.current(), processorNanoseconds())
            }
            try await Task.sleep(for: .seconds(seconds))
            return try await onReactor(reactor) {
                let elapsed = MonotonicTime.current().nanoseconds - begin.nanoseconds
                let processor = processorNanoseconds() - processorBegin
                var total = LoadReport()
                for load in loads {
                    total.add(load.endMeasuring())
                    load.stop()
                }
                return Outcome(
                    report: total, seconds: Double(elapsed) / 1_000_000_000, processorNanoseconds: processor)
            }
        }
    }

    /// Works until all loads have ended by themselves, at most `limit` seconds.
    func finish(limit: Double) async throws -> LoadReport {
        try await withReactor { reactor in
            let loads = loads
            let deadline = MonotonicTime.current() + .seconds(limit)
            try await onReactor(reactor) { for load in loads { load.beginMeasuring() } }
            while try await !onReactor(reactor, { loads.allSatisfy(\.isDone) }) {
                guard MonotonicTime.current() < deadline else {
                    throw Complaint("it takes more than \(limit) s to write once")
                }
                try await Task.sleep(for: .milliseconds(20))
            }
            return try await onReactor(reactor) {
                var total = LoadReport()
                for load in loads {
                    total.add(load.endMeasuring())
                    load.stop()
                }
                return total
            }
        }
    }

    /// Starts the loads on a reactor of their own, which lasts as long as `body`.
    private func withReactor<Result>(_ body: (Reactor) async throws -> Result) async throws -> Result {
        let files = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "load", poolLimit: Self.poolLimit, fileEngine: files)
        defer {
            reactor.stop()
            files.stop()
        }
        let loads = loads
        try await onReactor(reactor) { () throws(InitiatorError) in
            for load in loads { try load.start(on: reactor) }
        }
        return try await body(reactor)
    }

    /// Runs `body` on the reactor's thread and waits for it.
    private func onReactor<Result: Sendable>(
        _ reactor: Reactor, _ body: @escaping @Sendable () throws(InitiatorError) -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let isPosted = reactor.post {
                do throws(InitiatorError) {
                    continuation.resume(returning: try body())
                } catch {
                    continuation.resume(throwing: error)
                }
            }
            precondition(isPosted, "a running reactor takes a message")
        }
    }
}
