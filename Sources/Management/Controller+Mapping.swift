import Catalog
import Logging
public import Resources
import TargetCore

// Which logical units a target shows, to everyone or to a group of initiators.
extension Controller {
    /// Shows devices at the target `name`: to everyone, or only to a group, which thereby may log in.
    ///
    /// A group without devices of its own sees those of the target. New numbers are added to those that a group has
    /// already.
    public func map(target name: String, _ request: TargetMapping) throws(ManagementError) -> TargetSummary {
        let target = try targetRecord(name)
        let devices = try deviceUnits(named: request.logicalUnits.values)
        var wanted: [Int: Int64] = [:]
        for (number, device) in request.logicalUnits {
            guard LogicalUnitMap.numbers.contains(number) else {
                throw ManagementError(
                    .invalid,
                    "\(number) is no logical unit number; give 0 to \(LogicalUnitMap.numbers.upperBound - 1)")
            }
            wanted[number] = try devices.key(device)
        }
        guard request.group != nil || !wanted.isEmpty else {
            throw ManagementError(.invalid, "name what to show with --lun N=DEVICE, or to whom with --group GROUP")
        }
        let group = try request.group.map { name throws(ManagementError) in try initiatorGroupRecord(name) }
        let access = group.flatMap { group in target.access.first { $0.group == group.id } }
        let present = group == nil ? target.logicalUnits : access?.logicalUnits ?? [:]
        try checkNumbers(wanted, present: present, target: target, devices)
        try checkHome(target, wanted, devices)
        let merged = present.merging(wanted) { first, _ in first }
        try query { () throws(CatalogError) in
            if let group {
                try catalog.setAccess(of: group.id, to: target.id, logicalUnits: wanted.isEmpty ? nil : merged)
            } else {
                try catalog.map(wanted, to: target.id)
            }
        }
        if group == nil, wanted.values.allSatisfy({ devices.units[$0]?.library == nil }) {
            // Disks for everyone change nothing else, so nothing else is compared.
            assembly.map(wanted, atTarget: target.name)
        } else {
            try configureFrontEnd()
        }
        return try self.target(name)
    }

    /// Shows devices no longer at the target `name`: to everyone, or to a group, whose access ends when no number is
    /// given.
    public func unmap(target name: String, _ request: TargetUnmapping) throws(ManagementError) -> TargetSummary {
        let target = try targetRecord(name)
        guard let groupName = request.group else {
            try unmapFromEveryone(target, request.numbers)
            try configureFrontEnd()
            return try self.target(name)
        }
        let group = try initiatorGroupRecord(groupName)
        guard let access = target.access.first(where: { $0.group == group.id }) else {
            throw ManagementError(
                .conflict,
                "group '\(groupName)' has no access to target '\(target.name)'; there is nothing to take away")
        }
        guard !request.numbers.isEmpty else {
            try query { () throws(CatalogError) in try catalog.removeAccess(of: group.id, to: target.id) }
            try configureFrontEnd()
            return try self.target(name)
        }
        guard var units = access.logicalUnits else {
            throw ManagementError(
                .conflict,
                "group '\(groupName)' sees all of target '\(target.name)'; "
                    + "map it what it shall see with --lun N=DEVICE instead")
        }
        for number in request.numbers {
            guard units.removeValue(forKey: number) != nil else {
                throw ManagementError(
                    .conflict, "group '\(groupName)' sees no logical unit \(number) at target '\(target.name)'")
            }
        }
        try query { () throws(CatalogError) in
            try catalog.setAccess(of: group.id, to: target.id, logicalUnits: units)
        }
        try configureFrontEnd()
        return try self.target(name)
    }

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
        try query { () throws(CatalogError) in try catalog.unmap(distinct, from: target.id) }
    }

    // MARK: Checks

    private func checkNumbers(
        _ wanted: [Int: Int64], present: [Int: Int64], target: TargetRecord, _ devices: DeviceUnits
    ) throws(ManagementError) {
        // Turned around, so that a number of each unit is found without looking through all.
        let presentNumbers = Dictionary(present.map { ($0.value, $0.key) }, uniquingKeysWith: min)
        let wantedNumbers = Dictionary(wanted.map { ($0.value, [$0.key]) }, uniquingKeysWith: +)
        for (number, unit) in wanted.sorted(by: { $0.key < $1.key }) {
            let device = devices.units[unit]?.description ?? "the device"
            if let other = present[number] {
                let name = try deviceUnits(keys: [other]).units[other]?.description ?? "another device"
                throw ManagementError(
                    .conflict,
                    "logical unit \(number) of target '\(target.name)' is \(name) already; "
                        + "take it away or choose another number")
            }
            if let taken = presentNumbers[unit] ?? wantedNumbers[unit]?.filter({ $0 != number }).min() {
                throw ManagementError(
                    .conflict,
                    "\(device) would be logical unit \(number) and \(taken) of target '\(target.name)'; "
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
        guard present.union(added).count <= 1 else {
            throw ManagementError(
                .conflict,
                "target '\(target.name)' would have units of two libraries, which run on threads of their own; "
                    + "give each library a target of its own")
        }
        if present.isEmpty, !added.isEmpty { try checkNobodyIsLoggedIn(target, verb: "give it units of a library") }
    }
}
