internal import Platform
internal import Synchronization

/// The check.
extension DiskFamily {
    /// Makes a commit, and checks it: all pages against their checksums, and the free map against what they refer to,
    /// exactly, and the copies of the superblock. Empty when all is well. Commits and merges wait for it.
    func check() -> [EpochFinding] {
        maintenance.withLock { maintenance in
            let code = commit(&maintenance)
            guard code == 0 else { return [.unreadable(code)] }
            return EpochChecker.checkOpen(store, maintenance.superblock).findings
        }
    }
}
