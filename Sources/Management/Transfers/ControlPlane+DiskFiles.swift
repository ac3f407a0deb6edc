import Bytes
import Catalog
import Encryption
import Foundation
import Logging
import Media
import Platform
import Resources

// Content of disks that goes to files of the host, or comes from there.
extension ControlPlane {
    // MARK: Export

    /// Refuses what makes no file.
    func checkExport(_ arguments: Disk.Export.Arguments) throws(ManagementError) {
        let path = arguments.file
        try checkIsOutside(path)
        guard !folder.exists(path) else {
            throw ManagementError(
                .conflict, "\(path) exists already; give another name, or move it away", field: "file")
        }
        if arguments.format == .qcow2 { _ = try ImageTool() }
    }

    /// Refuses a place in the state folder, or where folders in it lead.
    func checkIsOutside(_ path: String) throws(ManagementError) {
        let own = [folder.path] + [StateFolder.imageFolder, "libraries", "profiles"].map { folder.path + "/" + $0 }
        let places = [path, folder.resolved(path)].map { ($0 as NSString).deletingLastPathComponent }
        guard !own.contains(where: { own in places.contains { StateFolder.isWithin(own, $0) } }) else {
            throw ManagementError(
                .invalid, "\(path) lies in the daemon's state folder; give a file outside of it", field: "file")
        }
    }

    /// Writes the content of `source` to a new file. It gets its name when all of it is durable.
    func exportDisk(
        _ source: CopySource, _ arguments: Disk.Export.Arguments, job: Job
    ) throws(ManagementError) {
        try checkExport(arguments)
        let place = (arguments.file as NSString).deletingLastPathComponent
        let isRaw = arguments.format == .raw
        // The blocks in between need no name.
        let blocks = try FileInMaking(in: place, isScratch: !isRaw)
        try blocks.setLength(source.size)
        // Those of another format are written twice.
        let parts = isRaw ? 1 : 2
        var done = 0
        try read(source) { content throws(ManagementError) in
            try ContentCopy.copy(
                content, job: job,
                report: { part, total in
                    done = part
                    job.report(done: part, of: total * parts)
                }
            ) { bytes, offset throws(ManagementError) in try blocks.write(bytes, offset) }
        }
        var whole = blocks
        if !isRaw {
            whole = try FileInMaking(in: place)
            let half = done
            try ImageTool().write(blocks.file, as: arguments.format, to: whole.file, job: job) { part in
                job.report(done: half + Int(Double(half) * part), of: half * 2)
            }
        }
        try whole.synchronize()
        try job.commit()
        try whole.give(name: arguments.file)
        record(
            event(
                "export", "disk", source.disk.name,
                new: [
                    "source": .text(source.name), "file": .text(arguments.file), "format": arguments.format.json,
                ]))
        logger.info("disk exported", metadata: ["source": "\(source.name)", "file": "\(arguments.file)"])
    }

    // MARK: Import

    /// Refuses what makes no disk.
    func checkImport(_ arguments: Disk.Import.Arguments) throws(ManagementError) {
        if arguments.isDelta { return try checkReceiving(arguments) }
        try checkNameIsFree(arguments.name)
        try Self.checkIsStored(arguments.format, arguments.file)
        let (file, _) = try openForeign(arguments.file)
        if try foreignFormat(of: file, arguments) != nil { _ = try ImageTool() }
    }

    /// Refuses what is longer than any disk, whatever its format is.
    static func checkLength(_ length: Int64, _ path: String) throws(ManagementError) {
        guard length > 0, length <= Disk.maximumSize else {
            throw ManagementError(
                .invalid, "\(path) has \(length) bytes, and 1 to \(Disk.maximumSize) are possible", field: "file")
        }
    }

    /// Opens a file that nobody uses as a disk, and that is no longer than a disk.
    func openForeign(_ path: String) throws(ManagementError) -> (file: File, status: FileStatus) {
        try checkIsOutside(path)
        do {
            let found = try FileStatus.of(path)
            guard found.kind == .regular || found.kind == .blockDevice else {
                throw ManagementError(
                    .invalid, "\(path) is neither a regular file nor a block device", field: "file")
            }
            // To open what has come into its place meanwhile waits for nobody.
            let file = try File.open(path: path, .nonBlocking)
            guard try file.status().identity == found.identity else {
                throw ManagementError(.conflict, "\(path) was replaced meanwhile; try again", field: "file")
            }
            try checkIsFree(path, found.identity)
            try Self.checkLength(found.length, path)
            return (file, found)
        } catch let error as ManagementError {
            throw error
        } catch {
            throw ManagementError(.invalid, "\(path) cannot be read: \(StateFolder.reason(error))", field: "file")
        }
    }

    private func foreignFormat(
        of file: File, _ arguments: Disk.Import.Arguments
    ) throws(ManagementError) -> ForeignFormat? {
        let header = try Self.header(of: file, arguments.file)
        let format: ForeignFormat?
        switch arguments.sourceFormat {
        case nil: format = try ForeignFormat.of(header, arguments.file)
        case .raw: format = nil
        case .qcow2: format = .qcow2
        case .vmdk: format = .vmdk
        case .vhdx: format = .vhdx
        }
        if let format {
            try format.check(header, arguments.file)
        } else {
            try checkIsNoFamily(file, arguments.file)
        }
        return format
    }

    /// Refuses an image of a disk with snapshots: its bytes are not those of one disk.
    private func checkIsNoFamily(_ file: File, _ path: String) throws(ManagementError) {
        let isFamily: Bool
        do throws(SystemError) {
            isFamily = try FamilyFile.isFamily(file)
        } catch {
            throw ManagementError(.system, "\(path) cannot be read: \(error.reason)")
        }
        guard !isFamily else {
            throw ManagementError(
                .conflict,
                "\(path) is one or several disks with snapshots, not the content of one; copy it into "
                    + "\(folder.path)/\(StateFolder.imageFolder) and take it up with 'carousel adopt disk'",
                field: "file")
        }
    }

    private static func header(of file: File, _ path: String) throws(ManagementError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: ForeignFormat.headerLength)
        switch bytes.modifyBytes({ file.read(into: &$0, fileOffset: 0) }) {
        case .done(let count): return Array(bytes[..<count])
        case .failed(let code):
            throw ManagementError(
                .system, "\(path) cannot be read: \(SystemError(code: code, operation: "read").reason)")
        case .wouldBlock: return []
        }
    }

    /// Makes a disk with what is in a file.
    func importDisk(_ arguments: Disk.Import.Arguments, job: Job) throws(ManagementError) {
        try checkImport(arguments)
        let (file, status) = try openForeign(arguments.file)
        guard let format = try foreignFormat(of: file, arguments) else {
            let content = Self.content(file, status.length, arguments)
            return try makeDisk(
                arguments, content, job,
                check: { () throws(ManagementError) in
                    guard (try? file.status()) == status else {
                        throw ManagementError(
                            .inUse, "\(arguments.file) was written while it was read; keep others away and try again")
                    }
                })
        }
        // Nobody can change what nobody else has: what is checked is what is read.
        let tool = try ImageTool()
        let place = folder.path + "/" + StateFolder.imageFolder
        if !folder.exists(place) { try folder.createFolder(place) }
        let image = try FileInMaking(in: place, isScratch: true)
        let length = Int(status.length)
        try ContentCopy.copy(
            Self.content(file, status.length, arguments), job: job,
            report: { done, total in job.report(done: done, of: total + 2 * length) }
        ) { bytes, offset throws(ManagementError) in try image.write(bytes, offset) }
        try image.setLength(status.length)
        try format.check(try Self.header(of: image.file, arguments.file), arguments.file)
        let size = try format.checkedSize(
            try tool.information(of: image.file, format), image.file, arguments.file)
        try tool.check(image.file, format, arguments.file, job: job)
        let blocks = try FileInMaking(in: place, isScratch: true)
        try tool.read(image.file, format, to: blocks.file, job: job) { part in
            job.report(done: length + Int(Double(length) * part), of: 3 * length)
        }
        try makeDisk(
            arguments, Self.content(blocks.file, size, arguments), job,
            report: { done, total in
                job.report(
                    done: 2 * length + Int(Double(length) * Double(done) / Double(max(total, 1))), of: 3 * length)
            })
    }

    private static func content(_ file: File, _ size: Int64, _ arguments: Disk.Import.Arguments) -> FileContent {
        let blockSize = arguments.blockSize ?? Disk.Spec().blockSize
        return FileContent(
            file: file, capacity: roundedUp(size, blockSize: blockSize), blockSize: blockSize, name: arguments.file)
    }

    private func makeDisk(
        _ arguments: Disk.Import.Arguments, _ content: FileContent, _ job: Job,
        report: ((_ done: Int, _ total: Int) -> Void)? = nil, check: () throws(ManagementError) -> Void = {}
    ) throws(ManagementError) {
        var spec = Disk.Spec(size: content.capacity, blockSize: content.blockSize)
        spec.format = arguments.format
        try createDisk(arguments.name, spec, from: arguments.file) { disk, key throws(ManagementError) in
            try fill(disk, key, with: content, job, report: report)
            try check()
            // What initiators write from now on is not taken away by whoever cancels.
            try job.commit()
        }
        logger.info("disk imported", metadata: ["disk": "\(arguments.name)", "file": "\(arguments.file)"])
    }
}
