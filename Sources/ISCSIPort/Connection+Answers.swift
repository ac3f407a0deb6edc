internal import Bytes
internal import ISCSI
internal import SCSI
internal import TargetCore

// The end of a command: its data, and SCSI Response (RFC 7143 sections 11.4 and 11.7).
extension Connection {
    /// Whether answers are kept until the initiator acknowledges them, to be sent again.
    var keepsAnswers: Bool { recovery != nil }

    /// Sends the outcome of a task, which the devices have ended.
    func answer(_ slot: CommandSlot) {
        // It is about to be taken over by another connection.
        if keepsAnswers, !isOpen { return }
        let task = slot.task
        if let failure = slot.transportFailure { return respond(slot, failure) }
        guard let lease = task.dataIn.lease.take() else {
            return respond(slot, status: task.status, sense: task.reportedSense)
        }
        let total = lease.count
        let count = min(total, slot.expectedDataInLength)
        slot.residual = Residual(expected: slot.expectedDataInLength, actual: total)
        guard count > 0 else {
            return respond(slot, status: task.status, sense: task.reportedSense, isResidualKnown: true)
        }
        session?.counters.count(sent: count)
        if keepsAnswers { slot.hasRecovered = true }
        datamover?.putData(slot, lease, count: count)
    }

    /// The Data-In of a command is on its way without its status.
    func dataInSent(_ slot: CommandSlot) {
        respond(slot, status: slot.task.status, sense: slot.task.reportedSense)
    }

    /// Ends a command whose status goes out with its last Data-In.
    func conclude(_ slot: CommandSlot, with pdu: inout DataInPDU) {
        guard let session else { return }
        pdu.hasStatus = true
        pdu.status = slot.task.status
        pdu.residual = slot.residual
        pdu.statSN = status.take()
        if keepsAnswers { keepAnswer(slot, in: session) } else { session.free(slot) }
        session.openWindow()
    }

    /// Ends a command that the transport could not carry.
    func respond(_ slot: CommandSlot, _ failure: TransportFailure) {
        slot.transportFailure = failure
        respond(slot, status: failure.status, sense: failure.sense.map { .fields($0) })
    }

    /// Ends a command with SCSI Response and gives its slot back.
    func respond(_ slot: CommandSlot, status code: SCSIStatus, sense: Sense? = nil, isResidualKnown: Bool = false) {
        guard let session, isOpen || !keepsAnswers else { return }
        if !isResidualKnown, slot.dataIn.plan == nil {
            slot.residual =
                slot.expectedDataInLength > 0
                ? Residual(expected: slot.expectedDataInLength, actual: 0)
                : Residual(expected: slot.expectedDataOutLength, actual: slot.task.requestedDataOutLength)
        }
        var response = response(of: slot, status: code)
        // Only now: the slot's task forgets its nexus.
        let isDescriptorFormat =
            code == .checkCondition && slot.task.nexus?.logicalUnit.usesDescriptorSense ?? false
        response.statSN = status.take()
        // Before the window goes into the response, which shows that the command has ended.
        if keepsAnswers { keepAnswer(slot, in: session) } else { session.free(slot) }
        session.openWindow()
        response.expCmdSN = session.window.expCmdSN
        response.maxCmdSN = session.window.maxCmdSN
        send(response, sense: code == .checkCondition ? sense : nil, isDescriptorFormat: isDescriptorFormat)
    }

    /// The SCSI Response of a command, without its numbers.
    func response(of slot: CommandSlot, status code: SCSIStatus) -> SCSIResponsePDU {
        var response = SCSIResponsePDU()
        response.status = code
        response.residual = slot.residual
        response.initiatorTaskTag = slot.initiatorTaskTag
        response.snackTag = slot.snackTag
        response.expDataSN = slot.dataIn.plan?.dataSN ?? slot.dataOut.plan?.r2tSN ?? 0
        return response
    }

    /// Sends a SCSI Response with sense data, if there is some.
    func send(_ header: SCSIResponsePDU, sense: Sense?, isDescriptorFormat: Bool) {
        guard let sense else {
            send(header)
            return
        }
        var response = header
        var bytes = InlineArray<254, UInt8>(repeating: 0)
        let length = bytes.modifyBytes { target in
            let length = sense.write(into: &target, at: 2, isDescriptorFormat: isDescriptorFormat)
            target.storeBE16(UInt16(length), at: 0)
            return length + 2
        }
        response.dataSegmentLength = length
        send(response, data: bytes.rawSpan.extracting(0..<length))
    }
}
