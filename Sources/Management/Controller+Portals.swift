import Catalog
import Foundation
import Logging
public import Resources

/// A portal that is open.
struct ServedPortal: Sendable {
    /// As it was asked for and is remembered; port 0 lets the system choose.
    let requested: PortalAddress
    /// Where it listens.
    let actual: PortalAddress
    /// The tag of its portal group.
    let group: Int
}

extension Controller {
    /// The most portals.
    static let maximumPortals = 64
    /// The portal group when nothing else is said.
    static let defaultPortalGroup = 1
    /// How long initiators may be given to log out, in seconds; Parameter3 of the message has 16 bits, but nobody waits
    /// that long.
    static let gracePeriods = 1...3600

    /// The portals, by address.
    public func portalSummaries() -> [PortalSummary] {
        assembly.portals().sorted { $0.portal < $1.portal }
    }

    /// Listens on one more portal, now and from the next start on.
    public func addPortal(_ request: PortalCreation) throws(ManagementError) -> PortalSummary {
        let portal = try PortalAddress.parse(request.portal)
        let group = request.group ?? Self.defaultPortalGroup
        try Self.checkPortalGroup(group)
        if portal.port != 0, let other = portals.first(where: { $0.actual == portal }) {
            throw ManagementError(
                .conflict, "portal \(portal) is open already, in group \(other.group); remove it first to change that")
        }
        guard portals.count < Self.maximumPortals else {
            throw ManagementError(.conflict, "there are \(Self.maximumPortals) portals already; remove one first")
        }
        let served = ServedPortal(
            requested: portal, actual: try assembly.openPortal(portal, group: group), group: group)
        do throws(ManagementError) {
            try remember(portals + [served])
        } catch {
            assembly.closePortal(served.actual)
            throw error
        }
        portals.append(served)
        return try summary(of: served)
    }

    /// Listens no longer on a portal through which no session came.
    public func removePortal(_ text: String) throws(ManagementError) {
        let portal = try openPortal(text)
        guard portals.count > 1 else {
            throw ManagementError(
                .conflict, "\(portal.actual) is the only portal; add another with 'carousel portal add' first")
        }
        let name = portal.actual.description
        if let session = assembly.sessions().first(where: { $0.connections.contains { $0.portal == name } }) {
            throw ManagementError(
                .inUse,
                "portal \(name) is in use by \(session.initiator); free it with 'carousel portal drain \(name)' first")
        }
        let others = portals.filter { $0.actual != portal.actual }
        try remember(others)
        portals = others
        assembly.closePortal(portal.actual)
        logger.info("portal removed", metadata: ["portal": "\(name)"])
    }

    /// Frees a portal of its sessions.
    public func drainPortal(_ text: String, _ period: GracePeriod) throws(ManagementError) -> PortalSummary {
        let portal = try openPortal(text)
        try Self.checkGracePeriod(period.seconds)
        assembly.drainPortal(portal.actual, seconds: period.seconds)
        return try summary(of: portal)
    }

    /// Has a portal take logins again.
    public func resumePortal(_ text: String) throws(ManagementError) -> PortalSummary {
        let portal = try openPortal(text)
        assembly.resumePortal(portal.actual)
        return try summary(of: portal)
    }

    // MARK: For the start

    /// Opens the portals that are asked for, else those of the last time, else the usual one.
    func openPortals(_ requested: [PortalAddress]) throws(ManagementError) {
        let last = try query { () throws(CatalogError) in try catalog.portals() }
        let groups = Dictionary(
            last.map { (PortalAddress(address: $0.address, port: $0.port), $0.portalGroupTag) },
            uniquingKeysWith: { first, _ in first })
        var wanted = requested
        if wanted.isEmpty { wanted = last.map { PortalAddress(address: $0.address, port: $0.port) } }
        if wanted.isEmpty { wanted = [.default] }
        for portal in wanted {
            let group = groups[portal] ?? Self.defaultPortalGroup
            portals.append(
                ServedPortal(
                    requested: portal, actual: try assembly.openPortal(portal, group: group), group: group))
        }
        // Only now, so that portals that could not be opened are not remembered.
        try remember(portals)
    }

    // MARK: Checks

    static func checkGracePeriod(_ seconds: Int) throws(ManagementError) {
        guard gracePeriods.contains(seconds) else {
            throw ManagementError(
                .invalid,
                "\(seconds) seconds are no time to log out; "
                    + "give \(gracePeriods.lowerBound) to \(gracePeriods.upperBound)")
        }
    }

    static func checkPortalGroup(_ group: Int) throws(ManagementError) {
        guard (1...65535).contains(group) else {
            throw ManagementError(.invalid, "\(group) is no portal group; give a tag from 1 to 65535")
        }
    }

    private func openPortal(_ text: String) throws(ManagementError) -> ServedPortal {
        let wanted = try PortalAddress.parse(text)
        guard let portal = portals.first(where: { $0.actual == wanted }) else {
            throw ManagementError(
                .notFound, "there is no portal \(wanted); 'carousel portal list' shows those there are")
        }
        return portal
    }

    private func remember(_ portals: [ServedPortal]) throws(ManagementError) {
        var known: Set<PortalAddress> = []
        let records = portals.filter { known.insert($0.requested).inserted }.map {
            PortalRecord(address: $0.requested.address, port: $0.requested.port, portalGroupTag: $0.group)
        }
        try query { () throws(CatalogError) in try catalog.setPortals(records) }
    }

    private func summary(of portal: ServedPortal) throws(ManagementError) -> PortalSummary {
        let name = portal.actual.description
        guard let summary = assembly.portals().first(where: { $0.portal == name }) else {
            throw ManagementError(.internal, "portal \(name) is not open")
        }
        return summary
    }
}
