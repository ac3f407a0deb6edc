internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// SNACK Request (RFC 7143 section 11.16).
extension Connection {
    /// Takes a SNACK Request. It has no CmdSN.
    func receiveSNACK(_ header: RawSpan) {
        guard let recovery, let request = SNACKRequestPDU(parsing: header) else {
            return reject(header, .protocolError)
        }
        guard recovery.resends.count < ConnectionRecovery.resendLimit else { return reject(header, .snackReject) }
        let refusal: RejectReason?
        switch request.type {
        case .status: refusal = resendAnswers(request, recovery)
        case .dataOrR2T: refusal = resendData(request, recovery)
        case .rData: refusal = resendSegmented(request, recovery)
        case .dataACK: refusal = acknowledgeData(request)
        default: refusal = .protocolError
        }
        if let refusal { return reject(header, refusal) }
        scheduleTurnEnd()
    }

    private func resendAnswers(_ request: SNACKRequestPDU, _ recovery: ConnectionRecovery) -> RejectReason? {
        let end = status.next
        guard request.begRun != 0 || request.runLength != 0 else {
            recovery.resends.append(.answers(next: recovery.first, end: end))
            return nil
        }
        // What was acknowledged or never sent is a protocol error (section 11.16).
        let next = SequenceNumber(request.begRun)
        let available = next.distance(to: end)
        guard recovery[next] != nil, Int(request.runLength) <= available else { return .protocolError }
        let count = request.runLength == 0 ? available : Int(request.runLength)
        recovery.resends.append(.answers(next: next, end: next.advanced(by: count)))
        return nil
    }

    private func resendData(_ request: SNACKRequestPDU, _ recovery: ConnectionRecovery) -> RejectReason? {
        guard let session, let slot = session.command(withTag: request.initiatorTaskTag, at: place) else {
            return .protocolError
        }
        guard let plan = slot.dataInPlan, var start = slot.dataInStart else {
            return resendRequests(request, slot, session)
        }
        var (next, end) = (slot.acknowledgedDataSN, plan.dataSN)
        if request.begRun != 0 || request.runLength != 0 {
            guard (next..<max(end, next)).contains(request.begRun), request.runLength <= end - request.begRun else {
                return .protocolError
            }
            next = request.begRun
            if request.runLength != 0 { end = next + request.runLength }
        }
        guard slot.payload != nil else { return .snackReject }
        start.skip(to: next)
        recovery.resends.append(.data(slot.reference, start, end: end, endsWithResponse: false))
        return nil
    }

    /// Sends outstanding R2Ts again. One whose data has come is as good as acknowledged.
    private func resendRequests(_ request: SNACKRequestPDU, _ slot: CommandSlot, _ session: Session) -> RejectReason? {
        guard let plan = slot.transferPlan else {
            return request.begRun == 0 && request.runLength == 0 ? nil : .protocolError
        }
        let isEverything = request.begRun == 0 && request.runLength == 0
        guard isEverything || request.begRun < plan.r2tSN && request.runLength <= plan.r2tSN - request.begRun else {
            return .protocolError
        }
        let end = isEverything || request.runLength == 0 ? plan.r2tSN : request.begRun + request.runLength
        var isFound = false
        for position in 0..<slot.transferCount {
            guard let transfer = slot[transfer: position], (request.begRun..<end).contains(transfer.request.r2tSN)
            else {
                continue
            }
            isFound = true
            sendReadyToTransfer(slot, transfer.request, tag: transfer.tag, in: session)
        }
        return isFound || isEverything ? nil : .protocolError
    }

    /// R-Data: everything that is not acknowledged, cut by the length that the initiator takes now, and then a response with the
    /// SNACK Tag (sections 11.16.3 and 11.16.4).
    private func resendSegmented(_ request: SNACKRequestPDU, _ recovery: ConnectionRecovery) -> RejectReason? {
        let tag = request.targetTransferTag
        guard request.begRun == 0, request.runLength == 0, tag != 0, tag != reservedTag else { return .protocolError }
        guard let session, let slot = session.command(withTag: request.initiatorTaskTag, at: place),
            let former = slot.dataInPlan
        else { return .protocolError }
        guard slot.payload != nil else { return .snackReject }
        recovery.cancelResends(of: slot)
        slot.snackTag = tag
        planDataIn(slot, length: former.length)
        guard slot.isAnswered, let start = slot.dataInStart else { return nil }
        var end = start
        end.skip(to: .max)
        slot.dataInPlan = end
        slot.isStatusInData = false
        recovery.resends.append(.data(slot.reference, start, end: end.dataSN, endsWithResponse: true))
        return nil
    }

    private func acknowledgeData(_ request: SNACKRequestPDU) -> RejectReason? {
        guard request.runLength == 0, let session,
            let slot = session.slot(at: CommandSlot.index(ofTag: request.targetTransferTag)), slot.place == place,
            slot.acknowledgementTag != 0, slot.acknowledgementTag == request.targetTransferTag,
            slot.logicalUnitNumber == request.logicalUnitNumber, acknowledgeData(of: slot, upTo: request.begRun)
        else { return .invalidDataACK }
        return nil
    }
}
