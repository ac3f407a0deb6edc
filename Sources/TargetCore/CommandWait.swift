internal import Platform
internal import SCSI

/// The wait of a command whose own work is done, for what others do: answers of other reactors, the end of other
/// nexuses' tasks.
///
/// Nothing of the command is with the medium meanwhile. So it ends at once when it is aborted or its nexus is lost,
/// and is none of the tasks that others wait for: two commands never wait for each other. On the task's reactor.
public final class CommandWait: @unchecked Sendable {
    /// Nil when the command has ended.
    private var task: SCSITask?

    fileprivate init(_ task: SCSITask) { self.task = task }

    /// What was waited for has ended: the command ends with GOOD, unless it was aborted before.
    public func end() { end { _ = $0.good() } }

    /// The same with an outcome that `outcome` gives the task.
    public func end(_ outcome: (SCSITask) -> Void) {
        guard let task = task.take() else { return }
        task.wait = nil
        outcome(task)
        task.finish()
    }

    /// The same for a command that has something left to do: what `body` asks for is done.
    func resume(_ body: (SCSITask, ITLNexus) -> CommandProgress) {
        guard let task = task.take(), let nexus = task.nexus else { return }
        task.wait = nil
        nexus.logicalUnit.resume(task, nexus, body)
    }

    /// Whether it is the wait of `other`.
    func isOf(_ other: SCSITask) -> Bool { task === other }

    /// The command is aborted.
    func withdraw() { task = nil }
}

extension SCSITask {
    /// Has the command wait: `return task.wait { … }`. `begin` is called in one of the reactor's next turns, when the
    /// command is pending and its handler has returned, and has `CommandWait.end` called later or at once. It is called
    /// also when the command has been aborted meanwhile.
    public func wait(_ begin: @escaping @Sendable (CommandWait) -> Void) -> CommandProgress {
        let wait = CommandWait(self)
        guard reactor.postCompletion({ begin(wait) }) else {
            // The reactor is stopping.
            return fail(.hardwareError, .internalTargetFailure)
        }
        self.wait = wait
        return .pending
    }
}
