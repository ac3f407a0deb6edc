import Bytes
import Foundation
import Platform
import Resources

// What the control plane does to files. Each change passes the folder's gate first.
extension StateFolder {
    /// Called before each change of a file, with its path.
    private func passGate(_ path: String) throws(ManagementError) {
        try DryRun.endBeforeEffect()
        try gate?(path)
    }

    /// Whether anything is at `path`, if only a symbolic link that leads nowhere.
    func exists(_ path: String) -> Bool { (try? FileStatus.of(path, followsLinks: false)) != nil }

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
            + "copy, or move what is in \(full.map { $0 + "/" }.joined(separator: " and ")) away, start, put it there "
            + "again and take it up with 'carousel adopt'"
    }

    /// `path` without symbolic links, so that two names of one file are found out.
    func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

    /// Makes a sparse file of `size` bytes, durable on return; nothing may be at `path`, and nothing is when this
    /// throws.
    func createImage(at path: String, size: Int64) throws(ManagementError) {
        try passGate(path)
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
        try passGate(path)
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
        try passGate(path)
        do {
            if exists(path) { try FileManager.default.removeItem(atPath: path) }
            try File.synchronizeDirectory(path: Self.parent(of: path))
        } catch {
            throw ManagementError(.system, "cannot remove \(path): \(Self.reason(error))")
        }
    }

    /// Makes `bytes` the content of the file at `path`, for the owner only: durable on return, unchanged when this
    /// throws.
    static func replace(_ path: String, with bytes: [UInt8]) throws {
        let temporary = path + ".new"
        // What a crash left there may be half; a new file has the right mode from its first moment.
        try? FileManager.default.removeItem(atPath: temporary)
        let file = try File.open(path: temporary, [.readWrite, .create, .exclusive], permissions: 0o600)
        do {
            if case .failed(let code) = file.write(bytes.rawSpan, fileOffset: 0) {
                throw SystemError(code: code, operation: "write", path: temporary)
            }
            let status = file.synchronize()
            guard status == 0 else { throw SystemError(code: status, operation: "synchronize", path: temporary) }
            try File.rename(temporary, to: path)
        } catch {
            try? FileManager.default.removeItem(atPath: temporary)
            throw error
        }
        try File.synchronizeDirectory(path: parent(of: path))
    }

    /// The same, past the gate.
    func replaceFile(_ path: String, with bytes: [UInt8]) throws(ManagementError) {
        try passGate(path)
        do {
            try Self.replace(path, with: bytes)
        } catch {
            throw ManagementError(.system, "cannot write \(path): \(Self.reason(error))")
        }
    }

    /// Gives the folder at `path` the name `target` on the same file system, where nothing is; durable on return.
    func move(_ path: String, to target: String) throws(ManagementError) {
        try passGate(target)
        do throws(SystemError) {
            try File.rename(path, to: target)
            try File.synchronizeDirectory(path: Self.parent(of: target))
            try File.synchronizeDirectory(path: Self.parent(of: path))
        } catch {
            throw ManagementError(
                .system,
                error.code == Errno.crossDevice
                    ? "\(path) is on another file system than the state folder; copy it there first"
                    : "cannot move \(path) to \(target): \(error.reason)")
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
