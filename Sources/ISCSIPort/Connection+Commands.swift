internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// SCSI Command (RFC 7143 section 11.3).
extension Connection {
    /// Takes a command's header: a slot with room for its immediate data, or nil when the command is ignored or was
    /// answered already, and its data segment is to be discarded.
    func beginCommand(_ header: RawSpan) -> CommandSlot? {
        guard let session, let command = SCSICommandPDU(parsing: header) else { return nil }
        var window = session.window
        let verdict = window.receive(command.cmdSN, isImmediate: command.isImmediate)
        switch verdict {
        case .ignore: return nil
        case .keep where session.order.contains(command.cmdSN): return nil
        // The first command that is expected may be here, but for its data or for the turn that it waits for.
        case .deliver where !session.order.isEmpty && !command.isImmediate && session.order.contains(command.cmdSN):
            return nil
        case .deliver, .keep: break
        }
        // The CmdSN of a rejected command does not count as received: the initiator closes the gap with another command
        // of that CmdSN or with ABORT TASK (section 7.3).
        if let reason = refusal(of: command, header, in: session) {
            reject(header, reason)
            return nil
        }
        guard let slot = session.takeSlot(isImmediate: command.isImmediate) else {
            reject(header, .tooManyImmediateCommands)
            return nil
        }
        slot.begin(command, connectionIndex: connectionIndex)
        session.setTag(of: slot)
        if command.dataSegmentLength > 0, !command.isImmediate, session.ordersArrivals {
            slot.isArriving = true
            session.hold(slot)
        } else {
            session.window = window
            if case .keep = verdict { session.hold(slot) }
        }
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
                slot.dataOut.unsolicited = DataOutSequence(
                    unsolicitedAfter: command.dataSegmentLength, expectedLength: slot.expectedDataOutLength,
                    parameters: parameters)
            } else if command.dataSegmentLength == 0 {
                return true
            }
        }
        let capacity = min(slot.expectedDataOutLength, BufferPool.maximumLeaseLength)
        let mayLease = slot.dataOut.unsolicited == nil && !slot.isHeld || session?.owe(slot, capacity) == true
        if mayLease { slot.task.dataOut.lease = reactor.pool.lease(capacity: capacity) }
        let isLeased = slot.task.dataOut.lease != nil
        return isLeased || refuse(slot, .outOfBuffers)
    }

    /// Answers a command that the devices have not seen; gives false for the caller to pass on.
    private func refuse(_ slot: CommandSlot, _ failure: TransportFailure) -> Bool {
        if slot.isHeld {
            // Its CmdSN must be used up in its turn.
            slot.transportFailure = failure
            slot.isCancelled = true
            session?.endArrival(of: slot)
            slot.task.dataOut.lease = nil
            session?.settleDataOut(slot)
        } else {
            respond(slot, failure)
        }
        session?.deliverHeld()
        return false
    }

    /// The command and its immediate data are here: gives it to its logical unit when its turn is.
    func finishCommand(_ slot: CommandSlot, dataLength: Int, isDataValid: Bool) {
        guard let session else { return }
        slot.dataOut.received = dataLength
        if !isDataValid {
            let header = rejectedHeader(of: slot)
            reject(header.bytes, .dataDigestError)
            if parameters.errorRecoveryLevel > 0, !slot.isCancelled {
                // The initiator sends the command again, with the same CmdSN (sections 7.2.1 and 7.8).
                session.free(slot)
            } else {
                // Nobody sends it again, so the command ends here and its CmdSN is used up.
                _ = refuse(slot, .dataDigestError)
            }
            return
        }
        if slot.isArriving {
            session.endArrival(of: slot)
        } else if !slot.isHeld, let failure = slot.transportFailure {
            // Its data took too long: it has failed before it reached its logical unit.
            _ = refuse(slot, failure)
            return
        } else if !slot.isHeld {
            session.submit(slot)
        }
        session.deliverHeld()
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
}
