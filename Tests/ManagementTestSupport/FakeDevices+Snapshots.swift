public import Catalog
import Foundation
public import Management
public import Platform
public import Resources

// Images of which only the names of snapshots are known.
extension FakeDevices {
    public func snapshots(inImage path: String) throws(ManagementError) -> [ImageSnapshot] {
        notes.withLock { $0.snapshots[path] ?? [] }
    }

    public func space(of disk: DiskRecord, until deadline: MonotonicTime) -> ContentSpace? {
        nil
    }

    public func allocatedBytes(ofDisk disk: DiskRecord) -> Int64? { nil }

    public func space(
        ofSnapshots names: [String], inImage path: String, until deadline: MonotonicTime
    ) -> [String: ContentSpace] {
        names.reduce(into: [:]) { $0[$1] = ContentSpace(used: 4096, unique: 0) }
    }

    public func takeSnapshots(_ wanted: [NewSnapshot], time: CalendarTime) throws(ManagementError) {
        for snapshot in wanted { try gate?(snapshot.imagePath) }
        try note { notes in
            for snapshot in wanted {
                let size = notes.disks[snapshot.disk.name] ?? 0
                notes.snapshots[snapshot.imagePath, default: []].append(
                    ImageSnapshot(name: snapshot.name, size: size, created: Self.date(time)))
                notes.contents[snapshot.name] = notes.contents[snapshot.disk.name]
            }
        }
    }

    public func deleteSnapshot(_ name: String, inImage path: String, time: CalendarTime) throws(ManagementError) {
        try gate?(path)
        try note { $0.snapshots[path]?.removeAll { $0.name == name } }
    }

    public func lockSnapshot(_ name: String, until: CalendarTime, inImage path: String) throws(ManagementError) {
        try gate?(path)
        try change(name, in: path) {
            ImageSnapshot(
                name: $0.name, size: $0.size, created: $0.created, lockedUntil: Self.date(until), clones: $0.clones)
        }
    }

    public func addNode(
        of disk: DiskRecord, from snapshot: String, imagePath: String, time: CalendarTime
    ) throws(ManagementError) {
        try gate?(imagePath)
        try change(snapshot, in: imagePath) {
            ImageSnapshot(
                name: $0.name, size: $0.size, created: $0.created, lockedUntil: $0.lockedUntil,
                clones: $0.clones + [disk.name])
        }
    }

    public func rollBack(
        _ disk: DiskRecord, to snapshot: String, keeping name: String, time: CalendarTime
    ) throws(ManagementError) -> Int64 {
        let path = notes.withLock { $0.images[disk.name] ?? "" }
        try gate?(path)
        try note { notes in
            guard let target = notes.snapshots[path]?.first(where: { $0.name == snapshot }) else { return }
            notes.snapshots[path]?.append(
                ImageSnapshot(name: name, size: notes.disks[disk.name] ?? 0, created: Self.date(time)))
            notes.disks[disk.name] = target.size
        }
        return disks[disk.name] ?? 0
    }

    /// Says what differs between any two.
    public func differ(in ranges: [Range<Int64>]) { notes.withLock { $0.ranges = ranges } }

    public func differences(
        inImage path: String, from first: String, to second: String, after offset: Int64, limit: Int
    ) throws(ManagementError) -> [Range<Int64>] {
        Array(notes.withLock { $0.ranges }.filter { $0.lowerBound >= offset }.prefix(limit))
    }

    private func change(
        _ name: String, in path: String, _ change: (ImageSnapshot) -> ImageSnapshot
    ) throws(ManagementError) {
        try note { notes in
            notes.snapshots[path] = notes.snapshots[path]?.map { $0.name == name ? change($0) : $0 }
        }
    }

    private static func date(_ time: CalendarTime) -> Date { Date(timeIntervalSince1970: TimeInterval(time.seconds)) }
}
