import Catalog
import Foundation
import ISCSI
import Logging
import Platform
import Resources

// From catalog and secrets to the front end: the whole plan each time, so that nothing depends on the order of changes.
extension ControlPlane {
    /// Configures the front end as catalog and secrets say. When that fails, the next change does it.
    func configureFrontEnd() throws(ManagementError) {
        try configuring.withLock { _ throws(ManagementError) in
            isFrontEndStale = true
            assembly.configure(try frontEndPlan())
            isFrontEndStale = false
            hasFrontEnd = true
        }
    }

    /// Has the next change configure the front end, also when one is doing it and has read what is not true any more.
    func noteFrontEndIsStale() { configuring.withLock { _ in isFrontEndStale = true } }

    /// Configures the front end if it was not told of the last change.
    func configureStaleFrontEnd() {
        if isFrontEndStale { forgetFrontEndSettings() }
    }

    /// Lets those in to the disk or library `name`, with those units in the order of their numbers, who may use it: it
    /// has begun, and is closed. When that fails it stays closed, until the next change tells the front end.
    func admit(_ name: String, units: [Int64]) {
        // At the start nobody comes before all have begun, and then one plan serves all.
        guard hasFrontEnd else { return }
        // What an apply makes stays closed until all of it is there, and then one plan serves all.
        if let freeze, freeze.new.contains(DeviceName.targetName(name)) { return }
        do throws(ManagementError) {
            let isDone = try configuring.withLock { _ throws(ManagementError) in try admitAlone(name, units: units) }
            if !isDone { try configureFrontEnd() }
        } catch {
            isFrontEndStale = true
            logger.error("access is not up to date", metadata: ["device": "\(name)", "reason": "\(error.message)"])
        }
    }

    /// Has the plan of the device's own target put into force, if it is all that there is to say, as it is of a new
    /// device: the whole plan takes as long as there are targets. False when there is more.
    private func admitAlone(_ name: String, units: [Int64]) throws(ManagementError) -> Bool {
        guard freeze == nil, !isFrontEndStale, try !hasFrontEndSettings(name, units: units) else { return false }
        let target = try query { () throws(CatalogError) in
            try catalog.target(named: [DeviceName.targetName(name)])
        }
        guard let target, let plan = try plans(of: [target], groups: []).first,
            plan.groups.isEmpty, plan.logicalUnits == Dictionary(uniqueKeysWithValues: zip(units.indices, units))
        else { return false }
        assembly.admit(plan)
        return true
    }

    /// Waits for a plan that is being put into force: none that comes later knows what the catalog does not hold any
    /// more.
    func forgetFormerPlans() { configuring.withLock { _ in } }

    /// What the front end is to do now.
    func frontEndPlan() throws(ManagementError) -> FrontEndPlan {
        let plan = try storedFrontEndPlan()
        return freeze?.plan(insteadOf: plan) ?? plan
    }

    /// What catalog and secrets say.
    func storedFrontEndPlan() throws(ManagementError) -> FrontEndPlan {
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let targets = try query { () throws(CatalogError) in try catalog.targets() }
        let required = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        return FrontEndPlan(
            targets: try plans(of: targets, groups: groups),
            discoveryCredentials: credentials(at: .discovery, isRequired: required.contains(.discovery)))
    }

    /// What the front end is to do with `targets`, with `groups` as those that there are.
    func plans(
        of targets: [TargetRecord], groups: [InitiatorGroupRecord]
    ) throws(ManagementError) -> [TargetPlan] {
        var members: [Int64: (members: InitiatorMembership, credentials: CredentialSet?)] = [:]
        for group in groups {
            members[group.id] = (
                try membership(of: group),
                credentials(at: .group(group.name), isRequired: group.requiresAuthentication)
            )
        }
        return targets.map { target in
            let credentials = credentials(at: .target(target.name), isRequired: target.requiresAuthentication)
            return TargetPlan(
                name: target.name, alias: DeviceName.end(ofTarget: target.name),
                belongsToDevice: target.device != nil,
                logicalUnits: target.logicalUnits,
                portalGroupTags: target.portalGroupTags.map { Set($0.map { UInt16($0) }) },
                accessLevel: target.accessLevel,
                groups: target.access.compactMap { access in
                    members[access.group].map { group in
                        TargetGroupPlan(
                            group: access.group, members: group.members, logicalUnits: access.logicalUnits,
                            credentials: group.credentials ?? credentials)
                    }
                },
                redirection: target.redirection.map {
                    TargetPlan.Redirection(address: $0.address, isPermanent: $0.isPermanent)
                }, credentials: credentials)
        }
    }

    /// What has to be proved at `scope`: where a proof is required but the secrets are gone, nobody can give it.
    private func credentials(at scope: CredentialScope, isRequired: Bool) -> CredentialSet? {
        secrets.entries[scope] ?? (isRequired ? .unknown : nil)
    }

    private func membership(of group: InitiatorGroupRecord) throws(ManagementError) -> InitiatorMembership {
        var names: [NamePattern] = []
        for pattern in group.namePatterns { names.append(try NamePattern.parse(pattern)) }
        var addresses: [AddressRange] = []
        for range in group.addressRanges { addresses.append(try AddressRange.parse(range)) }
        return InitiatorMembership(names: names, addresses: addresses)
    }

    /// The libraries by the keys of their changers and drives.
    func unitLibraries() throws(ManagementError) -> [Int64: Int64] {
        var libraries: [Int64: Int64] = [:]
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            libraries[library.identity.id] = library.identity.id
            for drive in library.drives { libraries[drive.identity.id] = library.identity.id }
        }
        return libraries
    }

    // MARK: Devices that go away

    /// Whether anything but the device's own target depends on the disk or library `name`.
    func hasFrontEndSettings(_ name: String, units: [Int64]) throws(ManagementError) -> Bool {
        guard let device = units.first else { return false }
        if secrets.entries[.target(DeviceName.targetName(name))] != nil { return true }
        return try query { () throws(CatalogError) in try catalog.hasAccessSettings(device: device, units: units) }
    }

    /// Has the front end forget what was set for a disk or library that the catalog and the secrets have forgotten,
    /// which cannot be undone.
    func forgetFrontEndSettings() {
        do {
            try configureFrontEnd()
        } catch {
            logger.error("access is not up to date", metadata: ["reason": "\(error.message)"])
        }
    }
}

extension TargetRecord {
    /// The keys of all logical units that anybody sees at the target.
    var shownUnits: Set<Int64> {
        access.reduce(into: Set(logicalUnits.values)) { $0.formUnion(($1.logicalUnits ?? [:]).values) }
    }
}
