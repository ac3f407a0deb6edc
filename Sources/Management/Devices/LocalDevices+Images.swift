public import Catalog
import DiskDevice
public import Encryption
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
        if disk.spec.imageFormat == .carousel { return try openNode(of: disk, at: path, userKey) }
        do {
            if disk.spec.isInMemory {
                let image = try RawDiskImage.createInMemory(
                    name: "memory of disk '\(disk.name)'", capacity: disk.size, blockSize: disk.blockSize,
                    engine: fileEngine)
                return OpenedImage(image: image, familyPath: nil)
            }
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

    private func openNode(
        of disk: DiskRecord, at path: String, _ userKey: UserKey?
    ) throws(ManagementError) -> OpenedImage {
        let file: FamilyFile
        do {
            file = try families.acquire(path) { userKey }
        } catch let error as DiskImageError {
            throw Self.refusal(error, ofDisk: disk.name)
        } catch {
            throw ManagementError(.internal, "disk '\(disk.name)': \(error)")
        }
        do throws(ManagementError) {
            let name = disk.node ?? disk.name
            guard let node = file.nodes(named: name).first,
                let image = EpochDiskImage(file: file, node: node.number, engine: fileEngine)
            else { throw ManagementError(.damaged, "disk '\(disk.name)': image \(path) does not have '\(name)'") }
            guard node.blockSize == disk.blockSize, node.capacity >= disk.size else {
                throw ManagementError(
                    .damaged,
                    "disk '\(disk.name)': '\(name)' of image \(path) has \(node.capacity) bytes in blocks of "
                        + "\(node.blockSize), and the catalog knows \(disk.size) in blocks of \(disk.blockSize)")
            }
            let (found, known) = (file.hasChecksums, disk.spec.hasChecksums)
            guard found == known else {
                throw ManagementError(
                    .damaged,
                    "disk '\(disk.name)': image \(path) has \(found ? "" : "no ")checksums of data, and the catalog "
                        + "knows one with\(known ? "" : "out") them: another file is in its place; put that back")
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
            // What a stream has brought so far goes with the disk that it was for.
            let prefix = "\(disk.name)@."
            for node in file.nodes where node.name.hasPrefix(prefix) && !node.isBeingDeleted {
                try file.delete(node.number, time: CalendarTime.current())
            }
            if let node = Self.head(disk.node, of: file) { try file.delete(node.number, time: CalendarTime.current()) }
            // A deletion that has met a failure before may be done, and not be durable.
            if let failure = file.synchronize() {
                throw ManagementError(.system, "image \(imagePath) cannot be written: \(failure)")
            }
        }
    }

    private static func head(_ name: String?, of file: FamilyFile) -> FamilyNode? {
        name.flatMap { file.nodes(named: $0).first { $0.kind == .head } }
    }

    public func nodes(inImage path: String, userKey: UserKey?) throws(ManagementError) -> [ImageNode] {
        try withImage(path, userKey) { file in
            file.nodes.compactMap { ImageNode($0, hasChecksums: file.hasChecksums) }
        }
    }

    public func has(node name: String, inImage path: String) throws(ManagementError) -> Bool {
        try withImage(path) { !$0.nodes(named: name).isEmpty }
    }

    public func check(image path: String, observer: (Int64) -> Bool) throws(ManagementError) -> [String] {
        try withImage(path) { $0.check(observer) }
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
    init?(_ node: FamilyNode, hasChecksums: Bool) {
        guard !node.isBeingDeleted, !node.name.isEmpty else { return nil }
        self.init(
            name: node.name, isSnapshot: node.kind == .snapshot, size: node.capacity, blockSize: node.blockSize,
            hasChecksums: hasChecksums)
    }
}
