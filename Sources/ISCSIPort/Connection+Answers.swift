internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// What goes to the initiator: Data-In, SCSI Response, and every other PDU (RFC 7143 sections 11.4 and 11.7).
extension Connection {
    /// Leases of the output queue that Data-In of one PDU leaves to Data-In of many.
    private static let reservedLeases = 160
    /// Header bytes and pieces of the output queue that Data-In leaves to other answers.
    static let dataInHeaderReserve = 32768
    static let dataInPieceReserve = 64

    // MARK: The end of a command

    /// Sends the outcome of a task, which the devices have ended.
    func answer(_ slot: CommandSlot) {
        // It is about to be taken over by another connection.
        if recovery != nil, !isOpen { return }
        let task = slot.task
        if let failure = slot.transportFailure { return respond(slot, failure) }
        guard let lease = task.dataIn.take() else {
            return respond(slot, status: task.status, sense: task.reportedSense)
        }
        let total = lease.count
        let count = min(total, slot.expectedDataInLength)
        slot.residual = Residual(expected: slot.expectedDataInLength, actual: total)
        guard count > 0 else {
            return respond(slot, status: task.status, sense: task.reportedSense, isResidualKnown: true)
        }
        guard let payload = output.hold(lease) else { return close(.answersNotTaken) }
        session?.counters.count(sent: count)
        turnWork += count
        slot.payload = payload
        if recovery == nil {
            slot.dataInPlan = DataInPlan(length: count, parameters: parameters)
        } else {
            planDataIn(slot, length: count)
        }
        if sending.isEmpty, output.freeLeases >= Self.reservedLeases {
            _ = sendDataIn(slot)
            if output.queuedBytes >= server.limits.earlyFlush { flush() }
        }
        if slot.isUsed, slot.payload != nil, !slot.isSent { sending.append(slot) }
        scheduleTurnEnd()
    }

    /// Ends a command that the transport could not carry.
    func respond(_ slot: CommandSlot, _ failure: TransportFailure) {
        slot.transportFailure = failure
        respond(slot, status: failure.status, sense: failure.sense.map { .fields($0) })
    }

    /// Ends a command with SCSI Response and gives its slot back.
    func respond(_ slot: CommandSlot, status code: SCSIStatus, sense: Sense? = nil, isResidualKnown: Bool = false) {
        guard let session, recovery == nil || isOpen else { return }
        if !isResidualKnown, slot.dataInPlan == nil {
            slot.residual =
                slot.expectedDataInLength > 0
                ? Residual(expected: slot.expectedDataInLength, actual: 0)
                : Residual(expected: slot.expectedDataOutLength, actual: slot.task.requestedDataOutLength)
        }
        var response = response(of: slot, status: code)
        let isDescriptorFormat = slot.task.nexus?.logicalUnit.usesDescriptorSense ?? false
        response.statSN = status.take()
        // Before the window goes into the response, which shows that the command has ended.
        if recovery == nil { session.free(slot) } else { keepAnswer(slot, in: session) }
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
        response.expDataSN = slot.dataInPlan?.dataSN ?? slot.transferPlan?.r2tSN ?? 0
        return response
    }

    /// Sends a SCSI Response with sense data, if there is some.
    func send(_ header: SCSIResponsePDU, sense: Sense?, isDescriptorFormat: Bool) {
        guard let sense else {
            send(header)
            return
        }
        var response = header
        var bytes = InlineArray<66, UInt8>(repeating: 0)
        let length = bytes.modifyBytes { target in
            let length = sense.write(into: &target, at: 2, isDescriptorFormat: isDescriptorFormat)
            target.storeBE16(UInt16(length), at: 0)
            return length + 2
        }
        response.dataSegmentLength = length
        send(response, data: bytes.rawSpan.extracting(0..<length))
    }

    // MARK: Data-In

    /// Whether Data-In, or answers that are to be sent again, wait for room in the output queue.
    var hasDataToSend: Bool { !sending.isEmpty || recovery?.resends.isEmpty == false }

    /// Sends Data-In of waiting commands as far as there is room and the turn allows; false when the connection is over.
    func sendQueuedData() -> Bool {
        guard hasDataToSend else { return true }
        guard sendAgain() else { return false }
        var sent = 0
        while let slot = sending.first, !isWriteBlocked, sent < server.limits.turnOutput {
            let before = output.queuedBytes
            let isDone = sendDataIn(slot)
            guard !isClosed else { return false }
            if isDone {
                sending.removeFirst()
            } else if output.queuedBytes == before, before == 0 {
                // Nothing fits an empty queue: cannot happen.
                preconditionFailure("an empty output queue takes a Data-In")
            }
            sent += output.queuedBytes - before
            if output.queuedBytes >= server.limits.earlyFlush || !sending.isEmpty {
                guard flush() else { return false }
            }
        }
        return !isClosed
    }

    /// Queues Data-In of a command, with its status in the last one when that is GOOD (phase collapse, section 11.7.3); true
    /// when all is queued and the slot is free again.
    private func sendDataIn(_ slot: CommandSlot) -> Bool {
        guard let session, let payload = slot.payload else { return true }
        guard var plan = slot.dataInPlan else { return true }
        let isCollapsed =
            DataInPlan.mayCollapse(
                status: slot.task.status, hasSense: slot.task.reportedSense != nil, length: plan.length)
            && slot.snackTag == 0 && !plan.isExhausted
        while output.freeHeaderBytes > Self.dataInHeaderReserve, output.freePieces > Self.dataInPieceReserve,
            output.queuedBytes < server.limits.outputBacklog, let segment = plan.next()
        {
            var pdu = DataInPDU()
            pdu.isFinal = segment.isFinal
            pdu.dataSegmentLength = segment.length
            pdu.initiatorTaskTag = slot.initiatorTaskTag
            pdu.dataSN = segment.dataSN
            pdu.bufferOffset = UInt32(segment.offset)
            if recovery != nil { requestAcknowledgement(&pdu, slot, segment) }
            if segment.isLast, isCollapsed {
                pdu.hasStatus = true
                pdu.status = slot.task.status
                pdu.residual = slot.residual
                pdu.statSN = status.take()
                if recovery == nil {
                    session.free(slot)
                } else {
                    slot.dataInPlan = plan
                    slot.isStatusInData = true
                    keepAnswer(slot, in: session)
                }
                session.openWindow()
            }
            pdu.expCmdSN = session.window.expCmdSN
            pdu.maxCmdSN = session.window.maxCmdSN
            guard appendData(pdu, payload, segment, releases: segment.isLast && recovery == nil) else {
                close(.answersNotTaken)
                return true
            }
        }
        guard plan.isExhausted else {
            slot.dataInPlan = plan
            return false
        }
        if !isCollapsed {
            slot.dataInPlan = plan
            if recovery == nil { slot.payload = nil }
            respond(slot, status: slot.task.status, sense: slot.task.reportedSense)
        }
        return true
    }

    /// Queues a header, a part of a payload, and padding and digest.
    func appendData(
        _ pdu: DataInPDU, _ payload: OutputQueue.Payload, _ segment: DataInSegment, releases: Bool
    ) -> Bool {
        append(pdu, payload, offset: segment.offset, count: segment.length, releases: releases)
    }

    private func append<Header: PDUHeader>(
        _ pdu: Header, _ payload: OutputQueue.Payload, offset: Int, count: Int, releases: Bool
    ) -> Bool {
        let layout = sendFramer.layout(dataSegmentLength: count)
        let isHeaderQueued = output.appendHeader(count: layout.dataOffset) { bytes in
            pdu.encode(into: &bytes)
            Self.storeHeaderDigest(layout, &bytes)
        }
        let trailerLength = layout.totalLength - layout.dataOffset - count
        guard trailerLength > 0 else {
            return isHeaderQueued && output.append(payload, offset: offset, count: count, release: releases)
        }
        var digest: UInt32 = 0
        if layout.dataDigestLength > 0 {
            let zeros = InlineArray<4, UInt8>(repeating: 0)
            let data = output.withBytes(of: payload, offset: offset, count: count) { CRC32C.checksum($0) }
            digest = CRC32C.checksum(zeros.rawSpan.extracting(0..<layout.padLength), previous: data).byteSwapped
        }
        return isHeaderQueued && output.append(payload, offset: offset, count: count, release: releases)
            && output.appendHeader(count: trailerLength) { bytes in
                bytes.fill(at: 0, count: trailerLength)
                if layout.dataDigestLength > 0 { bytes.storeBE32(digest, at: layout.padLength) }
            }
    }

    private static func storeHeaderDigest(_ layout: PDULayout, _ bytes: inout MutableRawSpan) {
        guard layout.headerDigestLength > 0 else { return }
        let digest = Digest.value(of: bytes.bytes.extracting(0..<layout.headerLength))
        bytes.storeBE32(digest, at: layout.headerLength)
    }

    // MARK: Any PDU

    /// Queues a PDU without data; false, and the connection closed, when the peer has let the queue fill up.
    @discardableResult
    func send<Header: PDUHeader>(_ header: Header) -> Bool {
        if recovery != nil { keepIfNumbered(header, data: nil) }
        return enqueue(header)
    }

    /// Queues a PDU with a copy of `data`, whose length its header must carry.
    @discardableResult
    func send<Header: PDUHeader>(_ header: Header, data: RawSpan) -> Bool {
        if recovery != nil { keepIfNumbered(header, data: data) }
        return enqueue(header, data: data)
    }

    /// Queues a PDU without data that is kept already, or need not be.
    @discardableResult
    func enqueue<Header: PDUHeader>(_ header: Header) -> Bool {
        let layout = sendFramer.layout(dataSegmentLength: 0)
        let isQueued = output.appendHeader(count: layout.totalLength) { bytes in
            header.encode(into: &bytes)
            Self.storeHeaderDigest(layout, &bytes)
        }
        return finishSending(isQueued)
    }

    /// Queues a PDU with a copy of `data` that is kept already, or need not be.
    @discardableResult
    func enqueue<Header: PDUHeader>(_ header: Header, data: RawSpan) -> Bool {
        if data.byteCount > Self.controlDataLimit { return enqueueLong(header, data) }
        let layout = sendFramer.layout(dataSegmentLength: data.byteCount)
        let isQueued = output.appendHeader(count: layout.totalLength) { bytes in
            header.encode(into: &bytes)
            Self.storeHeaderDigest(layout, &bytes)
            bytes.store(data, at: layout.dataOffset)
            bytes.fill(at: layout.dataOffset + data.byteCount, count: layout.padLength)
            guard layout.dataDigestLength > 0 else { return }
            let covered = layout.dataOffset..<layout.dataDigestOffset
            let digest = Digest.value(of: bytes.bytes.extracting(covered))
            bytes.storeBE32(digest, at: layout.dataDigestOffset)
        }
        return finishSending(isQueued)
    }

    /// Queues a PDU whose data has a buffer of its own.
    private func enqueueLong<Header: PDUHeader>(_ header: Header, _ data: RawSpan) -> Bool {
        guard var lease = reactor.pool.lease(capacity: data.byteCount) else {
            close(.outOfMemory)
            return false
        }
        lease.append(data)
        guard let payload = output.hold(lease) else { return finishSending(false) }
        return finishSending(append(header, payload, offset: 0, count: data.byteCount, releases: true))
    }

    private func finishSending(_ isQueued: Bool) -> Bool {
        if isQueued {
            scheduleTurnEnd()
        } else {
            close(.answersNotTaken)
        }
        return isQueued
    }
}
