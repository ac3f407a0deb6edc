internal import Platform

/// Runs one synchronisation at a time for all requests that want one.
///
/// A synchronisation makes durable whatever was written before it began, so it serves every request that was there by
/// then; those that come later share the next one. So a disk keeps one thread with this, however many commands wait for
/// it. And since no two overlap, a failure, which the host tells to one call alone, is not told to one request while
/// another succeeds without its data.
final class SynchronizationGroup: Sendable {
    private struct State {
        var isRunning = false
        /// Put aside until the one that runs has ended.
        var waiting = FileRequestList()
    }

    private let state = Lock(State())

    /// Runs `body` for `request` and all that have been put aside, or puts `request` aside (nil) because another runs.
    /// `result` makes a request's outcome from the error number of `body`.
    func synchronize(
        _ request: FileRequest, in lane: Lane, _ body: () -> Int32, result: (FileRequest, Int32) -> FileResult
    ) -> FileResult? {
        let joined: FileRequestList? = state.withLock { state in
            guard !state.isRunning else {
                state.waiting.append(request)
                return nil
            }
            state.isRunning = true
            return state.waiting.takeAll()
        }
        guard var joined else { return nil }
        let code = body()
        while let other = joined.takeFirst() { lane.complete(other, with: result(other, code)) }
        // The next one takes its turn among the requests of all media, and all that wait then with it.
        let next = state.withLock { state in
            state.isRunning = false
            return state.waiting.takeFirst()
        }
        if let next { lane.requeue(next) }
        return result(request, code)
    }
}
