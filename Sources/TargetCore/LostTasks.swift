internal import Platform

/// The tasks that the medium of a logical unit still works on although their nexus is gone: lost, or taken from the
/// unit by a change of a map. They change the medium until they have come back.
///
/// Whoever waits does so for those that there are by then, and not for later ones. Any thread may call any method.
final class LostTasks: Sendable {
    /// Tasks that were lost between two waits.
    private struct Batch {
        var count = 0
        /// Who waits for this batch and all before it.
        var waiting: [@Sendable () -> Void] = []
    }

    private struct State {
        /// The number of the first batch.
        var first = 0
        /// In the order of their age; the last one takes in what is lost now, and nobody waits for it.
        var batches = [Batch()]
    }
    private let state = Lock(State())

    /// Counts a task; the number of its batch, for `leave`.
    func enter() -> Int {
        state.withLock { state in
            state.batches[state.batches.count - 1].count += 1
            return state.first + state.batches.count - 1
        }
    }

    /// A task has come back.
    func leave(_ batch: Int) {
        let ended = state.withLock { state -> [@Sendable () -> Void] in
            state.batches[batch - state.first].count -= 1
            var ended: [@Sendable () -> Void] = []
            while state.batches.count > 1, state.batches[0].count == 0 {
                ended += state.batches.removeFirst().waiting
                state.first += 1
            }
            return ended
        }
        for body in ended { body() }
    }

    /// Calls `body` when the tasks that there are now have come back, on the thread where the last of them does; false,
    /// and it is not called, when there are none.
    func wait(_ body: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            // The last batch that is not empty; those before it are not, or `leave` would have taken them out.
            guard let last = state.batches.lastIndex(where: { $0.count > 0 }) else { return false }
            state.batches[last].waiting.append(body)
            if last == state.batches.count - 1 { state.batches.append(Batch()) }
            return true
        }
    }
}
