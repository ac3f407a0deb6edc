internal import Bytes
internal import ISCSI

// SNACK Request (RFC 7143 section 11.16).
extension Connection {
    /// Takes a SNACK Request. It has no CmdSN.
    func receiveSNACK(_ header: RawSpan) {
        guard let recovery, let datamover, let request = SNACKRequestPDU(parsing: header) else {
            return reject(header, .protocolError)
        }
        guard datamover.resendCount < ConnectionRecovery.resendLimit else { return reject(header, .snackReject) }
        let refusal: RejectReason?
        switch request.type {
        case .status: refusal = resendAnswers(request, recovery, datamover)
        case .dataOrR2T, .rData: refusal = resendData(request, datamover)
        case .dataACK: refusal = acknowledgeData(request, datamover)
        default: refusal = .protocolError
        }
        if let refusal { reject(header, refusal) }
    }

    private func resendAnswers(
        _ request: SNACKRequestPDU, _ recovery: ConnectionRecovery, _ datamover: any Datamover
    ) -> RejectReason? {
        let end = status.next
        guard request.begRun != 0 || request.runLength != 0 else {
            datamover.resendAnswers(recovery.first, to: end)
            return nil
        }
        // What was acknowledged or never sent is a protocol error (section 11.16).
        let next = SequenceNumber(request.begRun)
        let available = next.distance(to: end)
        guard recovery[next] != nil, Int(request.runLength) <= available else { return .protocolError }
        let count = request.runLength == 0 ? available : Int(request.runLength)
        datamover.resendAnswers(next, to: next.advanced(by: count))
        return nil
    }

    private func resendData(_ request: SNACKRequestPDU, _ datamover: any Datamover) -> RejectReason? {
        if request.type == .rData {
            let tag = request.targetTransferTag
            guard request.begRun == 0, request.runLength == 0, tag != 0, tag != reservedTag else {
                return .protocolError
            }
        }
        guard let slot = session?.command(withTag: request.initiatorTaskTag, ofConnection: connectionIndex) else {
            return .protocolError
        }
        return datamover.resendData(request, slot)
    }

    private func acknowledgeData(_ request: SNACKRequestPDU, _ datamover: any Datamover) -> RejectReason? {
        guard request.runLength == 0, let session,
            let slot = session.slot(at: CommandSlot.index(ofTag: request.targetTransferTag)),
            slot.connectionIndex == connectionIndex,
            slot.dataIn.acknowledgementTag != 0, slot.dataIn.acknowledgementTag == request.targetTransferTag,
            slot.logicalUnitNumber == request.logicalUnitNumber,
            datamover.acknowledgeData(slot, upTo: request.begRun)
        else { return .invalidDataACK }
        return nil
    }
}
