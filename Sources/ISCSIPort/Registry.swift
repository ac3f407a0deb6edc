internal import ISCSI
internal import Platform
internal import TargetCore

/// A session as the registry knows it.
struct SessionRecord: Sendable {
    let session: Session
    /// The connections that have logged in; none while the session waits for one to recover it.
    var connections: [Connection]
    let parameters: NegotiatedParameters
    let start: MonotonicTime
    /// The CIDs of connections whose login is about to end.
    fileprivate var joining: [ObjectIdentifier: UInt16] = [:]

    init(session: Session, connection: Connection, parameters: NegotiatedParameters, start: MonotonicTime) {
        self.session = session
        connections = [connection]
        self.parameters = parameters
        self.start = start
    }

    var handle: UInt16 { session.targetSessionHandle }

    /// Whether one more connection with that CID would be too many.
    fileprivate func isFull(for connectionID: UInt16) -> Bool {
        var identifiers = Set(connections.map(\.connectionID)).union(joining.values)
        identifiers.insert(connectionID)
        return identifiers.count > parameters.maxConnections
    }
}

/// What makes a session the same as another (RFC 7143 section 6.3.5): the initiator port and the target port.
private struct SessionKey: Hashable {
    let initiatorName: String
    let initiatorSessionID: InitiatorSessionID
    let targetName: String
    let portalGroupTag: UInt16

    /// Nil for discovery sessions, which have no limit of their own.
    init?(_ session: Session) {
        guard let target = session.target else { return nil }
        initiatorName = session.identity.initiatorName
        initiatorSessionID = session.identity.initiatorSessionID
        targetName = target.name
        portalGroupTag = session.portalGroupTag
    }
}

/// A nexus as the registry knows it.
private struct NexusRecord {
    /// The session; nil when it has ended.
    var session: Session?
    let occupiedUnits = OccupiedUnits()
}

/// All connections and sessions of a server; touched at accept, login, close and by the control plane only.
struct Registry: ~Copyable {
    var portals: [Portal] = []
    private(set) var connections: [ObjectIdentifier: Connection] = [:]
    /// Connections that have not logged in; without those that had to make room and are about to close.
    private(set) var logins = LoginQueue<Connection>()
    private(set) var sessions: [UInt16: SessionRecord] = [:]
    var isStopping = false
    private var handles: Set<UInt16> = []
    /// TSIHs set aside for connections whose login is about to end, and those that such connections are about to join.
    private var expectations: [ObjectIdentifier: UInt16] = [:]
    private var nextHandle: UInt16 = 0
    /// The record of each nexus, until its session has ended and the devices have let go of all its commands.
    private var nexuses: [SessionKey: NexusRecord] = [:]
    private var sessionsOfReactor: [ObjectIdentifier: Int] = [:]
    private var sessionsOfTarget: [String: Int] = [:]

    /// Enters a new connection. At the limit of those from one address that have not logged in, or of all such, the
    /// oldest of them is given, to be closed.
    mutating func add(_ connection: Connection, _ limits: PortLimits) -> Connection? {
        let origin = connection.peerAddress.loginOrigin
        var displaced: Connection?
        if logins.count(from: origin) >= limits.loginConnectionsPerAddress {
            displaced = logins.oldest(from: origin)
        } else if logins.count >= limits.loginConnections {
            displaced = logins.oldest
        }
        if let displaced { logins.remove(displaced) }
        connections[ObjectIdentifier(connection)] = connection
        logins.append(connection, from: origin)
        return displaced
    }

    /// Notes that a connection has logged in or is closed.
    mutating func endLogin(_ connection: Connection) {
        logins.remove(connection)
    }

    /// How many sessions run on `reactor`.
    func sessionCount(on reactor: Reactor) -> Int { sessionsOfReactor[ObjectIdentifier(reactor)] ?? 0 }

    /// How many sessions each target has that has any.
    var sessionCounts: [String: Int] { sessionsOfTarget }

    /// Takes a connection out, with what was set aside for it; false when it is out already.
    mutating func remove(_ connection: Connection) -> Bool {
        let identifier = ObjectIdentifier(connection)
        guard connections.removeValue(forKey: identifier) != nil else { return false }
        endLogin(connection)
        if let handle = expectations.removeValue(forKey: identifier) {
            if sessions[handle] == nil {
                handles.remove(handle)
            } else {
                sessions[handle]?.joining[identifier] = nil
            }
        }
        if let handle = connection.targetSessionHandle {
            sessions[handle]?.connections.removeAll { $0 === connection }
        }
        return true
    }

    // MARK: Sessions

    /// Sets a TSIH aside for the session of a connection, never 0; nil when there are `limit` sessions, which is below
    /// 65,535.
    mutating func reserveHandle(for connection: Connection, limit: Int) -> UInt16? {
        guard handles.count < limit else { return nil }
        repeat { nextHandle &+= 1 } while nextHandle == 0 || handles.contains(nextHandle)
        handles.insert(nextHandle)
        expectations[ObjectIdentifier(connection)] = nextHandle
        return nextHandle
    }

    /// Whether `session` would take the place of one that belongs to another user.
    func isForeign(_ session: Session) -> Bool {
        guard let key = SessionKey(session), let former = nexuses[key]?.session else { return false }
        return !former.belongs(to: session.authenticatedName)
    }

    /// Enters a session and gives the one that it reinstates, if there is one.
    mutating func addSession(_ record: SessionRecord) -> Session? {
        for connection in record.connections { expectations[ObjectIdentifier(connection)] = nil }
        sessions[record.handle] = record
        count(record, by: 1)
        guard let key = SessionKey(record.session) else { return nil }
        let former = nexuses[key]?.session
        nexuses[key, default: NexusRecord()].session = record.session
        record.session.occupiedUnits = nexuses[key]?.occupiedUnits
        return former
    }

    /// The session that a login with that TSIH may join, or why it may not (section 6.3.1, with the statuses of
    /// 11.13.5).
    func sessionToJoin(_ identity: LoginIdentity, portalGroupTag: UInt16) -> Result<SessionRecord, LoginRefusal> {
        guard let record = sessions[identity.targetSessionHandle] else {
            return .failure(LoginRefusal(.sessionDoesNotExist))
        }
        let session = record.session
        guard identity.sessionType == .normal, session.target != nil,
            session.identity.initiatorName == identity.initiatorName,
            session.identity.initiatorSessionID == identity.initiatorSessionID,
            session.target?.name == identity.targetName
        else { return .failure(LoginRefusal(.sessionDoesNotExist)) }
        // A session does not span portal groups (section 4.2.4).
        guard session.portalGroupTag == portalGroupTag else { return .failure(LoginRefusal(.cannotIncludeInSession)) }
        guard !record.isFull(for: identity.connectionID) else { return .failure(LoginRefusal(.tooManyConnections)) }
        return .success(record)
    }

    /// Counts a connection as one of a session that it is about to join.
    mutating func reserveConnection(for connection: Connection, _ identity: LoginIdentity) {
        let identifier = ObjectIdentifier(connection)
        expectations[identifier] = identity.targetSessionHandle
        sessions[identity.targetSessionHandle]?.joining[identifier] = identity.connectionID
    }

    /// Enters a connection into the session that counts it already; nil when that has ended.
    mutating func join(_ connection: Connection, _ handle: UInt16) -> SessionRecord? {
        let identifier = ObjectIdentifier(connection)
        expectations[identifier] = nil
        guard sessions[handle]?.joining.removeValue(forKey: identifier) != nil else { return nil }
        sessions[handle]?.connections.append(connection)
        return sessions[handle]
    }

    /// Takes a session out and frees its TSIH.
    mutating func removeSession(_ handle: UInt16) -> SessionRecord? {
        guard let record = sessions.removeValue(forKey: handle) else { return nil }
        handles.remove(handle)
        count(record, by: -1)
        if let key = SessionKey(record.session), nexuses[key]?.session === record.session {
            nexuses[key]?.session = nil
        }
        forgetNexus(of: record.session)
        return record
    }

    /// How many nexuses have a session, or occupied units.
    var nexusCount: Int { nexuses.count }

    /// Forgets the nexus of a session, unless it has a session or occupied units.
    mutating func forgetNexus(of session: Session) {
        guard let key = SessionKey(session), let nexus = nexuses[key], nexus.session == nil,
            nexus.occupiedUnits.isEmpty
        else { return }
        nexuses[key] = nil
    }

    private mutating func count(_ record: SessionRecord, by step: Int) {
        sessionsOfReactor[ObjectIdentifier(record.session.reactor), default: 0] += step
        guard let name = record.session.target?.name else { return }
        let count = (sessionsOfTarget[name] ?? 0) + step
        sessionsOfTarget[name] = count > 0 ? count : nil
    }
}

/// Why a login is refused.
struct LoginRefusal: Error {
    let status: LoginStatus

    init(_ status: LoginStatus) {
        self.status = status
    }
}
