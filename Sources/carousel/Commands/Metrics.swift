import ArgumentParser
import Console
import Foundation

/// `carousel metrics`
struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Print what the daemon has counted, for Prometheus.",
        discussion: """
            What GET /metrics on the daemon's socket answers, in the text format of Prometheus: for a collector that \
            reads files, such as the node exporter's (write a file beside it first, then rename it).
            """)

    @OptionGroup var state: StateOptions

    func run() async throws {
        let text = try await state.daemon.metrics()
        _ = Output.write(text)
    }
}
