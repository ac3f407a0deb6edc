import Catalog
import Encryption
import Foundation
import Logging
import Platform
import Resources

import enum Media.ImageKeyFile
import class Media.RawDiskImage

// Copies of all that the daemon keeps, while it serves.
extension ControlPlane {
    /// What is copied.
    private struct Source {
        /// Where it is, and where it gets in the backup.
        let path: String
        let name: String
        /// What it is, for sentences.
        let thing: String
    }

    /// With what it was at first.
    private typealias StampedSource = (source: Source, stamp: FileStatus)

    /// How far a backup is.
    enum BackupStep: Equatable {
        /// Catalog, secrets, tokens and profiles are copied, and the media follow.
        case media
        /// This file of a medium is copied.
        case copied(String)
    }

    /// Copies catalog, secrets and profiles, and with `hasMedia` images and cartridges, to `folder`, which is new or
    /// empty. When it fails, nothing of it is left there. `observer` hears how far it is.
    func backUp(
        to folder: String, hasMedia: Bool, job: Job? = nil, observer: (BackupStep) -> Void = { _ in }
    ) throws(ManagementError) {
        guard !self.folder.exists(self.folder.journalPath) else {
            throw ManagementError(
                .conflict, "an interrupted change of the configuration is not taken back yet; start the daemon again")
        }
        if hasMedia, let check, check.isRunning, check.repairs {
            throw ManagementError(
                .inUse,
                "job \(check.status.job), a check, may repair media; wait for its end with 'carousel job wait "
                    + "\(check.status.job)', or cancel it")
        }
        var target = try BackupFolder(folder, formerPermissions: try prepare(folder))
        do throws(ManagementError) {
            try fill(&target, hasMedia: hasMedia, job, observer)
        } catch {
            target.removeAll()
            throw error
        }
    }

    /// Makes the folder, for the owner only; when an empty one is there, what others were allowed to do with it.
    private func prepare(_ folder: String) throws(ManagementError) -> UInt32? {
        guard folder.hasPrefix("/") else {
            throw ManagementError(.invalid, "'\(folder)' is no absolute path of a folder")
        }
        guard !StateFolder.isEntangled(self.folder.path, folder) else {
            let isAround =
                StateFolder.isWithin(folder, self.folder.path) && !StateFolder.isWithin(self.folder.path, folder)
            throw ManagementError(
                .invalid,
                isAround
                    ? "the state folder lies in \(folder); back up to a folder of its own"
                    : "\(folder) lies in the state folder, or where its media are; back up to another place")
        }
        if let status = try? FileStatus.of(folder) {
            guard status.kind == .directory else {
                throw ManagementError(.conflict, "\(folder) is there and is no folder; give a new one")
            }
            guard self.folder.names(in: folder).isEmpty else {
                throw ManagementError(.conflict, "\(folder) is there and not empty; give a new folder")
            }
            // The owner could put anything in the place of what the backup has.
            guard status.owner == geteuid() else {
                throw ManagementError(
                    .conflict,
                    "\(folder) belongs to another user (uid \(status.owner)) than the daemon; give a new folder, or "
                        + "make it the daemon's with 'chown'")
            }
            do {
                try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder)
            } catch {
                throw ManagementError(.system, "\(folder) cannot be closed to others: \(StateFolder.reason(error))")
            }
            return status.permissions
        }
        guard !self.folder.exists(folder) else {
            throw ManagementError(.conflict, "\(folder) is a link that leads nowhere; give a new folder")
        }
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ManagementError(
                .system,
                "cannot make \(folder): \(StateFolder.reason(error)); its parent must be there, and the daemon's user "
                    + "must be able to write there")
        }
        return nil
    }

    private func fill(
        _ target: inout BackupFolder, hasMedia: Bool, _ job: Job?, _ observer: (BackupStep) -> Void
    ) throws(ManagementError) {
        let folder = target.path
        let media = hasMedia ? try stampedMedia() : []
        var files: [String: FileSeal] = [:]
        let catalogName = (self.folder.catalogPath as NSString).lastPathComponent
        // Made before it is filled, so that nobody else's file of that name is taken for it.
        try target.make(catalogName)
        do throws(CatalogError) {
            try catalog.copy(to: folder + "/" + catalogName)
        } catch {
            throw ManagementError(.system, "the catalog cannot be copied to \(folder): \(error)")
        }
        if hasMedia { try checkAreAsBefore(media) }
        files[catalogName] = try FileCopy.seal(folder + "/" + catalogName)
        let settings = settingSources()
        // With the catalog.
        let count = 1 + settings.count + media.count
        for (index, source) in settings.enumerated() {
            job?.report(done: 1 + index, of: count)
            files[source.name] = try copy(source, to: &target, job)
        }
        observer(.media)
        var first = media.startIndex
        for (index, (source, _)) in media.enumerated() {
            job?.report(done: 1 + settings.count + index, of: count)
            files[source.name] = try copy(source, to: &target, job)
            observer(.copied(source.name))
            guard index + 1 == media.count || media[index + 1].source.thing != source.thing else { continue }
            // The files of a medium fit each other, and the catalog, if none was written since that was copied. What
            // becomes of it from here on is not in the backup.
            try checkAreUnwritten(media[first...index])
            first = index + 1
        }
        try synchronizeFolders(of: files.keys, in: folder)
        let manifest = BackupManifest(
            version: BackupManifest.version, program: Controller.version, created: Date(), hasMedia: hasMedia,
            files: files)
        guard let bytes = try? APICoding.encode(manifest, isIndented: true) else {
            throw ManagementError(.internal, "the manifest of a backup cannot be written down")
        }
        // The last file makes it one: not of a folder that does not have the others.
        try target.check()
        try target.make(BackupManifest.fileName, Array(bytes))
        try synchronizeFolders(of: [], in: folder)
        job?.report(done: count, of: count)
        logger.notice("backed up", metadata: ["folder": "\(folder)", "files": "\(files.count)"])
    }

    /// The files of tokens, secrets and profiles.
    private func settingSources() -> [Source] {
        var sources: [Source] = []
        if folder.exists(folder.tokensPath) {
            sources.append(Source(path: folder.tokensPath, name: "tokens.json", thing: "the tokens"))
        }
        if folder.exists(folder.secretsPath) {
            sources.append(Source(path: folder.secretsPath, name: "chap.json", thing: "the secrets"))
        }
        // Those of another folder too, which count more than the state folder's own of the same name.
        var profiles: [String: String] = [:]
        for place in self.profiles.folders {
            for name in folder.names(in: place) where name.hasSuffix(".json") { profiles[name] = place + "/" + name }
        }
        for (name, path) in profiles.sorted(by: { $0.key < $1.key }) {
            sources.append(Source(path: path, name: "profiles/" + name, thing: "profile \(name)"))
        }
        return sources
    }

    /// The files of all media, with what they are at this moment.
    private func stampedMedia() throws(ManagementError) -> [StampedSource] {
        var stamped: [StampedSource] = []
        for source in try mediaSources() { stamped.append((source, try stamp(source))) }
        return stamped
    }

    /// Refuses when there are other media than before, when they are not what they were, or when somebody may write one
    /// now: the catalog that was copied in between tells of these.
    private func checkAreAsBefore(_ media: [StampedSource]) throws(ManagementError) {
        guard try mediaSources().map(\.name) == media.map(\.source.name) else {
            throw ManagementError(.conflict, "media were made or deleted meanwhile; try again")
        }
        try checkAreUnwritten(media[...])
    }

    /// Refuses when one of the files was written, replaced or removed since it was stamped.
    private func checkAreUnwritten(_ media: ArraySlice<StampedSource>) throws(ManagementError) {
        for (source, stamp) in media {
            guard try self.stamp(source) == stamp else { throw Self.wasWritten(source) }
        }
    }

    private static func wasWritten(_ source: Source) -> ManagementError {
        ManagementError(
            .inUse,
            "\(source.thing) was written or loaded while it was copied; keep initiators away from it and try again")
    }

    /// The names of the disks and libraries whose media lie in the state folder.
    func namesOfOwnMedia() throws(ManagementError) -> [String] {
        let disks = try query { () throws(CatalogError) in try catalog.disks() }
        return disks.filter { !$0.imageIsExternal }.map(\.name)
            + (try query { () throws(CatalogError) in try catalog.libraries() }).map(\.name)
    }

    /// The files of all media that lie in the state folder. Refused while somebody may write one.
    private func mediaSources() throws(ManagementError) -> [Source] {
        var sources: [Source] = []
        for disk in try query({ () throws(CatalogError) in try catalog.disks() })
        where disk.phase == .complete && !disk.imageIsExternal && !disk.spec.isInMemory {
            let thing = "disk '\(disk.name)'"
            try checkUnused(disk.name, units: [disk.identity.id], kind: "disk", verb: "copy")
            try checkIsWhole(disk)
            // Twice: the second one confirms the frame of the first, and after it nothing is written any more.
            if disk.node != nil { for _ in 0..<2 { try assembly.synchronize(disk) } }
            // Clones and their origin are in one file.
            if sources.contains(where: { $0.name == disk.image }) { continue }
            sources.append(Source(path: folder.imagePath(disk.image), name: disk.image, thing: thing))
            if disk.spec.isEncrypted {
                let path = folder.imagePath(disk.image)
                if let problem = ImageKeyFile.problem(
                    ofImage: path, content: disk.node == nil ? .blocks : .family, blockSize: disk.blockSize),
                    !problem.isUsable
                {
                    throw Self.isNotWhole(thing, "\(problem.error)")
                }
                let key = ImageKeyFile.path(ofImage: path)
                if let own = assembly.keyFile(ofDisk: disk),
                    (try? FileStatus.of(key, followsLinks: false).identity) != own
                {
                    throw Self.isNotWhole(thing, "\(key) is not the file with its key, but another one")
                }
                sources.append(
                    Source(
                        path: key, name: ImageKeyFile.path(ofImage: disk.image), thing: thing))
            }
            if disk.spec.protection != 0 {
                let path = RawDiskImage.protectionPath(ofImage: folder.imagePath(disk.image))
                guard folder.exists(path) else {
                    throw Self.isNotWhole(thing, "its protection information \(path) is missing")
                }
                let found = try? RawDiskImage.protection(ofImage: folder.imagePath(disk.image))
                guard found?.type == disk.spec.protectionType else {
                    throw Self.isNotWhole(
                        thing, "its protection information \(path) is damaged, or of another type than the disk's")
                }
                sources.append(
                    Source(
                        path: path, name: RawDiskImage.protectionPath(ofImage: disk.image), thing: thing))
            }
        }
        for library in try query({ () throws(CatalogError) in try catalog.libraries() })
        where library.phase == .complete {
            let cartridges = try cartridgeRecords(library).filter { $0.phase == .complete }
            // What drives have written may be in another folder.
            let path = folder.libraryPath(library.name)
            if let own = servedFile(of: library.name), (try? FileStatus.of(path).identity) != own {
                throw Self.isNotWhole(
                    "library '\(library.name)'",
                    "\(path) is not the folder that it is served from, but another one, or none")
            }
            // What is not whole is no backup of it, and would be found missing when it is needed.
            let problems = assembly.examine(cartridges, of: library, in: folder.libraryPath(library.name)).problems
            for cartridge in cartridges {
                let thing = "cartridge '\(library.name)/\(cartridge.barcode)'"
                if let element = cartridge.location.element, element.kind == .drive {
                    throw ManagementError(
                        .inUse, "\(thing) is in \(element), where it may be written; move it to a slot first")
                }
                if let problem = problems[cartridge.barcode] { throw Self.isNotWhole(thing, problem.reason) }
                let path = folder.cartridgePath(cartridge.barcode, library: library.name)
                let name = "libraries/\(library.name)/\(cartridge.barcode)\(StateFolder.cartridgeSuffix)"
                // What SQLite makes of a database while somebody reads it is nothing of the cartridge.
                for file in folder.names(in: path)
                where !file.hasSuffix("-shm") && !(file.hasSuffix("-wal") && isEmpty(path + "/" + file)) {
                    sources.append(Source(path: path + "/" + file, name: name + "/" + file, thing: thing))
                }
            }
        }
        return sources
    }

    private func isEmpty(_ path: String) -> Bool { (try? FileStatus.of(path).length) == 0 }

    /// Refuses the disk when its image is not what the catalog says.
    private func checkIsWhole(_ disk: DiskRecord) throws(ManagementError) {
        let (thing, path) = ("disk '\(disk.name)'", folder.imagePath(disk.image))
        // What initiators have written may be in another file.
        if let own = servedFile(of: disk.name), (try? FileStatus.of(path).identity) != own {
            throw Self.isNotWhole(thing, "\(path) is not the file that it is served from, but another one, or none")
        }
        let status: FileStatus
        do {
            status = try FileStatus.of(path)
        } catch {
            throw Self.isNotWhole(thing, "its image \(path) cannot be read: \(error.reason)")
        }
        guard status.kind == .regular, disk.node != nil || status.length >= disk.size else {
            throw Self.isNotWhole(thing, "its image \(path) has \(status.length) of \(disk.size) bytes")
        }
    }

    private static func isNotWhole(_ thing: String, _ reason: String) -> ManagementError {
        ManagementError(
            .damaged,
            "\(thing) cannot be copied: \(reason); mend or delete it, or back up without --media and copy the others")
    }

    /// Copies a file that nobody writes meanwhile.
    private func copy(
        _ source: Source, to folder: inout BackupFolder, _ job: Job?
    ) throws(ManagementError) -> FileSeal {
        try folder.makeFolders(of: source.name)
        let target = folder.path + "/" + source.name
        let before = try stamp(source)
        let seal = try FileCopy.copy(source.path, to: target) { () throws(ManagementError) in try job?.check() }
        try folder.add(source.name)
        guard try stamp(source) == before else { throw Self.wasWritten(source) }
        return seal
    }

    /// What the source leads to; another with each write.
    private func stamp(_ source: Source) throws(ManagementError) -> FileStatus {
        do {
            return try FileStatus.of(source.path)
        } catch {
            guard error.code != Errno.noSuchFile else { throw Self.wasWritten(source) }
            throw ManagementError(.damaged, "\(source.thing): \(source.path) cannot be read: \(error.reason)")
        }
    }

    /// Makes the names of `files` durable.
    private func synchronizeFolders(of files: some Sequence<String>, in folder: String) throws(ManagementError) {
        var folders: Set<String> = [folder, (folder as NSString).deletingLastPathComponent]
        for file in files {
            var parent = (file as NSString).deletingLastPathComponent
            while !parent.isEmpty {
                folders.insert(folder + "/" + parent)
                parent = (parent as NSString).deletingLastPathComponent
            }
        }
        for folder in folders.sorted() {
            do {
                try File.synchronizeDirectory(path: folder)
            } catch {
                throw ManagementError(.system, "\(folder) cannot be made durable: \(error.reason)")
            }
        }
    }
}
