import Dispatch
import Glibc
import Logging
import Platform

/// Where the log goes: lines are written one after another by a thread of their own, so that nobody who logs, a reactor
/// among them, waits for whoever reads the log, or for ever when nobody does.
final class LogOutput: TextOutputStream, Sendable {
    /// The most lines that wait to be written. Those beyond are left out, and the log says how many.
    static let lineLimit = 8192
    /// How long the end of the daemon waits for lines that are not written yet.
    static let endPatience = DispatchTimeInterval.seconds(2)

    /// What the daemon says when it has started.
    static func standardOutput(_ logger: Logger) -> LogOutput {
        LogOutput(fileDescriptor: STDOUT_FILENO) { error in
            logger.warning("standard output cannot be written: \(error.reason)")
        }
    }
    /// The log of the daemon.
    static let standardError = LogOutput(fileDescriptor: STDERR_FILENO)

    private struct State {
        var waiting = 0
        var leftOut = 0
    }

    private let fileDescriptor: Int32
    private let whenFailed: @Sendable (SystemError) -> Void
    private let state = Lock(State())
    private let thread = DispatchQueue(label: "log")

    /// `whenFailed` hears of lines that cannot be written.
    init(fileDescriptor: Int32, whenFailed: @escaping @Sendable (SystemError) -> Void = { _ in }) {
        self.fileDescriptor = fileDescriptor
        self.whenFailed = whenFailed
    }

    /// Has a line written; never waits.
    func write(_ line: String) {
        let isTaken = state.withLock { state in
            guard state.waiting < Self.lineLimit else {
                state.leftOut += 1
                return false
            }
            state.waiting += 1
            return true
        }
        guard isTaken else { return }
        thread.async { [self] in
            put(line)
            // The next in the queue came before those that were left out.
            let leftOut = state.withLock { state in
                guard state.waiting == 1 else { return 0 }
                defer { state.leftOut = 0 }
                return state.leftOut
            }
            if leftOut > 0 { put("\(leftOut) lines were left out: they came faster than the log takes them\n") }
            state.withLock { $0.waiting -= 1 }
        }
    }

    /// Whether everything is written.
    var isIdle: Bool { state.withLock { $0.waiting == 0 } }

    /// Waits until what was logged is written, but no longer than `endPatience`.
    func flush() {
        let written = DispatchSemaphore(value: 0)
        thread.async { written.signal() }
        _ = written.wait(timeout: .now() + Self.endPatience)
    }

    private func put(_ line: String) {
        do throws(SystemError) {
            try StandardStreams.write(Array(line.utf8), to: fileDescriptor)
        } catch {
            // A reader that has gone away has seen enough. Where the log cannot be written there is nobody to tell.
            if error.code != Errno.brokenPipe { whenFailed(error) }
        }
    }
}
