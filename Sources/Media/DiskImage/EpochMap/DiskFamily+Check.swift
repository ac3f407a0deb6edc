internal import Platform
internal import Synchronization

/// The check.
extension DiskFamily {
    /// Makes a commit, and checks it: all pages against their checksums, and the free map against what they refer to,
    /// exactly, and the copies of the superblock. Empty when all is well. Commits and merges wait for it.
    func check() -> [EpochFinding] { report().findings }

    /// The same, with what is lost.
    func report() -> EpochReport {
        maintenance.withLock { maintenance in
            let code = commit(&maintenance)
            guard code == 0 else {
                var report = EpochReport()
                report.add(.unreadable(code))
                return report
            }
            return EpochChecker.checkOpen(store, maintenance.superblock)
        }
    }

    /// Of nodes whose deletion does not go on, because pages are damaged, why, by their numbers.
    var stuckDeletions: [(node: UInt32, reason: EpochFault)] { shared.withLock { $0.state.stuckNodes } }
}
