import Foundation
import Resources

/// How `carousel top` looks.
enum TopText {
    /// Lines that do not belong to a table: the first one, and two between tables.
    private static let otherLines = 4

    /// The figures as tables of as many lines as are there, or at most `rows`, in at most `columns` columns.
    static func text(_ figures: TopFigures, rows: Int? = nil, columns: Int? = nil) -> String {
        var (devices, sessions) = (figures.devices.count, figures.sessions.count)
        if let rows {
            // Titles, and what says that there are more, take a line each.
            let room = max(2, rows - otherLines - 3)
            sessions = min(sessions, max(room / 3, room - devices))
            devices = min(devices, room - sessions)
        }
        let lines =
            [headline(figures), ""]
            + table(
                ["DEVICE", "KIND"], figures.devices, devices, empty: "no devices"
            ) { [$0.name, $0.kind ?? ""] } + [""]
            + table(
                ["SESSION", "INITIATOR", "TARGET"], figures.sessions, sessions, empty: "no sessions"
            ) { [$0.name, $0.initiator ?? "", $0.target ?? ""] }
        return lines.prefix(rows ?? lines.count).map { line in columns.map { String(line.prefix($0)) } ?? line }
            .joined(separator: "\n")
    }

    private static func headline(_ figures: TopFigures) -> String {
        func sum(_ figure: KeyPath<TopRow, Double>) -> Double { figures.devices.reduce(0) { $0 + $1[keyPath: figure] } }
        return "\(number(sum(\.commandsPerSecond))) commands/s, \(bytes(sum(\.readBytesPerSecond))) read, "
            + "\(bytes(sum(\.writtenBytesPerSecond))) written, \(figures.devices.count) devices, "
            + "\(figures.sessions.count) sessions"
    }

    private static func table(
        _ titles: [String], _ rows: [TopRow], _ count: Int, empty: String, _ words: (TopRow) -> [String]
    ) -> [String] {
        let shown = rows.prefix(count).map { row in
            words(row) + [
                number(row.commandsPerSecond), bytes(row.readBytesPerSecond), bytes(row.writtenBytesPerSecond),
                time(row.p50), time(row.p99), "\(row.inFlight)", number(row.failuresPerSecond),
            ]
        }
        guard !rows.isEmpty else { return [empty] }
        let table = Output.table(
            titles + ["COMMANDS/S", "READ", "WRITTEN", "P50", "P99", "IN FLIGHT", "FAILURES/S"], shown, empty: "")
        let more = rows.count - shown.count
        return table.split(separator: "\n").map(String.init) + (more > 0 ? ["and \(more) more"] : [])
    }

    /// A rate; with a decimal when it is small.
    private static func number(_ rate: Double) -> String {
        rate == 0 || rate >= 10 ? "\(Int(rate.rounded()))" : "\((rate * 10).rounded() / 10)"
    }

    private static func bytes(_ rate: Double) -> String { ByteSize.format(Int64(rate.rounded())) + "/s" }

    /// A latency in microseconds, in a unit that fits.
    private static func time(_ microseconds: Double?) -> String {
        guard let microseconds else { return "-" }
        if microseconds < 999.5 { return "\(Int(microseconds.rounded())) µs" }
        if microseconds < 999_500 { return number(microseconds / 1000) + " ms" }
        return number(microseconds / 1_000_000) + " s"
    }
}
