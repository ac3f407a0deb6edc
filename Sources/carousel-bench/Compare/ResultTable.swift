internal import Foundation

/// The results in text.
enum ResultTable {
    private static let nameWidth = 26

    /// The line above all rows.
    static var heading: String {
        row("job", "target", ["IOPS", "MB/s", "p50 µs", "p99 µs", "CPU µs"], "ratio")
    }

    /// A line for each side of a job.
    static func rows(of job: Job, in results: Results) -> [String] {
        var lines: [String] = []
        for side in Results.Side.allCases {
            guard let median = results.median(of: job, on: side) else { continue }
            let ratio =
                side == .carousel
                ? nil
                : results.ratio(of: job, to: side, \.operationsPerSecond).map { "carousel \(fixed($0, 2))x" }
            let figures = [
                fixed(median.operationsPerSecond, 0), fixed(median.megabytesPerSecond, 1),
                fixed(median.p50Microseconds, 0), fixed(median.p99Microseconds, 0),
                fixed(median.processorMicroseconds, 2),
            ]
            lines.append(row(lines.isEmpty ? job.name : "", side.rawValue, figures, ratio ?? ""))
        }
        return lines
    }

    /// A line for each goal.
    static func lines(of goals: [Goal]) -> [String] {
        goals.map { goal in
            let wanted =
                switch goal.bound {
                case .atLeast(let limit): ">= \(fixed(limit, 3))"
                case .atMost(let limit): "<= \(fixed(limit, 3))"
                }
            return padded(goal.job.name, nameWidth) + padded(goal.figure, 30) + padded(wanted, 10)
                + padded(fixed(goal.found, 3), 8) + (goal.isReached ? "reached" : "MISSED")
        }
    }

    private static func row(_ name: String, _ side: String, _ figures: [String], _ last: String) -> String {
        padded(name, nameWidth) + padded(side, 9)
            + figures.map { String(repeating: " ", count: max(10 - $0.count, 1)) + $0 }.joined()
            + (last.isEmpty ? "" : "  \(last)")
    }

    static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.count, 1))
    }

    static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}
