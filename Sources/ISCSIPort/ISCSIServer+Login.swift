internal import ISCSI
internal import Logging
internal import Platform
internal import Synchronization
internal import TargetCore

// Logins, and the sessions that they begin (RFC 7143 section 6.3).
extension ISCSIServer {
    /// Whether the initiator may log in to the target that it names; called on a reactor.
    func admit(_ identity: LoginIdentity, _ connection: Connection) -> LoginAdmission {
        if registry.withLock({ $0.isStopping }) { return .refused(.serviceUnavailable) }
        let admission = authorize(identity, connection)
        guard case .granted(var grant) = admission else { return admission }
        grant.settings.preferred.maxConnections = limits.sessionConnections
        guard identity.targetSessionHandle != 0 else { return .granted(grant) }
        let found = registry.withLock { $0.sessionToJoin(identity, portalGroupTag: connection.portal.groupTag) }
        switch found {
        case .failure(let refusal): return .refused(refusal.status)
        case .success(let record):
            grant.joinedWindow = record.session.recentWindow
            grant.joinedParameters = record.parameters
            return .granted(grant)
        }
    }

    /// Sets aside what the session needs, or a connection in the one that it joins.
    func establish(_ identity: LoginIdentity, _ connection: Connection) -> SessionAdmission {
        registry.withLock { registry in
            guard identity.targetSessionHandle != 0 else {
                guard let handle = registry.reserveHandle(for: connection, limit: limits.sessions) else {
                    return .refused(.outOfResources)
                }
                return .established(targetSessionHandle: handle)
            }
            switch registry.sessionToJoin(identity, portalGroupTag: connection.portal.groupTag) {
            case .failure(let refusal): return .refused(refusal.status)
            case .success:
                registry.reserveConnection(for: connection, identity)
                return .established(targetSessionHandle: identity.targetSessionHandle)
            }
        }
    }

    /// Brings a connection whose login is done to its session: one that it joins, or a new one, which begins when the
    /// one that it reinstates has ended.
    func startSession(_ connection: Connection, _ reply: LoginReply, _ result: LoginResult) {
        connection.connectionID = result.identity.connectionID
        connection.targetSessionHandle = result.targetSessionHandle
        if result.identity.targetSessionHandle != 0 {
            joinSession(connection, reply, result)
        } else {
            newSession(connection, reply, result)
        }
    }

    private func joinSession(_ connection: Connection, _ reply: LoginReply, _ result: LoginResult) {
        let (joined, isForeign) = registry.withLock { registry -> (Session?, Bool) in
            registry.endLogin(connection)
            let present = registry.sessions[result.targetSessionHandle]?.session
            guard present?.belongs(to: result.authenticatedName) != false else { return (nil, true) }
            return (registry.join(connection, result.targetSessionHandle)?.session, false)
        }
        guard !isForeign else { return refuse(connection, reply, result) }
        guard let session = joined else { return connection.close(.sessionEnded) }
        guard mayStay(session, connection) else { return connection.close(.accessWithdrawn) }
        logger.debug(
            "connection joined",
            metadata: ["initiator": "\(session.identity.initiatorName)", "peer": "\(connection.peerAddress)"])
        run(on: session.reactor) { connection.beginFullFeature(session, reply, result) }
    }

    /// Tells the initiator at the end of its login that the session is another user's (RFC 7143 section 11.13.5:
    /// authorization failure).
    private func refuse(_ connection: Connection, _ reply: LoginReply, _ result: LoginResult) {
        connection.refuseStart(
            result.identity, result.authenticatedName, reply, .authorizationFailure, on: connection.reactor)
    }

    private func newSession(_ connection: Connection, _ reply: LoginReply, _ result: LoginResult) {
        let identity = result.identity
        let target = identity.sessionType == .normal ? identity.targetName.flatMap { targets[$0] } : nil
        let begun = registry.withLock { registry -> (Session, Session?)? in
            let reactor = target == nil ? connection.reactor : target?.homeReactor ?? leastLoaded(registry)
            let session = Session(
                server: self, identity: identity, authenticatedName: result.authenticatedName,
                targetSessionHandle: result.targetSessionHandle,
                portalGroupTag: connection.portal.groupTag, target: target,
                logicalUnits: connection.grantedLogicalUnits,
                reactor: reactor, parameters: result.parameters, window: result.commandWindow)
            let record = SessionRecord(
                session: session, connection: connection, parameters: result.parameters, start: .current())
            registry.endLogin(connection)
            guard !registry.isForeign(session) else { return nil }
            let former = registry.addSession(record)
            session.succession.isWaiting = former != nil
            return (session, former)
        }
        guard let (session, former) = begun else { return refuse(connection, reply, result) }
        var metadata: Logger.Metadata = [
            "initiator": "\(identity.initiatorName)", "target": "\(target?.name ?? "discovery")",
            "peer": "\(connection.peerAddress)", "reactor": "\(session.reactor.name)",
        ]
        if let user = result.authenticatedName { metadata["user"] = "\(user)" }
        logger.info("session started", metadata: metadata)
        // Asked once more, now that the session can be found: during the login access may have been withdrawn, or the
        // target taken out, or another one of its name put in.
        let withdrawal: CloseReason? =
            !mayStay(session, connection) ? .accessWithdrawn : isOffered(session) ? nil : .targetRemoved
        let begin: @Sendable () -> Void = {
            connection.beginFullFeature(session, reply, result)
            if let withdrawal { session.end(withdrawal) }
            // The connection was closed meanwhile.
            if session.connectionCount == 0 { session.end(.sessionEnded) }
        }
        guard let former else { return run(on: session.reactor, begin) }
        run(on: session.reactor) {
            session.waitForFormer(connection, reply, begin: begin)
            former.reactor.postCompletion {
                former.end(.reinstated)
                former.handOver(to: session)
            }
        }
    }

    /// Whether the target of a session is in the directory, or the session needs none.
    private func isOffered(_ session: Session) -> Bool {
        guard let target = session.target else { return session.identity.sessionType == .discovery }
        return targets[target.name] === target
    }

    private func run(on reactor: Reactor, _ body: @escaping @Sendable () -> Void) {
        if reactor.isCurrent { body() } else { reactor.postCompletion(body) }
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
