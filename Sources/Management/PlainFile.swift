import Foundation
import Glibc
import Resources

/// Files in the state folder that the daemon overwrites where they are. Each is a regular file that has no second name:
/// what is written to it, or cut from it, is nobody else's.
enum PlainFile {
    /// Refuses what is at `path` unless it is such a file, or nothing. With `countsLinks` false it may have other
    /// names.
    static func check(_ path: String, countsLinks: Bool = true) throws(ManagementError) {
        var status = stat()
        // Safe: a string of Swift ends with a zero, and the call only fills the structure in.
        guard unsafe lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw unusable(path, errno) }
            return
        }
        try check(status, path, countsLinks: countsLinks)
    }

    /// Opens such a file for reading and writing, made for the owner only when there is none, and does not change what
    /// is in it.
    static func open(_ path: String) throws(ManagementError) -> FileHandle {
        // Safe: a string of Swift ends with a zero. A pipe does not make this wait.
        let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            guard errno == ELOOP else { throw unusable(path, errno) }
            throw foreign(path)
        }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        // Safe: the call only fills the structure in.
        guard unsafe fstat(descriptor, &status) == 0 else { throw unusable(path, errno) }
        try check(status, path, countsLinks: true)
        return file
    }

    private static func check(_ status: stat, _ path: String, countsLinks: Bool) throws(ManagementError) {
        guard status.st_mode & S_IFMT == S_IFREG else { throw foreign(path) }
        guard !countsLinks || status.st_nlink == 1 else {
            throw ManagementError(
                .damaged,
                "\(path) has another name too, under which it may be somebody else's; remove it, and the daemon makes "
                    + "it again")
        }
    }

    private static func foreign(_ path: String) -> ManagementError {
        ManagementError(
            .damaged, "\(path) is a link or another thing that is no regular file of the daemon's; move it away")
    }

    private static func unusable(_ path: String, _ code: Int32) -> ManagementError {
        ManagementError(
            .system,
            "cannot open \(path): \(StateFolder.reason(code)); see that the state folder is this user's and can be "
                + "written, or choose another with --state")
    }
}
