internal import Platform
internal import Synchronization

/// A listening socket on a reactor: it accepts connections, which begin their login there.
final class Portal: @unchecked Sendable {
    /// The most connections accepted in one turn, so that a flood of them leaves time for others.
    private static let acceptLimit = 64
    /// How long the portal pauses when the system has no descriptor or memory for a connection.
    private static let restAfterExhaustion = Duration.milliseconds(200)
    private static let restToken: UInt64 = 0
    private static let drainToken: UInt64 = 1

    let socket: ListenSocket
    let reactor: Reactor
    /// The tag of the portal group that it belongs to (RFC 7143 section 4.2.7.1).
    let groupTag: UInt16
    private unowned let server: ISCSIServer
    private let isDrainingFlag = Atomic<Bool>(false)
    // On the reactor only.
    private var registration: RegistrationName?
    private var rest: TimerName?
    private var drainEnd: TimerName?
    /// The last try to listen has failed, and was logged.
    private var hasFailed = false

    init(server: ISCSIServer, socket: ListenSocket, groupTag: UInt16, reactor: Reactor) {
        self.server = server
        self.socket = socket
        self.groupTag = groupTag
        self.reactor = reactor
    }

    /// Whether new logins of normal sessions are sent elsewhere. On any thread.
    var isDraining: Bool { isDrainingFlag.load(ordering: .acquiring) }

    /// Begins to accept, on the reactor.
    func begin() {
        do throws(SystemError) {
            registration = try reactor.register(socket.fileDescriptor, interest: .readable, handler: self)
            hasFailed = false
        } catch {
            if !hasFailed { server.portalFailed(self, error) }
            hasFailed = true
            takeRest()
        }
    }

    /// Tries again after a while; at once when no timer is left for that.
    private func takeRest() {
        rest = reactor.schedule(after: Self.restAfterExhaustion, self, token: Self.restToken)
        if rest != nil { stopAccepting() }
    }

    /// Accepts no more, on the reactor.
    func end() {
        stopAccepting()
        for timer in [rest, drainEnd] {
            if let timer { reactor.cancel(timer) }
        }
        rest = nil
        drainEnd = nil
    }

    /// Sends new logins elsewhere from now on, and closes what came in here and is left after `gracePeriod`.
    func drain(for gracePeriod: Duration) {
        isDrainingFlag.store(true, ordering: .releasing)
        reactor.postCompletion { [self] in
            if let drainEnd { reactor.cancel(drainEnd) }
            drainEnd = reactor.schedule(after: gracePeriod, self, token: Self.drainToken)
            if drainEnd == nil { server.closeConnections(through: self) }
        }
    }

    /// Takes logins again, and closes nothing more.
    func resume() {
        isDrainingFlag.store(false, ordering: .releasing)
        reactor.postCompletion { [self] in
            if let drainEnd { reactor.cancel(drainEnd) }
            drainEnd = nil
        }
    }

    private func stopAccepting() {
        if let registration { reactor.unregister(registration) }
        registration = nil
    }
}

extension Portal: ReadyHandler {
    func ready(_ events: ReadyEvents) {
        for _ in 0..<Self.acceptLimit {
            switch socket.accept() {
            case .accepted(let accepted):
                accepted.setNoDelay()
                server.accept(accepted, from: self)
            case .wouldBlock:
                return
            case .lost:
                continue
            case .failed:
                // The connection stays in the backlog; without a pause it would be reported at once again.
                return takeRest()
            }
        }
    }
}

extension Portal: TimerHandler {
    func timerFired(_ token: UInt64) {
        if token == Self.drainToken {
            drainEnd = nil
            server.closeConnections(through: self)
        } else {
            rest = nil
            begin()
        }
    }
}
