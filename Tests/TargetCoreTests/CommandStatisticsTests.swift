import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TestSupport
import Testing

@testable import TargetCore

/// What commands were seen to do, by whoever sent them.
private struct Model {
    var operations: [UInt8: OperationStatistics] = [:]
    var senseKeys: [UInt8: UInt] = [:]
    var statuses: [SCSIStatus: UInt] = [:]

    mutating func note(_ code: UInt8, _ result: CommandResult, sent: Int) {
        var operation = operations[code] ?? OperationStatistics()
        operation.commands += 1
        if result.status != .good { operation.failures += 1 }
        operation.readBytes += UInt(result.dataIn.count)
        if result.status == .good { operation.writtenBytes += UInt(sent) }
        operations[code] = operation
        if let sense = result.sense { senseKeys[sense.key.rawValue, default: 0] += 1 }
        if result.status != .good, result.status != .checkCondition { statuses[result.status, default: 0] += 1 }
    }

    mutating func add(_ other: Model) {
        for (code, operation) in other.operations { operations[code, default: OperationStatistics()].add(operation) }
        senseKeys.merge(other.senseKeys) { $0 + $1 }
        statuses.merge(other.statuses) { $0 + $1 }
    }

    func check(_ totals: CommandTotals, _ what: String) {
        var wanted = CommandTotals()
        for operation in operations.values {
            wanted.commands += operation.commands
            wanted.failures += operation.failures
            wanted.readBytes += operation.readBytes
            wanted.writtenBytes += operation.writtenBytes
        }
        #expect(totals == wanted, "\(what)")
    }

    func check(_ statistics: CommandStatistics, _ what: String) {
        #expect(statistics.inFlight == 0 && statistics.aborted == 0, "\(what)")
        #expect(statistics.senseKeys == senseKeys, "\(what)")
        #expect(statistics.statuses == statuses, "\(what)")
        // Which of those that a device does not have are told apart depends on the order.
        func folded(_ code: UInt8?) -> UInt8? { code.flatMap { (0xD0...0xDF).contains($0) ? nil : $0 } }
        let wanted = Dictionary(operations.map { (folded($0.key), $0.value) }) { $0.adding($1) }
        let found = Dictionary(statistics.operations.map { (folded($0.code), $0.statistics) }) { $0.adding($1) }
        #expect(found.keys == wanted.keys, "\(what)")
        for (code, found) in found {
            guard let wanted = wanted[code] else { continue }
            #expect(found.commands == wanted.commands && found.failures == wanted.failures, "\(what) \(code ?? 0)")
            #expect(found.readBytes == wanted.readBytes, "\(what) \(code ?? 0)")
            #expect(found.writtenBytes == wanted.writtenBytes, "\(what) \(code ?? 0)")
            #expect(found.latencies.total == wanted.commands && found.longest <= found.nanoseconds)
        }
    }
}

extension OperationStatistics {
    fileprivate func adding(_ other: Self) -> Self {
        var sum = self
        sum.add(other)
        return sum
    }
}

@Suite("Statistics of commands")
struct CommandStatisticsTests {
    /// Sends random commands to units 0, 1 (a disk in memory), 2 (serial, on the second reactor) and to no unit, one
    /// after another; what became of them, by unit.
    private static func run(_ port: InMemoryPort, seed: UInt64) -> [Int: Model] {
        var random = SeededRandom(seed: seed)
        var models: [Int: Model] = [:]
        for _ in 0..<600 {
            let unit = [0, 1, 1, 1, 2, 9].randomElement(using: &random) ?? 0
            var block = [UInt8](repeating: 0, count: 10)
            var data: [UInt8] = []
            switch Int.random(in: 0..<8, using: &random) {
            case 0...1:
                block[0] = OperationCode.read10
                block[8] = UInt8.random(in: 0...9, using: &random)
            case 2...3:
                block[0] = OperationCode.write10
                block[8] = UInt8.random(in: 0...4, using: &random)
                data = random.bytes(512 * Int(block[8]))
            case 4:
                block = [OperationCode.inquiry, 0, 0, 0, UInt8.random(in: 0...255, using: &random), 0]
            case 5:
                block = [
                    Bool.random(using: &random) ? OperationCode.reserve6 : OperationCode.release6, 0, 0, 0, 0, 0,
                ]
            case 6: block = [UInt8.random(in: 0xD0...0xDF, using: &random), 0, 0, 0, 0, 0]
            default: block = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
            }
            let expecting = Int.random(in: 0...2048, using: &random)
            let result = port.execute(block, logicalUnit: unit, dataOut: data, expecting: expecting)
            models[unit, default: Model()].note(block[0], result, sent: data.count)
        }
        return models
    }

    @Test("They are those of an exact model: units, nexuses and targets, on two reactors at the same time")
    func model() throws {
        let reactors = [TestReactors.first, TestReactors.second]
        let units = [
            LogicalUnit(ExampleDevice()), LogicalUnit(MemoryDevice()),
            LogicalUnit(ExampleDevice(homeReactor: reactors[1])),
        ]
        let target = Target(name: "iqn.2026-11.dev.carousel:counted", alias: "", homeReactor: nil)
        for (number, unit) in units.enumerated() { target.map(unit, at: number) }
        let ports = reactors.enumerated().map {
            InMemoryPort("iqn.2026-11.test:\($0.offset)", target: target, reactor: $0.element)
        }
        let found = Lock<[Int: [Int: Model]]>([:])
        let done = DispatchGroup()
        for (index, port) in ports.enumerated() {
            done.enter()
            _ = try PlatformThread.start(name: "initiator") {
                let models = Self.run(port, seed: UInt64(index + 1))
                found.withLock { $0[index] = models }
                done.leave()
            }
        }
        done.wait()
        let models = found.withLock { $0 }
        var all = Model()
        for (index, port) in ports.enumerated() {
            var model = Model()
            for part in (models[index] ?? [:]).values { model.add(part) }
            all.add(model)
            model.check(try #require(port.nexus.counters).statistics, "nexus \(index)")
        }
        for (number, unit) in units.enumerated() {
            var model = Model()
            for part in models.values { if let unit = part[number] { model.add(unit) } }
            model.check(unit.statistics, "unit \(number)")
        }
        #expect(all.operations.count > 16 && (all.statuses[.reservationConflict] ?? 0) > 0)
        all.check(target.totals, "target")
        // What a target has counted stays when a nexus goes.
        ports[0].logOut()
        all.check(target.totals, "target afterwards")
        #expect(target.nexuses.count == 1)
    }

    @Test("A command is in flight until it ends, and an aborted one has no outcome")
    func inFlight() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let before = fixture.unit.statistics.total.commands
        for name in UInt8(0)..<3 { port.submit([ExampleDevice.wait, 0, 0, 0, name, 0]) { _ in } }
        #expect(fixture.unit.statistics.inFlight == 3 && fixture.target.totals.inFlight == 3)
        port.onReactor { [device = fixture.device] in device.letGo(1) }
        #expect(fixture.unit.statistics.inFlight == 2)
        #expect(fixture.unit.statistics.total.commands == before + 1)
        let results = Results()
        // One that is blocked behind those that wait.
        port.submit([ExampleDevice.waitAlone, 0, 0, 0, 9, 0]) { results.add($0) }
        #expect(fixture.unit.statistics.inFlight == 3)
        port.onReactor { [device = fixture.device, port] in
            port.nexus.abortTasks { _ in true }
            device.letGo(0)
            device.letGo(2)
        }
        #expect(results.abortedCount == 1)
        #expect(fixture.unit.statistics.inFlight == 0 && fixture.unit.statistics.aborted == 3)
        #expect(fixture.target.totals.aborted == 3)
        #expect(fixture.unit.statistics.total.commands == before + 1)
    }

    @Test("Activity is another number after each beginning and each end, and the same while there is none")
    func activity() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        var seen = [fixture.unit.activity]
        func hasChanged() -> Bool {
            seen.append(fixture.unit.activity)
            return Set(seen).count == seen.count && fixture.unit.activity == seen.last
        }
        for name in UInt8(0)..<2 {
            port.submit([ExampleDevice.wait, 0, 0, 0, name, 0]) { _ in }
            #expect(hasChanged())
        }
        port.onReactor { [device = fixture.device] in device.letGo(1) }
        #expect(hasChanged())
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good && hasChanged())
        port.onReactor { [device = fixture.device, port] in
            port.nexus.abortTasks { _ in true }
            device.letGo(0)
        }
        #expect(hasChanged())
    }

    @Test("A latency begins with the turn in which the command came, and has its data and its waiting in it")
    func latency() throws {
        let clock = ManualClock()
        let reactor = try Reactor.start(
            name: "clocked", poolLimit: 1 << 24, fileEngine: TestReactors.first.fileEngine, clock: clock.clock)
        let device = ExampleDevice()
        let target = Target(name: "iqn.2026-11.dev.carousel:clock", alias: "", homeReactor: nil)
        let unit = LogicalUnit(device)
        target.map(unit, at: 0)
        let port = InMemoryPort("iqn.2026-11.test:clock", target: target, reactor: reactor)
        port.clearUnitAttentions()
        port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { _ in }
        clock.advance(by: .microseconds(5300), on: [reactor])
        port.submit([ExampleDevice.wait, 0, 0, 0, 2, 0]) { _ in }
        clock.advance(by: .microseconds(700), on: [reactor])
        port.onReactor {
            device.letGo(1)
            device.letGo(2)
        }
        let found = try #require(
            unit.statistics.operations.first { $0.code == ExampleDevice.wait }?.statistics)
        #expect(found.nanoseconds == 6_700_000 && found.longest == 6_000_000)
        var wanted = LatencyHistogram()
        for value in [UInt(6_000_000), 700_000] { wanted.add(1, at: LatencyScale.index(nanoseconds: value)) }
        #expect(found.latencies == wanted)
        port.logOut()
    }

    @Test("Operation codes beyond the limit are counted together")
    func limit() throws {
        let fixture = UnitFixture()
        let port = InMemoryPort("iqn.2026-11.test:many", target: fixture.target, reactor: fixture.reactor)
        for round in 0..<2 {
            for code in UInt8(0xC8)..<0xF8 {
                #expect(port.execute([code, 0, 0, 0, 0, 0]).status == .checkCondition, "\(round)")
            }
        }
        let statistics = fixture.unit.statistics
        // One of them is a command of the device.
        let told = CommandCounters.unknownLimit + 1
        #expect(statistics.operations.count == told + 1 && told < CommandCounters.operationLimit)
        for (code, operation) in statistics.operations {
            let codes = UInt(code == nil ? 48 - told : 1)
            #expect(operation.commands == 2 * codes && operation.failures == 2 * codes)
        }
        #expect(statistics.total.commands == 96)
    }

    @Test("Commands that a device does not have take no place from those that it has")
    func unknown() throws {
        let unit = LogicalUnit(ExampleDevice(hasWildcard: false))
        let target = Target(name: "iqn.2026-11.dev.carousel:unknown", alias: "", homeReactor: nil)
        target.map(unit, at: 0)
        let port = InMemoryPort("iqn.2026-11.test:u", target: target, reactor: TestReactors.first)
        port.clearUnitAttentions()
        let before = unit.statistics.total.commands
        for code in UInt8(0xC8)..<0xF8 { #expect(port.execute([code, 0, 0, 0, 0, 0]).status == .checkCondition) }
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0], expecting: 36).status == .good)
        let statistics = unit.statistics
        #expect(statistics.total.commands == before + 49)
        #expect(statistics.operations.first { $0.code == OperationCode.inquiry }?.statistics.commands == 1)
        #expect(
            statistics.operations.first { $0.code == nil }?.statistics.commands == 48
                - UInt(CommandCounters.unknownLimit))
        port.logOut()
    }

    @Test("Failures of medium and host are told of with their sense data, and no others")
    func failures() {
        let failures = Lock<[CommandFailure]>([])
        let device = ExampleDevice(hasWildcard: false)
        let unit = LogicalUnit(device) { failure in failures.withLock { $0.append(failure) } }
        let target = Target(name: "iqn.2026-11.dev.carousel:failing", alias: "", homeReactor: nil)
        target.map(unit, at: 0)
        let port = InMemoryPort("iqn.2026-11.test:f", target: target, reactor: TestReactors.first)
        port.clearUnitAttentions()
        for sense in [
            SenseData(.mediumError, .unrecoveredReadError), SenseData(.dataProtect, .spaceAllocationFailed),
            SenseData(.dataProtect, .writeProtected), SenseData(.hardwareError, .internalTargetFailure),
            SenseData(.illegalRequest, .invalidMessageError),
        ] {
            port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { _ in }
            port.onReactor {
                guard let task = device.held.removeValue(forKey: 1) else { return }
                _ = task.fail(sense)
                task.finish()
            }
        }
        let told = failures.withLock { $0 }
        #expect(told.map(\.cause) == [.mediumError, .hostFull, .hardwareError])
        #expect(told.allSatisfy { $0.operationCode == ExampleDevice.wait && $0.initiator == "iqn.2026-11.test:f" })
        #expect(unit.statistics.senseKeys == [3: 1, 4: 1, 5: 1, 6: 1, 7: 2])
    }
}
