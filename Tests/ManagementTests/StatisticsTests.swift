import Foundation
import ISCSI
import Initiator
import Logging
import ManagementTestSupport
import Platform
import Resources
import SCSI
import Testing

@testable import Management
@testable import TargetCore

@Suite("Statistics", .serialized)
struct StatisticsTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
    private let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
    private let unknown = CommandDescriptorBlock([0xD7, 0, 0, 0, 0, 0])

    @Test("devices, sessions and targets tell what initiators have done, and targets when those are gone")
    func devices() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            try await controller.createDisk("d", Disk.Spec(size: 1 << 20))
            try await controller.createLibrary(
                "vtl",
                Library.Spec(
                    profile: "ibm-03584l32", drives: 2, driveProfile: "ibm-ult3580-td8", slots: 4, mailSlots: 1,
                    cartridges: 2, firstBarcode: "V00001L8", cartridgeSize: 16 << 20))
            var statistics = try await controller.statistics()
            #expect(statistics.devices.map(\.name) == ["d", "vtl", "vtl/drive:1", "vtl/drive:2"])
            #expect(statistics.devices.map(\.kind) == ["disk", "changer", "drive", "drive"])
            #expect(statistics.devices.allSatisfy { $0.commands.operations.isEmpty })
            let open = try #require(devices.portals().first)
            let portal = try #require(SocketAddress(open.name))
            let disk = try BlockingInitiator.logIn(
                to: portal, InitiatorSettings(targetName: DeviceName.targetName("d")))
            let library = try BlockingInitiator.logIn(
                to: portal, InitiatorSettings(targetName: DeviceName.targetName("vtl")))
            for _ in 0..<3 { _ = try disk.execute(testUnitReady, on: LogicalUnitNumber(0)) }
            _ = try disk.execute(unknown, on: LogicalUnitNumber(0))
            _ = try library.execute(testUnitReady, on: LogicalUnitNumber(2))
            statistics = try await controller.statistics()
            let found = try #require(statistics.devices.first).commands
            #expect(found.operations.map(\.name).sorted() == ["0xD7", "TEST UNIT READY"])
            #expect(found.sum(\.commands) == 4 && found.sum(\.failures) == 2 && found.inFlight == 0)
            #expect(found.senseKeys == ["UNIT ATTENTION": 1, "ILLEGAL REQUEST": 1])
            #expect(found.operations.allSatisfy { $0.latencies.total == $0.commands && $0.seconds > 0 })
            #expect(statistics.devices.map { $0.commands.sum(\.commands) } == [4, 0, 0, 1])
            #expect(statistics.sessions.map { $0.commands.sum(\.commands) }.sorted() == [1, 4])
            let name = DeviceName.targetName("d")
            #expect(statistics.targets.first { $0.name == name }?.commands.commands == 4)
            #expect(statistics.targets.first { $0.name == name }?.sessions == 1)
            #expect(statistics.reactors.count == devices.reactors.count)
            #expect(statistics.reactors.reduce(0) { $0 + $1.receivedBytes } > 0)
            _ = try await controller.closeSessions(
                nil, Session.Close.Arguments(initiator: disk.settings.initiatorName, seconds: 0))
            try disk.connection.waitUntilClosed()
            for _ in 0..<500 where !statistics.sessions.isEmpty {
                statistics = try await controller.statistics()
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(statistics.targets.first { $0.name == name }?.commands.commands == 4)
            #expect(statistics.targets.first { $0.name == name }?.sessions == 0)
        }
    }

    @Test("quantiles and differences of latencies are those of the classes")
    func latencies() {
        let before = [LatencyCount(above: 1, upTo: 2, count: 5)]
        let after = [
            LatencyCount(above: 1, upTo: 2, count: 5), LatencyCount(above: 2, upTo: 3, count: 2),
            LatencyCount(above: 100, upTo: nil, count: 2),
        ]
        let added = after.since(before)
        #expect(added == Array(after.dropFirst()) && added.total == 4)
        #expect(added.quantile(0.5) == 3 && added.quantile(0.25) == 2.5 && added.quantile(0.99) == 100)
        #expect([LatencyCount]().quantile(0.5) == nil)
        #expect(before.adding(after) == [LatencyCount(above: 1, upTo: 2, count: 10)] + after.dropFirst())
    }

    @Test("who looks at space looks once at a time and not too often, and what was found stays when a look fails")
    func survey() {
        let survey = SpaceSurvey()
        let start = MonotonicTime.current()
        let figures = SpaceFigures(time: Date(), disks: ["d": 1], libraries: [:], cartridges: [:])
        #expect(survey.begins(at: start) && !survey.begins(at: start + .seconds(1000)))
        survey.end(figures, at: start + .seconds(1000))
        #expect(survey.figures?.disks == ["d": 1])
        #expect(!survey.begins(at: start + .seconds(1059)) && survey.begins(at: start + .seconds(1060)))
        survey.end(nil, at: start + .seconds(1061))
        #expect(survey.figures?.disks == ["d": 1] && !survey.begins(at: start + .seconds(1062)))
    }

    @Test("a look lasts until who looks lets go of it, not until who waits does")
    func flight() throws {
        let found = Lock<[Int?]>([])
        var works: [@Sendable () -> Void] = []
        do {
            let flight = SingleFlight<Int> { result in found.withLock { $0.append(result) } }
            works.append { flight.result = 7 }
            works.append { withExtendedLifetime(flight) {} }
        }
        #expect(found.withLock { $0.isEmpty })
        works[0]()
        works.removeFirst()
        #expect(found.withLock { $0.isEmpty })
        works = []
        #expect(found.withLock { $0 } == [7])
    }

    @Test("a command that medium or host let fail is in the log, with device, cause and initiator; a flood is not")
    func failures() throws {
        let lines = Lock<[String]>([])
        let later = Lock<[@Sendable () -> Void]>([])
        let log = FailureLog(
            .collecting(.notice) { line in lines.withLock { $0.append(line) } },
            later: { _, body in later.withLock { $0.append(body) } })
        let note = log.note(of: "d", kind: "disk")
        let read = SenseData(.mediumError, .unrecoveredReadError, information: 77)
        note(try #require(CommandFailure(operationCode: 0x28, sense: read, initiator: "iqn.2026-11.test:\u{1B}x")))
        #expect(
            lines.withLock { $0 } == [
                "command failed additional sense code=11/00 cause=medium error command=28 disk=d information=77 "
                    + #"initiator=iqn.2026-11.test:\u{1B}x"#
            ])
        let full = SenseData(.dataProtect, .spaceAllocationFailed)
        for _ in 0..<1000 {
            note(try #require(CommandFailure(operationCode: 0x2A, sense: full, initiator: "i")))
        }
        #expect(lines.withLock { $0.count } == NoticePace.lineLimit)
        #expect(log.counts == ["medium error": 1, "host is full": 1000, "hardware error": 0])
        #expect(later.withLock { $0.count } == 1)
        let other = log.note(of: "e", kind: "disk")
        other(try #require(CommandFailure(operationCode: 0x2A, sense: full, initiator: "i")))
        #expect(lines.withLock { $0.removeLast() }.contains("disk=e"), "another device is not hidden")
        for body in later.withLock({ $0 }) { body() }
        #expect(lines.withLock { $0.last } == "more commands failed disk=d suppressed=\(1001 - NoticePace.lineLimit)")
        #expect(
            CommandFailure(operationCode: 0, sense: SenseData(.notReady, .mediumNotPresent), initiator: "i") == nil)
    }

    @Test("failures of a thousand devices fill the log no more than those of some")
    func failuresOfMany() throws {
        let lines = Lock<[String]>([])
        let later = Lock<[@Sendable () -> Void]>([])
        let log = FailureLog(
            .collecting(.notice) { line in lines.withLock { $0.append(line) } },
            later: { _, body in later.withLock { $0.append(body) } })
        let full = SenseData(.dataProtect, .spaceAllocationFailed)
        let failure = try #require(CommandFailure(operationCode: 0x2A, sense: full, initiator: "i"))
        for number in 0..<1200 {
            let note = log.note(of: "d\(number)", kind: "disk")
            for _ in 0..<20 { note(failure) }
            // However many others fail, each is named.
            let isNamed = lines.withLock { $0.contains { $0.contains("disk=d\(number) ") } }
            #expect(isNamed == (number < FailureLog.deviceLimit))
        }
        let told = FailureLog.lineLimit + FailureLog.deviceLimit
        #expect(lines.withLock { $0.count } == told)
        #expect(log.counts["host is full"] == 24_000)
        for body in later.withLock({ $0 }) { body() }
        // What each device has left out is not told either, but that all have.
        #expect(lines.withLock { $0.count } == told + 2)
        #expect(lines.withLock { $0.suffix(2).allSatisfy { $0.contains("notices left out=") } })
    }
}
