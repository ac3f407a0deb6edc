import Bytes
import Catalog
import Foundation
import Logging
import Media
import Platform
import Resources

/// Limits of delta streams.
enum DeltaLimit {
    /// How many bytes of a stream may come until what was written is durable.
    static let unkept: Int64 = 64 << 20
    /// How many ranges that differ are asked for at a time.
    static let ranges = 4096
    /// What the name of a stream ends with that is being written.
    static let partSuffix = ".part"
}

// Snapshots that go to files as delta streams.
extension ControlPlane {
    /// The names of the snapshots that a stream is made of: what it brings, and what the receiver has; refused where no
    /// stream can be made.
    func checkDelta(
        _ arguments: Disk.Export.Arguments
    ) throws(ManagementError) -> (target: SnapshotName, origin: SnapshotName?) {
        guard SnapshotName(arguments.source) != nil else {
            throw ManagementError(
                .invalid,
                "a delta stream brings a snapshot, so that the next one can go on there; make one with "
                    + "'carousel snapshot "
                    + "create \(arguments.source)@NAME', and name that", field: "source")
        }
        guard arguments.format != .qcow2 else {
            throw ManagementError(
                .invalid, "what has changed since a snapshot is no qcow2; leave out one of them", field: "format")
        }
        let target = try SnapshotName.parse(arguments.source)
        let disk = try snapshotDisk(target.disk)
        let found = try snapshot(target, of: disk)
        guard let since = arguments.since else { return (target, nil) }
        let origin = try SnapshotName.parse(
            since.contains(SnapshotName.separator) ? since : SnapshotName(disk: target.disk, name: since).description)
        let former = try snapshotDisk(origin.disk)
        let before = try snapshot(origin, of: former)
        guard former.image == disk.image else {
            throw ManagementError(
                .conflict,
                "'\(origin)' and '\(target)' are in different images; only a disk, its snapshots and clones can be "
                    + "compared; leave out --since, and all of '\(target)' goes into the stream", field: "since")
        }
        guard origin != target else {
            throw ManagementError(.invalid, "nothing has changed between '\(target)' and itself", field: "since")
        }
        guard before.status.size <= found.status.size else {
            throw ManagementError(
                .conflict,
                "'\(target)' is smaller than '\(origin)', and a disk does not become smaller; leave out "
                    + "--since, and all "
                    + "of it goes into the stream for a new disk", field: "since")
        }
        return (target, origin)
    }

    /// Writes what `target` has, or has in another version than `origin`, to a new file. It has another name until all
    /// of it is durable; what there is of that file goes on.
    func exportDelta(
        _ target: CopySource, since origin: CopySource?, _ arguments: Disk.Export.Arguments, job: Job
    ) throws(ManagementError) {
        try checkExport(arguments)
        let path = folder.imagePath(target.disk.image)
        let total = try length(of: target, since: origin, job)
        let header = try header(of: target, since: origin, length: total)
        let part = arguments.file + DeltaLimit.partSuffix
        let file = try openPart(part)
        var kept: Int64 = 0
        do {
            var writer = try Self.writer(file, header, part, job)
            try read(target) { content throws(ManagementError) in
                var told = DeltaRanges(content: content, isWhole: origin == nil)
                var (next, done) = (writer.position.end, Int64(0))
                while true {
                    let ranges = try self.ranges(from: next, target, origin, path, content)
                    for range in ranges {
                        try told.tell(of: range) { record throws(ManagementError) in
                            try job.check()
                            try Self.put(record, &writer, part)
                            if writer.position.place - kept > DeltaLimit.unkept {
                                try Self.synchronize(file, part)
                                kept = writer.position.place
                            }
                            let inside = max(0, writer.position.end - range.lowerBound)
                            job.report(done: Int(min(done + inside, total)), of: Int(total))
                        }
                        done += range.upperBound - range.lowerBound
                    }
                    guard let last = ranges.last else { break }
                    next = last.upperBound
                }
            }
            try writer.finish()
        } catch let error as ManagementError {
            throw error
        } catch {
            throw Self.unwritten(part, error)
        }
        try Self.synchronize(file, part)
        try job.commit()
        try Self.giveName(part, arguments.file)
        var new: [String: JSONValue] = [
            "source": .text(target.name), "file": .text(arguments.file), "format": ExportFormat.delta.json,
        ]
        if let origin { new["since"] = .text(origin.name) }
        record(event("export", "disk", target.disk.name, new: .object(new)))
        logger.info("disk exported", metadata: ["source": "\(target.name)", "file": "\(arguments.file)"])
    }

    // MARK: What goes into it

    private func header(
        of target: CopySource, since origin: CopySource?, length: Int64
    ) throws(ManagementError) -> DeltaHeader {
        let snapshots = try assembly.snapshots(inImage: folder.imagePath(target.disk.image))
        func version(_ name: String) throws(ManagementError) -> DeltaHeader.Version {
            guard let found = snapshots.first(where: { $0.name == name }), let version = found.version else {
                throw ManagementError(.notFound, "there is no snapshot '\(name)' any more")
            }
            return version
        }
        var random = SystemRandomNumberGenerator()
        return DeltaHeader(
            uuid: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }, target: try version(target.name),
            origin: try origin.map { origin throws(ManagementError) in try version(origin.name) },
            blockSize: target.disk.blockSize, length: length)
    }

    /// The next bytes from `offset` on that have to be told of; none at the end.
    private func ranges(
        from offset: Int64, _ target: CopySource, _ origin: CopySource?, _ path: String, _ content: any DiskContent
    ) throws(ManagementError) -> [Range<Int64>] {
        guard let origin else { return try content.next(from: offset).map { [$0] } ?? [] }
        return try assembly.differences(
            inImage: path, from: origin.name, to: target.name, after: offset, limit: DeltaLimit.ranges)
    }

    private func length(
        of target: CopySource, since origin: CopySource?, _ job: Job
    ) throws(ManagementError) -> Int64 {
        var length: Int64 = 0
        guard let origin else {
            try read(target) { content throws(ManagementError) in length = try ContentCopy.length(of: content, job) }
            return length
        }
        var offset: Int64 = 0
        while true {
            try job.check()
            let ranges = try assembly.differences(
                inImage: folder.imagePath(target.disk.image), from: origin.name, to: target.name, after: offset,
                limit: DeltaLimit.ranges)
            length += ranges.reduce(0) { $0 + $1.upperBound - $1.lowerBound }
            guard ranges.count == DeltaLimit.ranges, let last = ranges.last else { return length }
            offset = last.upperBound
        }
    }

    // MARK: The file

    /// The file of a stream that is being written, made unless it is there. Nobody else writes it, nor may read it.
    private func openPart(_ path: String) throws(ManagementError) -> File {
        do throws(SystemError) {
            do throws(SystemError) {
                let file = try File.open(
                    path: path, [.readWrite, .create, .exclusive, .noFollow], permissions: 0o600)
                guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock") }
                return file
            } catch {
                guard error.code == Errno.fileExists else { throw error }
            }
            return try Self.openBegun(path)
        } catch {
            switch error.code {
            case Errno.wouldBlock:
                throw ManagementError(.inUse, "\(path) is being written by somebody else; wait for that")
            case Errno.fileExists, Errno.isLink:
                throw ManagementError(
                    .conflict,
                    "\(path) is there, and is not what a former export has left: no regular file with one name that "
                        + "only the daemon's user may use; give another name, or move it away", field: "file")
            default:
                throw ManagementError(
                    .system,
                    "\(path) cannot be made: \(error.reason); its folder must be there, and the daemon's user must be "
                        + "able to write there")
            }
        }
    }

    /// The file that a former export has left: what others have put there is refused with EEXIST.
    private static func openBegun(_ path: String) throws(SystemError) -> File {
        let found = try FileStatus.of(path, followsLinks: false)
        // A pipe would keep the opening waiting.
        guard found.kind == .regular else { throw SystemError(code: Errno.fileExists, operation: "open") }
        let file = try File.open(path: path, [.readWrite, .noFollow])
        guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock") }
        let status = try file.status()
        guard status.identity == found.identity, status.kind == .regular, status.linkCount == 1,
            status.owner == geteuid(), status.permissions & 0o077 == 0
        else { throw SystemError(code: Errno.fileExists, operation: "open") }
        return file
    }

    private static func writer(
        _ file: File, _ header: DeltaHeader, _ path: String, _ job: Job
    ) throws(ManagementError) -> DeltaWriter {
        do throws(DeltaError) {
            let length: Int64
            do throws(SystemError) { length = try file.size() } catch { throw .failed(error.code) }
            if length < Int64(DeltaHeader.byteCount) {
                // Not even the header of one that was begun is whole.
                let code = file.truncate(to: 0)
                guard code == 0 else { throw .failed(code) }
                return try DeltaWriter(file, header)
            }
            if let writer = try DeltaWriter.continuing(file, as: header, { job.isStopping }) { return writer }
        } catch {
            throw unwritten(path, error)
        }
        try job.check()
        throw ManagementError(
            .conflict,
            "\(path) is there, and is not the beginning of this stream; give another name, or remove it", field: "file")
    }

    private static func put(
        _ record: DeltaRecord, _ writer: inout DeltaWriter, _ path: String
    ) throws(ManagementError) {
        do throws(DeltaError) {
            switch record {
            case .data(let offset, let bytes): try writer.append(bytes, at: offset)
            case .nothing(let range): try writer.append(nothing: range)
            case .end: break
            }
        } catch {
            throw unwritten(path, error)
        }
    }

    private static func synchronize(_ file: File, _ path: String) throws(ManagementError) {
        let code = file.synchronize()
        guard code == 0 else { throw unwritten(path, DeltaError.failed(code)) }
    }

    private static func unwritten(_ path: String, _ error: any Error) -> ManagementError {
        ManagementError(
            .system, "\(path) cannot be written: \(error); what is there stays, and the same command goes on with it")
    }

    /// Gives the whole stream its name, where nothing is.
    private static func giveName(_ part: String, _ path: String) throws(ManagementError) {
        do throws(SystemError) {
            try File.rename(part, toNew: path)
        } catch {
            guard error.code != Errno.fileExists else {
                throw ManagementError(
                    .conflict,
                    "\(path) is there now; the stream is \(part), and the same command with another name makes it anew",
                    field: "file")
            }
            throw unwritten(path, DeltaError.failed(error.code))
        }
        do throws(SystemError) {
            try File.synchronizeDirectory(path: (path as NSString).deletingLastPathComponent)
        } catch {
            throw ManagementError(
                .system,
                "\(path) is whole, but its name is not known to be durable: \(error.reason); look at it after a power "
                    + "failure")
        }
    }
}

extension ImageSnapshot {
    /// What a stream says of it; nil of one that says nothing of itself.
    var version: DeltaHeader.Version? {
        guard let time = CalendarTime(created), uuid.count == 16 else { return nil }
        return DeltaHeader.Version(
            identity: SnapshotIdentity(uuid: uuid, time: time), name: name, capacity: size)
    }
}

/// What there is in ranges of a disk, record by record.
private struct DeltaRanges {
    let content: any DiskContent
    /// Whether what is not told of is zeros.
    let isWhole: Bool
    /// What holds something next; nil: not known. An empty one is behind everything.
    private var run: Range<Int64>?

    init(content: any DiskContent, isWhole: Bool) {
        (self.content, self.isWhole) = (content, isWhole)
    }

    /// Gives `put` what there is in a range.
    mutating func tell(
        of range: Range<Int64>, _ put: (DeltaRecord) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        var place = range.lowerBound
        while place < range.upperBound {
            if run.map({ !$0.isEmpty && $0.upperBound <= place }) ?? true {
                run = try content.next(from: place) ?? Int64.max..<Int64.max
            }
            let next = run ?? Int64.max..<Int64.max
            guard next.lowerBound <= place else {
                let end = min(next.lowerBound, range.upperBound)
                if !isWhole { try put(.nothing(place..<end)) }
                place = end
                continue
            }
            let piece = Int64(DeltaRecord.dataLimit)
            let end = min(next.upperBound, range.upperBound, (place / piece + 1) * piece)
            var bytes = [UInt8](repeating: 0, count: Int(end - place))
            if let failure = bytes.modifyBytes({ content.read(into: &$0, at: place) }) { throw failure }
            if !bytes.rawSpan.isAllZero {
                try put(.data(place, bytes))
            } else if !isWhole {
                try put(.nothing(place..<end))
            }
            place = end
        }
    }
}
