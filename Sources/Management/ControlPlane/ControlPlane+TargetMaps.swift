import Catalog
import Logging
import Resources

// The whole of what a target shows, to everyone and to groups, set at once.
extension ControlPlane {
    /// What a target is to show, by the keys of the units and of the groups.
    struct TargetMaps: Equatable {
        var own: [Int: Int64]
        /// The units of groups; those of the target where nil.
        var groups: [Int64: [Int: Int64]?]
        /// Whether somebody might see more than before.
        var widens = false
    }

    /// What `spec` has the target show; nil when it shows that already. Refused when that cannot be, or when somebody
    /// would see more than before and `mayWiden` does not say that it is meant.
    func maps(
        of target: TargetRecord, by spec: ISCSITarget.Spec, mayWiden: Bool
    ) throws(ManagementError) -> TargetMaps? {
        let names = [spec.units] + spec.groups.values.compactMap(\.units)
        let devices = try deviceUnits(named: names.flatMap(\.values))
        var shown = TargetMaps(own: try Self.keys(spec.units, devices, target), groups: [:])
        for (name, access) in spec.groups.sorted(by: { $0.key < $1.key }) {
            let group = try initiatorGroupRecord(name)
            shown.groups.updateValue(
                try access.units.map { units throws(ManagementError) in try Self.keys(units, devices, target) },
                forKey: group.id)
        }
        let present = TargetMaps(
            own: target.logicalUnits,
            groups: Dictionary(
                target.access.map { ($0.group, $0.logicalUnits) }, uniquingKeysWith: { first, _ in first }))
        guard shown != present else { return nil }
        try checkOwnUnitsStay(target, shown.own)
        try checkHome(target, shown, devices)
        let changed = try record(of: target, showing: shown, at: spec.access)
        shown.widens = try widening(from: [target], to: [changed]) != nil
        guard mayWiden || !shown.widens else {
            throw ManagementError(
                .conflict,
                "initiators would see more of target '\(target.name)' than before; say --open if that is meant")
        }
        return shown
    }

    /// What is told of what the target shows by `spec`.
    static func note(of spec: ISCSITarget.Spec, at target: TargetRecord) -> AccessNote {
        let units = FieldType.map(.any("number"), .text(.any("device")), maximumCount: .max).shown(spec.units.json)
        let groups = spec.groups.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.line)" }
        return AccessNote(
            "units", ["target": target.name, "units": units, "groups": groups.joined(separator: "; ")])
    }

    /// The keys of units by number; refused when there is no such device, or one would have two numbers.
    private static func keys(
        _ units: [Int: String], _ devices: DeviceUnits, _ target: TargetRecord
    ) throws(ManagementError) -> [Int: Int64] {
        var keys: [Int: Int64] = [:]
        var numbers: [Int64: Int] = [:]
        for (number, device) in units.sorted(by: { $0.key < $1.key }) {
            let key = try devices.key(device)
            if let other = numbers.updateValue(number, forKey: key) {
                throw ManagementError(
                    .conflict,
                    "'\(device)' would be logical unit \(other) and \(number) of target '\(target.name)'; "
                        + "give it one number")
            }
            keys[number] = key
        }
        return keys
    }

    /// The target as it would be.
    private func record(
        of target: TargetRecord, showing shown: TargetMaps, at level: AccessLevel
    ) throws(ManagementError) -> TargetRecord {
        var changed = target
        changed.logicalUnits = shown.own
        changed.accessLevel = level
        // By rank, as the catalog gives them.
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        changed.access = groups.compactMap { group in
            shown.groups[group.id].map { TargetAccessRecord(group: group.id, logicalUnits: $0) }
        }
        return changed
    }

    /// Refuses to take away what the target was made for.
    private func checkOwnUnitsStay(_ target: TargetRecord, _ wanted: [Int: Int64]) throws(ManagementError) {
        guard let device = target.device else { return }
        let libraries = try unitLibraries()
        let library = libraries[device]
        for (number, unit) in target.logicalUnits.sorted(by: { $0.key < $1.key }) where wanted[number] != unit {
            guard unit == device || library != nil && libraries[unit] == library else { continue }
            throw ManagementError(
                .conflict,
                "logical unit \(number) is what target '\(target.name)' was made for, and stays; delete the device, or "
                    + "show a group something else", field: "units")
        }
    }

    /// Refuses units of two libraries, and those of the first library while somebody is logged in.
    private func checkHome(
        _ target: TargetRecord, _ shown: TargetMaps, _ devices: DeviceUnits
    ) throws(ManagementError) {
        let keys = shown.groups.values.reduce(into: Set(shown.own.values)) { $0.formUnion(($1 ?? [:]).values) }
        let libraries = Set(keys.compactMap { devices.units[$0]?.library })
        let all = try unitLibraries()
        let present = Set(target.shownUnits.compactMap { all[$0] })
        guard libraries.union(present).count <= 1 else {
            throw ManagementError(
                .conflict,
                "target '\(target.name)' would have units of two libraries, now or one after another, and these run on "
                    + "threads of their own; give each library a target of its own", field: "units")
        }
        if present.isEmpty, !libraries.isEmpty { try checkNobodyIsLoggedIn(target, verb: "give it units of a library") }
    }
}
