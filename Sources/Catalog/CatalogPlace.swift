internal import Glibc

/// Which files an open catalog and its log are, so that it is noticed when they are not in their place any more: what
/// is committed then is lost with the end of the process.
struct CatalogPlace: Sendable {
    private struct Identity: Equatable {
        let device: UInt64
        let inode: UInt64
    }

    private let path: String
    private let identities: [Identity?]

    /// Those at `path` now, which are open.
    init(ofCatalogAt path: String) {
        self.path = path
        identities = Self.identities(path)
    }

    /// Whether they are still there.
    var isKept: Bool { Self.identities(path) == identities }

    private static func identities(_ path: String) -> [Identity?] {
        ["", "-wal", "-shm"].map { suffix in
            var status = stat()
            // Safe: a string of Swift ends with a zero, and the call only fills the structure in.
            guard unsafe lstat(path + suffix, &status) == 0 else { return nil }
            return Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        }
    }
}
