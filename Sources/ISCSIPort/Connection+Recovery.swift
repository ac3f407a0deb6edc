internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// Answers are kept, acknowledged and sent again from ErrorRecoveryLevel 1 on (RFC 7143 sections 7.1 and 11.16).
extension Connection {
    // MARK: Keeping

    /// Keeps a PDU that carries a StatSN of its own. Outcomes of commands are kept in their slots.
    func keepIfNumbered(_ opcode: Opcode, _ header: BasicHeaderSegment, data: RawSpan) {
        switch opcode {
        case .scsiResponse, .readyToTransfer, .dataIn, .loginResponse: return
        case .nopIn where header.initiatorTaskTag == reservedTag: return
        default: recovery?.keep(.other(header, data.copyToArray()))
        }
    }

    /// Keeps the outcome of a command, which was just given the last StatSN, in its slot.
    func keepAnswer(_ slot: CommandSlot, in session: Session) {
        slot.hasRecovered = true
        slot.dataIn.isSent = true
        session.keepAnswered(slot)
        recovery?.keep(.command(slot.reference))
        guard slot.dataIn.payload != nil, slot.retainedLength == 0 else { return }
        slot.retainedLength = slot.dataIn.plan?.length ?? 0
        session.retainedData += slot.retainedLength
        if session.retainedData > session.limits.retainedData { dropRetainedData(in: session) }
    }

    /// Lets go of the data of the oldest answers: they cannot be sent again. That of the newest is just being sent.
    private func dropRetainedData(in session: Session) {
        guard let recovery else { return }
        var statSN = recovery.first
        while session.retainedData > session.limits.retainedData, statSN.advanced(by: 1).precedes(status.next) {
            if case .command(let reference)? = recovery[statSN], let slot = session.slot(reference) {
                releaseData(of: slot)
            }
            statSN = statSN.advanced(by: 1)
        }
    }

    private func releaseData(of slot: CommandSlot) {
        session?.settleRetained(slot)
        datamover?.releaseData(slot)
    }

    // MARK: Acknowledgement

    /// Reads ExpStatSN of a PDU: what the initiator has is no longer kept.
    func acknowledge(_ header: RawSpan) {
        guard let session else { return }
        let expStatSN = SequenceNumber(header.loadBE32(at: 28))
        // What was never sent cannot be acknowledged.
        guard status.unacknowledgedCount(expStatSN: expStatSN) != nil else { return }
        if acknowledgedStatSN.precedes(expStatSN) {
            acknowledgedStatSN = expStatSN
            if session.fences.isRaised { session.advanceFences() }
        }
        guard let recovery, !isClosed else { return }
        while recovery.count > 0, recovery.first.precedes(expStatSN), !isClosed {
            guard case .command(let reference) = recovery.removeFirst(), let slot = session.slot(reference) else {
                continue
            }
            releaseData(of: slot)
            session.release(slot)
        }
        // Far more than the window allows: the initiator takes its answers and never says so (section 4.2.2.2).
        if recovery.count > session.limits.unacknowledgedAnswers
            || recovery.dataLength > session.limits.unacknowledgedText
        {
            close(.answersNotAcknowledged)
        }
    }

    // MARK: Sending again

    /// The command that was answered with a StatSN, if that answer is kept and a command's.
    func answeredCommand(_ statSN: SequenceNumber) -> CommandSlot? {
        guard case .command(let reference)? = recovery?[statSN] else { return nil }
        return session?.slot(reference)
    }

    /// The StatSN that a command was answered with.
    func statSN(of slot: CommandSlot) -> SequenceNumber? {
        guard slot.isAnswered, let recovery else { return nil }
        for offset in 0..<recovery.count {
            let statSN = recovery.first.advanced(by: offset)
            if case .command(let reference)? = recovery[statSN], reference.index == slot.index { return statSN }
        }
        return nil
    }

    /// Sends the answer with that StatSN again, if it is kept.
    func sendAnswerAgain(_ statSN: SequenceNumber) {
        guard let session else { return }
        switch recovery?[statSN] {
        case .command(let reference):
            guard let slot = session.slot(reference) else { return }
            let failure = slot.transportFailure
            let status = failure?.status ?? slot.task.status
            var response = response(of: slot, status: status)
            response.statSN = statSN
            response.expCmdSN = session.window.expCmdSN
            response.maxCmdSN = session.window.maxCmdSN
            let sense = failure == nil ? slot.task.reportedSense : failure?.sense.map { .fields($0) }
            send(
                response, sense: status == .checkCondition ? sense : nil,
                isDescriptorFormat: slot.task.nexus?.logicalUnit.usesDescriptorSense ?? false)
        case .other(var header, let data):
            let window = session.window
            header.modifyBytes { bytes in
                bytes.storeBE32(window.expCmdSN.rawValue, at: 28)
                bytes.storeBE32(window.maxCmdSN.rawValue, at: 32)
            }
            datamover?.send(header, data: data.rawSpan)
        case nil: return
        }
    }

    // MARK: Taking over

    /// Takes over a command whose connection is gone, and continues it: the function complete answer is sent already
    /// (section 7.2.2).
    func resume(_ slot: CommandSlot, expDataSN: UInt32) {
        slot.connectionIndex = connectionIndex
        slot.isOrphaned = false
        slot.hasRecovered = true
        slot.dataOutStart = reactor.now
        // 0 or what was never sent leaves the acknowledged data as it is (section 11.5.6).
        if expDataSN > slot.dataIn.acknowledgedDataSN { _ = datamover?.acknowledgeData(slot, upTo: expDataSN) }
        slot.snackTag = 0
        slot.dataIn.carriesStatus = false
        slot.dataIn.isSent = false
        if slot.isHeld { return }
        if let failure = slot.transportFailure {
            if slot.task.state == .ended || slot.task.state == .idle { respond(slot, failure) }
        } else if slot.task.state == .ended {
            answer(slot)
        } else if slot.task.state == .awaitingDataOut {
            progressDataOut(slot)
        }
    }
}
