import Bytes
import Encryption
import Foundation
import Platform
import Resources

import enum Media.DiskImageError
import class Media.FamilyFile
import enum Media.ImageKeyFile
import class Media.RawDiskImage
import enum SCSI.ProtectionType

// What the control plane does to files. Each effect passes the folder's gate first.
extension StateFolder {
    // MARK: Effects

    /// Does what `status` is the outcome of, 0 or an `errno`.
    private func effect(
        _ operation: StaticString, on path: String, _ status: () -> Int32
    ) throws {
        try gate?(path)
        let status = status()
        guard status == 0 else { throw SystemError(code: status, operation: operation, path: path) }
    }

    private func rename(_ path: String, to target: String) throws {
        try gate?(target)
        try File.rename(path, to: target)
    }

    private func synchronizeFolder(of path: String) throws {
        try gate?(path)
        try File.synchronizeDirectory(path: Self.parent(of: path))
    }

    /// Removes the file or link at `path`; a folder there is somebody else's and stays.
    private func removeIfThere(_ path: String) throws {
        guard exists(path) else { return }
        guard (try? FileStatus.of(path, followsLinks: false))?.kind != .directory else {
            throw ManagementError(
                .conflict, "\(path) is a folder, which the daemon has not made; move it away, it is not removed")
        }
        try gate?(path)
        try File.remove(path)
    }

    /// Removes the folder at `path` when nothing is in it any more.
    private func removeFolderIfThere(_ path: String) throws {
        guard let status = try? FileStatus.of(path, followsLinks: false) else { return }
        // Of a folder that somebody has moved and left a link to, the link goes.
        guard status.kind == .directory else { return try removeIfThere(path) }
        let foreign = names(in: path)
        guard foreign.isEmpty else {
            let named = foreign.prefix(Self.namedAtMost).joined(separator: ", ")
            throw ManagementError(
                .conflict,
                "\(path) holds what is not of the daemon's making: \(named)"
                    + "\(foreign.count > Self.namedAtMost ? ", …" : ""); move it away, it is not removed")
        }
        try gate?(path)
        try File.removeDirectory(path)
    }

    /// How many names of what is foreign a refusal has.
    private static let namedAtMost = 5

    // MARK: Questions

    /// Whether anything is at `path`, if only a symbolic link that leads nowhere.
    func exists(_ path: String) -> Bool { (try? FileStatus.of(path, followsLinks: false)) != nil }

    /// The same for files whose absence means something: what cannot be looked at may well be there.
    static func hasEntry(_ path: String) throws(ManagementError) -> Bool {
        do {
            _ = try FileStatus.of(path, followsLinks: false)
            return true
        } catch {
            guard error.code != Errno.noSuchFile else { return false }
            throw ManagementError(.system, "cannot look at \(path): \(error.reason); mend the file system first")
        }
    }

    /// Whether `path` leads, or will when it is made, to the folder `folder` or to something in it, whatever links and
    /// mounts lie between.
    static func isWithin(_ folder: String, _ path: String) -> Bool {
        guard let sought = try? FileStatus.of(folder).identity else { return false }
        var place = path
        // What is not there yet will be where its parent is.
        while (try? FileStatus.of(place)) == nil, place != "/", !place.isEmpty { place = parent(of: place) }
        var last: FileStatus.Identity?
        while let identity = try? FileStatus.of(place).identity, identity != last {
            if identity == sought { return true }
            last = identity
            place += "/.."
        }
        return false
    }

    /// Whether one of the folders `first` and `second` is, or lies in, the other, or a folder of media or profiles in
    /// `first`, a state folder, that may be a link: that of all libraries, of one, or of a cartridge.
    static func isEntangled(_ first: String, _ second: String) -> Bool {
        func links(in folder: String) -> [String] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            return names.map { folder + "/" + $0 }.filter { path in
                (try? FileStatus.of(path, followsLinks: false).kind) == .link
            }
        }
        let libraries = first + "/libraries"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: libraries)) ?? []
        let own = [imageFolder, "libraries", "profiles"].map { first + "/" + $0 }
        let linked = links(in: libraries) + names.flatMap { links(in: libraries + "/" + $0) }
        let folders = [first] + (own + linked).filter { (try? FileStatus.of($0)) != nil }
        return folders.contains { isWithin($0, second) || isWithin(second, $0) }
    }

    /// The names in the folder at `path`, sorted; none when it cannot be read.
    func names(in path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    /// Why there should be a catalog, where none is: images or cartridges are there, of which a new one would know
    /// nothing, nor who may see them. Nil when there is nothing.
    func lossOfCatalog() -> String? {
        let full = [Self.imageFolder, "libraries"].filter { !names(in: path + "/" + $0).isEmpty }
        guard let first = full.first else { return nil }
        return
            "the catalog \(catalogPath) is missing or empty, but \(path)/\(first) is not; put the catalog back from a "
            + "backup with 'carousel restore' (before you put a plain copy there, remove catalog.sqlite-wal and "
            + "catalog.sqlite-shm, which belong to another), or move what is in "
            + "\(full.map { $0 + "/" }.joined(separator: " and ")) away, start, put it there again and take it up with "
            + "'carousel adopt'"
    }

    /// `path` without symbolic links, so that two names of one file are found out.
    func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

    // MARK: Changes

    /// Makes a sparse file of `size` bytes, durable on return; nothing may be at `path`, and nothing is when this
    /// throws.
    func createImage(at path: String, size: Int64) throws(ManagementError) {
        try Effect.begin()
        if !exists(Self.parent(of: path)) { try createFolder(Self.parent(of: path)) }
        do {
            try gate?(path)
            let file = try File.open(path: path, [.readWrite, .create, .exclusive])
            do {
                try effect("resize", on: path) { file.truncate(to: size) }
                try effect("synchronize", on: path) { file.synchronize() }
                try synchronizeFolder(of: path)
                // Of an image that had the name before: its atomic write is none of the new one's.
                try RawDiskImage.removeJournal(ofImage: path)
            } catch {
                try? removeIfThere(path)
                throw error
            }
        } catch {
            throw ManagementError(
                .system, "cannot make \(path), \(ByteSize.format(size)) long: \(Self.reason(error))")
        }
    }

    /// Makes the file of a disk with snapshots, durable on return, with `name` as the only head: with `userKey` its key
    /// file, with `checksums` of data or without, and compressed at a level of zstd or not. Nothing may be at `path`,
    /// and nothing is when this throws.
    func createFamily(
        at path: String, size: Int64, blockSize: Int, name: String, userKey: UserKey?, checksums: Bool = false,
        compression: Int? = nil
    ) throws(ManagementError) {
        try Effect.begin()
        if !exists(Self.parent(of: path)) { try createFolder(Self.parent(of: path)) }
        do {
            try gate?(path)
            let file = try FamilyFile.create(
                path: path, capacity: size, blockSize: blockSize, name: name, time: CalendarTime.current(),
                uuid: Self.newUUID(), checksums: checksums, compression: compression, userKey: userKey)
            do {
                try effect("synchronize", on: path) { file.close()?.errorNumber ?? 0 }
            } catch {
                if userKey != nil { try? ImageKeyFile.remove(ofImage: path) }
                try? removeIfThere(path)
                throw error
            }
        } catch let error as DiskImageError {
            throw ManagementError(.system, "cannot make \(path) for a disk of \(ByteSize.format(size)): \(error)")
        } catch {
            throw ManagementError(
                .system, "cannot make \(path) for a disk of \(ByteSize.format(size)): \(Self.reason(error))")
        }
    }

    private static func newUUID() -> [UInt8] {
        let uuid = UUID().uuid
        return [
            uuid.0, uuid.1, uuid.2, uuid.3, uuid.4, uuid.5, uuid.6, uuid.7, uuid.8, uuid.9, uuid.10, uuid.11, uuid.12,
            uuid.13, uuid.14, uuid.15,
        ]
    }

    /// Makes the folder `path`, for the owner only; its name is durable on return.
    func createFolder(_ path: String) throws(ManagementError) {
        try Effect.begin()
        do {
            try gate?(path)
            var made = [path]
            while !exists(Self.parent(of: made[made.count - 1])) { made.append(Self.parent(of: made[made.count - 1])) }
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            for folder in made { try synchronizeFolder(of: folder) }
        } catch {
            throw ManagementError(.system, "cannot make \(path): \(Self.reason(error))")
        }
    }

    /// Removes the file at `path`, or the link there; durable on return. Nothing may be there already.
    ///
    /// - Throws: `ManagementError.Code.conflict` when a folder is there.
    func remove(_ path: String) throws(ManagementError) {
        try removing(path) { try removeIfThere(path) }
    }

    /// Makes the file for the protection information of the image at `path`, of a disk with `spec` and `size` bytes;
    /// durable on return. Nothing may be there.
    func createProtection(
        ofImage path: String, _ type: ProtectionType, blockSize: Int, size: Int64
    ) throws(ManagementError) {
        try Effect.begin()
        let file = RawDiskImage.protectionPath(ofImage: path)
        do {
            try gate?(file)
            try RawDiskImage.createProtection(ofImage: path, type, blockSize: blockSize, capacity: size)
        } catch {
            throw ManagementError(.system, "cannot make \(file): \(Self.reason(error))")
        }
    }

    /// Removes the protection information of the image at `path`, if there is any; durable on return.
    func removeProtection(ofImage path: String) throws(ManagementError) {
        guard exists(Self.parent(of: path)) else { return }
        do throws(SystemError) {
            try RawDiskImage.removeProtection(ofImage: path)
        } catch {
            throw ManagementError(
                .system, "cannot remove \(RawDiskImage.protectionPath(ofImage: path)): \(error.reason)")
        }
    }

    /// Marks the image at `path` as encrypted and makes the file with its key; durable on return. Nothing may be there.
    func createKey(ofImage path: String, blockSize: Int, userKey: UserKey) throws(ManagementError) {
        try Effect.begin()
        let file = ImageKeyFile.path(ofImage: path)
        do {
            try gate?(file)
            try ImageKeyFile.create(ofImage: path, blockSize: blockSize, userKey: userKey)
        } catch let error as DiskImageError {
            throw ManagementError(.system, "cannot make \(file): \(error)")
        } catch {
            throw ManagementError(.system, "cannot make \(file): \(Self.reason(error))")
        }
    }

    /// Removes the file with the key of the image at `path`, if it is that image's; durable on return.
    func removeKey(ofImage path: String) throws(ManagementError) {
        guard exists(path) else { return }
        let file = ImageKeyFile.path(ofImage: path)
        do {
            try gate?(file)
            try ImageKeyFile.remove(ofImage: path)
        } catch {
            throw ManagementError(.system, "cannot remove \(file): \(Self.reason(error))")
        }
    }

    /// Removes the journal of atomic writes of the image at `path`, if there is one; durable on return.
    func removeJournal(ofImage path: String) throws(ManagementError) {
        guard exists(Self.parent(of: path)) else { return }
        do throws(SystemError) {
            try RawDiskImage.removeJournal(ofImage: path)
        } catch {
            throw ManagementError(.system, "cannot remove \(RawDiskImage.journalPath(ofImage: path)): \(error.reason)")
        }
    }

    /// Removes the folder at `path`, in which nothing is any more; durable on return. Nothing may be there already.
    ///
    /// - Throws: `ManagementError.Code.conflict` when something is in it, which is named.
    func removeFolder(_ path: String) throws(ManagementError) {
        try removing(path) { try removeFolderIfThere(path) }
    }

    private func removing(_ path: String, _ remove: () throws -> Void) throws(ManagementError) {
        try Effect.begin()
        do {
            try remove()
            // With the folder that it was in, it has gone for good.
            if exists(Self.parent(of: path)) { try synchronizeFolder(of: path) }
        } catch let error as ManagementError where error.code == .conflict {
            throw error
        } catch {
            throw ManagementError(.system, "cannot remove \(path): \(Self.reason(error))")
        }
    }

    /// Makes `bytes` the content of the file at `path`, for the owner only: durable on return. When this throws, the
    /// file is what it was before.
    func replace(_ path: String, with bytes: [UInt8]) throws {
        let (new, former) = (Self.newPath(path), Self.formerPath(path))
        // What a crash left there may be half; a new file has the right mode from its first moment.
        try removeRemains(ofReplacing: path)
        do {
            try gate?(new)
            let file = try File.open(path: new, [.readWrite, .create, .exclusive], permissions: 0o600)
            try effect("write", on: new) {
                if case .failed(let code) = file.write(bytes.rawSpan, fileOffset: 0) { code } else { 0 }
            }
            try effect("synchronize", on: new) { file.synchronize() }
            // The way back needs no room.
            let replacesFile = exists(path)
            if replacesFile {
                try gate?(former)
                try FileManager.default.linkItem(atPath: path, toPath: former)
            }
            try rename(new, to: path)
            do {
                try synchronizeFolder(of: path)
            } catch {
                if replacesFile { try rename(former, to: path) } else { try removeIfThere(path) }
                throw error
            }
        } catch {
            try? removeRemains(ofReplacing: path)
            throw error
        }
        // It may hold a secret that is to be forgotten; the next start tries again.
        try? removeIfThere(former)
    }

    /// Removes what a crash in the middle of `replace` has left beside the file at `path`.
    func removeRemains(ofReplacing path: String) throws(ManagementError) {
        for remains in [Self.newPath(path), Self.formerPath(path)] {
            do {
                try removeIfThere(remains)
            } catch {
                throw ManagementError(.system, "cannot remove \(remains): \(Self.reason(error))")
            }
        }
    }

    private static func newPath(_ path: String) -> String { path + ".new" }

    private static func formerPath(_ path: String) -> String { path + ".former" }

    /// The same as `replace`, in words.
    func replaceFile(_ path: String, with bytes: [UInt8]) throws(ManagementError) {
        try Effect.begin()
        do {
            try replace(path, with: bytes)
        } catch {
            throw ManagementError(.system, "cannot write \(path): \(Self.reason(error))")
        }
    }

    /// Gives the folder at `path` the name `target` on the same file system, where nothing is; durable on return. When
    /// this throws, it has its name again, unless the system refuses that too.
    func move(_ path: String, to target: String) throws(ManagementError) {
        try Effect.begin()
        do {
            try rename(path, to: target)
            do {
                try synchronizeFolder(of: target)
                try synchronizeFolder(of: path)
            } catch {
                try rename(target, to: path)
                throw error
            }
        } catch {
            throw ManagementError(
                .system,
                (error as? SystemError)?.code == Errno.crossDevice
                    ? "\(path) is on another file system than the state folder; copy it there first"
                    : "cannot move \(path) to \(target): \(Self.reason(error))")
        }
    }

    private static func parent(of path: String) -> String { (path as NSString).deletingLastPathComponent }

    /// The system's words for the error number `code`.
    static func reason(_ code: Int32) -> String { SystemError(code: code, operation: "use").reason }

    /// What the system said, in a few words.
    public static func reason(_ error: any Error) -> String {
        if let error = error as? SystemError { return error.reason }
        if let error = error as? ManagementError { return error.message }
        if let error = (error as? CocoaError)?.underlying as? POSIXError {
            return SystemError(code: error.code.rawValue, operation: "use").reason
        }
        if let code = (error as? CocoaError)?.code, let number = numbers[code] { return reason(number) }
        return error.localizedDescription
    }

    /// What Foundation has found out without asking the system.
    private static let numbers: [CocoaError.Code: Int32] = [
        .fileNoSuchFile: ENOENT, .fileReadNoSuchFile: ENOENT, .fileReadNoPermission: EACCES,
        .fileWriteNoPermission: EACCES, .fileWriteFileExists: EEXIST, .fileWriteOutOfSpace: ENOSPC,
        .fileWriteVolumeReadOnly: EROFS, .fileReadInvalidFileName: EINVAL, .fileWriteInvalidFileName: EINVAL,
    ]
}
