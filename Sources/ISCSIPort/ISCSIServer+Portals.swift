internal import Logging
public import Platform
internal import Synchronization

/// What the control plane shows of a portal.
public struct PortalSummary: Sendable, Hashable {
    /// Where it listens.
    public let address: SocketAddress
    public let portalGroupTag: UInt16
    /// Whether new logins are sent elsewhere.
    public let isDraining: Bool
    /// How many connections came in through it, logged in or not.
    public let connections: Int
}

// The portals: where the server listens.
extension ISCSIServer {
    /// The tag of the portal group that portals belong to when nothing else is said.
    public static let defaultPortalGroupTag: UInt16 = 1

    /// Listens on `address` as a portal of the group `portalGroupTag`, 1 to 65535, and gives the address with its port,
    /// which matters when 0 was asked for.
    @discardableResult
    public func addPortal(
        _ address: SocketAddress, portalGroupTag: UInt16 = defaultPortalGroupTag
    ) throws(SystemError) -> SocketAddress {
        try addPortal(
            ListenSocket(listeningOn: address, bufferSize: StreamSocket.storageBufferSize),
            portalGroupTag: portalGroupTag)
    }

    /// The same on a socket that listens already.
    @discardableResult
    public func addPortal(_ socket: ListenSocket, portalGroupTag: UInt16) -> SocketAddress {
        precondition(portalGroupTag != 0, "a portal group has a tag other than 0")
        let portal = registry.withLock { registry in
            let reactor = reactors[registry.portals.count % reactors.count]
            let portal = Portal(server: self, socket: socket, groupTag: portalGroupTag, reactor: reactor)
            registry.portals.append(portal)
            return portal
        }
        portal.reactor.postCompletion { portal.begin() }
        logger.info("listening", metadata: ["portal": "\(socket.address)", "group": "\(portalGroupTag)"])
        return socket.address
    }

    /// Accepts no more connections on `address`; those that exist stay.
    public func removePortal(_ address: SocketAddress) {
        let removed = registry.withLock { registry in
            let removed = registry.portals.filter { $0.socket.address == address }
            registry.portals.removeAll { $0.socket.address == address }
            return removed
        }
        for portal in removed { portal.reactor.postCompletion { portal.end() } }
    }

    /// The addresses that are listened on.
    public var portals: [SocketAddress] { registry.withLock { $0.portals.map(\.socket.address) } }

    /// The portals and their state, in the order in which they were added.
    public func portalSummaries() -> [PortalSummary] {
        registry.withLock { registry in
            let portals = registry.connections.values.map { ObjectIdentifier($0.portal) }
            let counts = Dictionary(portals.map { ($0, 1) }, uniquingKeysWith: +)
            return registry.portals.map { portal in
                PortalSummary(
                    address: portal.socket.address, portalGroupTag: portal.groupTag, isDraining: portal.isDraining,
                    connections: counts[ObjectIdentifier(portal)] ?? 0)
            }
        }
    }

    /// Frees the portal at `address` of its sessions: new logins of normal sessions are sent to other portals,
    /// initiators whose sessions have connections through it are asked to log out within `gracePeriod`, and what is
    /// left then is closed. Discovery goes on. False when there is no such portal.
    public func drainPortal(_ address: SocketAddress, gracePeriod: Duration) -> Bool {
        guard let portal = portal(at: address) else { return false }
        portal.drain(for: gracePeriod)
        requestLogout(within: gracePeriod) { $0.portal === portal }
        logger.notice(
            "portal is drained", metadata: ["portal": "\(address)", "seconds": "\(gracePeriod.components.seconds)"])
        return true
    }

    /// Has the portal at `address` take logins again. False when there is no such portal.
    public func resumePortal(_ address: SocketAddress) -> Bool {
        guard let portal = portal(at: address) else { return false }
        portal.resume()
        logger.notice("portal takes logins", metadata: ["portal": "\(address)"])
        return true
    }

    private func portal(at address: SocketAddress) -> Portal? {
        registry.withLock { $0.portals.first { $0.socket.address == address } }
    }

    /// Closes what came in through a portal whose time to drain is over, and logins that began before it.
    func closeConnections(through portal: Portal) {
        let inLogin = registry.withLock { $0.connections.values.filter { $0.portal === portal } }
        for connection in inLogin {
            connection.portalReactor.postCompletion {
                if !connection.hasLeftPortal { connection.close(.drained) }
            }
        }
        for record in registry.withLock({ Array($0.sessions.values) }) where record.session.target != nil {
            let connections = record.connections.filter { $0.portal === portal }
            guard !connections.isEmpty else { continue }
            record.session.reactor.postCompletion {
                for connection in connections { connection.end(.drained) }
            }
        }
    }

    func portalFailed(_ portal: Portal, _ error: SystemError) {
        logger.error("portal failed", metadata: ["portal": "\(portal.socket.address)", "reason": "\(error)"])
    }
}
