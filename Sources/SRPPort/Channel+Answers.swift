internal import Bytes
internal import Fabric
internal import Platform
internal import SCSI
internal import SRP
internal import TargetCore

// The end of requests: Data-In, SRP_RSP and the credits that it brings (SRP r16a clauses 5.3 and 6.9).
extension Channel {
    /// Begins the answer to a command that the devices have ended, or that the port refuses.
    func answer(_ slot: CommandSlot) {
        slot.phase = .answering
        guard slot.failure == nil, let lease = slot.task.dataIn.lease.take() else { return beginAnswer(slot) }
        slot.dataInLength = lease.count
        slot.reserved = lease.capacity
        reserved += lease.capacity
        let count = min(lease.count, Int(slot.dataIn.dataLength))
        slot.task.dataIn.lease = consume lease
        guard count > 0, case .indirect(let indirect) = slot.dataIn, !indirect.isListComplete else {
            return beginAnswer(slot)
        }
        slot.phase = .reading
        slot.goal = .inTable
        slot.cursor = TransferCursor(total: Int(indirect.table.dataLength))
        readers.append(slot, of: slots)
    }

    /// Puts the answer behind those that were begun before.
    func beginAnswer(_ slot: CommandSlot) {
        let count = slot.failure == nil ? min(slot.dataInLength, Int(slot.dataIn.dataLength)) : 0
        slot.goal = .dataIn
        slot.cursor = TransferCursor(total: count)
        answers.append(slot, of: slots)
    }

    func postAnswers() {
        while state == .serving, !answers.isEmpty, hasRoom {
            let slot = slots[answers.first]
            if slot.phase == .answering, !slot.cursor.isDone {
                guard postWrite(slot) else { return }
                continue
            }
            guard let place = freePlaces.popLast() else { return }
            answers.removeFirst(of: slots)
            respond(slot, places[place])
        }
    }

    private func postWrite(_ slot: CommandSlot) -> Bool {
        guard let pair, let buffers, let (piece, after) = nextPiece(slot, pair),
            let entry = buffers.entry(in: slot.task.dataIn, piece)
        else { return false }
        // The response behind them reports their end; one in the last place reports that there is room again.
        let isLast = pair.freeSends == SRPPortLimits.reservedSends + 1
        let options: WorkOptions = isLast ? .signaled : []
        let result = pair.write(entry, to: piece.address, key: piece.key, id: WorkID(.write).word, options: options)
        guard result == .posted else { return false }
        slot.cursor = after
        return true
    }

    /// Sends the response, whose completion gives the Data-In back; the slot is free at once.
    private func respond(_ slot: CommandSlot, _ place: AnswerPlace) {
        var response = SRPResponse()
        response.tag = slot.header.tag
        var bytes = InlineArray<292, UInt8>(repeating: 0)
        var length = 0
        if let code = slot.responseCode {
            response.responseCode = code
            response.isSolicited = slot.header.solicitation.isSolicited(succeeded: code == .complete)
        } else {
            fill(&response, slot)
        }
        let sense = slot.responseCode == nil ? senseData(of: slot) : nil
        let isDescriptorFormat = slot.task.nexus?.logicalUnit.usesDescriptorSense ?? false
        if slot.responseCode == nil, slot.failure == nil { port.counters.count(sent: slot.cursor.total) }
        place.data.lease = slot.task.dataIn.lease.take()
        place.reserved = slot.reserved
        slot.reserved = 0
        postedAnswers += 1
        // Its own credit, and those of requests without an answer.
        release(slot)
        response.requestLimitDelta = Int32(untoldCredits)
        credits += untoldCredits
        untoldCredits = 0
        bytes.modifyBytes { target in
            if let sense {
                let start = response.sense.lowerBound
                response.senseLength = 1
                let senseLength = sense.write(into: &target, at: start, isDescriptorFormat: isDescriptorFormat)
                response.senseLength = senseLength
                response.encode(into: &target)
                _ = sense.write(into: &target, at: start, isDescriptorFormat: isDescriptorFormat)
            } else {
                response.encode(into: &target)
            }
            length = response.length
        }
        guard let pair, let entry = buffers?.store(bytes.rawSpan.extracting(0..<length), in: place.index) else {
            return
        }
        var options: WorkOptions = response.isSolicited ? [.signaled, .solicited] : .signaled
        if length <= pair.capabilities.inlineLength { options.insert(.inline) }
        // Where it cannot be posted the channel is about to end, and the device may still use the Data-In until then.
        _ = pair.send(entry, id: WorkID(.answer, place.index).word, options: options)
    }

    private func senseData(of slot: CommandSlot) -> Sense? {
        if let failure = slot.failure { return failure.sense.map { .fields($0) } }
        return slot.task.status == .checkCondition ? slot.task.reportedSense : nil
    }

    /// Status and residuals of a command.
    private func fill(_ response: inout SRPResponse, _ slot: CommandSlot) {
        if slot.failure == .requestFieldsInvalid { response.responseCode = .requestFieldsInvalid }
        response.status = slot.failure?.status ?? slot.task.status
        let moved = slot.failure == nil
        response.dataOutResidual = SRPResidual(
            expected: Int(slot.dataOut.dataLength), actual: moved ? slot.task.requestedDataOutLength : 0)
        response.dataInResidual = SRPResidual(
            expected: Int(slot.dataIn.dataLength), actual: moved ? slot.dataInLength : 0)
        response.isSolicited = slot.header.solicitation.isSolicited(succeeded: response.status == .good)
        port.counters.countCommand()
    }

    /// A response, and all that was posted before it, has ended.
    func answerEnded(_ place: AnswerPlace) {
        place.data.lease = nil
        reserved -= place.reserved
        place.reserved = 0
        freePlaces.append(place.index)
        endedAnswers += 1
        if let session, !session.fences.isEmpty { session.advanceFences() }
    }

    // MARK: SRP_CRED_REQ

    /// Tells the initiator of credits that no response is about to bring (SRP r16a clause 6.10).
    func requestCredits() {
        guard untoldCredits > 0, !isCreditRequestOutstanding, state == .serving else { return }
        guard busySlots == 0 || credits * 2 <= sizes.requestLimit else { return }
        sendCreditRequest()
    }

    /// Sends SRP_CRED_REQ with the credits that there are, perhaps none.
    func sendCreditRequest() {
        // The last one is that of SRP_T_LOGOUT.
        guard let pair, pair.freeSends > 1 else { return }
        var request = SRPCreditRequest()
        request.requestLimitDelta = Int32(untoldCredits)
        request.isSolicited = solicitsCreditRequests
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        bytes.modifyBytes { request.encode(into: &$0) }
        guard let entry = buffers?.store(bytes.rawSpan, in: 0) else { return }
        let options: WorkOptions = request.isSolicited ? [.signaled, .solicited] : .signaled
        guard pair.send(entry, id: WorkID(.creditRequest).word, options: options) == .posted else { return }
        isCreditRequestOutstanding = true
        credits += untoldCredits
        untoldCredits = 0
    }
}
