internal import Platform
internal import Synchronization

/// Counts what a task management function, or a command (`CommandWait`), waits for, and completes when all of it has
/// ended, on the reactor of the nexus that asks. With that nexus it ends: what it waits for may never come, and must
/// not keep the port.
final class Join: TaskWaiter {
    private struct Origin {
        let nexus: ITNexus
        let completion: @Sendable (TaskManagementResponse) -> Void
    }

    private let reactor: Reactor
    /// Nil when the function is complete or withdrawn.
    private let origin: ReactorConfined<Origin?>
    private let count = Atomic<Int>(1)
    private let withdrawn = Atomic<Bool>(false)

    /// A function of `nexus`. The count begins with one, for the time in which more is begun that is to be waited for.
    init(of nexus: ITNexus, _ completion: @escaping @Sendable (TaskManagementResponse) -> Void) {
        reactor = nexus.reactor
        origin = ReactorConfined(Origin(nexus: nexus, completion: completion))
        nexus.begin(self)
    }

    var isWithdrawn: Bool { withdrawn.load(ordering: .relaxed) }

    /// Lets go of the completion, which is not called. On the reactor.
    func withdraw() {
        withdrawn.store(true, ordering: .relaxed)
        origin.value = nil
    }

    /// Ends the count of the beginning, or of something that was waited for. On the reactor.
    func leave() {
        guard count.subtract(1, ordering: .acquiringAndReleasing).newValue == 0, let origin = origin.value else {
            return
        }
        self.origin.value = nil
        origin.nexus.end(self)
        origin.completion(.complete)
    }

    func hasEnded() {
        guard !isWithdrawn else { return }
        // A reactor that stops answers no functions.
        reactor.postCompletion { self.leave() }
    }

    /// Waits for a task that the medium has and that is aborted. On the reactor of the task.
    func wait(for task: SCSITask) {
        guard !isWithdrawn else { return }
        count.add(1, ordering: .relaxed)
        task.whenAborted.append(self)
    }

    /// Waits for the tasks that are lost now. On the reactor.
    func wait(for tasks: LostTasks) {
        guard !isWithdrawn else { return }
        count.add(1, ordering: .relaxed)
        if !tasks.wait(self) { leave() }
    }
}
