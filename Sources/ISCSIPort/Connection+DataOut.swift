internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// R2T and SCSI Data-Out (RFC 7143 sections 7.8, 7.9, 11.7 and 11.8).
extension Connection {
    /// Asks for the Data-Out that the device wants and that is not here, or says that all of it is.
    func progressDataOut(_ slot: CommandSlot) {
        // Unsolicited data comes to its end first: R2Ts begin behind it (section 13.14).
        guard slot.requestedDataOut > 0, slot.unsolicitedData == nil else { return }
        if slot.receivedDataOut >= slot.requestedDataOut { return deliverDataOut(slot) }
        if slot.transferPlan == nil {
            let isLeased = slot.task.dataOut != nil || leaseDataOut(slot)
            guard isLeased, session?.owe(slot, slot.requestedDataOut) == true else { return fail(slot, .outOfBuffers) }
            slot.transferPlan = ReadyToTransferPlan(
                from: slot.receivedDataOut, to: slot.requestedDataOut, burstLimit: parameters.maxBurstLength,
                outstandingLimit: min(parameters.maxOutstandingR2T, CommandSlot.maximumOutstandingTransfers),
                r2tSN: slot.firstR2TSN)
        }
        solicit(slot)
    }

    private func leaseDataOut(_ slot: CommandSlot) -> Bool {
        slot.task.dataOut = reactor.pool.lease(capacity: slot.requestedDataOut)
        return slot.task.dataOut != nil
    }

    /// All the data that the device asked for is here; what came beyond it is left out.
    private func deliverDataOut(_ slot: CommandSlot) {
        slot.task.dataOut?.setCount(slot.requestedDataOut)
        session?.counters.count(received: slot.receivedDataOut)
        turnWork += slot.receivedDataOut
        if slot.owedDataOut > 0 { session?.settleDataOut(slot) }
        slot.requestedDataOut = 0
        slot.task.dataOutArrived()
    }

    /// Sends R2Ts as far as the initiator takes them.
    private func solicit(_ slot: CommandSlot) {
        guard let session else { return }
        while let request = slot.transferPlan?.next() {
            guard sendReadyToTransfer(slot, request, tag: slot.addTransfer(request), in: session) else { return }
        }
    }

    @discardableResult
    func sendReadyToTransfer(
        _ slot: CommandSlot, _ request: ReadyToTransfer, tag: UInt32, in session: Session
    ) -> Bool {
        var pdu = ReadyToTransferPDU()
        pdu.logicalUnitNumber = slot.logicalUnitNumber
        pdu.initiatorTaskTag = slot.initiatorTaskTag
        pdu.targetTransferTag = tag
        pdu.statSN = status.next
        pdu.expCmdSN = session.window.expCmdSN
        pdu.maxCmdSN = session.window.maxCmdSN
        pdu.r2tSN = request.r2tSN
        pdu.bufferOffset = UInt32(request.offset)
        pdu.desiredDataTransferLength = UInt32(request.length)
        return send(pdu)
    }

    /// Takes a Data-Out's header: the slot whose lease the data continues, or nil when it is to be discarded.
    func beginDataOut(_ header: RawSpan) -> CommandSlot? {
        guard let session, let pdu = DataOutPDU(parsing: header) else { return nil }
        // Data of a command or R2T that has ended already is discarded (section 7.6), and so is data that comes on another
        // connection than the command's (section 4.2.5.1).
        let slot: CommandSlot
        do throws(DataOutError) {
            if pdu.targetTransferTag == reservedTag {
                guard let found = session.slot(withTag: pdu.initiatorTaskTag), found.place == place,
                    var sequence = found.unsolicitedData
                else { return nil }
                slot = found
                let isTaken = try take(pdu, slot, &sequence)
                slot.unsolicitedData = sequence
                guard isTaken else {
                    if pdu.isFinal { recoverDataOut(slot) }
                    return nil
                }
            } else {
                // Sequences come in the order of their R2Ts, unless one of them was asked for again.
                let limit = parameters.errorRecoveryLevel > 0 ? CommandSlot.maximumOutstandingTransfers : 1
                guard
                    let found = session.slot(at: CommandSlot.index(ofTag: pdu.targetTransferTag)),
                    let position = found.position(ofTransfer: pdu.targetTransferTag, limit: limit),
                    found.place == place,
                    found.initiatorTaskTag == pdu.initiatorTaskTag, var transfer = found[transfer: position]
                else { return nil }
                slot = found
                slot.dataOutTransfer = position
                let isTaken = try take(pdu, slot, &transfer.sequence)
                slot[transfer: position] = transfer
                guard isTaken else {
                    if pdu.isFinal { recoverDataOut(slot) }
                    return nil
                }
            }
        } catch {
            fail(slot, .incorrectAmountOfData)
            return nil
        }
        // A device that was content with less than the unsolicited data has the lease by now.
        guard slot.task.dataOut != nil, slot.dataOutOffset + pdu.dataSegmentLength <= leaseCapacity(slot) else {
            fail(slot, .incorrectAmountOfData)
            return nil
        }
        return slot
    }

    /// Checks a Data-Out against its sequence; false when it is to be discarded because data before it is missing, and comes again.
    private func take(
        _ pdu: DataOutPDU, _ slot: CommandSlot, _ sequence: inout DataOutSequence
    ) throws(DataOutError) -> Bool {
        if sequence.isBroken { return false }
        if parameters.errorRecoveryLevel > 0, pdu.dataSN > sequence.dataSN, Int(pdu.bufferOffset) > sequence.offset {
            // PDUs were lost (section 7.9).
            sequence.breakOff(at: sequence.offset)
            return false
        }
        slot.dataOutOffset = sequence.offset
        slot.dataOutProgress = try sequence.receive(pdu)
        return true
    }

    private func leaseCapacity(_ slot: CommandSlot) -> Int {
        guard let lease = slot.task.dataOut.take() else { return 0 }
        let capacity = lease.capacity
        slot.task.dataOut = consume lease
        return capacity
    }

    /// A Data-Out is complete and its data in the lease.
    func finishDataOut(_ slot: CommandSlot, _ header: RawSpan, dataLength: Int, isDataValid: Bool) {
        // The command may have failed while the data came.
        guard !slot.isAnswered, slot.transportFailure == nil else { return }
        guard isDataValid else {
            reject(header, .dataDigestError)
            guard parameters.errorRecoveryLevel > 0 else { return fail(slot, .dataDigestError) }
            return breakOff(slot, isEnd: slot.dataOutProgress == .complete)
        }
        slot.receivedDataOut += dataLength
        guard slot.dataOutProgress == .complete else { return }
        if slot.unsolicitedData != nil {
            slot.unsolicitedData = nil
        } else {
            slot.removeTransfer(slot.dataOutTransfer)
        }
        progressDataOut(slot)
    }

    /// The data of a Data-Out was damaged: it is asked for again when its sequence has ended (section 7.8).
    func breakOff(_ slot: CommandSlot, isEnd: Bool) {
        if slot.unsolicitedData != nil {
            slot.unsolicitedData?.breakOff(at: slot.dataOutOffset)
        } else if var transfer = slot[transfer: slot.dataOutTransfer] {
            transfer.sequence.breakOff(at: slot.dataOutOffset)
            slot[transfer: slot.dataOutTransfer] = transfer
        }
        if isEnd { recoverDataOut(slot) }
    }

    /// Asks again for the rest of a sequence whose data was damaged or lost: a recovery R2T (section 7.8).
    private func recoverDataOut(_ slot: CommandSlot) {
        guard let session else { return }
        if slot.unsolicitedData != nil {
            // R2Ts for what the device wants begin where the good data ends.
            slot.unsolicitedData = nil
            return progressDataOut(slot)
        }
        let position = slot.dataOutTransfer
        guard let transfer = slot[transfer: position], slot.transferPlan != nil else { return }
        let rest = transfer.sequence.end - transfer.sequence.offset
        guard let request = slot.transferPlan?.recover(offset: transfer.sequence.offset, length: rest) else { return }
        sendReadyToTransfer(slot, request, tag: slot.replaceTransfer(position, by: request), in: session)
    }

    /// Ends a command whose data transfer went wrong: the answer follows as soon as the device lets go of the task.
    func fail(_ slot: CommandSlot, _ failure: TransportFailure) {
        guard slot.transportFailure == nil else { return }
        slot.removeTransfers()
        session?.settleDataOut(slot)
        slot.transportFailure = failure
        if slot.isHeld || slot.task.nexus == nil {
            slot.isCancelled = true
        } else {
            slot.task.abort()
        }
    }
}
