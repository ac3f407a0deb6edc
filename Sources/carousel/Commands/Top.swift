import ArgumentParser
import Console
import Foundation
import Management
import Platform

/// `carousel top`
struct Top: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show which devices and sessions are busy.",
        discussion: """
            Rates and latencies of the commands since the last look, the busiest first: P50 is what half of them did \
            not take longer than, P99 what 99 % did not. A latency begins when the daemon finds a command at a socket \
            and ends with its outcome, data included. On a terminal the display is redrawn until q or Ctrl-C is \
            pressed; elsewhere each look prints its lines, with --json one line.
            """)

    private static let intervals = 0.1...3600

    @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "s"))
    var interval = NumberWord(2)
    @Flag(help: "End after one look.")
    var once = false
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    /// The interval in seconds.
    func seconds() throws(CommandFailure) -> Double {
        let seconds = try interval.decimal(for: "--interval")
        guard Self.intervals.contains(seconds) else {
            throw CommandFailure(.usage, "an interval of \(seconds) s is not possible; give 0.1 to 3600")
        }
        return seconds
    }

    func run() async throws {
        let interval = try seconds()
        let daemon = try state.daemon
        var before: DaemonStatistics = try await daemon.get("statistics")
        let screen = once || output.isJSON || !Terminal.isOutput ? nil : TopScreen()
        defer { screen?.restore() }
        while true {
            guard try await Self.wait(interval, screen) else { return }
            let after: DaemonStatistics = try await daemon.get("statistics")
            let figures = TopFigures(from: before, to: after)
            before = after
            if let screen {
                let size = Terminal.size
                screen.show(
                    TerminalText.lines(TopText.text(figures, rows: size?.rows ?? 24, columns: size?.columns ?? 80)))
            } else if once {
                return try output.show(figures) { TopText.text($0) }
            } else {
                try Self.write(figures, isJSON: output.isJSON)
            }
        }
    }

    /// Waits `interval` seconds, until the next look; false when the user wants no other.
    private static func wait(_ interval: Double, _ screen: TopScreen?) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(interval)
        repeat {
            if screen?.isToEnd() == true { return false }
            let rest = end - ContinuousClock.now
            try await Task.sleep(for: screen == nil ? max(.zero, rest) : max(.zero, min(rest, .milliseconds(50))))
        } while ContinuousClock.now < end
        return true
    }

    /// Unlike other output, it ends with whoever reads it.
    private static func write(_ figures: TopFigures, isJSON: Bool) throws {
        let text =
            isJSON
            ? TerminalText.json(String(decoding: try APICoding.encode(figures), as: UTF8.self))
            : TerminalText.lines(TopText.text(figures)) + "\n"
        guard Output.write(text + "\n") else { throw ExitCode.success }
    }
}
