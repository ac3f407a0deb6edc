internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

// R2T and SCSI Data-Out (RFC 7143 sections 7.8, 7.9, 11.7 and 11.8).
extension StreamDatamover {
    func getData(_ slot: CommandSlot) {
        if slot.dataOut.plan == nil {
            slot.dataOut.plan = ReadyToTransferPlan(
                from: slot.dataOut.received, to: slot.dataOut.requested, burstLimit: parameters.maxBurstLength,
                outstandingLimit: min(parameters.maxOutstandingR2T, DataOutTransfer.maximumOutstanding),
                r2tSN: slot.dataOut.firstR2TSN)
        }
        while var plan = slot.dataOut.plan, let request = plan.next() {
            slot.dataOut.plan = plan
            let transfer = OutstandingTransfer(tag: slot.takeTransferTag(), request: request)
            slot.dataOut.append(transfer)
            guard sendReadyToTransfer(slot, request, tag: transfer.tag) else { return }
        }
    }

    @discardableResult
    func sendReadyToTransfer(_ slot: CommandSlot, _ request: ReadyToTransfer, tag: UInt32) -> Bool {
        guard let session = connection.session else { return false }
        var pdu = ReadyToTransferPDU()
        pdu.logicalUnitNumber = slot.logicalUnitNumber
        pdu.initiatorTaskTag = slot.initiatorTaskTag
        pdu.targetTransferTag = tag
        pdu.statSN = connection.nextStatSN
        pdu.expCmdSN = session.window.expCmdSN
        pdu.maxCmdSN = session.window.maxCmdSN
        pdu.r2tSN = request.r2tSN
        pdu.bufferOffset = UInt32(request.offset)
        pdu.desiredDataTransferLength = UInt32(request.length)
        return send(BasicHeaderSegment(pdu), data: RawSpan())
    }

    /// Takes a Data-Out's header: the slot whose lease the data continues, or nil when it is to be discarded.
    func beginDataOut(_ header: RawSpan) -> CommandSlot? {
        guard let session = connection.session, let pdu = DataOutPDU(parsing: header) else { return nil }
        // Data of a command or R2T that has ended already is discarded (section 7.6), and so is data that comes on
        // another connection than the command's (section 4.2.5.1).
        let slot: CommandSlot
        do throws(DataOutError) {
            if pdu.targetTransferTag == reservedTag {
                guard let found = session.slot(withTag: pdu.initiatorTaskTag),
                    found.connectionIndex == connection.connectionIndex,
                    var sequence = found.dataOut.unsolicited
                else { return nil }
                slot = found
                let isTaken = try take(pdu, slot, &sequence)
                slot.dataOut.unsolicited = sequence
                guard isTaken else {
                    if pdu.isFinal { recoverDataOut(slot) }
                    return nil
                }
            } else {
                // Sequences come in the order of their R2Ts, unless one of them was asked for again.
                let limit = parameters.errorRecoveryLevel > 0 ? DataOutTransfer.maximumOutstanding : 1
                guard
                    let found = session.slot(at: CommandSlot.index(ofTag: pdu.targetTransferTag)),
                    let position = found.dataOut.position(ofTag: pdu.targetTransferTag, limit: limit),
                    found.connectionIndex == connection.connectionIndex,
                    found.initiatorTaskTag == pdu.initiatorTaskTag, var transfer = found.dataOut[position]
                else { return nil }
                slot = found
                slot.dataOut.position = position
                let isTaken = try take(pdu, slot, &transfer.sequence)
                slot.dataOut[position] = transfer
                guard isTaken else {
                    if pdu.isFinal { recoverDataOut(slot) }
                    return nil
                }
            }
        } catch {
            connection.fail(slot, .incorrectAmountOfData)
            return nil
        }
        // A device that needed less than the unsolicited data has the lease by now.
        guard slot.task.dataOut.lease != nil, slot.dataOut.offset + pdu.dataSegmentLength <= leaseCapacity(slot) else {
            connection.fail(slot, .incorrectAmountOfData)
            return nil
        }
        return slot
    }

    /// Checks a Data-Out against its sequence; false when it is to be discarded because data before it is missing, and
    /// comes again.
    private func take(
        _ pdu: DataOutPDU, _ slot: CommandSlot, _ sequence: inout DataOutSequence
    ) throws(DataOutError) -> Bool {
        if sequence.isBroken { return false }
        if parameters.errorRecoveryLevel > 0, pdu.dataSN > sequence.dataSN, Int(pdu.bufferOffset) > sequence.offset {
            // PDUs were lost (section 7.9).
            sequence.breakOff(at: sequence.offset)
            return false
        }
        slot.dataOut.offset = sequence.offset
        slot.dataOut.progress = try sequence.receive(pdu)
        return true
    }

    private func leaseCapacity(_ slot: CommandSlot) -> Int {
        guard let lease = slot.task.dataOut.lease.take() else { return 0 }
        let capacity = lease.capacity
        slot.task.dataOut.lease = consume lease
        return capacity
    }

    /// A Data-Out is complete and its data in the lease.
    func finishDataOut(_ slot: CommandSlot, _ header: RawSpan, dataLength: Int, isDataValid: Bool) {
        // The command may have failed, or ended, while the data came.
        guard !slot.isAnswered, slot.transportFailure == nil, slot.dataOut.isOutstanding else { return }
        guard isDataValid else {
            connection.reject(header, .dataDigestError)
            guard parameters.errorRecoveryLevel > 0 else { return connection.fail(slot, .dataDigestError) }
            return breakOff(slot, isEnd: slot.dataOut.progress == .complete)
        }
        turnWork += dataLength
        slot.dataOut.received += dataLength
        guard slot.dataOut.progress == .complete else { return }
        if slot.dataOut.unsolicited != nil {
            slot.dataOut.unsolicited = nil
        } else {
            slot.dataOut.remove(slot.dataOut.position)
        }
        connection.progressDataOut(slot)
    }

    /// The data of a Data-Out was damaged: it is asked for again when its sequence has ended (section 7.8).
    func breakOff(_ slot: CommandSlot, isEnd: Bool) {
        slot.dataOut.breakOff()
        if isEnd { recoverDataOut(slot) }
    }

    /// Asks again for the rest of a sequence whose data was damaged or lost: a recovery R2T (section 7.8).
    private func recoverDataOut(_ slot: CommandSlot) {
        if slot.dataOut.unsolicited != nil {
            // R2Ts for what the device wants begin where the good data ends.
            slot.dataOut.unsolicited = nil
            return connection.progressDataOut(slot)
        }
        let position = slot.dataOut.position
        guard let transfer = slot.dataOut[position], slot.dataOut.plan != nil else { return }
        let rest = transfer.sequence.end - transfer.sequence.offset
        guard let request = slot.dataOut.plan?.recover(offset: transfer.sequence.offset, length: rest) else { return }
        let again = OutstandingTransfer(tag: slot.takeTransferTag(), request: request)
        slot.dataOut[position] = again
        sendReadyToTransfer(slot, request, tag: again.tag)
    }
}
