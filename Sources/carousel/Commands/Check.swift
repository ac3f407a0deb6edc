import ArgumentParser
import Console
import Dispatch
import Foundation
import Glibc
import Management
import Platform
import Resources

/// `carousel check`
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check the catalog, images of disks and cartridges, all that is stored of them.",
        discussion: """
            It reads every record of every cartridge and all that an image holds, while the daemon serves. Cartridges \
            in drives are left out, and a drive that wants one ends its check. Exit code 0 means that nothing is \
            wrong, 65 that something is, and is not repaired. Ctrl-C ends the check.
            """)

    @Argument(help: "Disks, libraries, and cartridges as LIBRARY/BARCODE; everything if left out.")
    var names: [String] = []
    @Flag(help: "Make an index anew where the data of the cartridge are whole; nothing else is changed.")
    var repair = false
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let daemon = state.daemon
        var status: CheckStatus = try await daemon.post("check", CheckRequest(names: names, repairs: repair))
        let interruption = Interruption()
        let isTerminal = isatty(STDERR_FILENO) == 1
        var isCancelling = false
        while status.isRunning {
            if isTerminal { Self.showProgress(status) }
            try await Task.sleep(for: isCancelling || status.done == 0 ? .milliseconds(50) : .milliseconds(500))
            if interruption.hasCome, !isCancelling {
                isCancelling = true
                status = try await daemon.delete("check")
            } else {
                status = try await daemon.get("check")
            }
        }
        if isTerminal { Self.write("\r\u{1B}[K") }
        try output.show(status, text: Self.describe)
        if status.isCancelled { throw CommandFailure(.refused, "the check was ended before it was through") }
        let open = status.findings.count { $0.isOpen }
        guard open + status.omitted == 0 else {
            throw CommandFailure(.dataError, "\(open + status.omitted) things are wrong")
        }
    }

    private static func describe(_ status: CheckStatus) -> String {
        let table = Output.table(
            ["KIND", "NAME", "SEVERITY", "FOUND"],
            status.findings.map {
                [
                    $0.kind.rawValue, $0.name, $0.isRepaired ? "repaired" : $0.severity.rawValue,
                    PrintableText.escaped($0.sentence),
                ]
            }, empty: "nothing is wrong")
        let more = status.omitted > 0 ? "\nand \(status.omitted) more" : ""
        return table + more
            + "\n\n\(status.checked) of \(status.subjects) checked, \(ByteSize.format(status.done)) read"
    }

    private static func showProgress(_ status: CheckStatus) {
        let part = status.total > 0 ? status.done * 100 / status.total : 0
        write("\r\u{1B}[K\(part) %, \(status.checked) of \(status.subjects), \(ByteSize.format(status.done))")
    }

    private static func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}

/// Remembers whether SIGINT has come, which does not end the process any more.
private final class Interruption {
    private let source: any DispatchSourceSignal
    private let flag = Flag()

    private final class Flag: Sendable {
        let isSet = Lock(false)
    }

    init() {
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { [flag] in flag.isSet.withLock { $0 = true } }
        source.resume()
    }

    var hasCome: Bool { flag.isSet.withLock { $0 } }
}
