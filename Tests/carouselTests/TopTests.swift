import Foundation
import Testing

@testable import Management
@testable import carousel

@Suite("carousel top")
struct TopTests {
    private static let start = Date(timeIntervalSince1970: 1_800_000_000)

    private static func commands(_ count: Int, _ latencies: [LatencyCount] = []) -> CommandFigures {
        var figures = CommandFigures()
        figures.inFlight = 2
        figures.operations = [
            OperationFigures(
                name: "READ(10)", operationCode: 0x28, commands: count, failures: count / 10, readBytes: count * 4096,
                writtenBytes: 0, seconds: 0, longestSeconds: 0, latencies: latencies)
        ]
        return figures
    }

    private static func reading(
        uptime: Double, started: Date = start, _ devices: [String: CommandFigures],
        sessions: [SessionFigures] = []
    ) -> DaemonStatistics {
        DaemonStatistics(
            version: "1", started: started, uptime: uptime,
            devices: devices.map { DeviceFigures(name: $0, kind: "disk", commands: $1, hasLostData: false) },
            sessions: sessions, targets: [], reactors: [], failures: [:], refusedLogins: 0, problems: 0, losses: 0,
            jobs: [:], process: ProcessFigures(residentBytes: nil, processorSeconds: nil))
    }

    @Test("rates and latencies are those between two readings, the busiest first")
    func rates() {
        let before = Self.reading(
            uptime: 10,
            ["a": Self.commands(100, [LatencyCount(above: 4, upTo: 5, count: 100)]), "b": Self.commands(50)])
        let after = Self.reading(
            uptime: 12,
            [
                "a": Self.commands(
                    300,
                    [LatencyCount(above: 4, upTo: 5, count: 100), LatencyCount(above: 64, upTo: 80, count: 200)]),
                "b": Self.commands(50), "c": Self.commands(1000),
            ])
        let figures = TopFigures(from: before, to: after)
        #expect(figures.devices.map(\.name) == ["c", "a", "b"])
        let a = figures.devices[1]
        #expect(a.commandsPerSecond == 100 && a.readBytesPerSecond == 409_600 && a.failuresPerSecond == 10)
        #expect(a.p50 == 72 && a.p99 == 64 + 16 * 0.99 && a.inFlight == 2)
        let idle = figures.devices[2]
        #expect(idle.commandsPerSecond == 0 && idle.p50 == nil)
    }

    @Test("a daemon that was started again, and another thing of the same name, begin with nothing")
    func restart() {
        let before = Self.reading(uptime: 100, ["a": Self.commands(1000)])
        let restarted = TopFigures(
            from: before, to: Self.reading(uptime: 4, started: Self.start + 200, ["a": Self.commands(2000)]))
        #expect(restarted.devices[0].commandsPerSecond == 500 && restarted.seconds == 4)
        let recreated = TopFigures(from: before, to: Self.reading(uptime: 102, ["a": Self.commands(10)]))
        #expect(recreated.devices[0].commandsPerSecond == 5)
        func session(_ initiator: String, _ count: Int) -> SessionFigures {
            SessionFigures(name: "1", initiator: initiator, target: "t", connections: 1, commands: Self.commands(count))
        }
        let sessions = TopFigures(
            from: Self.reading(uptime: 1, [:], sessions: [session("x", 10)]),
            to: Self.reading(uptime: 2, [:], sessions: [session("y", 20)]))
        #expect(sessions.sessions[0].commandsPerSecond == 20)
    }

    @Test("it fits any terminal, and no name commands it", arguments: [1, 2, 5, 10, 24, 50, 400], [20, 80, 400])
    func size(_ rows: Int, _ columns: Int) {
        var devices: [String: CommandFigures] = [:]
        for number in 0..<100 { devices["disk\(number)"] = Self.commands(number * 10) }
        let sessions = (0..<30).map {
            SessionFigures(
                name: "\($0)", initiator: "iqn\u{1B}[2J\n\u{9B}", target: "t", connections: 1,
                commands: Self.commands(5))
        }
        let figures = TopFigures(
            from: Self.reading(uptime: 1, [:]), to: Self.reading(uptime: 2, devices, sessions: sessions))
        let text = TerminalText.lines(TopText.text(figures, rows: rows, columns: columns))
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count <= rows && lines.allSatisfy { $0.count <= columns })
        #expect(!text.contains("\u{1B}") && !text.contains("\u{9B}"))
        if rows == 24 {
            #expect(text.contains("disk99") && text.contains("and ") && text.contains("SESSION"))
            #expect(lines.count >= 20, "it uses the room there is")
        }
        if rows == 400 { #expect(!text.contains(" more") && lines.count == 135) }
    }

    @Test("without anything it says so")
    func empty() {
        let nothing = Self.reading(uptime: 1, [:])
        let text = TopText.text(TopFigures(from: nothing, to: nothing))
        #expect(text.contains("no devices") && text.contains("no sessions") && text.hasPrefix("0 commands/s"))
    }
}
