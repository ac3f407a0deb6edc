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
        case .displaced: "it had not logged in, and made room for newer connections"
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

/// One connection of an initiator, from its acceptance to its end: login, numbering of its responses, and what its PDUs
/// mean. Its datamover moves them.
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
    /// What moves its PDUs and the data of its tasks; nil before it has begun and after it was closed.
    private(set) var datamover: (any Datamover)?
    let peerAddress: SocketAddress
    let localAddress: SocketAddress
    /// The portal that the connection came in on.
    let portal: Portal
    /// The reactor of the portal, where the login happens.
    var portalReactor: Reactor { portal.reactor }
    /// The reactor that the connection belongs to now.
    private(set) var reactor: Reactor
    /// The login is done, and the connection moves to its session's reactor, or has moved. Written and read on the
    /// portal's reactor, where the phase must not be read any more.
    private(set) var hasLeftPortal = false
    var phase = Phase.login {
        didSet { (isOpen, isFullFeature) = phase.flags }
    }
    /// Whether PDUs are still taken from the peer. Kept beside the phase, whose values are costly to compare for every
    /// PDU.
    private(set) var isOpen = true
    /// Whether the login is done and the session set up.
    private(set) var isFullFeature = false
    /// Watches over the login, then for silence.
    private var timer: TimerName?
    /// The end of a pause in reading.
    var pauseTimer: TimerName?

    /// When something came last.
    var lastReception: MonotonicTime

    // Login, then full feature phase.
    var login: LoginMachine<PortAuthority>?
    /// The logical units that the login was granted: those of the map, the target's own when nil.
    var grantedLogicalUnits: LogicalUnitMap?
    var session: Session?
    /// The CID and the TSIH, once the login is done; written before the registry knows them.
    var connectionID: UInt16 = 0
    var targetSessionHandle: UInt16?
    /// Its index among the connections of its session.
    var connectionIndex = CommandSlot.noConnection
    /// What is kept to be sent again; nil at ErrorRecoveryLevel 0.
    var recovery: ConnectionRecovery?
    var parameters = NegotiatedParameters()
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

    init(server: ISCSIServer, portal: Portal, peerAddress: SocketAddress, localAddress: SocketAddress) {
        self.server = server
        self.portal = portal
        self.peerAddress = peerAddress
        self.localAddress = localAddress
        reactor = portal.reactor
        lastReception = reactor.now
        pace = RequestPace(rate: server.limits.requestsPerSecond)
    }

    /// Begins to listen to the peer through `datamover`, on the portal's reactor.
    func begin(on datamover: any Datamover) {
        self.datamover = datamover
        login = LoginMachine(
            authority: PortAuthority(connection: self), windowLimit: server.limits.commandWindow)
        do throws(SystemError) {
            try datamover.attach(to: reactor)
        } catch {
            return close(.failed(error))
        }
        startTimer(server.limits.loginDuration)
    }

    private func startTimer(_ delay: Duration) {
        timer = reactor.schedule(after: delay, self, token: Self.watchToken)
        if timer == nil { close(.outOfTimers) }
    }

    private func cancelTimers() {
        for timer in [timer, pauseTimer] {
            if let timer { reactor.cancel(timer) }
        }
        timer = nil
        pauseTimer = nil
    }

    /// Leaves the portal's reactor for good, without closing.
    func leavePortal() {
        datamover?.detach()
        cancelTimers()
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
        datamover?.detach()
        cancelTimers()
        login = nil
        // Before the buffers go, because commands that wait for another connection keep theirs.
        session?.remove(self, .failed, reason)
        leaveSession()
        recovery = nil
        datamover?.terminate()
        datamover = nil
        server.connectionClosed(self, reason: reason)
    }

    /// Parts from its session; what is queued may still be sent.
    func leaveSession() {
        session = nil
        connectionIndex = CommandSlot.noConnection
        datamover?.withdrawAllData()
    }

    /// Closes to make room for newer connections, on the portal's reactor, unless it has logged in meanwhile.
    func makeRoom() {
        if !hasLeftPortal { close(.displaced) }
    }

    /// Closes when everything that is queued is sent.
    func closeAfterSending(_ reason: CloseReason) {
        guard isOpen else { return }
        phase = .closing(reason)
        datamover?.finish()
    }

    /// Ends a connection that has a session, on the session's reactor: after what is queued has been sent when it has
    /// arrived there.
    func end(_ reason: CloseReason) {
        if session == nil { close(reason) } else { closeAfterSending(reason) }
    }

    // MARK: What the datamover asks and tells

    /// Whether PDUs of the peer are wanted: it has not asked for too much.
    var mayReceive: Bool { isOpen && !pace.isPaused }

    /// Nothing is left to send; true when the connection has left its datamover, or taken it elsewhere.
    func allSent() -> Bool {
        switch phase {
        case .closing(let reason): close(reason)
        case .starting(let reply, let result): moveToSession(reply, result)
        case .login, .fullFeature, .closed: return false
        }
        return true
    }

    /// Whether a PDU that is no command may come now; the connection is closed when not.
    func takesControl() -> Bool {
        guard case .starting = phase else { return true }
        close(.protocolError("a PDU came before the login was answered"))
        return false
    }

    /// Takes a PDU that moves no data of a task.
    func receiveControl(_ header: RawSpan, _ data: RawSpan, isDataValid: Bool) {
        switch phase {
        case .login: receiveLogin(header, data)
        case .starting: _ = takesControl()
        case .fullFeature: if isDataValid { receiveRequest(header, data) } else { reject(header, .dataDigestError) }
        case .closing, .closed: break
        }
    }

    // MARK: What goes out

    /// Sends a PDU without data; false, and the connection closed, when the peer has let the queue fill up.
    @discardableResult
    func send<Header: PDUHeader>(_ header: Header) -> Bool {
        send(header, data: RawSpan())
    }

    /// Sends a PDU with a copy of `data`, whose length its header must carry.
    @discardableResult
    func send<Header: PDUHeader>(_ header: Header, data: RawSpan) -> Bool {
        let segment = BasicHeaderSegment(header)
        if recovery != nil { keepIfNumbered(Header.opcode, segment, data: data) }
        return datamover?.send(segment, data: data) ?? false
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
