import Foundation
import Platform
import Resources

/// What a backup has: written last, so that a folder without one is none.
struct BackupManifest: Codable, Sendable {
    static let version = 1
    /// Its name in the folder.
    static let fileName = "manifest.json"

    /// The version of the form.
    var version: Int
    /// The version of the program that made it.
    var program: String
    /// When it was made.
    var created: Date
    /// Whether images and cartridges are in it.
    var hasMedia: Bool
    /// The files by their paths in the folder.
    var files: [String: FileSeal]

    /// The manifest of the backup in `folder`.
    static func read(_ folder: String) throws(ManagementError) -> BackupManifest {
        let path = folder + "/" + fileName
        do {
            guard try FileStatus.of(path).kind == .regular else {
                throw ManagementError(.damaged, "\(path) is no regular file; use another backup")
            }
        } catch let error as ManagementError {
            throw error
        } catch let error as SystemError where error.code == Errno.noSuchFile {
            throw ManagementError(
                .invalid, "\(folder) is no backup, or one that was not ended: it has no \(fileName)")
        } catch {
            throw ManagementError(.system, "\(path) cannot be read: \(StateFolder.reason(error))")
        }
        guard FileManager.default.isReadableFile(atPath: path), let data = FileManager.default.contents(atPath: path)
        else {
            throw ManagementError(
                .system, "\(path) cannot be read: \(StateFolder.reason(EACCES)); ask as the user whose backup it is")
        }
        guard let manifest = try? APICoding.decode(BackupManifest.self, from: data) else {
            throw ManagementError(.damaged, "\(path) is damaged; use another backup")
        }
        guard manifest.version > 0 else { throw ManagementError(.damaged, "\(path) is damaged; use another backup") }
        guard manifest.version <= version else {
            throw ManagementError(
                .damaged, "\(folder) was made by a newer Carousel (\(manifest.program)); use that version")
        }
        for path in manifest.files.keys {
            guard isPlain(path), isOfBackup(path) else {
                throw ManagementError(
                    .damaged, "the manifest of \(folder) names '\(path)', which is no file of a backup")
            }
        }
        return manifest
    }

    /// Whether `path` leads to something below the folder that it is looked up in.
    static func isPlain(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return !parts.isEmpty && !parts.contains { ["", ".", ".."].contains($0) }
    }

    /// Whether a backup may have the file `path`: catalog, secrets, tokens, a profile or something of a medium.
    private static func isOfBackup(_ path: String) -> Bool {
        let parts = path.split(separator: "/")
        return switch parts.count {
        case 1: ["catalog.sqlite", "chap.json", "tokens.json"].contains(path)
        case 2: parts[0] == StateFolder.imageFolder || parts[0] == "profiles" && path.hasSuffix(".json")
        case 4: parts[0] == "libraries" && parts[2].hasSuffix(StateFolder.cartridgeSuffix)
        default: false
        }
    }

    /// Refuses a backup of which files are missing or have changed.
    func check(_ folder: String) throws(ManagementError) {
        for (path, seal) in files.sorted(by: { $0.key < $1.key }) {
            guard FileManager.default.fileExists(atPath: folder + "/" + path) else {
                throw ManagementError(.damaged, "\(folder)/\(path) is missing; use another backup")
            }
            guard try FileCopy.seal(folder + "/" + path) == seal else {
                throw ManagementError(
                    .damaged, "\(folder)/\(path) is not as it was when the backup was made; use another backup")
            }
        }
    }
}
