internal import SCSI

/// The tasks of one logical unit that are ordered against each other (SAM-5 clause 8).
///
/// The rules are those of `OrderingClass.canStart`, applied in the order of arrival: a task that may not start yet
/// waits, and newer ones wait behind it, unless they are immediate or HEAD OF QUEUE.
struct TaskSet {
    private(set) var runningShared = 0
    private(set) var isExclusiveRunning = false
    private var firstBlocked: SCSITask?
    private var lastBlocked: SCSITask?

    /// Whether nothing runs and nothing waits.
    var isEmpty: Bool { runningShared == 0 && !isExclusiveRunning && firstBlocked == nil }

    /// Counts `task` as running when it may start now (true), else lets it wait.
    mutating func admit(_ task: SCSITask) -> Bool {
        let ordering = task.fields.orderingClass
        if ordering == .immediate { return true }
        let mayPass = firstBlocked == nil || task.attribute == .headOfQueue
        if mayPass, ordering.canStart(runningShared: runningShared, isExclusiveRunning: isExclusiveRunning) {
            begin(ordering)
            return true
        }
        task.fields.state = .blocked
        if task.attribute == .headOfQueue {
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

    /// Takes a task that ran out of the count; whether others wait.
    mutating func leave(_ task: SCSITask) -> Bool {
        switch task.fields.orderingClass {
        case .immediate: break
        case .shared: runningShared -= 1
        case .exclusive: isExclusiveRunning = false
        }
        precondition(runningShared >= 0, "more tasks left the task set than entered it")
        return firstBlocked != nil
    }

    /// The next waiting task, counted as running, if it may start now.
    mutating func nextToStart() -> SCSITask? {
        guard let first = firstBlocked,
            first.fields.orderingClass.canStart(runningShared: runningShared, isExclusiveRunning: isExclusiveRunning)
        else { return nil }
        firstBlocked = first.nextBlocked
        first.nextBlocked = nil
        if firstBlocked == nil { lastBlocked = nil }
        begin(first.fields.orderingClass)
        return first
    }

    /// Takes a waiting task out of the queue (it was aborted).
    mutating func removeBlocked(_ task: SCSITask) {
        var previous: SCSITask?
        var current = firstBlocked
        while let candidate = current, candidate !== task {
            previous = candidate
            current = candidate.nextBlocked
        }
        guard current != nil else { return }
        if let previous { previous.nextBlocked = task.nextBlocked } else { firstBlocked = task.nextBlocked }
        if lastBlocked === task { lastBlocked = previous }
        task.nextBlocked = nil
    }

    private mutating func begin(_ ordering: OrderingClass) {
        switch ordering {
        case .immediate: break
        case .shared: runningShared += 1
        case .exclusive: isExclusiveRunning = true
        }
    }
}
