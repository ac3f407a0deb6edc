internal import ISCSI
internal import Logging
internal import Platform
internal import Synchronization
internal import TargetCore

// Connections from their acceptance to their end.
extension ISCSIServer {
    /// Takes a new connection, on the portal's reactor, or closes it at a limit.
    ///
    /// When too many from one address, or of all, have not logged in, the oldest of these makes room: peers that
    /// connect and stay silent keep nobody out for longer than it takes to replace all of them, and those of another
    /// address not at all.
    func accept(_ socket: StreamSocket, from portal: Portal) {
        let unknown = SocketAddress(path: "unknown")
        let connection = Connection(
            server: self, portal: portal, peerAddress: socket.peerAddress ?? unknown,
            localAddress: socket.localAddress ?? unknown)
        accept(
            connection, from: portal,
            on: StreamDatamover(connection: connection, socket: socket, reactor: portal.reactor, limits: limits))
    }

    /// The same for a connection whose PDUs `datamover` moves.
    func accept(_ connection: Connection, from portal: Portal, on datamover: any Datamover) {
        let (isAdmitted, displaced) = registry.withLock { registry -> (Bool, Connection?) in
            guard !registry.isStopping, registry.connections.count < limits.connections else { return (false, nil) }
            return (true, registry.add(connection, limits))
        }
        guard isAdmitted else {
            logger.debug("connection refused at a limit", metadata: ["peer": "\(connection.peerAddress)"])
            return
        }
        connection.begin(on: datamover)
        guard let displaced else { return }
        if displaced.portalReactor === portal.reactor {
            displaced.makeRoom()
        } else {
            displaced.portalReactor.postCompletion { displaced.makeRoom() }
        }
    }

    func connectionClosed(_ connection: Connection, reason: CloseReason) {
        guard registry.withLock({ $0.remove(connection) }) else { return }
        logger.debug("connection ended", metadata: ["peer": "\(connection.peerAddress)", "reason": "\(reason)"])
    }

    /// The devices have let go of the last command of the ended sessions of a nexus.
    func nexusDrained(_ session: Session) {
        registry.withLock { $0.forgetNexus(of: session) }
    }

    func sessionEnded(_ session: Session, reason: CloseReason) {
        guard registry.withLock({ $0.removeSession(session.targetSessionHandle) }) != nil else { return }
        logger.info(
            "session ended",
            metadata: [
                "initiator": "\(session.identity.initiatorName)",
                "target": "\(session.target?.name ?? "discovery")", "reason": "\(reason)",
            ])
    }
}
