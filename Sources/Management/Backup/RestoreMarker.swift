import Foundation
import Platform
import Resources

/// Says in a file of the state folder that a restore is under way, or was interrupted: such a folder is none that a
/// daemon may start on, and what the restore has brought may be replaced by the next.
struct RestoreMarker: Codable, Sendable {
    private static let version = 2

    private var version = Self.version
    /// The paths in the state folder that the restore makes, where nothing was before, with what they may be: a file
    /// that is none of that is somebody else's.
    private var files: [String: Set<FileSeal>]

    init() { files = [:] }

    /// The paths that the restore makes.
    var names: Set<String> { Set(files.keys) }

    /// What the file of that path is if the restore has made it.
    func seals(of name: String) -> Set<FileSeal> { files[name] ?? [] }

    /// Says that the restore makes that file.
    mutating func add(_ name: String, _ seal: FileSeal) { files[name, default: []].insert(seal) }

    /// What the restore that was interrupted in `folder` makes; nil when there was none. A file that says nothing names
    /// nothing.
    static func read(_ folder: StateFolder) -> RestoreMarker? {
        guard folder.exists(folder.restoreMarkerPath) else { return nil }
        guard let data = FileManager.default.contents(atPath: folder.restoreMarkerPath),
            let marker = try? APICoding.decode(RestoreMarker.self, from: data), marker.version == version,
            marker.files.keys.allSatisfy(BackupManifest.isPlain)
        else { return RestoreMarker() }
        return marker
    }

    /// Puts it into its file; durable on return.
    func write(_ folder: StateFolder) throws(ManagementError) {
        guard let bytes = try? APICoding.encode(self) else {
            throw ManagementError(.internal, "the marker of a restore cannot be written down")
        }
        try folder.replaceFile(folder.restoreMarkerPath, with: Array(bytes))
    }
}

extension StateFolder {
    /// Says while it is there that a restore has not ended.
    var restoreMarkerPath: String { path + "/restore.json" }

    /// Where a restore has the file for `path` until it is whole: on the same file system, whichever that is.
    static func restoredPath(of path: String) -> String {
        (path as NSString).deletingLastPathComponent + "/restore.new"
    }

    /// What a daemon is told that finds an unfinished restore in the state folder at `path`; nil where there is none.
    static func unfinishedRestore(in path: String) -> String? {
        guard (try? FileStatus.of(path + "/restore.json", followsLinks: false)) != nil else { return nil }
        return
            "a restore into the state folder \(path) was not ended, so not all is there; run 'carousel restore' again "
            + "before you start the daemon"
    }
}
