import Catalog
import Foundation
import Logging
import Media
import Platform
import Resources

/// A stream that is applied to a disk.
struct Receiving: Sendable {
    let file: String
    let disk: DiskRecord
    let header: DeltaHeader
    /// The snapshot of the disk that is what it is now.
    let base: String
    /// What the stream becomes there.
    let target: String
    /// The head that takes what comes, as it is called until more is kept; nil when all has come before.
    var work: (name: String, position: DeltaPosition?)?
    let job: Int
    /// Whether the disk was made for it.
    var isMade = false
}

// Delta streams that come from files. What they bring goes to a head of the image that no disk has, a clone of what the
// disk is now; its name says which stream it is and how far it is kept. When all is there, that becomes a snapshot with
// the identity of its origin, and the disk goes back to that snapshot: until then it is what it was.
extension ControlPlane {
    private static let workPrefix = ".delta-"
    /// Of a whole stream: the empty disk.
    private static let baseName = ".delta-base"

    private static func workName(
        _ disk: String, _ header: DeltaHeader, _ position: DeltaPosition? = nil
    ) -> String {
        let place = position?.text ?? String(repeating: "0", count: DeltaPosition.textLength)
        return "\(disk)\(snapshotSeparator)\(workPrefix)\(header.uuid.hexadecimal)\(place)"
    }

    /// What the heads of the disk are called that take streams.
    private static func workPrefix(_ disk: String) -> String { "\(disk)\(snapshotSeparator)\(workPrefix)" }

    // MARK: Checks

    /// Refuses what cannot be applied now.
    func checkReceiving(_ arguments: Disk.Import.Arguments) throws(ManagementError) {
        guard arguments.sourceFormat == nil else {
            throw ManagementError(
                .invalid, "a delta stream has no other format; leave out --source-format", field: "sourceFormat")
        }
        guard arguments.format ?? .carousel == .carousel else {
            throw ManagementError(
                .invalid, "only disks of the format carousel take delta streams; leave out --format", field: "format")
        }
        guard arguments.blockSize == nil else {
            throw ManagementError(
                .invalid, "a delta stream says the block size of its disk itself; leave out --block-size",
                field: "blockSize")
        }
        let header = try header(ofStream: arguments.file)
        guard try query({ () throws(CatalogError) in try catalog.disk(named: arguments.name) }) != nil else {
            if header.origin != nil { throw Self.hasNoOrigin(arguments.name, header) }
            return try checkNameIsFree(arguments.name)
        }
        _ = try receiving(arguments, header, job: 0)
    }

    private func header(ofStream path: String) throws(ManagementError) -> DeltaHeader {
        let (file, _) = try openForeign(path)
        let header: DeltaHeader
        do throws(DeltaError) { header = try DeltaReader(file).header } catch {
            throw ManagementError(.invalid, "\(path) cannot be applied: \(error)", field: "file")
        }
        guard let name = SnapshotName(header.target.name) else {
            throw ManagementError(
                .invalid, "\(path) brings '\(header.target.name)', which is no snapshot", field: "file")
        }
        try DeviceName.check(name.name, of: "snapshot")
        return header
    }

    private static func hasNoOrigin(_ disk: String, _ header: DeltaHeader) -> ManagementError {
        let origin = header.origin
        return ManagementError(
            .conflict,
            "the stream goes on from '\(origin?.name ?? "")' (\(origin?.identity.uuid.hexadecimal ?? "")), and disk "
                + "'\(disk)' has no snapshot with that content; apply the stream first that brings it, or a whole one, "
                + "from 'carousel disk export \(header.target.name) FILE --format delta', to a new disk")
    }

    /// What is to be done to apply a stream, as things stand.
    private func receiving(
        _ arguments: Disk.Import.Arguments, _ header: DeltaHeader, job: Int
    ) throws(ManagementError) -> Receiving {
        let disk = try snapshotDisk(arguments.name)
        try checkHasNoLoss(disk)
        guard disk.blockSize == header.blockSize else {
            throw ManagementError(
                .conflict,
                "the stream is of a disk with blocks of \(header.blockSize) bytes, and disk '\(disk.name)' "
                    + "has blocks of "
                    + "\(disk.blockSize); make one with --block-size \(header.blockSize)")
        }
        let path = folder.imagePath(disk.image)
        let nodes = try assembly.nodes(inImage: path)
        let own = try assembly.snapshots(inImage: path).filter { SnapshotName($0.name)?.disk == disk.name }
        if let present = own.first(where: { $0.version?.identity == header.target.identity }) {
            guard !Self.isHidden(present.name) else {
                throw ManagementError(
                    .conflict, "disk '\(disk.name)' is '\(header.target.name)' in the making; try again")
            }
            return Receiving(
                file: arguments.file, disk: disk, header: header, base: try base(disk, header, own),
                target: present.name, work: nil, job: job)
        }
        let target = SnapshotName(disk: disk.name, name: SnapshotName(header.target.name)?.name ?? "").description
        guard !nodes.contains(where: { $0.name == target }) else {
            throw ManagementError(
                .conflict,
                "snapshot '\(target)' exists already, and has another content; delete it with 'carousel "
                    + "snapshot delete "
                    + "\(target)'")
        }
        let base = try base(disk, header, own)
        try checkIs(disk, base, header)
        let begun = Self.workName(disk.name, header).dropLast(DeltaPosition.textLength)
        let work = nodes.first { !$0.isSnapshot && $0.name.hasPrefix(begun) }?.name
        return Receiving(
            file: arguments.file, disk: disk, header: header, base: base, target: target,
            work: (
                work ?? Self.workName(disk.name, header),
                work.flatMap { DeltaPosition(text: $0.suffix(DeltaPosition.textLength)) }
            ), job: job)
    }

    /// The snapshot of the disk with the content that a stream goes on from.
    private func base(
        _ disk: DiskRecord, _ header: DeltaHeader, _ own: [ImageSnapshot]
    ) throws(ManagementError) -> String {
        guard let origin = header.origin else {
            return SnapshotName(disk: disk.name, name: Self.baseName).description
        }
        guard let found = own.first(where: { $0.version?.identity == origin.identity }), found.size == origin.capacity
        else { throw Self.hasNoOrigin(disk.name, header) }
        return found.name
    }

    /// Refuses a disk that is not what its snapshot `base` is, or that holds something and is to get a whole stream.
    private func checkIs(
        _ disk: DiskRecord, _ base: String, _ header: DeltaHeader
    ) throws(ManagementError) {
        let path = folder.imagePath(disk.image)
        if header.origin == nil {
            guard disk.size <= header.target.capacity else {
                throw ManagementError(
                    .conflict,
                    "the stream is of a disk of \(header.target.capacity) bytes, and disk '\(disk.name)' has "
                        + "\(disk.size); apply it to a new one")
            }
            var isEmpty = false
            try assembly.read(disk, node: disk.name, imagePath: path) { content throws(ManagementError) in
                isEmpty = try content.next(from: 0) == nil
            }
            guard isEmpty else {
                throw ManagementError(
                    .conflict,
                    "the stream brings the whole of '\(header.target.name)', and disk '\(disk.name)' holds something "
                        + "already; apply it to a new one, which is made when there is none of that name")
            }
            return
        }
        guard try isEqual(disk, base) else {
            throw ManagementError(
                .conflict,
                "disk '\(disk.name)' was changed since it was '\(base)', which the stream goes on from; 'carousel "
                    + "snapshot rollback \(base) --yes' makes it that again, and keeps what it is now")
        }
    }

    /// Whether the disk is what its snapshot is.
    private func isEqual(_ disk: DiskRecord, _ snapshot: String) throws(ManagementError) -> Bool {
        let path = folder.imagePath(disk.image)
        let size = try assembly.nodes(inImage: path).first { $0.name == snapshot }?.size
        guard size == disk.size else { return false }
        return try assembly.differences(inImage: path, from: snapshot, to: disk.name, after: 0, limit: 1).isEmpty
    }

    // MARK: Work

    /// Makes what a stream needs; nothing of that is deleted until `endReceiving`. A disk that it makes stays: what has
    /// come of a stream that ends early is in there.
    func beginReceiving(_ arguments: Disk.Import.Arguments, job: Job) throws(ManagementError) -> Receiving {
        let header = try header(ofStream: arguments.file)
        let isMade = try query({ () throws(CatalogError) in try catalog.disk(named: arguments.name) }) == nil
        if isMade {
            guard header.origin == nil else { throw Self.hasNoOrigin(arguments.name, header) }
            var spec = Disk.Spec(size: header.target.capacity, blockSize: header.blockSize)
            spec.format = .carousel
            try createDisk(arguments.name, spec, from: arguments.file)
        }
        do throws(ManagementError) {
            var begun = try beginReceiving(arguments, header, job)
            begun.isMade = isMade
            return begun
        } catch {
            // Nothing has come that it would have to stay for.
            if isMade { try takeBack(arguments.name, after: error) }
            throw error
        }
    }

    /// Deletes the disk that was made for a stream of which nothing has come, because of `error`.
    private func takeBack(_ name: String, after error: ManagementError) throws(ManagementError) {
        do throws(ManagementError) {
            try deleteDisk(name)
        } catch let refusal {
            throw ManagementError(
                error.code, "\(error.message); disk '\(name)', which was made for it, stays: \(refusal.message)",
                field: error.field)
        }
    }

    private func beginReceiving(
        _ arguments: Disk.Import.Arguments, _ header: DeltaHeader, _ job: Job
    ) throws(ManagementError) -> Receiving {
        let found = try receiving(arguments, header, job: job.id)
        let path = folder.imagePath(found.disk.image)
        let key = Self.workPrefix(found.disk.name)
        if let other = copied.withLock({ $0[key]?.min() }) {
            throw ManagementError(
                .inUse,
                "job \(other) applies a stream to disk '\(found.disk.name)'; wait for its end with 'carousel job wait "
                    + "\(other)', or cancel it")
        }
        try Effect.begin()
        if let work = found.work {
            let nodes = try assembly.nodes(inImage: path)
            // What came of another stream.
            for node in nodes where !node.isSnapshot && node.name.hasPrefix(key) && node.name != work.name {
                try removing { () throws(ManagementError) in
                    try assembly.deleteSnapshot(node.name, inImage: path, time: .current())
                }
            }
            if header.origin == nil, !nodes.contains(where: { $0.name == found.base }) {
                let wanted = NewSnapshot(disk: found.disk, imagePath: path, name: found.base)
                try assembly.takeSnapshots([wanted], time: .current())
            }
        }
        copied.withLock { copied in
            for name in [key, found.base, found.target] { copied[name, default: []].insert(job.id) }
        }
        return found
    }

    func endReceiving(_ receiving: Receiving) {
        copied.withLock { copied in
            for name in [Self.workPrefix(receiving.disk.name), receiving.base, receiving.target] {
                copied[name]?.remove(receiving.job)
                if copied[name]?.isEmpty == true { copied[name] = nil }
            }
        }
    }

    /// Writes what the stream brings to the head that takes it, from where it was kept on.
    func receive(_ receiving: Receiving, job: Job) throws(ManagementError) {
        guard let work = receiving.work else { return }
        let (file, status) = try openForeign(receiving.file)
        try assembly.receive(
            inImage: folder.imagePath(receiving.disk.image), base: receiving.base, work: work.name,
            size: receiving.header.target.capacity
        ) { target throws(ManagementError) in
            var position = work.position
            var kept = position?.place ?? 0
            do {
                var reader = try DeltaReader(file, from: position)
                guard reader.header == receiving.header else {
                    throw ManagementError(
                        .conflict, "\(receiving.file) was replaced meanwhile; try again", field: "file")
                }
                while true {
                    try job.check()
                    let record = try reader.next()
                    switch record {
                    case .data(let offset, let bytes): try target.write(bytes, offset)
                    case .nothing(let range): try target.erase(range)
                    case .end: return
                    }
                    position = reader.position
                    if reader.position.place - kept > DeltaLimit.unkept {
                        try target.keep(as: Self.workName(receiving.disk.name, receiving.header, position))
                        kept = reader.position.place
                    }
                    job.report(done: Int(reader.position.place), of: Int(status.length))
                }
            } catch {
                if let position {
                    try? target.keep(as: Self.workName(receiving.disk.name, receiving.header, position))
                }
                throw Self.unreceived(receiving, position, error)
            }
        }
    }

    private static func unreceived(
        _ receiving: Receiving, _ position: DeltaPosition?, _ error: any Error
    ) -> ManagementError {
        let own = error as? ManagementError
        // Whoever cancels knows it.
        if own == Job.wasCancelled { return Job.wasCancelled }
        let name = receiving.disk.name
        let state = receiving.isMade ? "was made for it and holds nothing yet" : "is what it was"
        let end = receiving.isMade ? "; 'carousel disk delete \(name)' takes the disk away" : ""
        return ManagementError(
            own?.code ?? .damaged,
            "\(receiving.file): \(own?.message ?? "\(error)"); disk '\(name)' \(state), "
                + "\(position?.record ?? 0) records of the stream are kept, and the same command with the whole stream "
                + "goes on there\(end)")
    }

    /// All has come: makes it a snapshot, and the disk what that is.
    func finishReceiving(_ receiving: Receiving, job: Job) throws(ManagementError) {
        let disk = try snapshotDisk(receiving.disk.name)
        let path = folder.imagePath(disk.image)
        let nodes = try assembly.nodes(inImage: path)
        if receiving.work == nil, try isEqual(disk, receiving.target) {
            return removeWork(of: disk, nodes)
        }
        try checkIs(disk, receiving.base, receiving.header)
        try job.commit()
        if let work = receiving.work {
            let begun = work.name.dropLast(DeltaPosition.textLength)
            guard let present = nodes.first(where: { !$0.isSnapshot && $0.name.hasPrefix(begun) })?.name else {
                throw ManagementError(.internal, "what came of the stream for disk '\(disk.name)' is gone")
            }
            try assembly.keepReceived(
                present, inImage: path, as: receiving.target, receiving.header.target.identity)
            record(
                event("create", "snapshot", receiving.target, new: ["size": .integer(receiving.header.target.capacity)])
            )
        }
        let former = try rollBackDisk(to: receiving.target)
        // What it was is its snapshot still, unless somebody has written to it in the last moment.
        let isKnown = nodes.contains { $0.name == receiving.base }
        let changes =
            try isKnown
            ? assembly.differences(inImage: path, from: receiving.base, to: former.name, after: 0, limit: 1) : nil
        removeWork(of: disk, try assembly.nodes(inImage: path))
        if changes?.isEmpty == true { try deleteSnapshot(former.name) }
        var new: [String: JSONValue] = ["snapshot": .text(receiving.target), "file": .text(receiving.file)]
        if let origin = receiving.header.origin { new["since"] = .text(origin.name) }
        record(event("import", "disk", disk.name, new: .object(new)))
        logger.info("delta stream applied", metadata: ["disk": "\(disk.name)", "snapshot": "\(receiving.target)"])
    }

    /// Removes what only streams need. What fails here goes with the next one.
    private func removeWork(of disk: DiskRecord, _ nodes: [ImageNode]) {
        let path = folder.imagePath(disk.image)
        for node in nodes where node.name.hasPrefix(Self.workPrefix(disk.name)) {
            try? removing { () throws(ManagementError) in
                try assembly.deleteSnapshot(node.name, inImage: path, time: .current())
            }
        }
    }
}

extension [UInt8] {
    /// Two digits a byte.
    var hexadecimal: String { reduce(into: "") { $0 += ($1 < 16 ? "0" : "") + String($1, radix: 16) } }
}
