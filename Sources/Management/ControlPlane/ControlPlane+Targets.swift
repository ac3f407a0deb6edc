import Catalog
import ISCSI
import Logging
import Resources

/// The logical units that there are, under the names that people give them.
struct DeviceUnits {
    /// A logical unit.
    struct Unit {
        let identity: LogicalUnitIdentity
        /// The unit serial number (VPD page 80h).
        let serialNumber: String
        /// The name that people give it: `vtl/drive:1`.
        let name: String
        /// `disk`, `changer` or `drive`.
        let kind: String
        /// In words: `drive:1 of library vtl`.
        let description: String
        /// The library that it is a part of.
        let library: Int64?
    }
    private(set) var units: [Int64: Unit] = [:]
    private var keys: [String: Int64] = [:]

    mutating func add(_ unit: Unit) {
        units[unit.identity.id] = unit
        keys[unit.name] = unit.identity.id
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

    /// Units by number under the names that people give them; those that are gone are left out.
    func named(_ numbered: [Int: Int64]) -> [Int: String] { numbered.compactMapValues { units[$0]?.name } }

    /// What is shown of units by number to `group`, or to all; those that are gone are left out.
    func shown(_ numbered: [Int: Int64], to group: String? = nil) -> [ISCSITarget.Unit] {
        numbered.sorted { $0.key < $1.key }.compactMap { number, key in
            guard let unit = units[key] else { return nil }
            var shown = ISCSITarget.Unit()
            shown.group = group
            shown.number = number
            shown.kind = unit.kind
            shown.device = unit.description
            shown.serialNumber = unit.serialNumber
            shown.naa = unit.identity.naaText
            return shown
        }
    }
}

extension ControlPlane {
    /// The targets of the page, by name.
    func targets(_ page: Page = .all) throws(ManagementError) -> [Resource<ISCSITarget>] {
        try resources(
            of: query { () throws(CatalogError) in try catalog.targets(after: page.after, limit: page.length) })
    }

    private func resources(of targets: [TargetRecord]) throws(ManagementError) -> [Resource<ISCSITarget>] {
        let shown = targets.reduce(into: Set()) { $0.formUnion($1.shownUnits) }
        let units = try deviceUnits(keys: shown)
        let sessions = assembly.sessionCounts()
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let names = Dictionary(groups.map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
        return targets.map { target in
            var spec = ISCSITarget.Spec()
            spec.access = target.accessLevel
            spec.authentication = target.requiresAuthentication ? .chap : .none
            spec.units = units.named(target.logicalUnits)
            spec.portalGroups = target.portalGroupTags
            spec.redirection = target.redirection?.address
            spec.isPermanent = target.redirection?.isPermanent ?? false
            var status = ISCSITarget.Status()
            status.units = units.shown(target.logicalUnits)
            for access in target.access {
                guard let group = names[access.group] else { continue }
                spec.groups[group] = ISCSITarget.GroupAccess(units: access.logicalUnits.map(units.named))
                status.groups.append(group)
                if let own = access.logicalUnits { status.units += units.shown(own, to: group) }
            }
            status.sessions = sessions[target.name] ?? 0
            let tags = target.portalGroupTags
            status.portals = portals.filter { tags?.contains($0.group) ?? true }.map(\.actual.description)
            status.isOwn = target.device == nil
            return Resource(name: target.name, spec: spec, status: status, generation: target.generation)
        }
    }

    /// The target `name`, given as an iSCSI name or as the name of its disk or library.
    func target(_ name: String) throws(ManagementError) -> Resource<ISCSITarget> {
        let record = try targetRecord(name)
        guard let target = try resources(of: [record]).first else {
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
                DeviceUnits.Unit(
                    identity: disk.identity, serialNumber: disk.identity.serialNumber, name: disk.name, kind: "disk",
                    description: "disk \(disk.name)",
                    library: nil))
        }
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            let key = library.identity.id
            units.add(
                DeviceUnits.Unit(
                    identity: library.identity, serialNumber: unitSerialNumber(of: library), name: library.name,
                    kind: "changer", description: "changer of library \(library.name)", library: key))
            for drive in library.drives {
                units.add(
                    DeviceUnits.Unit(
                        identity: drive.identity, serialNumber: drive.identity.serialNumber,
                        name: "\(library.name)/drive:\(drive.number)", kind: "drive",
                        description: "drive:\(drive.number) of library \(library.name)", library: key))
            }
        }
        return units
    }

    // MARK: Targets made for themselves

    /// The most targets that are made for themselves.
    static let maximumOwnTargets = 16384

    /// Makes a target that shows devices.
    func createTarget(
        _ given: String, _ spec: ISCSITarget.Spec = ISCSITarget.Spec()
    ) throws(ManagementError) -> Resource<ISCSITarget> {
        let name = ISCSIName.normalized(given) ?? DeviceName.targetName(given)
        if name.hasPrefix(DeviceName.targetPrefix) { try checkNameIsFree(DeviceName.end(ofTarget: name)) }
        guard try !query({ () throws(CatalogError) in try catalog.hasTarget(named: name) }) else {
            throw ManagementError(.conflict, "target '\(name)' exists already; choose another name")
        }
        guard try query({ () throws(CatalogError) in try catalog.ownTargetCount() }) < Self.maximumOwnTargets else {
            throw ManagementError(
                .conflict, "there are \(Self.maximumOwnTargets) such targets already; delete one first")
        }
        guard spec.access != .open else {
            throw ManagementError(
                .conflict,
                "a target is not open from its beginning; make it, and then say 'carousel target access "
                    + "\(DeviceName.alias(ofTarget: name)) open --open'")
        }
        try checkPortalGroups(spec.portalGroups)
        let (redirection, tags) = (try redirection(of: spec), spec.portalGroups.map { Set($0).sorted() })
        let shown = try checkedUnits(of: spec, at: name)
        var details = ["target": name, "access": spec.access.rawValue, "units": Self.words(shown.own, shown.devices)]
        for (group, units) in shown.groups { details["units of \(group.name)"] = Self.words(units, shown.devices) }
        details["portal groups"] = tags.map(Self.words)
        details["redirected to"] = redirection?.address
        var notes = [AccessNote("target created", details)]
        if spec.authentication == .chap { notes.append(.proofRequired(at: .target(name))) }
        try changeAccess(notes) { change in
            let target = try change.addTarget(named: name)
            try change.requireAuthentication(spec.authentication == .chap, at: [.target(name)])
            try change.setPortalGroupTags(tags, ofTarget: target)
            try change.setRedirection(redirection, ofTarget: target)
            try change.map(shown.own, to: target)
            for (group, units) in shown.groups {
                try change.setAccess(of: group.id, to: target, logicalUnits: units)
            }
            // Last, for the first group makes it `groups`.
            try change.setAccessLevel(spec.access, ofTarget: target)
        }
        return try target(name)
    }

    /// What a new target shows, to all and to groups.
    private struct ShownUnits {
        var own: [Int: Int64] = [:]
        /// The groups by name; those without units see what the target shows.
        var groups: [(group: InitiatorGroupRecord, units: [Int: Int64]?)] = []
        var devices: DeviceUnits
    }

    /// What a new target of that name shows by `spec`; refused when it cannot.
    private func checkedUnits(of spec: ISCSITarget.Spec, at name: String) throws(ManagementError) -> ShownUnits {
        let named = [spec.units] + spec.groups.values.compactMap(\.units)
        var shown = ShownUnits(devices: try deviceUnits(named: named.flatMap(\.values)))
        func keys(_ units: [Int: String]) throws(ManagementError) -> [Int: Int64] {
            var keys: [Int: Int64] = [:]
            for (number, device) in units { keys[number] = try shown.devices.key(device) }
            try checkNumbers(keys, present: [:], target: name, shown.devices)
            return keys
        }
        shown.own = try keys(spec.units)
        for (group, access) in spec.groups.sorted(by: { $0.key < $1.key }) {
            var units: [Int: Int64]?
            if let own = access.units { units = try keys(own) }
            shown.groups.append((try initiatorGroupRecord(group), units))
        }
        let all = Array(shown.own.values) + shown.groups.flatMap { ($0.units ?? [:]).values }
        try Self.checkIsOneLibrary(Set(all.compactMap { shown.devices.units[$0]?.library }), name)
        return shown
    }

    /// Makes units, access, authentication, portal groups and redirection of a target what `spec` says.
    ///
    /// What might let somebody see more than before has to be asked for: `mayWiden`.
    func changeTarget(
        _ name: String, to spec: ISCSITarget.Spec, mayWiden: Bool = false
    ) throws(ManagementError) -> Resource<ISCSITarget> {
        let target = try targetRecord(name)
        let authentication: AuthenticationMethod = target.requiresAuthentication ? .chap : .none
        let tags = spec.portalGroups.map { Set($0).sorted() }
        // All refusals first.
        var changed = target
        changed.accessLevel = spec.access
        let levelWidens = try widening(from: [target], to: [changed]) != nil
        let proofEnds = authentication == .chap && spec.authentication == .none
        let portalsWiden = tags == nil && target.portalGroupTags != nil && spec.access != .closed
        if !mayWiden {
            guard !proofEnds else {
                throw ManagementError(
                    .conflict,
                    "initiators would not have to prove who they are at target '\(target.name)' any more; "
                        + "say --open if that is meant")
            }
            guard !levelWidens else { throw Self.wideningLevel(target, spec.access) }
            guard !portalsWiden else {
                throw ManagementError(
                    .conflict,
                    "all portal groups would offer target '\(target.name)', those that do not now among them; "
                        + "name those that shall, or say --open if that is meant")
            }
        }
        if tags != target.portalGroupTags { try checkPortalGroups(tags) }
        let redirection = try redirection(of: spec)
        let maps = try self.maps(of: target, by: spec, mayWiden: mayWiden)
        let proofBegins = authentication == .none && spec.authentication == .chap
        var notes: [AccessNote] = []
        if spec.access != target.accessLevel { notes.append(.level(of: target, to: spec.access)) }
        if proofBegins { notes.append(.proofRequired(at: .target(target.name))) }
        if proofEnds { notes.append(.proofNotRequired(at: .target(target.name))) }
        if tags != target.portalGroupTags {
            notes.append(
                AccessNote("portal groups", ["target": target.name, "groups": tags.map(Self.words) ?? "all"]))
        }
        if redirection != target.redirection {
            notes.append(
                AccessNote("redirection", ["target": target.name, "to": redirection?.address ?? "nowhere"]))
        }
        if maps != nil { notes.append(Self.note(of: spec, at: target)) }
        let addsPortals = tags.map { !Set($0).isSubset(of: target.portalGroupTags ?? $0) } ?? portalsWiden
        guard !notes.isEmpty else { return try self.target(name) }
        let takesAway = !levelWidens && !addsPortals && !proofEnds && maps?.widens != true
        func store() throws(ManagementError) {
            try storeAccess(notes, takesAway: takesAway) { change in
                try change.requireAuthentication(spec.authentication == .chap, at: [.target(target.name)])
                try change.setPortalGroupTags(tags, ofTarget: target.id)
                try change.setRedirection(redirection, ofTarget: target.id)
                if let maps { try change.setMaps(maps.own, groups: maps.groups, ofTarget: target.id) }
                try change.setAccessLevel(spec.access, ofTarget: target.id)
            }
        }
        if proofEnds { try changeSecrets(to: nil, at: .target(target.name), store) } else { try store() }
        try configureFrontEnd()
        return try self.target(name)
    }

    /// Deletes a target that was made for itself; the devices stay.
    func deleteTarget(_ name: String) throws(ManagementError) {
        let target = try targetRecord(name)
        guard target.device == nil else {
            let device = DeviceName.end(ofTarget: target.name)
            throw ManagementError(
                .conflict,
                "target '\(target.name)' belongs to the disk or library '\(device)' and goes with it; "
                    + "'carousel target access \(device) closed' keeps initiators out")
        }
        try checkNobodyIsLoggedIn(target, verb: "delete it")
        try changeSecrets(to: nil, at: .target(target.name)) { () throws(ManagementError) in
            try storeAccess([AccessNote("target deleted", ["target": target.name])], takesAway: true) { change in
                try change.removeTarget(target.id)
            }
        }
        try configureFrontEnd()
    }

    // MARK: Portal groups and redirection

    /// Refuses portal groups that have no portal.
    private func checkPortalGroups(_ groups: [Int]?) throws(ManagementError) {
        guard let groups else { return }
        guard !groups.isEmpty else {
            throw ManagementError(.invalid, "name at least one portal group, or 'all'", field: "portalGroups")
        }
        for group in groups {
            guard portals.contains(where: { $0.group == group }) || freeze?.portalGroups.contains(group) == true else {
                throw ManagementError(
                    .conflict,
                    "no portal is in portal group \(group); "
                        + "add one with 'carousel portal create ADDR:PORT --portal-group \(group)' first")
            }
        }
    }

    /// Where logins are sent by `spec`; refused when that leads nowhere.
    private func redirection(of spec: ISCSITarget.Spec) throws(ManagementError) -> TargetRedirection? {
        guard let text = spec.redirection else { return nil }
        let address = try PortalAddress.parse(text)
        guard address.port != 0, address.address != "0.0.0.0", address.address != "::" else {
            throw ManagementError(
                .invalid, "'\(text)' is nowhere to go; give the address and port of another portal",
                field: "redirection")
        }
        // An initiator would be sent round in circles.
        try checkIsElsewhere(address)
        return TargetRedirection(address: address.description, isPermanent: spec.isPermanent)
    }

    /// Refuses an address at which a portal of this daemon takes logins: its own, or with a portal for all addresses of
    /// the machine any of these. Those that an `apply` closes at its end do not count: nobody is sent anywhere before.
    private func checkIsElsewhere(_ address: PortalAddress) throws(ManagementError) {
        let going = freeze?.goingPortals ?? []
        let staying = portals.filter { !going.contains($0.actual.description) }
        guard let portal = staying.first(where: { $0.actual.takesConnections(to: address) }) else { return }
        let through = portal.actual == address ? "" : ", through \(portal.actual)"
        throw ManagementError(
            .invalid, "\(address) is a portal of this daemon\(through); choose among its own by portal groups",
            field: "redirection")
    }

    /// Refuses a portal to which a target sends its initiators away: they would come back to it.
    func checkNobodyIsSent(to portal: PortalAddress) throws(ManagementError) {
        for target in try query({ () throws(CatalogError) in try catalog.targets() }) {
            guard let text = target.redirection?.address, let address = try? PortalAddress.parse(text),
                portal.takesConnections(to: address)
            else { continue }
            throw ManagementError(
                .conflict,
                "target '\(target.name)' sends initiators to \(address), which would be this portal; end that with "
                    + "'carousel target set \(DeviceName.alias(ofTarget: target.name)) --redirect none' first")
        }
    }

    func checkNobodyIsLoggedIn(_ target: TargetRecord, verb: String) throws(ManagementError) {
        guard let session = assembly.sessions().first(where: { $0.status.target == target.name }) else { return }
        throw ManagementError(
            .inUse,
            "target '\(target.name)' is in use by \(session.status.initiator); "
                + "log it out with 'carousel session close \(session.name)' before you \(verb)")
    }
}
