internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

// Cutting the stream into PDUs.
extension StreamDatamover {
    /// Data segments from this size on are received without what follows them, so that the next one need not be copied.
    private static let directDataLength = 32768
    /// What is received beside a large data segment: a few headers.
    private static let smallReceiveLimit = 4096

    /// The most receptions of one turn, so that no peer keeps the reactor for itself.
    private static let receptionLimit = 8
    /// How often the rest of a data segment is asked for before the reactor goes to sleep: that is some 15 µs, less
    /// than sleeping and being woken takes, and the peer is sending it right now.
    private static let restTries = 48
    /// A reception of so many PDUs is a busy peer's, who has sent more meanwhile: to receive is cheaper than to wait
    /// first.
    private static let busyReception = 8

    /// What a PDU costs beside the data that it moves, in bytes of the same cost.
    static let pduWork = 8192

    /// Receives once, then the rest of a data segment that has begun with it, and what a busy peer has sent meanwhile.
    func receive() {
        if postponed != nil {
            guard turnWork < limits.turnWork else { return }
            handlePostponed()
            guard connection.isOpen, postponed == nil else { return }
        }
        var receptions = 1
        var tries = 0
        receiveOnce()
        while connection.isOpen, receptions < Self.receptionLimit {
            if incoming.stage == .payload {
                guard tries < Self.restTries else { return }
                if receiveOnce() { receptions += 1 } else { tries += 1 }
            } else {
                guard receivedPDUs >= Self.busyReception, mayReceiveMore, receiveOnce() else { return }
                receptions += 1
            }
        }
    }

    /// Whether more may be received from the peer before the reactor serves others.
    private var mayReceiveMore: Bool {
        reactor.readyCount == 1 && !isWriteBlocked && connection.mayReceive && turnWork < limits.turnWork
            && postponed == nil
    }

    /// One reception and everything that follows from it; false when there was nothing to receive.
    @discardableResult
    private func receiveOnce() -> Bool {
        let buffer = reactor.receiveBuffer
        kept.begin(buffer)
        let result: StreamSocket.ReceiveResult
        if incoming.stage == .payload {
            guard var lease = incoming.lease.take() else { preconditionFailure("payload goes into a lease") }
            let offset = incoming.leaseOffset + incoming.dataLength - incoming.remaining
            result = socket.receive(
                into: &lease, at: offset, count: incoming.remaining, then: buffer, limit: receiveLimit)
            incoming.lease = consume lease
            if case .received(let count) = result {
                incoming.remaining -= min(count, incoming.remaining)
                if incoming.remaining == 0 { incoming.stage = .trailer }
            }
        } else {
            result = socket.receive(into: buffer, limit: receiveLimit)
        }
        switch result {
        case .received(let count):
            connection.lastReception = reactor.now
            // Small PDUs that fill the limit mean a busy peer: take more at a time.
            if count >= receiveLimit { receiveLimit = min(receiveLimit * 4, ReceiveBuffer.capacity / 2) }
            parse(buffer.bytes)
            scheduleTurnEnd()
            return true
        case .wouldBlock: return false
        case .closed: connection.close(.peerClosed)
        case .failed(let code):
            let path = connection.peerAddress.description
            connection.close(.failed(SystemError(code: code, operation: "receive from", path: path)))
        }
        return false
    }

    /// After that many PDUs their answers go out, when no other connection has something to do: the initiator works on
    /// them while this thread works on the rest. With one system call for all of them each side would wait for the
    /// other.
    private static let answersTogether = 16

    /// Handles every complete PDU in `bytes` and keeps the rest.
    private func parse(_ bytes: RawSpan) {
        var offset = 0
        receivedPDUs = 0
        while connection.isOpen {
            let rest = bytes.extracting(offset..<bytes.byteCount)
            guard let consumed = parseOne(rest) else { break }
            offset += consumed
            receivedPDUs += 1
            unsentPDUs += 1
            turnWork += Self.pduWork
            if turnWork >= limits.turnWork, connection.isFullFeature,
                postpone(bytes.extracting(offset..<bytes.byteCount))
            {
                return
            }
            if unsentPDUs >= Self.answersTogether, reactor.readyCount == 1 {
                guard flush() else { return }
            }
            guard output.freeHeaderBytes >= Self.reservedHeaderBytes || makeOutputRoom() else { return }
        }
        guard connection.isOpen else { return }
        kept.keep(bytes.extracting(offset..<bytes.byteCount))
    }

    /// Keeps PDUs for the next turn, because this one has had its share of work; false when there is nothing to keep,
    /// or no buffer.
    private func postpone(_ bytes: RawSpan) -> Bool {
        guard connection.isOpen, bytes.byteCount > 0, var lease = reactor.pool.lease(capacity: bytes.byteCount) else {
            return false
        }
        lease.append(bytes)
        postponed = consume lease
        // Everything is in the lease.
        kept.keep(bytes.extracting(0..<0))
        scheduleTurnEnd()
        return true
    }

    /// Handles what was left over from an earlier turn.
    func handlePostponed() {
        guard let lease = postponed.take() else { return }
        parse(lease.bytes)
        scheduleTurnEnd()
    }

    /// Room in the output queue that any PDU's answer fits.
    private static let reservedHeaderBytes = 12288

    /// Sends what is queued to make room for answers; when the peer takes none, the connection is over.
    private func makeOutputRoom() -> Bool {
        guard flush() else { return false }
        if output.freeHeaderBytes >= Self.reservedHeaderBytes { return true }
        connection.close(.answersNotTaken)
        return false
    }

    /// Handles what comes next in `bytes` and gives its length; nil when more has to arrive.
    private func parseOne(_ bytes: RawSpan) -> Int? {
        switch incoming.stage {
        case .header: return parseHeader(bytes)
        case .payload: return nil
        case .trailer:
            guard bytes.byteCount >= incoming.trailerLength else { return nil }
            finishIncoming(trailer: bytes.extracting(0..<incoming.trailerLength))
            return incoming.trailerLength
        case .discarded:
            let count = min(incoming.remaining, bytes.byteCount)
            incoming.remaining -= count
            if incoming.remaining == 0 { incoming.stage = .header }
            return count > 0 || incoming.stage == .header ? count : nil
        }
    }

    private func parseHeader(_ bytes: RawSpan) -> Int? {
        switch framer.frame(bytes) {
        case .needsHeader:
            return nil
        case .failed(let error):
            connection.close(.framing(error))
            return nil
        case .header(let layout):
            guard bytes.byteCount >= layout.totalLength else { return beginIncoming(bytes, layout) }
            let data = bytes.extracting(layout.dataOffset..<layout.dataOffset + layout.dataSegmentLength)
            let header = bytes.extracting(0..<layout.headerLength)
            let isValid =
                layout.dataDigestLength == 0
                || Digest.isValid(
                    bytes.loadBE32(at: layout.dataDigestOffset), data: data,
                    padding: bytes.extracting(layout.dataOffset + layout.dataSegmentLength..<layout.dataDigestOffset))
            dispatch(header, data, isDataValid: isValid)
            return layout.totalLength
        }
    }

    /// Handles a PDU that is completely in the receive buffer.
    private func dispatch(_ header: RawSpan, _ data: RawSpan, isDataValid: Bool) {
        guard connection.isFullFeature else {
            return connection.receiveControl(header, data, isDataValid: isDataValid)
        }
        if connection.readsAcknowledgements {
            connection.acknowledge(header)
            guard connection.isOpen else { return }
        }
        switch header.opcode {
        case .scsiCommand:
            guard let slot = connection.beginCommand(header) else { return }
            if data.byteCount > 0 { slot.task.storeDataOut(data, at: 0) }
            turnWork += data.byteCount
            connection.finishCommand(slot, dataLength: data.byteCount, isDataValid: isDataValid)
        case .dataOut:
            guard let slot = beginDataOut(header) else { return }
            slot.task.storeDataOut(data, at: slot.dataOut.offset)
            finishDataOut(slot, header, dataLength: data.byteCount, isDataValid: isDataValid)
        default:
            connection.receiveControl(header, data, isDataValid: isDataValid)
        }
    }

    // MARK: PDUs in pieces

    /// Begins a PDU whose header is here and whose data is not, or not all; gives the length of what is used up.
    private func beginIncoming(_ bytes: RawSpan, _ layout: PDULayout) -> Int? {
        let header = bytes.extracting(0..<layout.headerLength)
        guard let copy = BasicHeaderSegment(parsing: header) else { return nil }
        let arrived = min(bytes.byteCount - layout.dataOffset, layout.dataSegmentLength)
        incoming.header = copy
        incoming.dataLength = layout.dataSegmentLength
        incoming.trailerLength = layout.padLength + layout.dataDigestLength
        guard takeDestination(header) else {
            guard connection.isOpen else { return nil }
            incoming.lease = nil
            incoming.stage = .discarded
            incoming.remaining = layout.totalLength
            return 0
        }
        if var lease = incoming.lease.take() {
            let end = incoming.leaseOffset + arrived
            var target = lease.mutableBytes
            target.store(bytes.extracting(layout.dataOffset..<layout.dataOffset + arrived), at: incoming.leaseOffset)
            if end > lease.count { lease.setCount(end) }
            incoming.lease = consume lease
        }
        incoming.remaining = layout.dataSegmentLength - arrived
        incoming.stage = incoming.remaining > 0 ? .payload : .trailer
        if layout.dataSegmentLength >= Self.directDataLength { receiveLimit = Self.smallReceiveLimit }
        return layout.dataOffset + arrived
    }

    /// Finds the lease that the data segment goes into; false when it is to be discarded.
    private func takeDestination(_ header: RawSpan) -> Bool {
        if connection.isFullFeature {
            if connection.readsAcknowledgements {
                connection.acknowledge(header)
                guard connection.isOpen else { return false }
            }
            switch header.opcode {
            case .scsiCommand:
                guard let slot = connection.beginCommand(header) else { return false }
                incoming.destination = .command(slot.reference)
                incoming.lease = slot.task.dataOut.lease.take()
                incoming.leaseOffset = 0
                return true
            case .dataOut:
                guard let slot = beginDataOut(header) else { return false }
                incoming.destination = .dataOut(slot.reference)
                incoming.lease = slot.task.dataOut.lease.take()
                incoming.leaseOffset = slot.dataOut.offset
                return true
            default: break
            }
        }
        guard connection.takesControl() else { return false }
        incoming.destination = .control
        incoming.leaseOffset = 0
        incoming.lease = reactor.pool.lease(capacity: incoming.dataLength)
        if hasLease { return true }
        incoming.lease = reserve.lease(capacity: incoming.dataLength)
        if hasLease { return true }
        connection.close(.outOfMemory)
        return false
    }

    private var hasLease: Bool { incoming.lease != nil }

    /// The data segment is complete; `trailer` is its padding and digest.
    private func finishIncoming(trailer: RawSpan) {
        incoming.stage = .header
        guard let lease = incoming.lease.take() else { preconditionFailure("payload went into a lease") }
        let start = incoming.leaseOffset
        let length = incoming.dataLength
        let isValid = Self.isValid(lease, start..<start + length, trailer: trailer)
        let header = incoming.header
        switch incoming.destination {
        case .command(let reference):
            // The command may have been aborted by another nexus while its data came.
            guard let slot = connection.session?.slot(reference), !slot.isAnswered else { return }
            slot.task.dataOut.lease = consume lease
            turnWork += length
            connection.finishCommand(slot, dataLength: length, isDataValid: isValid)
        case .dataOut(let reference):
            guard let slot = connection.session?.slot(reference), !slot.isAnswered else { return }
            slot.task.dataOut.lease = consume lease
            finishDataOut(slot, header.bytes, dataLength: length, isDataValid: isValid)
        case .control:
            receiveControl(header, lease, isDataValid: isValid)
        }
    }

    private func receiveControl(
        _ header: BasicHeaderSegment, _ lease: borrowing BufferLease, isDataValid: Bool
    ) {
        connection.receiveControl(
            header.bytes, lease.bytes.extracting(0..<incoming.dataLength), isDataValid: isDataValid)
    }

    /// Whether the digest in `trailer`, if there is one, is that of the bytes of `lease` in `range` and the padding.
    private static func isValid(_ lease: borrowing BufferLease, _ range: Range<Int>, trailer: RawSpan) -> Bool {
        let padLength = trailer.byteCount - PDUFramer.digestLength
        guard padLength >= 0 else { return true }
        return Digest.isValid(
            trailer.loadBE32(at: padLength), data: lease.bytes.extracting(range),
            padding: trailer.extracting(0..<padLength))
    }
}
