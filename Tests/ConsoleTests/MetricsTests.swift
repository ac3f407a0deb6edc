import Foundation
import ManagementTestSupport
import NIOCore
import Platform
import Resources
import TestSupport
import Testing

@testable import Console
@testable import Management

@Suite("Metrics in the text format of Prometheus")
struct MetricsTests {
    private static let hostile = "a\\b\"c\nd\r\u{1B}{x=\"1\"},é\u{2028}"

    /// Figures as the devices give them.
    private static func figures(_ seed: UInt64) -> CommandFigures {
        var random = SeededRandom(seed: seed)
        var figures = CommandFigures()
        figures.inFlight = Int.random(in: 0...9, using: &random)
        figures.aborted = 3
        figures.senseKeys = ["UNIT ATTENTION": 2, "MEDIUM ERROR": 1]
        figures.statuses = ["TASK SET FULL": 4]
        for (code, name) in [(0x28, "READ(10)"), (0x88, "READ(16)"), (0x2A, "WRITE(10)"), (0x12, "INQUIRY")] {
            var latencies: [LatencyCount] = []
            var above = 0
            for upTo in [1, 4, 5, 16, 20, 64, 80, 4096, 5120, 4_194_304, 5_242_880] {
                if Bool.random(using: &random) {
                    latencies.append(
                        LatencyCount(above: above, upTo: upTo, count: Int.random(in: 1...99, using: &random)))
                }
                above = upTo
            }
            latencies.append(LatencyCount(above: 1 << 29, upTo: nil, count: 1))
            figures.operations.append(
                OperationFigures(
                    name: name, operationCode: code, commands: latencies.total, failures: 1, readBytes: 512,
                    writtenBytes: 1024, seconds: 1.5, longestSeconds: 1, latencies: latencies))
        }
        figures.operations.append(
            OperationFigures(
                name: "other", operationCode: nil, commands: 7, failures: 7, readBytes: 0, writtenBytes: 0,
                seconds: 0, longestSeconds: 0, latencies: [LatencyCount(above: 0, upTo: 1, count: 7)]))
        return figures
    }

    private static func statistics(devices: Int) -> AssemblyStatistics {
        var statistics = AssemblyStatistics()
        for number in 0..<devices {
            statistics.devices.append(
                DeviceFigures(
                    name: number == 0 ? hostile : "disk\(number)", kind: "disk",
                    commands: number == 1 ? CommandFigures() : figures(UInt64(number)), hasLostData: number == 2))
        }
        statistics.sessions = [
            SessionFigures(name: "1", initiator: hostile, target: "t", connections: 2, commands: figures(1)),
            SessionFigures(name: "2", initiator: "i", target: "t", connections: 1, commands: CommandFigures()),
        ]
        statistics.targets = [TargetFigures(name: "t", sessions: 2, commands: figures(2).totals)]
        statistics.reactors = [
            ReactorFigures(name: "reactor-0", turns: 1, systemCalls: 2, receivedBytes: 3, sentBytes: Int.max)
        ]
        statistics.failures = ["medium error": 5, "host is full": 0]
        statistics.lostCartridges = 1
        return statistics
    }

    /// The value of the only series of a name with those labels.
    private static func value(
        _ name: String, _ labels: [String: String], in families: [ParsedFamily]
    ) -> Double? {
        let found = families.flatMap(\.samples).filter { $0.name == name && $0.labels == labels }
        return found.count == 1 ? found[0].value : nil
    }

    @Test("a strict parser reads back what was counted, whatever the names are")
    func contents() async throws {
        try await withServer { client, fixture in
            _ = try await client.create(Disk.description, "kept", ["size": 1_048_576])
            let statistics = Self.statistics(devices: 4)
            fixture.devices.setStatistics(statistics)
            let families = try MetricsParser.parse(try await client.metrics())
            func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
                Self.value("carousel_" + name, labels, in: families)
            }
            #expect(value("info", ["version": Controller.version]) == 1)
            #expect(value("refused_logins_total") == 0 && value("losses") == 2)
            #expect(value("failed_commands_total", ["cause": "medium error"]) == 5)
            #expect(value("devices", ["kind": "disk"]) == 4)
            #expect(value("device_has_lost_data", ["device": "disk2"]) == 1)
            #expect(value("device_has_lost_data", ["device": "disk3"]) == 0)
            for device in statistics.devices {
                let labels = ["device": device.name]
                let commands = device.commands
                #expect(value("device_commands_in_flight", labels) == Double(commands.inFlight))
                #expect(value("device_read_bytes_total", labels) == Double(commands.sum(\.readBytes)))
                #expect(value("device_written_bytes_total", labels) == Double(commands.sum(\.writtenBytes)))
                #expect(value("device_failed_commands_total", labels) == Double(commands.sum(\.failures)))
                #expect(value("device_aborted_commands_total", labels) == Double(commands.aborted))
                for operation in commands.operations {
                    #expect(
                        value("device_commands_total", ["device": device.name, "operation": operation.name])
                            == Double(operation.commands))
                }
                for (key, count) in commands.senseKeys {
                    #expect(
                        value("device_check_conditions_total", ["device": device.name, "sense_key": key])
                            == Double(count))
                }
            }
            #expect(value("device_refused_commands_total", ["device": "disk2", "status": "TASK SET FULL"]) == 4)
            #expect(value("session_info", ["session": "1", "initiator": Self.hostile, "target": "t"]) == 1)
            #expect(value("session_connections", ["session": "1"]) == 2)
            #expect(value("session_commands_total", ["session": "2"]) == 0)
            #expect(value("target_sessions", ["target": "t"]) == 2)
            #expect(
                value("target_commands_total", ["target": "t"])
                    == Double(statistics.targets[0].commands.commands))
            #expect(value("reactor_sent_bytes_total", ["reactor": "reactor-0"]) == Double(Int.max))
            #expect(value("jobs", ["state": "done"]) == nil)
            let memory = try #require(Self.value("process_resident_memory_bytes", [:], in: families))
            let time = try #require(Self.value("process_cpu_seconds_total", [:], in: families))
            #expect(memory > Double(1 << 20) && time > 0)
        }
    }

    @Test("a bucket has what is not above its bound")
    func histograms() throws {
        let families = try MetricsParser.parse(
            Self.parts { Metrics.write(Self.daemon(Self.statistics(devices: 3)), kept: KeptLines(), $0) }.joined())
        let commands = Self.statistics(devices: 3).devices[2].commands
        let kinds = ["read": ["READ(10)", "READ(16)"], "write": ["WRITE(10)"], "other": ["INQUIRY", "other"]]
        for (access, names) in kinds {
            let operations = commands.operations.filter { names.contains($0.name) }
            let labels = ["device": "disk2", "access": access]
            let name = "carousel_device_command_duration_seconds"
            for bound in LatencyBuckets.bounds {
                let wanted = operations.flatMap(\.latencies).filter { $0.upTo.map { $0 <= bound } ?? false }.total
                let found = families.flatMap(\.samples).filter {
                    guard $0.name == name + "_bucket", let le = $0.labels["le"].flatMap(Double.init) else {
                        return false
                    }
                    return $0.labels.filter { $0.key != "le" } == labels && abs(le * 1e6 - Double(bound)) < 0.1
                }
                #expect(found.map(\.value) == [Double(wanted)], "\(access) up to \(bound)")
            }
            let sum = Self.value(name + "_sum", labels, in: families)
            #expect(sum == operations.reduce(0) { $0 + $1.seconds })
            let count = Self.value(name + "_count", labels, in: families)
            #expect(count == Double(operations.flatMap(\.latencies).total))
        }
        let idle = families.flatMap(\.samples).filter { $0.labels["device"] == "disk1" }
        #expect(Set(idle.map(\.value)) == [0] && idle.count == 6, "an idle device has few series: \(idle.count)")
    }

    @Test("space is told when somebody has looked, and nobody waits for that")
    func space() async throws {
        try await withServer { client, fixture in
            _ = try await fixture.makeLibrary(cartridges: 3)
            _ = try await client.create(Disk.description, "a", ["size": 1_048_576])
            var families: [ParsedFamily] = []
            // It begins with the first question.
            for _ in 0..<500 where !families.contains(where: { $0.name.hasPrefix("carousel_space") }) {
                families = try MetricsParser.parse(try await client.metrics())
                try await Task.sleep(for: .milliseconds(10))
            }
            func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
                Self.value("carousel_" + name, labels, in: families)
            }
            #expect(value("disk_allocated_bytes", ["device": "a"]) == 1_048_576)
            #expect(value("library_cartridges", ["library": "vtl"]) == 3)
            let free = try #require(value("filesystem_free_bytes"))
            let size = try #require(value("filesystem_size_bytes"))
            #expect(free > 0 && free <= size)
            let answer: DaemonStatistics = try await client.get("statistics")
            #expect(answer.space?.disks == ["a": 1_048_576] && answer.uptime > 0)
            #expect(answer.jobs == ["done": 1])
        }
    }

    @Test("a scrape waits for no change and for no file that hangs")
    func hanging() async throws {
        try await withServer { client, fixture in
            let survey = fixture.devices.hangAtSurvey()
            let cartridge = fixture.devices.hang(atCartridge: "A00001L8")
            let creation = Task { try await fixture.makeLibrary() }
            await cartridge.waitForArrival()
            var families = try MetricsParser.parse(try await client.metrics())
            await survey.waitForArrival()
            for _ in 0..<20 { families = try MetricsParser.parse(try await client.metrics()) }
            #expect(Self.value("carousel_jobs", ["state": "running"], in: families) == 1)
            #expect(!families.contains { $0.name.hasPrefix("carousel_space") })
            survey.open()
            cartridge.open()
            _ = try await creation.value
            for _ in 0..<500 where !families.contains(where: { $0.name.hasPrefix("carousel_space") }) {
                families = try MetricsParser.parse(try await client.metrics())
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(Self.value("carousel_jobs", ["state": "done"], in: families) == 1)
            #expect(families.contains { $0.name.hasPrefix("carousel_space") })
        }
    }

    /// What `write` passes on.
    private static func parts(_ write: (@escaping (ByteBuffer) -> Void) -> Void) -> [String] {
        let parts = Lock<[String]>([])
        write { part in parts.withLock { $0.append(String(buffer: part)) } }
        return parts.withLock { $0 }
    }

    @Test("a long text comes in parts of some length, each of whole lines, and none is missing")
    func parts() throws {
        let statistics = Self.statistics(devices: 100)
        let parts = Self.parts { Metrics.write(Self.daemon(statistics), kept: KeptLines(), $0) }
        #expect(parts.count > 4 && parts.allSatisfy { $0.hasSuffix("\n") })
        #expect(parts.allSatisfy { $0.utf8.count < MetricsText.partLength + 4096 })
        #expect(parts.dropLast().allSatisfy { $0.utf8.count >= MetricsText.partLength })
        let families = try MetricsParser.parse(parts.joined())
        for device in statistics.devices {
            for operation in device.commands.operations {
                let labels = ["device": device.name, "operation": operation.name]
                #expect(Self.value("carousel_device_commands_total", labels, in: families) != nil)
            }
        }
    }

    @Test("lines are written again when figures or a loss are not those of before, and only then")
    func kept() {
        let kept = KeptLines()
        var statistics = Self.statistics(devices: 4)
        func text() -> String { Self.parts { Metrics.write(Self.daemon(statistics), kept: kept, $0) }.joined() }
        func isAsUnkept() -> Bool {
            text() == Self.parts { Metrics.write(Self.daemon(statistics), kept: KeptLines(), $0) }.joined()
        }
        for index in statistics.devices.indices { statistics.devices[index].revision = UInt64(index) }
        #expect(isAsUnkept() && isAsUnkept())
        // The number says that these are the figures of before.
        let before = text()
        statistics.devices[3].commands.inFlight += 1
        #expect(text() == before)
        statistics.devices[3].revision = 9
        #expect(text() != before && isAsUnkept())
        statistics.devices[2].hasLostData.toggle()
        #expect(isAsUnkept())
        statistics.devices[1].revision = nil
        for _ in 0..<2 {
            statistics.devices[1].commands.aborted += 1
            #expect(isAsUnkept())
        }
        // A device that goes and one of its name that comes.
        let gone = statistics.devices.remove(at: 2)
        #expect(isAsUnkept())
        statistics.devices.append(gone)
        statistics.devices[3].revision = 10
        #expect(isAsUnkept())
    }

    @Test("lines beyond the limit are not kept, but written each time")
    func keptLimit() {
        var statistics = Self.statistics(devices: 6)
        for index in statistics.devices.indices { statistics.devices[index].revision = UInt64(index) }
        let kept = KeptLines(byteLimit: DeviceLines(statistics.devices[0]).bytes.count)
        func text() -> String { Self.parts { Metrics.write(Self.daemon(statistics), kept: kept, $0) }.joined() }
        let before = text()
        // Of the same number, so that what is kept is told as it was.
        statistics.devices[0].commands.inFlight += 1
        #expect(text() == before)
        statistics.devices[5].commands.inFlight += 1
        #expect(text() != before)
    }

    @Test("the bound of a latency is the first that is not below it")
    func bounds() {
        for bound in LatencyBuckets.bounds {
            for microseconds in bound - 1...bound + 1 {
                let wanted = LatencyBuckets.bounds.firstIndex { $0 >= microseconds }
                #expect(LatencyBuckets.bound(of: microseconds) == wanted)
            }
        }
        #expect(LatencyBuckets.bound(of: 1) == 0 && LatencyBuckets.bound(of: .max) == nil)
    }

    @Test("sums of latencies are written to the nanosecond", arguments: [0, 1e-9, 0.25, 1.5, 12_345.678_901_234, 1e8])
    func seconds(_ sum: Double) throws {
        let text = Self.parts { pass in
            var text = MetricsText(pass)
            text.family("a", .histogram, "h")
            text.histogram(
                MetricsText.Labels("v", "x"), bounds: [MetricsText.Bound("1")], cumulative: [2], count: 3, sum: sum)
            text.end()
        }.joined()
        #expect(text.contains("a_bucket{v=\"x\",le=\"1\"} 2\na_bucket{v=\"x\",le=\"+Inf\"} 3\na_sum{v=\"x\"} "))
        #expect(Self.value("a_sum", ["v": "x"], in: try MetricsParser.parse(text)) == sum)
    }

    private static func daemon(_ statistics: AssemblyStatistics) -> DaemonStatistics {
        DaemonStatistics(
            version: "1", started: Date(timeIntervalSince1970: 1), uptime: 1, devices: statistics.devices,
            sessions: statistics.sessions, targets: statistics.targets, reactors: statistics.reactors,
            failures: statistics.failures, refusedLogins: 0, problems: 0, losses: 0, jobs: [:],
            process: ProcessFigures(residentBytes: nil, processorSeconds: nil))
    }

    @Test("numbers and help are written as the format has them")
    func words() throws {
        let lines = Self.parts { pass in
            var text = MetricsText(pass)
            text.family("a", .gauge, "back\\slash and\nline")
            for value in [Double.infinity, -.infinity, 0.1, 1e300, 2.5e-300] {
                text.sample(MetricsText.Labels("v", "\(value)"), value)
            }
            text.sample(MetricsText.Labels("v", "least"), Int.min)
            text.end()
        }.joined()
        #expect(lines.hasPrefix("# HELP a back\\\\slash and\\nline\n# TYPE a gauge\na{v=\"inf\"} +Inf\n"))
        let family = try #require(try MetricsParser.parse(lines).first)
        #expect(family.samples.map(\.value) == [.infinity, -.infinity, 0.1, 1e300, 2.5e-300, Double(Int.min)])
    }

    @Test(
        "the parser of this test is strict",
        arguments: [
            "a 1\n", "# HELP a b\na 1\n", "# HELP a b\n# TYPE a counter\na 1\n", "# HELP a b\n# TYPE a gauge\na 1",
            "# HELP a b\n# TYPE a gauge\na 1\na 2\n", "# HELP a b\n# TYPE a gauge\na{x=\"\\t\"} 1\n",
            "# HELP a b\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n", "# HELP a b\n# TYPE a gauge\nb 1\n",
            "# HELP a b\n# TYPE a gauge\n\na 1\n", "# HELP a b\n# TYPE a gauge\na{x=\"1\n\"} 1\n",
            "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
            "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        ])
    func strictness(_ text: String) {
        #expect(throws: MetricsSyntaxError.self) { try MetricsParser.parse(text) }
    }
}
