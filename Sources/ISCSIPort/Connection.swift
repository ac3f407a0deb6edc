internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// Why a connection ended, for the log.
enum CloseReason: CustomStringConvertible {
    case peerClosed
    case failed(SystemError)
    case framing(FramingError)
    case protocolError(String)
    case loginRefused(LoginStatus)
    case loginTimedOut
    case displaced
    case notALogin
    case loggedOut
    case noAnswerToPing
    case answersNotTaken
    case answersNotAcknowledged
    case outOfMemory
    case outOfTimers
    case reinstated
    case connectionReinstated
    case recoveryTimedOut
    case sessionEnded
    case targetRemoved
    case accessWithdrawn
    case closedByOperator
    case drained
    case targetReset
    case serverStopping

    var description: String {
        switch self {
        case .peerClosed: "the peer closed it"
        case .failed(let error): error.description
        case .framing(let error): "framing error: \(error)"
        case .protocolError(let text): "protocol error: \(text)"
        case .loginRefused(let status): "login refused: \(status)"
        case .loginTimedOut: "the login took too long"
        case .displaced: "it had not logged in when others needed its place"
        case .notALogin: "the first PDU was no login"
        case .loggedOut: "logged out"
        case .noAnswerToPing: "no answer to NOP-In"
        case .answersNotTaken: "the peer does not take its answers"
        case .answersNotAcknowledged: "the peer does not acknowledge its answers"
        case .outOfMemory: "no buffer for a PDU"
        case .outOfTimers: "no timer to watch it with"
        case .reinstated: "the session was reinstated"
        case .connectionReinstated: "the connection was reinstated"
        case .recoveryTimedOut: "no connection came to recover it"
        case .sessionEnded: "its session has ended"
        case .targetRemoved: "the target was removed"
        case .accessWithdrawn: "the initiator may not use the target any more, or sees other logical units"
        case .closedByOperator: "it was closed by the operator"
        case .drained: "its portal was drained"
        case .targetReset: "target cold reset"
        case .serverStopping: "the server stops"
        }
    }
}

/// One TCP connection of an initiator, from its acceptance to its end.
///
/// It belongs to one reactor: first to that of the portal, and from the end of its login on to that of its session. The
/// other files of this folder that begin with `Connection` hold its parts by topic.
final class Connection: @unchecked Sendable {
    /// Where the connection is in its life.
    enum Phase {
        case login
        /// The login is done; its last reply waits until the session is set up, perhaps on another reactor.
        case starting(LoginReply, LoginResult)
        case fullFeature
        /// What is queued is sent, then the connection closes.
        case closing(CloseReason)
        case closed

        /// `isOpen` and `isFullFeature` of the connection.
        var flags: (Bool, Bool) {
            switch self {
            case .login, .starting: (true, false)
            case .fullFeature: (true, true)
            case .closing, .closed: (false, false)
            }
        }
    }

    let server: ISCSIServer
    let socket: StreamSocket
    let peerAddress: SocketAddress
    let localAddress: SocketAddress
    /// The portal that the connection came in on.
    let portal: Portal
    /// The reactor of the portal, where the login happens.
    var portalReactor: Reactor { portal.reactor }
    /// The reactor that the connection belongs to now.
    private(set) var reactor: Reactor
    /// The login is done: the connection is on its way to its session's reactor, or there.
    private(set) var hasLeftPortal = false
    var phase = Phase.login {
        didSet { (isOpen, isFullFeature) = phase.flags }
    }
    /// Whether PDUs are still taken from the peer. Kept beside the phase, whose values are costly to look at for every PDU.
    private(set) var isOpen = true
    /// Whether the login is done and the session set up.
    private(set) var isFullFeature = false
    var registration: RegistrationName?
    private var interest = ReadyEvents.readable
    /// Watches over the login, then for silence.
    private var timer: TimerName?
    /// The end of a pause in reading.
    var pauseTimer: TimerName?

    // Receiving.
    var framer = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
    var incoming = IncomingPDU()
    /// The start of a PDU that is not complete enough to look at; between two receptions.
    var kept = KeptBytes()
    var receiveLimit = 4096
    /// How many PDUs the last reception had.
    var receivedPDUs = 0
    var lastReception: MonotonicTime
    /// A buffer for a request that is no command, when the reactor's pool has none left: pings and logouts work all the same.
    private(set) lazy var reserve = BufferPool(limit: Self.reserveLimit)
    /// The longest data segment that a target here declares to take (MaxRecvDataSegmentLength).
    private static let reserveLimit = 262_144

    // Sending.
    var output = OutputQueue(pieceLimit: 16, leaseLimit: 1, headerCapacity: 16384)
    var isWriteBlocked = false
    /// What the peer's PDUs of this turn have cost: the bytes of data that they moved, and `pduWork` for each.
    var turnWork = 0
    /// PDUs that came when the turn had its share of work; the next turns handle them before anything else is received.
    var postponed: BufferLease?
    /// PDUs whose answers may still be queued.
    var unsentPDUs = 0
    var isTurnEndScheduled = false
    /// Commands whose Data-In did not fit the output queue at once, oldest first.
    var sending: [CommandSlot] = []

    // Login, then full feature phase.
    var login: LoginMachine<PortAuthority>?
    /// The logical units that the login was granted: those of the map, the target's own when nil.
    var grantedLogicalUnits: LogicalUnitMap?
    var session: Session?
    /// The CID and the TSIH, once the login is done; written before the registry knows them.
    var connectionID: UInt16 = 0
    var targetSessionHandle: UInt16?
    /// The connection's place in its session.
    var place = CommandSlot.nowhere
    /// What is kept to be sent again; nil at ErrorRecoveryLevel 0.
    var recovery: ConnectionRecovery?
    var parameters = NegotiatedParameters()
    /// The limit of what goes out, and the digests that go with it.
    var sendFramer = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
    var status = StatusSequence()
    /// Whether ExpStatSN of what comes in matters: to what is kept, or to response fences.
    var readsAcknowledgements = false
    /// The highest ExpStatSN that came in.
    var acknowledgedStatSN = SequenceNumber(0)
    var text: TextMachine?
    var pingTag: UInt32?
    var nextPingTag: UInt32 = 1
    var isLogoutRequested = false
    var pace: RequestPace

    init(server: ISCSIServer, socket: StreamSocket, portal: Portal) {
        self.server = server
        self.socket = socket
        self.portal = portal
        reactor = portal.reactor
        let unknown = SocketAddress(path: "unknown")
        peerAddress = socket.peerAddress ?? unknown
        localAddress = socket.localAddress ?? unknown
        lastReception = reactor.now
        pace = RequestPace(rate: server.limits.requestsPerSecond)
    }

    /// Begins to listen to the peer, on the portal's reactor.
    func begin() {
        login = LoginMachine(
            authority: PortAuthority(connection: self), windowLimit: server.limits.commandWindow)
        guard register() else { return }
        startTimer(server.limits.loginDuration)
    }

    private func startTimer(_ delay: Duration) {
        timer = reactor.schedule(after: delay, self, token: Self.watchToken)
        if timer == nil { close(.outOfTimers) }
    }

    /// Registers with the reactor; false, and the connection closed, when that fails.
    func register() -> Bool {
        interest = .readable
        do throws(SystemError) {
            registration = try reactor.register(socket.fileDescriptor, interest: interest, handler: self)
            return true
        } catch {
            close(.failed(error))
            return false
        }
    }

    /// Leaves the reactor without closing the socket.
    func leaveReactor() {
        if let registration { reactor.unregister(registration) }
        registration = nil
        for timer in [timer, pauseTimer] {
            if let timer { reactor.cancel(timer) }
        }
        timer = nil
        pauseTimer = nil
    }

    /// Leaves the portal's reactor for good.
    func leavePortal() {
        leaveReactor()
        hasLeftPortal = true
    }

    /// Arrives at the session's reactor.
    func arrive(at reactor: Reactor) {
        self.reactor = reactor
        lastReception = reactor.now
    }

    /// Starts the timer that watches for silence.
    func watchForSilence() {
        startTimer(server.limits.keepAliveInterval)
    }

    var isClosed: Bool {
        if case .closed = phase { return true }
        return false
    }

    // MARK: End

    /// Closes at once: what is queued is dropped, and tasks end unless another connection may take them over.
    func close(_ reason: CloseReason) {
        guard !isClosed else { return }
        phase = .closed
        leaveReactor()
        login = nil
        // Before the buffers go, because commands that wait for another connection keep theirs.
        session?.remove(self, .failed, reason)
        leaveSession()
        incoming.reset()
        recovery = nil
        postponed = nil
        output.discard()
        socket.shutdownWriting()
        server.connectionClosed(self, reason: reason)
    }

    /// Has nothing to do with its session any more; what is queued may still be sent.
    func leaveSession() {
        session = nil
        place = CommandSlot.nowhere
        sending.removeAll()
        recovery?.resends.removeAll()
    }

    /// Closes for the sake of newer connections, on the portal's reactor, unless it has logged in meanwhile.
    func makeRoom() {
        if !hasLeftPortal { close(.displaced) }
    }

    /// Closes when everything that is queued is sent.
    func closeAfterSending(_ reason: CloseReason) {
        guard isOpen else { return }
        phase = .closing(reason)
        scheduleTurnEnd()
    }

    /// Ends a connection that has a session, on the session's reactor: gently when it has arrived there.
    func end(_ reason: CloseReason) {
        if session == nil { close(reason) } else { closeAfterSending(reason) }
    }

    // MARK: Output

    /// Has `turnEnded` called at the end of this turn.
    func scheduleTurnEnd() {
        guard !isTurnEndScheduled, !isClosed else { return }
        isTurnEndScheduled = true
        reactor.afterEvents(self)
    }

    /// Sends what is queued; false when the connection is over.
    @discardableResult
    func flush() -> Bool {
        guard !isWriteBlocked else { return true }
        unsentPDUs = 0
        switch output.flush(to: socket, counters: reactor.counters) {
        case .drained:
            return true
        case .blocked:
            isWriteBlocked = true
            return updateInterest()
        case .failed(let code):
            close(.failed(SystemError(code: code, operation: "send to", path: peerAddress.description)))
            return false
        }
    }

    /// Whether PDUs of the peer are taken: it takes its answers, and has not asked for too much.
    var mayReceive: Bool {
        isOpen && !pace.isPaused && (!isWriteBlocked || output.queuedBytes < server.limits.outputBacklog)
    }

    /// Listens for room to write while there is none, and to the peer while it may go on; false when the connection is over.
    @discardableResult
    func updateInterest() -> Bool {
        var wanted: ReadyEvents = []
        if isWriteBlocked { wanted.insert(.writable) }
        if mayReceive { wanted.insert(.readable) }
        guard wanted != interest, let registration else { return true }
        interest = wanted
        do throws(SystemError) {
            try reactor.modify(registration, interest: wanted)
            return true
        } catch {
            close(.failed(error))
            return false
        }
    }
}

extension Connection: ReadyHandler {
    func ready(_ events: ReadyEvents) {
        if events.contains(.writable), isWriteBlocked {
            isWriteBlocked = false
            scheduleTurnEnd()
        }
        if !events.isDisjoint(with: [.readable, .failed]) {
            guard isOpen else {
                // Only an error is of interest now; the peer may well send more.
                if !events.isDisjoint(with: .failed) { close(.peerClosed) }
                return
            }
            receive()
        }
    }
}

extension Connection: TurnHandler {
    func turnEnded() {
        isTurnEndScheduled = false
        guard !isClosed else { return }
        if postponed != nil, mayReceive, turnWork < server.limits.turnWork { handlePostponed() }
        turnWork = 0
        guard !isClosed, sendQueuedData(), flush() else { return }
        if output.isEmpty {
            switch phase {
            case .closing(let reason): return close(reason)
            case .starting(let reply, let result): return moveToSession(reply, result)
            case .login, .fullFeature, .closed: break
            }
        }
        if hasDataToSend && !isWriteBlocked || postponed != nil && mayReceive { scheduleTurnEnd() }
        updateInterest()
    }
}

extension Connection: TimerHandler {
    private static let watchToken: UInt64 = 0
    /// The token of `pauseTimer`.
    static let pauseToken: UInt64 = 1

    func timerFired(_ token: UInt64) {
        if token == Self.pauseToken { return endPause() }
        timer = nil
        switch phase {
        case .login, .starting: close(.loginTimedOut)
        case .closing, .closed: close(.answersNotTaken)
        case .fullFeature:
            let silence = reactor.now - lastReception
            if silence >= server.limits.keepAliveInterval {
                guard pingTag == nil else { return close(.noAnswerToPing) }
                ping()
            }
            session?.watchDataOut(of: self)
            text?.elapse()
            if !isClosed { watchForSilence() }
        }
    }
}
