public import Media
internal import Platform
public import SCSI
internal import TargetCore

/// The operation on all blocks of a disk that is under way, or has failed.
struct MediumOperationState: Sendable {
    enum Phase: Sendable {
        case none
        /// The first is being kept, so that it may begin; the second has failed before.
        case keeping(MediumOperation, after: MediumOperation?)
        case running(MediumOperation, MediumOperationRunner)
        case failed(MediumOperation)
        /// EXIT FAILURE MODE ends the failure of this one.
        case exiting(MediumOperation)
    }

    /// A command that waits for the end, on its reactor.
    struct Waiter: Sendable {
        let reactor: Reactor
        let wait: CommandWait
    }

    var phase = Phase.none
    /// What the format operation that is kept or runs was asked for; nil of others.
    var format: FormatRequest?
    /// The initiator port that has asked for the operation that is kept or runs; nil after a restart.
    var initiatorPort: String?
    /// The commands that wait: at most one for each operation, as another one is refused.
    var waiters: [Waiter] = []

    /// The bits of `DiskDeviceServer.Conditions` that go with it.
    var conditions: DiskDeviceServer.Conditions {
        switch phase {
        case .none: []
        case .keeping, .running: .operationInProgress
        case .failed(let operation), .exiting(let operation):
            operation.kind == .format ? .formatCorrupt : .sanitizeFailed
        }
    }

    /// What commands end with that are not allowed now; nil when all are.
    var sense: SenseData? {
        switch phase {
        case .none: nil
        case .keeping(let operation, _): Self.inProgress(operation, 0)
        case .running(let operation, let runner): Self.inProgress(operation, runner.progress)
        case .failed(let operation), .exiting(let operation): SenseData(.mediumError, operation.aftermathCode)
        }
    }

    private static func inProgress(_ operation: MediumOperation, _ progress: UInt16) -> SenseData {
        var sense = SenseData(.notReady, operation.inProgressCode)
        sense.progress = progress
        return sense
    }
}

/// Operations on all blocks: SANITIZE and FORMAT UNIT begin them, and they go on by themselves (SBC-4 clauses 4.11 and
/// 4.34), through aborts, resets, the loss of nexuses and restarts.
extension DiskDeviceServer {
    // MARK: Conditions

    /// Why the unit does what few commands need, and most others not; in one atomic word.
    struct Conditions: OptionSet, Sendable {
        let rawValue: UInt32

        /// START STOP UNIT has stopped it.
        static let stopped = Self(rawValue: 1)
        static let operationInProgress = Self(rawValue: 2)
        static let sanitizeFailed = Self(rawValue: 4)
        static let formatCorrupt = Self(rawValue: 8)
        /// The medium is ejected, or about to be.
        static let ejected = Self(rawValue: 16)
        /// Those of operations on all blocks.
        static let ofOperations: Self = [.operationInProgress, .sanitizeFailed, .formatCorrupt]
    }

    /// What a command ends with that the present conditions do not allow; nil when they have just ended.
    func conditionSense() -> SenseData? {
        if !hasMedium { return SenseData(.notReady, .mediumNotPresent) }
        return operations.withLock { $0.sense }
            ?? (isStopped ? SenseData(.notReady, .initializingCommandRequired) : nil)
    }

    /// What a command ends with that is processed while the unit is not ready, but not while an operation goes on, nor
    /// after a sanitize operation has failed: those may only identify the unit, ask for its state, and sanitize (SBC-4
    /// clause 4.11.2).
    func operationRefusal(_ task: SCSITask) -> CommandProgress? {
        guard !conditions.isDisjoint(with: [.operationInProgress, .sanitizeFailed]) else { return nil }
        return operations.withLock { $0.sense }.map { task.fail($0) }
    }

    /// While an operation goes on, commands that are not processed then are refused for that, not for their fields.
    public func overridingSense(_ command: Int) -> SenseData? {
        guard conditions.contains(.operationInProgress),
            !commands.conditions(command).contains(.allowedWithUnitAttention)
        else { return nil }
        return operations.withLock { $0.sense }
    }

    /// What another operation ends with while one goes on; it need not wait at the gate for that.
    func operationInProgressRefusal(_ task: SCSITask) -> CommandProgress? {
        guard conditions.contains(.operationInProgress) else { return nil }
        return operations.withLock { $0.sense }.map { task.fail($0) }
    }

    /// Changes what is known of the operation, and the conditions that follow.
    private func changeOperation<Value: Sendable>(_ body: (inout MediumOperationState) -> Value) -> Value {
        operations.withLock { state in
            let value = body(&state)
            replaceConditions(.ofOperations, with: state.conditions)
            return value
        }
    }

    // MARK: Beginning

    private enum Answer: Sendable {
        case accepted(after: MediumOperation?)
        case sense(SenseData)
        case busy
    }

    /// Begins an operation for a command that is alone inside the write gate: no other changes the medium any more. It
    /// is kept first. A format operation has `format`.
    func begin(
        _ operation: MediumOperation, _ task: SCSITask, isImmediate: Bool, _ format: FormatRequest? = nil
    ) -> CommandProgress {
        task.progressCount = isImmediate ? 1 : 0
        if let sense = operations.withLock({ Self.refusal(operation, $0.phase) }) { return task.fail(sense) }
        guard hasMedium else { return task.fail(.notReady, .mediumNotPresent) }
        if isStopped { return task.fail(.notReady, .initializingCommandRequired) }
        if let sense = beginWriting(task) { return task.fail(sense) }
        if let failure = image.loss(since: task.fileRequest) { return failWrite(task, failure, block: nil) }
        let answer = changeOperation { state -> Answer in
            var previous: MediumOperation?
            switch state.phase {
            case .none: break
            case .failed(let failed): previous = failed
            case .exiting: return .busy
            case .keeping, .running: return state.sense.map { .sense($0) } ?? .busy
            }
            if let sense = Self.refusal(operation, state.phase) { return .sense(sense) }
            state.phase = .keeping(operation, after: previous)
            state.format = format
            state.initiatorPort = task.nexus?.iTNexus.initiatorPort.name
            return .accepted(after: previous)
        }
        switch answer {
        case .sense(let sense): return task.fail(sense)
        case .busy: return task.end(.busy)
        case .accepted(let previous):
            // An ejection may have begun meanwhile; whoever of the two comes second finds the other.
            guard hasMedium else {
                withdrawOperation()
                return task.fail(.notReady, .mediumNotPresent)
            }
            if let format {
                image.prepareKeeping(
                    task.fileRequest, operation: operation.encoded, insteadOf: previous?.encoded,
                    protection: format.protection)
            } else {
                image.prepareKeeping(
                    task.fileRequest, operation: operation.encoded, insteadOf: previous?.encoded)
            }
            // It has room in the lane however full that is: the unit's state has changed.
            return submitContinuation(task, .keepOperation)
        }
    }

    /// Why an operation may not follow one that has failed; nil when it may.
    private static func refusal(_ operation: MediumOperation, _ phase: MediumOperationState.Phase) -> SenseData? {
        guard case .failed(let failed) = phase, failed.kind != .format else { return nil }
        if operation.kind == .format { return SenseData(.mediumError, .sanitizeCommandFailed) }
        // Restricted completion mode: AUSE stays zero (SBC-4 clause 4.11.3).
        return operation.allowsUnrestrictedExit && !failed.allowsUnrestrictedExit ? .invalidField(byte: 1, bit: 5) : nil
    }

    /// The operation is kept, or could not be. With IMMED the command ends now, else it waits for the end, outside the
    /// gate.
    func operationKept(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        if case .failed(let failure) = result {
            withdrawOperation()
            // There is no place for the file now.
            if failure == .protection { return task.fail(protectionRefusal(task.commandDescriptorBlock[1])) }
            return failWrite(task, failure, block: nil)
        }
        startOperation()
        if task.progressCount != 0 { return task.good() }
        let reactor = task.reactor
        let progress = task.wait { [weak self] wait in
            guard let self else { return wait.end() }
            waitForOperation(MediumOperationState.Waiter(reactor: reactor, wait: wait))
        }
        if progress == .pending { leaveGate(task) }
        return progress
    }

    /// The command was aborted while its operation was being kept: the operation goes on (SBC-4 clause 4.11.2).
    func operationAbandoned(_ task: SCSITask) {
        if image.outcome(of: task.fileRequest) == .done { startOperation() } else { withdrawOperation() }
    }

    /// The operation could not be kept, so it does not begin. A failure that was there before stays.
    private func withdrawOperation() {
        changeOperation { state in
            guard case .keeping(_, let previous) = state.phase else { return }
            state.phase = previous.map { .failed($0) } ?? .none
            state.format = nil
        }
    }

    private func startOperation() {
        let begun = changeOperation { state -> (MediumOperation, MediumOperationRunner, String?)? in
            guard case .keeping(let operation, _) = state.phase else { return nil }
            return (operation, run(operation, &state), state.initiatorPort)
        }
        guard let (operation, runner, initiatorPort) = begun else { return }
        tell(operation, .begun, by: initiatorPort)
        runner.start()
    }

    private func run(_ operation: MediumOperation, _ state: inout MediumOperationState) -> MediumOperationRunner {
        let format = state.format
        let runner = MediumOperationRunner(operation, on: image) { [weak self] in
            guard let self else { return .device(Errno.cancelled) }
            return settleProtection(format)
        } whenEnded: { [weak self] operation, failure in
            self?.operationEnded(operation, failure)
        }
        state.phase = .running(operation, runner)
        return runner
    }

    // MARK: The end

    /// The operation has ended, on a thread of the lane: the command that waits for it ends on its reactor.
    private func operationEnded(_ operation: MediumOperation, _ failure: MediaFailure?) {
        // Before commands are processed again.
        let changesProtection = adoptProtection(except: operations.withLock { $0.format?.nexus })
        let initiatorPort = operations.withLock { $0.initiatorPort }
        tell(
            operation, failure.map { .failed($0) } ?? .ended(changesProtection: changesProtection), by: initiatorPort)
        let waiters = changeOperation { state in
            state.format = nil
            state.initiatorPort = nil
            state.phase = failure == nil ? .none : .failed(operation)
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters {
            waiter.reactor.postCompletion { Self.end(waiter.wait, failure == nil ? nil : operation) }
        }
    }

    private static func end(_ wait: CommandWait, _ failed: MediumOperation?) {
        guard let failed else { return wait.end() }
        wait.end { _ = $0.fail(.mediumError, failed.failureCode) }
    }

    private func waitForOperation(_ waiter: MediumOperationState.Waiter) {
        let phase = operations.withLock { state in
            if case .running = state.phase { state.waiters.append(waiter) }
            return state.phase
        }
        switch phase {
        case .running: break
        case .failed(let operation): Self.end(waiter.wait, operation)
        case .none, .keeping, .exiting: waiter.wait.end()
        }
    }

    // MARK: EXIT FAILURE MODE of SANITIZE (SBC-4 clause 5.30)

    /// Opens the disk again after a sanitize operation with AUSE has failed. Where none has there is nothing to exit.
    func exitFailureMode(_ task: SCSITask) -> CommandProgress {
        let answer = changeOperation { state -> Answer in
            switch state.phase {
            case .none: return .accepted(after: nil)
            case .exiting: return .busy
            case .keeping, .running: return state.sense.map { .sense($0) } ?? .busy
            case .failed(let operation):
                guard operation.kind != .format else { return .accepted(after: nil) }
                guard operation.allowsUnrestrictedExit else { return .sense(.invalidField(byte: 1, bit: 4)) }
                state.phase = .exiting(operation)
                return .accepted(after: operation)
            }
        }
        switch answer {
        case .sense(let sense): return task.fail(sense)
        case .busy: return task.end(.busy)
        case .accepted(let operation):
            guard let operation else { return task.good() }
            prepareExit(task.fileRequest, operation)
            return submitContinuation(task, .exitFailureMode)
        }
    }

    /// Makes a request remove the note of the failure. A format operation that has failed before may have left a type
    /// of protection information that nobody keeps: first that is kept.
    private func prepareExit(_ request: FileRequest, _ operation: MediumOperation) {
        request.operation = .call { [weak self] in
            guard let self else { return Errno.cancelled }
            let failure = settleProtection(nil) ?? image.keep(operation: nil, insteadOf: operation.encoded)
            return failure?.errorNumber ?? 0
        }
        request.medium = image
    }

    func failureModeExited(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        endFailureMode(result, by: task.nexus?.iTNexus.initiatorPort.name)
        if case .failed(let failure) = result { return failWrite(task, failure, block: nil) }
        return task.good()
    }

    /// The note of the failure is gone, or could not be removed.
    func endFailureMode(_ result: MediaResult, by initiatorPort: String?) {
        let exited = changeOperation { state -> MediumOperation? in
            guard case .exiting(let operation) = state.phase else { return nil }
            state.phase = result == .done ? .none : .failed(operation)
            return result == .done ? operation : nil
        }
        if let exited { tell(exited, .exited, by: initiatorPort) }
    }

    // MARK: Opening and closing

    /// Goes on with a sanitize operation that a restart has broken off (SBC-4 clause 4.11.2). A format operation does
    /// not go on: the medium stays corrupt until it is formatted again (clause 4.34).
    func resumeOperation() {
        let operation: MediumOperation
        switch image.keptOperation {
        case .none: return
        case .unreadable:
            operation = Self.unknownOperation
        case .bytes(let bytes):
            let noted = MediumOperation(bytes)
            operation = noted.flatMap { $0.next <= image.blockCount ? $0 : nil } ?? Self.unknownOperation
        }
        let runner: MediumOperationRunner? = changeOperation { state in
            if operation.kind != .format, !operation.hasFailed, !isReadOnly { return run(operation, &state) }
            state.phase = .failed(operation)
            return nil
        }
        runner?.start()
    }

    /// What stands for an operation of which nobody can tell what it did: the blocks may be anything.
    private static var unknownOperation: MediumOperation {
        var operation = MediumOperation(.format)
        operation.hasFailed = true
        return operation
    }

    /// Breaks off what goes on by itself, so that it goes on after the next start, and makes all completed writes
    /// durable; the answer says why that is not so. It waits for the file system; afterwards nobody uses the unit.
    public func close() -> MediaFailure? {
        if case .running(_, let runner) = operations.withLock({ $0.phase }) { runner.stop() }
        return image.close()
    }
}
