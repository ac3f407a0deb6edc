internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// Answers are kept, acknowledged and sent again from ErrorRecoveryLevel 1 on (RFC 7143 sections 7.1 and 11.16).
extension Connection {
    // MARK: Keeping

    /// Keeps a PDU that carries a StatSN of its own. Outcomes of commands are kept in their slots.
    func keepIfNumbered<Header: PDUHeader>(_ header: Header, data: RawSpan?) {
        guard let recovery else { return }
        switch Header.opcode {
        case .scsiResponse, .readyToTransfer, .dataIn, .loginResponse: return
        default: break
        }
        let bytes = BasicHeaderSegment(header)
        if Header.opcode == .nopIn, bytes.initiatorTaskTag == reservedTag { return }
        recovery.keep(.other(bytes, data?.copyToArray() ?? []))
    }

    /// Keeps the outcome of a command, which was just given the last StatSN, in its slot.
    func keepAnswer(_ slot: CommandSlot, in session: Session) {
        slot.hasRecovered = true
        slot.isSent = true
        session.keepAnswered(slot)
        recovery?.keep(.command(slot.reference))
        guard slot.payload != nil, slot.retainedLength == 0 else { return }
        slot.retainedLength = slot.dataInPlan?.length ?? 0
        session.retainedData += slot.retainedLength
        if session.retainedData > session.limits.retainedData { dropRetainedData(in: session) }
    }

    /// Lets go of the data of the oldest answers: they cannot be sent again.
    private func dropRetainedData(in session: Session) {
        guard let recovery else { return }
        var statSN = recovery.first
        while session.retainedData > session.limits.retainedData, statSN.precedes(status.next) {
            if case .command(let reference)? = recovery[statSN], let slot = session.slot(reference) {
                dropPayload(of: slot)
            }
            statSN = statSN.advanced(by: 1)
        }
    }

    private func dropPayload(of slot: CommandSlot) {
        recovery?.cancelResends(of: slot)
        session?.settleRetained(slot)
        guard let payload = slot.payload else { return }
        slot.payload = nil
        if !output.release(payload) { close(.answersNotTaken) }
    }

    /// Gives the buffers of a command back to it: it goes on on another connection.
    func returnBuffers(of slot: CommandSlot) {
        if let payload = slot.payload { slot.task.dataIn = output.take(payload) }
        slot.payload = nil
        guard case .dataOut(let reference) = incoming.destination, reference == slot.reference,
            incoming.stage == .payload || incoming.stage == .trailer, let lease = incoming.lease.take()
        else { return }
        slot.task.dataOut = consume lease
        // The PDU is counted, and has not come to its end.
        breakOff(slot, isEnd: false)
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
            dropPayload(of: slot)
            session.release(slot)
        }
        // Far more than the window allows: the initiator takes its answers and never says so (section 4.2.2.2).
        if recovery.count > session.limits.unacknowledgedAnswers
            || recovery.dataLength > session.limits.unacknowledgedText
        {
            close(.answersNotAcknowledged)
        }
    }

    // MARK: Data-In

    /// Plans the Data-In of a command from what the initiator has acknowledged of it on.
    func planDataIn(_ slot: CommandSlot, length: Int) {
        let plan = DataInPlan(
            length: length, segmentLimit: parameters.maxSendDataSegmentLength, burstLimit: parameters.maxBurstLength,
            offset: min(slot.acknowledgedLength, length), dataSN: slot.acknowledgedDataSN)
        slot.hasRecovered = true
        slot.dataInStart = plan
        slot.dataInPlan = plan
    }

    /// Asks for a DataACK at the end of each sequence but the last, whose status is acknowledged anyway (section 11.7.2).
    func requestAcknowledgement(_ pdu: inout DataInPDU, _ slot: CommandSlot, _ segment: DataInSegment) {
        guard segment.isFinal, !segment.isLast else { return }
        if slot.acknowledgementTag == 0 { slot.acknowledgementTag = slot.takeTransferTag() }
        pdu.isAcknowledgeRequested = true
        pdu.logicalUnitNumber = slot.logicalUnitNumber
        pdu.targetTransferTag = slot.acknowledgementTag
    }

    /// Notes that the initiator has the Data-In PDUs before `dataSN`; false when they were not sent, or before what it had already.
    func acknowledgeData(of slot: CommandSlot, upTo dataSN: UInt32) -> Bool {
        guard var start = slot.dataInStart, let plan = slot.dataInPlan,
            (slot.acknowledgedDataSN...plan.dataSN).contains(dataSN)
        else { return false }
        start.skip(to: dataSN)
        slot.dataInStart = start
        slot.acknowledgedDataSN = dataSN
        slot.acknowledgedLength = start.offset
        return true
    }

    // MARK: Taking over

    /// Takes over a command whose connection is gone, and goes on with it: the function complete answer is sent already
    /// (section 7.2.2).
    func resume(_ slot: CommandSlot, expDataSN: UInt32) {
        slot.place = place
        slot.isOrphaned = false
        slot.hasRecovered = true
        slot.dataOutStart = reactor.now
        // 0 or what was never sent leaves the acknowledged data as it is (section 11.5.6).
        if expDataSN > slot.acknowledgedDataSN { _ = acknowledgeData(of: slot, upTo: expDataSN) }
        slot.snackTag = 0
        slot.isStatusInData = false
        slot.isSent = false
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
