internal import ISCSI
internal import Platform
internal import TargetCore

/// A session as the registry knows it.
struct SessionRecord: Sendable {
    let session: Session
    let connection: Connection
    let parameters: NegotiatedParameters
    let start: MonotonicTime

    var handle: UInt16 { session.targetSessionHandle }
}

/// What makes a session the same as another (RFC 7143 section 6.3.5): the initiator port and the target.
private struct SessionKey: Hashable {
    let initiatorName: String
    let initiatorSessionID: InitiatorSessionID
    let targetName: String

    /// Nil for discovery sessions: any number of them may be.
    init?(_ session: Session) {
        guard let target = session.target else { return nil }
        initiatorName = session.identity.initiatorName
        initiatorSessionID = session.identity.initiatorSessionID
        targetName = target.name
    }
}

/// All connections and sessions of a server; touched at accept, login, close and by the control plane only.
struct Registry: ~Copyable {
    var portals: [Portal] = []
    var connections: [ObjectIdentifier: Connection] = [:]
    /// Connections that have not logged in; without those that had to make room and are about to close.
    private(set) var logins = LoginQueue<Connection>()
    private(set) var sessions: [UInt16: SessionRecord] = [:]
    var isStopping = false
    private var handles: Set<UInt16> = []
    private var nextHandle: UInt16 = 0
    private var byKey: [SessionKey: UInt16] = [:]
    private var sessionsOfReactor: [ObjectIdentifier: Int] = [:]
    private var sessionsOfTarget: [String: Int] = [:]

    /// Enters a new connection. At the limit of those from one address that have not logged in, or of all such, the oldest of them is
    /// given, to be closed.
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

    /// Sets a TSIH aside, never 0; nil when there are `limit` sessions, which is below 65,535.
    mutating func reserveHandle(limit: Int) -> UInt16? {
        guard handles.count < limit else { return nil }
        repeat { nextHandle &+= 1 } while nextHandle == 0 || handles.contains(nextHandle)
        handles.insert(nextHandle)
        return nextHandle
    }

    /// Enters a session and gives the one that it reinstates, if there is one.
    mutating func addSession(_ record: SessionRecord) -> SessionRecord? {
        sessions[record.handle] = record
        count(record, by: 1)
        guard let key = SessionKey(record.session) else { return nil }
        let former = byKey.updateValue(record.handle, forKey: key)
        return former.flatMap { sessions[$0] }
    }

    /// Takes a session out, and frees its TSIH in any case.
    mutating func removeSession(_ handle: UInt16) -> SessionRecord? {
        handles.remove(handle)
        guard let record = sessions.removeValue(forKey: handle) else { return nil }
        count(record, by: -1)
        if let key = SessionKey(record.session), byKey[key] == handle { byKey[key] = nil }
        return record
    }

    private mutating func count(_ record: SessionRecord, by step: Int) {
        sessionsOfReactor[ObjectIdentifier(record.session.reactor), default: 0] += step
        guard let name = record.session.target?.name else { return }
        let count = (sessionsOfTarget[name] ?? 0) + step
        sessionsOfTarget[name] = count > 0 ? count : nil
    }
}
