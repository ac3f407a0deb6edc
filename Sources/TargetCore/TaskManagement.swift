internal import Platform
public import SCSI

/// What became of a task management function (SAM-5 clause 7.1).
public enum TaskManagementResponse: UInt8, Sendable {
    /// FUNCTION COMPLETE.
    case complete = 0
    /// The task that it refers to does not exist.
    case taskDoesNotExist = 1
    case incorrectLogicalUnitNumber = 2
    /// FUNCTION REJECTED: not supported.
    case notSupported = 5
    /// FUNCTION SUCCEEDED: a query found what it asked for.
    case succeeded = 7
}

extension ITNexus {
    /// Performs a task management function on the session's reactor, and calls `completion` there when all tasks
    /// that it affects have ended.
    ///
    /// `reference` is the task that ABORT TASK or QUERY TASK names, nil when the port knows none of that tag. CLEAR
    /// ACA, TASK REASSIGN and the port's own part of resets are not done here.
    public func perform(
        _ function: TaskManagementFunction, logicalUnitNumber: LogicalUnitNumber, reference: SCSITask?,
        completion: @escaping @Sendable (TaskManagementResponse) -> Void
    ) {
        let nexus = unitNexus(logicalUnitNumber)
        switch function {
        case .abortTask:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            guard let reference, reference.nexus === nexus else { return completion(.taskDoesNotExist) }
            let join = Join(completion)
            join.abort(reference)
            join.finishIssuing()
        case .queryTask:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            completion(reference?.nexus === nexus ? .succeeded : .complete)
        case .abortTaskSet:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            let join = Join(completion)
            join.abortTasks(of: self) { $0.nexus === nexus }
            join.finishIssuing()
        case .queryTaskSet:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            var isFound = false
            forEachTask { if $0.nexus === nexus { isFound = true } }
            completion(isFound ? .succeeded : .complete)
        case .clearTaskSet where nexus?.logicalUnit.isSerial == false:
            // TST 001b: the task set has this nexus's tasks only (SPC-5 clause 7.5.8).
            perform(.abortTaskSet, logicalUnitNumber: logicalUnitNumber, reference: nil, completion: completion)
        case .clearTaskSet:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            clear([nexus.logicalUnit], attention: .commandsClearedByAnotherInitiator, isReset: false, completion)
        case .logicalUnitReset:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            clear([nexus.logicalUnit], attention: .busDeviceResetOccurred, isReset: true, completion)
        case .targetWarmReset, .targetColdReset:
            clear(
                logicalUnits.distinctUnits, attention: .busDeviceResetOccurred, isReset: true, completion)
        case .iTNexusReset:
            let join = Join(completion)
            join.abortTasks(of: self) { _ in true }
            // What the nexus holds ends as if it were lost (SAM-5 clause 6.3.4).
            for nexus in unitNexuses {
                nexus.logicalUnit.attachedNexuses.endHold(of: nexus)
                nexus.establishUnitAttention(.iTNexusLossOccurred)
            }
            join.finishIssuing()
        case .queryAsynchronousEvent:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            completion(nexus.hasUnitAttention ? .succeeded : .complete)
        case .clearACA, .taskReassign:
            completion(.notSupported)
        }
    }

    /// Aborts the tasks of all nexuses on `units`, each on its own reactor, where its unit attention follows: it covers
    /// what the nexus has lost, and is established once.
    private func clear(
        _ units: [LogicalUnit], attention: AdditionalSenseCode, isReset: Bool,
        _ completion: @escaping @Sendable (TaskManagementResponse) -> Void
    ) {
        let join = Join(completion)
        let origin = reactor
        for unit in units {
            let nexuses = unit.attachedNexuses.all
            // On a serial unit tasks of one nexus may be blocked by those of another, all on this reactor.
            for nexus in nexuses where nexus.iTNexus.reactor === origin {
                if nexus.iTNexus !== self { nexus.iTNexus.announceClearing(of: nexus) }
                nexus.blockedWereAborted = nexus.iTNexus.abortBlocked { $0.nexus === nexus }
            }
            for nexus in nexuses {
                let other = nexus.iTNexus
                let isSelf = other === self
                let abortAll: @Sendable () -> Void = {
                    if other.reactor !== origin { other.announceClearing(of: nexus) }
                    let hadBlocked = nexus.blockedWereAborted
                    nexus.blockedWereAborted = false
                    let hadTask = join.abortTasks(of: other) { $0.nexus === nexus } || hadBlocked
                    // The nexus that asked also learns of a reset (SAM-5 clause 6.3.3).
                    if isReset || hadTask && !isSelf { nexus.establishUnitAttention(attention) }
                }
                if other.reactor === origin {
                    abortAll()
                } else {
                    join.enter()
                    let isPosted = other.reactor.postCompletion {
                        abortAll()
                        if !origin.postCompletion({ join.leave() }) { join.leave() }
                    }
                    // A reactor that stops has no tasks to wait for.
                    if !isPosted { join.leave() }
                }
            }
            if isReset { unit.reset() }
        }
        join.finishIssuing()
    }
}

/// Counts what a task management function waits for, and completes when all of it has ended.
private final class Join: Sendable {
    private let countdown: Countdown

    init(_ completion: @escaping @Sendable (TaskManagementResponse) -> Void) {
        countdown = Countdown { completion(.complete) }
    }

    func enter() { countdown.enter() }
    func leave() { countdown.leave() }

    /// Aborts a task and, when it is with the medium, waits for its return.
    func abort(_ task: SCSITask) {
        task.abort()
        guard task.isAborted, task.state == .pending else { return }
        enter()
        let reactor = task.reactor
        // Another function may wait for the same task.
        let others = task.whenAborted
        task.whenAborted = {
            others?()
            if !reactor.postCompletion({ self.leave() }) { self.leave() }
        }
    }

    /// Aborts the tasks of a nexus that `isAffected` selects; whether there was one.
    @discardableResult
    func abortTasks(of nexus: ITNexus, where isAffected: (SCSITask) -> Bool) -> Bool {
        var hadTask = nexus.abortBlocked(where: isAffected)
        nexus.forEachTask { task in
            guard isAffected(task) else { return }
            hadTask = true
            abort(task)
        }
        return hadTask
    }

    /// Gives up the count that held the completion back while aborts were issued.
    func finishIssuing() {
        leave()
    }
}
