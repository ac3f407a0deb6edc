import Foundation
import Platform

/// Where a secret comes from: never from the command line, which others can see.
struct SecretSource {
    /// Far more than any secret: a wrong file is not read to its end.
    private static let limit = 4096
    let path: String?

    /// The first line of the file or of standard input, or what is typed.
    ///
    /// - Parameters:
    ///   - label: What it is, for prompt and sentences.
    ///   - option: The option that names the file, with its dashes.
    func read(_ label: String, option: String) throws(CommandFailure) -> [UInt8] {
        let line: Data
        switch path {
        case "":
            throw CommandFailure(
                .usage, "'' is no name for a file; name one whose first line is the \(label) with \(option)")
        case "-":
            guard let first = Self.firstLine(of: FileHandle.standardInput) else {
                throw CommandFailure(.usage, "standard input with the \(label) cannot be read; check what it is")
            }
            line = first
        case let path?:
            guard (try? FileStatus.of(path))?.kind != .directory else {
                throw CommandFailure(
                    .usage, "\(path) is a directory; name a file whose first line is the \(label) with \(option)")
            }
            guard let file = FileHandle(forReadingAtPath: path), let first = Self.firstLine(of: file) else {
                throw CommandFailure(
                    .usage, "the file \(path) with the \(label) cannot be read; check its name and who may read it")
            }
            line = first
        case nil:
            guard Terminal.isInteractive, let typed = Terminal.readSecret(prompt: "\(label): ") else {
                throw CommandFailure(
                    .usage,
                    "there is no terminal to ask for the \(label); give it with \(option) FILE, or - for standard input"
                )
            }
            line = Data(typed.utf8)
        }
        guard !line.isEmpty else {
            throw CommandFailure(.usage, "the \(label) is empty; give it in the first line")
        }
        return Array(line)
    }

    /// Nil when it cannot be read.
    private static func firstLine(of file: FileHandle) -> Data? {
        var data = Data()
        while data.count < limit, !data.contains(0x0A) {
            let piece: Data?
            do { piece = try file.read(upToCount: limit - data.count) } catch { return nil }
            guard let piece, !piece.isEmpty else { break }
            data.append(piece)
        }
        var line = data.prefix { $0 != 0x0A }
        if line.last == 0x0D { line.removeLast() }
        return Data(line)
    }
}
