internal import Synchronization

/// Counts what something waits for, and calls its completion once, when all that has ended, on the thread where the
/// last of it did.
final class Countdown: TaskWaiter {
    private let count = Atomic<Int>(1)
    private let completion: @Sendable () -> Void

    /// A count of one: `leave` ends the time in which more may enter.
    init(_ completion: @escaping @Sendable () -> Void) {
        self.completion = completion
    }

    func enter() {
        count.add(1, ordering: .relaxed)
    }

    /// Waits for the tasks that are lost now.
    func wait(for tasks: LostTasks) {
        enter()
        if !tasks.wait(self) { leave() }
    }

    func leave() {
        if count.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { completion() }
    }

    var isWithdrawn: Bool { false }

    func hasEnded() { leave() }
}
