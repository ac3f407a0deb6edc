internal import Foundation
internal import Platform
internal import Synchronization

/// The few questions about names of files that this module has.
enum FilePath {
    /// The directory part of `path`.
    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The part of `path` after the last slash.
    static func name(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    static func join(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }

    /// Whether there is a symbolic link of that name.
    static func isLink(_ path: String) -> Bool {
        guard let status = try? FileStatus.of(path, followsLinks: false) else { return false }
        return status.kind == .link
    }

    /// Whether there is a directory of that name, no link to one.
    static func isDirectory(_ path: String) -> Bool {
        (try? FileStatus.of(path, followsLinks: false))?.kind == .directory
    }

    /// Whether there is something of that name, if only a link that leads nowhere.
    static func isName(_ path: String) -> Bool { (try? FileStatus.of(path, followsLinks: false)) != nil }

    /// Whether that name leads to something.
    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// The names in a directory, in no order.
    static func names(in directory: String) throws(SystemError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw systemError(error, "list", directory)
        }
    }

    static func makeDirectory(_ path: String) throws(SystemError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch {
            throw systemError(error, "make directory", path)
        }
    }

    /// Gives a file or directory another name on the same file system, which must be free.
    static func rename(_ path: String, to target: String) throws(SystemError) {
        do {
            try FileManager.default.moveItem(atPath: path, toPath: target)
        } catch {
            throw systemError(error, "rename", path)
        }
    }

    /// Removes a file or a directory with all that is in it; gives an error number when it stays.
    @discardableResult
    static func remove(_ path: String) -> SystemError? {
        do {
            try FileManager.default.removeItem(atPath: path)
            return nil
        } catch {
            return systemError(error, "remove", path)
        }
    }

    /// Removes a directory in which nothing is, or a link.
    static func removeEmpty(_ path: String) throws(SystemError) {
        if isLink(path) { try File.remove(path) } else { try File.removeDirectory(path) }
    }

    private static func systemError(_ error: any Error, _ operation: StaticString, _ path: String) -> SystemError {
        let error = error as NSError
        let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
        if cause.domain == NSPOSIXErrorDomain {
            return SystemError(code: Int32(cause.code), operation: operation, path: path)
        }
        switch error.code {
        case CocoaError.Code.fileNoSuchFile.rawValue, CocoaError.Code.fileReadNoSuchFile.rawValue:
            return SystemError(code: Errno.noSuchFile, operation: operation, path: path)
        case CocoaError.Code.fileWriteFileExists.rawValue:
            return SystemError(code: Errno.fileExists, operation: operation, path: path)
        case CocoaError.Code.fileWriteOutOfSpace.rawValue:
            return SystemError(code: Errno.noSpace, operation: operation, path: path)
        default:
            return SystemError(code: Errno.inputOutput, operation: operation, path: path)
        }
    }
}

/// A length that many threads read and its owner changes rarely.
final class AtomicLength: Sendable {
    private let word: Atomic<Int64>

    init(_ value: Int64) {
        word = Atomic(value)
    }

    var value: Int64 {
        get { word.load(ordering: .acquiring) }
        set { word.store(newValue, ordering: .releasing) }
    }
}
