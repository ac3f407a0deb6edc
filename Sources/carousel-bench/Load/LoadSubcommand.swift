internal import ArgumentParser
internal import Foundation
internal import Initiator

/// `carousel-bench load`.
struct LoadSubcommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Keeps commands under way on a disk or a tape drive, and prints how many ended and how fast.",
        discussion: """
            On a disk the commands are READ and WRITE of 10 or 16 bytes; on a tape drive READ and WRITE of 6 bytes \
            with variable blocks, from the start of the tape, again and again. The data of a write does not compress.

            The exit status is 1 when a command failed or a connection broke.
            """)

    /// The most connections of one run.
    private static let maximumConnections = 256

    @Option(help: LogicalUnitURL.help)
    var url: LogicalUnitURL

    @Option(help: "What to do.")
    var operation = LoadOperation.read

    @Option(help: "Bytes of each command.")
    var blockSize = ByteLength(4096)

    @Option(help: "Commands under way on each connection.")
    var depth = 32

    @Option(help: "Connections, each a session of its own.")
    var connections = 1

    @Option(help: "Which addresses of a disk to take.")
    var pattern = LoadPattern.random

    @Option(help: "How long to measure, in seconds.")
    var seconds = 3.0

    @Option(help: "How long to work before measuring, in seconds.")
    var warmup = 0.25

    @Option(help: "Put a filemark after that many records of a tape; 0 puts none.")
    var filemarkEvery = 0

    @Flag(help: "Protect headers with CRC32C.")
    var headerDigest = false

    @Flag(help: "Protect data with CRC32C.")
    var dataDigest = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (1...LoadPlan.maximumDepth).contains(depth) else {
            throw ValidationError("the depth is 1 to \(LoadPlan.maximumDepth)")
        }
        guard (1...Self.maximumConnections).contains(connections) else {
            throw ValidationError("there are 1 to \(Self.maximumConnections) connections")
        }
        guard (1...LoadPlan.maximumBlockLength).contains(blockSize.bytes) else {
            throw ValidationError("a command has at most \(LoadPlan.maximumBlockLength) bytes")
        }
        guard (0.1...86_400).contains(seconds), (0...3600).contains(warmup) else {
            throw ValidationError("measuring takes 0.1 to 86400 seconds, the warm-up 0 to 3600")
        }
    }

    func run() async throws {
        let preparation = LoadPreparation(
            address: url, operation: operation, pattern: pattern, blockLength: blockSize.bytes, depth: depth,
            connections: connections, hasHeaderDigest: headerDigest, hasDataDigest: dataDigest,
            recordsPerFilemark: filemarkEvery)
        let run = try await LoadRun(preparation.logIn()).measure(warmup: warmup, seconds: seconds)
        let report = run.report
        let result = LoadResult(report, seconds: run.seconds)
        print(json ? try result.json() : result.text)
        if let failure = report.failure { throw Complaint("a connection ended early: \(failure)") }
        if report.errors > 0 { throw ExitCode.failure }
    }
}

/// What `load` prints.
private struct LoadResult: Encodable {
    var operations: Int
    var seconds: Double
    var iops: Double
    var megabytesPerSecond: Double
    var meanMicroseconds: Double
    var p50Microseconds: Double
    var p99Microseconds: Double
    var p999Microseconds: Double
    var maximumMicroseconds: Double
    var errors: Int
    var firstError: String?
    var busy: Int

    init(_ report: LoadReport, seconds: Double) {
        func microseconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1000 }
        operations = report.operations
        self.seconds = seconds
        iops = Double(report.operations) / seconds
        megabytesPerSecond = Double(report.bytes) / seconds / 1_000_000
        meanMicroseconds = report.latencies.meanNanoseconds / 1000
        p50Microseconds = microseconds(report.latencies.percentile(0.5))
        p99Microseconds = microseconds(report.latencies.percentile(0.99))
        p999Microseconds = microseconds(report.latencies.percentile(0.999))
        maximumMicroseconds = microseconds(report.latencies.maximumNanoseconds)
        errors = report.errors
        firstError = report.firstError
        busy = report.busyCount
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    var text: String {
        func fixed(_ value: Double, _ digits: Int = 1) -> String { String(format: "%.\(digits)f", value) }
        var lines = [
            "\(fixed(iops, 0)) IOPS, \(fixed(megabytesPerSecond)) MB/s in \(operations) operations",
            "latency in µs: mean \(fixed(meanMicroseconds)), p50 \(fixed(p50Microseconds)), "
                + "p99 \(fixed(p99Microseconds)), p99.9 \(fixed(p999Microseconds)), maximum "
                + "\(fixed(maximumMicroseconds))",
        ]
        if busy > 0 { lines.append("\(busy) times BUSY or TASK SET FULL") }
        if errors > 0 { lines.append("\(errors) errors; the first: \(firstError ?? "")") }
        return lines.joined(separator: "\n")
    }
}
