import Catalog
public import Foundation
import Platform
public import Resources

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
        try manifest.check(folder)
        let state = try StateFolder(path: path, gate: gate)
        defer { state.release() }
        let catalog = name(state.catalogPath)
        guard manifest.files[catalog] != nil else {
            throw ManagementError(.damaged, "\(folder) has no catalog; use another backup")
        }
        // What an interrupted restore has brought may go.
        let own = RestoreMarker.read(state)?.files ?? []
        // Secrets and tokens that are not in the backup would be good with its catalog all the same.
        let wanted = Set(manifest.files.keys).union([name(state.secretsPath), name(state.tokensPath)])
        let present = try filesThere(wanted.subtracting(own), manifest, state)
        // First, and the last to go.
        try RestoreMarker(files: own.union(manifest.files.keys).subtracting(present)).write(state)
        let removed = try removeForeignFiles(state)
        for name in own.sorted() {
            for path in [state.path + "/" + name, temporary(state.path + "/" + name)] where state.exists(path) {
                try state.remove(path)
            }
        }
        let names = manifest.files.keys.sorted { ($0 == catalog ? 1 : 0, $0) < ($1 == catalog ? 1 : 0, $1) }
        for name in names where !present.contains(name) {
            let target = state.path + "/" + name
            let parent = (target as NSString).deletingLastPathComponent
            if !state.exists(parent) { try state.createFolder(parent) }
            // Under another name until it is whole.
            let temporary = temporary(target)
            if state.exists(temporary) { try state.remove(temporary) }
            let seal = try FileCopy.copy(folder + "/" + name, to: temporary)
            guard seal == manifest.files[name] else {
                throw ManagementError(.damaged, "\(folder)/\(name) changed while it was restored; use another backup")
            }
            if name == catalog { try leap(temporary, manifest) }
            try state.move(temporary, to: target)
        }
        try state.remove(state.restoreMarkerPath)
        return Result(
            files: names.count, hasMedia: manifest.hasMedia, created: manifest.created, removed: removed)
    }

    /// Which of `names` are in the state folder as the backup has them; an empty catalog, which is none, is removed.
    /// Refuses when another file is in the place of one.
    private static func filesThere(
        _ names: Set<String>, _ manifest: BackupManifest, _ state: StateFolder
    ) throws(ManagementError) -> Set<String> {
        var present: Set<String> = []
        var emptyCatalog: String?
        for name in names.sorted() {
            let path = state.path + "/" + name
            guard let status = try? FileStatus.of(path, followsLinks: false) else { continue }
            if path == state.catalogPath, status.kind == .regular, status.length == 0 {
                emptyCatalog = path
                continue
            }
            // The catalog itself is never that of the backup: it leaps.
            guard path != state.catalogPath, let seal = manifest.files[name], status.kind == .regular,
                status.length == seal.length, try FileCopy.seal(path) == seal
            else {
                throw ManagementError(
                    .conflict,
                    "\(path) is there already, and not as the backup has it; restore into an empty state folder, or "
                        + "move it away")
            }
            present.insert(name)
        }
        if let emptyCatalog { try state.remove(emptyCatalog) }
        return present
    }

    private static func temporary(_ path: String) -> String { path + ".new" }

    private static func name(_ path: String) -> String { (path as NSString).lastPathComponent }

    /// Removes what belongs to another catalog and would be taken for something of this: its logs, what a change of the
    /// configuration was doing, and what changes of files have left halfway. Gives the names of what tells of changes.
    private static func removeForeignFiles(_ state: StateFolder) throws(ManagementError) -> [String] {
        let logs = ["-wal", "-shm", "-journal"].flatMap { suffix in
            [state.catalogPath + suffix, temporary(state.catalogPath) + suffix]
        }
        let profiles = state.names(in: state.profilesPath).filter { $0.hasSuffix(".json") }
            .map { state.profilesPath + "/" + $0 }
        let journals = [state.journalPath, state.interruptedJournalPath]
        for path in logs where state.exists(path) { try state.remove(path) }
        for path in [state.secretsPath, state.tokensPath] + journals + profiles {
            try state.removeRemains(ofReplacing: path)
        }
        var removed: [String] = []
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
                        time: Date(), actor: Requester.current, kind: "configuration", name: "", verb: "restore",
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
