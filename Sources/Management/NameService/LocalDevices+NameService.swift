import ISCSIPort
import ISNS
public import ISNSClient
import Platform
import TargetCore

extension LocalDevices {
    /// What is offered at this moment: no target that nobody could get in to. A portal that is drained stays: sessions
    /// go on there, and others may come back.
    public func offer() -> Offer {
        Offer(
            portals: server.portalSummaries().compactMap { portal in
                portal.address.port.map {
                    Offer.Portal(host: portal.address.host, port: $0, groupTag: portal.portalGroupTag)
                }
            },
            targets: targets.all.filter(access.isUsable).map {
                TargetNode(name: $0.name, alias: $0.alias, portalGroupTags: access.portalGroupTags(of: $0))
            })
    }

    /// Applies a change of discovery domains; sessions that may not stay are ended.
    public func changeDomains(_ change: DomainChange) {
        if domains.apply(change) { server.reviewAccess() }
    }
}
