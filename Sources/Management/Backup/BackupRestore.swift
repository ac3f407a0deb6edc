import Foundation
import Platform
public import Resources

/// The way back from a backup, without a daemon.
public enum BackupRestore {
    /// What a restored backup brought.
    public struct Result: Sendable {
        public let files: Int
        /// Whether images and cartridges were in it.
        public let hasMedia: Bool
    }

    /// Puts the backup in `folder` into the state folder at `path`, which has nothing yet, or has lost its catalog; the
    /// backup is checked first. The catalog comes last: what was interrupted before is no state folder that starts.
    public static func restore(_ folder: String, to path: String) throws(ManagementError) -> Result {
        let manifest = try BackupManifest.read(folder)
        try manifest.check(folder)
        let state = try StateFolder(path: path)
        defer { state.release() }
        let catalog = (state.catalogPath as NSString).lastPathComponent
        guard manifest.files[catalog] != nil else {
            throw ManagementError(.damaged, "\(folder) has no catalog; use another backup")
        }
        for name in manifest.files.keys.sorted() where state.exists(state.path + "/" + name) {
            throw ManagementError(
                .conflict, "\(state.path)/\(name) is there already; restore into an empty state folder")
        }
        // A log of another catalog would be taken for one of this.
        for suffix in ["-wal", "-shm"] where state.exists(state.catalogPath + suffix) {
            try state.remove(state.catalogPath + suffix)
        }
        let names = manifest.files.keys.sorted { ($0 == catalog ? 1 : 0, $0) < ($1 == catalog ? 1 : 0, $1) }
        for name in names {
            let target = state.path + "/" + name
            let parent = (target as NSString).deletingLastPathComponent
            if !state.exists(parent) { try state.createFolder(parent) }
            // Under another name until it is whole.
            let temporary = target + ".new"
            if state.exists(temporary) { try state.remove(temporary) }
            let seal = try FileCopy.copy(folder + "/" + name, to: temporary)
            guard seal == manifest.files[name] else {
                throw ManagementError(.damaged, "\(folder)/\(name) changed while it was restored; use another backup")
            }
            try state.move(temporary, to: target)
        }
        return Result(files: names.count, hasMedia: manifest.hasMedia)
    }
}
