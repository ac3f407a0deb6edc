internal import Bytes
internal import ISCSI
public import Logging
public import Platform
internal import Synchronization
public import TargetCore

/// The iSCSI front end: portals, connections and sessions on a set of reactors.
///
/// Portals and targets can be added and removed while it runs. Methods may be called on any thread but a reactor's.
public final class ISCSIServer: Sendable {
    /// The tag of the one target portal group that all portals form.
    public static let portalGroupTag: UInt16 = 1

    /// The limits.
    public let limits: PortLimits
    private let reactors: [Reactor]
    private let targets: TargetDirectory
    private let logger: Logger
    private let registry: Mutex<Registry>

    /// A server of `targets` on `reactors` (at least one), with no portal yet.
    public init(
        reactors: [Reactor], targets: TargetDirectory, limits: PortLimits = PortLimits(),
        logger: Logger = Logger(label: "carousel.iscsi")
    ) {
        precondition(!reactors.isEmpty, "a server needs a reactor")
        precondition(limits.commandWindow + limits.immediateCommands <= 1 << CommandSlot.indexBits, "too many slots")
        self.reactors = reactors
        self.targets = targets
        self.limits = limits
        self.logger = logger
        registry = Mutex(Registry())
    }

    // MARK: Portals

    /// Listens on `address` and gives the address with its port, which matters when 0 was asked for.
    @discardableResult
    public func addPortal(_ address: SocketAddress) throws(SystemError) -> SocketAddress {
        let socket = try ListenSocket(listeningOn: address, bufferSize: StreamSocket.storageBufferSize)
        let portal = registry.withLock { registry in
            let reactor = reactors[registry.portals.count % reactors.count]
            let portal = Portal(server: self, socket: socket, reactor: reactor)
            registry.portals.append(portal)
            return portal
        }
        portal.reactor.post { portal.begin() }
        logger.info("listening", metadata: ["portal": "\(socket.address)"])
        return socket.address
    }

    /// Accepts no more connections on `address`; those that exist stay.
    public func removePortal(_ address: SocketAddress) {
        let removed = registry.withLock { registry in
            let removed = registry.portals.filter { $0.socket.address == address }
            registry.portals.removeAll { $0.socket.address == address }
            return removed
        }
        for portal in removed { portal.reactor.post { portal.end() } }
    }

    /// The addresses that are listened on.
    public var portals: [SocketAddress] { registry.withLock { $0.portals.map(\.socket.address) } }

    func portalFailed(_ portal: Portal, _ error: SystemError) {
        logger.error("portal failed", metadata: ["portal": "\(portal.socket.address)", "reason": "\(error)"])
    }

    // MARK: Connections

    /// Takes a new connection, on the portal's reactor, or closes it at a limit.
    ///
    /// When too many have not logged in, the oldest of them makes room: peers that connect and stay silent keep nobody out for
    /// longer than it takes to replace all of them.
    func accept(_ socket: StreamSocket, on reactor: Reactor) {
        let connection = Connection(server: self, socket: socket, reactor: reactor)
        let (isAdmitted, displaced) = registry.withLock { registry -> (Bool, Connection?) in
            guard !registry.isStopping, registry.connections.count < limits.connections else { return (false, nil) }
            return (true, registry.add(connection, loginLimit: limits.loginConnections))
        }
        guard isAdmitted else {
            logger.debug("connection refused at a limit", metadata: ["peer": "\(connection.peerAddress)"])
            return
        }
        connection.begin()
        guard let displaced else { return }
        if displaced.portalReactor === reactor {
            displaced.makeRoom()
        } else {
            displaced.portalReactor.post { displaced.makeRoom() }
        }
    }

    func connectionClosed(_ connection: Connection, reason: CloseReason, wasInLogin: Bool) {
        let record = registry.withLock { registry -> SessionRecord? in
            guard registry.connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return nil }
            if wasInLogin { registry.endLogin(connection) }
            return connection.targetSessionHandle.flatMap { registry.removeSession($0) }
        }
        if let record {
            logger.info(
                "session ended",
                metadata: [
                    "initiator": "\(record.session.identity.initiatorName)",
                    "target": "\(record.session.target?.name ?? "discovery")", "reason": "\(reason)",
                ])
        } else {
            logger.debug("connection ended", metadata: ["peer": "\(connection.peerAddress)", "reason": "\(reason)"])
        }
    }

    // MARK: Login

    /// Whether a login may go on (called on a reactor).
    func admit(_ identity: LoginIdentity) -> LoginAdmission {
        if registry.withLock({ $0.isStopping }) { return .refused(.serviceUnavailable) }
        // One connection a session: there is none to join.
        guard identity.targetSessionHandle == 0 else { return .refused(.sessionDoesNotExist) }
        var alias: String?
        if let name = identity.targetName {
            guard let target = targets[name] else { return .refused(.targetNotFound) }
            if !target.alias.isEmpty { alias = target.alias }
        }
        return .granted(LoginGrant(targetPortalGroupTag: Self.portalGroupTag, targetAlias: alias))
    }

    /// Sets a TSIH aside; nil when all are taken.
    func reserveHandle() -> UInt16? {
        registry.withLock { $0.reserveHandle() }
    }

    /// Makes the session of a finished login and brings the connection to it, after a session that it reinstates has ended.
    func startSession(_ connection: Connection, _ reply: LoginReply, _ result: LoginResult) {
        let identity = result.identity
        let target = identity.sessionType == .normal ? identity.targetName.flatMap { targets[$0] } : nil
        let isTargetGone = identity.sessionType == .normal && target == nil
        let (session, former) = registry.withLock { registry in
            let place = target == nil ? connection.reactor : target?.homeReactor ?? leastLoaded(registry)
            let session = Session(
                identity: identity, targetSessionHandle: result.targetSessionHandle, target: target, reactor: place,
                limits: limits, window: result.commandWindow)
            let record = SessionRecord(
                session: session, connection: connection, parameters: result.parameters, start: .current())
            registry.endLogin(connection)
            let former = registry.addSession(record)
            session.isWaitingForFormer = former != nil
            return (session, former)
        }
        if isTargetGone { return connection.close(.targetRemoved) }
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
        var counts = [Int](repeating: 0, count: reactors.count)
        for record in registry.sessions.values {
            if let index = reactors.firstIndex(where: { $0 === record.session.reactor }) { counts[index] += 1 }
        }
        let least = counts.indices.min { counts[$0] < counts[$1] } ?? 0
        return reactors[least]
    }

    // MARK: Discovery

    /// The answer to SendTargets, for a connection that came in through `local`.
    func discover(_ scope: SendTargets.Scope, _ session: Session, through local: SocketAddress) -> [DiscoveredTarget] {
        let names: [String]
        if let own = session.target?.name {
            // In a normal session only the own target is named (RFC 7143 appendix C).
            if case .target(let name) = scope, name != own { return [] }
            names = [own]
        } else {
            switch scope {
            case .all: names = targets.all.map(\.name)
            case .target(let name): names = targets[name].map { [$0.name] } ?? []
            case .session: names = []
            }
        }
        let addresses = reachableAddresses(through: local)
        return names.map { DiscoveredTarget(name: $0, addresses: addresses) }
    }

    /// TargetAddress values of all portals: the one in use first, and wildcard portals as the address that the initiator used
    /// (section 13.8), if it is of their family.
    private func reachableAddresses(through local: SocketAddress) -> [String] {
        var found: [String] = []
        func add(_ host: String, _ port: UInt16?) {
            guard let port else { return }
            let address = SendTargets.address(host: host, port: port, portalGroupTag: Self.portalGroupTag)
            if !found.contains(address) { found.append(address) }
        }
        add(local.host, local.port)
        for portal in portals {
            if !portal.isWildcard {
                add(portal.host, portal.port)
            } else if portal.isIPv6 == local.isIPv6 {
                add(local.host, portal.port)
            }
        }
        return found
    }

    // MARK: Sessions

    /// The sessions, by TSIH.
    public func sessions() -> [SessionSummary] {
        let records = registry.withLock { $0.sessions.values.sorted { $0.handle < $1.handle } }
        return records.map { record in
            let session = record.session
            return SessionSummary(
                targetSessionHandle: record.handle, initiatorName: session.identity.initiatorName,
                initiatorAlias: session.identity.initiatorAlias,
                initiatorSessionID: session.identity.initiatorSessionID, targetName: session.target?.name,
                peerAddress: record.connection.peerAddress, localAddress: record.connection.localAddress,
                parameters: record.parameters, start: record.start, reactor: session.reactor.index,
                commands: session.counters.commands, sentBytes: session.counters.sentBytes,
                receivedBytes: session.counters.receivedBytes)
        }
    }

    /// How many connections there are, logged in or not.
    public var connectionCount: Int { registry.withLock { $0.connections.count } }

    /// Ends all sessions with the target of that name, after it was taken out of the directory.
    public func closeSessions(targetName: String) {
        close(.targetRemoved) { $0.session.target?.name == targetName }
    }

    /// Ends all sessions with the target of `connection`, from its reactor.
    func closeSessions(of connection: Connection, _ reason: CloseReason) {
        let name = connection.session?.target?.name
        close(reason) { $0.session.target?.name == name }
    }

    private func close(_ reason: CloseReason, _ isMeant: (SessionRecord) -> Bool) {
        let records = registry.withLock { registry in registry.sessions.values.filter(isMeant) }
        for record in records {
            record.session.reactor.post { record.connection.end(reason) }
        }
    }

    // MARK: Stop

    /// Stops: no new connections and logins, a request to log out to every initiator, and after `gracePeriod` the end of those that
    /// are left. Returns when all connections are closed.
    public func stop(gracePeriod: Duration) async {
        let (portals, records) = registry.withLock { registry in
            registry.isStopping = true
            defer { registry.portals = [] }
            return (registry.portals, Array(registry.sessions.values))
        }
        for portal in portals { portal.reactor.post { portal.end() } }
        let seconds = max(1, Int(gracePeriod.components.seconds))
        for record in records {
            record.session.reactor.post { record.connection.requestLogout(seconds: seconds) }
        }
        await waitUntilEmpty(for: gracePeriod)
        let (inLogin, inSession) = registry.withLock { registry in
            (Array(registry.connections.values), Array(registry.sessions.values))
        }
        for connection in inLogin {
            connection.portalReactor.post {
                if !connection.hasLeftPortal { connection.close(.serverStopping) }
            }
        }
        for record in inSession { record.session.reactor.post { record.connection.close(.serverStopping) } }
        await waitUntilEmpty(for: .seconds(2))
    }

    private func waitUntilEmpty(for limit: Duration) async {
        let deadline = MonotonicTime.current() + limit
        while connectionCount > 0, MonotonicTime.current() < deadline {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }
}
