internal import ISCSI
internal import Logging
internal import Platform
internal import Synchronization
internal import TargetCore

// What the control plane sees of sessions and does to them.
extension ISCSIServer {
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
}
