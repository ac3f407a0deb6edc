public import Catalog
import DiskDevice
import Media
public import Platform
import Resources

// How much space disks and snapshots take, and how much they may.
extension LocalDevices {
    public func space(of disk: DiskRecord, until deadline: MonotonicTime) -> ContentSpace? {
        guard let image = disks.withLock({ $0[disk.identity.id] })?.server.image else { return nil }
        guard let image = image as? EpochDiskImage else {
            let used = image.allocatedBytes
            // An image of the user's stays.
            return ContentSpace(used: used, unique: disk.imageIsExternal ? 0 : used)
        }
        var space = Self.space(of: image.node, of: image.file, until: deadline)
        // A snapshot that a disk shows stays.
        if image.isReadOnly, space.used != nil { space.unique = 0 }
        return space
    }

    public func allocatedBytes(ofDisk disk: DiskRecord) -> Int64? {
        disks.withLock { $0[disk.identity.id] }?.server.image.allocatedBytes
    }

    public func space(
        ofSnapshots names: [String], inImage path: String, until deadline: MonotonicTime
    ) -> [String: ContentSpace] {
        let wanted = Set(names)
        let found = try? withImage(path) { file in
            file.nodes.reduce(into: [String: ContentSpace]()) { found, node in
                guard node.kind == .snapshot, !node.isBeingDeleted, wanted.contains(node.name) else { return }
                found[node.name] = Self.space(of: node.number, of: file, until: deadline)
            }
        }
        return found ?? [:]
    }

    private static func space(
        of node: UInt32, of file: FamilyFile, until deadline: MonotonicTime
    ) -> ContentSpace {
        guard let space = try? file.space(of: node, until: deadline) else { return ContentSpace() }
        return ContentSpace(used: space.used, unique: space.unique)
    }
}

// Limits.
extension LocalDevices {
    /// Notes what the spec of a running disk says of the space of its image, and has that count.
    func changeSpaceLimit(ofDisk key: Int64, to limit: Int64?) {
        let path = disks.withLock { disks in
            disks[key]?.spaceLimit = limit
            return disks[key]?.familyPath
        }
        if let path { applySpaceLimit(ofImage: path) }
    }

    /// Has the smallest limit of the running disks of an image count. The file is told under the lock, so that the last
    /// one is right.
    func applySpaceLimit(ofImage path: String) {
        disks.withLock { disks in
            let users = disks.values.filter { $0.familyPath == path }
            guard let image = users.lazy.compactMap({ $0.server.image as? EpochDiskImage }).first else { return }
            image.file.setSpaceLimit(users.compactMap(\.spaceLimit).min())
        }
    }

    public func setDiskSpaceLimit(_ bytes: Int64?) {
        diskSpaceLimit.withLock { $0 = bytes }
        countRawImages()
    }

    public var diskSpace: DiskPoolSpace {
        DiskPoolSpace(used: families.pool.usedBytes, raw: rawBytes.withLock { $0 })
    }

    /// Looks at what raw images in the state folder take: others may use so much less. It waits for the storage device.
    func countRawImages() {
        let raw = disks.withLock { $0.values.filter { $0.isOwn && $0.familyPath == nil } }
        let taken = raw.reduce(Int64(0)) { $0 + ($1.server.image.allocatedBytes ?? 0) }
        rawBytes.withLock { $0 = taken }
        // Under the lock: what is set last is right.
        diskSpaceLimit.withLock { limit in families.pool.setLimit(limit.map { max(0, $0 - taken) }) }
    }
}
