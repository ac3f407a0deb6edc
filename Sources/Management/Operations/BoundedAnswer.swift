import Platform
import Resources

/// The answer that a caller waits for: the first that is given; and no longer than the caller has patience.
final class BoundedAnswer<Value: Sendable>: Sendable {
    typealias Outcome = Result<Value, ManagementError>

    private struct State {
        var continuation: CheckedContinuation<Outcome, Never>?
        var timers: [Task<Void, Never>] = []
    }
    private let state: Lock<State>

    init(_ continuation: CheckedContinuation<Outcome, Never>) {
        state = Lock(State(continuation: continuation))
    }

    /// Gives the answer, unless there was one before.
    func give(_ outcome: Outcome) {
        let (continuation, timers) = state.withLock { state in
            defer { state = State() }
            return (state.continuation, state.timers)
        }
        for timer in timers { timer.cancel() }
        continuation?.resume(returning: outcome)
    }

    /// Calls `body` when no answer is given for `patience`.
    func wait(atMost patience: Duration, _ body: @escaping @Sendable () -> Void) {
        let timer = Task {
            try? await Task.sleep(for: patience)
            if !Task.isCancelled { body() }
        }
        let isWaiting = state.withLock { state in
            if state.continuation != nil { state.timers.append(timer) }
            return state.continuation != nil
        }
        if !isWaiting { timer.cancel() }
    }
}
