import Platform

/// Which files an open catalog and its log are, so that it is noticed when they are not in their place any more: what
/// is committed then is lost with the end of the process.
struct CatalogPlace: Sendable {
    private let path: String
    private let identities: [FileStatus.Identity?]

    /// Those at `path` now, which are open.
    init(ofCatalogAt path: String) {
        self.path = path
        identities = Self.identities(path)
    }

    /// Whether they are still there.
    var isKept: Bool { Self.identities(path) == identities }

    private static func identities(_ path: String) -> [FileStatus.Identity?] {
        ["", "-wal", "-shm"].map { (try? FileStatus.of(path + $0, followsLinks: false))?.identity }
    }
}
