internal import ISCSI
internal import Platform
internal import TargetCore

/// Something to send again, as far as the output queue has room.
enum Resend {
    /// The answers from StatSN `next` up to `end`, exclusive.
    case answers(next: SequenceNumber, end: SequenceNumber)
    /// Data-In PDUs of a command: those of the plan up to DataSN `end`, exclusive, and then perhaps its response.
    case data(SlotReference, DataInPlan, end: UInt32, endsWithResponse: Bool)
}

// Sending again what a SNACK Request asks for (RFC 7143 section 11.16).
extension StreamDatamover {
    var resendCount: Int { resends.count }

    func resendAnswers(_ next: SequenceNumber, to end: SequenceNumber) {
        resends.append(.answers(next: next, end: end))
        scheduleTurnEnd()
    }

    /// Forgets what was to be sent again of a command.
    func cancelResends(of slot: CommandSlot) {
        guard !resends.isEmpty else { return }
        resends.removeAll {
            if case .data(let reference, _, _, _) = $0 { reference.index == slot.index } else { false }
        }
    }

    // MARK: What is asked for

    func resendData(_ request: SNACKRequestPDU, _ slot: CommandSlot) -> RejectReason? {
        defer { scheduleTurnEnd() }
        if request.type == .rData { return resendSegmented(request, slot) }
        guard let plan = slot.dataIn.plan, var start = slot.dataIn.start else { return resendRequests(request, slot) }
        var (next, end) = (slot.dataIn.acknowledgedDataSN, plan.dataSN)
        if request.begRun != 0 || request.runLength != 0 {
            guard (next..<max(end, next)).contains(request.begRun), request.runLength <= end - request.begRun else {
                return .protocolError
            }
            next = request.begRun
            if request.runLength != 0 { end = next + request.runLength }
        }
        guard slot.dataIn.payload != nil else { return .snackReject }
        start.skip(to: next)
        resends.append(.data(slot.reference, start, end: end, endsWithResponse: false))
        return nil
    }

    /// Sends outstanding R2Ts again. One whose data has come is as good as acknowledged.
    private func resendRequests(_ request: SNACKRequestPDU, _ slot: CommandSlot) -> RejectReason? {
        let isEverything = request.begRun == 0 && request.runLength == 0
        guard let plan = slot.dataOut.plan else { return isEverything ? nil : .protocolError }
        guard isEverything || request.begRun < plan.r2tSN && request.runLength <= plan.r2tSN - request.begRun else {
            return .protocolError
        }
        let end = isEverything || request.runLength == 0 ? plan.r2tSN : request.begRun + request.runLength
        var isFound = false
        for position in 0..<slot.dataOut.count {
            guard let transfer = slot.dataOut[position], (request.begRun..<end).contains(transfer.request.r2tSN) else {
                continue
            }
            isFound = true
            sendReadyToTransfer(slot, transfer.request, tag: transfer.tag)
        }
        return isFound || isEverything ? nil : .protocolError
    }

    /// R-Data: everything that is not acknowledged, cut by the length that the initiator takes now, and then a response
    /// with the SNACK Tag (sections 11.16.3 and 11.16.4).
    private func resendSegmented(_ request: SNACKRequestPDU, _ slot: CommandSlot) -> RejectReason? {
        guard let former = slot.dataIn.plan else { return .protocolError }
        guard slot.dataIn.payload != nil else { return .snackReject }
        cancelResends(of: slot)
        slot.snackTag = request.targetTransferTag
        planDataIn(slot, length: former.length)
        guard slot.isAnswered, let start = slot.dataIn.start else { return nil }
        var end = start
        end.skip(to: .max)
        slot.dataIn.plan = end
        slot.dataIn.carriesStatus = false
        resends.append(.data(slot.reference, start, end: end.dataSN, endsWithResponse: true))
        return nil
    }

    // MARK: Sending

    /// Sends again what was asked for, as far as there is room; false when the connection is lost.
    func sendAgain() -> Bool {
        guard let session = connection.session else { return !connection.isClosed }
        var sent = 0
        while !resends.isEmpty, hasRoomForData, !isWriteBlocked, sent < limits.turnOutput {
            let before = output.queuedBytes
            if let rest = sendAgain(resends[0], session) {
                resends[0] = rest
            } else if !connection.isClosed {
                resends.removeFirst()
            }
            guard !connection.isClosed else { return false }
            sent += output.queuedBytes - before
            if !hasRoomForData {
                guard flush() else { return false }
            }
        }
        return !connection.isClosed
    }

    /// Sends one PDU again and gives what is left.
    private func sendAgain(_ resend: Resend, _ session: Session) -> Resend? {
        switch resend {
        case .answers(let next, let end):
            guard next.precedes(end) else { return nil }
            if let slot = connection.answeredCommand(next), sendStatusAgain(slot, session) {
                // Its status went with its last Data-In.
            } else {
                connection.sendAnswerAgain(next)
            }
            return .answers(next: next.advanced(by: 1), end: end)
        case .data(let reference, var plan, let end, let endsWithResponse):
            guard let slot = session.slot(reference), let payload = slot.dataIn.payload else { return nil }
            if plan.dataSN < end, let segment = plan.next() {
                sendAgain(segment, of: slot, payload, session)
                return .data(reference, plan, end: end, endsWithResponse: endsWithResponse)
            }
            if endsWithResponse, let statSN = connection.statSN(of: slot) { connection.sendAnswerAgain(statSN) }
            return nil
        }
    }

    /// Sends the last Data-In of a command again, when that carries its status.
    private func sendStatusAgain(_ slot: CommandSlot, _ session: Session) -> Bool {
        guard slot.dataIn.carriesStatus, let payload = slot.dataIn.payload, let plan = slot.dataIn.plan,
            var start = slot.dataIn.start, plan.dataSN > start.dataSN
        else { return false }
        start.skip(to: plan.dataSN - 1)
        if let last = start.next() { sendAgain(last, of: slot, payload, session) }
        return true
    }

    private func sendAgain(
        _ segment: DataInSegment, of slot: CommandSlot, _ payload: OutputQueue.Payload, _ session: Session
    ) {
        var pdu = DataInPDU()
        pdu.isFinal = segment.isFinal
        pdu.dataSegmentLength = segment.length
        pdu.initiatorTaskTag = slot.initiatorTaskTag
        pdu.dataSN = segment.dataSN
        pdu.bufferOffset = UInt32(segment.offset)
        requestAcknowledgement(&pdu, slot, segment)
        if segment.isLast, slot.dataIn.carriesStatus, let statSN = connection.statSN(of: slot) {
            pdu.hasStatus = true
            pdu.status = slot.task.status
            pdu.residual = slot.residual
            pdu.statSN = statSN
        }
        pdu.expCmdSN = session.window.expCmdSN
        pdu.maxCmdSN = session.window.maxCmdSN
        if appendData(pdu, payload, segment, releases: false) {
            scheduleTurnEnd()
        } else {
            connection.close(.answersNotTaken)
        }
    }
}
