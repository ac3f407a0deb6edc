import Encryption
import Media
import Platform
import Resources
import Synchronization

/// The image files with snapshots that are open: one opening for all the disks in a file, since it is locked.
///
/// Any thread that may wait calls any method at any time; who opens a file waits for others at the same one only.
final class FamilyFiles: Sendable {
    private final class Place: Sendable {
        struct Opening {
            var file: FamilyFile?
            var users = 0
            /// Whether the last one has gone, and the place with it.
            var isOver = false
        }
        let opening = Lock(Opening())
    }

    /// What all of them take together.
    let pool = SpacePool()
    private let places = Lock<[String: Place]>([:])

    /// The file at `path`, opened unless it is already, and then with the user's key that `key` gives. Each call has
    /// its `release`.
    ///
    /// - Throws: `DiskImageError`, or what `key` throws.
    func acquire(_ path: String, key: () throws(ManagementError) -> UserKey?) throws -> FamilyFile {
        while true {
            let place = places.withLock { places in
                let place = places[path] ?? Place()
                places[path] = place
                return place
            }
            let file = try place.opening.withLock { opening throws -> FamilyFile? in
                guard !opening.isOver else { return nil }
                defer { if opening.users == 0 { end(&opening, path) } }
                let file = try self.file(opening.file, path, key)
                opening.file = file
                opening.users += 1
                return file
            }
            if let file { return file }
        }
    }

    /// The file that is open, or else the one at `path`, which stays open then.
    private func file(
        _ present: FamilyFile?, _ path: String, _ key: () throws(ManagementError) -> UserKey?
    ) throws -> FamilyFile {
        guard let present else {
            let file = try FamilyFile.open(path: path, userKey: try key())
            file.keepOpen()
            file.join(pool)
            return file
        }
        // Another file may be in the place of one that is still read, after its disk was deleted.
        if let status = try? FileStatus.of(path), let own = present.identity, own != status.identity {
            throw DiskImageError.replaced(path: path)
        }
        return present
    }

    /// Nobody uses it: who comes next opens it again, in a place of its own.
    private func end(_ opening: inout Place.Opening, _ path: String) {
        opening.isOver = true
        opening.file = nil
        places.withLock { $0[path] = nil }
    }

    /// Ends a use of the file at `path`; the last one closes it. Nil, or why what was written to it is not durable.
    @discardableResult
    func release(_ path: String) -> MediaFailure? {
        guard let place = places.withLock({ $0[path] }) else { return nil }
        return place.opening.withLock { opening in
            guard opening.users > 0 else { return nil }
            opening.users -= 1
            guard opening.users == 0, let file = opening.file else { return nil }
            defer { end(&opening, path) }
            return file.close()
        }
    }
}
