internal import Bytes
internal import Fabric
internal import Platform
internal import SCSI
internal import SRP
internal import TargetCore

// What the initiator sends (SRP r16a clause 6).
extension Channel {
    /// Takes an information unit of `byteCount` bytes.
    func received(_ slot: CommandSlot, byteCount: Int) {
        hasHeard = true
        buffers?.withReceived(slot.index, count: byteCount) { take($0, slot) }
    }

    private func take(_ unit: RawSpan, _ slot: CommandSlot) {
        do throws(SRPError) {
            let header = try SRPHeader(parsing: unit)
            switch header.type {
            case .command, .taskManagement:
                guard credits > 0 else { return logOut(.unspecified) }
                credits -= 1
                busySlots += 1
                slot.header.tag = header.tag
                slot.header.solicitation = header.solicitation
                slot.phase = .device
                if header.type == .command {
                    try takeCommand(slot, unit)
                } else {
                    try takeFunction(slot, SRPTaskManagement(parsing: unit))
                }
            case .creditResponse:
                _ = try SRPCreditResponse(parsing: unit)
                guard isCreditRequestOutstanding else { return logOut(.unexpectedResponse) }
                isCreditRequestOutstanding = false
                postReceive(slot)
            case .asyncEventResponse: logOut(.unexpectedResponse)
            case .initiatorLogout:
                _ = try SRPInitiatorLogout(parsing: unit)
                leave()
            default: logOut(.invalidType)
            }
        } catch {
            remedy(error, slot)
        }
    }

    private func remedy(_ error: SRPError, _ slot: CommandSlot) {
        switch error.remedy {
        case .response:
            refuse(slot, .requestFieldsInvalid)
        case .targetLogout(let reason):
            if slot.phase != .free { release(slot) }
            logOut(reason)
        case .loginReject, .initiatorLogout:
            // No parser of requests gives these.
            if slot.phase != .free { release(slot) }
            logOut(.unspecified)
        }
    }

    // MARK: SRP_CMD

    private func takeCommand(_ slot: CommandSlot, _ unit: RawSpan) throws(SRPError) {
        let command = try SRPCommand(parsing: unit, rules: rules)
        slot.header.logicalUnitNumber = command.logicalUnitNumber
        slot.dataOut = command.dataOut
        slot.dataIn = command.dataIn
        slot.outList = command.dataOutList.lowerBound
        slot.inList = command.dataInList.lowerBound
        slot.immediateData = command.immediateDataOffset
        guard command.isCDBWhole else { return refuse(slot, .unknownCommand) }
        if let failure = leaseTable(of: command.dataOut, slot.outTable) ?? leaseTable(of: command.dataIn, slot.inTable)
        {
            return refuse(slot, failure)
        }
        slot.task.prepare(
            command.cdb, logicalUnitNumber: command.logicalUnitNumber, attribute: command.taskAttribute,
            expectedDataInLength: Int(command.dataIn.dataLength),
            expectedDataOutLength: Int(command.dataOut.dataLength))
        guard held.isEmpty, hasRoom(for: slot) else {
            slot.phase = .held
            return held.append(slot, of: slots)
        }
        submit(slot)
    }

    private func submit(_ slot: CommandSlot) {
        guard let session, let nexus = session.nexus else { return release(slot) }
        slot.phase = .device
        if session.record.hasOccupiedUnits, mustWait(slot, nexus, session.record) { return refuse(slot, .occupied) }
        nexus.submit(slot.task)
    }

    /// Whether the Data-In of a command may be on its way beside that of the others.
    private func hasRoom(for slot: CommandSlot) -> Bool {
        guard reserved > 0 else { return true }
        let (limits, pool) = (port.server.limits, port.reactor.pool)
        let share = max(limits.assuredDataIn, (pool.limit - pool.leasedBytes) / 2)
        return reserved + slot.longestDataIn <= min(limits.dataInBacklog, share)
    }

    /// Gives commands that were held to their logical units.
    func submitHeld() {
        while state == .serving, !held.isEmpty, hasRoom(for: slots[held.first]) {
            let slot = slots[held.first]
            held.removeFirst(of: slots)
            submit(slot)
        }
    }

    /// Sets memory for a table aside that is not all in the information unit: now, because a command that has been
    /// performed must not fail for want of it. Why it cannot be done, or nil.
    private func leaseTable(of buffer: SRPDataBuffer, _ place: borrowing LeasePlace) -> PortFailure? {
        guard case .indirect(let indirect) = buffer, !indirect.isListComplete else { return nil }
        guard indirect.tableCount <= port.server.limits.tableDescriptors else { return .requestFieldsInvalid }
        place.lease = port.reactor.pool.lease(capacity: Int(indirect.table.dataLength))
        return place.lease == nil ? .outOfBuffers : nil
    }

    /// Whether the unit works on commands of an ended session, which this one must not overtake.
    private func mustWait(_ slot: CommandSlot, _ nexus: ITNexus, _ record: NexusRecord) -> Bool {
        switch slot.task.commandDescriptorBlock.operationCode {
        // What discovers logical units depends on no medium.
        case OperationCode.inquiry, OperationCode.reportLUNs, OperationCode.requestSense: false
        default: (nexus.unitNexus(slot.header.logicalUnitNumber)?.logicalUnit).map(record.isOccupied) ?? false
        }
    }

    /// Answers a command that the devices have not seen.
    func refuse(_ slot: CommandSlot, _ failure: PortFailure) {
        slot.failure = failure
        answer(slot)
    }

    // MARK: The end

    /// Sends SRP_T_LOGOUT and disconnects when it has arrived.
    func logOut(_ reason: SRPTargetLogoutReason) {
        guard isServing else { return }
        let mayAnswer = state == .serving
        stopServing()
        let logout = SRPTargetLogout(reason, isSolicited: solicitsLogout)
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        bytes.modifyBytes { logout.encode(into: &$0) }
        guard mayAnswer, let pair, let entry = buffers?.store(bytes.rawSpan, in: 1) else {
            pair?.close()
            return
        }
        let options: WorkOptions = solicitsLogout ? [.signaled, .solicited] : .signaled
        guard pair.send(entry, id: WorkID(.logout).word, options: options) == .posted else { return pair.close() }
        wait(for: port.server.limits.logoutDuration)
    }

    /// SRP_I_LOGOUT: disconnects.
    func leave() {
        guard isServing else { return }
        stopServing()
        pair?.close()
    }

    /// Takes no more requests and begins no more transfers.
    private func stopServing() {
        stopConnecting()
        state = .closing
        session?.channelClosing(self)
    }
}
