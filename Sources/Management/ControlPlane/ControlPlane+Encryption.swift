import Catalog
import Encryption
import Foundation
import Platform
import Resources

import enum Media.ImageKeyFile

// The key of an encrypted disk is in a file beside its image, encrypted under a key of the user's, of which the catalog
// knows where it comes from, never what it is.
extension ControlPlane {
    /// The user's key of the disk `name` with that spec; nil of a plain one.
    ///
    /// - Throws: `ManagementError.Code.conflict` when it cannot be had, in one sentence. What does not answer keeps
    ///   nobody for longer than `FileLooks.limit`.
    func userKey(of spec: Disk.Spec, disk name: String) throws(ManagementError) -> UserKey? {
        try userKeys(of: [(name, spec)])[name]?.get()
    }

    /// The keys of several disks, asked for side by side, or why there is none; without those of plain disks.
    func userKeys(of disks: [(name: String, spec: Disk.Spec)]) -> [String: Result<UserKey, ManagementError>] {
        looks.userKeys(of: disks)
    }

    /// The user's key of a new disk; nil of a plain one. A command is run a second time: one that gives something else
    /// then would give nothing with which the disk can be opened again.
    func userKey(ofNew spec: Disk.Spec, disk name: String) throws(ManagementError) -> UserKey? {
        guard let key = try userKey(of: spec, disk: name) else { return nil }
        guard spec.encryptionKeyCommand != nil else { return key }
        guard let again = try userKey(of: spec, disk: name), again.isSame(as: key) else {
            throw UserKeySource.refusal(
                name,
                "its key command gives something else each time, with which the disk could not be opened again; give "
                    + "one that writes the same key whenever it is run")
        }
        return key
    }

    /// Refuses a new image where a key file, or what has its name, has been left, and an encrypted one where that will
    /// be the image of a disk.
    func checkHasNoKey(newImage path: String, isEncrypted: Bool) throws(ManagementError) {
        let file = ImageKeyFile.path(ofImage: path)
        if try StateFolder.hasEntry(file) {
            throw ManagementError(
                .conflict,
                "\(file) exists already; give the disk another name, or move the file away if it is no disk's")
        }
        guard isEncrypted else { return }
        let place = folder.resolved(file)
        for user in try query({ () throws(CatalogError) in try catalog.disks() })
        where folder.resolved(folder.imagePath(user.image)) == place {
            throw ManagementError(
                .conflict, "\(file) would be the image of disk '\(user.name)'; give the disk another name")
        }
    }

    /// Refuses an image that is the key file of another one, of no disk that is known: as a disk it would be written
    /// over.
    func checkIsNoKey(_ image: String) throws(ManagementError) {
        guard (try? ImageKeyFile.isKeyFile(image)) == true else { return }
        throw ManagementError(
            .conflict,
            "\(image) is the key of an encrypted image, which nobody can read without it; give another file")
    }

    /// Refuses an image that is encrypted, for nobody has said where its key comes from; also one with a key file
    /// beside it, for a copy without its attributes does not say that it is, and with anything else that has the name
    /// of one: nothing would use that.
    func checkIsPlain(image path: String) throws(ManagementError) {
        let key = ImageKeyFile.path(ofImage: path)
        let (isEncrypted, hasKey): (Bool, Bool)
        do {
            isEncrypted = try ImageKeyFile.isEncrypted(path)
            hasKey = try ImageKeyFile.exists(besideImage: path)
        } catch {
            throw ManagementError(.system, "whether image \(path) is encrypted cannot be found out: \(error.reason)")
        }
        guard !isEncrypted else {
            throw ManagementError(
                .conflict,
                "image \(path) is encrypted; move it and \(key) into \(folder.path)/\(StateFolder.imageFolder) if they "
                    + "are elsewhere, and take it up with 'carousel adopt disk' and --encryption-key-file or "
                    + "--encryption-key-command")
        }
        guard !hasKey else {
            throw ManagementError(
                .conflict,
                "\(key) is the key of an encrypted image, so image \(path) is not taken for a plain one; move the key "
                    + "away if the image is no copy of that one without its attributes")
        }
        guard try !StateFolder.hasEntry(key) else {
            throw ManagementError(
                .conflict,
                "\(key) is there, which is no key of an image, and nothing would use it; move it away, or give image "
                    + "\(path) another name")
        }
    }
}

/// Where the user's key of a disk comes from.
struct UserKeySource: Sendable, CustomStringConvertible {
    /// What is told of a disk of which there is no key.
    static func refusal(_ disk: String, _ reason: String) -> ManagementError {
        ManagementError(.conflict, "disk '\(disk)': \(reason)")
    }

    /// How long a command may take.
    static let commandLimit = Duration.seconds(10)
    /// The keys of how many disks are asked for side by side at the start, which waits no longer than for the slowest
    /// of them.
    static let sideBySide = 4

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
            throw ManagementError(.conflict, "key file \(path) cannot be read: \(error.reason)")
        } catch {
            throw isNoFile(path)
        }
        guard status.kind == .regular else { throw isNoFile(path) }
        guard status.permissions & 0o007 == 0 else {
            throw ManagementError(.conflict, "key file \(path) can be used by everybody; run 'chmod o= \(path)'")
        }
        let bytes = SecretBytes(count: min(Int(clamping: status.length), UserKey.lengths.upperBound + 1))
        guard bytes.fill({ file.read(into: &$0, fileOffset: 0) }) == .done(bytes.count) else {
            throw ManagementError(.conflict, "key file \(path) cannot be read, or is being written")
        }
        return try key(bytes, "key file \(path)")
    }

    private static func isNoFile(_ path: String) -> ManagementError {
        ManagementError(.conflict, "key file \(path) is no regular file")
    }

    private static func key(fromCommand words: [String]) throws(ManagementError) -> UserKey {
        let source = "key command \(words.first ?? "")"
        let bytes = SecretBytes(count: UserKey.lengths.upperBound + 1)
        let outcome: Result<Program.Outcome, SystemError> = bytes.fill { bytes in
            do throws(SystemError) {
                return .success(try Program.output(of: words, into: &bytes, within: commandLimit))
            } catch {
                return .failure(error)
            }
        }
        switch outcome {
        case .success(let outcome):
            guard outcome.ending != .exited(0) else { return try key(bytes.prefix(outcome.count), source) }
            let said = lastLine(of: outcome.errors).map { ", and says: \($0)" } ?? ""
            throw ManagementError(.conflict, "\(source) \(sentence(of: outcome.ending))\(said)")
        case .failure(let error):
            throw ManagementError(.conflict, "\(source) cannot be run: \(error.reason)")
        }
    }

    private static func sentence(of ending: Program.Ending) -> String {
        switch ending {
        case .exited(let status): "has ended with status \(status)"
        case .signal(let number): "was ended by \(Program.name(ofSignal: number))"
        case .late: "has not ended within \(commandLimit.components.seconds) s"
        }
    }

    /// The most characters of what a command says that go into a sentence.
    static let saidLimit = 200

    /// The last line with anything in it, cut to `saidLimit` characters, with nothing that commands a terminal; nil
    /// when there is none.
    static func lastLine(of errors: String) -> String? {
        let lines = errors.split { $0.isNewline }.map { line in
            line.drop { $0.isWhitespace }
        }
        guard let line = lines.last(where: { !$0.isEmpty }) else { return nil }
        return PrintableText.escaped(String(line.prefix(saidLimit))) + (line.count > saidLimit ? "…" : "")
    }

    private static func key(_ bytes: SecretBytes, _ source: String) throws(ManagementError) -> UserKey {
        do throws(EncryptionError) {
            return try UserKey(bytes)
        } catch {
            throw ManagementError(
                .conflict,
                "\(source) gives \(bytes.count) bytes, but a key has \(UserKey.lengths.lowerBound) to "
                    + "\(UserKey.lengths.upperBound)")
        }
    }
}
