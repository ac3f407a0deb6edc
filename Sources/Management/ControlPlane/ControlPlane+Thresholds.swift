import Catalog
import Logging
import Platform
import Resources

// Disks that use more of their host's storage than they may without a warning, or at all.
extension ControlPlane {
    /// Has the limit of all disk images count that is stored. It may wait for the storage device.
    func applyDiskSpaceLimit() throws(ManagementError) {
        let name = DiskPool.description.naming.onlyName ?? ""
        let stored = try query { () throws(CatalogError) in try catalog.resource(DiskPool.self, named: name) }
        if let damage = stored?.damage {
            logger.error("the limit of disk images is not known", metadata: ["reason": "\(damage)"])
        }
        assembly.setDiskSpaceLimit(stored.flatMap { $0.damage == nil ? $0.spec.spaceLimit : nil })
    }

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
        let subject =
            finding.limit == nil
            ? "disk '\(finding.name)' has storage for \(finding.percent)% of its size or more"
            : "the image of disk '\(finding.name)' uses \(finding.percent)% of its space limit or more"
        return "\(subject), which its threshold warns of; "
            + "have initiators unmap what they do not need, or make room on the host"
    }
}
