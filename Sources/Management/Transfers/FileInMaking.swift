import Bytes
import Foundation
import Platform
import Resources

/// A file of the host that has no name until it is whole, so that nothing of it stays when the daemon is killed. Where
/// the file system has no such files, it has a hidden one meanwhile.
final class FileInMaking {
    let file: File
    private let folder: String
    private var hiddenPath: String?

    /// One in `folder`, for its owner only. With `isScratch` it never gets a name.
    init(in folder: String, isScratch: Bool = false) throws(ManagementError) {
        self.folder = folder
        do throws(SystemError) {
            if let unnamed = try? File.open(path: folder, [.readWrite, .unnamed], permissions: 0o600) {
                file = unnamed
                return
            }
            let path = folder + "/.carousel-\(UUID().uuidString)"
            file = try File.open(path: path, [.readWrite, .create, .exclusive], permissions: 0o600)
            if isScratch { try File.remove(path) } else { hiddenPath = path }
        } catch {
            throw ManagementError(
                .system,
                "cannot make a file in \(folder): \(error.reason); the folder must be there, and the daemon's user "
                    + "must be able to write there")
        }
    }

    deinit { if let hiddenPath { try? File.remove(hiddenPath) } }

    /// Makes what was written durable.
    func synchronize() throws(ManagementError) {
        let code = file.synchronize()
        guard code == 0 else { throw Self.unwritten(folder, SystemError(code: code, operation: "synchronize")) }
    }

    /// Gives the file, which is durable, the name `path` in its folder, where nothing is; durable on return.
    func give(name path: String) throws(ManagementError) {
        do throws(SystemError) {
            if let hiddenPath {
                try File.rename(hiddenPath, toNew: path)
                self.hiddenPath = nil
            } else {
                try file.link(as: path)
            }
            do throws(SystemError) {
                try File.synchronizeDirectory(path: folder)
            } catch {
                try? File.remove(path)
                throw error
            }
        } catch {
            throw Self.unwritten(path, error)
        }
    }

    /// Makes the file `length` bytes long.
    func setLength(_ length: Int64) throws(ManagementError) {
        let code = file.truncate(to: length)
        guard code == 0 else { throw Self.unwritten(folder, SystemError(code: code, operation: "resize")) }
    }

    /// Writes `bytes`, which begin at `offset`.
    func write(_ bytes: [UInt8], _ offset: Int64) throws(ManagementError) {
        if case .failed(let code) = file.write(bytes.rawSpan, fileOffset: offset) {
            throw Self.unwritten(folder, SystemError(code: code, operation: "write"))
        }
    }

    private static func unwritten(_ path: String, _ error: SystemError) -> ManagementError {
        ManagementError(.system, "cannot write the file for \(path): \(error.reason)")
    }
}
