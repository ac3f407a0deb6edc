public import Catalog
import DiskDevice
import Encryption
import Media
import Platform
public import Resources

/// The image of a disk that is about to run.
struct OpenedImage {
    let image: any DiskImage
    /// The file of its family, which has other disks too; nil where an image is one disk.
    let familyPath: String?
}

// The files in which disks are.
extension LocalDevices {
    /// Opens the image of `disk` at `path`, an encrypted one with `userKey`.
    func openImage(of disk: DiskRecord, at path: String, userKey: UserKey?) throws(ManagementError) -> OpenedImage {
        if disk.spec.imageFormat == .carousel { return try openNode(of: disk, at: path) }
        do {
            let image = try RawDiskImage.open(
                path: path, blockSize: disk.blockSize, expectedCapacity: disk.size,
                protection: disk.spec.protectionType, changesProtection: !disk.imageIsExternal, userKey: userKey,
                engine: fileEngine, pageKeeper: pageKeeper)
            return OpenedImage(image: image, familyPath: nil)
        } catch {
            throw Self.refusal(error, ofDisk: disk.name)
        }
    }

    private static func refusal(_ error: DiskImageError, ofDisk name: String) -> ManagementError {
        guard case .inUse = error else { return ManagementError(.damaged, "disk '\(name)': \(error)") }
        return ManagementError(.inUse, "disk '\(name)': \(error) by another process; end that first")
    }

    private func openNode(of disk: DiskRecord, at path: String) throws(ManagementError) -> OpenedImage {
        let file: FamilyFile
        do { file = try families.acquire(path) } catch { throw Self.refusal(error, ofDisk: disk.name) }
        do throws(ManagementError) {
            let name = disk.node ?? disk.name
            guard let node = file.nodes.first(where: { $0.name == name && !$0.isBeingDeleted }),
                let image = EpochDiskImage(file: file, node: node.number, engine: fileEngine)
            else { throw ManagementError(.damaged, "disk '\(disk.name)': image \(path) does not have '\(name)'") }
            guard node.blockSize == disk.blockSize, node.capacity >= disk.size else {
                throw ManagementError(
                    .damaged,
                    "disk '\(disk.name)': '\(name)' of image \(path) has \(node.capacity) bytes in blocks of "
                        + "\(node.blockSize), and the catalog knows \(disk.size) in blocks of \(disk.blockSize)")
            }
            return OpenedImage(image: image, familyPath: path)
        } catch {
            families.release(path)
            throw error
        }
    }

    /// Closes an image that no device has.
    func close(_ opened: OpenedImage) {
        _ = opened.image.close()
        if let path = opened.familyPath { families.release(path) }
    }

    // MARK: Nodes

    public func removeNode(of disk: DiskRecord, imagePath: String) throws(ManagementError) {
        try withImage(imagePath) { file in
            if let node = Self.head(disk.node, of: file) { try file.delete(node.number, time: CalendarTime.current()) }
            // A deletion that has met a failure before may be done, and not be durable.
            if let failure = file.synchronize() {
                throw ManagementError(.system, "image \(imagePath) cannot be written: \(failure)")
            }
        }
    }

    private static func head(_ name: String?, of file: FamilyFile) -> FamilyNode? {
        file.nodes.first { $0.kind == .head && $0.name == name && !$0.isBeingDeleted }
    }

    public func nodes(inImage path: String) throws(ManagementError) -> [ImageNode] {
        try withImage(path) { $0.nodes.compactMap(ImageNode.init) }
    }

    public func check(image path: String) throws(ManagementError) -> [String] {
        try withImage(path) { $0.check() }
    }

    public func synchronize(_ disk: DiskRecord) throws(ManagementError) {
        guard let running = disks.withLock({ $0[disk.identity.id] }) else { return }
        if let failure = running.server.image.synchronize() {
            throw ManagementError(
                .system, "what was written to disk '\(disk.name)' cannot be made durable: \(failure)")
        }
    }
}

extension ImageNode {
    /// Nil of a node that has no name any more.
    init?(_ node: FamilyNode) {
        guard !node.isBeingDeleted, !node.name.isEmpty else { return nil }
        self.init(name: node.name, isSnapshot: node.kind == .snapshot, size: node.capacity, blockSize: node.blockSize)
    }
}
