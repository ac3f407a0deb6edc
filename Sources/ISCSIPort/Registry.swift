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
    /// Connections that have not logged in, oldest first; without those that had to make room and are about to close.
    var logins: [Connection] = []
    private(set) var sessions: [UInt16: SessionRecord] = [:]
    var isStopping = false
    private var handles: Set<UInt16> = []
    private var nextHandle: UInt16 = 0
    private var byKey: [SessionKey: UInt16] = [:]

    /// Enters a new connection, at most `limit` that have not logged in: beyond that the oldest of them is given, to be closed.
    mutating func add(_ connection: Connection, loginLimit limit: Int) -> Connection? {
        let displaced = logins.count >= limit ? logins.removeFirst() : nil
        connections[ObjectIdentifier(connection)] = connection
        logins.append(connection)
        return displaced
    }

    /// Notes that a connection has logged in or is closed.
    mutating func endLogin(_ connection: Connection) {
        if let position = logins.firstIndex(where: { $0 === connection }) { logins.remove(at: position) }
    }

    /// Sets a TSIH aside, never 0; nil when all are taken.
    mutating func reserveHandle() -> UInt16? {
        guard handles.count < Int(UInt16.max) - 1 else { return nil }
        repeat { nextHandle &+= 1 } while nextHandle == 0 || handles.contains(nextHandle)
        handles.insert(nextHandle)
        return nextHandle
    }

    /// Enters a session and gives the one that it reinstates, if there is one.
    mutating func addSession(_ record: SessionRecord) -> SessionRecord? {
        sessions[record.handle] = record
        guard let key = SessionKey(record.session) else { return nil }
        let former = byKey.updateValue(record.handle, forKey: key)
        return former.flatMap { sessions[$0] }
    }

    /// Takes a session out, and frees its TSIH in any case.
    mutating func removeSession(_ handle: UInt16) -> SessionRecord? {
        handles.remove(handle)
        guard let record = sessions.removeValue(forKey: handle) else { return nil }
        if let key = SessionKey(record.session), byKey[key] == handle { byKey[key] = nil }
        return record
    }
}
