import Platform
import Resources

/// Files in the state folder that the daemon overwrites where they are. Each is a regular file that has no second name:
/// what is written to it, or cut from it, is nobody else's.
enum PlainFile {
    /// Refuses what is at `path` unless it is such a file, or nothing. With `countsLinks` false it may have other
    /// names.
    static func check(_ path: String, countsLinks: Bool = true) throws(ManagementError) {
        let status: FileStatus
        do {
            status = try FileStatus.of(path, followsLinks: false)
        } catch {
            guard error.code == Errno.noSuchFile else { throw unusable(path, error) }
            return
        }
        guard status.kind == .regular else { throw foreign(path) }
        guard !countsLinks || status.linkCount == 1 else {
            throw ManagementError(
                .damaged,
                "\(path) has another name too, under which it may be somebody else's; remove it, and the daemon makes "
                    + "it again")
        }
    }

    /// Opens such a file for reading and writing, made for the owner only when there is none, and does not change what
    /// is in it.
    static func open(_ path: String) throws(ManagementError) -> File {
        let file: File
        do {
            file = try File.open(path: path, [.readWrite, .create, .noFollow], permissions: 0o600)
        } catch {
            throw error.code == Errno.isLink ? foreign(path) : unusable(path, error)
        }
        // Nobody else can put something in its place meanwhile: the folder is the daemon's.
        try check(path)
        return file
    }

    private static func foreign(_ path: String) -> ManagementError {
        ManagementError(
            .damaged, "\(path) is a link or another thing that is no regular file of the daemon's; move it away")
    }

    private static func unusable(_ path: String, _ error: SystemError) -> ManagementError {
        ManagementError(
            .system,
            "cannot open \(path): \(error.reason); see that the state folder is this user's and can be written, or "
                + "choose another with --state")
    }
}
