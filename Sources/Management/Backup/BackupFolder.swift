import Bytes
import Foundation
import Platform
import Resources

/// The folder that a backup is written to, with what the backup has made there: when it fails, that goes again, and
/// nothing of anybody else, whatever has become of the folder meanwhile.
struct BackupFolder {
    let path: String
    /// The folder itself, as it was at first.
    private let identity: FileStatus.Identity
    /// What others were allowed to do with it before the backup; nil when it was made for that.
    private let formerPermissions: UInt32?
    private var files: [(path: String, identity: FileStatus.Identity)] = []
    private var folders: [(path: String, identity: FileStatus.Identity)] = []
    /// The paths of `folders`.
    private var madeFolders: Set<String> = []

    /// The folder at `path`, which is for the owner only, and empty.
    init(_ path: String, formerPermissions: UInt32?) throws(ManagementError) {
        self.path = path
        self.formerPermissions = formerPermissions
        identity = try Self.identity(path)
    }

    private static func identity(_ path: String) throws(ManagementError) -> FileStatus.Identity {
        do {
            return try FileStatus.of(path).identity
        } catch {
            throw ManagementError(.conflict, "\(path) cannot be looked at any more: \(error.reason); back up again")
        }
    }

    /// Has the folders be there in which the file `name` is to be.
    mutating func makeFolders(of name: String) throws(ManagementError) {
        var parts = name.split(separator: "/").dropLast().map(String.init)
        var folder = path
        while !parts.isEmpty {
            folder += "/" + parts.removeFirst()
            guard !madeFolders.contains(folder) else { continue }
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
            } catch {
                throw ManagementError(.system, "cannot make \(folder): \(StateFolder.reason(error))")
            }
            folders.append((folder, try Self.identity(folder)))
            madeFolders.insert(folder)
        }
    }

    /// Makes the file `name`, where nothing is, of `bytes`: durable on return, but for its name.
    mutating func make(_ name: String, _ bytes: [UInt8] = []) throws(ManagementError) {
        let path = path + "/" + name
        do {
            let file = try File.open(path: path, [.readWrite, .create, .exclusive], permissions: 0o600)
            try add(name)
            if !bytes.isEmpty, case .failed(let code) = file.write(bytes.rawSpan, fileOffset: 0) {
                throw SystemError(code: code, operation: "write", path: path)
            }
            let status = file.synchronize()
            guard status == 0 else { throw SystemError(code: status, operation: "synchronize", path: path) }
        } catch {
            throw ManagementError(
                .system, "cannot make \(path): \(StateFolder.reason(error)); back up to a folder that nobody else uses")
        }
    }

    /// Notes that the backup has made the file `name`.
    mutating func add(_ name: String) throws(ManagementError) {
        files.append((path + "/" + name, try Self.identity(path + "/" + name)))
    }

    /// Refuses when the folder, or what the backup has made, is not where it was any more.
    func check() throws(ManagementError) {
        for (path, identity) in [(path, identity)] + folders + files {
            guard (try? FileStatus.of(path).identity) == identity else {
                throw ManagementError(
                    .conflict,
                    "\(path) was moved, removed or replaced while the backup was made; back up again, to a folder that "
                        + "stays")
            }
        }
    }

    /// Removes what the backup has made, as far as it is there.
    func removeAll() {
        for (path, identity) in files where Self.isStill(path, identity) { try? File.remove(path) }
        // What is not empty stays.
        for (path, identity) in folders.reversed() where Self.isStill(path, identity) {
            try? File.removeDirectory(path)
        }
        // By a link it may be, which stays.
        guard (try? FileStatus.of(path).identity) == identity else { return }
        if let formerPermissions {
            try? FileManager.default.setAttributes([.posixPermissions: Int(formerPermissions)], ofItemAtPath: path)
        } else {
            try? File.removeDirectory(path)
        }
    }

    private static func isStill(_ path: String, _ identity: FileStatus.Identity) -> Bool {
        (try? FileStatus.of(path, followsLinks: false).identity) == identity
    }
}
