import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Testing

@testable import TargetCore

@Suite("Maps of logical units")
struct LogicalUnitMapTests {
    private static let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]

    /// The numbers that REPORT LUNS lists, and the length that it states.
    private func report(
        _ port: InMemoryPort, select: UInt8 = 0, allocation: UInt32 = 1 << 20, logicalUnit: Int = 0
    ) -> (numbers: [Int], listLength: Int) {
        var command: [UInt8] = [OperationCode.reportLUNs, 0, select, 0, 0, 0]
        command.appendBE32(allocation)
        let data = port.execute(command + [0, 0], logicalUnit: logicalUnit).dataIn
        guard data.count >= 8 else { return ([], -1) }
        let numbers = stride(from: 8, to: data.count - 7, by: 8).compactMap {
            LogicalUnitNumber(rawValue: data.rawSpan.loadBE64(at: $0)).number
        }
        return (numbers, Int(data.rawSpan.loadBE32(at: 0)))
    }

    @Test("REPORT LUNS lists the numbers sorted, as far as the allocation length goes, with the length of all")
    func reportLUNs() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let numbers = [0, 7, 255, 256, 300, 16383, 16384, 65535]
        for number in numbers.reversed() where number != 0 {
            fixture.target.map(LogicalUnit(ExampleDevice()), at: number)
        }
        #expect(report(port).numbers == numbers)
        #expect(report(port).listLength == 64)
        #expect(report(port, select: 2).numbers == numbers)
        #expect(report(port, select: 2).listLength == 80)
        #expect(report(port, select: 2, allocation: 16) == (numbers: [0], listLength: 80))
        #expect(report(port, select: 1).listLength == 16)
        #expect(report(port, allocation: 24) == (numbers: [0, 7], listLength: 64))
        #expect(report(port, allocation: 16) == (numbers: [0], listLength: 64))
        #expect(report(port, allocation: 8) == (numbers: [], listLength: 64))
        #expect(port.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0]).dataIn == [0, 0, 0, 64])
        #expect(port.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).dataInLength == 0)
        let refused = port.execute([OperationCode.reportLUNs, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0])
        #expect(refused.sense?.fieldPointer == FieldPointer(isInCommand: true, byte: 2))
        #expect(report(port, logicalUnit: 99).numbers == numbers, "a number without a unit reports too")
    }

    @Test("There is no number beyond the last one, and no room for more units than a map takes")
    func limits() {
        let map = LogicalUnitMap()
        let unit = LogicalUnit(ExampleDevice())
        for number in [-1, LogicalUnitMap.numbers.upperBound, Int.max] {
            #expect(!map.insert(unit, at: number) && map[number] == nil)
        }
        let taken = LogicalUnitMap.numbers.reversed().count { map.insert(unit, at: $0) }
        #expect(taken == LogicalUnitMap.maximumCount && map.count == taken)
        #expect(map.remove(at: LogicalUnitMap.numbers.upperBound - 1, Countdown {}) === unit)
        #expect(map.insert(unit, at: 0) && !map.insert(unit, at: 1))
    }

    @Test("Well known logical units are listed, say what they are, and have the commands of their clause only")
    func wellKnown() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let (luns, logs) = (LogicalUnitNumber.reportLUNsWellKnown, LogicalUnitNumber.targetLogPagesWellKnown)
        let listed = port.execute([OperationCode.reportLUNs, 0, 1, 0, 0, 0, 0, 0, 0, 255, 0, 0], at: luns).dataIn
        #expect(listed == [0, 0, 0, 16, 0, 0, 0, 0, 0xC1, 1, 0, 0, 0, 0, 0, 0, 0xC1, 3, 0, 0, 0, 0, 0, 0])
        for number in [luns, logs] {
            let power = port.execute(Self.testUnitReady, at: number)
            #expect(power.sense == SenseData(.unitAttention, .powerOnOrReset))
            #expect(port.execute(Self.testUnitReady, at: number).status == .good)
            #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0], at: number).dataIn[0] == 0x1E)
            #expect(port.execute([OperationCode.inquiry, 1, 0, 0, 96, 0], at: number).dataIn[4...] == [0x00, 0x83])
            let names = port.execute([OperationCode.inquiry, 1, 0x83, 0, 255, 0], at: number).dataIn
            #expect(names[5] == 0x94, "it has no designator of its own")
            #expect(port.execute([OperationCode.inquiry, 1, 0x80, 0, 255, 0], at: number).status == .checkCondition)
            let read = port.execute([OperationCode.read10, 0, 0, 0, 0, 0, 0, 0, 1, 0], at: number)
            #expect(read.sense?.additionalSenseCode == .invalidCommandOperationCode)
        }
        let logSense: [UInt8] = [OperationCode.logSense, 0, 0x40, 0, 0, 0, 0, 0, 255, 0]
        #expect(port.execute(logSense, at: logs).dataIn == [0, 0, 0, 1, 0])
        #expect(port.execute(logSense, at: luns).sense?.additionalSenseCode == .invalidCommandOperationCode)
        let accessControls = LogicalUnitNumber(rawValue: 0xC102_0000_0000_0000)
        #expect(
            port.execute(Self.testUnitReady, at: accessControls).sense
                == SenseData(.illegalRequest, .logicalUnitNotSupported))
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 9)
        #expect(
            port.execute(Self.testUnitReady, at: luns).sense
                == SenseData(.unitAttention, .reportedLUNsDataHasChanged))
        port.logOut()
    }

    @Test("A reset of a well known unit, and one of the target, are told of there; the unit has no NORMACA")
    func wellKnownResets() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let (luns, logs) = (LogicalUnitNumber.reportLUNsWellKnown, LogicalUnitNumber.targetLogPagesWellKnown)
        for number in [luns, logs] { _ = port.execute(Self.testUnitReady, at: number) }
        func reset(_ function: TaskManagementFunction, _ number: LogicalUnitNumber) {
            let response = Lock<TaskManagementResponse?>(nil)
            let arrivals = Arrivals()
            port.onReactor {
                port.nexus.perform(function, logicalUnitNumber: number, reference: nil) { found in
                    response.withLock { $0 = found }
                    arrivals.add()
                }
            }
            arrivals.wait { response.withLock { $0 } != nil }
            #expect(response.withLock { $0 } == .complete)
        }
        let told = SenseData(.unitAttention, .busDeviceResetOccurred)
        reset(.logicalUnitReset, logs)
        #expect(port.execute(Self.testUnitReady, at: logs).sense == told)
        #expect(port.execute(Self.testUnitReady, at: luns).status == .good)
        reset(.logicalUnitReset, LogicalUnitNumber(0))
        #expect(port.execute(Self.testUnitReady, at: logs).status == .good)
        reset(.targetWarmReset, LogicalUnitNumber(0))
        for number in [luns, logs] {
            #expect(port.execute(Self.testUnitReady, at: number).sense == told)
            #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0], at: number).dataIn[3] == 0x02)
        }
    }

    @Test("A nexus that is lost goes away")
    func end() {
        let fixture = UnitFixture()
        weak var nexus: ITNexus?
        do {
            let port = InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor)
            port.clearUnitAttentions()
            _ = port.execute(Self.testUnitReady, logicalUnit: 99)
            nexus = port.nexus
            #expect(nexus != nil)
            port.logOut()
        }
        // When the reactor has done something else, it has let go of what it did for the port.
        for _ in 0..<2 { fixture.initiator().onReactor {} }
        #expect(nexus == nil)
    }

    @Test("A nexus keeps nothing for units that its initiator never addressed")
    func laziness() throws {
        let fixture = UnitFixture()
        for number in 1..<10_000 { fixture.target.map(LogicalUnit(ExampleDevice()), at: number) }
        let port = InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor)
        port.onReactor {
            #expect(port.nexus.unitNexuses.isEmpty)
            #expect(port.nexus.tableCapacity == 0)
        }
        #expect(report(port).numbers == Array(0..<10_000))
        #expect(port.clearUnitAttentions(logicalUnit: 9_999) == [.powerOnOrReset])
        #expect(port.clearUnitAttentions(logicalUnit: 70) == [.powerOnOrReset])
        port.onReactor {
            #expect(port.nexus.unitNexuses.map(\.logicalUnitNumber.number) == [0, 70, 9_999])
            #expect(port.nexus.tableCapacity == 192)
        }
        #expect(fixture.target.logicalUnits[70]?.attachedNexuses.all.count == 1)
        #expect(fixture.target.logicalUnits[71]?.attachedNexuses.all.isEmpty == true)
        #expect(port.manage(.logicalUnitReset, logicalUnit: 4711) == .complete, "a reset may come first")
        port.logOut()
        #expect(fixture.target.logicalUnits[70]?.attachedNexuses.all.isEmpty == true)
        #expect(fixture.target.logicalUnits[4711]?.attachedNexuses.all.isEmpty == true)
    }

    @Test("A change of the map is told once at each unit, until REPORT LUNS, which tells all of it")
    func notice() throws {
        let fixture = UnitFixture()
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 1)
        let port = fixture.initiator()
        port.clearUnitAttentions(logicalUnit: 1)
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 2)
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 3)
        #expect(port.clearUnitAttentions() == [.reportedLUNsDataHasChanged])
        // Unit 0 has told; of another change it must tell again, and unit 1 tells once of both.
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 4)
        #expect(port.clearUnitAttentions() == [.reportedLUNsDataHasChanged])
        #expect(port.clearUnitAttentions(logicalUnit: 1) == [.reportedLUNsDataHasChanged])
        // A unit that is met before REPORT LUNS tells of the change too.
        #expect(port.clearUnitAttentions(logicalUnit: 2) == [.powerOnOrReset, .reportedLUNsDataHasChanged])
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 5)
        port.onReactor {}
        #expect(report(port).numbers == [0, 1, 2, 3, 4, 5])
        for number in [0, 1, 2] { #expect(port.clearUnitAttentions(logicalUnit: number) == []) }
        #expect(port.clearUnitAttentions(logicalUnit: 5) == [.powerOnOrReset])
        let later = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(later.clearUnitAttentions(logicalUnit: 5) == [.powerOnOrReset], "a new nexus missed nothing")
    }

    @Test("Initiators see only their own map, and learn only of its changes")
    func ownMap() throws {
        let fixture = UnitFixture()
        let own = LogicalUnitMap()
        let everyone = fixture.initiator("iqn.2026-11.test:a")
        let one = InMemoryPort(
            "iqn.2026-11.test:b", target: fixture.target, logicalUnits: own, reactor: fixture.otherReactor)
        #expect(report(one).numbers.isEmpty)
        #expect(one.execute(Self.testUnitReady).sense == SenseData(.illegalRequest, .logicalUnitNotSupported))
        fixture.target.map(fixture.unit, at: 3, of: own)
        #expect(report(one).numbers == [3])
        #expect(one.clearUnitAttentions(logicalUnit: 3) == [.powerOnOrReset])
        #expect(everyone.clearUnitAttentions() == [])
        // It is the same unit: what one reserves is reserved for the other.
        #expect(one.execute([OperationCode.reserve6, 0, 0, 0, 0, 0], logicalUnit: 3).status == .good)
        #expect(everyone.execute(Self.testUnitReady).status == .reservationConflict)
        fixture.target.unmap(at: 3, of: own)
        one.onReactor {}
        #expect(everyone.execute(Self.testUnitReady).status == .good, "what was reserved through the map is free")
        let refused = one.execute(Self.testUnitReady, logicalUnit: 3)
        #expect(refused.sense == SenseData(.illegalRequest, .logicalUnitNotSupported))
    }

    @Test("Unmapping ends each task with its status, when the medium lets go, and says when all have ended")
    func unmap() throws {
        let fixture = UnitFixture()
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 1)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        port.clearUnitAttentions(logicalUnit: 1)
        let ended = Lock<[UInt8: CommandResult]>([:])
        for name in [1, 2, 3] as [UInt8] {
            let operation = name == 1 ? ExampleDevice.waitAlone : ExampleDevice.wait
            port.submit([operation, 0, 0, 0, name, 0], expecting: 0) { result in ended.withLock { $0[name] = result } }
        }
        let isDone = Lock(false)
        #expect(fixture.target.unmap(at: 0) { isDone.withLock { $0 = true } } === fixture.unit)
        port.onReactor {}
        other.onReactor {}
        #expect(ended.withLock { $0.keys.sorted() } == [2, 3], "those that waited end at once")
        #expect(!isDone.withLock { $0 })
        let gone = SenseData(.illegalRequest, .logicalUnitNotSupported)
        #expect(port.execute(Self.testUnitReady).sense == gone)
        #expect(other.execute(Self.testUnitReady).sense == gone)
        #expect(port.manage(.abortTaskSet) == .incorrectLogicalUnitNumber)
        #expect(fixture.unit.attachedNexuses.all.isEmpty)
        port.onReactor { fixture.device.letGo(1) }
        #expect(isDone.withLock { $0 })
        #expect(fixture.device.begun == [1], "nothing that waited was started")
        for name in [1, 2, 3] as [UInt8] {
            let result = try #require(ended.withLock { $0[name] })
            #expect(!result.isAborted)
            #expect(result.sense == gone)
        }
        #expect(port.clearUnitAttentions(logicalUnit: 1) == [.reportedLUNsDataHasChanged])
        #expect(report(port).numbers == [1])
        #expect(fixture.target.unmap(at: 0) == nil)
        // The number is free for another unit, which is a new one for the initiator.
        fixture.target.map(LogicalUnit(ExampleDevice()), at: 0)
        #expect(report(port).numbers == [0, 1])
        #expect(port.clearUnitAttentions() == [.powerOnOrReset])
    }

    @Test("A session that ends while an unmapped unit still works gets no answer, and the count comes to its end")
    func unmapThenLogOut() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let outcome = Lock<CommandResult?>(nil)
        port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], expecting: 0) { result in outcome.withLock { $0 = result } }
        let isDone = Lock(false)
        fixture.target.unmap(at: 0) { isDone.withLock { $0 = true } }
        port.onReactor {}
        port.logOut()
        port.onReactor { fixture.device.letGo(1) }
        #expect(outcome.withLock { $0?.isAborted } == true)
        #expect(isDone.withLock { $0 })
    }

    @Test("A target reset reaches units that the initiator has not addressed, each once, and others on them")
    func targetReset() throws {
        let fixture = UnitFixture()
        let device = ExampleDevice()
        let twice = LogicalUnit(device)
        fixture.target.map(twice, at: 1)
        fixture.target.map(twice, at: 300)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        other.clearUnitAttentions(logicalUnit: 300)
        #expect(port.manage(.targetWarmReset) == .complete)
        #expect(fixture.device.resets == 1)
        #expect(device.resets == 1)
        #expect(other.clearUnitAttentions(logicalUnit: 300) == [.busDeviceResetOccurred])
        #expect(port.clearUnitAttentions(logicalUnit: 1) == [.powerOnOrReset], "a new nexus has its own attention")
    }
}

@Suite("The directory of targets")
struct TargetDirectoryTests {
    @Test("All targets are sorted by name, after each change")
    func sorted() {
        let directory = TargetDirectory()
        for name in ["c", "a", "b"] { directory.add(Target(name: name, alias: "", homeReactor: nil)) }
        #expect(directory.all.map(\.name) == ["a", "b", "c"])
        directory.remove(name: "b")
        #expect(directory.all.map(\.name) == ["a", "c"])
        directory.add(Target(name: "aa", alias: "", homeReactor: nil))
        #expect(directory.all.map(\.name) == ["a", "aa", "c"])
        #expect(directory["aa"]?.name == "aa")
        #expect(directory["b"] == nil)
    }
}
