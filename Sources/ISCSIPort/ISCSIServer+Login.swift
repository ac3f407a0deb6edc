internal import ISCSI
internal import Logging
internal import Platform
internal import Synchronization
internal import TargetCore

// Logins, and the sessions that they begin (RFC 7143 section 6.3).
extension ISCSIServer {
    /// Whether a login may go on (called on a reactor).
    func admit(_ identity: LoginIdentity, _ connection: Connection) -> LoginAdmission {
        if registry.withLock({ $0.isStopping }) { return .refused(.serviceUnavailable) }
        // One connection a session: there is none to join.
        guard identity.targetSessionHandle == 0 else { return .refused(.sessionDoesNotExist) }
        return authorize(identity, connection)
    }

    /// Sets a TSIH aside; nil when there are too many sessions.
    func reserveHandle() -> UInt16? {
        registry.withLock { $0.reserveHandle(limit: limits.sessions) }
    }

    /// Makes the session of a finished login and brings the connection to it, after a session that it reinstates has ended.
    func startSession(_ connection: Connection, _ reply: LoginReply, _ result: LoginResult) {
        let identity = result.identity
        let target = identity.sessionType == .normal ? identity.targetName.flatMap { targets[$0] } : nil
        let isTargetGone = identity.sessionType == .normal && target == nil
        let (session, former) = registry.withLock { registry in
            let place = target == nil ? connection.reactor : target?.homeReactor ?? leastLoaded(registry)
            let session = Session(
                identity: identity, targetSessionHandle: result.targetSessionHandle, target: target,
                logicalUnits: connection.grantedLogicalUnits, reactor: place, limits: limits,
                window: result.commandWindow)
            let record = SessionRecord(
                session: session, connection: connection, parameters: result.parameters, start: .current())
            registry.endLogin(connection)
            let former = registry.addSession(record)
            session.isWaitingForFormer = former != nil
            return (session, former)
        }
        if isTargetGone { return connection.close(.targetRemoved) }
        // Asked once more, now that the session can be found: access may have been withdrawn during the login.
        guard mayStay(session, connection) else { return connection.close(.accessWithdrawn) }
        logger.info(
            "session started",
            metadata: [
                "initiator": "\(identity.initiatorName)", "target": "\(target?.name ?? "discovery")",
                "peer": "\(connection.peerAddress)", "reactor": "\(session.reactor.name)",
            ])
        let begin: @Sendable () -> Void = { connection.beginFullFeature(session, reply, result) }
        if let former {
            former.session.reactor.post {
                former.connection.close(.reinstated)
                former.session.afterLastCommand {
                    session.reactor.post {
                        begin()
                        session.formerHasEnded()
                    }
                }
            }
        } else if session.reactor.isCurrent {
            begin()
        } else {
            session.reactor.post(begin)
        }
    }

    /// The reactor with the fewest sessions.
    private func leastLoaded(_ registry: borrowing Registry) -> Reactor {
        var (least, count) = (reactors[0], Int.max)
        for reactor in reactors {
            let own = registry.sessionCount(on: reactor)
            if own < count { (least, count) = (reactor, own) }
        }
        return least
    }
}
