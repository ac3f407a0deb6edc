import Catalog
import Foundation
import Logging
import Platform
import Resources

// Disks that are made of snapshots: clones, and those that show one.
extension ControlPlane {
    /// Makes the disk `name`, which begins as `snapshot` is.
    func cloneSnapshot(_ snapshot: String, as name: String) throws(ManagementError) -> Resource<Disk> {
        let parsed = try SnapshotName.parse(snapshot)
        let origin = try snapshotDisk(parsed.disk)
        let source = try self.snapshot(parsed, of: origin)
        try checkHasNoLoss(origin)
        try checkNameIsFree(name)
        try checkIsUnused(name, inImageOf: origin)
        let disk = try addDisk(
            name, Self.spec(of: source, origin), inImageOf: origin, node: name, from: snapshot
        ) { record throws(ManagementError) in
            try assembly.addNode(
                of: record, from: snapshot, imagePath: folder.imagePath(record.image), time: .current())
        }
        logger.info("disk cloned", metadata: ["disk": "\(name)", "snapshot": "\(snapshot)"])
        return disk
    }

    /// Makes the disk `name`, which shows `snapshot`.
    func mapSnapshot(_ snapshot: String, as name: String) throws(ManagementError) -> Resource<Disk> {
        let parsed = try SnapshotName.parse(snapshot)
        let origin = try snapshotDisk(parsed.disk)
        let source = try self.snapshot(parsed, of: origin)
        if let shown = source.status.mappedAs {
            throw ManagementError(.conflict, "snapshot '\(snapshot)' is shown by disk '\(shown)' already")
        }
        try checkNameIsFree(name)
        var spec = Self.spec(of: source, origin)
        spec.isReadOnly = true
        let disk = try addDisk(
            name, spec, inImageOf: origin, node: snapshot, from: snapshot
        ) { _ throws(ManagementError) in }
        logger.info("snapshot mapped", metadata: ["disk": "\(name)", "snapshot": "\(snapshot)"])
        return disk
    }

    /// What a disk that is made of `snapshot` says of itself: the same as its origin, less what is for that alone.
    private static func spec(of snapshot: Resource<Snapshot>, _ origin: DiskRecord) -> Disk.Spec {
        var spec = origin.spec
        spec.size = snapshot.status.size
        spec.isReadOnly = false
        spec.description = nil
        spec.threshold = nil
        // That of the image counts already.
        spec.spaceLimit = nil
        spec.snapshotEvery = nil
        spec.snapshotKeep = nil
        return spec
    }

    private func addDisk(
        _ name: String, _ spec: Disk.Spec, inImageOf origin: DiskRecord, node: String, from snapshot: String,
        _ makeNode: (DiskRecord) throws(ManagementError) -> Void
    ) throws(ManagementError) -> Resource<Disk> {
        let record = try query { () throws(CatalogError) in
            try catalog.addDisk(
                name: name, targetName: DeviceName.targetName(name), spec, image: origin.image, node: node,
                imageIsExternal: false, created: Date())
        }
        var isComplete = false
        do throws(ManagementError) {
            try makeNode(record)
            let event = event(
                "create", "disk", name,
                new: [
                    "size": .integer(record.size), "blockSize": .integer(Int64(record.blockSize)),
                    "image": .text(folder.imagePath(record.image)), "snapshot": .text(snapshot),
                ])
            try query { () throws(CatalogError) in
                try catalog.setPhase(.complete, ofDevice: record.identity.id, event: event)
            }
            isComplete = true
            try offer(record)
        } catch {
            takeBack(record, isComplete: isComplete, hasProtection: false)
            throw error
        }
        return try disk(name)
    }

    /// Refuses a name that something in the image has, though no disk does.
    private func checkIsUnused(_ name: String, inImageOf origin: DiskRecord) throws(ManagementError) {
        let path = folder.imagePath(origin.image)
        let prefix = name + String(Self.snapshotSeparator)
        let names = try assembly.nodes(inImage: path).map(\.name)
        guard let taken = names.first(where: { $0 == name || $0.hasPrefix(prefix) }) else { return }
        throw ManagementError(
            .conflict, "image \(path) has '\(taken)' already, which belongs to no disk; choose another name")
    }

    /// Refuses to change what a disk that shows a snapshot is.
    func checkIsFixed(_ disk: DiskRecord, _ spec: Disk.Spec) throws(ManagementError) {
        guard let node = disk.node, node != disk.name else { return }
        guard spec.isReadOnly, spec.size == disk.size, spec.snapshotEvery == nil else {
            throw ManagementError(
                .conflict,
                "disk '\(disk.name)' shows snapshot '\(node)', so it stays as large as that, is not written, and has "
                    + "no snapshots; 'carousel disk clone \(node) NEW' makes a disk of it")
        }
    }
}
