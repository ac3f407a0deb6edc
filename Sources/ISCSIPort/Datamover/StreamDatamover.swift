internal import Bytes
internal import ISCSI
internal import Platform

/// iSCSI over TCP: a stream that PDUs are cut from, and an output queue (RFC 7143 sections 4.2.7 and 11.1).
///
/// The other files that begin with its name hold its parts by topic.
final class StreamDatamover {
    /// The upper half; it lets go of its datamover when the connection ends.
    let connection: Connection
    let socket: StreamSocket
    let limits: PortLimits
    private(set) var reactor: Reactor
    private var registration: RegistrationName?
    private var interest = ReadyEvents.readable
    private var isTerminated = false

    // Receiving.
    var framer = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
    var incoming = IncomingPDU()
    /// The start of a PDU that is too short to be parsed; between two receptions.
    var kept = KeptBytes()
    var receiveLimit = 4096
    /// How many PDUs the last reception had.
    var receivedPDUs = 0
    /// What the peer's PDUs of this turn have cost: the bytes of data that they moved, and `pduWork` for each.
    var turnWork = 0
    /// PDUs that came when the turn had its share of work; the next turns handle them before anything else is received.
    var postponed: BufferLease?
    /// A buffer for a request that is no command, when the reactor's pool has none left: pings and logouts work all the
    /// same.
    private(set) lazy var reserve = BufferPool(limit: Self.reserveLimit)
    /// The longest data segment that a target here declares to take (MaxRecvDataSegmentLength).
    private static let reserveLimit = 262_144

    // Sending.
    /// The limit of what goes out, and the digests that go with it.
    var sendFramer = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
    var output = OutputQueue(pieceLimit: 16, leaseLimit: 1, headerCapacity: 16384)
    private(set) var isWriteBlocked = false
    /// PDUs whose answers may still be queued.
    var unsentPDUs = 0
    private var isTurnEndScheduled = false
    var parameters = NegotiatedParameters()
    /// Commands whose Data-In did not fit the output queue at once, oldest first.
    var sending: [CommandSlot] = []
    /// What is to be sent again, oldest first.
    var resends: [Resend] = []

    init(connection: Connection, socket: StreamSocket, reactor: Reactor, limits: PortLimits) {
        self.connection = connection
        self.socket = socket
        self.reactor = reactor
        self.limits = limits
    }

    // MARK: Output

    /// Has `turnEnded` called at the end of this turn.
    func scheduleTurnEnd() {
        guard !isTurnEndScheduled, !isTerminated else { return }
        isTurnEndScheduled = true
        reactor.afterEvents(self)
    }

    /// Sends what is queued; false when the connection is lost.
    @discardableResult
    func flush() -> Bool {
        guard !isWriteBlocked else { return true }
        unsentPDUs = 0
        switch output.flush(to: socket, counters: reactor.counters) {
        case .drained:
            return true
        case .blocked:
            isWriteBlocked = true
            return receptionChanged()
        case .failed(let code):
            let error = SystemError(code: code, operation: "send to", path: connection.peerAddress.description)
            connection.close(.failed(error))
            return false
        }
    }

    /// Whether PDUs of the peer are taken: it takes its answers, and has not asked for too much.
    private var mayReceive: Bool {
        connection.mayReceive && (!isWriteBlocked || output.queuedBytes < limits.outputBacklog)
    }
}

extension StreamDatamover: Datamover {
    func attach(to reactor: Reactor) throws(SystemError) {
        self.reactor = reactor
        interest = .readable
        registration = try reactor.register(socket.fileDescriptor, interest: interest, handler: self)
    }

    func detach() {
        if let registration { reactor.unregister(registration) }
        registration = nil
    }

    func enable(
        _ parameters: NegotiatedParameters, on reactor: Reactor, after response: BasicHeaderSegment, data: RawSpan
    ) throws(SystemError) {
        output = OutputQueue()
        try attach(to: reactor)
        self.parameters = parameters
        guard send(response, data: data) else { return }
        framer = PDUFramer(
            maximumDataSegmentLength: parameters.maxRecvDataSegmentLength,
            hasHeaderDigest: parameters.headerDigest == .crc32c, hasDataDigest: parameters.dataDigest == .crc32c)
        sendFramer = framer
        receiveLimit = ReceiveBuffer.capacity / 4
    }

    func noticeParameters(_ parameters: NegotiatedParameters) {
        self.parameters = parameters
    }

    func finish() {
        scheduleTurnEnd()
    }

    func terminate() {
        isTerminated = true
        detach()
        incoming.reset()
        postponed = nil
        withdrawAllData()
        output.discard()
        socket.shutdownWriting()
    }

    /// Listens for room to write while there is none, and to the peer while it may go on.
    @discardableResult
    func receptionChanged() -> Bool {
        var wanted: ReadyEvents = []
        if isWriteBlocked { wanted.insert(.writable) }
        if mayReceive {
            wanted.insert(.readable)
            if postponed != nil { scheduleTurnEnd() }
        }
        guard wanted != interest, let registration else { return true }
        interest = wanted
        do throws(SystemError) {
            try reactor.modify(registration, interest: wanted)
            return true
        } catch {
            connection.close(.failed(error))
            return false
        }
    }
}

extension StreamDatamover: ReadyHandler {
    func ready(_ events: ReadyEvents) {
        if events.contains(.writable), isWriteBlocked {
            isWriteBlocked = false
            scheduleTurnEnd()
        }
        if !events.isDisjoint(with: [.readable, .failed]) {
            guard connection.isOpen else {
                // Only an error is of interest now; the peer may well send more.
                if !events.isDisjoint(with: .failed) { connection.close(.peerClosed) }
                return
            }
            receive()
        }
    }
}

extension StreamDatamover: TurnHandler {
    func turnEnded() {
        isTurnEndScheduled = false
        guard !isTerminated else { return }
        if postponed != nil, mayReceive, turnWork < limits.turnWork { handlePostponed() }
        turnWork = 0
        guard !isTerminated, sendQueuedData(), flush() else { return }
        // The connection may be on its way to another reactor, or closed.
        if output.isEmpty, connection.allSent() { return }
        if hasDataToSend, !isWriteBlocked { scheduleTurnEnd() }
        receptionChanged()
    }
}
