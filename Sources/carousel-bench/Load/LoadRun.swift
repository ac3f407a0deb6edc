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

    /// Works for `warmup` seconds, then measures for `seconds`.
    func measure(warmup: Double, seconds: Double) async throws -> LoadReport {
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
        try await Task.sleep(for: .seconds(warmup))
        try await onReactor(reactor) { for load in loads { load.beginMeasuring() } }
        try await Task.sleep(for: .seconds(seconds))
        return try await onReactor(reactor) {
            var total = LoadReport()
            for load in loads {
                total.add(load.endMeasuring())
                load.stop()
            }
            return total
        }
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
