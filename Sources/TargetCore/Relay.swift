internal import Bytes
internal import Platform
internal import SCSI

/// The way of an I_T nexus to the logical units that live on another reactor than its session: those of one such
/// reactor.
///
/// It is the nexus's other end: an I_T nexus of its own on the units' reactor, of the same two ports and the same map,
/// whose tasks stand for those of the session. Each task of the session has one there, by the number of its slot; data
/// are copied, because leases belong to the pool of their reactor. So the units, their turns and their checks know of
/// nothing, and everything about them happens on one thread. A command costs two hand-overs between the threads, one
/// with Data-Out four, and an allocation for each.
///
/// Messages keep their order in both directions: what the session says about a task comes after the task, and what the
/// units say to a nexus comes before the end of the tasks that it is about.
final class Relay: @unchecked Sendable {
    /// How a task has ended at the far end.
    private struct Outcome: @unchecked Sendable {
        /// The task there, whose Data-In stays until the near end has copied it.
        var source: SCSITask?
        var isAborted = false
        var status = SCSIStatus.good
        var sense: SenseData?
        var verbatimSense: [UInt8]?
        var requestedDataOutLength = 0
    }

    /// What the near end keeps of a slot.
    private final class NearSlot: @unchecked Sendable {
        /// The task of the session while it is at the far end.
        var task: SCSITask?
        /// Its Data-Out, which the far end reads when it has been told of it.
        var dataOut: BufferLease?
    }

    /// Where the session runs.
    private let near: Reactor
    /// Where the units live.
    let far: Reactor
    /// The nexus of the session. On `near`.
    private weak var nearNexus: ITNexus?
    /// On `near`.
    private var nearSlots: [NearSlot] = []
    /// Whether the nexus of the session is lost. On `near`.
    private var isLost = false
    /// The tasks that stand for those of the session, by slot. On `far`.
    private var farTasks: [SCSITask] = []
    /// On `far`; nil before the first message and after the loss.
    private var farNexus: ITNexus?
    /// The relay itself while tasks are at the far end: they do not keep it. On `far`.
    private var keptAlive: Relay?
    private var farTaskCount = 0

    /// The way from `nexus` to the units on `reactor`. On the session's reactor.
    init(_ nexus: ITNexus, to reactor: Reactor, hasNewInventory: Bool) {
        near = nexus.reactor
        far = reactor
        nearNexus = nexus
        let (initiatorPort, targetPort, target) = (nexus.initiatorPort, nexus.targetPort, nexus.target)
        let (logicalUnits, owner, knownTargetPorts) = (nexus.logicalUnits, nexus.owner, nexus.knownTargetPorts)
        toFar {
            self.farNexus = ITNexus(
                initiatorPort: initiatorPort, targetPort: targetPort, target: target, logicalUnits: logicalUnits,
                reactor: self.far, port: self, counters: nil, owner: owner, knownTargetPorts: knownTargetPorts,
                origin: self)
            if hasNewInventory { self.farNexus?.inventoryHasChanged() }
        }
    }

    /// Has `work` done at the far end, after all that was said before. False when the reactor there is stopping.
    @discardableResult
    private func toFar(_ work: @escaping @Sendable () -> Void) -> Bool { far.postCompletion(work) }

    private func toNear(_ work: @escaping @Sendable () -> Void) -> Bool { near.postCompletion(work) }

    // MARK: The near end, on the session's reactor

    /// Takes a task of the session.
    func submit(_ task: SCSITask) {
        let slot = task.slot
        while nearSlots.count <= slot { nearSlots.append(NearSlot()) }
        nearSlots[slot].task = task
        task.fields.state = .pending
        let (block, number, attribute) = (task.commandDescriptorBlock, task.logicalUnitNumber, task.attribute)
        let (dataIn, dataOut) = (task.expectedDataInLength, task.expectedDataOutLength)
        let isAccepted = toFar {
            self.begin(slot) {
                $0.prepare(
                    block, logicalUnitNumber: number, attribute: attribute, expectedDataInLength: dataIn,
                    expectedDataOutLength: dataOut)
            }
        }
        if !isAccepted { end(slot, Self.unreachable) }
    }

    /// What a command meets whose unit's reactor is stopping.
    private static var unreachable: Outcome {
        Outcome(status: .checkCondition, sense: SenseData(.hardwareError, .internalTargetFailure))
    }

    /// The Data-Out of a task is complete. Its lease stays here until the task ends.
    func dataOutArrived(_ task: SCSITask) {
        let slot = task.slot
        task.fields.state = .pending
        let kept = nearSlots[slot]
        kept.dataOut = task.dataOut.lease.take()
        if !toFar({ self.takeDataOut(slot, of: kept) }) { end(slot, Self.unreachable) }
    }

    /// Aborts a task that is at the far end: it ends when that has let go of it.
    func abort(_ task: SCSITask) {
        let slot = task.slot
        task.fields.isAborted = true
        task.fields.state = .pending
        if !toFar({ self.abortFar(slot) }) { end(slot, Outcome(isAborted: true)) }
    }

    /// Aborts the tasks of those slots at the far end, together: none of them is started by the end of another.
    func abortTasks(in slots: Set<Int>) {
        toFar { self.farNexus?.abortTasks { slots.contains($0.slot) } }
    }

    /// Has a task management function for one unit performed at the far end.
    func perform(
        _ function: TaskManagementFunction, _ number: LogicalUnitNumber,
        completion: @escaping @Sendable (TaskManagementResponse) -> Void
    ) {
        withFarNexus(completion) {
            $0.perform(function, logicalUnitNumber: number, reference: nil, completion: $1)
        }
    }

    /// Resets the units at the far end.
    func resetTarget(completion: @escaping @Sendable (TaskManagementResponse) -> Void) {
        withFarNexus(completion) { $0.resetTarget($1) }
    }

    /// Resets the nexus at the far end.
    func resetITNexus(completion: @escaping @Sendable (TaskManagementResponse) -> Void) {
        withFarNexus(completion) { $0.resetITNexus($1) }
    }

    /// Calls `body` at the far end, and `completion` with its answer on the session's reactor, unless the nexus is lost
    /// before.
    private func withFarNexus(
        _ completion: @escaping @Sendable (TaskManagementResponse) -> Void,
        _ body: @escaping @Sendable (ITNexus, @escaping @Sendable (TaskManagementResponse) -> Void) -> Void
    ) {
        let answer: @Sendable (TaskManagementResponse) -> Void = { response in
            // A reactor that stops answers no functions.
            _ = self.toNear { if !self.isLost { completion(response) } }
        }
        let isAccepted = toFar {
            guard let nexus = self.farNexus else { return }
            body(nexus, answer)
        }
        // A reactor that stops has no tasks to wait for.
        if !isAccepted { completion(.complete) }
    }

    /// The initiator learns of all changes of the map.
    func inventoryWillBeReported() {
        toFar { self.farNexus?.forgetInventoryChanges() }
    }

    /// Ends the nexus at the far end; what the session has aborted there comes back.
    func lose() {
        isLost = true
        toFar {
            self.farNexus?.lose()
            self.farNexus = nil
        }
    }

    /// The initiator has learned of the changes of the map at the far end.
    private func inventoryIsReported() {
        nearNexus?.inventoryIsReported(by: self)
    }

    /// Asks the session for the Data-Out of a task.
    private func requestDataOut(_ slot: Int, length: Int, offered: Int) {
        guard let task = nearSlots[slot].task, !task.isAborted else { return }
        task.fields.requestedDataOutLength = length
        task.fields.state = .awaitingDataOut
        task.port.requestDataOut(task, length: offered)
    }

    /// Ends a task as its outcome says.
    private func end(_ slot: Int, _ outcome: Outcome) {
        guard let task = nearSlots[slot].task.take(), let nexus = task.nexus else { return }
        nearSlots[slot].dataOut = nil
        if !task.isAborted, !outcome.isAborted {
            task.fields.status = outcome.status
            task.fields.sense = outcome.sense
            task.fields.verbatimSense = outcome.verbatimSense
            task.fields.requestedDataOutLength = outcome.requestedDataOutLength
            if let source = outcome.source { Self.copyDataIn(of: source, to: task) }
        } else {
            // The far end may have ended it: another nexus has cleared the task set, or the unit is gone.
            task.fields.isAborted = true
        }
        toFar { self.clear(slot) }
        nexus.logicalUnit.endRelayed(task)
    }

    private static func copyDataIn(of source: SCSITask, to task: SCSITask) {
        guard let data = source.dataIn.lease.take() else { return }
        if task.leaseDataIn(max(1, data.count)), var lease = task.dataIn.lease.take() {
            Self.copy(data, to: &lease)
            task.dataIn.lease = consume lease
        } else {
            // TASK SET FULL would say that nothing was done, and a drive has moved its tape.
            _ = task.fail(.hardwareError, .internalTargetFailure)
        }
        // It is dropped where its pool is.
        source.dataIn.lease = consume data
    }

    private static func copy(_ source: borrowing BufferLease, to target: inout BufferLease) {
        target.append(source.bytes)
    }

    // MARK: The far end, on the units' reactor

    private func begin(_ slot: Int, _ prepare: (SCSITask) -> Void) {
        while farTasks.count <= slot { farTasks.append(SCSITask(slot: farTasks.count, reactor: far, port: self)) }
        let task = farTasks[slot]
        prepare(task)
        farTaskCount += 1
        keptAlive = self
        guard let farNexus else { return taskAborted(task) }
        farNexus.submit(task)
    }

    private func takeDataOut(_ slot: Int, of source: NearSlot) {
        let task = farTasks[slot]
        // It may have been aborted meanwhile.
        guard task.state == .awaitingDataOut else { return }
        guard let data = source.dataOut.take() else {
            _ = task.fail(.hardwareError, .internalTargetFailure)
            return task.finish()
        }
        if var lease = far.pool.lease(capacity: max(1, data.count)) {
            Self.copy(data, to: &lease)
            task.dataOut.lease = consume lease
        }
        source.dataOut = consume data
        guard task.dataOut.lease != nil else {
            _ = task.end(.taskSetFull)
            return task.finish()
        }
        task.dataOutArrived()
    }

    private func abortFar(_ slot: Int) {
        guard slot < farTasks.count else { return }
        farTasks[slot].abort()
    }

    /// The near end has copied what it needs.
    private func clear(_ slot: Int) {
        guard slot < farTasks.count else { return }
        farTasks[slot].clear()
        farTaskCount -= 1
        if farTaskCount == 0 { keptAlive = nil }
    }
}

extension Relay: TaskPort {
    func requestDataOut(_ task: SCSITask, length: Int) {
        let (slot, requested) = (task.slot, task.requestedDataOutLength)
        if !toNear({ self.requestDataOut(slot, length: requested, offered: length) }) { task.abort() }
    }

    func taskEnded(_ task: SCSITask) {
        report(
            task,
            Outcome(
                source: task, status: task.status, sense: task.sense, verbatimSense: task.fields.verbatimSense,
                requestedDataOutLength: task.requestedDataOutLength))
    }

    func taskAborted(_ task: SCSITask) {
        report(task, Outcome(isAborted: true))
    }

    private func report(_ task: SCSITask, _ outcome: Outcome) {
        let slot = task.slot
        // A session whose reactor is stopping asks for nothing any more.
        if !toNear({ self.end(slot, outcome) }) { clear(slot) }
    }

    func forEachTask(_ body: (SCSITask) -> Void) {
        for task in farTasks where task.state != .idle && task.state != .ended { body(task) }
    }

    func tasksWillBeCleared(where isAffected: (SCSITask) -> Bool) {
        var slots: Set<Int> = []
        forEachTask { if isAffected($0) { slots.insert($0.slot) } }
        guard !slots.isEmpty else { return }
        let affected = slots
        _ = toNear {
            self.nearNexus?.announceClearing { task in task.nexus?.relay === self && affected.contains(task.slot) }
        }
    }

    /// The initiator is about to learn of the changes of the map from a unit at the far end.
    func inventoryWillBeReportedFar() {
        _ = toNear { self.inventoryIsReported() }
    }
}
