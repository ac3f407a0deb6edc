internal import Logging
public import Platform
internal import Synchronization

// The portals: where the server listens.
extension ISCSIServer {
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
}
