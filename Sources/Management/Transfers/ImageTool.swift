import Bytes
import Foundation
import Platform
import Resources

/// The host's program for images of other formats: `qemu-img`, run without a shell.
struct ImageTool {
    static let name = "qemu-img"
    /// How long it may take to tell of an image.
    private static let questionLimit = Duration.seconds(60)
    /// The most bytes that it may tell.
    private static let answerLength = 1 << 20

    let path: String

    /// The one that is found first in PATH.
    init() throws(ManagementError) { try self.init(path: ProcessInfo.processInfo.environment["PATH"] ?? "") }

    /// The same in these folders, which colons divide.
    init(path folders: String) throws(ManagementError) {
        let places = folders.split(separator: ":").filter { $0.hasPrefix("/") }.map { "\($0)/\(Self.name)" }
        let found = places.first {
            FileManager.default.isExecutableFile(atPath: $0) && (try? FileStatus.of($0).kind) == .regular
        }
        guard let found else {
            throw ManagementError(
                .conflict,
                "there is no \(Self.name) in the PATH of the daemon, which reads and writes images of other formats; "
                    + "install it (Debian: qemu-utils, Fedora: qemu-img), or use raw images")
        }
        self.path = found
    }

    /// What it tells of the image in `file`.
    func information(of file: File, _ format: ForeignFormat) throws(ManagementError) -> JSONValue {
        var bytes = [UInt8](repeating: 0, count: Self.answerLength)
        let words = [path, "info", "--output=json", Self.description(of: file, format)]
        let result = bytes.modifyBytes { bytes in
            Result { () throws(SystemError) in
                try Program.output(of: words, into: &bytes, within: Self.questionLimit)
            }
        }
        let outcome: Program.Outcome
        do throws(SystemError) {
            outcome = try result.get()
        } catch {
            throw cannotRun(error)
        }
        guard outcome.ending == .exited(0), outcome.count < bytes.count,
            let answer = try? APICoding.decode(JSONValue.self, from: Data(bytes[..<outcome.count]))
        else {
            throw ManagementError(
                .damaged,
                "\(path) cannot read it as an image of the format \(format.rawValue)\(Self.said(outcome.errors))")
        }
        return answer
    }

    /// What an exit status of its check means that lets an image be read: it has no errors, blocks that nothing refers
    /// to, or a format that cannot be checked.
    private static let goodCheckStatuses: [Int32] = [0, 3, 63]
    /// How many of the last bytes are kept that a check writes.
    private static let keptCheckLength = 4096

    /// Refuses the image in `file`, a copy of that at `source`, when it refers to what is not there, as one does that
    /// is cut: to read it would give zeros. It takes as long as it takes, and ends with `job`.
    func check(_ file: File, _ format: ForeignFormat, _ source: String, job: Job) throws(ManagementError) {
        let ending: Program.Ending
        var said: [UInt8] = []
        do throws(SystemError) {
            ending = try Program.follow([path, "check", "-q", Self.description(of: file, format)]) { bytes in
                said = Array((said + bytes).suffix(Self.keptCheckLength))
                return !job.isStopping
            }
        } catch {
            throw cannotRun(error)
        }
        try job.check()
        if case .exited(let status) = ending, Self.goodCheckStatuses.contains(status) { return }
        throw ManagementError(
            .damaged,
            "\(source) is damaged or not whole: \(path) has checked it"
                + Self.said(String(decoding: said, as: UTF8.self)))
    }

    /// Writes what is in the image in `file` to `target`, one block after another. `progress` hears which part of it is
    /// done.
    func read(
        _ file: File, _ format: ForeignFormat, to target: File, job: Job, progress: (Double) -> Void
    ) throws(ManagementError) {
        try convert([Self.description(of: file, format)], "raw", target, job, progress)
    }

    /// Writes the blocks in `file` to `target` as an image of that format.
    func write(
        _ file: File, as format: ExportFormat, to target: File, job: Job, progress: (Double) -> Void
    ) throws(ManagementError) {
        try convert(["-f", "raw", file.processPath], format.rawValue, target, job, progress)
    }

    private func convert(
        _ source: [String], _ format: String, _ target: File, _ job: Job, _ progress: (Double) -> Void
    ) throws(ManagementError) {
        let ending: Program.Ending
        var output = ProgressText()
        do throws(SystemError) {
            let words = [path, "convert", "-p", "-O", format] + source + [target.processPath]
            ending = try Program.follow(words) { bytes in
                if let part = output.add(bytes) { progress(part) }
                return !job.isStopping
            }
        } catch {
            throw cannotRun(error)
        }
        try job.check()
        guard ending == .exited(0) else {
            throw ManagementError(.system, "\(path) has failed\(Self.said(output.rest))")
        }
    }

    private func cannotRun(_ error: SystemError) -> ManagementError {
        ManagementError(.system, "\(path) cannot be run: \(error.reason)")
    }

    private static func said(_ errors: String) -> String {
        UserKeySource.lastLine(of: errors).map { ", and says: \($0)" } ?? ""
    }

    /// The image in `file`, for the program: it neither guesses its format nor opens another file that it names.
    private static func description(of file: File, _ format: ForeignFormat) -> String {
        var members: [String: JSONValue] = [
            "driver": .text(format.rawValue), "read-only": true,
            "file": ["driver": "file", "filename": .text(file.processPath), "read-only": true],
        ]
        if format.mayHaveBacking { members["backing"] = .null }
        return "json:" + (JSONValue.object(members).serialized ?? "")
    }
}

/// What the program writes on its way: `(12.50/100%)`, again and again.
struct ProgressText {
    /// The longest that is kept of what is no number, or not yet.
    private static let keptLength = 1024
    private var kept: [UInt8] = []

    /// The end of what it has written besides.
    var rest: String { String(decoding: kept, as: UTF8.self) }

    /// Which part is done, from 0 to 1, as the last number in what was written so far says; nil when there is no new
    /// one.
    mutating func add(_ bytes: [UInt8]) -> Double? {
        kept += bytes
        var found: Double?
        while let end = kept.firstIndex(of: UInt8(ascii: "/")) {
            if let start = kept[..<end].lastIndex(of: UInt8(ascii: "(")),
                let percent = Double(String(decoding: kept[(start + 1)..<end], as: UTF8.self)),
                (0...100).contains(percent)
            {
                found = percent / 100
            }
            kept.removeFirst(end + 1)
        }
        kept = Array(kept.suffix(Self.keptLength))
        return found
    }
}
