internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// SCSI Command and SCSI Data-Out (RFC 7143 sections 11.3 and 11.7).
extension Connection {
    /// Takes a command's header: a slot with room for its immediate data, or nil when the command is ignored or was answered
    /// already, and its data segment is to be discarded.
    func beginCommand(_ header: RawSpan) -> CommandSlot? {
        guard let session, let command = SCSICommandPDU(parsing: header) else { return nil }
        var window = session.window
        let verdict = window.receive(command.cmdSN, isImmediate: command.isImmediate)
        switch verdict {
        case .ignore: return nil
        case .keep where hasReceived(command.cmdSN): return nil
        case .deliver, .keep: break
        }
        // The CmdSN of a rejected command does not count as received: the initiator closes the gap with another command of
        // that CmdSN or with ABORT TASK (section 7.3).
        if let reason = refusal(of: command, header, in: session) {
            reject(header, reason)
            return nil
        }
        guard let slot = session.takeSlot(isImmediate: command.isImmediate) else {
            reject(header, .tooManyImmediateCommands)
            return nil
        }
        session.window = window
        slot.begin(command)
        session.setTag(of: slot)
        if case .keep = verdict { session.hold(slot) }
        guard prepare(slot, command, header) else { return nil }
        return slot
    }

    /// Why the command cannot be taken at all.
    private func refusal(of command: SCSICommandPDU, _ header: RawSpan, in session: Session) -> RejectReason? {
        guard session.nexus != nil else { return .protocolError }
        guard command.taskAttribute != nil, command.initiatorTaskTag != reservedTag else { return .invalidPDUField }
        if !command.isRead, !command.isWrite, command.expectedDataTransferLength != 0 { return .invalidPDUField }
        if command.additionalHeaderLength > 0, additionalSegments(of: command, header) == nil {
            return .invalidPDUField
        }
        if session.slot(withTag: command.initiatorTaskTag) != nil { return .taskInProgress }
        return nil
    }

    /// The command's additional header segments; nil when they are malformed.
    private func additionalSegments(of command: SCSICommandPDU, _ header: RawSpan) -> AdditionalHeaderSegments? {
        try? AdditionalHeaderSegments(
            parsing: header.extracting(BasicHeaderSegment.length..<header.byteCount), cdb: command.cdb)
    }

    /// Prepares the slot's task and its room for data; false when the command has been answered.
    private func prepare(_ slot: CommandSlot, _ command: SCSICommandPDU, _ header: RawSpan) -> Bool {
        var block = command.cdb
        var readLength = Int(command.expectedDataTransferLength)
        if command.additionalHeaderLength > 0, let segments = additionalSegments(of: command, header) {
            if let extended = segments.extendedCDB { block = extended }
            if command.isWrite { readLength = Int(segments.bidirectionalReadLength ?? 0) }
        }
        slot.expectedDataOutLength = command.isWrite ? Int(command.expectedDataTransferLength) : 0
        slot.expectedDataInLength = command.isRead ? readLength : 0
        slot.task.prepare(
            block, logicalUnitNumber: command.logicalUnitNumber, attribute: command.taskAttribute ?? .simple,
            expectedDataInLength: slot.expectedDataInLength, expectedDataOutLength: slot.expectedDataOutLength)
        switch UnsolicitedData(command, parameters: parameters) {
        case .unexpected: return refuse(slot, .unexpectedUnsolicitedData)
        case .tooMuch: return refuse(slot, .incorrectAmountOfData)
        case .allowed(let dataOutFollows):
            if dataOutFollows {
                slot.unsolicitedData = DataOutSequence(
                    unsolicitedAfter: command.dataSegmentLength, expectedLength: slot.expectedDataOutLength,
                    parameters: parameters)
            } else if command.dataSegmentLength == 0 {
                return true
            }
        }
        let capacity = min(slot.expectedDataOutLength, BufferPool.maximumLeaseLength)
        slot.task.dataOut = reactor.pool.lease(capacity: capacity)
        let isLeased = slot.task.dataOut != nil
        return isLeased || refuse(slot, .outOfBuffers)
    }

    /// Answers a command that the devices have not seen; gives false for the caller to pass on.
    private func refuse(_ slot: CommandSlot, _ failure: TransportFailure) -> Bool {
        if slot.isHeld {
            // Its CmdSN must be used up in its turn.
            slot.transportFailure = failure
            slot.isCancelled = true
            return false
        }
        respond(slot, failure)
        deliverHeld()
        return false
    }

    /// Whether what has that CmdSN, which is ahead of its turn, is here already.
    func hasReceived(_ cmdSN: SequenceNumber) -> Bool {
        guard let session else { return false }
        return session.isHolding(cmdSN) || session.isSkipping(cmdSN) || held.contains { $0.cmdSN == cmdSN }
    }

    /// The command and its immediate data are here: gives it to its logical unit when its turn is.
    func finishCommand(_ slot: CommandSlot, dataLength: Int, isDataValid: Bool) {
        slot.receivedDataOut = dataLength
        if !isDataValid {
            // The data is useless, so the command ends here (section 7.8); its CmdSN is used up.
            let header = rejectedHeader(of: slot)
            reject(header.bytes, .dataDigestError)
            _ = refuse(slot, .dataDigestError)
            return
        }
        guard !slot.isHeld else { return }
        session?.nexus?.submit(slot.task)
        deliverHeld()
    }

    /// The header of a command as far as Reject needs it.
    private func rejectedHeader(of slot: CommandSlot) -> BasicHeaderSegment {
        var command = SCSICommandPDU()
        command.initiatorTaskTag = slot.initiatorTaskTag
        command.logicalUnitNumber = slot.logicalUnitNumber
        command.cmdSN = slot.cmdSN
        command.cdb = slot.task.commandDescriptorBlock
        return BasicHeaderSegment(command)
    }

    /// Delivers what waited for the CmdSN that has just been delivered.
    func deliverHeld() {
        guard let session, session.heldCount > 0 || session.skippedCount > 0 || !held.isEmpty else { return }
        while isOpen {
            if let slot = session.takeNextHeld() {
                _ = session.window.receive(slot.cmdSN, isImmediate: false)
                if let failure = slot.transportFailure {
                    respond(slot, failure)
                } else if slot.isCancelled {
                    session.free(slot)
                } else {
                    session.nexus?.submit(slot.task)
                }
            } else if session.takeNextSkipped() {
                _ = session.window.receive(session.window.expCmdSN, isImmediate: false)
            } else if let position = held.firstIndex(where: { $0.cmdSN == session.window.expCmdSN }) {
                let request = held.remove(at: position)
                receiveControl(request.header.bytes, request.data.rawSpan)
            } else {
                return
            }
        }
    }

    // MARK: Data-Out

    /// Asks for the Data-Out that the device wants and that is not here, or says that all of it is.
    func progressDataOut(_ slot: CommandSlot) {
        // Unsolicited data comes to its end first: R2Ts begin behind it (section 13.14).
        guard slot.requestedDataOut > 0, slot.unsolicitedData == nil else { return }
        if slot.receivedDataOut >= slot.requestedDataOut { return deliverDataOut(slot) }
        if slot.transferPlan == nil {
            let isLeased = slot.task.dataOut != nil || leaseDataOut(slot)
            guard isLeased else { return fail(slot, .outOfBuffers) }
            slot.transferPlan = ReadyToTransferPlan(
                from: slot.receivedDataOut, to: slot.requestedDataOut, burstLimit: parameters.maxBurstLength,
                outstandingLimit: min(parameters.maxOutstandingR2T, CommandSlot.maximumOutstandingTransfers))
        }
        solicit(slot)
    }

    private func leaseDataOut(_ slot: CommandSlot) -> Bool {
        slot.task.dataOut = reactor.pool.lease(capacity: slot.requestedDataOut)
        return slot.task.dataOut != nil
    }

    /// All the data that the device asked for is here; what came beyond it is left out.
    private func deliverDataOut(_ slot: CommandSlot) {
        if var lease = slot.task.dataOut.take() {
            lease.setCount(slot.requestedDataOut)
            slot.task.dataOut = consume lease
        }
        session?.counters.count(received: slot.receivedDataOut)
        slot.requestedDataOut = 0
        slot.task.dataOutArrived()
    }

    /// Sends R2Ts as far as the initiator takes them.
    private func solicit(_ slot: CommandSlot) {
        guard let session else { return }
        while let request = slot.transferPlan?.next() {
            var pdu = ReadyToTransferPDU()
            pdu.logicalUnitNumber = slot.logicalUnitNumber
            pdu.initiatorTaskTag = slot.initiatorTaskTag
            pdu.targetTransferTag = slot.addTransfer(request)
            pdu.statSN = status.next
            pdu.expCmdSN = session.window.expCmdSN
            pdu.maxCmdSN = session.window.maxCmdSN
            pdu.r2tSN = request.r2tSN
            pdu.bufferOffset = UInt32(request.offset)
            pdu.desiredDataTransferLength = UInt32(request.length)
            guard send(pdu) else { return }
        }
    }

    /// Takes a Data-Out's header: the slot whose lease the data continues, or nil when it is to be discarded.
    func beginDataOut(_ header: RawSpan) -> CommandSlot? {
        guard let session, let pdu = DataOutPDU(parsing: header) else { return nil }
        // Data of a command or R2T that has ended already is discarded (section 7.6).
        let slot: CommandSlot
        do throws(DataOutError) {
            if pdu.targetTransferTag == reservedTag {
                guard let found = session.slot(withTag: pdu.initiatorTaskTag), var sequence = found.unsolicitedData
                else { return nil }
                slot = found
                slot.dataOutProgress = try sequence.receive(pdu)
                slot.unsolicitedData = sequence
            } else {
                guard
                    let found = session.slot(at: CommandSlot.index(ofTag: pdu.targetTransferTag)),
                    var transfer = found.currentTransfer, transfer.tag == pdu.targetTransferTag,
                    found.initiatorTaskTag == pdu.initiatorTaskTag
                else { return nil }
                slot = found
                slot.dataOutProgress = try transfer.sequence.receive(pdu)
                slot.currentTransfer = transfer
            }
        } catch {
            fail(slot, .incorrectAmountOfData)
            return nil
        }
        // A device that was content with less than the unsolicited data has the lease by now.
        guard slot.task.dataOut != nil, slot.receivedDataOut + pdu.dataSegmentLength <= leaseCapacity(slot) else {
            fail(slot, .incorrectAmountOfData)
            return nil
        }
        return slot
    }

    private func leaseCapacity(_ slot: CommandSlot) -> Int {
        guard let lease = slot.task.dataOut.take() else { return 0 }
        let capacity = lease.capacity
        slot.task.dataOut = consume lease
        return capacity
    }

    /// A Data-Out is complete and its data in the lease.
    func finishDataOut(_ slot: CommandSlot, _ header: RawSpan, dataLength: Int, isDataValid: Bool) {
        guard isDataValid else {
            reject(header, .dataDigestError)
            return fail(slot, .dataDigestError)
        }
        slot.receivedDataOut += dataLength
        guard slot.dataOutProgress == .complete else { return }
        if slot.unsolicitedData != nil {
            slot.unsolicitedData = nil
        } else {
            slot.removeCurrentTransfer()
        }
        progressDataOut(slot)
    }

    /// Ends a command whose data transfer went wrong: the answer follows as soon as the device lets go of the task.
    private func fail(_ slot: CommandSlot, _ failure: TransportFailure) {
        guard slot.transportFailure == nil else { return }
        slot.removeTransfers()
        slot.transportFailure = failure
        if slot.isHeld || slot.task.nexus == nil {
            slot.isCancelled = true
        } else {
            slot.task.abort()
        }
    }
}
