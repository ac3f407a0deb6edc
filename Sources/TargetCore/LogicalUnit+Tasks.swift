internal import Bytes
internal import SCSI

// The way of a task: from its nexus through the task sets and the checks to the device server, and back to its port.
extension LogicalUnit {
    /// Takes a task from its nexus: finds its command, orders it, starts it.
    func admit(_ task: SCSITask, _ nexus: ITLNexus) {
        let block = task.commandDescriptorBlock
        let lookup = commands.find(block, in: server.commandVariant)
        if case .command(let command) = lookup {
            task.fields.command = command
            let ordering = commands.ordering(command)
            task.fields.orderingClass =
                ordering == .immediate
                ? .immediate : isSerial || task.attribute == .ordered ? .exclusive : ordering
        } else {
            task.fields.command = -1
            task.fields.orderingClass = .immediate
        }
        task.fields.state = .running
        if task.attribute == .autoContingentAllegiance, !nexus.conditions.contains(.contingentAllegiance) {
            // There is no auto contingent allegiance of the nexus that it could belong to (SAM-5 clause 8.6.5).
            task.fields.orderingClass = .immediate
            return proceed(task, nexus, task.fail(.illegalRequest, .invalidMessageError))
        }
        if nexus.taskSet.admit(task) { return comesFirst(task, nexus) }
        if nexus.taskSet.isFaulted { refuseAtFault(task, nexus) }
    }

    /// Ends a command that is blocked because it may not come into a faulted task set, if that is so.
    private func refuseAtFault(_ task: SCSITask, _ nexus: ITLNexus) {
        // Every other one has a row, and is of a class that waits.
        let stops = nexus.conditions.intersection(commands.stops(task.command))
            .intersection([.contingentAllegiance, .contingentAllegianceOfAnother])
        let status = stops.isEmpty ? nil : contingencyStatus(of: task, nexus, stops)
        // A command that passes the condition of another nexus waits for nobody.
        guard status != nil || stops.isEmpty else { return }
        _ = nexus.taskSet.removeBlocked(task)
        task.fields.orderingClass = .immediate
        task.fields.state = .running
        if let status { proceed(task, nexus, task.end(status)) } else { comesFirst(task, nexus) }
    }

    /// The tasks of the nexus that are ordered before this one have ended.
    ///
    /// On a serial unit it waits for its turn among the nexuses, with its Data-Out: while an initiator owes data,
    /// others use the unit, and the medium may change.
    private func comesFirst(_ task: SCSITask, _ nexus: ITLNexus) {
        guard isSerial, task.fields.orderingClass != .immediate else { return start(task, nexus) }
        if commands.direction(task.command) == .dataOut, fetchesDataOut(task, nexus) { return }
        takeTurn(task, nexus)
    }

    /// Asks for the Data-Out that the command would need now; false when it would need none, or would be refused: that
    /// is found again at its turn, when it counts.
    private func fetchesDataOut(_ task: SCSITask, _ nexus: ITLNexus) -> Bool {
        guard case .awaitDataOut(let length, let blockLength) = server.begin(task.command, task, nexus),
            let offered = Self.offeredLength(task, length, blockLength), offered > 0
        else { return false }
        task.fields.mediumGeneration = server.mediumGeneration
        requestDataOut(task, length: length, offered: offered)
        return true
    }

    private func requestDataOut(_ task: SCSITask, length: Int, offered: Int) {
        task.fields.requestedDataOutLength = length
        task.fields.state = .awaitingDataOut
        task.port.requestDataOut(task, length: offered)
    }

    /// How much of `length` bytes the initiator offers; nil when what it offers is an incomplete parameter list or
    /// block.
    private static func offeredLength(_ task: SCSITask, _ length: Int, _ blockLength: Int) -> Int? {
        let offered = min(length, task.expectedDataOutLength)
        return offered == length || blockLength > 0 && offered % blockLength == 0 ? offered : nil
    }

    private func takeTurn(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fields.isInTurns = true
        if turns.value.admit(task) { start(task, nexus) }
    }

    /// Runs the checks that come before the command's own (SPC-5 clause 4.5), then its first handler.
    private func start(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fields.state = .running
        if commands.hasVariants { followVariant(task) }
        guard task.command >= 0 else { return startUnknown(task, nexus) }
        let stops = nexus.conditions.intersection(commands.stops(task.command))
        if !stops.isEmpty, let progress = stop(task, nexus, stops) { return proceed(task, nexus, progress) }
        perform(task, nexus)
    }

    /// Finds a command again when another variant has come into force while it waited for others.
    private func followVariant(_ task: SCSITask) {
        let variant = server.commandVariant
        guard task.command < 0 || commands.variant(of: task.command) != variant else { return }
        let block = task.commandDescriptorBlock
        if case .command(let command) = commands.find(block, in: variant) {
            task.fields.command = command
        } else {
            task.fields.command = -1
        }
    }

    /// Starts a task that its interposer has held; every other condition counts.
    func startIntercepted(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fields.state = .running
        let stops = nexus.conditions.intersection(commands.stops(task.command)).subtracting(.intercepted)
        if !stops.isEmpty, let progress = stop(task, nexus, stops) { return proceed(task, nexus, progress) }
        perform(task, nexus)
    }

    private func startUnknown(_ task: SCSITask, _ nexus: ITLNexus) {
        let stops = nexus.conditions.intersection([
            .unitAttention, .deferredError, .contingentAllegiance, .contingentAllegianceOfAnother,
        ])
        if !stops.isEmpty, let progress = stop(task, nexus, stops) { return proceed(task, nexus, progress) }
        let block = task.commandDescriptorBlock
        let lookup = commands.find(block, in: server.commandVariant)
        proceed(task, nexus, server.unknownCommand(lookup, task))
    }

    /// What becomes of a command that a condition of its nexus stops; nil when it is performed all the same.
    private func stop(_ task: SCSITask, _ nexus: ITLNexus, _ stops: GateConditions) -> CommandProgress? {
        if stops.contains(.intercepted), let progress = attachedNexuses.interposer?.taskWillBegin(task, nexus) {
            return progress
        }
        if !stops.isDisjoint(with: [.contingentAllegiance, .contingentAllegianceOfAnother]),
            let status = contingencyStatus(of: task, nexus, stops)
        {
            return task.end(status)
        }
        if stops.contains(.unitAttention), let attention = nexus.reportUnitAttention() {
            // A reset, or a new nexus: the timers of the power conditions run from here on.
            startPowerTimers(on: task.reactor)
            return task.fail(.unitAttention, attention)
        }
        if stops.contains(.deferredError), let sense = nexus.takeDeferredError() { return task.fail(sense) }
        if !stops.isDisjoint(with: [.reservationConflict, .writeExclusion, .accessExclusion]),
            !commands.passesReservation(task.command, task.commandDescriptorBlock)
        {
            return task.end(.reservationConflict)
        }
        if let sense = stops.accessStateSense { return task.fail(sense) }
        if stops.contains(.lowPower) { leaveLowPower(on: task.reactor) }
        return nil
    }

    /// Performs a command that no condition stops.
    private func perform(_ task: SCSITask, _ nexus: ITLNexus) {
        if let field = commands.invalidField(task.command, of: task.commandDescriptorBlock) {
            if let sense = server.overridingSense(task.command) { return proceed(task, nexus, task.fail(sense)) }
            return proceed(task, nexus, task.failInvalidField(byte: field.byte, bit: field.bit))
        }
        let conditions = commands.conditions(task.command)
        if !conditions.contains(.allowedWhenNotReady), let sense = server.notReadySense {
            return proceed(task, nexus, task.fail(sense))
        }
        if conditions.contains(.writesMedium), let sense = server.writeProtectionSense {
            return proceed(task, nexus, task.fail(sense))
        }
        proceed(task, nexus, server.begin(task.command, task, nexus))
    }

    /// Does what a handler asked for.
    private func proceed(_ task: SCSITask, _ nexus: ITLNexus, _ progress: CommandProgress) {
        switch progress {
        case .complete: end(task, nexus)
        case .pending: task.fields.state = .pending
        case .awaitDataOut(let length, let blockLength):
            guard let offered = Self.offeredLength(task, length, blockLength) else {
                // An incomplete parameter list or block is of no use: nothing is taken.
                task.fields.requestedDataOutLength = length
                return proceed(task, nexus, task.fail(.illegalRequest, .invalidFieldInCommandInformationUnit))
            }
            if task.fields.hasDataOut {
                return proceed(task, nexus, executeFetched(task, nexus, length: length))
            }
            guard offered > 0 else {
                task.fields.requestedDataOutLength = length
                // Data that came with the command unasked is not for it.
                task.dataOut.lease = nil
                return proceed(task, nexus, server.execute(task.command, task, nexus))
            }
            if task.fields.isInTurns {
                // What the commands before it have changed lets this one be performed: others go first meanwhile.
                leaveTurns(task)
                task.fields.mediumGeneration = server.mediumGeneration
                requestDataOut(task, length: length, offered: offered)
                startBlockedTurns()
            } else {
                requestDataOut(task, length: length, offered: offered)
            }
        }
    }

    /// Performs a command whose Data-Out came before its turn, if it is for the medium and of the length that count
    /// now.
    private func executeFetched(_ task: SCSITask, _ nexus: ITLNexus, length: Int) -> CommandProgress {
        guard task.fields.mediumGeneration == server.mediumGeneration else {
            // The nexus may be told of the new medium twice, here and by the unit attention that came with it (28h):
            // that is safe, once more than needed, and a command with data for another medium must not go unnoticed.
            return task.fail(.unitAttention, .mediumMayHaveChanged)
        }
        // Another nexus, or a reset, has changed the block length.
        guard task.fields.requestedDataOutLength == length else {
            return task.fail(.unitAttention, .modeParametersChanged)
        }
        return server.execute(task.command, task, nexus)
    }

    /// Goes on with a pending command that has waited for others.
    func resume(_ task: SCSITask, _ nexus: ITLNexus, _ body: (SCSITask, ITLNexus) -> CommandProgress) {
        task.fields.state = .running
        proceed(task, nexus, body(task, nexus))
    }

    func dataOutArrived(_ task: SCSITask) {
        // The task may have ended meanwhile, with a port that holds its outcome back.
        guard task.state == .awaitingDataOut, let nexus = task.nexus else { return }
        if let relay = nexus.relay { return relay.dataOutArrived(task) }
        task.fields.state = .running
        if isSerial, task.fields.orderingClass != .immediate {
            task.fields.hasDataOut = true
            takeTurn(task, nexus)
        } else {
            proceed(task, nexus, server.execute(task.command, task, nexus))
        }
    }

    func fileRequestCompleted(_ task: SCSITask) {
        guard let nexus = task.nexus else { preconditionFailure("a file operation of an idle task") }
        if task.isAborted {
            server.fileAbandoned(task, nexus)
            return end(task, nexus)
        }
        task.fields.state = .running
        proceed(task, nexus, server.fileCompleted(task, nexus))
    }

    // MARK: The end

    /// Ends a task and starts those that it blocked.
    func end(_ task: SCSITask, _ nexus: ITLNexus) {
        let wasInTurns = task.fields.isInTurns
        conclude(task, nexus)
        startBlocked(of: nexus)
        if wasInTurns { startBlockedTurns() }
    }

    /// Ends a task; those that it blocked are to be started.
    @inline(__always)
    private func conclude(_ task: SCSITask, _ nexus: ITLNexus) {
        if !task.isAborted, nexus.conditions.contains(.intercepted) {
            attachedNexuses.interposer?.taskWillEnd(task, nexus)
        }
        task.fields.state = .ended
        nexus.countEnd(task)
        let wasAborted = task.isAborted
        if task.fields.isInTurns { leaveTurns(task) }
        nexus.taskSet.leave(task)
        if wasAborted {
            let waiting = task.whenAborted.takeAll()
            endAborted(task)
            for waiter in waiting { waiter.hasEnded() }
        } else {
            task.port.taskEnded(task)
        }
    }

    /// Ends a task that has ended at the other end of a relay.
    func endRelayed(_ task: SCSITask) {
        task.fields.state = .ended
        task.nexus?.countEnd(task)
        guard task.isAborted else { return task.port.taskEnded(task) }
        let waiting = task.whenAborted.takeAll()
        endAborted(task)
        for waiter in waiting { waiter.hasEnded() }
    }

    private func leaveTurns(_ task: SCSITask) {
        task.fields.isInTurns = false
        turns.value.leave(task)
    }

    /// Starts what waited for tasks of a nexus, if it may start now.
    func startBlocked(behind nexus: ITLNexus) {
        // The other end of a relay has the tasks in its order.
        guard nexus.relay == nil else { return }
        startBlocked(of: nexus)
        if isSerial { startBlockedTurns() }
    }

    private func startBlocked(of nexus: ITLNexus) {
        nexus.taskSet.startBlocked {
            $0.fields.state = .running
            comesFirst($0, nexus)
        }
    }

    private func startBlockedTurns() {
        turns.value.startBlocked { next in
            guard let nexus = next.nexus else { preconditionFailure("a blocked task has a nexus") }
            start(next, nexus)
        }
    }

    /// Tells the port of the end of an aborted task.
    private func endAborted(_ task: SCSITask) {
        switch task.fields.abortReason {
        case .withoutAnswer: return task.port.taskAborted(task)
        case .unitIsGone: _ = task.fail(.illegalRequest, .logicalUnitNotSupported)
        case .byAnotherNexus: _ = task.end(.taskAborted)
        }
        task.dataIn.lease = nil
        task.port.taskEnded(task)
    }

    /// Aborts a task: at once when it is blocked, its data is missing, or it waits for others only, and when it comes
    /// back from the medium otherwise. What the initiator is told depends on the reason. With `startsBlocked` false,
    /// what waited for it is not started.
    func abort(_ task: SCSITask, _ reason: AbortReason = .withoutAnswer, startsBlocked: Bool = true) {
        guard let nexus = task.nexus else { return }
        guard !task.isAborted else {
            if reason == .withoutAnswer { task.fields.abortReason = reason }
            return
        }
        if let relay = nexus.relay {
            guard task.state == .pending || task.state == .awaitingDataOut else { return }
            task.fields.abortReason = reason
            return relay.abort(task)
        }
        task.fields.abortReason = reason
        switch task.state {
        case .idle, .ended, .running: return
        case .pending:
            task.fields.isAborted = true
            guard let wait = task.wait.take() else { return }
            wait.withdraw()
            conclude(task, nexus)
        case .awaitingDataOut:
            task.fields.isAborted = true
            conclude(task, nexus)
        case .blocked where task.fields.isInTurns:
            task.fields.isAborted = true
            _ = turns.value.removeBlocked(task)
            task.fields.isInTurns = false
            conclude(task, nexus)
        case .blocked:
            task.fields.isAborted = true
            _ = nexus.taskSet.removeBlocked(task)
            task.fields.state = .ended
            nexus.countEnd(task)
            endAborted(task)
        }
        if startsBlocked { startBlocked(behind: nexus) }
    }
}

extension SCSITask {
    /// Aborts the task. The port's `taskAborted` follows, perhaps before this returns.
    public func abort() {
        nexus?.logicalUnit.abort(self)
    }

    /// Performs a command that its interposer has held. On the task's reactor.
    public func performIntercepted() {
        guard let nexus, state == .pending else { return }
        if isAborted { return finish() }
        nexus.logicalUnit.startIntercepted(self, nexus)
    }
}
