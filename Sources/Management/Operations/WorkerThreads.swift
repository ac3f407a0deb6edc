import Dispatch
import Platform

/// A bounded set of threads for work that may wait: for files, SQLite and reactors. Actors and tasks need the threads
/// of Swift's pool, so nothing that waits runs there.
///
/// Threads are started as work needs them, and stay. Work that finds none free waits in the order in which it came.
final class WorkerThreads: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        /// Where in `work` the next piece is.
        var next = 0
        var threads = 0
        /// How many threads wait, less those that have been called.
        var idle = 0
        var isStopped = false

        mutating func take() -> (@Sendable () -> Void)? {
            guard next < work.count else { return nil }
            defer {
                next += 1
                // Also under load that never lets it run dry.
                if next * 2 >= work.count {
                    work.removeFirst(next)
                    next = 0
                }
            }
            return work[next]
        }
    }

    /// What the threads hold, which outlives the set until they have ended.
    private final class Core: Sendable {
        let state = Lock(State())
        let calls = DispatchSemaphore(value: 0)

        func run() {
            while true {
                let (work, hasEnded) = state.withLock { state in
                    let work = state.take()
                    if work == nil, !state.isStopped { state.idle += 1 }
                    return (work, work == nil && state.isStopped)
                }
                if let work {
                    work()
                } else if hasEnded {
                    return
                } else {
                    calls.wait()
                }
            }
        }
    }

    private let core = Core()
    private let name: String
    private let limit: Int
    private let priority: PlatformThread.Priority

    /// At most `limit` threads of that name and priority, of which the first is started now.
    init(name: String, limit: Int, priority: PlatformThread.Priority = .ordinary) throws(SystemError) {
        precondition(limit > 0, "somebody has to do the work")
        self.name = name
        self.limit = limit
        self.priority = priority
        core.state.withLock { $0.threads = 1 }
        try start()
    }

    deinit { stop() }

    private func start() throws(SystemError) {
        let core = core
        _ = try PlatformThread.start(name: name, priority: priority) { core.run() }
    }

    /// Has a thread do `work`, after everything that was submitted before it has begun. Not after `stop`.
    func submit(_ work: @escaping @Sendable () -> Void) {
        enum Need { case call, thread, nothing }
        let need = core.state.withLock { state in
            precondition(!state.isStopped, "the threads have stopped")
            state.work.append(work)
            if state.idle > 0 {
                state.idle -= 1
                return Need.call
            }
            guard state.threads < limit else { return .nothing }
            state.threads += 1
            return .thread
        }
        switch need {
        case .call: core.calls.signal()
        case .nothing: break
        case .thread:
            // Where the system has no thread, those that run do the work later; there is always one.
            do { try start() } catch { core.state.withLock { $0.threads -= 1 } }
        }
    }

    /// Ends the threads when everything that was submitted is done. Does not wait for that.
    func stop() {
        let idle = core.state.withLock { state in
            defer { state.idle = 0 }
            state.isStopped = true
            return state.idle
        }
        for _ in 0..<idle { core.calls.signal() }
    }
}
