internal import Bytes
public import ISCSI
public import Platform

/// A PDU that came in.
public struct ReceivedPDU: Sendable {
    public let header: BasicHeaderSegment
    /// The additional header segments.
    public let additionalHeader: [UInt8]
    /// The data segment, without padding.
    public let data: [UInt8]

    /// The Opcode field of its header.
    public var opcode: Opcode { header.opcode }

    /// The header as one of kind `Header`, or nil when it is another.
    public func parsed<Header: PDUHeader>(as kind: Header.Type = Header.self) -> Header? {
        Header(parsing: header.bytes)
    }
}

/// A stream of PDUs on a socket that the calling thread waits for; it knows framing and digests, nothing else.
///
/// Every PDU can be sent, right or wrong: lengths in the header are not checked against what is sent.
public final class PDUConnection {
    /// The socket that the session uses.
    public let socket: StreamSocket
    /// Framing of what comes in. Digests begin after login.
    public var incoming: PDUFramer
    /// Framing of what goes out.
    public var outgoing: PDUFramer
    /// How long to wait for progress.
    public var timeout: Duration

    private let output = OutputQueue()
    private let receiveBuffer = ReceiveBuffer()
    private var input: [UInt8] = []
    private var consumed = 0

    /// The most bytes that are copied into the output queue at a time.
    private static let sendChunkLength = 32_768

    public init(socket: StreamSocket, timeout: Duration) {
        self.socket = socket
        self.timeout = timeout
        incoming = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
        outgoing = incoming
    }

    /// Connects to `address`.
    public convenience init(
        connectingTo address: SocketAddress, timeout: Duration, bufferSize: Int = 0
    ) throws(InitiatorError) {
        let socket: StreamSocket
        do throws(SystemError) {
            socket = try StreamSocket.connect(to: address, timeout: timeout, bufferSize: bufferSize)
        } catch {
            throw .system(error)
        }
        self.init(socket: socket, timeout: timeout)
    }

    /// Whether bytes have come in that no PDU was made of yet.
    public var hasUnreadInput: Bool { consumed < input.count }

    // MARK: Sending

    /// Sends a PDU: `header` as it is, then additional header segments, data and padding, with the digests in force.
    public func send(
        _ header: BasicHeaderSegment, additionalHeader: [UInt8] = [], data: [UInt8] = []
    ) throws(InitiatorError) {
        try send(bytes: encoded(header, additionalHeader: additionalHeader, data: data))
    }

    /// The bytes that `send` sends for a PDU, for tests that change them on the way.
    public func encoded(
        _ header: BasicHeaderSegment, additionalHeader: [UInt8] = [], data: [UInt8] = []
    ) -> [UInt8] {
        var bytes = header.bytes.copyToArray()
        bytes += additionalHeader
        if outgoing.hasHeaderDigest { bytes.appendBE32(Digest.value(of: bytes.rawSpan)) }
        if !data.isEmpty {
            let start = bytes.count
            bytes += data
            bytes += [UInt8](repeating: 0, count: -data.count & 3)
            if outgoing.hasDataDigest {
                bytes.appendBE32(Digest.value(of: bytes.rawSpan.extracting(start..<bytes.count)))
            }
        }
        return bytes
    }

    /// Sends `bytes` as they are.
    public func send(bytes: [UInt8]) throws(InitiatorError) {
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + Self.sendChunkLength, bytes.count)
            // Every chunk is sent before the next one, so there is always room.
            let hasRoom = output.append(copying: bytes.rawSpan.extracting(offset..<end))
            precondition(hasRoom, "an empty output queue takes a chunk")
            try flush()
            offset = end
        }
    }

    private func flush() throws(InitiatorError) {
        while true {
            switch output.flush(to: socket) {
            case .drained: return
            case .blocked:
                guard socket.waitUntilReady(writing: true, timeout: timeout) else { throw .timedOut }
            case .failed:
                output.discard()
                throw .connectionClosed
            }
        }
    }

    // MARK: Receiving

    /// Waits for the next PDU, at most for `timeout` without progress.
    public func receive() throws(InitiatorError) -> ReceivedPDU {
        while true {
            if let pdu = try nextBuffered() { return pdu }
            try receiveMore(timeout: timeout)
        }
    }

    /// Waits for the next PDU until `deadline`, whatever comes meanwhile.
    public func receive(by deadline: MonotonicTime) throws(InitiatorError) -> ReceivedPDU {
        while true {
            if let pdu = try nextBuffered() { return pdu }
            try receiveMore(timeout: Self.remaining(until: deadline))
        }
    }

    /// Waits until the target closes the connection; what it sends before is dropped. `deadline` ends the wait whatever
    /// comes.
    public func waitUntilClosed(by deadline: MonotonicTime? = nil) throws(InitiatorError) {
        do throws(InitiatorError) {
            while true {
                let limit: Duration
                if let deadline { limit = try Self.remaining(until: deadline) } else { limit = timeout }
                try receiveMore(timeout: limit)
                input.removeAll(keepingCapacity: true)
                consumed = 0
            }
        } catch .connectionClosed {
            return
        }
    }

    private static func remaining(until deadline: MonotonicTime) throws(InitiatorError) -> Duration {
        let now = MonotonicTime.current()
        guard now < deadline else { throw .timedOut }
        // Less than a millisecond would be rounded down to a poll that does not wait.
        return max(deadline - now, .milliseconds(1))
    }

    private func nextBuffered() throws(InitiatorError) -> ReceivedPDU? {
        let pending = input
        guard let (pdu, length) = try Self.cut(pending.rawSpan.extracting(consumed..<pending.count), incoming) else {
            return nil
        }
        consumed += length
        return pdu
    }

    /// The PDU at the start of `available` and its length on the wire, or nil when it is not complete.
    private static func cut(
        _ available: RawSpan, _ framer: PDUFramer
    ) throws(InitiatorError) -> (pdu: ReceivedPDU, length: Int)? {
        let layout: PDULayout
        switch framer.frame(available) {
        case .needsHeader: return nil
        case .failed(let error): throw .framing(error)
        case .header(let found): layout = found
        }
        guard available.byteCount >= layout.totalLength, let header = BasicHeaderSegment(parsing: available) else {
            return nil
        }
        guard hasValidDataDigest(available, layout) else { throw .dataDigest }
        let data = available.extracting(layout.dataOffset..<(layout.dataOffset + layout.dataSegmentLength))
        let additional = available.extracting(BasicHeaderSegment.length..<layout.headerLength)
        let pdu = ReceivedPDU(
            header: header, additionalHeader: additional.copyToArray(), data: data.copyToArray())
        return (pdu, layout.totalLength)
    }

    private static func hasValidDataDigest(_ pdu: RawSpan, _ layout: PDULayout) -> Bool {
        guard layout.dataDigestLength > 0 else { return true }
        let covered = pdu.extracting(layout.dataOffset..<layout.dataDigestOffset)
        return pdu.loadBE32(at: layout.dataDigestOffset) == Digest.value(of: covered)
    }

    private func receiveMore(timeout: Duration) throws(InitiatorError) {
        if consumed > 0 {
            input.removeSubrange(0..<consumed)
            consumed = 0
        }
        let buffer = receiveBuffer
        let nothing: [UInt8] = []
        buffer.begin(with: nothing.rawSpan)
        while true {
            switch socket.receive(into: buffer) {
            case .received:
                input += buffer.bytes.copyToArray()
                return
            case .wouldBlock:
                guard socket.waitUntilReady(timeout: timeout) else { throw .timedOut }
            case .closed, .failed:
                throw .connectionClosed
            }
        }
    }
}
