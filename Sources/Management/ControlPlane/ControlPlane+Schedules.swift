import Catalog
import Foundation
import Logging
import Platform
import Resources

/// What is known of the disks of which snapshots are made by themselves.
struct SnapshotSchedules {
    /// When the last automatic snapshot was made, by the key of the disk.
    var last: [Int64: CalendarTime] = [:]
    /// Why the next one cannot be made, by the key of the disk.
    var problems: [Int64: String] = [:]
}

// Snapshots that are made by themselves, and go again.
extension ControlPlane {
    /// How automatic snapshots are called, but for the time.
    static let automaticPrefix = "auto-"
    /// How many disks get their snapshots in one round; the others have their turn in the next ones.
    static let snapshotsOfRound = 256

    /// Whether a snapshot is due of a disk whose last one is of `last`, if it has any. After a time without the daemon
    /// it is one, and so it is when the clock has gone back for longer than the time between two.
    static func isDue(last: CalendarTime?, every: Int, now: CalendarTime) -> Bool {
        guard let last else { return true }
        let passed = now.seconds - last.seconds
        return passed >= Int64(every) || passed < -Int64(every)
    }

    /// The disks of which a snapshot is due, by name.
    func dueSnapshots(at now: CalendarTime) throws(ManagementError) -> [String] {
        let disks = try query { () throws(CatalogError) in try catalog.disks() }.filter {
            $0.spec.snapshotEvery != nil && $0.node == $0.name && $0.phase == .complete && problems[$0.name] == nil
        }
        let keys = Set(disks.map(\.identity.id))
        schedules.withLock { schedules in
            schedules.last = schedules.last.filter { keys.contains($0.key) }
            schedules.problems = schedules.problems.filter { keys.contains($0.key) }
        }
        var due: [String] = []
        for disk in disks where due.count < Self.snapshotsOfRound {
            guard let every = disk.spec.snapshotEvery else { continue }
            if Self.isDue(last: lastAutomatic(of: disk), every: every, now: now) { due.append(disk.name) }
        }
        return due
    }

    /// When the last automatic snapshot of the disk was made, as far as that can be found out.
    private func lastAutomatic(of disk: DiskRecord) -> CalendarTime? {
        if let known = schedules.withLock({ $0.last[disk.identity.id] }) { return known }
        guard let newest = try? automaticSnapshots(of: disk).last, let time = CalendarTime(newest.created) else {
            return nil
        }
        schedules.withLock { $0.last[disk.identity.id] = time }
        return time
    }

    /// The automatic snapshots of the disk, the oldest first.
    private func automaticSnapshots(of disk: DiskRecord) throws(ManagementError) -> [ImageSnapshot] {
        let prefix = SnapshotName(disk: disk.name, name: Self.automaticPrefix).description
        return try assembly.snapshots(inImage: folder.imagePath(disk.image)).filter { $0.name.hasPrefix(prefix) }
    }

    /// Makes the snapshot of the disk `name` that is due, and deletes the oldest automatic ones above the number that
    /// is kept. What keeps it from that is told in the status of the disk, and logged once.
    func takeDueSnapshot(of name: String, at now: CalendarTime) throws(ManagementError) {
        let disk = try diskRecord(name)
        let key = disk.identity.id
        // It may have changed meanwhile.
        guard let every = disk.spec.snapshotEvery, disk.phase == .complete,
            Self.isDue(last: lastAutomatic(of: disk), every: every, now: now)
        else { return }
        do throws(ManagementError) {
            let snapshot = try unusedName(Self.automaticPrefix + Self.timeName(now), of: disk)
            try takeSnapshots([snapshot.description], time: now)
            schedules.withLock { $0.last[key] = now }
            try deleteSurplus(of: disk, now)
        } catch {
            let isNew = schedules.withLock { $0.problems.updateValue(error.message, forKey: key) != error.message }
            if isNew {
                logger.error(
                    "an automatic snapshot was not made, or an old one not deleted",
                    metadata: ["disk": "\(name)", "reason": "\(error.message)"])
            }
            return
        }
        schedules.withLock { $0.problems[key] = nil }
    }

    /// Locked ones, and those that a disk shows, stay besides.
    private func deleteSurplus(of disk: DiskRecord, _ now: CalendarTime) throws(ManagementError) {
        let shown = Set(
            try query { () throws(CatalogError) in try catalog.disks(image: disk.image) }.compactMap(\.node))
        let free = try automaticSnapshots(of: disk).filter { snapshot in
            !shown.contains(snapshot.name) && snapshot.lockedUntil.map { $0 <= Date(now) } ?? true
        }
        let keep = disk.spec.snapshotKeep ?? Disk.standardSnapshots
        for snapshot in free.dropLast(keep) { try deleteSnapshot(snapshot.name) }
    }

    /// Why the automatic snapshots of the disk are not what they should be; nil when they are.
    func scheduleProblem(of disk: DiskRecord) -> String? {
        schedules.withLock { $0.problems[disk.identity.id] }.map {
            "disk '\(disk.name)': its automatic snapshots are not made, or old ones not deleted: \($0)"
        }
    }
}

extension Controller {
    /// Makes the snapshots that are due now.
    func takeDueSnapshots(at now: CalendarTime = .current()) async {
        let due: [String]
        do throws(ManagementError) {
            due = try await query(in: .long) { plane throws(ManagementError) in try plane.dueSnapshots(at: now) }
        } catch {
            plane.logger.error("automatic snapshots were not made", metadata: ["reason": "\(error.message)"])
            return
        }
        for name in due {
            // While others are at work at the disk, or copy it, the next round tries again.
            try? await change(
                ChangeKey.device(name), in: .long, patience: Limit.patience, beginning: Limit.roundPatience
            ) { plane throws(ManagementError) in try plane.takeDueSnapshot(of: name, at: now) }
        }
    }
}
