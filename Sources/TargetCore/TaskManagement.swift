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
    /// that it affects have ended, unless the nexus is lost before.
    ///
    /// `reference` is the task that ABORT TASK or QUERY TASK names, nil when the port knows none of that tag. TASK
    /// REASSIGN and the port's own part of resets are not done here.
    public func perform(
        _ function: TaskManagementFunction, logicalUnitNumber: LogicalUnitNumber, reference: SCSITask?,
        completion: @escaping @Sendable (TaskManagementResponse) -> Void
    ) {
        let nexus = unitNexus(logicalUnitNumber)
        switch function {
        case .abortTask:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            guard let reference, reference.nexus === nexus else { return completion(.taskDoesNotExist) }
            let join = Join(of: self, completion)
            abortTasks(where: { $0 === reference }, whenPending: join.wait(for:))
            join.leave()
        case .queryTask:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            completion(reference?.nexus === nexus ? .succeeded : .complete)
        case .abortTaskSet:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            let join = Join(of: self, completion)
            abortTasks(where: { $0.nexus === nexus }, whenPending: join.wait(for:))
            join.leave()
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
            if let relay = nexus.relay { return relay.perform(function, logicalUnitNumber, completion: completion) }
            clear(nexus.logicalUnit, attention: .commandsClearedByAnotherInitiator, isReset: false, completion)
        case .logicalUnitReset:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            if let relay = nexus.relay { return relay.perform(function, logicalUnitNumber, completion: completion) }
            clear(nexus.logicalUnit, attention: .busDeviceResetOccurred, isReset: true, completion)
        case .targetWarmReset, .targetColdReset: resetTarget(completion)
        case .iTNexusReset: resetITNexus(completion)
        case .queryAsynchronousEvent:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            if let relay = nexus.relay { return relay.perform(function, logicalUnitNumber, completion: completion) }
            completion(nexus.hasUnitAttention ? .succeeded : .complete)
        case .clearACA:
            guard let nexus else { return completion(.incorrectLogicalUnitNumber) }
            if let relay = nexus.relay { return relay.perform(function, logicalUnitNumber, completion: completion) }
            nexus.logicalUnit.clearContingentAllegiance(of: nexus, Join(of: self, completion))
        case .taskReassign:
            completion(.notSupported)
        }
    }

    /// Resets all units that the initiator sees: those of this reactor here, the others at the other ends of relays.
    func resetTarget(_ completion: @escaping @Sendable (TaskManagementResponse) -> Void) {
        let all = Countdown { completion(.complete) }
        for relay in relays(forAllUnits: true) {
            all.enter()
            relay.resetTarget { _ in all.leave() }
        }
        clear(nil, attention: .busDeviceResetOccurred, isReset: true) { _ in all.leave() }
    }

    /// Ends the tasks of the nexus and what it holds, as if it were lost (SAM-5 clause 6.3.4), at both ends of relays.
    func resetITNexus(_ completion: @escaping @Sendable (TaskManagementResponse) -> Void) {
        let all = Countdown { completion(.complete) }
        for relay in relays(forAllUnits: false) {
            all.enter()
            relay.resetITNexus { _ in all.leave() }
        }
        let join = Join(of: self) { _ in all.leave() }
        abortTasks(where: { _ in true }, whenPending: join.wait(for:))
        for nexus in unitNexuses where nexus.relay == nil {
            nexus.logicalUnit.endContingentAllegiance(of: nexus)
            nexus.logicalUnit.attachedNexuses.endHold(of: nexus)
            nexus.establishUnitAttention(.iTNexusLossOccurred)
        }
        join.leave()
    }

    /// Ends the tasks of `nexuses`, all of one logical unit, and calls `completion` when they have ended, and those of
    /// nexuses that were lost before with them (PREEMPT AND ABORT, SPC-5 clause 5.14.11.5); not when this nexus is lost
    /// meanwhile. Of its own tasks those end that are marked. On the reactor.
    func abortTasks(
        of nexuses: [ITLNexus], on unit: LogicalUnit, _ completion: @escaping @Sendable () -> Void
    ) {
        var table = LogicalUnitTable<LogicalUnit>()
        table[0] = unit
        TaskClearing(
            table, origin: self, attention: nil, isReset: false, only: nexuses, Join(of: self) { _ in completion() }
        ).begin()
    }

    /// Ends the tasks of all nexuses on a logical unit, or on all that the initiator sees.
    func clear(
        _ unit: LogicalUnit?, attention: AdditionalSenseCode, isReset: Bool,
        _ completion: @escaping @Sendable (TaskManagementResponse) -> Void
    ) {
        var table = LogicalUnitTable<LogicalUnit>()
        if let unit { table[0] = unit } else { table = logicalUnits.table }
        forEachTask { task in
            guard task.nexus?.relay == nil else { return }
            if unit == nil || task.nexus?.logicalUnit === unit { task.fields.isToBeCleared = true }
        }
        if isReset { resetWellKnownUnits(unit) }
        TaskClearing(
            table, origin: self, attention: attention, isReset: isReset, Join(of: self, completion)
        ).begin()
    }
}
