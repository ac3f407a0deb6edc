import Catalog
import Encryption
import Foundation
import Logging
import Platform
import Resources

import class Media.FamilyFile
import enum Media.ImageKeyFile
import class Media.RawDiskImage

extension ControlPlane {
    /// Makes a disk, its image unless it is given one, and its target. `fill` writes its first content, durably, from
    /// what `source` tells of; it is offered after that.
    @discardableResult
    func createDisk(
        _ name: String, _ spec: Disk.Spec, from source: String? = nil,
        filling fill: (DiskRecord, UserKey?) throws(ManagementError) -> Void = { _, _ in }
    ) throws(ManagementError) -> Resource<Disk> {
        try checkNameIsFree(name)
        let size: Int64
        let image: String
        if let external = spec.image {
            image = folder.resolved(external)
            size = try checkExternalImage(image, size: spec.size, blockSize: spec.blockSize)
            try checkHasNoProtection(externalImage: image)
            try checkIsPlain(image: image)
        } else if spec.isInMemory {
            size = Self.roundedUp(spec.size ?? 1, blockSize: spec.blockSize)
            image = Self.memoryImage(ofDisk: name)
            try Self.checkFitsMemory(name, size: size)
        } else {
            size = Self.roundedUp(spec.size ?? 1, blockSize: spec.blockSize)
            image = try newImage(ofDisk: name)
            guard !folder.exists(folder.imagePath(image)) else {
                throw ManagementError(
                    .conflict,
                    "\(folder.imagePath(image)) exists already and belongs to no disk; "
                        + "move it away and use it with --image, or remove it")
            }
            try checkHasNoProtection(newImage: folder.imagePath(image))
            try checkHasNoKey(newImage: folder.imagePath(image), isEncrypted: spec.isEncrypted)
        }
        // Before anything is made.
        let key = try userKey(ofNew: spec, disk: name)
        var stored = spec
        stored.size = size
        stored.format = spec.format ?? spec.formatWithoutChoice
        if spec.image != nil { stored.image = image }
        let wanted = stored
        let record = try query { () throws(CatalogError) in
            try catalog.addDisk(
                name: name, targetName: DeviceName.targetName(name), wanted, image: image,
                node: wanted.imageFormat == .carousel ? name : nil, imageIsExternal: spec.image != nil, created: Date())
        }
        var isComplete = false
        var hasProtection = false
        do throws(ManagementError) {
            if record.node != nil {
                try folder.createFamily(
                    at: folder.imagePath(image), size: size, blockSize: spec.blockSize, name: name, userKey: key,
                    checksums: spec.hasChecksums, compression: spec.compressionLevel)
            } else if !record.imageIsExternal, !record.spec.isInMemory {
                try folder.createImage(at: folder.imagePath(image), size: size)
                if let type = spec.protectionType {
                    try folder.createProtection(
                        ofImage: folder.imagePath(image), type, blockSize: spec.blockSize, size: size)
                    hasProtection = true
                }
                if let key {
                    try folder.createKey(
                        ofImage: folder.imagePath(image), blockSize: spec.blockSize, userKey: key)
                }
            }
            try fill(record, key)
            var new: [String: JSONValue] = [
                "size": .integer(size), "blockSize": .integer(Int64(spec.blockSize)),
                "image": .text(record.spec.isInMemory ? Self.memoryPlace : folder.imagePath(image)),
            ]
            if let source { new["source"] = .text(source) }
            let event = event("create", "disk", name, new: .object(new))
            try query { () throws(CatalogError) in
                try catalog.setPhase(.complete, ofDevice: record.identity.id, event: event)
            }
            isComplete = true
            // Not before: what initiators write now is not undone by a crash.
            try offer(record, key)
        } catch {
            takeBack(record, isComplete: isComplete, hasProtection: hasProtection)
            throw error
        }
        logger.info("disk created", metadata: ["disk": "\(name)", "size": "\(size)"])
        return try disk(name)
    }

    /// Where the image of a new disk is: a file with its name, and a number where a clone of a former disk of that name
    /// still uses the file.
    private func newImage(ofDisk name: String) throws(ManagementError) -> String {
        var number = 1
        while true {
            let image = "\(StateFolder.imageFolder)/\(name)\(number == 1 ? "" : "~\(number)").img"
            let users = try query { () throws(CatalogError) in try catalog.disks(image: image) }
            guard users.contains(where: { $0.name != name }) else { return image }
            number += 1
        }
    }

    /// Removes a disk that could not be made or started; its protection information when it was made.
    func takeBack(_ disk: DiskRecord, isComplete: Bool, hasProtection: Bool) {
        do {
            if isComplete {
                try query { () throws(CatalogError) in try catalog.setPhase(.deleting, ofDevice: disk.identity.id) }
            }
            try removeRemains(of: disk, hasProtection: hasProtection)
        } catch {
            noteRemains(of: disk.name, "disk", error)
        }
    }

    /// The disks of the page, by name.
    func disks(_ page: Page = .all) throws(ManagementError) -> [Resource<Disk>] {
        let sessions = assembly.sessionCounts()
        return try query { () throws(CatalogError) in try catalog.disks(after: page.after, limit: page.length) }
            .map { resource($0, sessions) }
    }

    func disk(_ name: String) throws(ManagementError) -> Resource<Disk> {
        resource(try diskRecord(name))
    }

    /// Makes the disk `name` what `spec` says, unless it has a loss that nobody has acknowledged. It may become larger,
    /// not smaller: initiators have no way to agree to losing blocks.
    func changeDisk(_ name: String, to spec: Disk.Spec) throws(ManagementError) -> Resource<Disk> {
        let disk = try diskRecord(name)
        if let problem = problems[name] { throw Self.unrepaired(problem) }
        if let problem = detachment(of: name) { throw ManagementError(.damaged, problem) }
        var changed = disk.spec.changed(to: spec)
        let size = Self.roundedUp(spec.size ?? disk.size, blockSize: disk.blockSize)
        changed.size = size
        try checkIsFixed(disk, changed)
        guard size >= disk.size else {
            throw ManagementError(
                .invalid,
                "disk '\(name)' has \(disk.size) bytes and cannot become smaller; make another disk and copy what fits")
        }
        if size > disk.size {
            if let loss = assembly.loss(ofDisk: disk) {
                throw ManagementError(.conflict, Self.sentence(loss, ofDisk: name))
            }
            try Effect.begin()
            if disk.spec.isInMemory { try Self.checkFitsMemory(name, size: size) }
            // The image first: after a crash in between it is longer than the catalog says, which the start adopts.
            try assembly.growDisk(disk, to: size)
        }
        let isAdjusted = disk.spec.isAdjusted(in: changed)
        if isAdjusted {
            try Effect.begin()
            // The disk first: what it promises less, or more, nobody is told of before it is so.
            try assembly.adjustDisk(disk, to: changed)
        }
        if changed != disk.spec {
            do throws(ManagementError) {
                try store(changed, of: disk)
            } catch {
                if isAdjusted { try? assembly.adjustDisk(disk, to: disk.spec) }
                guard size > disk.size else { throw error }
                setProblem(
                    "disk '\(name)' has \(size) bytes now, but the catalog says \(disk.size): \(error.message); "
                        + "'carousel disk set \(name) --size \(size)' tries again, and so does the next start",
                    of: Self.sizeProblem(name))
                throw error
            }
            setProblem(nil, of: Self.sizeProblem(name))
            logger.info("disk changed", metadata: ["disk": "\(name)", "size": "\(size)"])
        }
        return try self.disk(name)
    }

    /// The key of the problem that the catalog does not know how large the disk `name` is.
    static func sizeProblem(_ name: String) -> String { "size of disk \(name)" }

    /// Stores another spec of a disk, with the event that tells of it.
    private func store(_ spec: Disk.Spec, of disk: DiskRecord) throws(ManagementError) {
        let event = event(
            spec.size == disk.spec.size ? "change" : "resize", "disk", disk.name,
            old: .object(disk.spec.difference(from: spec)), new: .object(spec.difference(from: disk.spec)))
        try query { () throws(CatalogError) in
            try catalog.changeDisk(named: disk.name, to: spec, event: event)
        }
    }

    /// Deletes the disk `name` with its image; an external image stays.
    func deleteDisk(_ name: String) throws(ManagementError) {
        let disk = try diskRecord(name)
        let units = [disk.identity.id]
        try checkUnused(name, units: units, kind: "disk", verb: "delete")
        if !disk.imageIsExternal { try checkIsOwn(folder.imagePath(disk.image), of: name, "disk") }
        try checkHasNoSnapshots(disk)
        let hasSettings = try hasFrontEndSettings(name, units: units)
        // From here on it is deleted, whatever happens.
        let event = event(
            "delete", "disk", name,
            old: [
                "size": .integer(disk.size),
                "image": .text(disk.spec.isInMemory ? Self.memoryPlace : folder.imagePath(disk.image)),
            ])
        try query { () throws(CatalogError) in
            try catalog.setPhase(.deleting, ofDevice: disk.identity.id, event: event)
        }
        noteWithdrawn(name)
        assembly.stopDisk(disk, targetName: DeviceName.targetName(name))
        do {
            try removeRemains(of: disk)
        } catch {
            noteRemains(of: name, "disk", error)
            throw Self.unremoved("disk", name, error)
        }
        if hasSettings { forgetFrontEndSettings() }
        logger.info("disk deleted", metadata: ["disk": "\(name)"])
    }

    // MARK: Checks

    /// The refusal to change what is not served.
    static func unrepaired(_ problem: String) -> ManagementError {
        ManagementError(.damaged, "\(problem); repair it, and it is served within \(Controller.Limit.roundSeconds) s")
    }

    func diskRecord(_ name: String) throws(ManagementError) -> DiskRecord {
        guard let disk = try query({ () throws(CatalogError) in try catalog.disk(named: name) }) else {
            throw ManagementError(.notFound, "there is no disk '\(name)'; 'carousel disk list' shows those there are")
        }
        return disk
    }

    /// The disk as its image is: one that has grown, as a resize does before its row, is as large as the image.
    ///
    /// - Throws: `ManagementError.Code.damaged` when its spec cannot be read, or the image is missing, shorter than the
    ///   disk, or one of `ownFiles`, which are looked at only where there is an image.
    func adoptingLength(of disk: DiskRecord, _ ownFiles: () -> OwnFiles) throws(ManagementError) -> DiskRecord {
        if let damage = disk.damage {
            throw ManagementError(
                .damaged,
                "disk '\(disk.name)' is damaged in the catalog: \(damage); put the catalog back from a copy")
        }
        // It is made with each start.
        if disk.spec.isInMemory { return disk }
        let path = folder.imagePath(disk.image)
        let status: FileStatus
        do {
            status = try FileStatus.of(path)
        } catch {
            let reason = error.code == Errno.noSuchFile ? "is missing" : "cannot be used: \(error.reason)"
            throw ManagementError(.damaged, "disk '\(disk.name)': its image \(path) \(reason)")
        }
        guard status.kind == .regular || status.kind == .blockDevice else {
            throw ManagementError(
                .damaged, "disk '\(disk.name)': its image \(path) is neither a regular file nor a block device")
        }
        let length = disk.node == nil ? status.length : disk.size
        guard length >= disk.size else {
            throw ManagementError(
                .damaged,
                "disk '\(disk.name)': its image \(path) is truncated, with \(length) of \(disk.size) bytes")
        }
        guard length <= Disk.maximumSize else {
            throw ManagementError(
                .damaged,
                "disk '\(disk.name)': its image \(path) has \(length) bytes instead of \(disk.size), more than the "
                    + "largest disk of \(ByteSize.format(Disk.maximumSize)); 'truncate -s \(disk.size)' makes it what "
                    + "the catalog knows")
        }
        guard length == disk.size || length % Int64(disk.blockSize) == 0 else {
            throw ManagementError(
                .damaged,
                "disk '\(disk.name)': its image \(path) has \(length) bytes instead of \(disk.size), no whole blocks")
        }
        // Last, for it takes a walk through the state folder.
        let files = ownFiles()
        if let own = folder.ownPlace(ofImage: path) ?? files.path(of: status.identity) {
            throw ManagementError(
                .damaged, "disk '\(disk.name)': its image \(path) is \(own), which the daemon needs for itself")
        }
        if disk.imageIsExternal, !files.unknown.isEmpty {
            // Only a mount or a second name that somebody has made since could make it one.
            logger.warning(
                "whether an image is a file of a library whose files do not answer is not known",
                metadata: ["disk": "\(disk.name)", "libraries": "\(files.unknown.joined(separator: ", "))"])
        }
        guard length > disk.size else { return disk }
        try adopt(length, of: disk)
        return try diskRecord(disk.name)
    }

    /// Stores that a disk is as large as its image, which has grown, as a resize does before its row.
    func adopt(_ size: Int64, of disk: DiskRecord) throws(ManagementError) {
        var spec = disk.spec
        spec.size = size
        try store(spec, of: disk)
        logger.notice("disk is as large as its image", metadata: ["disk": "\(disk.name)", "size": "\(size)"])
    }

    /// The size of a disk on the existing file `image`.
    func checkExternalImage(_ image: String, size: Int64?, blockSize: Int) throws(ManagementError) -> Int64 {
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
        guard status.kind == .regular || status.kind == .blockDevice else {
            throw ManagementError(
                .invalid,
                "image \(image) is neither a regular file nor a block device; give one, or leave out --image")
        }
        try checkIsFree(image, status.identity)
        do throws(ManagementError) {
            if status.kind == .regular { try PlainFile.check(image) }
        } catch {
            throw ManagementError(
                .invalid,
                "image \(image) has another name too (a hard link), under which something else may use it; give a "
                    + "file with one name, such as a copy made with 'cp --reflink=auto'")
        }
        if (try? FamilyFile.isFamily(image)) == true {
            throw ManagementError(
                .invalid,
                "image \(image) is one or several disks with snapshots; move it into "
                    + "\(folder.path)/\(StateFolder.imageFolder) and take it up with 'carousel adopt disk'")
        }
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
        guard length <= Disk.maximumSize else {
            throw ManagementError(
                .invalid,
                "image \(image) has \(length) bytes, more than the largest disk of "
                    + ByteSize.format(Disk.maximumSize))
        }
        return length
    }

    /// How encrypted disks are.
    private static let cipherName = "aes-256-xts"

    /// Refuses the file `image` when it is the daemon's own or the medium of a disk, under this or another name.
    func checkIsFree(_ image: String, _ identity: FileStatus.Identity) throws(ManagementError) {
        let files = OwnFiles(of: folder, looks)
        if let own = files.path(of: identity) {
            throw ManagementError(
                .invalid, "image \(image) is \(own), which the daemon needs for itself; give another file")
        }
        if let library = files.unknown.first {
            throw ManagementError(
                .inUse,
                "whether image \(image) is a file of library '\(library)' cannot be told, for to look at all of them "
                    + "took too long; try again in a moment")
        }
        let journal = RawDiskImage.journalPath(ofImage: image)
        let journalIdentity = (try? FileStatus.of(journal))?.identity
        let protectionIdentity = (try? FileStatus.of(RawDiskImage.protectionPath(ofImage: image)))?.identity
        for user in try query({ () throws(CatalogError) in try catalog.disks() }) {
            let path = folder.imagePath(user.image)
            let other = (try? FileStatus.of(path))?.identity
            if other == identity {
                throw ManagementError(.conflict, "image \(image) is already the medium of disk '\(user.name)'")
            }
            if let other, other == protectionIdentity {
                throw ManagementError(
                    .conflict,
                    "the protection information of image \(image) would be the medium of disk '\(user.name)'; give it "
                        + "another name")
            }
            // The file is there, so whatever leads to it has its identity.
            if (try? FileStatus.of(RawDiskImage.journalPath(ofImage: path)))?.identity == identity {
                throw ManagementError(
                    .conflict,
                    "image \(image) has the name of the journal of disk '\(user.name)'; give it another name")
            }
            if other == nil ? isOnePlace(journal, path) : other == journalIdentity {
                throw ManagementError(
                    .conflict,
                    "the journal of image \(image) would be \(journal), the medium of disk '\(user.name)'; give it "
                        + "another name")
            }
            let protection = RawDiskImage.protectionPath(ofImage: path)
            if user.spec.isEncrypted,
                (try? FileStatus.of(ImageKeyFile.path(ofImage: path)))?.identity == identity
            {
                throw ManagementError(
                    .conflict, "image \(image) has the key of disk '\(user.name)'; give another file")
            }
            if user.spec.protection != 0, (try? FileStatus.of(protection))?.identity == identity {
                throw ManagementError(
                    .conflict, "image \(image) is the protection information of disk '\(user.name)'; give another file")
            }
        }
        try checkIsNoProtection(image)
        try checkIsNoKey(image)
    }

    /// Whether two paths that may lead nowhere are one in the end. Links of folders are followed only where the last
    /// names are the same: that looks at every folder on the way.
    private func isOnePlace(_ first: String, _ second: String) -> Bool {
        guard (first as NSString).lastPathComponent == (second as NSString).lastPathComponent else { return false }
        return folder.resolved(first) == folder.resolved(second)
    }

    /// `size` in whole blocks.
    static func roundedUp(_ size: Int64, blockSize: Int) -> Int64 {
        let block = Int64(blockSize)
        return (size + block - 1) / block * block
    }

    func resource(_ disk: DiskRecord, _ sessions: [String: Int]? = nil) -> Resource<Disk> {
        let problem = problems[disk.name]
        let detachment = detachment(of: disk.name)
        let loss = problem == nil ? assembly.loss(ofDisk: disk) : nil
        var status = Disk.Status()
        status.target = DeviceName.targetName(disk.name)
        status.sessions = (sessions ?? assembly.sessionCounts())[status.target] ?? 0
        status.state =
            switch disk.phase {
            case _ where problem != nil: .notServed
            case .creating: .creating
            case .deleting: .deleting
            case .complete: loss != nil ? .dataLost : detachment != nil ? .detached : .serving
            }
        status.image = disk.spec.isInMemory ? Self.memoryPlace : folder.imagePath(disk.image)
        status.serialNumber = disk.identity.serialNumber
        status.naa = disk.identity.naaText
        status.created = disk.created
        status.operation = assembly.operation(ofDisk: disk)
        status.problem =
            problem ?? detachment ?? loss.map { Self.sentence($0, ofDisk: disk.name) }
            ?? status.operation.flatMap { $0.state == .failed ? Self.sentence(failed: $0, ofDisk: disk.name) : nil }
            ?? assembly.cacheProblem(ofDisk: disk) ?? scheduleProblem(of: disk)
        status.loss = loss
        if disk.spec.isEncrypted { status.encryption = Self.cipherName }
        status.compression = assembly.compression(ofDisk: disk)
        if let node = disk.node, node != disk.name { status.snapshot = node }
        if disk.spec.isRemovable { status.medium = disk.isEjected ? .ejected : .loaded }
        var spec = disk.spec
        if disk.imageIsExternal { spec.image = status.image }
        return Resource(name: disk.name, spec: spec, status: status, generation: disk.generation)
    }
}
