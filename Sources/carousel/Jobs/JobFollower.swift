import ArgumentParser
import Console
import Foundation
import Glibc
import Platform
import Resources

/// Whether a command waits for the end of the job that it begins.
protocol JobSource {
    static var isJob: Bool { get }
}

/// `--no-wait`, for those commands only that begin a job.
struct WaitingOption<Source: JobSource>: ParsableArguments, CustomReflectable {
    /// Whether the command only begins the job.
    private(set) var isDeclined = false

    init() {}

    var customMirror: Mirror {
        guard Source.isJob else { return Mirror(self, children: []) }
        let flag = Flag<Bool>(
            wrappedValue: false, name: .customLong("no-wait"), help: "Begin the job, print it, and do not wait for it.")
        return Mirror(self, children: [(label: "noWait", value: flag)])
    }

    private enum CodingKeys: CodingKey { case noWait }

    init(from decoder: any Decoder) throws {
        guard Source.isJob else { return }
        let container = try decoder.container(keyedBy: CodingKeys.self)
        isDeclined = try container.decode(Flag<Bool>.self, forKey: .noWait).wrappedValue
    }
}

/// Waits for jobs at a terminal: one line on standard error tells how far the job is, where that is a terminal, and
/// Ctrl-C leaves the job to itself.
struct JobFollower {
    let daemon: ControlClient

    /// Waits for the end of the job, and gives it as it ended.
    func finish(_ job: JSONValue) async throws -> JSONValue {
        Interruption.say(Self.farewell(job))
        defer { Interruption.say(nil) }
        defer { if Terminal.errorColumns != nil { Self.write("\r\u{1B}[K") } }
        return try await daemon.finish(job) { job in
            guard let columns = Terminal.errorColumns else { return }
            Self.write("\r\u{1B}[K" + JobText.progress(job, columns: columns - 1))
        }
    }

    /// What Ctrl-C says.
    static func farewell(_ job: JSONValue) -> String {
        let name = job["name"]?.text ?? ""
        return "job \(name), \(job["status"]?["work"]?.text ?? ""), goes on; 'carousel job wait \(name)' follows it, "
            + "'carousel job cancel \(name)' ends it"
    }

    private static func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}

/// What Ctrl-C says before it ends the process.
private enum Interruption {
    private static let sentence = Lock<String?>(nil)
    /// Watches for Ctrl-C from its first use on; nil where that cannot be watched, and ends the process as it always
    /// does.
    private static let watch: Void? = try? Signals.watch([Signals.interrupt]) { _ in
        if let sentence = sentence.withLock({ $0 }) {
            let start = Terminal.errorColumns == nil ? "" : "\r\u{1B}[K"
            try? FileHandle.standardError.write(
                contentsOf: Data("\(start)carousel: \(PrintableText.escaped(sentence))\n".utf8))
        }
        exit(ExitStatus.interrupted.rawValue)
    }

    /// Has Ctrl-C say this; nothing when nil.
    static func say(_ text: String?) {
        _ = watch
        sentence.withLock { $0 = text }
    }
}
