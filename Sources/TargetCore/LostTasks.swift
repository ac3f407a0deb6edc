internal import Platform

/// The tasks that the medium of a logical unit still works on although their nexus is gone: lost, or taken from the
/// unit by a change of a map. They change the medium until they have come back.
///
/// Whoever waits does so for those that there are by then, and not for later ones. Any thread may call any method.
/// Batches are at most as many as the tasks, whatever comes back first.
final class LostTasks: Sendable {
    /// Tasks that were lost between two waits; there is at least one.
    private struct Batch {
        let number: Int
        var count = 1
        /// Who waits for this batch and all before it.
        var waiting = TaskWaiters()
    }

    private struct State {
        /// In the order of their numbers and their age. The last one takes in what is lost now, unless somebody waits
        /// for it.
        var batches: [Batch] = []
        var nextNumber = 0

        /// The index of the batch with that number.
        func index(of number: Int) -> Int {
            var (low, high) = (0, batches.count - 1)
            while low < high {
                let middle = (low + high) / 2
                if batches[middle].number < number { low = middle + 1 } else { high = middle }
            }
            return low
        }
    }
    private let state = Lock(State())

    /// How many batches there are.
    var batchCount: Int { state.withLock { $0.batches.count } }

    /// How many wait, with those who have withdrawn.
    var waiterCount: Int { state.withLock { $0.batches.reduce(0) { $0 + $1.waiting.count } } }

    /// Counts a task; the number of its batch, for `leave`.
    func enter() -> Int {
        state.withLock { state in
            if let last = state.batches.last, last.waiting.count == 0 {
                state.batches[state.batches.count - 1].count += 1
                return last.number
            }
            let batch = Batch(number: state.nextNumber)
            state.batches.append(batch)
            state.nextNumber += 1
            return batch.number
        }
    }

    /// A task has come back.
    func leave(_ batch: Int) {
        let ended = state.withLock { state -> [any TaskWaiter] in
            let index = state.index(of: batch)
            state.batches[index].count -= 1
            guard state.batches[index].count == 0 else { return [] }
            var waiting = state.batches.remove(at: index).waiting
            guard index > 0 else { return waiting.takeAll() }
            // Older ones have not come back.
            state.batches[index - 1].waiting.append(waiting)
            return []
        }
        for waiter in ended { waiter.hasEnded() }
    }

    /// Tells `waiter` when the tasks that there are now have come back, on the thread where the last of them does;
    /// false, and it is not told, when there are none.
    func wait(_ waiter: any TaskWaiter) -> Bool {
        state.withLock { state in
            guard !state.batches.isEmpty else { return false }
            state.batches[state.batches.count - 1].waiting.append(waiter)
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
