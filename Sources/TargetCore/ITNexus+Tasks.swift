// The tasks of a nexus, of which its port knows.
extension ITNexus {
    /// Calls `body` with every task that has not ended.
    func forEachTask(_ body: (SCSITask) -> Void) {
        port.value?.forEachTask(body)
    }

    /// Tells the port that a function of another nexus is about to end tasks.
    func announceClearing(of isAffected: (SCSITask) -> Bool) {
        port.value?.tasksWillBeCleared(where: isAffected)
    }

    /// Aborts the tasks that `isAffected` selects, on the reactor. None of them is started by the end of another; those
    /// that they blocked are, if they are not selected. The port's `taskAborted` follows for each.
    public func abortTasks(where isAffected: (SCSITask) -> Bool) {
        abortTasks(where: isAffected, whenPending: { _ in })
    }

    /// The same; `whenPending` is called with each that the medium has, and that comes back later.
    func abortTasks(
        _ reason: AbortReason = .withoutAnswer, where isAffected: (SCSITask) -> Bool, whenPending: (SCSITask) -> Void
    ) {
        var blockers: [ITLNexus] = []
        abortBlocked(reason, where: isAffected) { task in
            if let nexus = task.nexus, blockers.last !== nexus { blockers.append(nexus) }
        }
        abortRelayed(where: isAffected)
        forEachTask { task in
            guard isAffected(task) else { return }
            abort(task, reason, whenPending)
        }
        // An ORDERED command, for example, that others waited for may have been among them.
        for nexus in blockers { nexus.logicalUnit.startBlocked(behind: nexus) }
    }

    /// Aborts those of the tasks that `isAffected` selects which are at the other ends of relays, there and together:
    /// the end of one must start none of the others there either. The abort at this end follows.
    private func abortRelayed(where isAffected: (SCSITask) -> Bool) {
        for relay in relays(forAllUnits: false) {
            var slots: Set<Int> = []
            forEachTask { task in
                if task.nexus?.relay === relay, !task.isAborted, isAffected(task) { slots.insert(task.slot) }
            }
            if !slots.isEmpty { relay.abortTasks(in: slots) }
        }
    }

    private func abort(_ task: SCSITask, _ reason: AbortReason, _ whenPending: (SCSITask) -> Void) {
        task.nexus?.logicalUnit.abort(task, reason)
        if task.isAborted, task.state == .pending { whenPending(task) }
    }

    /// Aborts those of the tasks that `isAffected` selects which are blocked, and starts nothing:
    /// `startBlocked(behind:)` follows when the others have been aborted, whose end would have started them. First
    /// those that their own nexus blocks, then those that wait for the turn of the nexus. `body` is called with each
    /// before.
    func abortBlocked(
        _ reason: AbortReason = .withoutAnswer, where isAffected: (SCSITask) -> Bool, _ body: (SCSITask) -> Void
    ) {
        for isInTurns in [false, true] {
            forEachTask { task in
                guard task.state == .blocked, task.fields.isInTurns == isInTurns, isAffected(task) else { return }
                body(task)
                task.nexus?.logicalUnit.abort(task, reason, startsBlocked: false)
            }
        }
    }

    /// The nexus of a task that the medium has is gone: its logical unit remembers it until it comes back.
    static func noteLost(_ task: SCSITask) {
        guard let tasks = task.nexus?.logicalUnit.lostTasks else { return }
        task.whenAborted.append(LostTask(tasks))
    }
}
