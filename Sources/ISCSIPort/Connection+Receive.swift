internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// The few bytes that stay between two receptions: less than a header with its digest, or a data segment's padding and digest.
struct KeptBytes {
    /// The most bytes: basic and additional header segments and the digest.
    static let capacity = 96
    private var storage = InlineArray<96, UInt8>(repeating: 0)
    private(set) var count = 0

    /// Keeps a copy of `bytes`.
    mutating func keep(_ bytes: RawSpan) {
        precondition(bytes.byteCount <= Self.capacity, "only an incomplete header is kept")
        count = bytes.byteCount
        storage.modifyBytes { $0.store(bytes, at: 0) }
    }

    /// Puts the bytes at the start of `buffer`.
    func begin(_ buffer: ReceiveBuffer) {
        let bytes = storage
        buffer.begin(with: bytes.rawSpan.extracting(0..<count))
    }
}

/// A PDU whose data segment arrives in more than one reception.
struct IncomingPDU: ~Copyable {
    /// What the stream's next bytes are.
    enum Stage {
        /// The header of a PDU.
        case header
        /// The data segment of the PDU, into the lease.
        case payload
        /// Padding and data digest of the PDU.
        case trailer
        /// The rest of a PDU that is not wanted.
        case discarded
    }

    /// Whose data it is.
    enum Destination {
        case command(SlotReference)
        case dataOut(SlotReference)
        case control
    }

    var stage = Stage.header
    var destination = Destination.control
    var header = BasicHeaderSegment()
    /// Where the data segment goes.
    var lease: BufferLease?
    var leaseOffset = 0
    var dataLength = 0
    var trailerLength = 0
    /// How many bytes of the data segment (or of what is discarded) are still to come.
    var remaining = 0

    /// Forgets the PDU.
    mutating func reset() {
        stage = .header
        lease = nil
        remaining = 0
    }
}

extension Connection {
    /// Data segments from this size on are received without what follows them, so that the next one need not be copied.
    private static let directDataLength = 32768
    /// What is received beside a large data segment: a few headers.
    private static let smallReceiveLimit = 4096

    /// The most receptions of one turn, so that no peer keeps the reactor for itself.
    private static let receptionLimit = 8
    /// How often the rest of a data segment is asked for before the reactor goes to sleep: that is some 15 µs, less than
    /// sleeping and being woken takes, and the peer is sending it right now.
    private static let restTries = 48
    /// A reception of so many PDUs is a busy peer's, who has sent more meanwhile: to receive is cheaper than to wait first.
    private static let busyReception = 8

    /// What a PDU costs beside the data that it moves, in bytes of the same cost.
    static let pduWork = 8192

    /// Receives once, then the rest of a data segment that has begun with it, and what a busy peer has sent meanwhile.
    func receive() {
        if postponed != nil {
            guard turnWork < server.limits.turnWork else { return }
            handlePostponed()
            guard isOpen, postponed == nil else { return }
        }
        var receptions = 1
        var tries = 0
        receiveOnce()
        while isOpen, receptions < Self.receptionLimit {
            if incoming.stage == .payload {
                guard tries < Self.restTries else { return }
                if receiveOnce() { receptions += 1 } else { tries += 1 }
            } else {
                guard receivedPDUs >= Self.busyReception, mayReceiveMore, receiveOnce() else { return }
                receptions += 1
            }
        }
    }

    /// Whether the peer may go on although the reactor has not looked at others meanwhile.
    private var mayReceiveMore: Bool {
        reactor.readyCount == 1 && !isWriteBlocked && !pace.isPaused && turnWork < server.limits.turnWork
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
            lastReception = reactor.now
            // Small PDUs that fill the limit mean a busy peer: take more at a time.
            if count >= receiveLimit { receiveLimit = min(receiveLimit * 4, ReceiveBuffer.capacity / 2) }
            parse(buffer.bytes)
            scheduleTurnEnd()
            return true
        case .wouldBlock: return false
        case .closed: close(.peerClosed)
        case .failed(let code):
            close(.failed(SystemError(code: code, operation: "receive from", path: peerAddress.description)))
        }
        return false
    }

    /// After that many PDUs their answers go out, when no other connection has something to do: the initiator works on them
    /// while this thread works on the rest. With one system call for all of them each side would wait for the other.
    private static let answersTogether = 16

    /// Handles every complete PDU in `bytes` and keeps the rest.
    private func parse(_ bytes: RawSpan) {
        var offset = 0
        receivedPDUs = 0
        while isOpen {
            let rest = bytes.extracting(offset..<bytes.byteCount)
            guard let consumed = parseOne(rest) else { break }
            offset += consumed
            receivedPDUs += 1
            unsentPDUs += 1
            turnWork += Self.pduWork
            if turnWork >= server.limits.turnWork, isFullFeature, postpone(bytes.extracting(offset..<bytes.byteCount)) {
                return
            }
            if unsentPDUs >= Self.answersTogether, reactor.readyCount == 1 {
                guard flush() else { return }
            }
            guard output.freeHeaderBytes >= Self.reservedHeaderBytes || makeOutputRoom() else { return }
        }
        guard isOpen else { return }
        kept.keep(bytes.extracting(offset..<bytes.byteCount))
    }

    /// Keeps PDUs for the next turn, because this one has had its share of work; false when there is nothing to keep, or no buffer.
    private func postpone(_ bytes: RawSpan) -> Bool {
        guard isOpen, bytes.byteCount > 0, var lease = reactor.pool.lease(capacity: bytes.byteCount) else {
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
        close(.answersNotTaken)
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
            close(.framing(error))
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
        guard isFullFeature else { return dispatchControl(header, data, isDataValid: isDataValid) }
        if readsAcknowledgements {
            acknowledge(header)
            guard isOpen else { return }
        }
        switch header.opcode {
        case .scsiCommand:
            guard let slot = beginCommand(header) else { return }
            if data.byteCount > 0 { slot.task.storeDataOut(data, at: 0) }
            finishCommand(slot, dataLength: data.byteCount, isDataValid: isDataValid)
        case .dataOut:
            guard let slot = beginDataOut(header) else { return }
            slot.task.storeDataOut(data, at: slot.dataOutOffset)
            finishDataOut(slot, header, dataLength: data.byteCount, isDataValid: isDataValid)
        default:
            dispatchControl(header, data, isDataValid: isDataValid)
        }
    }

    private func dispatchControl(_ header: RawSpan, _ data: RawSpan, isDataValid: Bool) {
        switch phase {
        case .login: receiveLogin(header, data)
        case .starting: close(.protocolError("a PDU came before the login was answered"))
        case .fullFeature:
            if isDataValid {
                receiveControl(header, data)
            } else {
                reject(header, .dataDigestError)
            }
        case .closing, .closed: break
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
            guard isOpen else { return nil }
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
        if isFullFeature {
            if readsAcknowledgements {
                acknowledge(header)
                guard isOpen else { return false }
            }
            switch header.opcode {
            case .scsiCommand:
                guard let slot = beginCommand(header) else { return false }
                incoming.destination = .command(slot.reference)
                incoming.lease = slot.task.dataOut.take()
                incoming.leaseOffset = 0
                return true
            case .dataOut:
                guard let slot = beginDataOut(header) else { return false }
                incoming.destination = .dataOut(slot.reference)
                incoming.lease = slot.task.dataOut.take()
                incoming.leaseOffset = slot.dataOutOffset
                return true
            default: break
            }
        }
        if case .starting = phase {
            close(.protocolError("a PDU came before the login was answered"))
            return false
        }
        incoming.destination = .control
        incoming.leaseOffset = 0
        incoming.lease = reactor.pool.lease(capacity: incoming.dataLength)
        if hasLease { return true }
        incoming.lease = reserve.lease(capacity: incoming.dataLength)
        if hasLease { return true }
        close(.outOfMemory)
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
            guard let slot = session?.slot(reference), !slot.isAnswered else { return }
            slot.task.dataOut = consume lease
            finishCommand(slot, dataLength: length, isDataValid: isValid)
        case .dataOut(let reference):
            guard let slot = session?.slot(reference), !slot.isAnswered else { return }
            slot.task.dataOut = consume lease
            finishDataOut(slot, header.bytes, dataLength: length, isDataValid: isValid)
        case .control:
            dispatchControl(header, lease, isDataValid: isValid)
        }
    }

    private func dispatchControl(
        _ header: BasicHeaderSegment, _ lease: borrowing BufferLease, isDataValid: Bool
    ) {
        dispatchControl(
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
