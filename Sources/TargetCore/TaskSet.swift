internal import SCSI

/// Tasks that are ordered against each other (SAM-5 clause 8): those of one nexus, or, for a serial unit, the one of
/// each nexus that is at its turn.
///
/// The rules are those of `OrderingClass.canStart`, applied in the order of arrival: a task that may not start yet
/// is blocked, and newer ones are blocked behind it, unless they are immediate or HEAD OF QUEUE. On one reactor only.
final class TaskSet {
    private var runningShared = 0
    private var isExclusiveRunning = false
    private var firstBlocked: SCSITask?
    private var lastBlocked: SCSITask?
    private var isStarting = false
    /// How many resets, and an auto contingent allegiance, hold its tasks back.
    private var holdCount = 0
    /// Whether an auto contingent allegiance does, which commands with the ACA attribute pass.
    private(set) var isFaulted = false

    /// Whether nothing runs and nothing is blocked.
    var isEmpty: Bool { runningShared == 0 && !isExclusiveRunning && firstBlocked == nil }

    /// Counts `task` as running when it may start now (true); otherwise it is blocked.
    func admit(_ task: SCSITask) -> Bool {
        let ordering = task.fields.orderingClass
        if ordering == .immediate { return true }
        let mayPass = holdCount == 0 && (firstBlocked == nil || task.attribute == .headOfQueue)
        if mayPass || passesFault(task),
            ordering.canStart(runningShared: runningShared, isExclusiveRunning: isExclusiveRunning)
        {
            begin(ordering)
            return true
        }
        task.fields.state = .blocked
        if task.attribute == .headOfQueue || task.attribute == .autoContingentAllegiance {
            task.nextBlocked = firstBlocked
            firstBlocked = task
            if lastBlocked == nil { lastBlocked = task }
        } else if let last = lastBlocked {
            last.nextBlocked = task
            lastBlocked = task
        } else {
            firstBlocked = task
            lastBlocked = task
        }
        return false
    }

    /// Lets no task start, immediate ones left out, until `release`.
    func hold() { holdCount += 1 }

    /// Ends one `hold`; `startBlocked` follows.
    func release() {
        precondition(holdCount > 0, "a task set is released as often as it was held")
        holdCount -= 1
    }

    /// Whether nothing but the auto contingent allegiance that it belongs to holds `task` back.
    private func passesFault(_ task: SCSITask) -> Bool {
        isFaulted && holdCount == 1 && task.attribute == .autoContingentAllegiance
    }

    /// Lets commands with the ACA attribute start only, immediate ones left out, until `mend`.
    func fault() {
        precondition(!isFaulted, "a task set is faulted once")
        isFaulted = true
        hold()
    }

    /// Ends `fault`; `startBlocked` follows.
    func mend() {
        precondition(isFaulted, "a task set is mended once")
        isFaulted = false
        release()
    }

    /// Takes a task that ran out of the count. `startBlocked` follows when its outcome is on its way.
    func leave(_ task: SCSITask) {
        switch task.fields.orderingClass {
        case .immediate: break
        case .shared: runningShared -= 1
        case .exclusive: isExclusiveRunning = false
        }
        precondition(runningShared >= 0, "more tasks left the task set than entered it")
    }

    /// Calls `start` with each blocked task that may start now, counted as running.
    ///
    /// A task that ends in `start` comes here again; then the outer call starts the next one. So the stack does not
    /// grow with the number of blocked tasks.
    func startBlocked(_ start: (SCSITask) -> Void) {
        guard firstBlocked != nil, !isStarting else { return }
        isStarting = true
        defer { isStarting = false }
        while let next = nextToStart() { start(next) }
    }

    private func nextToStart() -> SCSITask? {
        guard let first = firstBlocked, holdCount == 0 || passesFault(first),
            first.fields.orderingClass.canStart(runningShared: runningShared, isExclusiveRunning: isExclusiveRunning)
        else { return nil }
        firstBlocked = first.nextBlocked
        first.nextBlocked = nil
        if firstBlocked == nil { lastBlocked = nil }
        begin(first.fields.orderingClass)
        return first
    }

    /// Takes a blocked task out of the queue (it is aborted); false when it is not in this one.
    func removeBlocked(_ task: SCSITask) -> Bool {
        var previous: SCSITask?
        var current = firstBlocked
        while let candidate = current, candidate !== task {
            previous = candidate
            current = candidate.nextBlocked
        }
        guard current != nil else { return false }
        if let previous { previous.nextBlocked = task.nextBlocked } else { firstBlocked = task.nextBlocked }
        if lastBlocked === task { lastBlocked = previous }
        task.nextBlocked = nil
        return true
    }

    private func begin(_ ordering: OrderingClass) {
        switch ordering {
        case .immediate: break
        case .shared: runningShared += 1
        case .exclusive: isExclusiveRunning = true
        }
    }
}
