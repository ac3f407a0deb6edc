internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI

/// What comes in.
extension LoadConnection {
    /// Handles all complete PDUs in `bytes` and keeps the rest. Data-In is handled as it comes, in pieces.
    func handle(_ bytes: RawSpan, now: Int64) {
        var offset = 0
        while state.isRunning {
            if state.incoming != nil {
                guard takeData(bytes, &offset, now) else { break }
                continue
            }
            guard offset < bytes.byteCount else { break }
            let available = bytes.extracting(offset..<bytes.byteCount)
            let layout: PDULayout
            switch inputFramer.frame(available) {
            case .needsHeader: return keep(available)
            case .failed(let error): return fail(.framing(error))
            case .header(let found): layout = found
            }
            if let dataIn = DataInPDU(parsing: available) {
                guard begin(dataIn, layout, now) else { return }
                offset += layout.dataOffset
                continue
            }
            guard layout.totalLength <= Self.smallPDULimit else {
                return fail(.protocolViolation("a PDU of opcode \(available.opcode.rawValue) is too long"))
            }
            guard available.byteCount >= layout.totalLength else { return keep(available) }
            handleSmall(available, layout, now)
            offset += layout.totalLength
        }
        if offset == bytes.byteCount || !state.isRunning {
            state.keptCount = 0
        } else {
            keep(bytes.extracting(offset..<bytes.byteCount))
        }
    }

    /// Keeps the start of a PDU for the next time.
    private func keep(_ rest: RawSpan) {
        state.kept.modifyBytes { $0.store(rest, at: 0) }
        state.keptCount = rest.byteCount
    }

    private func note(_ maxCmdSN: SequenceNumber) {
        if state.maxCmdSN.precedes(maxCmdSN) { state.maxCmdSN = maxCmdSN }
    }

    /// The slot of a tag, or nil when no command has it.
    private func slot(of tag: UInt32) -> Int? {
        let index = Int(tag & 0xFFFF)
        guard index < state.slots.count, state.slots[index].isActive,
            state.slots[index].generation == UInt16(tag >> 16)
        else { return nil }
        return index
    }

    private func failUnknownTask(_ opcode: Opcode) {
        fail(.protocolViolation("a PDU of opcode \(opcode.rawValue) came for a task that is not there"))
    }

    // MARK: Data-In

    /// Notes a Data-In PDU whose data follows; false when the connection has failed.
    private func begin(_ dataIn: DataInPDU, _ layout: PDULayout, _ now: Int64) -> Bool {
        note(dataIn.maxCmdSN)
        guard let slot = slot(of: dataIn.initiatorTaskTag), !state.slots[slot].command.isWrite else {
            failUnknownTask(.dataIn)
            return false
        }
        if dataIn.dataSegmentLength == 0 {
            finish(dataIn, slot, now)
        } else {
            state.slots[slot].received += dataIn.dataSegmentLength
            state.incoming = IncomingData(
                header: dataIn, remaining: layout.paddedDataLength + layout.dataDigestLength)
        }
        return true
    }

    /// Takes what is there of the data of a Data-In PDU; false when something is missing.
    private func takeData(_ bytes: RawSpan, _ offset: inout Int, _ now: Int64) -> Bool {
        guard var incoming = state.incoming else { return true }
        let available = bytes.byteCount - offset
        if inputFramer.hasDataDigest {
            let data = min(available, incoming.remaining - PDUFramer.digestLength)
            if data > 0 {
                incoming.checksum = CRC32C.checksum(
                    bytes.extracting(offset..<(offset + data)), previous: incoming.checksum)
                incoming.remaining -= data
                offset += data
                state.incoming = incoming
            }
            guard incoming.remaining == PDUFramer.digestLength, bytes.byteCount - offset >= incoming.remaining else {
                return false
            }
            guard bytes.loadBE32(at: offset) == incoming.checksum.byteSwapped else {
                fail(.dataDigest)
                return false
            }
            offset += PDUFramer.digestLength
        } else {
            let data = min(available, incoming.remaining)
            offset += data
            guard data == incoming.remaining else {
                state.incoming?.remaining -= data
                return false
            }
        }
        state.incoming = nil
        if let slot = slot(of: incoming.header.initiatorTaskTag) { finish(incoming.header, slot, now) }
        return true
    }

    /// The data of a Data-In PDU is there: with status the command is over.
    private func finish(_ dataIn: DataInPDU, _ slot: Int, _ now: Int64) {
        guard dataIn.hasStatus else { return }
        state.expStatSN = dataIn.statSN.advanced(by: 1)
        let empty: [UInt8] = []
        complete(slot, dataIn.status, sense: empty.rawSpan, now)
    }

    // MARK: Other PDUs

    private func handleSmall(_ pdu: RawSpan, _ layout: PDULayout, _ now: Int64) {
        let data = pdu.extracting(layout.dataOffset..<(layout.dataOffset + layout.dataSegmentLength))
        switch pdu.opcode {
        case .scsiResponse:
            guard let response = SCSIResponsePDU(parsing: pdu) else { return }
            note(response.maxCmdSN)
            state.expStatSN = response.statSN.advanced(by: 1)
            guard let slot = slot(of: response.initiatorTaskTag) else { return failUnknownTask(.scsiResponse) }
            guard response.response == SCSIResponsePDU.completedAtTarget else {
                return finish(slot, error: "iSCSI response \(response.response)")
            }
            // The segment begins with the length of the sense data.
            complete(
                slot, response.status, sense: data.extracting(min(2, data.byteCount)..<data.byteCount), now)
        case .readyToTransfer:
            guard let request = ReadyToTransferPDU(parsing: pdu) else { return }
            note(request.maxCmdSN)
            receive(request)
        case .nopIn:
            guard let ping = NOPInPDU(parsing: pdu) else { return }
            note(ping.maxCmdSN)
            if ping.targetTransferTag != reservedTag { answer(ping) }
        case .asyncMessage:
            guard let message = AsyncMessagePDU(parsing: pdu) else { return }
            note(message.maxCmdSN)
            state.expStatSN = message.statSN.advanced(by: 1)
            if message.event == .logoutRequested { fail(.connectionClosed) }
        case .reject:
            fail(.rejected(RejectPDU(parsing: pdu)?.reason ?? .protocolError))
        default:
            fail(.protocolViolation("it sent a PDU of opcode \(pdu.opcode.rawValue)"))
        }
    }

    private func receive(_ request: ReadyToTransferPDU) {
        guard let slot = slot(of: request.initiatorTaskTag), state.slots[slot].command.isWrite else {
            return failUnknownTask(.readyToTransfer)
        }
        let offset = Int(request.bufferOffset)
        let end = offset + Int(request.desiredDataTransferLength)
        guard end > offset, end <= state.slots[slot].command.length else {
            return fail(.protocolViolation("an R2T asks for data beyond the command's"))
        }
        let isNoted = append(
            Transfer(
                tag: request.initiatorTaskTag, targetTransferTag: request.targetTransferTag, offset: offset, end: end))
        if !isNoted { fail(.protocolViolation("more R2Ts than MaxOutstandingR2T are open")) }
    }

    // MARK: Ends of commands

    /// A command has ended with that status and sense data.
    private func complete(_ slot: Int, _ status: SCSIStatus, sense bytes: RawSpan, _ now: Int64) {
        let command = state.slots[slot].command
        if status == .good {
            let isWhole = command.isWrite || state.slots[slot].received == command.length
            guard isWhole else {
                return finish(slot, error: "\(state.slots[slot].received) bytes came of \(command.length)")
            }
            if command.purpose == .transfer && state.isMeasuring { count(slot, now) }
            return free(slot)
        }
        if status == .busy || status == .taskSetFull {
            state.report.busyCount += 1
            return retry(slot)
        }
        guard status == .checkCondition, let sense = SenseData(parsing: bytes) else {
            return finish(slot, error: "SCSI status \(status.rawValue)")
        }
        if sense.key == .unitAttention, state.unitAttentions < Self.unitAttentionLimit {
            state.unitAttentions += 1
            return retry(slot)
        }
        if case .tape = plan.unit, endsTape(sense, command) {
            // Early warning: the record is on the tape.
            if sense.key == .noSense, command.isWrite, state.isMeasuring { count(slot, now) }
            return free(slot)
        }
        finish(slot, error: sense.summary)
    }

    /// Whether the sense data only says that the tape came to a filemark or an end; at an end the work turns back.
    private func endsTape(_ sense: SenseData, _ command: LoadCommand) -> Bool {
        if command.isWrite {
            guard sense.isEndOfMedium, sense.key == .noSense || sense.key == .volumeOverflow else { return false }
        } else {
            if sense.isFilemark { return true }
            guard sense.key == .blankCheck || sense.isEndOfMedium else { return false }
        }
        state.work.endOfTape()
        return true
    }

    private func count(_ slot: Int, _ now: Int64) {
        state.report.operations += 1
        state.report.bytes += state.slots[slot].command.length
        state.report.latencies.record(nanoseconds: now - state.slots[slot].startTime)
    }

    private func finish(_ slot: Int, error: String) {
        state.report.errors += 1
        if state.report.firstError == nil { state.report.firstError = error }
        free(slot)
    }

    /// Has the command sent again.
    private func retry(_ slot: Int) {
        state.slots[slot].isActive = false
        state.retrySlots.append(slot)
    }

    private func free(_ slot: Int) {
        state.slots[slot].isActive = false
        if !state.retrySlots.isEmpty { state.retryAllowance += 1 }
        state.freeSlots.append(slot)
    }
}
