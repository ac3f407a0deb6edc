internal import Glibc

/// Error numbers that callers tell apart.
public enum Errno {
    public static let invalidArgument: Int32 = EINVAL
    /// ENOSPC: the file system is full.
    public static let noSpace: Int32 = ENOSPC
    /// A file would become longer than the file system or a limit of the process allows.
    public static let fileTooBig: Int32 = EFBIG
    /// EDQUOT: the quota is used up.
    public static let quotaExceeded: Int32 = EDQUOT
    /// EAGAIN: it would block, or someone else has the lock.
    public static let wouldBlock: Int32 = EAGAIN
    /// EMFILE: this process has too many open files.
    public static let tooManyOpenFiles: Int32 = EMFILE
    /// ENFILE: the system has too many open files.
    public static let tooManyOpenFilesInSystem: Int32 = ENFILE
    /// EOPNOTSUPP: the file system cannot do it.
    public static let notSupported: Int32 = EOPNOTSUPP
    public static let noSuchFile: Int32 = ENOENT
    /// ENODEV: there is no such device.
    public static let noSuchDevice: Int32 = ENODEV
    /// ELOOP: the path is a symbolic link, which is not to be followed, or leads to too many.
    public static let isLink: Int32 = ELOOP
    public static let crossDevice: Int32 = EXDEV
    public static let fileExists: Int32 = EEXIST
    public static let busy: Int32 = EBUSY
    /// ENOMEM: the system has no memory for it.
    public static let noMemory: Int32 = ENOMEM
    public static let inputOutput: Int32 = EIO
    /// ENXIO: no data (or hole) from there on.
    public static let noSuchAddress: Int32 = ENXIO
    /// ENODATA: there is no such attribute.
    static let noData: Int32 = ENODATA
    /// ERANGE: there is more than the buffer holds.
    static let range: Int32 = ERANGE
    public static let addressInUse: Int32 = EADDRINUSE
    /// Nobody reads any more what is written.
    public static let brokenPipe: Int32 = EPIPE
    public static let cancelled: Int32 = ECANCELED
    /// ETIMEDOUT: it has not ended in time.
    public static let timedOut: Int32 = ETIMEDOUT
    /// ENOBUFS: the system has no memory for a socket.
    public static let noBuffers: Int32 = ENOBUFS
    /// ECONNABORTED: the peer was gone before it was accepted.
    public static let connectionAborted: Int32 = ECONNABORTED
    /// What accept(2) gives for a connection that had failed before: it concerns that one only.
    static let ofConnectionsBeforeAcceptance: [Int32] = [
        ECONNABORTED, EPERM, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
        ETIMEDOUT, ECONNRESET,
    ]
}
