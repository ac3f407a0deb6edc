import Catalog
public import Foundation
import Platform
public import Resources

import enum Media.ImageKeyFile

/// The way back from a backup, without a daemon.
public enum BackupRestore {
    /// What a restored backup brought.
    public struct Result: Sendable {
        public let files: Int
        /// Whether images and cartridges were in it.
        public let hasMedia: Bool
        /// When it was made.
        public let created: Date
        /// The names in the state folder of what belonged to another catalog, and was removed: what an interrupted
        /// change of the configuration was doing.
        public let removed: [String]
    }

    /// Puts the backup in `folder` into the state folder at `path`, which has nothing yet, or has lost its catalog; the
    /// backup is checked first. What was interrupted before the end is no state folder that starts, and is restored by
    /// another try.
    public static func restore(_ folder: String, to path: String) throws(ManagementError) -> Result {
        try restore(folder, to: path, gate: nil)
    }

    /// The same, with effects that pass `gate`.
    static func restore(_ folder: String, to path: String, gate: ChangeGate?) throws(ManagementError) -> Result {
        let manifest = try BackupManifest.read(folder)
        let target = StateFolder.absolute(path)
        // A state folder in a backup would be no more of it than a backup in a state folder is.
        guard !StateFolder.isEntangled(target, folder) else {
            throw ManagementError(
                .invalid,
                "the backup \(folder) and the state folder \(target) are one, or one lies in the other, perhaps by a "
                    + "link in the state folder; move the backup elsewhere, or restore to another folder")
        }
        try manifest.check(folder)
        let state = try StateFolder(path: path, gate: gate)
        defer { state.release() }
        let catalog = name(state.catalogPath)
        guard manifest.files[catalog] != nil else {
            throw ManagementError(.damaged, "\(folder) has no catalog; use another backup")
        }
        let interrupted = RestoreMarker.read(state)
        var marker = interrupted ?? RestoreMarker()
        // Where files of this restore and of those before it are until they are whole.
        let unfinished = Set(
            marker.names.union(manifest.files.keys).map { StateFolder.restoredPath(of: state.path + "/" + $0) })
        if interrupted == nil, let foreign = unfinished.sorted().first(where: { state.exists($0) }) {
            throw ManagementError(
                .conflict, "\(foreign) is there already, where the restore copies to; move it away")
        }
        let (present, stale) = try filesThere(manifest, marker, state, of: folder)
        for (name, seal) in manifest.files where name != catalog && !present.contains(name) { marker.add(name, seal) }
        // First, and the last to go.
        try marker.write(state)
        let removed = try removeForeignFiles(state)
        for path in unfinished.sorted() where state.exists(path) { try state.remove(path) }
        for name in stale { try state.remove(state.path + "/" + name) }
        if interrupted != nil { try removeEmptyFolders(of: marker, state) }
        let names = manifest.files.keys.sorted { ($0 == catalog ? 1 : 0, $0) < ($1 == catalog ? 1 : 0, $1) }
        for name in names where !present.contains(name) {
            let target = state.path + "/" + name
            let parent = (target as NSString).deletingLastPathComponent
            if !state.exists(parent) { try state.createFolder(parent) }
            // Under another name until it is whole.
            let temporary = StateFolder.restoredPath(of: target)
            let seal = try FileCopy.copy(folder + "/" + name, to: temporary)
            guard seal == manifest.files[name] else {
                throw ManagementError(.damaged, "\(folder)/\(name) changed while it was restored; use another backup")
            }
            try markEncrypted(temporary, name, in: folder, manifest)
            if name == catalog {
                try leap(temporary, manifest)
                marker.add(name, try FileCopy.seal(temporary))
                try marker.write(state)
            }
            try state.move(temporary, to: target)
        }
        try state.remove(state.restoreMarkerPath)
        return Result(
            files: names.count, hasMedia: manifest.hasMedia, created: manifest.created, removed: removed)
    }

    /// Which files are in the state folder as the backup has them, and which an interrupted restore has made that are
    /// otherwise; an empty catalog, which is none, is removed. Refuses when another file is in the place of one.
    private static func filesThere(
        _ manifest: BackupManifest, _ marker: RestoreMarker, _ state: StateFolder, of backup: String
    ) throws(ManagementError) -> (present: Set<String>, stale: [String]) {
        var present: Set<String> = []
        var stale: [String] = []
        var emptyCatalog: String?
        // Secrets and tokens that are not in the backup would be good with its catalog all the same.
        let own = marker.names.union([name(state.secretsPath), name(state.tokensPath)])
        for name in own.union(manifest.files.keys).sorted() {
            let path = state.path + "/" + name
            guard let status = try? FileStatus.of(path, followsLinks: false) else { continue }
            if path == state.catalogPath, status.kind == .regular, status.length == 0 {
                emptyCatalog = path
                continue
            }
            // What leads into the backup would have the daemon write there.
            guard (try? FileStatus.of(backup + "/" + name).identity) != status.identity else {
                throw ManagementError(
                    .conflict,
                    "\(path) is the backup's own file; remove the link or the second name in the state folder first")
            }
            // The catalog itself is never that of the backup: it leaps.
            let wanted = path == state.catalogPath ? nil : manifest.files[name]
            let possible = marker.seals(of: name).union(wanted.map { [$0] } ?? [])
            let mayBe = status.kind == .regular && possible.contains { $0.length == status.length }
            let seal = mayBe ? try FileCopy.seal(path) : nil
            if let seal, seal == wanted {
                present.insert(name)
            } else if let seal, possible.contains(seal) {
                stale.append(name)
            } else {
                throw ManagementError(
                    .conflict,
                    "\(path) is there already, and not as the backup has it; restore into an empty state folder, or "
                        + "move it away")
            }
        }
        if let emptyCatalog { try state.remove(emptyCatalog) }
        return (present, stale)
    }

    /// Puts the mark of an encrypted image on the copy at `path` of what the backup in `folder` has under `name`, if
    /// the backup has its key file: copies have no attributes.
    private static func markEncrypted(
        _ path: String, _ name: String, in folder: String, _ manifest: BackupManifest
    ) throws(ManagementError) {
        let key = ImageKeyFile.path(ofImage: name)
        guard manifest.files[key] != nil else { return }
        do throws(SystemError) {
            guard try ImageKeyFile.mark(image: path, forKey: folder + "/" + key) else { return }
            let code = try File.open(path: path).synchronize()
            guard code == 0 else { throw SystemError(code: code, operation: "synchronize", path: path) }
        } catch {
            throw ManagementError(
                .system,
                "\(path) cannot be marked as encrypted: \(error.reason); restore to a file system that keeps extended "
                    + "attributes")
        }
    }

    /// Removes the folders of cartridges and libraries that an interrupted restore has made, and of which nothing is
    /// there: nothing of their barcodes and names could be made while they are there.
    private static func removeEmptyFolders(
        of marker: RestoreMarker, _ state: StateFolder
    ) throws(ManagementError) {
        let cartridges = Set(marker.names.map { (state.path + "/" + $0 as NSString).deletingLastPathComponent })
            .filter { $0.hasSuffix(StateFolder.cartridgeSuffix) }
        let libraries = Set(cartridges.map { ($0 as NSString).deletingLastPathComponent })
        for folder in cartridges.sorted() + libraries.sorted() {
            // A link to a folder is not of the restore's making.
            guard (try? FileStatus.of(folder, followsLinks: false).kind) == .directory, state.names(in: folder).isEmpty
            else { continue }
            try state.removeFolder(folder)
        }
    }

    private static func name(_ path: String) -> String { (path as NSString).lastPathComponent }

    /// Removes what belongs to another catalog and would be taken for something of this: its logs, what a change of the
    /// configuration was doing, and what changes of files have left halfway. Gives the names of what tells of changes.
    private static func removeForeignFiles(_ state: StateFolder) throws(ManagementError) -> [String] {
        let logs = ["-wal", "-shm", "-journal"].flatMap { suffix in
            [state.catalogPath, StateFolder.restoredPath(of: state.catalogPath)].map { $0 + suffix }
        }
        let profiles = state.names(in: state.profilesPath).filter { $0.hasSuffix(".json") }
            .map { state.profilesPath + "/" + $0 }
        let journals = [state.journalPath, state.interruptedJournalPath]
        var removed: [String] = []
        for path in logs where state.exists(path) {
            // What is in the log of a catalog may be all that there is of its last changes.
            let hasChanges = path.hasPrefix(state.catalogPath) && !path.hasSuffix("-shm")
            if hasChanges, (try? FileStatus.of(path).length) ?? 0 > 0 { removed.append(name(path)) }
            try state.remove(path)
        }
        for path in [state.secretsPath, state.tokensPath] + journals + profiles {
            try state.removeRemains(ofReplacing: path)
        }
        for path in journals where state.exists(path) {
            try state.remove(path)
            removed.append(name(path))
        }
        return removed
    }

    /// Has generations and events of the restored catalog at `path`, which nobody has open, go on where those of the
    /// one that was lost have never been.
    private static func leap(_ path: String, _ manifest: BackupManifest) throws(ManagementError) {
        do throws(CatalogError) {
            let catalog = try Catalog(
                path: path,
                hooks: Catalog.Hooks(willCreate: { () throws(CatalogError) in throw .damaged("it is empty") }))
            do throws(CatalogError) {
                try catalog.leap(
                    event: NewEvent(
                        time: Date(), actor: .user(id: getuid(), process: getpid()), kind: "configuration", name: "",
                        verb: "restore",
                        new: JSONValue.object(["backup": .text(manifest.created.formatted(.iso8601))]).serialized))
            } catch {
                try? catalog.close()
                throw error
            }
            try catalog.close()
        } catch {
            switch error {
            case .full, .failed:
                throw ManagementError(
                    .system, "the catalog cannot be put in its place: \(error); see to that and restore again")
            default:
                throw ManagementError(
                    .damaged, "the catalog of the backup cannot be used: \(error); use another backup")
            }
        }
        // Only the database itself gets its name: nothing of it may be in a log.
        for suffix in ["-wal", "-journal"]
        where (try? FileStatus.of(path + suffix, followsLinks: false))?.length ?? 0 > 0 {
            throw ManagementError(
                .system, "the catalog could not be written to \(path) as a whole; make room there and restore again")
        }
    }
}
