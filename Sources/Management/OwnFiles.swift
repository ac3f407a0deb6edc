import Foundation
import Platform
import Resources

/// The files of a state folder that are not images of disks: catalog, secrets, lock, socket, and the files of
/// cartridges.
///
/// None of them may become the medium of a disk, whatever path leads to it: initiators could read and overwrite it, and
/// the disk's lock would keep the daemon out.
struct OwnFiles {
    private var paths: [FileStatus.Identity: String] = [:]
    /// The libraries of whose files one did not answer: which files are theirs is not known.
    private(set) var unknown: [String] = []

    /// None.
    init() {}

    /// Those that are in `folder` now. It asks the system about each file of each cartridge, by way of `looks`: a
    /// library of which a file does not answer in time is `unknown`, and keeps nobody.
    init(of folder: StateFolder, _ looks: FileLooks) {
        let root = folder.resolved(folder.path)
        paths = Self.files(below: root, leavingOut: [StateFolder.imageFolder, Self.libraries])
        let names = folder.names(in: root + "/" + Self.libraries)
        func look(_ name: String) -> String { "the files of library \(name)" }
        let libraries = names.map { (name: look($0), item: "\(root)/\(Self.libraries)/\($0)") }
        let found = looks.look(at: libraries) { Self.files(below: $0) }
        for files in found.values { paths.merge(files) { $1 } }
        unknown = names.filter { found[look($0)] == nil }
    }

    private static let libraries = "libraries"

    /// The files below a folder, without those in the folders of these names in it.
    private static func files(below root: String, leavingOut names: Set<String> = []) -> [FileStatus.Identity: String] {
        var paths: [FileStatus.Identity: String] = [:]
        guard let entries = FileManager.default.enumerator(atPath: root) else { return paths }
        for case let entry as String in entries {
            if names.contains(entry) {
                entries.skipDescendants()
            } else if let status = try? FileStatus.of(root + "/" + entry), status.kind != .directory {
                // What has gone since its name was read needs no protection.
                paths[status.identity] = root + "/" + entry
            }
        }
        return paths
    }

    /// The path of the own file with that identity, if it is one.
    func path(of identity: FileStatus.Identity) -> String? { paths[identity] }
}

/// The same for some disks in a row: found out when one of them needs it, and then known.
final class KnownOwnFiles: Sendable {
    private let folder: StateFolder
    private let looks: FileLooks
    private let found = Lock<OwnFiles?>(nil)

    init(of folder: StateFolder, _ looks: FileLooks) {
        self.folder = folder
        self.looks = looks
    }

    var files: OwnFiles {
        found.withLock { found in
            let files = found ?? OwnFiles(of: folder, looks)
            found = files
            return files
        }
    }
}

extension StateFolder {
    /// Where images are, below the state folder.
    static let imageFolder = "disks"

    /// Refuses an image that lies among the files of this daemon, except in the folder of images, or of another daemon.
    /// `image` is without symbolic links.
    func checkPlace(ofImage image: String) throws(ManagementError) {
        func isSame(_ path: String, _ other: String) -> Bool {
            guard let status = try? FileStatus.of(path), let second = try? FileStatus.of(other) else { return false }
            return status.identity == second.identity
        }
        if isSame((image as NSString).deletingLastPathComponent, path + "/" + Self.imageFolder) { return }
        for folder in Self.folders(above: image) where isSame(folder, path) {
            throw ManagementError(
                .invalid,
                "\(image) lies in the daemon's state folder, where only \(Self.imageFolder)/ holds images; "
                    + "give a file outside of it")
        }
        try checkIsNoDaemons(image)
    }

    /// What the links at `image` lead to when that is in this state folder, but not in the folder of images; nil
    /// otherwise.
    func ownPlace(ofImage image: String) -> String? {
        let (root, place) = (resolved(path), resolved(image))
        guard place.hasPrefix(root + "/"), !place.hasPrefix("\(root)/\(Self.imageFolder)/") else { return nil }
        return place
    }

    /// Refuses what lies in the state folder of another daemon. `file` is without symbolic links.
    func checkIsNoDaemons(_ file: String) throws(ManagementError) {
        for folder in Self.folders(above: file) where exists(folder + "/catalog.sqlite") && exists(folder + "/lock") {
            throw ManagementError(
                .invalid,
                "\(file) lies in \(folder), the state folder of another daemon; move or copy it out of there first")
        }
    }

    /// The folder of `path`, the folder of that, and so on.
    private static func folders(above path: String) -> [String] {
        var folders: [String] = []
        var folder = path
        repeat {
            folder = (folder as NSString).deletingLastPathComponent
            folders.append(folder)
        } while folder.count > 1
        return folders
    }
}
