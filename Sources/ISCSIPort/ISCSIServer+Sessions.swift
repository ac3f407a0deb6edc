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
                initiatorAlias: session.identity.initiatorAlias, authenticatedName: session.authenticatedName,
                initiatorSessionID: session.identity.initiatorSessionID, targetName: session.target?.name,
                portalGroupTag: session.portalGroupTag,
                connections: record.connections.map { connection in
                    ConnectionSummary(
                        connectionID: connection.connectionID, peerAddress: connection.peerAddress,
                        localAddress: connection.localAddress, portal: connection.portal.socket.address)
                },
                parameters: record.parameters, start: record.start, reactor: session.reactor.index,
                commands: session.counters.commands, sentBytes: session.counters.sentBytes,
                receivedBytes: session.counters.receivedBytes,
                commandCounters: session.target == nil ? nil : session.commandCounters)
        }
    }

    /// How many sessions the target of that name has.
    public func sessionCount(targetName: String) -> Int { registry.withLock { $0.sessionCounts[targetName] ?? 0 } }

    /// How many sessions each target has that has any, by name.
    public func sessionCounts() -> [String: Int] { registry.withLock { $0.sessionCounts } }

    /// How many connections there are, logged in or not.
    public var connectionCount: Int { registry.withLock { $0.connections.count } }

    /// Ends all sessions with the target of that name, after it was taken out of the directory.
    public func closeSessions(targetName: String) {
        close(.targetRemoved) { $0.session.target?.name == targetName }
    }

    /// Asks the initiator of the session with that TSIH to log out, and closes it after `gracePeriod`. False when there
    /// is no such session.
    public func closeSession(_ targetSessionHandle: UInt16, gracePeriod: Duration) -> Bool {
        guard let record = registry.withLock({ $0.sessions[targetSessionHandle] }) else { return false }
        requestLogout(within: gracePeriod) { $0.targetSessionHandle == targetSessionHandle }
        record.session.reactor.postCompletion { record.session.close(after: gracePeriod) }
        return true
    }

    /// Ends all sessions with the target of `connection`, from its reactor.
    func closeSessions(of connection: Connection, _ reason: CloseReason) {
        let name = connection.session?.target?.name
        close(reason) { $0.session.target?.name == name }
    }

    /// Sends the Async Message that asks for a logout (RFC 7143 section 11.9.1) on the connections that `isIncluded`
    /// selects.
    func requestLogout(within gracePeriod: Duration, on isIncluded: (Connection) -> Bool) {
        let records = registry.withLock { registry in registry.sessions.values.filter { $0.session.target != nil } }
        let seconds = Int(gracePeriod.components.seconds)
        for record in records {
            let connections = record.connections.filter(isIncluded)
            record.session.reactor.postCompletion {
                for connection in connections { connection.requestLogout(seconds: seconds) }
            }
        }
    }

    func close(_ reason: CloseReason, _ isIncluded: (SessionRecord) -> Bool) {
        let records = registry.withLock { registry in Array(registry.sessions.values) }
        for record in records where isIncluded(record) {
            record.session.reactor.postCompletion { record.session.end(reason) }
        }
    }
}
