import Catalog
import ISCSI
import ISCSIPort
import Logging
import Platform
public import Resources
import Synchronization
import TargetCore

/// What the front end has beyond the targets that devices bring along.
struct FrontEndState {
    /// The place of a map: what a group sees of a target.
    struct MapName: Hashable {
        let target: String
        let group: Int64
    }
    var maps: [MapName: LogicalUnitMap] = [:]
    /// The targets that were made for themselves.
    var ownTargets: Set<String> = []
}

extension LocalDevices {
    // MARK: Targets, maps and access

    /// Changes target after target to what `plan` says; then replaces all rules at once, and reviews the sessions.
    public func configure(_ plan: FrontEndPlan) {
        frontEnd.withLock { state in
            let units = units.withLock { $0 }
            var maps: [FrontEndState.MapName: LogicalUnitMap] = [:]
            var ownTargets: Set<String> = []
            for planned in plan.targets {
                guard let target = target(for: planned, units, state.maps) else { continue }
                if !planned.belongsToDevice { ownTargets.insert(planned.name) }
                Self.bring(target.logicalUnits, of: target, to: planned.logicalUnits, units)
                for group in planned.groups {
                    guard let wanted = group.logicalUnits else { continue }
                    let name = FrontEndState.MapName(target: planned.name, group: group.group)
                    let kept = state.maps[name] ?? LogicalUnitMap()
                    Self.bring(kept, of: target, to: wanted, units)
                    maps[name] = kept
                }
            }
            access.replace(
                with: AccessTable.Rules(plan) { target, group in
                    // Of a target that is not served there is none, and nobody asks for it.
                    maps[FrontEndState.MapName(target: target.name, group: group.group)] ?? LogicalUnitMap()
                })
            for name in state.ownTargets.subtracting(ownTargets) {
                targets.remove(name: name)
                domains.forget(name)
                server.closeSessions(targetName: name)
            }
            state.maps = maps
            state.ownTargets = ownTargets
        }
        server.reviewAccess()
    }

    /// Replaces the rule of one target, which the device's own units stay with.
    public func admit(_ plan: TargetPlan) {
        access.set(AccessTable.Rule(plan) { _ in LogicalUnitMap() }, of: plan.name)
    }

    /// The target of a device begins with the device's units, by key: closed.
    func begin(_ target: Target, _ begun: [Int64: LogicalUnit]) {
        for (key, unit) in begun {
            unit.server.attachedNexuses.keepReservations(
                with: CatalogReservations(catalog, unit: key, logger: logger))
            unit.attachedNexuses.keepAccessStates(with: CatalogAccessStates(catalog, unit: key, logger: logger))
            unit.keepParameters(with: CatalogParameters(catalog, unit: key, logger: logger))
        }
        // Not in the middle of a plan, which would take units away that it does not know yet.
        frontEnd.withLock { _ in
            units.withLock { $0.merge(begun) { $1 } }
            access.close(target.name)
            targets.add(target)
        }
    }

    /// The target of a device ends with the device's units; sessions that have begun meanwhile are ended.
    func end(_ targetName: String, _ ended: [Int64]) {
        // Not in the middle of a plan, which would put back what it has found.
        frontEnd.withLock { _ in
            targets.remove(name: targetName)
            domains.forget(targetName)
            access.close(targetName)
            units.withLock { units in for key in ended { units[key] = nil } }
        }
        server.closeSessions(targetName: targetName)
    }

    /// Shows disks at free numbers of a target. Those that are not served are left out, as in a plan.
    public func map(_ logicalUnits: [Int: Int64], atTarget name: String) {
        guard let target = targets[name] else { return }
        let units = units.withLock { units in logicalUnits.compactMapValues { units[$0] } }
        for (number, unit) in units.sorted(by: { $0.key < $1.key }) where target.logicalUnits[number] == nil {
            target.map(unit, at: number)
        }
    }

    /// The running target that `plan` means; nil when its device is not served.
    ///
    /// A target that gets its first unit of a library is replaced by one whose sessions run where that unit does. Later
    /// ones change nothing: they are of the same library.
    private func target(
        for plan: TargetPlan, _ units: [Int64: LogicalUnit], _ maps: [FrontEndState.MapName: LogicalUnitMap]
    ) -> Target? {
        let shown = ([plan.logicalUnits] + plan.groups.compactMap(\.logicalUnits)).flatMap(\.values)
        let home = Self.home(of: shown.compactMap { units[$0] })
        let present = targets[plan.name]
        // First what most are, so that a plan costs no more than its targets.
        if let present, home == nil || present.homeReactor === home { return present }
        if let present {
            let used = [present.logicalUnits] + maps.filter { $0.key.target == plan.name }.map(\.value)
            let hasHome = used.contains { $0.all.values.contains { $0.homeReactor != nil } }
            if hasHome { return present }
        }
        guard present != nil || !plan.belongsToDevice else { return nil }
        let target = Target(name: plan.name, alias: plan.alias, homeReactor: home)
        if present != nil { targets.remove(name: plan.name) }
        targets.add(target)
        // Somebody may have logged in since the control plane looked: the target that they see changes no more.
        if present != nil { server.closeSessions(targetName: plan.name) }
        return target
    }

    /// Makes `map` hold the units with the keys `wanted`, less those that are not served.
    private static func bring(
        _ map: LogicalUnitMap, of target: Target, to wanted: [Int: Int64], _ units: [Int64: LogicalUnit]
    ) {
        let present = map.all
        for (number, unit) in present where wanted[number].flatMap({ units[$0] }) !== unit {
            target.unmap(at: number, of: map)
        }
        for (number, key) in wanted {
            guard let unit = units[key], present[number] !== unit else { continue }
            target.map(unit, at: number, of: map)
        }
    }

    // MARK: Portals

    public func openPortal(_ portal: PortalAddress, group: Int) throws(ManagementError) -> PortalAddress {
        guard let address = SocketAddress(portal.description), let tag = UInt16(exactly: group) else {
            throw ManagementError(.invalid, "'\(portal)' is no address to listen on; give one of this machine")
        }
        do {
            let open: SocketAddress
            if let socket = inheritedSockets.first(where: { $0.address == address }) {
                open = server.addPortal(socket, portalGroupTag: tag)
            } else {
                open = try server.addPortal(address, portalGroupTag: tag)
            }
            return PortalAddress(address: open.host, port: Int(open.port ?? 0))
        } catch {
            throw Self.refusal(of: portal, error)
        }
    }

    public func checkPortal(_ portal: PortalAddress) throws(ManagementError) {
        guard let address = SocketAddress(portal.description) else {
            throw ManagementError(.invalid, "'\(portal)' is no address to listen on; give one of this machine")
        }
        guard !inheritedSockets.contains(where: { $0.address == address }) else { return }
        do {
            try address.checkIsFree()
        } catch {
            throw Self.refusal(of: portal, error)
        }
    }

    private static func refusal(of portal: PortalAddress, _ error: SystemError) -> ManagementError {
        guard error.code == Errno.addressInUse else {
            return ManagementError(.system, "cannot listen on \(portal): \(error.reason); choose another portal")
        }
        return ManagementError(
            .inUse, "port \(portal.port) of \(portal.address) is in use; stop its owner or choose another portal")
    }

    public func closePortal(_ portal: PortalAddress) {
        if let address = SocketAddress(portal.description) { server.removePortal(address) }
    }

    public func closePortals() {
        for portal in server.portalSummaries() { server.removePortal(portal.address) }
    }

    public func drainPortal(_ portal: PortalAddress, seconds: Int) {
        guard let address = SocketAddress(portal.description) else { return }
        _ = server.drainPortal(address, gracePeriod: .seconds(seconds))
    }

    public func resumePortal(_ portal: PortalAddress) {
        if let address = SocketAddress(portal.description) { _ = server.resumePortal(address) }
    }

    public func portals() -> [Resource<Portal>] {
        server.portalSummaries().map {
            Resource(
                name: $0.address.description, spec: Portal.Spec(portalGroup: Int($0.portalGroupTag)),
                status: Portal.Status(isDraining: $0.isDraining, connections: $0.connections))
        }
    }

    // MARK: Sessions

    /// The sessions of targets; discovery sessions do not count.
    public func sessions() -> [Resource<Session>] {
        let now = MonotonicTime.current()
        return server.sessions().compactMap { session in
            guard let target = session.targetName else { return nil }
            let isid = String(session.initiatorSessionID.rawValue, radix: 16)
            var status = Session.Status()
            status.initiator = session.initiatorName
            status.initiatorAlias = session.initiatorAlias
            status.chapUser = session.authenticatedName
            status.target = target
            status.isid = String(repeating: "0", count: 12 - isid.count) + isid
            status.portalGroup = Int(session.portalGroupTag)
            status.connections = session.connections.map {
                Session.Connection(
                    connectionID: Int($0.connectionID), peer: $0.peerAddress.description,
                    local: $0.localAddress.description, portal: $0.portal.description)
            }
            status.age = Int((now - session.start).components.seconds)
            status.commands = session.commands
            status.sentBytes = session.sentBytes
            status.receivedBytes = session.receivedBytes
            status.parameters = Self.text(of: session.parameters)
            return Resource(name: "\(session.targetSessionHandle)", spec: NoFields(), status: status)
        }
    }

    /// Those since the start.
    public var refusedLogins: Int { refusals.count }

    public func sessionCounts() -> [String: Int] { server.sessionCounts() }

    public func closeSession(_ name: String, seconds: Int) {
        guard let handle = UInt16(name) else { return }
        _ = server.closeSession(handle, gracePeriod: .seconds(seconds))
    }

    /// The keys as login texts have them (RFC 7143 section 13).
    private static func text(of parameters: NegotiatedParameters) -> [String: String] {
        func word(_ value: Bool) -> String { value ? "Yes" : "No" }
        return [
            "HeaderDigest": parameters.headerDigest.rawValue, "DataDigest": parameters.dataDigest.rawValue,
            "MaxRecvDataSegmentLength": "\(parameters.maxRecvDataSegmentLength)",
            "InitiatorMaxRecvDataSegmentLength": "\(parameters.maxSendDataSegmentLength)",
            "MaxConnections": "\(parameters.maxConnections)", "InitialR2T": word(parameters.initialR2T),
            "ImmediateData": word(parameters.immediateData), "MaxBurstLength": "\(parameters.maxBurstLength)",
            "FirstBurstLength": "\(parameters.firstBurstLength)",
            "DefaultTime2Wait": "\(parameters.defaultTime2Wait)",
            "DefaultTime2Retain": "\(parameters.defaultTime2Retain)",
            "MaxOutstandingR2T": "\(parameters.maxOutstandingR2T)",
            "DataPDUInOrder": word(parameters.dataPDUInOrder),
            "DataSequenceInOrder": word(parameters.dataSequenceInOrder),
            "ErrorRecoveryLevel": "\(parameters.errorRecoveryLevel)",
            "TaskReporting": parameters.taskReporting.rawValue,
            "iSCSIProtocolLevel": "\(parameters.iSCSIProtocolLevel)",
        ]
    }
}
