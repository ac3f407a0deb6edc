internal import Glibc

extension File {
    /// Gives the open file to `owner` and `group`, by their numbers, with `permissions`, the lower 12 bits of st_mode.
    /// Whoever may not give files away keeps it; a group that it does not get there may do nothing with it.
    public func give(to owner: UInt32, group: UInt32?, permissions: UInt32) throws(SystemError) {
        // Whose it is first, for that may take bits of its mode away.
        let isOfGroup = group.map { fchown(fileDescriptor, uid_t.max, $0) == 0 } ?? false
        _ = fchown(fileDescriptor, owner, gid_t.max)
        guard fchmod(fileDescriptor, isOfGroup ? permissions : permissions & ~0o070) == 0 else {
            throw SystemError(code: errno, operation: "set the mode of", path: path)
        }
    }
}
