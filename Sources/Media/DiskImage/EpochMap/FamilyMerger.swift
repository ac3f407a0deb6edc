internal import Platform

/// Frees what only deleted nodes have, in a lane of its own, one bounded step after another: requests of commands come
/// in between. It belongs to no reactor, and needs nobody who waits for it.
final class FamilyMerger: Medium {
    private struct State {
        /// Whether somebody has asked for it since the last step began.
        var isWanted = false
        /// Whether the request is in the lane.
        var isSubmitted = false
        var isStopped = false
    }

    private let lane: Lane
    private let request = FileRequest()
    private let state = Lock(State())
    /// Held while a step is under way, on a thread that may wait.
    private let stepping = Lock(())
    /// Does a step; false when there is no more to do.
    private let step: @Sendable () -> Bool

    init(engine: any MediumEngine, step: @escaping @Sendable () -> Bool) {
        lane = Lane(engine: engine, concurrency: 1)
        self.step = step
    }

    /// Begins, or goes on, unless it was stopped. After a step that could not be done it waits for the next call.
    func start() {
        let mustSubmit = state.withLock { state in
            guard !state.isStopped else { return false }
            state.isWanted = true
            guard !state.isSubmitted else { return false }
            state.isSubmitted = true
            request.operation = .special(0)
            request.medium = self
            return true
        }
        if mustSubmit { lane.submitDetached(request) }
    }

    /// Ends it for good. It waits for the step that is under way, so never on a reactor.
    func stop() {
        state.withLock { $0.isStopped = true }
        stepping.withLock { _ in }
    }

    /// Does a step. The request is the merger's own.
    func perform(_ request: FileRequest) -> FileResult? {
        let goesOn = stepping.withLock { _ in
            let mayStep = state.withLock { state in
                state.isWanted = false
                return !state.isStopped
            }
            let hasMore = mayStep && step()
            return state.withLock { state in
                if hasMore || state.isWanted, !state.isStopped { return true }
                request.medium = nil
                state.isSubmitted = false
                return false
            }
        }
        if goesOn { lane.submitDetached(request) }
        return nil
    }
}
