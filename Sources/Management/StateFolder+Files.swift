import Foundation
import Platform
import Resources

// What the control plane does to files. Each change passes the folder's gate first.
extension StateFolder {
    /// Whether anything is at `path`, if only a symbolic link that leads nowhere.
    func exists(_ path: String) -> Bool { (try? FileStatus.of(path, followsLinks: false)) != nil }

    /// The names in the folder at `path`, sorted; none when it cannot be read.
    func names(in path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    /// `path` without symbolic links, so that two names of one file are found out.
    func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

    /// Makes a sparse file of `size` bytes, durable on return; nothing may be at `path`, and nothing is when this
    /// throws.
    func createImage(at path: String, size: Int64) throws(ManagementError) {
        try gate?(path)
        do {
            let file = try File.open(path: path, [.readWrite, .create, .exclusive])
            do {
                for status in [file.truncate(to: size), file.synchronize()] where status != 0 {
                    throw SystemError(code: status, operation: "resize", path: path)
                }
                try File.synchronizeDirectory(path: Self.parent(of: path))
            } catch {
                try? FileManager.default.removeItem(atPath: path)
                throw error
            }
        } catch {
            throw ManagementError(
                .system, "cannot make \(path), \(ByteSize.format(size)) long: \(Self.reason(error))")
        }
    }

    /// Makes the folder `path`, for the owner only; its name is durable on return.
    func createFolder(_ path: String) throws(ManagementError) {
        try gate?(path)
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try File.synchronizeDirectory(path: Self.parent(of: path))
        } catch {
            throw ManagementError(.system, "cannot make \(path): \(Self.reason(error))")
        }
    }

    /// Removes the file or folder at `path` with all that is in it; durable on return. Nothing may be there already.
    func remove(_ path: String) throws(ManagementError) {
        try gate?(path)
        do {
            if exists(path) { try FileManager.default.removeItem(atPath: path) }
            try File.synchronizeDirectory(path: Self.parent(of: path))
        } catch {
            throw ManagementError(.system, "cannot remove \(path): \(Self.reason(error))")
        }
    }

    private static func parent(of path: String) -> String { (path as NSString).deletingLastPathComponent }

    /// What the system said, in a few words.
    static func reason(_ error: any Error) -> String {
        if let error = error as? SystemError { return error.reason }
        if let error = (error as? CocoaError)?.underlying as? POSIXError {
            return SystemError(code: error.code.rawValue, operation: "use").reason
        }
        return error.localizedDescription
    }
}
