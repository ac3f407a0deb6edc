import Catalog
import Foundation
import Logging
import Platform
import Resources

// A disk becomes what it was.
extension ControlPlane {
    /// How the snapshots are called that keep what a disk was before it went back, but for the time.
    static let rollbackPrefix = "before-rollback-"

    /// Makes a disk what its snapshot `name` is, and gives the snapshot of what it was.
    func rollBackDisk(to name: String) throws(ManagementError) -> Resource<Snapshot> {
        let parsed = try SnapshotName.parse(name)
        let disk = try snapshotDisk(parsed.disk)
        let target = try snapshot(parsed, of: disk)
        try checkHasNoLoss(disk)
        let time = CalendarTime.current()
        let kept = try unusedName(Self.rollbackPrefix + Self.timeName(time), of: disk)
        let size = target.status.size
        try Effect.begin()
        // A crash leaves a row that has no more bytes than the image; the start takes up what there is more.
        if size < disk.size { try storeSize(size, of: disk) }
        let reached: Int64
        do throws(ManagementError) {
            reached = try assembly.rollBack(disk, to: name, keeping: kept.description, time: time)
        } catch {
            // It may be done all the same, and not be durable: the row has no more bytes than the image has now.
            let path = folder.imagePath(disk.image)
            if size < disk.size {
                // Where that cannot be found out, the start takes up what there is more.
                if let nodes = try? assembly.nodes(inImage: path) {
                    let present = nodes.first { $0.name == disk.name }?.size ?? disk.size
                    try? storeSize(min(disk.size, present), of: disk)
                }
            }
            throw error
        }
        if reached > min(size, disk.size) {
            do throws(ManagementError) {
                try storeSize(reached, of: disk)
            } catch {
                setProblem(
                    "disk '\(disk.name)' has \(reached) bytes now, but the catalog says \(disk.size): "
                        + "\(error.message); the next start adopts that", of: Self.sizeProblem(disk.name))
            }
        }
        record(
            event(
                "rollback", "disk", disk.name, old: ["snapshot": .text(kept.description), "size": .integer(disk.size)],
                new: ["snapshot": .text(name), "size": .integer(reached)]))
        logger.notice(
            "disk rolled back",
            metadata: ["disk": "\(disk.name)", "to": "\(name)", "what it was": "\(kept)"])
        return try snapshot(kept, of: disk)
    }

    private func storeSize(_ size: Int64, of disk: DiskRecord) throws(ManagementError) {
        var spec = disk.spec
        spec.size = size
        let wanted = spec
        try query { () throws(CatalogError) in try catalog.changeDisk(named: disk.name, to: wanted) }
    }

    /// The name of a snapshot of the disk, `name` or with a number behind it, that none has.
    func unusedName(_ name: String, of disk: DiskRecord) throws(ManagementError) -> SnapshotName {
        let taken = Set(try assembly.nodes(inImage: folder.imagePath(disk.image)).map(\.name))
        var (found, number) = (SnapshotName(disk: disk.name, name: name), 1)
        while taken.contains(found.description) {
            number += 1
            found = SnapshotName(disk: disk.name, name: "\(name)-\(number)")
        }
        return found
    }

    /// A moment in a name: `20261128-093000`, UTC.
    static func timeName(_ time: CalendarTime) -> String {
        Date(time).formatted(.iso8601).filter { $0.isNumber || $0 == "T" }.replacing("T", with: "-")
    }
}
