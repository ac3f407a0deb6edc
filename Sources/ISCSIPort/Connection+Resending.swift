internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// Sending answers again (RFC 7143 section 11.16).
extension Connection {
    /// Sends again what was asked for, as far as there is room; false when the connection is over.
    func sendAgain() -> Bool {
        guard let recovery, let session else { return !isClosed }
        var sent = 0
        while !recovery.resends.isEmpty, hasRoomForData, !isWriteBlocked, sent < server.limits.turnOutput {
            let before = output.queuedBytes
            if let rest = sendAgain(recovery.resends[0], recovery, session) {
                recovery.resends[0] = rest
            } else if !isClosed {
                recovery.resends.removeFirst()
            }
            guard !isClosed else { return false }
            sent += output.queuedBytes - before
            if !hasRoomForData {
                guard flush() else { return false }
            }
        }
        return !isClosed
    }

    private var hasRoomForData: Bool {
        output.freeHeaderBytes > Self.dataInHeaderReserve && output.freePieces > Self.dataInPieceReserve
            && output.queuedBytes < server.limits.outputBacklog
    }

    /// Sends one PDU again and gives what is left.
    private func sendAgain(
        _ resend: ConnectionRecovery.Resend, _ recovery: ConnectionRecovery, _ session: Session
    ) -> ConnectionRecovery.Resend? {
        switch resend {
        case .answers(let next, let end):
            guard next.precedes(end) else { return nil }
            if let answer = recovery[next] { sendAgain(answer, statSN: next, session) }
            return .answers(next: next.advanced(by: 1), end: end)
        case .data(let reference, var plan, let end, let endsWithResponse):
            guard let slot = session.slot(reference), let payload = slot.payload else { return nil }
            if plan.dataSN < end, let segment = plan.next() {
                sendAgain(segment, of: slot, payload, session)
                return .data(reference, plan, end: end, endsWithResponse: endsWithResponse)
            }
            if endsWithResponse { sendResponseAgain(slot, session) }
            return nil
        }
    }

    private func sendAgain(_ answer: ConnectionRecovery.Answer, statSN: SequenceNumber, _ session: Session) {
        switch answer {
        case .command(let reference):
            guard let slot = session.slot(reference) else { return }
            if slot.isStatusInData, let payload = slot.payload, let plan = slot.dataInPlan,
                var start = slot.dataInStart,
                plan.dataSN > start.dataSN
            {
                start.skip(to: plan.dataSN - 1)
                if let last = start.next() { sendAgain(last, of: slot, payload, session) }
            } else {
                sendResponseAgain(slot, session)
            }
        case .other(var header, let data):
            let window = session.window
            header.modifyBytes { bytes in
                bytes.storeBE32(window.expCmdSN.rawValue, at: 28)
                bytes.storeBE32(window.maxCmdSN.rawValue, at: 32)
            }
            enqueue(RawHeader(segment: header), data: data.rawSpan)
        }
    }

    private func sendAgain(
        _ segment: DataInSegment, of slot: CommandSlot, _ payload: OutputQueue.Payload, _ session: Session
    ) {
        var pdu = DataInPDU()
        pdu.isFinal = segment.isFinal
        pdu.dataSegmentLength = segment.length
        pdu.initiatorTaskTag = slot.initiatorTaskTag
        pdu.dataSN = segment.dataSN
        pdu.bufferOffset = UInt32(segment.offset)
        requestAcknowledgement(&pdu, slot, segment)
        if segment.isLast, slot.isStatusInData, let statSN = statSN(of: slot) {
            pdu.hasStatus = true
            pdu.status = slot.task.status
            pdu.residual = slot.residual
            pdu.statSN = statSN
        }
        pdu.expCmdSN = session.window.expCmdSN
        pdu.maxCmdSN = session.window.maxCmdSN
        if appendData(pdu, payload, segment, releases: false) {
            scheduleTurnEnd()
        } else {
            close(.answersNotTaken)
        }
    }

    private func sendResponseAgain(_ slot: CommandSlot, _ session: Session) {
        guard let statSN = statSN(of: slot) else { return }
        let failure = slot.transportFailure
        let status = failure?.status ?? slot.task.status
        var response = response(of: slot, status: status)
        response.statSN = statSN
        response.expCmdSN = session.window.expCmdSN
        response.maxCmdSN = session.window.maxCmdSN
        let sense = failure == nil ? slot.task.reportedSense : failure?.sense.map { .fields($0) }
        send(
            response, sense: status == .checkCondition ? sense : nil,
            isDescriptorFormat: slot.task.nexus?.logicalUnit.usesDescriptorSense ?? false)
    }

    /// The StatSN that a command was answered with.
    private func statSN(of slot: CommandSlot) -> SequenceNumber? {
        guard slot.isAnswered, let recovery else { return nil }
        for offset in 0..<recovery.count {
            let statSN = recovery.first.advanced(by: offset)
            if case .command(let reference)? = recovery[statSN], reference.index == slot.index { return statSN }
        }
        return nil
    }
}

/// A header that is encoded already.
struct RawHeader: PDUHeader {
    static var opcode: Opcode { .reject }
    let segment: BasicHeaderSegment

    init(segment: BasicHeaderSegment) {
        self.segment = segment
    }

    init?(parsing bytes: RawSpan) {
        guard let segment = BasicHeaderSegment(parsing: bytes) else { return nil }
        self.segment = segment
    }

    @_lifetime(bytes: copy bytes)
    func encode(into bytes: inout MutableRawSpan) {
        bytes.store(segment.bytes, at: 0)
    }
}
