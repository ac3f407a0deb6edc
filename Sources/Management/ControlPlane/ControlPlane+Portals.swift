import Catalog
import Foundation
import Logging
import Resources

/// A portal that is open.
struct ServedPortal: Sendable {
    /// As it was asked for and is remembered; port 0 lets the system choose.
    let requested: PortalAddress
    /// Where it listens.
    let actual: PortalAddress
    /// The tag of its portal group.
    let group: Int
}

extension ControlPlane {
    /// The most portals.
    static let maximumPortals = 64
    /// The portal group when nothing else is said.
    static let defaultPortalGroup = 1

    /// The portals by address, with those that could not be opened.
    func allPortals() throws(ManagementError) -> [Resource<Portal>] {
        let known = portals + unopenedPortals
        let generations = try generations(of: known)
        let unopened = unopenedPortals.map { portal in
            var status = Portal.Status()
            status.problem = problems["portal \(portal.requested)"]
            return Resource<Portal>(
                name: portal.requested.description, spec: Portal.Spec(portalGroup: portal.group), status: status)
        }
        return (assembly.portals() + unopened).map { portal in
            var portal = portal
            portal.generation = generations[portal.name]
            return portal
        }.sorted { $0.name < $1.name }
    }

    /// The generations of portals by where they listen.
    private func generations(of portals: [ServedPortal]) throws(ManagementError) -> [String: Int64] {
        let generations = try query { () throws(CatalogError) in try catalog.portalGenerations() }
        return Dictionary(
            portals.compactMap { portal in
                let record = PortalRecord(
                    address: portal.requested.address, port: portal.requested.port, portalGroupTag: portal.group)
                return generations[record].map { (portal.actual.description, $0) }
            }, uniquingKeysWith: { first, _ in first })
    }

    /// The portal at that address.
    func portal(_ name: String) throws(ManagementError) -> Resource<Portal> {
        let wanted = try PortalAddress.parse(name).description
        guard let portal = try allPortals().first(where: { $0.name == wanted }) else { throw Self.noPortal(wanted) }
        return portal
    }

    private static func noPortal(_ name: String) -> ManagementError {
        ManagementError(.notFound, "there is no portal \(name); 'carousel portal list' shows those there are")
    }

    /// Listens on one more portal, now and from the next start on.
    func addPortal(_ name: String, _ spec: Portal.Spec) throws(ManagementError) -> Resource<Portal> {
        let portal = try PortalAddress.parse(name)
        let group = spec.portalGroup
        if portal.port != 0, let other = portals.first(where: { $0.actual == portal }) {
            throw ManagementError(
                .conflict,
                "portal \(portal) is open already, in portal group \(other.group); delete it first to change that")
        }
        guard portals.count < Self.maximumPortals else {
            throw ManagementError(.conflict, "there are \(Self.maximumPortals) portals already; delete one first")
        }
        try checkNobodyIsSent(to: portal)
        if DryRun.current != nil { try assembly.checkPortal(portal) }
        try Effect.begin()
        let served = ServedPortal(
            requested: portal, actual: try assembly.openPortal(portal, group: group), group: group)
        let note = AccessNote("portal added", ["portal": "\(served.actual)", "group": "\(group)"])
        do throws(ManagementError) {
            try remember(portals + [served], unopenedPortals.filter { $0.requested != portal }, [note])
        } catch {
            assembly.closePortal(served.actual)
            throw error
        }
        portals.append(served)
        unopenedPortals.removeAll { $0.requested == portal }
        setProblem(nil, of: "portal \(portal)")
        tell([note])
        return try portalResource(of: served)
    }

    /// Listens no longer on a portal through which no session came, and which is not the only one that offers a target.
    /// One that could not be opened at the start is forgotten.
    func removePortal(_ text: String) throws(ManagementError) {
        if let index = try unopened(text) {
            let others = unopenedPortals.indices.filter { $0 != index }.map { unopenedPortals[$0] }
            let note = AccessNote("portal removed", ["portal": text])
            try remember(portals, others, [note], takesAway: true)
            setProblem(nil, of: "portal \(unopenedPortals[index].requested)")
            unopenedPortals = others
            return tell([note])
        }
        let portal = try openPortal(text)
        // A configuration opens others at its end.
        guard portals.count > 1 || freeze != nil else {
            throw ManagementError(
                .conflict, "\(portal.actual) is the only portal; add another with 'carousel portal create' first")
        }
        let name = portal.actual.description
        if let session = assembly.sessions().first(where: { $0.status.connections.contains { $0.portal == name } }) {
            throw ManagementError(
                .inUse,
                "portal \(name) is in use by \(session.status.initiator); "
                    + "free it with 'carousel portal drain \(name)' first")
        }
        let others = portals.filter { $0.actual != portal.actual }
        let known = Set(try unreachableTargets(through: portals))
        if let target = try unreachableTargets(through: others).first(where: { !known.contains($0) }) {
            throw ManagementError(
                .conflict,
                "portal \(name) is the only one that offers target '\(target)', which portal group "
                    + "\(portal.group) is chosen for; choose others with 'carousel target set' first")
        }
        let note = AccessNote("portal removed", ["portal": name])
        try remember(others, unopenedPortals, [note], takesAway: true)
        portals = others
        assembly.closePortal(portal.actual)
        tell([note])
    }

    /// Frees a portal of its sessions.
    func drainPortal(
        _ text: String, _ arguments: Portal.Drain.Arguments
    ) throws(ManagementError) -> Resource<Portal> {
        let portal = try openPortal(text)
        try Effect.begin()
        assembly.drainPortal(portal.actual, seconds: arguments.seconds)
        record(AccessNote("portal drained", ["portal": "\(portal.actual)"]))
        return try portalResource(of: portal)
    }

    /// Has a portal take logins again.
    func resumePortal(_ text: String) throws(ManagementError) -> Resource<Portal> {
        let portal = try openPortal(text)
        try Effect.begin()
        assembly.resumePortal(portal.actual)
        record(AccessNote("portal resumed", ["portal": "\(portal.actual)"]))
        return try portalResource(of: portal)
    }

    // MARK: For the start

    /// Opens the portals that are asked for and those of the last time, or the usual one when there are none.
    ///
    /// One of the last time that cannot be opened, whose address may have gone for ever, is a problem that `status`
    /// tells, and the others are served: so there is a daemon that can be told to forget it. Only where none is left
    /// the start is refused.
    func openPortals(_ requested: [PortalAddress]) throws(ManagementError) {
        let last = try query { () throws(CatalogError) in try catalog.portals() }
        let groups = Dictionary(
            last.map { (PortalAddress(address: $0.address, port: $0.port), $0.portalGroupTag) },
            uniquingKeysWith: { first, _ in first })
        for portal in requested.isEmpty && last.isEmpty ? [.default] : requested {
            try open(portal, group: groups[portal] ?? Self.defaultPortalGroup)
        }
        var failure: ManagementError?
        for record in last {
            let portal = PortalAddress(address: record.address, port: record.port)
            guard !requested.contains(portal) else { continue }
            do {
                try open(portal, group: record.portalGroupTag)
            } catch {
                failure = failure ?? error
                let group = record.portalGroupTag
                unopenedPortals.append(ServedPortal(requested: portal, actual: portal, group: group))
                noteUnopened(portal, group, error)
                logger.error("portal is not open", metadata: ["portal": "\(portal)", "reason": "\(error.message)"])
            }
        }
        guard !portals.isEmpty else {
            let first = unopenedPortals.first?.requested.description ?? ""
            throw ManagementError(
                failure?.code ?? .system,
                "no portal is open: \(failure.map(Self.reason) ?? ""); give the address of \(first) back, or start "
                    + "with --portal ADDR:PORT and forget it with 'carousel portal delete \(first)'")
        }
        // Only now, so that portals that could not be opened are not remembered.
        try remember(portals, unopenedPortals)
    }

    private func noteUnopened(_ portal: PortalAddress, _ group: Int, _ error: ManagementError) {
        let option = group == Self.defaultPortalGroup ? "" : " --portal-group \(group)"
        setProblem(
            "portal \(portal) is not open: \(Self.reason(error)); give its address back and say 'carousel portal "
                + "create \(portal)\(option)', or forget it with 'carousel portal delete \(portal)'",
            of: "portal \(portal)")
    }

    /// Tries again to open the portals that could not be opened at the start. How many are, and how many still are not.
    func openAgain() -> (opened: Int, missed: Int) {
        var missed: [ServedPortal] = []
        var opened: [ServedPortal] = []
        for portal in unopenedPortals {
            let (address, group) = (portal.requested, portal.group)
            do throws(ManagementError) {
                try checkNobodyIsSent(to: address)
                opened.append(
                    ServedPortal(
                        requested: address, actual: try assembly.openPortal(address, group: group), group: group))
                setProblem(nil, of: "portal \(address)")
                logger.notice("portal is open again", metadata: ["portal": "\(address)"])
            } catch {
                missed.append(portal)
                noteUnopened(address, group, error)
                logger.error("portal is not open", metadata: ["portal": "\(address)", "reason": "\(error.message)"])
            }
        }
        // All are remembered since the start.
        portals += opened
        unopenedPortals = missed
        if !opened.isEmpty { noteWarnings() }
        return (opened.count, missed.count)
    }

    /// What is wrong, of a sentence that also says what to do.
    private static func reason(_ error: ManagementError) -> Substring { error.message.prefix { $0 != ";" } }

    private func open(_ portal: PortalAddress, group: Int) throws(ManagementError) {
        portals.append(
            ServedPortal(requested: portal, actual: try assembly.openPortal(portal, group: group), group: group))
    }

    // MARK: Checks

    static func checkPortalGroup(_ group: Int) throws(ManagementError) {
        guard (1...65535).contains(group) else {
            throw ManagementError(.invalid, "\(group) is no portal group; give a tag from 1 to 65535")
        }
    }

    private func openPortal(_ text: String) throws(ManagementError) -> ServedPortal {
        let wanted = try PortalAddress.parse(text)
        guard let portal = portals.first(where: { $0.actual == wanted }) else {
            throw Self.noPortal(wanted.description)
        }
        return portal
    }

    /// The place among those that could not be opened of the portal that `text` names.
    private func unopened(_ text: String) throws(ManagementError) -> Int? {
        let wanted = try PortalAddress.parse(text)
        return unopenedPortals.firstIndex { $0.requested == wanted }
    }

    /// Remembers portals, with the events of what has changed.
    private func remember(
        _ portals: [ServedPortal], _ unopened: [ServedPortal], _ notes: [AccessNote] = [], takesAway: Bool = false
    ) throws(ManagementError) {
        var known: Set<PortalAddress> = []
        let records = (portals + unopened).filter { known.insert($0.requested).inserted }.map {
            PortalRecord(address: $0.requested.address, port: $0.requested.port, portalGroupTag: $0.group)
        }
        let events = events(of: notes)
        try query { () throws(CatalogError) in
            try catalog.setPortals(records, events: events, takesAway: takesAway)
        }
    }

    private func portalResource(of portal: ServedPortal) throws(ManagementError) -> Resource<Portal> {
        let name = portal.actual.description
        guard let resource = try allPortals().first(where: { $0.name == name }) else {
            throw ManagementError(.internal, "portal \(name) is not open")
        }
        return resource
    }
}
