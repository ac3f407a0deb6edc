import Catalog
import ISCSI
import Logging
public import Resources

/// The logical units that there are, under the names that people give them.
struct DeviceUnits {
    /// A logical unit.
    struct Unit {
        let identity: LogicalUnitIdentity
        /// `disk`, `changer` or `drive`.
        let kind: String
        /// In words: `drive:1 of library vtl`.
        let description: String
        /// The library that it is a part of.
        let library: Int64?
    }
    private(set) var units: [Int64: Unit] = [:]
    private var keys: [String: Int64] = [:]

    mutating func add(_ name: String, _ unit: Unit) {
        units[unit.identity.id] = unit
        keys[name] = unit.identity.id
    }

    /// The key of the device that `name` means: `disk0`, `vtl` for the changer of that library, `vtl/drive:1`.
    func key(_ name: String) throws(ManagementError) -> Int64 {
        guard let key = keys[name] else {
            throw ManagementError(
                .notFound,
                "there is no device '\(name)'; "
                    + "write disk0 for a disk, vtl for the changer of a library or vtl/drive:1 for a drive")
        }
        return key
    }

    /// What the API shows of units by number; those that are gone are left out.
    func summaries(_ numbered: [Int: Int64]) -> [LogicalUnitSummary] {
        numbered.sorted { $0.key < $1.key }.compactMap { number, key in
            units[key].map {
                LogicalUnitSummary(
                    number: number, kind: $0.kind, device: $0.description, serialNumber: $0.identity.serialNumber,
                    naa: $0.identity.naaText)
            }
        }
    }
}

extension Controller {
    /// The targets by name.
    public func targets() throws(ManagementError) -> [TargetSummary] {
        try summaries(of: query { () throws(CatalogError) in try catalog.targets() })
    }

    private func summaries(of targets: [TargetRecord]) throws(ManagementError) -> [TargetSummary] {
        // One target must not cost what all devices cost.
        let units = targets.count == 1 ? try deviceUnits(keys: targets[0].shownUnits) : try deviceUnits()
        let sessions = assembly.sessionCounts()
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let names = Dictionary(groups.map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
        let requiring = Set(groups.filter(\.requiresAuthentication).map(\.name))
        return targets.map { target in
            let access = target.access.compactMap { access in
                names[access.group].map {
                    TargetAccessSummary(group: $0, logicalUnits: access.logicalUnits.map(units.summaries))
                }
            }
            let hasCHAP =
                target.requiresAuthentication || access.contains { requiring.contains($0.group) }
            let tags = target.portalGroupTags
            return TargetSummary(
                name: target.name, logicalUnits: units.summaries(target.logicalUnits),
                portals: portals.filter { tags?.contains($0.group) ?? true }.map(\.actual.description),
                portalGroups: tags, accessLevel: target.accessLevel.rawValue, access: access, hasCHAP: hasCHAP,
                redirect: target.redirection?.address,
                isRedirectPermanent: target.redirection?.isPermanent ?? false, isOwn: target.device == nil,
                sessions: sessions[target.name] ?? 0)
        }
    }

    /// The target `name`, given as an iSCSI name or as the name of its disk or library.
    public func target(_ name: String) throws(ManagementError) -> TargetSummary {
        let record = try targetRecord(name)
        guard let target = try summaries(of: [record]).first else {
            throw ManagementError(.internal, "target '\(name)' has gone")
        }
        return target
    }

    func targetRecord(_ name: String) throws(ManagementError) -> TargetRecord {
        let wanted = [name, DeviceName.targetName(name), ISCSIName.normalized(name) ?? name]
        guard let target = try query({ () throws(CatalogError) in try catalog.target(named: wanted) }) else {
            throw ManagementError(
                .notFound, "there is no target '\(name)'; 'carousel target list' shows those there are")
        }
        return target
    }

    /// All logical units.
    func deviceUnits() throws(ManagementError) -> DeviceUnits {
        try deviceUnits(query { () throws(CatalogError) in try catalog.disks() })
    }

    /// The logical units with `keys`, and those of all libraries, of which there are few.
    func deviceUnits(keys: some Collection<Int64>) throws(ManagementError) -> DeviceUnits {
        try deviceUnits(query { () throws(CatalogError) in try catalog.disks(keys: keys) })
    }

    /// The logical units that `names` mean, and those of all libraries.
    func deviceUnits(named names: some Collection<String>) throws(ManagementError) -> DeviceUnits {
        var disks: [DiskRecord] = []
        for name in Set(names) {
            if let disk = try query({ () throws(CatalogError) in try catalog.disk(named: name) }) { disks.append(disk) }
        }
        return try deviceUnits(disks)
    }

    private func deviceUnits(_ disks: [DiskRecord]) throws(ManagementError) -> DeviceUnits {
        var units = DeviceUnits()
        for disk in disks {
            units.add(
                disk.name,
                DeviceUnits.Unit(
                    identity: disk.identity, kind: "disk", description: "disk \(disk.name)", library: nil))
        }
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            let key = library.identity.id
            units.add(
                library.name,
                DeviceUnits.Unit(
                    identity: library.identity, kind: "changer", description: "changer of library \(library.name)",
                    library: key))
            for drive in library.drives {
                units.add(
                    "\(library.name)/drive:\(drive.number)",
                    DeviceUnits.Unit(
                        identity: drive.identity, kind: "drive",
                        description: "drive:\(drive.number) of library \(library.name)", library: key))
            }
        }
        return units
    }

    // MARK: Targets made for themselves

    /// The most targets that are made for themselves.
    static let maximumOwnTargets = 16384

    /// Makes a target without logical units.
    public func createTarget(_ request: TargetCreation) throws(ManagementError) -> TargetSummary {
        let name: String
        if let whole = ISCSIName.normalized(request.name) {
            name = whole
            if name.hasPrefix(DeviceName.targetPrefix) { try checkNameIsFree(DeviceName.alias(ofTarget: name)) }
        } else {
            try DeviceName.check(request.name, of: "target")
            try checkNameIsFree(request.name)
            name = DeviceName.targetName(request.name)
        }
        let targets = try query { () throws(CatalogError) in try catalog.targets() }
        guard !targets.contains(where: { $0.name == name }) else {
            throw ManagementError(.conflict, "target '\(name)' exists already; choose another name")
        }
        guard targets.count(where: { $0.device == nil }) < Self.maximumOwnTargets else {
            throw ManagementError(
                .conflict, "there are \(Self.maximumOwnTargets) such targets already; delete one first")
        }
        try query { () throws(CatalogError) in try catalog.addTarget(named: name) }
        try configureFrontEnd()
        logger.info("target created", metadata: ["target": "\(name)"])
        return try target(name)
    }

    /// Deletes a target that was made for itself; the devices stay.
    public func deleteTarget(_ name: String) throws(ManagementError) {
        let target = try targetRecord(name)
        guard target.device == nil else {
            let device = DeviceName.alias(ofTarget: target.name)
            throw ManagementError(
                .conflict,
                "target '\(target.name)' belongs to the disk or library '\(device)' and goes with it; "
                    + "'carousel target access \(device) closed' keeps initiators out")
        }
        try checkNobodyIsLoggedIn(target, verb: "delete it")
        try query { () throws(CatalogError) in try catalog.removeTarget(target.id) }
        forgetSecrets(at: .target(target.name))
        try configureFrontEnd()
        logger.info("target deleted", metadata: ["target": "\(target.name)"])
    }

    // MARK: Portal groups and redirection

    /// Has some portal groups, or all, offer the target `name`.
    public func setPortalGroups(
        ofTarget name: String, _ request: TargetPortalGroups
    ) throws(ManagementError) -> TargetSummary {
        let target = try targetRecord(name)
        if let groups = request.groups {
            guard !groups.isEmpty else {
                throw ManagementError(.invalid, "name at least one portal group, or 'all'")
            }
            for group in groups {
                try Self.checkPortalGroup(group)
                guard portals.contains(where: { $0.group == group }) else {
                    throw ManagementError(
                        .conflict,
                        "no portal is in group \(group); "
                            + "add one with 'carousel portal add ADDR:PORT --group \(group)' first")
                }
            }
        }
        let tags = request.groups.map { Set($0).sorted() }
        try query { () throws(CatalogError) in try catalog.setPortalGroupTags(tags, ofTarget: target.id) }
        try configureFrontEnd()
        noteChange(
            "portal groups",
            [
                "target": "\(target.name)",
                "groups": "\(tags.map { $0.map(String.init).joined(separator: ", ") } ?? "all")",
            ])
        return try self.target(name)
    }

    /// Sends logins to the target `name` elsewhere, or no longer.
    public func redirect(
        target name: String, _ request: TargetRedirect
    ) throws(ManagementError) -> TargetSummary {
        let target = try targetRecord(name)
        var redirection: TargetRedirection?
        if let text = request.address {
            let address = try PortalAddress.parse(text)
            guard address.port != 0, address.address != "0.0.0.0", address.address != "::" else {
                throw ManagementError(
                    .invalid, "'\(text)' is nowhere to go; give the address and port of another portal")
            }
            // An initiator would be sent round in circles.
            guard !portals.contains(where: { $0.actual == address }) else {
                throw ManagementError(
                    .invalid,
                    "\(address) is a portal of this daemon; choose among its own with 'carousel target portals'")
            }
            redirection = TargetRedirection(address: address.description, isPermanent: request.isPermanent)
        }
        try query { () throws(CatalogError) in try catalog.setRedirection(redirection, ofTarget: target.id) }
        try configureFrontEnd()
        noteChange(
            "redirection", ["target": "\(target.name)", "to": "\(redirection?.address ?? "nowhere")"])
        return try self.target(name)
    }

    func checkNobodyIsLoggedIn(_ target: TargetRecord, verb: String) throws(ManagementError) {
        guard let session = assembly.sessions().first(where: { $0.target == target.name }) else { return }
        throw ManagementError(
            .inUse,
            "target '\(target.name)' is in use by \(session.initiator); "
                + "log it out with 'carousel session close \(session.handle)' before you \(verb)")
    }
}
