internal import ISCSI
internal import Platform
internal import Synchronization
internal import TargetCore

// What SendTargets tells (RFC 7143 appendix C).
extension ISCSIServer {
    /// An address at which targets are reached, and the tag of its portal group.
    private struct Reachable: Hashable {
        let address: String
        let tag: UInt16
    }

    /// The answer to SendTargets on a connection.
    func discover(
        _ scope: SendTargets.Scope, _ session: Session, on connection: Connection
    ) -> [DiscoveredTarget] {
        let named: [Target]
        if let own = session.target {
            // In a normal session only the own target is named (RFC 7143 appendix C).
            if case .target(let name) = scope, name != own.name { return [] }
            named = [own]
        } else {
            let request = connection.accessRequest(session.identity)
            switch scope {
            case .all: named = targets.all.filter { access.isVisible($0, to: request) }
            case .target(let name):
                named = targets[name].map { [$0] }?.filter { access.isVisible($0, to: request) } ?? []
            case .session: named = []
            }
        }
        let reachable = reachable(through: connection)
        let everywhere = reachable.map(\.address)
        return named.compactMap { target in
            guard let tags = access.portalGroupTags(of: target) else {
                return DiscoveredTarget(name: target.name, addresses: everywhere)
            }
            let addresses = reachable.filter { tags.contains($0.tag) }.map(\.address)
            return addresses.isEmpty ? nil : DiscoveredTarget(name: target.name, addresses: addresses)
        }
    }

    /// TargetAddress values of all portals: the one in use first, and wildcard portals as the address that the
    /// initiator used (section 13.8), if it is of their family.
    private func reachable(through connection: Connection) -> [Reachable] {
        let local = connection.localAddress
        var found: [Reachable] = []
        func add(_ address: SocketAddress?, _ tag: UInt16) {
            guard let address, let port = address.port else { return }
            let text = SendTargets.address(host: address.host, port: port, portalGroupTag: tag)
            let reachable = Reachable(address: text, tag: tag)
            if !found.contains(reachable) { found.append(reachable) }
        }
        add(local, connection.portal.groupTag)
        let portals = registry.withLock { $0.portals }
        for portal in portals { add(portal.socket.address.reached(through: local), portal.groupTag) }
        return found
    }
}
