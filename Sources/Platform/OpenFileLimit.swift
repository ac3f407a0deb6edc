internal import Glibc

/// How many files and sockets the process may have open at a time (RLIMIT_NOFILE).
public enum OpenFileLimit {
    /// Raises the limit as far as the process may by itself, and returns it.
    ///
    /// The usual soft limit of 1024 exists for programs that use select(2); a server has more connections.
    @discardableResult
    public static func raise() -> UInt64 {
        var limit = rlimit()
        // Safe: both calls use `limit`, which outlives them.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        guard limit.rlim_cur < limit.rlim_max else { return UInt64(limit.rlim_cur) }
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        let isRaised = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0
        return UInt64(isRaised ? raised.rlim_cur : limit.rlim_cur)
    }
}
