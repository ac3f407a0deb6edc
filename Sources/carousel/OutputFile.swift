import Bytes
import Foundation
import Management
import Platform

/// A file that a command writes for the user.
enum OutputFile {
    /// Writes `data` to `path`. A regular file is replaced as a whole, so that nothing of the new one is seen before it
    /// is whole, and keeps its mode; a new one has `mode`, less what the umask takes. Links are followed; devices and
    /// pipes are written to.
    static func write(_ data: Data, to path: String, mode: UInt32 = 0o644) throws(CommandFailure) {
        guard !path.isEmpty else { throw CommandFailure(.usage, "the name of a file is empty; name one") }
        guard !path.hasSuffix("/") else { throw CommandFailure(.usage, "\(path) is the name of a folder; name a file") }
        let path = try followed(StateFolder.absolute(path))
        let former = try? FileStatus.of(path, followsLinks: false)
        do {
            if former?.kind == .directory { throw SystemError(code: EISDIR, operation: "write to", path: path) }
            if let former, former.kind != .regular {
                let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
                try file.write(contentsOf: data)
                return try file.close()
            }
            let new = "\(path).\(ProcessInfo.processInfo.processIdentifier).new"
            do {
                // What replaces another gets its mode when it has its group.
                let file = try File.open(
                    path: new, [.readWrite, .create, .exclusive], permissions: former == nil ? mode : 0o600)
                try file.write(data, path: new)
                if let former {
                    let group = try FileManager.default.attributesOfItem(atPath: path)[.groupOwnerAccountID] as? UInt32
                    try file.give(to: former.owner, group: group, permissions: former.permissions)
                }
                try File.rename(new, to: path)
            } catch {
                try? File.remove(new)
                throw error
            }
        } catch {
            throw CommandFailure(.systemError, "\(path) cannot be written: \(SystemReason.text(error))")
        }
    }
}

extension OutputFile {
    /// The most links that are followed, as in Linux.
    private static let maximumLinks = 40

    /// Where the links at `path` lead, if only to what is not there yet.
    private static func followed(_ path: String) throws(CommandFailure) -> String {
        var path = path
        for _ in 0..<maximumLinks {
            guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path) else { return path }
            path = target.hasPrefix("/") ? target : (path as NSString).deletingLastPathComponent + "/" + target
        }
        throw CommandFailure(
            .systemError, "\(path) cannot be written: \(SystemError(code: ELOOP, operation: "follow").reason)")
    }
}

extension File {
    fileprivate func write(_ data: Data, path: String) throws {
        var status = 0 as Int32
        if case .failed(let code) = write(Array(data).rawSpan, fileOffset: 0) { status = code }
        if status == 0 { status = synchronize() }
        guard status == 0 else { throw SystemError(code: status, operation: "write", path: path) }
    }
}
