internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

// SCSI Data-In (RFC 7143 section 11.7).
extension StreamDatamover {
    /// Leases of the output queue that Data-In of one PDU leaves to Data-In of many.
    private static let reservedLeases = 160
    /// Header bytes and pieces of the output queue that Data-In leaves to other answers.
    private static let headerReserve = 32768
    private static let pieceReserve = 64

    /// Whether the output queue takes Data-In.
    var hasRoomForData: Bool {
        output.freeHeaderBytes > Self.headerReserve && output.freePieces > Self.pieceReserve
            && output.queuedBytes < limits.outputBacklog
    }

    func putData(_ slot: CommandSlot, _ lease: consuming BufferLease, count: Int) {
        guard let payload = output.hold(lease) else { return connection.close(.answersNotTaken) }
        turnWork += count
        slot.dataIn.payload = payload
        if connection.keepsAnswers {
            planDataIn(slot, length: count)
        } else {
            slot.dataIn.plan = DataInPlan(length: count, parameters: parameters)
        }
        if sending.isEmpty, output.freeLeases >= Self.reservedLeases {
            _ = sendDataIn(slot)
            if output.queuedBytes >= limits.earlyFlush { flush() }
        }
        if slot.isUsed, slot.dataIn.payload != nil, !slot.dataIn.isSent { sending.append(slot) }
        scheduleTurnEnd()
    }

    /// Plans the Data-In of a command from what the initiator has acknowledged of it on.
    func planDataIn(_ slot: CommandSlot, length: Int) {
        let plan = DataInPlan(
            length: length, segmentLimit: parameters.maxSendDataSegmentLength, burstLimit: parameters.maxBurstLength,
            offset: min(slot.dataIn.acknowledgedLength, length), dataSN: slot.dataIn.acknowledgedDataSN)
        slot.dataIn.start = plan
        slot.dataIn.plan = plan
    }

    /// Whether Data-In, or something that is sent again, waits for room in the output queue.
    var hasDataToSend: Bool { !sending.isEmpty || !resends.isEmpty }

    /// Sends Data-In of waiting commands as far as there is room and the turn allows; false when the connection is
    /// lost.
    func sendQueuedData() -> Bool {
        guard hasDataToSend else { return true }
        guard sendAgain() else { return false }
        var sent = 0
        while let slot = sending.first, !isWriteBlocked, sent < limits.turnOutput {
            let before = output.queuedBytes
            let isDone = sendDataIn(slot)
            guard !connection.isClosed else { return false }
            if isDone {
                sending.removeFirst()
            } else if output.queuedBytes == before, before == 0 {
                // An empty queue takes some of it, or never will.
                connection.close(.answersNotTaken)
                return false
            }
            sent += output.queuedBytes - before
            if output.queuedBytes >= limits.earlyFlush || !sending.isEmpty {
                guard flush() else { return false }
            }
        }
        return !connection.isClosed
    }

    /// Queues Data-In of a command, with its status in the last one when that is GOOD (phase collapse, section 11.7.3);
    /// true when all is queued and the slot is free again.
    private func sendDataIn(_ slot: CommandSlot) -> Bool {
        guard let session = connection.session, let payload = slot.dataIn.payload, var plan = slot.dataIn.plan else {
            return true
        }
        let isCollapsed =
            DataInPlan.mayCollapse(
                status: slot.task.status, hasSense: slot.task.reportedSense != nil, length: plan.length)
            && slot.snackTag == 0 && !plan.isExhausted
        let isKept = connection.keepsAnswers
        while hasRoomForData, let segment = plan.next() {
            var pdu = DataInPDU()
            pdu.isFinal = segment.isFinal
            pdu.dataSegmentLength = segment.length
            pdu.initiatorTaskTag = slot.initiatorTaskTag
            pdu.dataSN = segment.dataSN
            pdu.bufferOffset = UInt32(segment.offset)
            if isKept { requestAcknowledgement(&pdu, slot, segment) }
            if segment.isLast, isCollapsed {
                if isKept {
                    slot.dataIn.plan = plan
                    slot.dataIn.carriesStatus = true
                }
                connection.conclude(slot, with: &pdu)
            }
            pdu.expCmdSN = session.window.expCmdSN
            pdu.maxCmdSN = session.window.maxCmdSN
            guard appendData(pdu, payload, segment, releases: segment.isLast && !isKept) else {
                connection.close(.answersNotTaken)
                return true
            }
        }
        guard plan.isExhausted else {
            slot.dataIn.plan = plan
            return false
        }
        if !isCollapsed {
            slot.dataIn.plan = plan
            if !isKept { slot.dataIn.payload = nil }
            connection.dataInSent(slot)
        }
        return true
    }

    /// Queues a Data-In PDU.
    func appendData(
        _ pdu: DataInPDU, _ payload: OutputQueue.Payload, _ segment: DataInSegment, releases: Bool
    ) -> Bool {
        append(
            BasicHeaderSegment(pdu), payload, offset: segment.offset, count: segment.length, releases: releases)
    }

    // MARK: What is dropped or given back

    func withdrawData(_ slot: CommandSlot) {
        sending.removeAll { $0 === slot }
        dropPayload(slot)
    }

    func releaseData(_ slot: CommandSlot) {
        dropPayload(slot)
    }

    private func dropPayload(_ slot: CommandSlot) {
        cancelResends(of: slot)
        guard let payload = slot.dataIn.payload else { return }
        slot.dataIn.payload = nil
        if !output.release(payload) { connection.close(.answersNotTaken) }
    }

    func withdrawAllData() {
        sending.removeAll()
        resends.removeAll()
    }

    func returnBuffers(_ slot: CommandSlot) {
        if let payload = slot.dataIn.payload { slot.task.dataIn.lease = output.take(payload) }
        slot.dataIn.payload = nil
        guard case .dataOut(let reference) = incoming.destination, reference == slot.reference,
            incoming.stage == .payload || incoming.stage == .trailer, let lease = incoming.lease.take()
        else { return }
        slot.task.dataOut.lease = consume lease
        // The PDU is counted, and has not come to its end.
        breakOff(slot, isEnd: false)
    }

    // MARK: Acknowledgement

    /// Asks for a DataACK at the end of each sequence but the last, whose status is acknowledged anyway (section
    /// 11.7.2).
    func requestAcknowledgement(_ pdu: inout DataInPDU, _ slot: CommandSlot, _ segment: DataInSegment) {
        guard segment.isFinal, !segment.isLast else { return }
        if slot.dataIn.acknowledgementTag == 0 { slot.dataIn.acknowledgementTag = slot.takeTransferTag() }
        pdu.isAcknowledgeRequested = true
        pdu.logicalUnitNumber = slot.logicalUnitNumber
        pdu.targetTransferTag = slot.dataIn.acknowledgementTag
    }

    func acknowledgeData(_ slot: CommandSlot, upTo dataSN: UInt32) -> Bool {
        guard var start = slot.dataIn.start, let plan = slot.dataIn.plan,
            (slot.dataIn.acknowledgedDataSN...plan.dataSN).contains(dataSN)
        else { return false }
        start.skip(to: dataSN)
        slot.dataIn.start = start
        slot.dataIn.acknowledgedDataSN = dataSN
        slot.dataIn.acknowledgedLength = start.offset
        return true
    }
}
