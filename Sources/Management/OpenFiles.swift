import Foundation
import Platform
public import Resources

/// How many files and sockets the process may have open.
public enum OpenFiles {
    /// What the threads of one processor have open: pollers, events and timers of reactors and event loops.
    private static let perProcessor = 8
    /// What everything else has that a daemon cannot begin without, with some room for connections.
    private static let others = 192

    /// The least with which a daemon, or a client of one, begins; with less its libraries end the process in the middle
    /// of something.
    private static var least: Int { others + perProcessor * ProcessInfo.processInfo.activeProcessorCount }

    /// Raises the limit as far as the process may, and refuses one that is too low all the same.
    public static func check() throws(ManagementError) {
        let limit = OpenFileLimit.raise()
        guard limit < least else { return }
        throw ManagementError(
            .system,
            "this process may have \(limit) files open, and needs \(least); raise its limit (ulimit -H -n, or "
                + "LimitNOFILE of its unit)")
    }
}
