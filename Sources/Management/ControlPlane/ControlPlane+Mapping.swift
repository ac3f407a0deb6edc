import Catalog
import Logging
import Platform
import Resources
import TargetCore

// Which logical units a target shows, to everyone or to a group of initiators.
extension ControlPlane {
    /// Shows devices at the target `name`: to everyone who sees what the target itself shows, or to a group, which
    /// thereby may log in.
    ///
    /// It adds to what is shown already, and what is shown already at the same number changes nothing. A group that was
    /// given no devices sees those of the target: it has to lose what it shall not see with `unmap`, and one that was
    /// given some comes to see all only when that is asked for.
    func map(
        target name: String, _ request: ISCSITarget.Map.Arguments
    ) throws(ManagementError) -> Resource<ISCSITarget> {
        let target = try targetRecord(name)
        let devices = try deviceUnits(named: request.units.values)
        var wanted: [Int: Int64] = [:]
        for (number, device) in request.units { wanted[number] = try devices.key(device) }
        guard let groupName = request.group else {
            guard !wanted.isEmpty, !request.allUnits else {
                throw ManagementError(.invalid, "name what to show with --lun N=DEVICE, or to whom with --group GROUP")
            }
            try mapForEveryone(target, wanted, devices)
            return try self.target(name)
        }
        let group = try initiatorGroupRecord(groupName)
        guard wanted.isEmpty || !request.allUnits else {
            throw ManagementError(.invalid, "give a group some units with --lun, or all with --all-units, not both")
        }
        let access = target.access.first { $0.group == group.id }
        if try isShown(wanted, to: access, groupName, at: target, wantsAll: request.allUnits) {
            return try self.target(name)
        }
        let present = access?.logicalUnits ?? [:]
        let added = wanted.filter { present[$0.key] != $0.value }
        try checkNumbers(added, present: present, target: target.name, devices)
        try checkHome(target, added, devices)
        let merged = wanted.isEmpty ? nil : present.merging(added) { first, _ in first }
        let note = AccessNote(
            "map",
            [
                "target": target.name, "group": groupName, "units": Self.words(merged.map { _ in added }, devices),
            ])
        try changeAccess([note]) { change in
            try change.setAccess(of: group.id, to: target.id, logicalUnits: merged)
        }
        return try self.target(name)
    }

    private func mapForEveryone(
        _ target: TargetRecord, _ wanted: [Int: Int64], _ devices: DeviceUnits
    ) throws(ManagementError) {
        let added = wanted.filter { target.logicalUnits[$0.key] != $0.value }
        guard !added.isEmpty else { return }
        try checkNumbers(added, present: target.logicalUnits, target: target.name, devices)
        try checkHome(target, added, devices)
        let note = AccessNote("map", ["target": target.name, "units": Self.words(added, devices)])
        try storeAccess([note]) { change in try change.map(added, to: target.id) }
        if added.values.allSatisfy({ devices.units[$0]?.library == nil }) {
            // Disks for everyone change nothing else, so nothing else is compared.
            configuring.withLock { _ in assembly.map(added, atTarget: target.name) }
        } else {
            try configureFrontEnd()
        }
    }

    /// Whether a group with `access` to the target sees what is wanted already; refuses what would take something away
    /// or show more than was said.
    private func isShown(
        _ wanted: [Int: Int64], to access: TargetAccessRecord?, _ group: String, at target: TargetRecord, wantsAll: Bool
    ) throws(ManagementError) -> Bool {
        guard let access else { return false }
        guard let units = access.logicalUnits else {
            guard !wanted.isEmpty else { return true }
            throw ManagementError(
                .conflict,
                "group '\(group)' sees all units of target '\(target.name)'; take away what it shall not see with "
                    + "'carousel target unmap \(DeviceName.alias(ofTarget: target.name)) --group \(group) --lun N', "
                    + "or map the device to the target itself")
        }
        guard wanted.isEmpty else { return wanted.allSatisfy { units[$0.key] == $0.value } }
        guard wantsAll else {
            throw ManagementError(
                .conflict,
                "group '\(group)' sees some units of target '\(target.name)' only; say which to add with --lun "
                    + "N=DEVICE, or --all-units if it shall see all")
        }
        return false
    }

    /// `0=disk a, 1=…`, or `all` when nil.
    static func words(_ units: [Int: Int64]?, _ devices: DeviceUnits) -> String {
        guard let units else { return "all" }
        return units.sorted { $0.key < $1.key }.map { "\($0.key)=\(devices.units[$0.value]?.description ?? "?")" }
            .joined(separator: ", ")
    }

    /// Shows devices no longer at the target `name`: to everyone, or to a group, whose access ends when no number is
    /// given. A group that sees all units sees the others on; those that the target gets later it does not see.
    ///
    /// Where another group decides for some initiators then and shows them more, it has to be asked for: `mayWiden`.
    func unmap(
        target name: String, _ request: ISCSITarget.Unmap.Arguments
    ) throws(ManagementError) -> Resource<ISCSITarget> {
        let target = try targetRecord(name)
        guard let groupName = request.group else {
            try unmapFromEveryone(target, request.units)
            return try self.target(name)
        }
        let group = try initiatorGroupRecord(groupName)
        guard let access = target.access.first(where: { $0.group == group.id }) else {
            throw ManagementError(
                .conflict,
                "group '\(groupName)' has no access to target '\(target.name)'; there is nothing to take away")
        }
        guard !request.units.isEmpty else {
            var changed = target
            changed.access.removeAll { $0.group == group.id }
            if !request.mayWiden {
                try checkWidensNothing(from: [target], to: [changed], "without group '\(groupName)'")
            }
            let note = AccessNote("unmap", ["target": target.name, "group": groupName])
            try changeAccess([note], takesAway: true) { change in
                try change.removeAccess(of: group.id, to: target.id)
            }
            return try self.target(name)
        }
        var units = access.logicalUnits ?? target.logicalUnits
        for number in Set(request.units) {
            guard units.removeValue(forKey: number) != nil else {
                throw ManagementError(
                    .conflict, "group '\(groupName)' sees no logical unit \(number) at target '\(target.name)'")
            }
        }
        let note = AccessNote(
            "unmap", ["target": target.name, "group": groupName, "units": Self.words(request.units)])
        let left = units
        try changeAccess([note], takesAway: true) { change in
            try change.setAccess(of: group.id, to: target.id, logicalUnits: left)
        }
        return try self.target(name)
    }

    static func words(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ", ") }

    private func unmapFromEveryone(_ target: TargetRecord, _ numbers: [Int]) throws(ManagementError) {
        guard !numbers.isEmpty else {
            throw ManagementError(.invalid, "name what to take away with --lun N, or from whom with --group GROUP")
        }
        let own = try target.device.map { device throws(ManagementError) in
            let library = try unitLibraries()[device]
            return try unitLibraries().filter { library != nil && $0.value == library }.keys + [device]
        }
        for number in Set(numbers) {
            guard let unit = target.logicalUnits[number] else {
                throw ManagementError(.conflict, "target '\(target.name)' has no logical unit \(number)")
            }
            if own?.contains(unit) == true {
                throw ManagementError(
                    .conflict,
                    "logical unit \(number) is what target '\(target.name)' was made for; "
                        + "delete the device, or show a group something else with --group")
            }
        }
        let distinct = Set(numbers).sorted()
        let note = AccessNote("unmap", ["target": target.name, "units": Self.words(distinct)])
        try changeAccess([note], takesAway: true) { change in try change.unmap(distinct, from: target.id) }
    }

    // MARK: Checks

    /// Refuses numbers that others of `present` have, and a second number for one of them.
    func checkNumbers(
        _ wanted: [Int: Int64], present: [Int: Int64], target: String, _ devices: DeviceUnits
    ) throws(ManagementError) {
        let (count, limit) = (present.count + wanted.count, ISCSITarget.maximumUnits)
        guard count <= limit else {
            throw ManagementError(
                .conflict,
                "target '\(target)' would show \(count) logical units, and \(limit) is the most; show the others at "
                    + "another target")
        }
        // Turned around, so that a number of each unit is found without looking through all.
        let presentNumbers = Dictionary(present.map { ($0.value, $0.key) }, uniquingKeysWith: min)
        let wantedNumbers = Dictionary(wanted.map { ($0.value, [$0.key]) }, uniquingKeysWith: +)
        for (number, unit) in wanted.sorted(by: { $0.key < $1.key }) {
            let device = devices.units[unit]?.description ?? "the device"
            if let other = present[number] {
                let name = try deviceUnits(keys: [other]).units[other]?.description ?? "another device"
                throw ManagementError(
                    .conflict,
                    "logical unit \(number) of target '\(target)' is \(name) already; "
                        + "take it away or choose another number")
            }
            if let taken = presentNumbers[unit] ?? wantedNumbers[unit]?.filter({ $0 != number }).min() {
                throw ManagementError(
                    .conflict,
                    "\(device) would be logical unit \(number) and \(taken) of target '\(target)'; "
                        + "give it one number")
            }
        }
    }

    /// Refuses what would run badly: all sessions with a target that has tape drives or a changer run on the thread of
    /// their library, so they are of one library, and nobody is logged in elsewhere when the first of them comes. Units
    /// of another library would be reached through a relay, with a copy and hand-overs between threads for a command.
    private func checkHome(
        _ target: TargetRecord, _ wanted: [Int: Int64], _ devices: DeviceUnits
    ) throws(ManagementError) {
        let present = Set(target.shownUnits.compactMap { devices.units[$0]?.library })
        let added = Set(wanted.values.compactMap { devices.units[$0]?.library })
        try Self.checkIsOneLibrary(present.union(added), target.name)
        if present.isEmpty, !added.isEmpty { try checkNobodyIsLoggedIn(target, verb: "give it units of a library") }
    }

    /// Refuses units of several `libraries` at the target of that name.
    static func checkIsOneLibrary(_ libraries: Set<Int64>, _ target: String) throws(ManagementError) {
        guard libraries.count <= 1 else {
            throw ManagementError(
                .conflict,
                "target '\(target)' would have units of two libraries, which run on threads of their own; "
                    + "give each library a target of its own")
        }
    }
}
