import Catalog
import Encryption
import Foundation
import Logging
import Platform
import Resources

/// What is copied, for as long as that goes on.
struct CopySource: Sendable {
    /// As it was asked for: a disk, or `DISK@NAME`.
    let name: String
    let disk: DiskRecord
    /// The snapshot of its image that is read; nil of a raw disk.
    let node: String?
    /// In bytes.
    var size: Int64
    /// Whether the snapshot was made for this, and goes with it.
    let isTemporary: Bool
    /// The job that copies.
    let job: Int
}

// Content of disks that is read as a whole. A disk with snapshots is read from one, that which is named or one that is
// made for that and is hidden; who uses the disk notices nothing. A raw one is read while nobody uses it.
extension ControlPlane {
    /// How the names of snapshots begin that are made for a copy; those of users begin otherwise.
    private static let copyPrefix = ".copy-"

    /// Whether the snapshot `name` is one that was made for a copy.
    static func isForCopy(_ name: String) -> Bool { SnapshotName(name)?.name.hasPrefix(copyPrefix) == true }

    /// Whether the snapshot `name` is one that no user has made, and none sees: it was made for a copy, or a stream.
    static func isHidden(_ name: String) -> Bool { SnapshotName(name)?.name.hasPrefix(".") == true }

    /// Whether `source`, which can be copied now, is a raw disk.
    func checkSource(_ source: String) throws(ManagementError) -> Bool {
        if let parsed = SnapshotName(source) {
            _ = try snapshot(parsed, of: try snapshotDisk(parsed.disk))
            return false
        }
        let disk = try diskRecord(source)
        try checkIsServed(disk)
        try checkHasNoLoss(disk)
        guard disk.node == nil else { return false }
        try checkUnused(disk.name, units: [disk.identity.id], kind: "disk", verb: "copy")
        return true
    }

    /// Begins to copy `source` for a job: nothing that it needs is deleted until `endCopy`.
    func beginCopy(of source: String, by job: Int) throws(ManagementError) -> CopySource {
        let isRaw = try checkSource(source)
        let disk = try diskRecord(SnapshotName(source)?.disk ?? source)
        if isRaw {
            return CopySource(name: source, disk: disk, node: nil, size: disk.size, isTemporary: false, job: job)
        }
        let path = folder.imagePath(disk.image)
        var node = SnapshotName(source) == nil ? disk.node ?? disk.name : source
        let isTemporary = node == disk.name
        if isTemporary {
            try Effect.begin()
            let time = CalendarTime.current()
            node = SnapshotName(disk: disk.name, name: "\(Self.copyPrefix)\(job)-\(time.seconds)").description
        }
        let name = node
        // First: what is left of copies that have ended is removed when another disk of the image is served.
        copied.withLock { _ = $0[name, default: []].insert(job) }
        if isTemporary {
            do throws(ManagementError) {
                let wanted = NewSnapshot(disk: disk, imagePath: path, name: name)
                try assembly.takeSnapshots([wanted], time: CalendarTime.current())
            } catch {
                copied.withLock { copied in
                    copied[name]?.remove(job)
                    if copied[name]?.isEmpty == true { copied[name] = nil }
                }
                throw error
            }
        }
        var made = CopySource(
            name: source, disk: disk, node: name, size: disk.size, isTemporary: isTemporary, job: job)
        do throws(ManagementError) {
            guard let found = try assembly.nodes(inImage: path).first(where: { $0.name == name }) else {
                throw ManagementError(.notFound, "image \(path) does not have '\(name)'")
            }
            made.size = found.size
        } catch {
            endCopy(made)
            throw error
        }
        return made
    }

    /// Ends that. What was made for it goes; when that is not possible now, the next start sees to it.
    func endCopy(_ source: CopySource) {
        guard let node = source.node else { return }
        copied.withLock { copied in
            copied[node]?.remove(source.job)
            if copied[node]?.isEmpty == true { copied[node] = nil }
        }
        if source.isTemporary { removeCopy(node, inImage: folder.imagePath(source.disk.image)) }
    }

    /// Takes snapshots out of an image that were made for copies which have ended with the daemon.
    func removeForgottenCopies(inImage path: String) {
        guard let nodes = try? assembly.nodes(inImage: path) else { return }
        let present = copied.withLock { Set($0.keys) }
        for node in nodes where node.isSnapshot && Self.isForCopy(node.name) && !present.contains(node.name) {
            removeCopy(node.name, inImage: path)
        }
    }

    private func removeCopy(_ node: String, inImage path: String) {
        do {
            try removing { () throws(ManagementError) in
                try assembly.deleteSnapshot(node, inImage: path, time: .current())
            }
        } catch {
            logger.warning(
                "what was made for a copy is not removed", metadata: ["image": "\(path)", "reason": "\(error.message)"])
        }
    }

    /// Refuses to delete what is being copied.
    func checkIsNotCopied(_ nodes: [String]) throws(ManagementError) {
        let present = copied.withLock { $0 }
        let found = nodes.lazy.compactMap { present[$0]?.min() }.first
        guard let job = found else { return }
        throw ManagementError(
            .inUse,
            "job \(job) reads this; wait for its end with 'carousel job wait \(job)', or cancel it")
    }

    /// Calls `body` with the content of `source`; refused in the end when a raw disk was written meanwhile.
    func read(
        _ source: CopySource, _ body: (any DiskContent) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        let path = folder.imagePath(source.disk.image)
        func status() -> FileStatus? {
            source.disk.spec.isInMemory ? assembly.memoryStatus(ofDisk: source.disk) : try? FileStatus.of(path)
        }
        let before = source.node == nil ? status() : nil
        try assembly.read(source.disk, node: source.node, imagePath: path, body)
        guard source.node == nil else { return }
        let (name, units) = (source.disk.name, [source.disk.identity.id])
        try checkUnused(name, units: units, kind: "disk", verb: "copy")
        guard let before, status() == before else {
            throw ManagementError(
                .inUse, "disk '\(name)' was written while it was copied; keep initiators away from it and try again")
        }
    }

    // MARK: Copies

    /// Refuses what makes no disk of a copy.
    func checkCopy(_ arguments: Disk.Copy.Arguments) throws(ManagementError) {
        try checkNameIsFree(arguments.name)
        _ = try diskRecord(SnapshotName(arguments.source)?.disk ?? arguments.source)
        try Self.checkIsStored(arguments.format, arguments.source)
    }

    /// Makes a disk with the content of `source`.
    func copyDisk(
        _ source: CopySource, _ arguments: Disk.Copy.Arguments, job: Job
    ) throws(ManagementError) {
        try checkCopy(arguments)
        var spec = source.disk.spec
        spec.format = arguments.format ?? (spec.isInMemory ? Disk.standardFormat : spec.imageFormat)
        spec.compression = spec.format == .carousel ? assembly.compression(ofDisk: source.disk) : nil
        spec.hasChecksums = spec.hasChecksums && spec.format == .carousel
        spec.size = source.size
        (spec.image, spec.description, spec.threshold) = (nil, nil, nil)
        (spec.snapshotEvery, spec.snapshotKeep, spec.spaceLimit) = (nil, nil, nil)
        (spec.isReadOnly, spec.protection) = (false, 0)
        try createDisk(arguments.name, spec, from: source.name) { disk, key throws(ManagementError) in
            try read(source) { content throws(ManagementError) in try fill(disk, key, with: content, job) }
            // What initiators write from now on is not taken away by whoever cancels.
            try job.commit()
        }
        logger.info("disk copied", metadata: ["disk": "\(arguments.name)", "source": "\(source.name)"])
    }

    /// Writes `content` to a new disk, durably.
    func fill(
        _ disk: DiskRecord, _ key: UserKey?, with content: any DiskContent, _ job: Job,
        report: ((_ done: Int, _ total: Int) -> Void)? = nil
    ) throws(ManagementError) {
        try assembly.fill(
            disk, imagePath: folder.imagePath(disk.image), userKey: key
        ) { write throws(ManagementError) in
            try ContentCopy.copy(content, job: job, report: report, to: write)
        }
    }
}
