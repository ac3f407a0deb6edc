internal import ISCSI
internal import Platform
internal import Synchronization
internal import TargetCore

// What SendTargets tells (RFC 7143 appendix C).
extension ISCSIServer {
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
}
