import Logging
import Platform
import Resources

// Disks that use more of their host's storage than they may without a warning.
extension ControlPlane {
    /// Looks at how much disks with a threshold use. The log and an event tell of those that have reached it since the
    /// last time, and initiators are told too.
    func observeThresholds() {
        let findings = assembly.observeThresholds()
        reached.withLock { $0 = findings }
        for finding in findings where finding.isNew {
            logger.warning("\(Self.sentence(finding))")
            record(
                event(
                    "threshold", "disk", finding.name,
                    new: ["used": .integer(finding.usedBytes), "threshold": .integer(Int64(finding.percent))]))
        }
    }

    /// The warnings of disks that had reached their thresholds when they were looked at last.
    func thresholdWarnings() -> [String] { reached.withLock { $0 }.map(Self.sentence).sorted() }

    private static func sentence(_ finding: ThresholdFinding) -> String {
        "disk '\(finding.name)' has storage for \(finding.percent)% of its size or more, which its threshold warns of; "
            + "have initiators unmap what they do not need, or make room on the host"
    }
}
