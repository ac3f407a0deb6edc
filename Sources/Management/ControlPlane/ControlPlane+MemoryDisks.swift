import Foundation
import Platform
import Resources

import class Media.RawDiskImage

// Disks whose content is in the host's memory only: after a start of the daemon they are there, and read zeros.
extension ControlPlane {
    /// What is said of where such a disk is.
    static let memoryPlace = "memory: lost when the daemon ends"

    /// What stands for the image of such a disk in its row; nothing has that name.
    static func memoryImage(ofDisk name: String) -> String { "memory:\(name)" }

    /// Refuses a disk of `size` bytes that is larger than all the memory which may become files.
    static func checkFitsMemory(_ name: String, size: Int64) throws(ManagementError) {
        let place = RawDiskImage.memoryFolder
        let figures = try? FileManager.default.attributesOfFileSystem(forPath: place)
        guard let total = (figures?[.systemSize] as? NSNumber)?.int64Value else {
            throw ManagementError(
                .system, "there is no \(place), in whose memory disk '\(name)' would be; give another --format")
        }
        let limit = min(total, Int64(clamping: ProcessInfo.processInfo.physicalMemory))
        guard size > limit else { return }
        throw ManagementError(
            .invalid,
            "disk '\(name)' of \(ByteSize.format(size)) does not fit the memory that \(place) may take, "
                + "\(ByteSize.format(limit)); give a smaller --size, or another --format", field: "size")
    }

    /// Refuses to fill a new disk in memory: it gets its memory when it is served.
    static func checkIsStored(_ format: DiskFormat?, _ source: String) throws(ManagementError) {
        guard format == .ram else { return }
        throw ManagementError(
            .invalid,
            "a disk in memory begins with zeros; leave out --format, or make it with 'carousel disk create NAME "
                + "--format ram' and have an initiator copy \(source) onto it", field: "format")
    }
}
