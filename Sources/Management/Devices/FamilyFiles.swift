import Media
import Platform
import Synchronization

/// The image files with snapshots that are open: one opening for all the disks in a file, since it is locked.
///
/// Any thread that may wait calls any method at any time; who opens a file waits for others at the same one only.
final class FamilyFiles: Sendable {
    private final class Place: Sendable {
        let opening = Lock<(file: FamilyFile?, users: Int)>((nil, 0))
    }

    private let places = Lock<[String: Place]>([:])

    /// The file at `path`, opened unless it is already. Each call has its `release`.
    func acquire(_ path: String) throws(DiskImageError) -> FamilyFile {
        let place = places.withLock { places in
            let place = places[path] ?? Place()
            places[path] = place
            return place
        }
        return try place.opening.withLock { opening throws(DiskImageError) in
            let file: FamilyFile
            if let present = opening.file {
                // Another file has the place of one that is still being read, after its disk was deleted.
                if let status = try? FileStatus.of(path), let own = present.identity, own != status.identity {
                    throw .inUse(path: path)
                }
                file = present
            } else {
                file = try FamilyFile.open(path: path)
                file.keepOpen()
            }
            opening = (file, opening.users + 1)
            return file
        }
    }

    /// Ends a use of the file at `path`; the last one closes it. Nil, or why what was written to it is not durable.
    @discardableResult
    func release(_ path: String) -> MediaFailure? {
        guard let place = places.withLock({ $0[path] }) else { return nil }
        return place.opening.withLock { opening in
            guard opening.users > 0 else { return nil }
            opening.users -= 1
            guard opening.users == 0, let file = opening.file else { return nil }
            opening.file = nil
            return file.close()
        }
    }
}
