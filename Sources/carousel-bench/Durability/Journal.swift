internal import Bytes
internal import Platform

/// A text file of what a target has promised: lines of words, each on stable storage before the writer goes on.
///
/// The first line says what the journal is about; a line without its end, from a crash of the writer, does not count.
final class Journal: Sendable {
    /// The most bytes of a journal; a loop of hundreds of rounds stays far below.
    private static let maximumLength: Int64 = 256 << 20

    private let file: File
    private let end: Lock<Int64>
    /// The lines that were there when it was opened, each as its words.
    let lines: [[Substring]]

    /// Opens the journal at `path`, which is made when it is not there.
    init(path: String) throws {
        file = try File.open(path: path, [.readWrite, .create])
        let length = try file.size()
        guard length <= Self.maximumLength else { throw Complaint("\(path) is too long for a journal") }
        var bytes = [UInt8](repeating: 0, count: Int(length))
        let file = file
        let result = bytes.modifyBytes { file.read(into: &$0, fileOffset: 0) }
        guard case .done = result else { throw Complaint("\(path) cannot be read") }
        let newline = UInt8(ascii: "\n")
        let complete = bytes.lastIndex(of: newline).map { $0 + 1 } ?? 0
        let text = String(decoding: bytes[..<complete], as: UTF8.self)
        lines = text.split(separator: "\n").map { $0.split(separator: " ") }
        end = Lock(Int64(complete))
    }

    /// Appends a line and waits until it is on stable storage. Any thread.
    func append(_ line: String) throws {
        let bytes = Array((line + "\n").utf8)
        let isWritten = end.withLock { end in
            guard file.write(bytes.rawSpan, fileOffset: end) == .done(bytes.count), file.synchronizeData() == 0 else {
                return false
            }
            end += Int64(bytes.count)
            return true
        }
        guard isWritten else { throw Complaint("\(file.path) cannot be written") }
    }
}

extension [Substring] {
    /// The word at `index` as a number of type `Number`.
    func number<Number: FixedWidthInteger>(_ index: Int, as kind: Number.Type = Number.self) throws -> Number {
        guard index < count, let number = Number(self[index]) else {
            throw Complaint("the journal's line \"\(joined(separator: " "))\" is malformed")
        }
        return number
    }
}
