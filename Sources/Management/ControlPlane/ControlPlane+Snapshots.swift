import Catalog
import Foundation
import Logging
import Platform
import Resources

// Snapshots of disks. What there is of them is in the images; the catalog has no rows for them.
extension ControlPlane {
    // MARK: Queries

    /// The snapshots of the disk `name`, or of all disks that are served, by name.
    func snapshots(ofDisk name: String? = nil) throws(ManagementError) -> [Resource<Snapshot>] {
        if let name {
            let disk = try diskRecord(name)
            guard disk.spec.imageFormat == .carousel, disk.node == disk.name else { return [] }
            try checkIsServed(disk)
            return try snapshots(inImage: disk.image, of: [name])
        }
        let disks = try query { () throws(CatalogError) in try catalog.disks() }
            .filter { $0.node == $0.name && $0.phase == .complete && problems[$0.name] == nil }
        var found: [Resource<Snapshot>] = []
        for (image, disks) in Dictionary(grouping: disks, by: \.image) {
            // A disk may be going just now; what is wrong with an image its disks tell.
            if let those = try? snapshots(inImage: image, of: Set(disks.map(\.name))) { found += those }
        }
        return found.sorted { $0.name < $1.name }
    }

    private func snapshots(
        inImage image: String, of disks: Set<String>
    ) throws(ManagementError) -> [Resource<Snapshot>] {
        let mapped = try mappings(ofImage: image)
        return try assembly.snapshots(inImage: folder.imagePath(image)).compactMap { snapshot in
            guard let name = SnapshotName(snapshot.name), disks.contains(name.disk), !Self.isHidden(snapshot.name)
            else { return nil }
            return Self.resource(snapshot, name, mapped[snapshot.name])
        }.sorted { $0.name < $1.name }
    }

    /// The snapshot `name`.
    func snapshot(_ name: String) throws(ManagementError) -> Resource<Snapshot> {
        let parsed = try SnapshotName.parse(name)
        return try snapshot(parsed, of: try snapshotDisk(parsed.disk))
    }

    func snapshot(_ name: SnapshotName, of disk: DiskRecord) throws(ManagementError) -> Resource<Snapshot> {
        guard
            let found = try assembly.snapshots(inImage: folder.imagePath(disk.image))
                .first(where: { $0.name == name.description })
        else {
            throw ManagementError(
                .notFound,
                "there is no snapshot '\(name)'; 'carousel snapshot list \(name.disk)' shows those there are")
        }
        return Self.resource(found, name, try mappings(ofImage: disk.image)[found.name])
    }

    /// The disks that show snapshots of an image, by what they show.
    private func mappings(ofImage image: String) throws(ManagementError) -> [String: String] {
        let disks = try query { () throws(CatalogError) in try catalog.disks(image: image) }
        return disks.reduce(into: [:]) { mapped, disk in
            if let node = disk.node, node != disk.name { mapped[node] = disk.name }
        }
    }

    private static func resource(
        _ snapshot: ImageSnapshot, _ name: SnapshotName, _ mapped: String?
    ) -> Resource<Snapshot> {
        var status = Snapshot.Status()
        status.disk = name.disk
        status.created = snapshot.created
        status.size = snapshot.size
        status.uuid = snapshot.uuid.hexadecimal
        status.lockedUntil = snapshot.lockedUntil
        status.mappedAs = mapped
        status.clones = snapshot.clones
        return Resource(name: snapshot.name, spec: NoFields(), status: status)
    }

    /// What the disks or snapshots `first` and `second` do not have in common, from the byte `offset` on.
    func differences(
        from first: String, to second: String, after offset: Int64, limit: Int
    ) throws(ManagementError) -> [Range<Int64>] {
        let disks = try [first, second].map { name throws(ManagementError) in
            guard let parsed = SnapshotName(name) else { return try snapshotDisk(name) }
            let disk = try snapshotDisk(parsed.disk)
            _ = try snapshot(parsed, of: disk)
            return disk
        }
        guard disks[0].image == disks[1].image else {
            throw ManagementError(
                .conflict,
                "'\(first)' and '\(second)' are in different images; only a disk, its snapshots and clones can be "
                    + "compared")
        }
        return try assembly.differences(
            inImage: folder.imagePath(disks[0].image), from: first, to: second, after: offset, limit: limit)
    }

    // MARK: Changes

    /// Makes snapshots, all at one instant; of each disk one.
    @discardableResult
    func takeSnapshots(
        _ names: [String], time: CalendarTime = .current()
    ) throws(ManagementError) -> [Resource<Snapshot>] {
        let parsed = try names.map { name throws(ManagementError) in try SnapshotName.parse(name) }
        var wanted: [NewSnapshot] = []
        for name in parsed {
            guard !wanted.contains(where: { $0.disk.name == name.disk }) else {
                throw ManagementError(
                    .invalid,
                    "disk '\(name.disk)' is named twice; at one instant a disk has one snapshot, so use two commands",
                    field: "names")
            }
            let disk = try snapshotDisk(name.disk)
            try checkHasNoLoss(disk)
            let path = folder.imagePath(disk.image)
            guard try !assembly.nodes(inImage: path).contains(where: { $0.name == name.description }) else {
                throw ManagementError(
                    .conflict,
                    "snapshot '\(name)' exists already; choose another name, or delete it with 'carousel snapshot "
                        + "delete \(name)'")
            }
            wanted.append(NewSnapshot(disk: disk, imagePath: path, name: name.description))
        }
        try Effect.begin()
        try assembly.takeSnapshots(wanted, time: time)
        for snapshot in wanted {
            record(event("create", "snapshot", snapshot.name, new: ["size": .integer(snapshot.disk.size)]))
            logger.info("snapshot created", metadata: ["snapshot": "\(snapshot.name)"])
        }
        return try zip(parsed, wanted).map { name, wanted throws(ManagementError) in
            try snapshot(name, of: wanted.disk)
        }
    }

    /// Deletes the snapshot `name`, unless it is locked or a disk shows it.
    func deleteSnapshot(_ name: String) throws(ManagementError) {
        let parsed = try SnapshotName.parse(name)
        let disk = try snapshotDisk(parsed.disk)
        let present = try snapshot(parsed, of: disk)
        let now = CalendarTime.current()
        if let until = present.status.lockedUntil, until > Date(now) {
            throw ManagementError(
                .conflict, "snapshot '\(name)' is locked until \(until.formatted(.iso8601)); nobody deletes it before")
        }
        if let shown = present.status.mappedAs {
            throw ManagementError(
                .inUse,
                "snapshot '\(name)' is shown by disk '\(shown)'; delete that first, with 'carousel disk delete "
                    + "\(shown)'")
        }
        try checkIsNotCopied([name])
        try checkHasNoLoss(disk)
        try Effect.begin()
        let path = folder.imagePath(disk.image)
        try removing { () throws(ManagementError) in
            try assembly.deleteSnapshot(name, inImage: path, time: now)
        }
        record(
            event(
                "delete", "snapshot", name,
                old: ["size": .integer(present.status.size), "created": present.status.created.json]))
        logger.info("snapshot deleted", metadata: ["snapshot": "\(name)"])
    }

    /// Has nobody delete the snapshot `name` before `until`.
    func lockSnapshot(_ name: String, until: Date) throws(ManagementError) -> Resource<Snapshot> {
        let parsed = try SnapshotName.parse(name)
        let disk = try snapshotDisk(parsed.disk)
        let present = try snapshot(parsed, of: disk)
        guard let end = CalendarTime(until), end > .current() else {
            throw ManagementError(
                .invalid, "\(until.formatted(.iso8601)) is over, or too far away; give a day that comes",
                field: "until")
        }
        if let former = present.status.lockedUntil, former > Date(end) {
            throw ManagementError(
                .conflict,
                "snapshot '\(name)' is locked until \(former.formatted(.iso8601)) already; a lock does not become "
                    + "shorter")
        }
        try checkHasNoLoss(disk)
        try Effect.begin()
        try assembly.lockSnapshot(name, until: end, inImage: folder.imagePath(disk.image))
        var old: JSONValue = [:]
        if let former = present.status.lockedUntil { old = ["lockedUntil": former.json] }
        record(event("lock", "snapshot", name, old: old, new: ["lockedUntil": Date(end).json]))
        logger.notice("snapshot locked", metadata: ["snapshot": "\(name)", "until": "\(until.formatted(.iso8601))"])
        return try snapshot(parsed, of: disk)
    }

    // MARK: Checks

    /// The disk `name`, which is served and can have snapshots.
    func snapshotDisk(_ name: String) throws(ManagementError) -> DiskRecord {
        let disk = try diskRecord(name)
        try checkIsServed(disk)
        guard disk.spec.imageFormat == .carousel else {
            throw ManagementError(
                .conflict,
                "disk '\(name)' is \(disk.spec.isInMemory ? "in memory" : "raw"), and has no snapshots; "
                    + "'carousel disk copy \(name) NEW --format carousel' makes "
                    + "one of it that can have some")
        }
        guard disk.node == disk.name else {
            let shown = disk.node ?? ""
            throw ManagementError(
                .conflict, "disk '\(name)' shows snapshot '\(shown)', which does not change; name that")
        }
        return disk
    }

    func checkIsServed(_ disk: DiskRecord) throws(ManagementError) {
        if let problem = problems[disk.name] { throw Self.unrepaired(problem) }
        if let problem = detachment(of: disk.name) { throw ManagementError(.damaged, problem) }
        guard disk.phase == .complete, disk.damage == nil else {
            throw ManagementError(.conflict, "disk '\(disk.name)' is not served now; 'carousel disk show' tells more")
        }
    }

    func checkHasNoLoss(_ disk: DiskRecord) throws(ManagementError) {
        guard let loss = assembly.loss(ofDisk: disk) else { return }
        throw ManagementError(.conflict, Self.sentence(loss, ofDisk: disk.name))
    }
}
