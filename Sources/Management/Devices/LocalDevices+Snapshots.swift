public import Catalog
import DiskDevice
import Encryption
import Media
public import Platform
public import Resources

// Snapshots and clones in the images of disks.
extension LocalDevices {
    public func snapshots(inImage path: String) throws(ManagementError) -> [ImageSnapshot] {
        try withImage(path) { ImageSnapshot.all(of: $0.nodes) }
    }

    public func takeSnapshots(_ wanted: [NewSnapshot], time: CalendarTime) throws(ManagementError) {
        var acquired: [String] = []
        defer { for path in acquired { families.release(path) } }
        var requests: [FamilyFile.SnapshotRequest] = []
        for (path, snapshots) in Dictionary(grouping: wanted, by: \.imagePath).sorted(by: { $0.key < $1.key }) {
            let file = try acquire(path)
            acquired.append(path)
            var heads: [UInt32] = []
            for snapshot in snapshots {
                let name = snapshot.disk.node ?? snapshot.disk.name
                heads.append(try Self.node(name, of: file).number)
            }
            requests.append(FamilyFile.SnapshotRequest(file: file, heads: heads, names: snapshots.map(\.name)))
        }
        do {
            _ = try FamilyFile.snapshot(requests, time: time)
        } catch {
            throw Self.refusal(error, wanted.count == 1 ? "snapshot '\(wanted[0].name)'" : "the snapshots")
        }
    }

    public func deleteSnapshot(_ name: String, inImage path: String, time: CalendarTime) throws(ManagementError) {
        try withImage(path) { try $0.delete(try Self.node(name, of: $0).number, time: time) }
    }

    public func lockSnapshot(
        _ name: String, until: CalendarTime, inImage path: String
    ) throws(ManagementError) {
        try withImage(path) { try $0.lock(try Self.node(name, of: $0).number, until: until) }
    }

    public func addNode(
        of disk: DiskRecord, from snapshot: String, imagePath: String, time: CalendarTime
    ) throws(ManagementError) {
        try withImage(imagePath) { file in
            _ = try file.clone(try Self.node(snapshot, of: file).number, name: disk.name, time: time)
        }
    }

    public func rollBack(
        _ disk: DiskRecord, to snapshot: String, keeping name: String, time: CalendarTime
    ) throws(ManagementError) -> Int64 {
        guard let running = disks.withLock({ $0[disk.identity.id] }),
            let image = running.server.image as? EpochDiskImage
        else { throw Self.unserved("disk", disk.name) }
        let node = try Self.node(snapshot, of: image.file)
        do {
            _ = try image.rollBack(to: node.number, keeping: name, time: time)
        } catch {
            throw Self.refusal(error, "disk '\(disk.name)'")
        }
        return image.capacity
    }

    public func differences(
        inImage path: String, from first: String, to second: String, after offset: Int64, limit: Int
    ) throws(ManagementError) -> [Range<Int64>] {
        try withImage(path) { file in
            try file.differences(
                from: try Self.node(first, of: file).number, to: try Self.node(second, of: file).number, first: offset,
                limit: limit)
        }
    }

    // MARK: Files

    /// The file at `path`; where it has to be opened, with the given user's key or that of the disks in it.
    func acquire(_ path: String, _ userKey: UserKey? = nil) throws(ManagementError) -> FamilyFile {
        do {
            return try families.acquire(path) { () throws(ManagementError) in
                if let userKey { return userKey }
                return try imageKeys.key(ofImage: path)
            }
        } catch {
            throw Self.refusal(error, "image \(path)")
        }
    }

    /// Calls `body` with the file at `path`, which is opened for that unless it is already.
    func withImage<Value>(
        _ path: String, _ userKey: UserKey? = nil, _ body: (FamilyFile) throws -> Value
    ) throws(ManagementError) -> Value {
        let file = try acquire(path, userKey)
        defer { families.release(path) }
        do {
            return try body(file)
        } catch {
            throw Self.refusal(error, "image \(path)")
        }
    }

    static func node(_ name: String, of file: FamilyFile) throws(ManagementError) -> FamilyNode {
        guard let node = file.nodes(named: name).first else {
            throw ManagementError(.notFound, "image \(file.path) does not have '\(name)'")
        }
        return node
    }

    /// What is told of an error of an image.
    static func refusal(_ error: any Error, _ subject: String) -> ManagementError {
        switch error {
        case let error as ManagementError: error
        case DiskImageError.family(_, let error): refusal(error, subject)
        case FamilyError.hostFull:
            ManagementError(
                .system, "\(subject): the host has no room left; make room on the file system of the image")
        case FamilyError.failed, FamilyError.uncertain, DiskImageError.system:
            ManagementError(.system, "\(subject): \(error)")
        case DiskImageError.inUse: ManagementError(.inUse, "\(subject): \(error) by another process; end that first")
        // It is not damaged: what is in it is there for who can read it.
        case FamilyError.unknown, DiskImageError.replaced, DiskImageError.encrypted, DiskImageError.encryption,
            DiskImageError.keyFile, DiskImageError.unmarked:
            ManagementError(.conflict, "\(subject): \(error)")
        case FamilyError.damaged, is DiskImageError:
            ManagementError(.damaged, "\(subject): \(error)")
        default: ManagementError(.conflict, "\(subject): \(error)")
        }
    }
}
