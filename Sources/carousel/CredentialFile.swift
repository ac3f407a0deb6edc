import Foundation
import ISCSI
import Initiator
import Platform

/// CHAP names and secrets that a command uses as an initiator, from a file or standard input: never from the command
/// line, which everybody on the machine can read.
///
/// The first line is USER%SECRET of the initiator; the second, where there is one, the target's, for mutual CHAP.
struct CredentialFile {
    /// The most bytes of a file: two names and secrets of 255 bytes fit several times.
    private static let maximumLength = 4096

    let initiator: CHAPCredential
    let target: CHAPCredential?

    /// Reads the file at `path`, or standard input for `-`, where a terminal is asked.
    init(path: String) throws(CommandFailure) {
        guard path != "-" || !Terminal.isInteractive else {
            let first = Terminal.readSecret(prompt: "USER%SECRET of the initiator: ") ?? ""
            let second = Terminal.readSecret(prompt: "USER%SECRET of the target, or nothing: ") ?? ""
            try self.init(text: "\(first)\n\(second)", name: "the terminal")
            return
        }
        guard path != "-" else {
            let data = (try? FileHandle.standardInput.read(upToCount: Self.maximumLength)) ?? Data()
            try self.init(text: String(decoding: data, as: UTF8.self), name: "standard input")
            return
        }
        let data: Data?
        let mode: Int
        do {
            mode = (try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int) ?? 0o777
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            data = try file.read(upToCount: Self.maximumLength)
        } catch {
            throw CommandFailure(.usage, "\(path) cannot be read; give a file with USER%SECRET in its first line")
        }
        guard mode & 0o077 == 0 else {
            throw CommandFailure(
                .usage, "\(path) has secrets that others may read; close it to them: chmod 600 \(path)")
        }
        try self.init(text: String(decoding: data ?? Data(), as: UTF8.self), name: path)
    }

    /// The credentials in `text`, of which `name` is the origin.
    init(text: String, name: String) throws(CommandFailure) {
        let lines = text.split(whereSeparator: \.isNewline)
        guard (1...2).contains(lines.count), let first = ISCSIURL.credential(lines[0]) else {
            throw CommandFailure(
                .usage,
                "\(name) has no credential; write USER%SECRET of the initiator in the first line, "
                    + "and the target's in the second for mutual CHAP")
        }
        initiator = first
        guard lines.count > 1 else {
            target = nil
            return
        }
        guard let second = ISCSIURL.credential(lines[1]) else {
            throw CommandFailure(.usage, "the second line of \(name) is no credential; write USER%SECRET of the target")
        }
        target = second
    }
}
