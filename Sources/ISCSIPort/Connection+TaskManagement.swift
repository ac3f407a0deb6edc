internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// Task management (RFC 7143 sections 4.2.3, 7.2.2, 11.5 and 11.6, RFC 7144).
//
// Functions that abort tasks do not wait for Data-Out that the initiator still owes for them, as section 4.2.3.3 has
// it: initiators that reset a unit send no more of it. Data that comes nevertheless has a Target Transfer Tag, or the
// task tag of unsolicited data, that leads to no task, and is discarded; a tag is used again only after 2²⁰
// transfers of its slot.
extension Connection {
    /// Holds an immediate function that ends many tasks until those commands before it that have not come yet come:
    /// they are among its tasks (section 4.2.3.3). With several connections they may well be on their way. False when
    /// there is nothing to wait for.
    func holdFunction(_ header: RawSpan, _ cmdSN: SequenceNumber, in session: Session) -> Bool {
        guard session.window.expCmdSN.precedes(cmdSN), !session.window.maxCmdSN.advanced(by: 1).precedes(cmdSN),
            let request = TaskManagementRequestPDU(parsing: header), let copy = BasicHeaderSegment(parsing: header)
        else { return false }
        switch request.function {
        case .abortTaskSet, .clearTaskSet, .logicalUnitReset: break
        case .targetWarmReset, .targetColdReset, .iTNexusReset:
            // What has not come counts as received (section 4.2.3.3): the whole numbering up to the function is closed.
            plug(upTo: cmdSN, in: session)
            return false
        default: return false
        }
        guard session.order.functionCount < server.limits.taskManagementFunctions else { return false }
        let deadline = reactor.now + server.limits.taskManagementWait
        let held = HeldRequest(header: copy, data: [], connection: self)
        session.order.hold(function: held, cmdSN, until: deadline)
        session.wake(at: deadline)
        return true
    }

    private func plug(upTo end: SequenceNumber, in session: Session) {
        var cmdSN = session.window.expCmdSN
        while cmdSN.precedes(end) {
            session.order.skip(cmdSN)
            cmdSN = cmdSN.advanced(by: 1)
        }
    }

    /// Takes a Task Management Function Request whose turn has come.
    func manageTasks(_ header: RawSpan) {
        guard let session, let nexus = session.nexus, let request = TaskManagementRequestPDU(parsing: header) else {
            return reject(header, .protocolError)
        }
        let tag = request.initiatorTaskTag
        guard let function = request.function, isSupported(function) else {
            return answerTaskManagement(tag, .functionNotSupported)
        }
        if function == .taskReassign { return reassign(request, in: session) }
        // It counts for the unit that it is for, which may have another number, or none, when it ends.
        let scope = scope(of: function, request, nexus)
        // Those whose answers wait behind a fence count, too.
        let isTaken = session.functions.begin(
            on: scope, isAbortTask: function == .abortTask, others: session.fences.count)
        guard isTaken else {
            if request.isImmediate { return reject(header, .tooManyImmediateCommands) }
            return answerTaskManagement(tag, .functionRejected)
        }
        let referenced = session.slot(withTag: request.referencedTaskTag)
        if function == .abortTask {
            let isEnded = referenced.map { withdraw($0, ifNamedBy: request) } ?? skip(request, in: session)
            if isEnded {
                session.functions.end(on: scope)
                return answerTaskManagement(tag, .functionComplete)
            }
        } else {
            withdrawCommands(function, request, in: session, nexus)
        }
        if isOpen { announceTermination(by: function, request, in: session, nexus) }
        guard isOpen else { return session.functions.end(on: scope) }
        nexus.perform(
            function, logicalUnitNumber: request.logicalUnitNumber, reference: referenced?.task
        ) { [self] response in
            session.functions.end(on: scope)
            finishTaskManagement(function, tag, response, session)
        }
    }

    /// What the function counts for.
    private func scope(
        of function: TaskManagementFunction, _ request: TaskManagementRequestPDU, _ nexus: ITNexus
    ) -> FunctionCounts.Scope {
        guard function.isForOneUnit else { return .all }
        return (nexus.unitNexus(request.logicalUnitNumber)?.logicalUnit).map { .unit($0) } ?? .absent
    }

    /// Whether the function is one of RFC 7143, or of RFC 7144 when that was negotiated.
    private func isSupported(_ function: TaskManagementFunction) -> Bool {
        switch function {
        case .queryTask, .queryTaskSet, .iTNexusReset, .queryAsynchronousEvent: parameters.iSCSIProtocolLevel >= 2
        default: true
        }
    }

    /// Tells the other connections of the session what a function is about to end, for FastAbort.
    private func announceTermination(
        by function: TaskManagementFunction, _ request: TaskManagementRequestPDU, in session: Session, _ nexus: ITNexus
    ) {
        guard parameters.taskReporting == .fastAbort, session.connectionCount > 1 else { return }
        switch function {
        case .abortTaskSet, .clearTaskSet, .logicalUnitReset:
            guard let unit = nexus.unitNexus(request.logicalUnitNumber) else { return }
            session.announceTermination(except: self) { $0.nexus === unit }
        case .targetWarmReset, .targetColdReset, .iTNexusReset:
            session.announceTermination(except: self) { _ in true }
        default: return
        }
    }

    /// Whether the CmdSN of a task that ABORT TASK names and that is not here is in the window and before the
    /// function's own: it then counts as received, so that the initiator's gap is closed (section 11.6.1).
    private func skip(_ request: TaskManagementRequestPDU, in session: Session) -> Bool {
        var window = session.window
        let cmdSN = request.refCmdSN
        guard cmdSN.precedes(request.cmdSN), window.receive(cmdSN, isImmediate: false) != .ignore else { return false }
        session.order.skip(cmdSN)
        return true
    }

    /// Ends, for a function on many tasks, those commands that are not with the devices: nothing may follow the
    /// function's answer for a task that it aborts, and its tasks are all whose CmdSN is before its own (section
    /// 4.2.3.3).
    private func withdrawCommands(
        _ function: TaskManagementFunction, _ request: TaskManagementRequestPDU, in session: Session, _ nexus: ITNexus
    ) {
        let isOneUnit: Bool
        switch function {
        case .abortTaskSet, .clearTaskSet, .logicalUnitReset: isOneUnit = true
        case .iTNexusReset, .targetWarmReset, .targetColdReset: isOneUnit = false
        default: return
        }
        let number = request.logicalUnitNumber
        if isOneUnit, nexus.unitNexus(number) == nil { return }
        for slot in session.slots where slot.isUsed {
            guard !isOneUnit || slot.logicalUnitNumber.number == number.number else { continue }
            if !slot.isHeld || slot.cmdSN.precedes(request.cmdSN) { _ = session.withdraw(slot) }
        }
    }

    private func withdraw(_ slot: CommandSlot, ifNamedBy request: TaskManagementRequestPDU) -> Bool {
        slot.logicalUnitNumber.number == request.logicalUnitNumber.number && session?.withdraw(slot) == true
    }

    private func finishTaskManagement(
        _ function: TaskManagementFunction, _ tag: UInt32, _ response: TaskManagementResponse, _ session: Session
    ) {
        guard isOpen, self.session != nil else { return }
        let answer = { [self] in
            guard isOpen, self.session != nil else { return }
            answerTaskManagement(tag, TaskManagementOutcome(rawValue: response.rawValue))
            // A cold reset also ends the connections (section 11.5.1).
            if function == .targetColdReset, response == .complete { server.closeSessions(of: self, .targetReset) }
        }
        switch function {
        case .abortTaskSet, .clearTaskSet, .logicalUnitReset, .targetWarmReset, .targetColdReset, .iTNexusReset:
            session.fence(on: self, answer)
        default: answer()
        }
    }

    private func answerTaskManagement(_ tag: UInt32, _ outcome: TaskManagementOutcome) {
        guard let session else { return }
        session.openWindow()
        var response = TaskManagementResponsePDU()
        response.response = outcome
        response.initiatorTaskTag = tag
        response.statSN = status.take()
        response.expCmdSN = session.window.expCmdSN
        response.maxCmdSN = session.window.maxCmdSN
        send(response)
    }

    // MARK: TASK REASSIGN

    /// Gives a command whose connection is gone a new one (section 7.2.2).
    private func reassign(_ request: TaskManagementRequestPDU, in session: Session) {
        let tag = request.initiatorTaskTag
        guard parameters.errorRecoveryLevel == 2 else { return answerTaskManagement(tag, .reassignmentNotSupported) }
        guard let slot = session.orphan(withTag: request.referencedTaskTag) else {
            let isAllegiant = session.isAllegiant(request.referencedTaskTag)
            return answerTaskManagement(tag, isAllegiant ? .taskStillAllegiant : .taskDoesNotExist)
        }
        guard !slot.isDataInLost else { return answerTaskManagement(tag, .functionRejected) }
        answerTaskManagement(tag, .functionComplete)
        if isOpen { resume(slot, expDataSN: request.expDataSN) }
    }
}

extension TaskManagementFunction {
    /// Whether it is for one logical unit, or for tasks of it (section 11.5.1).
    fileprivate var isForOneUnit: Bool {
        switch self {
        case .targetWarmReset, .targetColdReset, .iTNexusReset: false
        default: true
        }
    }
}
