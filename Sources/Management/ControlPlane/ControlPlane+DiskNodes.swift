import Catalog
import Logging
import Platform
import Resources

// Disks that are one of several in an image: with snapshots, or clones.
extension ControlPlane {
    /// What stands between the name of a disk and that of its snapshot.
    static let snapshotSeparator = SnapshotName.separator
    /// How many snapshots a refusal names.
    static let namedSnapshots = 3

    /// Whether something in the image of `disk` is not its own: of other disks, complete or not, also of such that the
    /// catalog does not know. Not in an image that is missing, or in which nobody can read anything any more.
    func isShared(_ disk: DiskRecord) throws(ManagementError) -> Bool {
        let path = folder.imagePath(disk.image)
        guard folder.exists(path) else { return false }
        // A snapshot that the disk shows is another one's.
        guard disk.node == disk.name else { return true }
        let users = try query { () throws(CatalogError) in try catalog.disks(image: disk.image) }
        // One that is damaged may be mended, and its other disks be served again.
        if users.contains(where: { $0.identity.id != disk.identity.id && $0.phase != .deleting }) { return true }
        let nodes: [ImageNode]
        do throws(ManagementError) {
            nodes = try assembly.nodes(inImage: path)
        } catch {
            guard error.code == .damaged || isHalfMade(disk) else { throw error }
            return false
        }
        let prefix = disk.name + String(Self.snapshotSeparator)
        return nodes.contains { $0.name != disk.name && !$0.name.hasPrefix(prefix) }
    }

    /// Whether the image of `disk`, which no other disk is in, was being made for it with a key: it may be without a
    /// key file, and so without anything that somebody might miss.
    private func isHalfMade(_ disk: DiskRecord) -> Bool {
        guard disk.phase == .creating, disk.spec.isEncrypted else { return false }
        // That of a clone has the name of another disk.
        let prefix = "\(StateFolder.imageFolder)/\(disk.name)"
        return disk.image == prefix + ".img" || disk.image.hasPrefix(prefix + "~")
    }

    /// Refuses to delete a disk that has snapshots: they are what protects against a mistake. One whose image cannot be
    /// read may have some.
    func checkHasNoSnapshots(_ disk: DiskRecord) throws(ManagementError) {
        guard disk.node == disk.name, disk.phase == .complete, folder.exists(folder.imagePath(disk.image)) else {
            return
        }
        let prefix = disk.name + String(Self.snapshotSeparator)
        let nodes: [String]
        do throws(ManagementError) {
            nodes = try assembly.nodes(inImage: folder.imagePath(disk.image)).map(\.name)
                .filter { $0.hasPrefix(prefix) }
        } catch {
            // Without its key nobody can look either.
            guard error.code == .damaged || disk.spec.isEncrypted && error.code == .conflict else { throw error }
            throw ManagementError(
                error.code,
                "disk '\(disk.name)' may have snapshots, which cannot be looked at: \(error.message); put a good image "
                    + "in the place of this one, or move it away, and delete the disk then")
        }
        try checkIsNotCopied(nodes)
        let names = nodes.filter { !Self.isHidden($0) }.sorted()
        guard let first = names.first else { return }
        let more = names.count > Self.namedSnapshots ? ", …" : ""
        throw ManagementError(
            .conflict,
            "disk '\(disk.name)' has \(names.count == 1 ? "a snapshot" : "\(names.count) snapshots"): "
                + "\(names.prefix(Self.namedSnapshots).joined(separator: ", "))\(more); delete them first, with "
                + "'carousel snapshot delete \(first)'")
    }
}
