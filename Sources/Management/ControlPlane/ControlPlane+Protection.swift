import Catalog
import Platform
import Resources

import class Media.RawDiskImage
import enum SCSI.ProtectionType

// The protection information of a disk is a file beside its image. What is there is never passed over: a disk without
// it would write blocks whose protection information stays as it was, and no longer is theirs.
extension ControlPlane {
    /// The type of the protection information beside an image of `size` bytes; 0 only when there is none. Refused is
    /// what is there and does not fit.
    func foundProtection(ofImage path: String, size: Int64, blockSize: Int) throws(ManagementError) -> Int {
        let file = RawDiskImage.protectionPath(ofImage: path)
        let found: (type: ProtectionType, blockSize: Int, blocks: UInt64)?
        do {
            found = try RawDiskImage.protection(ofImage: path)
        } catch {
            throw ManagementError(
                .conflict, "image \(path) is not taken without what is beside it: \(error); mend that, or move it away")
        }
        guard let found else { return 0 }
        guard found.blockSize == blockSize else {
            throw ManagementError(
                .conflict,
                "\(file) is of blocks of \(found.blockSize) bytes; give that block size, or move the file away")
        }
        // An image that has become longer has blocks without any; one that has become shorter is not whole.
        let blocks = UInt64(size) / UInt64(blockSize)
        guard found.blocks <= blocks else {
            throw ManagementError(
                .conflict,
                "\(file) is of \(found.blocks) blocks and the image of \(blocks): the image is not whole, or could not "
                    + "be made longer ('truncate -s \(found.blocks * UInt64(blockSize)) \(path)' does that), or the "
                    + "file is another disk's")
        }
        return Int(found.type.rawValue)
    }

    /// A disk is served that may have other protection information than its row has said: a format operation was broken
    /// off. Then the file is nobody's no longer.
    func noteClaimed(protectionOf disk: DiskRecord, ofImage path: String) {
        guard disk.spec.protection == 0, assembly.protectionFile(ofDisk: disk) != nil else { return }
        let file = folder.resolved(RawDiskImage.protectionPath(ofImage: path))
        changeUnclaimed { $0.removeAll { folder.resolved($0) == file } }
    }

    /// Refuses an image of the user's that has protection information beside it, or what has its name.
    func checkHasNoProtection(externalImage path: String) throws(ManagementError) {
        let file = RawDiskImage.protectionPath(ofImage: path)
        guard try StateFolder.hasEntry(file) else { return }
        throw ManagementError(
            .conflict,
            "\(file) is there, and an image of one's own has no protection information; adopt the image with it in "
                + "\(folder.path)/\(StateFolder.imageFolder), or move the file away")
    }

    /// Refuses an image that is the protection information of another one beside it.
    func checkIsNoProtection(_ image: String) throws(ManagementError) {
        let suffix = RawDiskImage.protectionPath(ofImage: "")
        guard image.hasSuffix(suffix) else { return }
        let whole = String(image.dropLast(suffix.count))
        guard (try? RawDiskImage.protection(ofImage: whole)) != nil else { return }
        throw ManagementError(
            .conflict, "\(image) is the protection information of an image; adopt \(whole), and it goes with that")
    }

    /// Refuses a new image where protection information, or what has its name, has been left.
    func checkHasNoProtection(newImage path: String) throws(ManagementError) {
        let file = RawDiskImage.protectionPath(ofImage: path)
        guard try StateFolder.hasEntry(file) else { return }
        throw ManagementError(
            .conflict, "\(file) exists already; give the disk another name, or move the file away if it is no disk's")
    }
}
