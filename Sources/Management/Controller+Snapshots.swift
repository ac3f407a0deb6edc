import Platform
public import Resources

// Snapshots, and disks that are made of them.
extension Controller {
    /// The snapshots of the disk `name`, or of all, by name. Their images are read.
    public func snapshots(ofDisk name: String? = nil) async throws(ManagementError) -> [Resource<Snapshot>] {
        try await query(in: .long) { plane throws(ManagementError) in try plane.snapshots(ofDisk: name) }
    }

    public func snapshot(_ name: String) async throws(ManagementError) -> Resource<Snapshot> {
        try await query(in: .long) { plane throws(ManagementError) in try plane.snapshot(name) }
    }

    /// Makes snapshots, `DISK@NAME`, all at one instant: of each disk one.
    @discardableResult
    public func takeSnapshots(_ names: [String]) async throws(ManagementError) -> [Resource<Snapshot>] {
        for name in names where SnapshotName(name)?.name.hasPrefix(ControlPlane.automaticPrefix) == true {
            throw ManagementError(
                .invalid,
                "'\(name)' begins with '\(ControlPlane.automaticPrefix)', as the snapshots do that a schedule makes "
                    + "and deletes; choose another name", field: "names")
        }
        return try await change(Self.keys(ofSnapshots: names)) { plane throws(ManagementError) in
            try plane.takeSnapshots(names)
        }
    }

    /// Deletes the snapshot `name`; what only it has is freed in the background.
    public func deleteSnapshot(_ name: String) async throws(ManagementError) {
        try await change(Self.keys(ofSnapshots: [name])) { plane throws(ManagementError) in
            try plane.deleteSnapshot(name)
        }
    }

    /// Makes a disk what its snapshot `name` is, and gives the snapshot of what it was.
    @discardableResult
    public func rollBackDisk(to name: String) async throws(ManagementError) -> Resource<Snapshot> {
        try await change(Self.keys(ofSnapshots: [name])) { plane throws(ManagementError) in
            try plane.rollBackDisk(to: name)
        }
    }

    /// Has nobody delete the snapshot `name` before that.
    @discardableResult
    public func lockSnapshot(
        _ name: String, _ arguments: Snapshot.LockUntil.Arguments
    ) async throws(ManagementError) -> Resource<Snapshot> {
        try await change(Self.keys(ofSnapshots: [name])) { plane throws(ManagementError) in
            try plane.lockSnapshot(name, until: arguments.until)
        }
    }

    /// What two snapshots or disks do not have in common: a part of it, and the byte to go on at, if there is more.
    public func differences(
        _ arguments: Snapshot.Compare.Arguments
    ) async throws(ManagementError) -> (ranges: [Range<Int64>], next: Int64?) {
        let ranges = try await query(in: .long) { plane throws(ManagementError) in
            try plane.differences(
                from: arguments.from, to: arguments.to, after: arguments.after, limit: arguments.limit)
        }
        return (ranges, ranges.count < arguments.limit ? nil : ranges.last?.upperBound)
    }

    /// Makes the disk `name`, which begins as `snapshot` is.
    @discardableResult
    public func cloneSnapshot(_ snapshot: String, as name: String) async throws(ManagementError) -> Resource<Disk> {
        let keys = Self.keys(ofSnapshots: [snapshot]).union(ChangeKey.device(name))
        return try await change(keys) { plane throws(ManagementError) in
            try plane.cloneSnapshot(snapshot, as: name)
        }
    }

    /// Makes a disk that shows `snapshot`, also at another target where that is asked for.
    @discardableResult
    public func mapSnapshot(
        _ snapshot: String, _ arguments: Snapshot.Map.Arguments
    ) async throws(ManagementError) -> Resource<Disk> {
        let parsed = try SnapshotName.parse(snapshot)
        let name = arguments.name ?? "\(parsed.disk)-\(parsed.name)"
        do throws(ManagementError) {
            try DeviceName.check(name, of: "disk")
        } catch {
            throw error.about("name")
        }
        guard (arguments.target == nil) == (arguments.lun == nil) else {
            throw ManagementError(
                .invalid, "a target and a logical unit number go together; give both, or leave both out",
                field: arguments.target == nil ? "target" : "lun")
        }
        let target = arguments.target
        if let target { _ = try await self.target(target) }
        let keys = Self.keys(ofSnapshots: [snapshot]).union(ChangeKey.device(name))
        let disk = try await change(keys) { plane throws(ManagementError) in
            try plane.mapSnapshot(snapshot, as: name)
        }
        guard let target, let lun = arguments.lun else { return disk }
        do throws(ManagementError) {
            try await map(target: target, ISCSITarget.Map.Arguments(units: [lun: name]))
        } catch {
            try? await deleteDisk(name)
            throw error
        }
        return disk
    }

    /// The keys of the disks of these snapshots.
    private static func keys(ofSnapshots names: [String]) -> Set<ChangeKey> {
        names.reduce(into: []) { $0.formUnion(ChangeKey.device(SnapshotName($1)?.disk ?? $1)) }
    }
}
