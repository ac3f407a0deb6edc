import Media
import Platform
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

    private let places = Lock<[String: Place]>([:])

    /// The file at `path`, opened unless it is already. Each call has its `release`.
    func acquire(_ path: String) throws(DiskImageError) -> FamilyFile {
        while true {
            let place = places.withLock { places in
                let place = places[path] ?? Place()
                places[path] = place
                return place
            }
            let file = try place.opening.withLock { opening throws(DiskImageError) -> FamilyFile? in
                guard !opening.isOver else { return nil }
                defer { if opening.users == 0 { end(&opening, path) } }
                let file = try Self.file(opening.file, path)
                opening.file = file
                opening.users += 1
                return file
            }
            if let file { return file }
        }
    }

    /// The file that is open, or else the one at `path`, which stays open then.
    private static func file(_ present: FamilyFile?, _ path: String) throws(DiskImageError) -> FamilyFile {
        guard let present else {
            let file = try FamilyFile.open(path: path)
            file.keepOpen()
            return file
        }
        // Another file may be in the place of one that is still read, after its disk was deleted.
        if let status = try? FileStatus.of(path), let own = present.identity, own != status.identity {
            throw .replaced(path: path)
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
