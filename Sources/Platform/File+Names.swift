internal import CPlatform
internal import Glibc

extension File {
    /// Gives the file at `path` the name `newPath`, in place of the file that has it: others see the one or the other,
    /// never none. Durable when the directory was synchronised.
    public static func rename(_ path: String, to newPath: String) throws(SystemError) {
        // Safe: both are strings of Swift, which end with a zero and live until the call returns.
        let status = unsafe Glibc.rename(path, newPath)
        if status != 0 { throw SystemError(code: errno, operation: "rename", path: path) }
    }

    /// Gives the file at `path` the name `newPath`, where nothing is (EEXIST). A file system that cannot do that in one
    /// step gets two, between which somebody else's file of that name would be replaced. Durable when the directory was
    /// synchronised.
    public static func rename(_ path: String, toNew newPath: String) throws(SystemError) {
        // Safe: both are strings of Swift, which end with a zero and live until the call returns.
        let code = -(unsafe cplatform_rename_new(path, newPath))
        guard code != 0 else { return }
        guard code == EINVAL || code == ENOSYS else {
            throw SystemError(code: code, operation: "rename", path: path)
        }
        if (try? FileStatus.of(newPath, followsLinks: false)) != nil {
            throw SystemError(code: Errno.fileExists, operation: "rename", path: path)
        }
        try rename(path, to: newPath)
    }

    /// Removes the name `path` of a file, or a symbolic link; never a directory. Durable when the directory that it was
    /// in was synchronised.
    public static func remove(_ path: String) throws(SystemError) {
        // Safe: a string of Swift ends with a zero and lives until the call returns.
        if unsafe unlink(path) != 0 { throw SystemError(code: errno, operation: "remove", path: path) }
    }

    /// Removes the directory `path`, which must be empty.
    public static func removeDirectory(_ path: String) throws(SystemError) {
        // Safe: a string of Swift ends with a zero and lives until the call returns.
        if unsafe rmdir(path) != 0 { throw SystemError(code: errno, operation: "remove", path: path) }
    }

    /// Gives a file that was opened with `FileOptions.unnamed` the name `path`, where nothing is (EEXIST). Durable when
    /// the directory was synchronised.
    public func link(as path: String) throws(SystemError) {
        // Safe: both are strings of Swift, which end with a zero and live until the call returns.
        let status = unsafe linkat(
            AT_FDCWD, "/proc/self/fd/\(fileDescriptor)", AT_FDCWD, path, AT_SYMLINK_FOLLOW)
        if status != 0 { throw SystemError(code: errno, operation: "name", path: path) }
    }

    /// A path by which this process, and others of its user, open the same file again while it is open here, whether or
    /// not it has a name.
    public var processPath: String { "/proc/\(getpid())/fd/\(fileDescriptor)" }

    /// Why this process may not write to what `path` leads to; nil when it may. A file system that can only be read
    /// says so to root as well.
    public static func writeRefusal(_ path: String) -> SystemError? {
        // Safe: a string of Swift ends with a zero and lives until the call returns.
        guard unsafe access(path, W_OK) != 0 else { return nil }
        return SystemError(code: errno, operation: "write to", path: path)
    }

    /// Takes the file or directory as a whole (flock), until it is released or this opening of it is closed; false when
    /// another opening has it. It has nothing to do with `lock`.
    public func hold() throws(SystemError) -> Bool {
        guard flock(fileDescriptor, LOCK_EX | LOCK_NB) != 0 else { return true }
        guard errno != EAGAIN else { return false }
        throw SystemError(code: errno, operation: "lock", path: path)
    }

    /// Ends `hold`.
    public func release() { _ = flock(fileDescriptor, LOCK_UN) }
}
