internal import Platform

/// The tasks that the medium of a logical unit still works on although their nexus is gone: lost, or taken from the
/// unit by a change of a map. They change the medium until they have come back.
///
/// Whoever waits does so for those that there are by then, and not for later ones. Any thread may call any method.
/// Batches are at most one more than the tasks, with one for what is lost next.
final class LostTasks: Sendable {
    /// Tasks that were lost between two waits.
    private struct Batch {
        var count = 0
        /// Who waits for this batch and all before it.
        var waiting = TaskWaiters()
    }

    private struct State {
        /// The number of the first batch.
        var first = 0
        /// In the order of their age; the last one takes in what is lost now, and nobody waits for it.
        var batches = [Batch()]

        /// Joins the last two batches while both are empty: who waits for the last but one waits for those before it.
        /// No task has the number of an empty last batch.
        mutating func joinEmptyBatches() {
            while batches.count > 2, batches[batches.count - 1].count == 0, batches[batches.count - 2].count == 0 {
                let waiting = batches[batches.count - 2].waiting.takeAll()
                batches.removeLast()
                guard let last = batches.lastIndex(where: { $0.count > 0 }) else { return }
                for waiter in waiting { batches[last].waiting.append(waiter) }
            }
        }
    }
    private let state = Lock(State())

    /// How many wait, with those who have withdrawn.
    var waiterCount: Int { state.withLock { $0.batches.reduce(0) { $0 + $1.waiting.count } } }

    /// Counts a task; the number of its batch, for `leave`.
    func enter() -> Int {
        state.withLock { state in
            state.batches[state.batches.count - 1].count += 1
            return state.first + state.batches.count - 1
        }
    }

    /// A task has come back.
    func leave(_ batch: Int) {
        let ended = state.withLock { state -> [any TaskWaiter] in
            state.batches[batch - state.first].count -= 1
            var ended: [any TaskWaiter] = []
            while state.batches.count > 1, state.batches[0].count == 0 {
                ended += state.batches[0].waiting.takeAll()
                state.batches.removeFirst()
                state.first += 1
            }
            state.joinEmptyBatches()
            return ended
        }
        for waiter in ended { waiter.hasEnded() }
    }

    /// Tells `waiter` when the tasks that there are now have come back, on the thread where the last of them does;
    /// false, and it is not told, when there are none.
    func wait(_ waiter: any TaskWaiter) -> Bool {
        state.withLock { state in
            // The last batch that is not empty; those before it are not, or `leave` would have taken them out.
            guard let last = state.batches.lastIndex(where: { $0.count > 0 }) else { return false }
            state.batches[last].waiting.append(waiter)
            if last == state.batches.count - 1 { state.batches.append(Batch()) }
            return true
        }
    }
}

/// The end of one lost task, for those who wait for it and others.
final class LostTask: TaskWaiter {
    private let tasks: LostTasks
    private let batch: Int

    /// Counts a task among `tasks`.
    init(_ tasks: LostTasks) {
        self.tasks = tasks
        batch = tasks.enter()
    }

    var isWithdrawn: Bool { false }

    func hasEnded() { tasks.leave(batch) }
}
