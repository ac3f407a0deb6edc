import Foundation
import Management

/// What a device or a session has done in a second, between two readings.
struct TopRow: Encodable, Equatable {
    /// The name of the device, or the TSIH of the session.
    var name: String
    /// Of a device: disk, changer or drive.
    var kind: String?
    /// Of a session.
    var initiator: String?
    /// Of a session.
    var target: String?
    var commandsPerSecond: Double
    var readBytesPerSecond: Double
    var writtenBytesPerSecond: Double
    /// Commands that did not end with GOOD.
    var failuresPerSecond: Double
    /// The latency that half of the commands did not exceed, in microseconds; nil without commands.
    var p50: Double?
    /// The latency that 99 % of the commands did not exceed, in microseconds; nil without commands.
    var p99: Double?
    /// Commands that had come and not ended, at the second reading.
    var inFlight: Int
}

/// What `carousel top` shows: rates and latencies between two readings of what the daemon has counted.
struct TopFigures: Encodable {
    /// The time between the readings.
    var seconds: Double
    /// How long the daemon serves.
    var uptime: Double
    /// The busiest first.
    var devices: [TopRow]
    /// The busiest first.
    var sessions: [TopRow]

    /// The figures between `before` and `after`. When the daemon was started in between, those since its start.
    init(from before: DaemonStatistics, to after: DaemonStatistics) {
        let isSame = before.started == after.started && after.uptime >= before.uptime
        let seconds = max(0.001, after.uptime - (isSame ? before.uptime : 0))
        self.seconds = seconds
        uptime = after.uptime
        func byName<Thing>(_ things: [Thing], _ name: (Thing) -> String) -> [String: Thing] {
            isSame ? Dictionary(things.map { (name($0), $0) }, uniquingKeysWith: { first, _ in first }) : [:]
        }
        let devices = byName(before.devices, \.name)
        self.devices = after.devices.map { device in
            var row = Self.row(device.name, devices[device.name]?.commands, device.commands, seconds)
            row.kind = device.kind
            return row
        }.sorted(by: Self.isBusier)
        // A TSIH is used again after a session.
        let sessions = byName(before.sessions) { $0.name + " " + $0.initiator + " " + $0.target }
        self.sessions = after.sessions.map { session in
            let former = sessions[session.name + " " + session.initiator + " " + session.target]
            var row = Self.row(session.name, former?.commands, session.commands, seconds)
            (row.initiator, row.target) = (session.initiator, session.target)
            return row
        }.sorted(by: Self.isBusier)
    }

    private static func row(
        _ name: String, _ before: CommandFigures?, _ after: CommandFigures, _ seconds: Double
    ) -> TopRow {
        // What counts less than before is another thing of the same name.
        let isSame = before.map { $0.sum(\.commands) <= after.sum(\.commands) } ?? false
        let before = isSame ? before ?? CommandFigures() : CommandFigures()
        func rate(_ figure: KeyPath<OperationFigures, Int>) -> Double {
            Double(max(0, after.sum(figure) - before.sum(figure))) / seconds
        }
        let latencies = after.latencies.since(before.latencies)
        return TopRow(
            name: name, commandsPerSecond: rate(\.commands), readBytesPerSecond: rate(\.readBytes),
            writtenBytesPerSecond: rate(\.writtenBytes), failuresPerSecond: rate(\.failures),
            p50: latencies.quantile(0.5), p99: latencies.quantile(0.99), inFlight: after.inFlight)
    }

    private static func isBusier(_ one: TopRow, _ other: TopRow) -> Bool {
        let bytes = (
            one.readBytesPerSecond + one.writtenBytesPerSecond, other.readBytesPerSecond + other.writtenBytesPerSecond
        )
        if one.commandsPerSecond != other.commandsPerSecond { return one.commandsPerSecond > other.commandsPerSecond }
        if bytes.0 != bytes.1 { return bytes.0 > bytes.1 }
        if one.inFlight != other.inFlight { return one.inFlight > other.inFlight }
        return one.name.compare(other.name, options: .numeric) == .orderedAscending
    }
}

extension CommandFigures {
    /// The latencies of all operations together.
    fileprivate var latencies: [LatencyCount] { operations.reduce([]) { $0.adding($1.latencies) } }
}
