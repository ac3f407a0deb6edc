import Catalog
import Foundation
import Logging
import Platform

extension Controller {
    /// The largest disk: what ext4 and XFS both hold sparsely is less, and then the file system says so.
    static let maximumDiskSize: Int64 = 1 << 50

    /// Makes a disk, its image unless it is given one, and its target.
    @discardableResult
    public func createDisk(_ request: DiskCreation) throws(ManagementError) -> DiskSummary {
        try DeviceName.check(request.name, of: "disk")
        let blockSize = request.blockSize ?? 512
        guard blockSize == 512 || blockSize == 4096 else {
            throw ManagementError(.invalid, "block size \(blockSize) is not offered; use 512 or 4096")
        }
        try checkNameIsFree(request.name)
        let size: Int64
        let image: String
        if let external = request.image {
            image = folder.resolved(external)
            size = try checkExternalImage(image, size: request.size, blockSize: blockSize)
        } else {
            guard let requested = request.size else {
                throw ManagementError(.invalid, "disk '\(request.name)' needs a size; give it with --size, as in 1GiB")
            }
            size = try Self.roundedUp(requested, blockSize: blockSize)
            image = "\(StateFolder.imageFolder)/\(request.name).img"
            guard !folder.exists(folder.imagePath(image)) else {
                throw ManagementError(
                    .conflict,
                    "\(folder.imagePath(image)) exists already and belongs to no disk; "
                        + "move it away and use it with --image, or remove it")
            }
        }
        let record = try query { () throws(CatalogError) in
            try catalog.addDisk(
                name: request.name, targetName: DeviceName.targetName(request.name), image: image,
                imageIsExternal: request.image != nil, size: size, blockSize: blockSize, created: Date())
        }
        var isComplete = false
        do throws(ManagementError) {
            if !record.imageIsExternal { try folder.createImage(at: folder.imagePath(image), size: size) }
            try query { () throws(CatalogError) in try catalog.setPhase(.complete, ofDevice: record.identity.id) }
            isComplete = true
            // Not before: what initiators write now is not undone by a crash.
            try assembly.startDisk(
                record, imagePath: folder.imagePath(image), targetName: DeviceName.targetName(request.name))
        } catch {
            takeBack(record, isComplete: isComplete)
            throw error
        }
        logger.info("disk created", metadata: ["disk": "\(request.name)", "size": "\(size)"])
        return try disk(request.name)
    }

    /// Removes a disk that could not be made or started.
    private func takeBack(_ disk: DiskRecord, isComplete: Bool) {
        do {
            if isComplete {
                try query { () throws(CatalogError) in try catalog.setPhase(.deleting, ofDevice: disk.identity.id) }
            }
            try removeRemains(of: disk)
        } catch {
            noteRemains(of: disk.name, "disk", error)
        }
    }

    /// The disks by name.
    public func disks() throws(ManagementError) -> [DiskSummary] {
        let sessions = assembly.sessionCounts()
        return try query { () throws(CatalogError) in try catalog.disks() }.map { summary(of: $0, sessions) }
    }

    public func disk(_ name: String) throws(ManagementError) -> DiskSummary {
        summary(of: try diskRecord(name))
    }

    /// Makes the disk `name` larger, unless it has a loss that nobody has acknowledged. It cannot become smaller:
    /// initiators have no way to agree to losing blocks.
    public func resizeDisk(_ name: String, _ request: DiskResize) throws(ManagementError) -> DiskSummary {
        let disk = try diskRecord(name)
        if let problem = problems[name] {
            throw ManagementError(.damaged, "\(problem); repair it and start the daemon again")
        }
        let size = try Self.roundedUp(request.size, blockSize: disk.blockSize)
        guard size >= disk.size else {
            throw ManagementError(
                .invalid,
                "disk '\(name)' has \(disk.size) bytes and cannot become smaller; make another disk and copy what fits")
        }
        if size > disk.size {
            if let loss = assembly.loss(ofDisk: disk) {
                throw ManagementError(.conflict, Self.sentence(loss, ofDisk: name))
            }
            // The image first: after a crash in between it is longer than the catalog says, which the start adopts.
            try assembly.growDisk(disk, to: size)
            try query { () throws(CatalogError) in try catalog.setSize(size, ofDisk: name) }
            logger.info("disk resized", metadata: ["disk": "\(name)", "size": "\(size)"])
        }
        return try self.disk(name)
    }

    /// Deletes the disk `name` with its image; an external image stays.
    public func deleteDisk(_ name: String) throws(ManagementError) {
        let disk = try diskRecord(name)
        let units = [disk.identity.id]
        try checkUnused(name, units: units, kind: "disk", verb: "delete")
        let hasSettings = try hasFrontEndSettings(name, units: units)
        // From here on it is deleted, whatever happens.
        try query { () throws(CatalogError) in try catalog.setPhase(.deleting, ofDevice: disk.identity.id) }
        assembly.stopDisk(disk, targetName: DeviceName.targetName(name))
        do {
            try removeRemains(of: disk)
        } catch {
            noteRemains(of: name, "disk", error)
            throw error
        }
        if hasSettings { forgetFrontEndSettings() }
        logger.info("disk deleted", metadata: ["disk": "\(name)"])
    }

    // MARK: Checks

    func diskRecord(_ name: String) throws(ManagementError) -> DiskRecord {
        guard let disk = try query({ () throws(CatalogError) in try catalog.disk(named: name) }) else {
            throw ManagementError(.notFound, "there is no disk '\(name)'; 'carousel disk list' shows those there are")
        }
        return disk
    }

    /// The disk as its image is: one that has grown, as a resize does before its row, is as large as the image.
    ///
    /// - Throws: `ManagementError.Code.damaged` when the image is missing, shorter than the disk, or one of `ownFiles`.
    func adoptingLength(of disk: DiskRecord, _ ownFiles: OwnFiles) throws(ManagementError) -> DiskRecord {
        let path = folder.imagePath(disk.image)
        let status: FileStatus
        do {
            status = try FileStatus.of(path)
        } catch {
            let reason = error.code == Errno.noSuchFile ? "is missing" : "cannot be used: \(error.reason)"
            throw ManagementError(.damaged, "disk '\(disk.name)': its image \(path) \(reason)")
        }
        guard status.kind == .regular else {
            throw ManagementError(.damaged, "disk '\(disk.name)': its image \(path) is no regular file")
        }
        if let own = ownFiles.path(of: status.identity) {
            throw ManagementError(
                .damaged, "disk '\(disk.name)': its image \(path) is \(own), which the daemon needs for itself")
        }
        let length = status.length
        guard length >= disk.size else {
            throw ManagementError(
                .damaged,
                "disk '\(disk.name)': its image \(path) is truncated, with \(length) of \(disk.size) bytes")
        }
        guard length > disk.size else { return disk }
        guard length % Int64(disk.blockSize) == 0 else {
            throw ManagementError(
                .damaged,
                "disk '\(disk.name)': its image \(path) has \(length) bytes instead of \(disk.size), no whole blocks")
        }
        try query { () throws(CatalogError) in try catalog.setSize(length, ofDisk: disk.name) }
        logger.notice("disk is as large as its image", metadata: ["disk": "\(disk.name)", "size": "\(length)"])
        return try diskRecord(disk.name)
    }

    /// The size of a disk on the existing file `image`.
    private func checkExternalImage(_ image: String, size: Int64?, blockSize: Int) throws(ManagementError) -> Int64 {
        try folder.checkPlace(ofImage: image)
        let status: FileStatus
        do {
            status = try FileStatus.of(image)
        } catch {
            guard error.code == Errno.noSuchFile else {
                throw ManagementError(.invalid, "image \(image) cannot be used: \(error.reason)")
            }
            throw ManagementError(
                .invalid,
                "image \(image) does not exist; make it with 'truncate -s SIZE \(image)', or leave out --image")
        }
        guard status.kind == .regular else {
            throw ManagementError(.invalid, "image \(image) is no regular file; give one, or leave out --image")
        }
        try checkIsFree(image, status.identity)
        let length = status.length
        if let size, length != size {
            throw ManagementError(
                .invalid,
                "image \(image) has \(length) bytes, \(length < size ? "fewer" : "more") than the \(size) of --size; "
                    + "leave out --size to use it as it is")
        }
        guard length > 0, length % Int64(blockSize) == 0 else {
            throw ManagementError(
                .invalid, "image \(image) has \(length) bytes, which are not whole blocks of \(blockSize)")
        }
        guard length <= Self.maximumDiskSize else { throw Self.tooLarge(length) }
        return length
    }

    /// Refuses the file `image` when it is the daemon's own or the medium of a disk, under this or another name.
    private func checkIsFree(_ image: String, _ identity: FileStatus.Identity) throws(ManagementError) {
        if let own = OwnFiles(of: folder).path(of: identity) {
            throw ManagementError(
                .invalid, "image \(image) is \(own), which the daemon needs for itself; give another file")
        }
        for user in try query({ () throws(CatalogError) in try catalog.disks() }) {
            guard let other = try? FileStatus.of(folder.imagePath(user.image)), other.identity == identity else {
                continue
            }
            throw ManagementError(.conflict, "image \(image) is already the medium of disk '\(user.name)'")
        }
    }

    /// `size` in whole blocks.
    private static func roundedUp(_ size: Int64, blockSize: Int) throws(ManagementError) -> Int64 {
        guard size > 0 else {
            throw ManagementError(.invalid, "size \(size) is nothing; give at least one block of \(blockSize) bytes")
        }
        guard size <= maximumDiskSize else { throw tooLarge(size) }
        let block = Int64(blockSize)
        return (size + block - 1) / block * block
    }

    private static func tooLarge(_ size: Int64) -> ManagementError {
        ManagementError(
            .invalid,
            "size \(size) is more than the largest disk of \(ByteSize.format(maximumDiskSize)); give a smaller one")
    }

    private func summary(of disk: DiskRecord, _ sessions: [String: Int]? = nil) -> DiskSummary {
        let target = DeviceName.targetName(disk.name)
        let problem = problems[disk.name]
        let loss = problem == nil ? assembly.loss(ofDisk: disk) : nil
        return DiskSummary(
            name: disk.name, size: disk.size, blockSize: disk.blockSize, image: folder.imagePath(disk.image),
            imageIsExternal: disk.imageIsExternal, target: target,
            serialNumber: disk.identity.serialNumber, naa: disk.identity.naaText, created: disk.created,
            sessions: (sessions ?? assembly.sessionCounts())[target] ?? 0,
            state: problem != nil ? .notServed : loss != nil ? .dataLost : .serving,
            problem: problem ?? loss.map { Self.sentence($0, ofDisk: disk.name) }, loss: loss)
    }
}
