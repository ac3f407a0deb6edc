internal import CPlatform
internal import Glibc

/// What a path leads to.
public struct FileStatus: Hashable, Sendable {
    /// The types of files that callers tell apart.
    public enum Kind: Hashable, Sendable {
        /// A regular file.
        case regular
        case directory
        case blockDevice
        /// A Unix socket.
        case socket
        /// A symbolic link, which was not followed.
        case link
        /// A pipe or a character device.
        case other
    }

    /// Which file of the system it is: two paths with the same identity lead to one file, whatever links and mounts lie
    /// between. A block device is known by its number, however many nodes there are for it.
    public struct Identity: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64
    }

    public let kind: Kind
    public let identity: Identity
    /// The number of the file in its file system (the inode).
    public var fileNumber: UInt64 { identity.inode }
    /// When its content changed last, in nanoseconds since 1970; the greatest or least number where those do not do.
    public let modified: Int64
    /// The length of a regular file in bytes; of a block device too, when links were followed.
    public let length: Int64
    /// How many names it has.
    public let linkCount: Int
    /// The user whose file it is, by number.
    public let owner: UInt32
    /// What owner, group and others may do with it: the lower 12 bits of st_mode.
    public let permissions: UInt32

    /// Looks at `path`, through symbolic links unless `followsLinks` is false. A block device is opened for its length,
    /// so one that nothing stands behind is an error.
    public static func of(_ path: String, followsLinks: Bool = true) throws(SystemError) -> FileStatus {
        var status = cplatform_file_status()
        // Safe: the string ends with a zero, and the function only fills the structure in.
        _ = try check(unsafe cplatform_status(path, followsLinks ? 1 : 0, &status), "look at", path)
        let kind: Kind =
            switch mode_t(status.mode) & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFBLK: .blockDevice
            case S_IFSOCK: .socket
            case S_IFLNK: .link
            default: .other
            }
        return FileStatus(
            kind: kind, identity: Identity(device: status.device, inode: status.inode), modified: status.modified,
            length: status.length, linkCount: Int(status.links), owner: status.owner, permissions: status.mode & 0o7777)
    }
}

extension File {
    /// What was opened, whatever has its path now.
    public func status() throws(SystemError) -> FileStatus { try FileStatus.of("/proc/self/fd/\(fileDescriptor)") }
}
