import Catalog
import Encryption
import Foundation
import Platform
import Resources

import class Media.RawDiskImage

// The key of an encrypted disk is in a file beside its image, encrypted under a key of the user's, of which the catalog
// knows where it comes from, never what it is.
extension ControlPlane {
    /// The user's key of the disk `name` with that spec; nil of a plain one.
    ///
    /// - Throws: `ManagementError.Code.damaged` when it cannot be had, in one sentence. What does not answer keeps
    ///   nobody for longer than `FileLooks.limit`.
    func userKey(of spec: Disk.Spec, disk name: String) throws(ManagementError) -> UserKey? {
        guard let source = UserKeySource(spec) else { return nil }
        guard let outcome = looks.look(at: "the key of disk \(name)", { source.result() }) else {
            throw ManagementError(.damaged, "disk '\(name)': \(source) does not answer; see to that")
        }
        switch outcome {
        case .success(let key): return key
        case .failure(let error):
            throw ManagementError(.damaged, "disk '\(name)': its key cannot be had: \(error.message)")
        }
    }

    /// Refuses a new encrypted image where a key file, or what has its name, has been left, or will be the image of a
    /// disk.
    func checkHasNoKey(newImage path: String) throws(ManagementError) {
        let file = RawDiskImage.keyPath(ofImage: path)
        if try StateFolder.hasEntry(file) {
            throw ManagementError(
                .conflict,
                "\(file) exists already; give the disk another name, or move the file away if it is no disk's")
        }
        let place = folder.resolved(file)
        for user in try query({ () throws(CatalogError) in try catalog.disks() })
        where folder.resolved(folder.imagePath(user.image)) == place {
            throw ManagementError(
                .conflict, "\(file) would be the image of disk '\(user.name)'; give the disk another name")
        }
    }

    /// Refuses an image that is encrypted, for nobody has said where its key comes from; also one with a key file
    /// beside it, for a copy without its attributes does not say that it is.
    func checkIsPlain(image path: String) throws(ManagementError) {
        let key = RawDiskImage.keyPath(ofImage: path)
        let (isEncrypted, hasKey): (Bool, Bool)
        do {
            isEncrypted = try RawDiskImage.isEncrypted(path)
            hasKey = try RawDiskImage.hasKeyFile(besideImage: path)
        } catch {
            throw ManagementError(.system, "whether image \(path) is encrypted cannot be found out: \(error.reason)")
        }
        guard !isEncrypted else {
            throw ManagementError(
                .conflict,
                "image \(path) is encrypted; make a disk of its size with its key, stop the daemon, and put the image "
                    + "and \(key) in the place of that disk's")
        }
        guard !hasKey else {
            throw ManagementError(
                .conflict,
                "\(key) is the key of an encrypted image, so image \(path) is not taken for a plain one; move the key "
                    + "away if the image is no copy of that one without its attributes")
        }
    }
}

/// Where the user's key of a disk comes from.
struct UserKeySource: Sendable, CustomStringConvertible {
    /// How long a command may take.
    static let commandLimit = Duration.seconds(10)

    private let file: String?
    private let command: [String]

    /// Nil for a plain disk.
    init?(_ spec: Disk.Spec) {
        guard spec.isEncrypted else { return nil }
        file = spec.encryptionKeyFile
        command = spec.keyCommandWords
    }

    var description: String { file.map { "key file \($0)" } ?? "key command \(command.first ?? "")" }

    /// The key, or why there is none.
    func result() -> Result<UserKey, ManagementError> {
        do throws(ManagementError) {
            if let file { return .success(try Self.key(inFile: file)) }
            return .success(try Self.key(fromCommand: command))
        } catch {
            return .failure(error)
        }
    }

    private static func key(inFile path: String) throws(ManagementError) -> UserKey {
        let file: File
        let status: FileStatus
        do {
            // Before the opening as well: to open a device may do something to it.
            guard try FileStatus.of(path).kind == .regular else { throw isNoFile(path) }
            file = try File.open(path: path, .nonBlocking)
            status = try file.status()
        } catch let error as SystemError {
            throw ManagementError(.damaged, "key file \(path) cannot be read: \(error.reason)")
        } catch {
            throw isNoFile(path)
        }
        guard status.kind == .regular else { throw isNoFile(path) }
        guard status.permissions & 0o007 == 0 else {
            throw ManagementError(.damaged, "key file \(path) can be used by everybody; run 'chmod o= \(path)'")
        }
        let bytes = SecretBytes(count: min(Int(clamping: status.length), UserKey.lengths.upperBound + 1))
        guard bytes.fill({ file.read(into: &$0, fileOffset: 0) }) == .done(bytes.count) else {
            throw ManagementError(.damaged, "key file \(path) cannot be read, or is being written")
        }
        return try key(bytes, "key file \(path)")
    }

    private static func isNoFile(_ path: String) -> ManagementError {
        ManagementError(.damaged, "key file \(path) is no regular file")
    }

    private static func key(fromCommand words: [String]) throws(ManagementError) -> UserKey {
        let source = "key command \(words.first ?? "")"
        let bytes = SecretBytes(count: UserKey.lengths.upperBound + 1)
        let outcome: Result<(count: Int, status: Int32), SystemError> = bytes.fill { bytes in
            do throws(SystemError) {
                return .success(try Program.output(of: words, into: &bytes, within: commandLimit))
            } catch {
                return .failure(error)
            }
        }
        switch outcome {
        case .success((let count, 0)): return try key(bytes.prefix(count), source)
        case .success((_, let status)): throw ManagementError(.damaged, "\(source) has ended with status \(status)")
        case .failure(let error):
            let isLate = error.code == Errno.timedOut
            throw ManagementError(
                .damaged,
                isLate
                    ? "\(source) has not ended within \(commandLimit.components.seconds) s"
                    : "\(source) cannot be run: \(error.reason)")
        }
    }

    private static func key(_ bytes: SecretBytes, _ source: String) throws(ManagementError) -> UserKey {
        do throws(EncryptionError) {
            return try UserKey(bytes)
        } catch {
            throw ManagementError(
                .damaged,
                "\(source) gives \(bytes.count) bytes, but a key has \(UserKey.lengths.lowerBound) to "
                    + "\(UserKey.lengths.upperBound)")
        }
    }
}
