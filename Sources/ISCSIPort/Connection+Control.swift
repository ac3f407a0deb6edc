internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// A PDU other than a command that waits for an earlier CmdSN.
struct HeldRequest {
    let cmdSN: SequenceNumber
    let header: BasicHeaderSegment
    let data: [UInt8]
}

// NOP, Text, Logout, task management, and what is rejected (RFC 7143 sections 11.5, 11.10, 11.14, 11.17 and 11.18).
extension Connection {
    /// The most bytes of a text or ping that go into one PDU.
    private static let controlDataLimit = 8192

    /// Takes a PDU of full feature phase that is neither SCSI Command nor Data-Out.
    func receiveControl(_ header: RawSpan, _ data: RawSpan) {
        guard let session else { return }
        switch header.opcode {
        case .nopOut, .textRequest, .taskManagementRequest, .logoutRequest: break
        case .snackRequest, .loginRequest: return reject(header, .protocolError)
        default: return reject(header, .commandNotSupported)
        }
        let cmdSN = SequenceNumber(header.loadBE32(at: 24))
        switch session.window.receive(cmdSN, isImmediate: header.isImmediate) {
        case .ignore: return
        case .keep: return hold(header, data, cmdSN)
        case .deliver: break
        }
        switch header.opcode {
        case .nopOut: answerPing(header, data)
        case .textRequest: answerText(header, data)
        case .taskManagementRequest: manageTasks(header)
        default: logOut(header)
        }
        deliverHeld()
    }

    private func hold(_ header: RawSpan, _ data: RawSpan, _ cmdSN: SequenceNumber) {
        guard let copy = BasicHeaderSegment(parsing: header), !hasReceived(cmdSN) else { return }
        guard held.count < server.limits.heldRequests, data.byteCount <= Self.controlDataLimit else {
            return close(.protocolError("too many requests ahead of their turn"))
        }
        held.append(HeldRequest(cmdSN: cmdSN, header: copy, data: data.copyToArray()))
    }

    /// Rejects a PDU; its header goes back as data.
    func reject(_ header: RawSpan, _ reason: RejectReason) {
        guard let session else { return }
        session.openWindow()
        var pdu = RejectPDU()
        pdu.reason = reason
        pdu.statSN = status.take()
        pdu.expCmdSN = session.window.expCmdSN
        pdu.maxCmdSN = session.window.maxCmdSN
        send(pdu, data: header.extracting(0..<BasicHeaderSegment.length))
    }

    // MARK: NOP

    private func answerPing(_ header: RawSpan, _ data: RawSpan) {
        guard let session, let ping = NOPOutPDU(parsing: header) else { return }
        if ping.targetTransferTag != reservedTag, ping.targetTransferTag == pingTag { pingTag = nil }
        guard ping.initiatorTaskTag != reservedTag else { return }
        // The data comes back as far as the initiator takes it (section 11.19), and one answer fits the output queue.
        let count = min(data.byteCount, parameters.maxSendDataSegmentLength, Self.controlDataLimit)
        session.openWindow()
        var answer = NOPInPDU()
        answer.dataSegmentLength = count
        answer.initiatorTaskTag = ping.initiatorTaskTag
        answer.statSN = status.take()
        answer.expCmdSN = session.window.expCmdSN
        answer.maxCmdSN = session.window.maxCmdSN
        send(answer, data: data.extracting(0..<count))
    }

    /// Asks a silent initiator for a sign of life.
    func ping() {
        guard let session else { return }
        let tag = nextPingTag
        nextPingTag = nextPingTag &+ 1 == reservedTag ? 1 : nextPingTag &+ 1
        pingTag = tag
        session.openWindow()
        var ping = NOPInPDU()
        ping.targetTransferTag = tag
        ping.statSN = status.next
        ping.expCmdSN = session.window.expCmdSN
        ping.maxCmdSN = session.window.maxCmdSN
        send(ping)
    }

    /// Asks the initiator to log out within `seconds`.
    func requestLogout(seconds: Int) {
        guard case .fullFeature = phase, let session, !isLogoutRequested else { return }
        isLogoutRequested = true
        var message = AsyncMessagePDU()
        message.event = .logoutRequested
        message.parameter3 = UInt16(clamping: seconds)
        message.statSN = status.take()
        message.expCmdSN = session.window.expCmdSN
        message.maxCmdSN = session.window.maxCmdSN
        send(message)
    }

    // MARK: Text

    private func answerText(_ header: RawSpan, _ data: RawSpan) {
        guard let session, let request = TextRequestPDU(parsing: header), var machine = text else { return }
        // The answer is cut by the smaller of what the initiator takes and what fits the output queue.
        var agreed = parameters
        agreed.maxSendDataSegmentLength = min(parameters.maxSendDataSegmentLength, Self.controlDataLimit)
        let limited = agreed.maxSendDataSegmentLength
        let step = machine.receive(request, data: data, parameters: &agreed) { scope in
            server.discover(scope, session, on: self)
        }
        text = machine
        if agreed.maxSendDataSegmentLength != limited {
            parameters.maxSendDataSegmentLength = agreed.maxSendDataSegmentLength
        }
        switch step {
        case .reject(let reason):
            reject(header, reason)
        case .respond(var response, let text):
            session.openWindow()
            response.statSN = status.take()
            response.expCmdSN = session.window.expCmdSN
            response.maxCmdSN = session.window.maxCmdSN
            send(response, data: text.rawSpan)
        }
    }

    // MARK: Logout

    private func logOut(_ header: RawSpan) {
        guard let session, let request = LogoutRequestPDU(parsing: header) else { return }
        var response = LogoutResponsePDU()
        switch request.reason {
        case .closeSession: response.response = .closed
        case .closeConnection:
            let isOwn = request.connectionID == session.identity.connectionID
            response.response = isOwn ? .closed : .connectionNotFound
        case .removeConnectionForRecovery: response.response = .recoveryNotSupported
        default: return reject(header, .invalidPDUField)
        }
        session.openWindow()
        response.initiatorTaskTag = request.initiatorTaskTag
        response.statSN = status.take()
        response.expCmdSN = session.window.expCmdSN
        response.maxCmdSN = session.window.maxCmdSN
        response.time2Wait = UInt16(clamping: parameters.defaultTime2Wait)
        send(response)
        guard response.response == .closed, isOpen else { return }
        // Commands that have not ended get no answer any more (section 11.14).
        session.end()
        closeAfterSending(.loggedOut)
    }

    // MARK: Task management
    //
    // Functions that abort tasks do not wait for Data-Out that the initiator still owes for them, as section 4.2.3.3 has it:
    // initiators that reset a unit send no more of it. Data that comes nevertheless has a Target Transfer Tag, or the task tag of
    // unsolicited data, that leads to no task, and is discarded; a tag is used again only after 2²² R2Ts of its slot.

    private func manageTasks(_ header: RawSpan) {
        guard let session, let nexus = session.nexus, let request = TaskManagementRequestPDU(parsing: header) else {
            return reject(header, .protocolError)
        }
        guard taskManagementCount < server.limits.taskManagementFunctions else {
            return reject(header, .tooManyImmediateCommands)
        }
        let tag = request.initiatorTaskTag
        guard let function = request.function else { return answerTaskManagement(tag, .functionNotSupported) }
        let referenced = session.slot(withTag: request.referencedTaskTag)
        if function == .taskReassign { return answerTaskManagement(tag, .reassignmentNotSupported) }
        if function == .abortTask {
            let isEnded = referenced.map { withdraw($0, ifMeantBy: request) } ?? skip(request, in: session)
            if isEnded { return answerTaskManagement(tag, .functionComplete) }
        } else {
            withdrawCommands(function, request, in: session, nexus)
        }
        guard isOpen else { return }
        taskManagementCount += 1
        nexus.perform(
            function, logicalUnitNumber: request.logicalUnitNumber, reference: referenced?.task
        ) { [self] response in
            // The last task that ends may do so on another reactor.
            guard reactor.isCurrent else {
                reactor.post { [self] in finishTaskManagement(function, tag, response) }
                return
            }
            finishTaskManagement(function, tag, response)
        }
    }

    /// Whether the CmdSN of a task that ABORT TASK names and that is not here is in the window and before the function's own:
    /// it then counts as received, so that the initiator's gap is closed (section 11.6.1).
    private func skip(_ request: TaskManagementRequestPDU, in session: Session) -> Bool {
        var window = session.window
        let cmdSN = request.refCmdSN
        guard cmdSN.precedes(request.cmdSN), window.receive(cmdSN, isImmediate: false) != .ignore else { return false }
        if !hasReceived(cmdSN) { session.skip(cmdSN) }
        return true
    }

    /// Ends, for a function on many tasks, those commands that are not with the devices: nothing may follow the function's answer
    /// for a task that it aborts, and its tasks are all whose CmdSN is before its own (section 4.2.3.3).
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
        if isOneUnit, nexus.logicalUnitNexus(number) == nil { return }
        func isMeant(_ slot: CommandSlot) -> Bool { !isOneUnit || slot.logicalUnitNumber.number == number.number }
        session.forEachHeld { slot in
            if isMeant(slot), slot.cmdSN.precedes(request.cmdSN) { _ = withdraw(slot) }
        }
        for slot in sending where isMeant(slot) { _ = withdraw(slot) }
    }

    private func withdraw(_ slot: CommandSlot, ifMeantBy request: TaskManagementRequestPDU) -> Bool {
        slot.logicalUnitNumber.number == request.logicalUnitNumber.number && withdraw(slot)
    }

    /// Ends a command that waits for its turn, or whose Data-In is not all sent, without an answer; false when it is with its
    /// logical unit.
    private func withdraw(_ slot: CommandSlot) -> Bool {
        if slot.isHeld {
            // Its CmdSN is used up in its turn.
            slot.isCancelled = true
            slot.transportFailure = nil
            return true
        }
        guard let position = sending.firstIndex(where: { $0 === slot }) else { return false }
        sending.remove(at: position)
        let isReleased = slot.payload.map(output.release) ?? true
        session?.free(slot)
        if !isReleased { close(.answersNotTaken) }
        return true
    }

    private func finishTaskManagement(
        _ function: TaskManagementFunction, _ tag: UInt32, _ response: TaskManagementResponse
    ) {
        taskManagementCount -= 1
        guard isOpen else { return }
        answerTaskManagement(tag, TaskManagementOutcome(rawValue: response.rawValue))
        // A cold reset also ends the connections (section 11.5.1).
        if function == .targetColdReset, response == .complete { server.closeSessions(of: self, .targetReset) }
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
}
