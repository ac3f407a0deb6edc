import Platform

/// Which disks may have lost written data, so that nobody has to ask them all.
///
/// A disk is noted when it begins, if its image says that it has lost data, and at each loss afterwards. Those whose
/// loss is acknowledged, or that do not run any more, are forgotten when somebody asks next.
final class DiskLosses: Sendable {
    /// The catalog's keys of those disks.
    private let noted = Lock<Set<Int64>>([])

    /// Notes the disk with that key, after it has begun or has remembered the loss. It does not wait.
    func note(_ disk: Int64) {
        noted.withLock { _ = $0.insert(disk) }
    }

    /// Calls `body` with each disk that was noted, and forgets those for which it is false: they run no longer, or
    /// have lost nothing that nobody has acknowledged. It must only read memory.
    func forEach(_ body: (Int64) -> Bool) {
        // A disk that loses data meanwhile remembers that before it is noted, so either `body` sees it, or it is noted
        // again when the lock is free.
        noted.withLock { noted in noted = noted.filter(body) }
    }
}
