internal import Platform

/// A listening socket on a reactor: it accepts connections, which begin their login there.
final class Portal: @unchecked Sendable {
    /// The most connections accepted in one turn, so that a flood of them leaves time for others.
    private static let acceptLimit = 64
    /// How long the portal rests when the process has no descriptor left.
    private static let restAfterExhaustion = Duration.milliseconds(200)

    let socket: ListenSocket
    let reactor: Reactor
    private unowned let server: ISCSIServer
    private var registration: RegistrationName?

    init(server: ISCSIServer, socket: ListenSocket, reactor: Reactor) {
        self.server = server
        self.socket = socket
        self.reactor = reactor
    }

    /// Begins to accept, on the reactor.
    func begin() {
        do throws(SystemError) {
            registration = try reactor.register(socket.fileDescriptor, interest: .readable, handler: self)
        } catch {
            server.portalFailed(self, error)
        }
    }

    /// Accepts no more, on the reactor.
    func end() {
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
                server.accept(accepted, on: reactor)
            case .wouldBlock:
                return
            case .failed(Errno.tooManyOpenFiles), .failed(Errno.tooManyOpenFilesInSystem):
                // The connection stays in the backlog; without a rest it would be reported at once again.
                end()
                reactor.schedule(after: Self.restAfterExhaustion, self, token: 0)
                return
            case .failed:
                // The peer was gone before it was accepted.
                continue
            }
        }
    }
}

extension Portal: TimerHandler {
    func timerFired(_ token: UInt64) { begin() }
}
