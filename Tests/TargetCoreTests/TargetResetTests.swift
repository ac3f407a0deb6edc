import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import Testing

@testable import TargetCore

@Suite("Functions on many logical units and nexuses")
struct TargetResetTests {
    private static let unitCount = 300

    private let target = Target(name: "iqn.2026-11.dev.carousel:example", alias: "", homeReactor: nil)

    /// Gives the target its units.
    private func offer<Device: DeviceServer>(_ make: (Int) -> Device) -> [Device] {
        let devices = (0..<Self.unitCount).map(make)
        for (number, device) in devices.enumerated() { target.map(LogicalUnit(device), at: number) }
        return devices
    }

    /// Initiators that have addressed all units and seen their unit attentions.
    private func initiators(_ count: Int, on reactor: Reactor) -> [InMemoryPort] {
        (0..<count).map { number in
            let port = InMemoryPort("iqn.2026-11.test:\(reactor.name)-\(number)", target: target, reactor: reactor)
            port.onReactor {
                for number in 0..<Self.unitCount {
                    _ = port.nexus.unitNexus(LogicalUnitNumber(number))?.takeUnitAttention()
                }
            }
            return port
        }
    }

    private func attentions(_ port: InMemoryPort) -> Int {
        let count = Lock(0)
        port.onReactor {
            let told = port.nexus.unitNexuses.filter { nexus in
                nexus.takeUnitAttention() == .busDeviceResetOccurred && !nexus.hasUnitAttention
            }
            count.withLock { $0 = told.count }
        }
        return count.withLock { $0 }
    }

    /// Gives the reactors of `ports` turns until `condition` holds.
    private func waitFor(_ ports: [InMemoryPort], _ condition: () -> Bool) {
        var turns = 0
        while !condition(), turns < 200 {
            turns += 1
            for port in ports { port.onReactor {} }
        }
        #expect(turns < 200)
    }

    private func enumerations(_ port: InMemoryPort) -> Int {
        let count = Lock(0)
        port.onReactor { count.withLock { $0 = port.taskEnumerations } }
        return count.withLock { $0 }
    }

    @Test("A target reset asks each port for its tasks a few times, however many units there are")
    func boundedEnumerations() throws {
        let devices = offer { MemoryDevice(number: $0, blockCount: 8) }
        let own = initiators(2, on: TestReactors.first)
        let others = initiators(4, on: TestReactors.second)
        let results = Results()
        for port in own + others {
            for unit in [0, 299] {
                for attribute in [TaskAttribute.ordered, .simple] {
                    port.submit([MemoryDevice.wait, 0, 0, 0, 0, 0], logicalUnit: unit, attribute: attribute) {
                        results.add($0)
                    }
                }
            }
        }
        let before = (own + others).map(enumerations)
        let answers = Lock(0)
        own[0].onReactor {
            own[0].nexus.perform(.targetWarmReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answers.withLock { $0 += 1 }
            }
        }
        for port in [others[0], own[0]] { port.onReactor {} }
        #expect(results.abortedCount == 12, "what waits ends, and is not started")
        #expect(answers.withLock { $0 } == 0)
        for port in [own[0], others[0]] { port.onReactor { for unit in [0, 299] { devices[unit].letGo() } } }
        waitFor([others[0], own[0]]) { answers.withLock { $0 == 1 } }
        #expect(results.abortedCount == 24)
        for (port, before) in zip(own + others, before) { #expect(enumerations(port) - before <= 8) }
        #expect(devices[0].heldCount == 6 && devices[299].heldCount == 6)
        for port in own + others { #expect(attentions(port) == Self.unitCount) }
    }

    /// Notes how many nexuses learn of a reset between two ends of turns of a reactor, at most.
    private final class TurnWatch: TurnHandler, @unchecked Sendable {
        private let reactor: Reactor
        private let nexuses: [ITLNexus]
        private var told = 0
        var most = 0
        var isOver = false

        init(_ ports: [InMemoryPort], on reactor: Reactor) {
            self.reactor = reactor
            let found = Lock<[ITLNexus]>([])
            ports[0].onReactor { for port in ports { found.withLock { $0 += port.nexus.unitNexuses } } }
            nexuses = found.withLock { $0 }
            ports[0].onReactor { reactor.afterEvents(self) }
        }

        func turnEnded() {
            let now = nexuses.count { $0.hasUnitAttention }
            most = max(most, now - told)
            told = now
            if !isOver { reactor.afterEvents(self) }
        }
    }

    @Test("Reactors do a large reset in pieces, after one message for each, and later commands are not affected")
    func pieces() throws {
        let devices = offer { _ in ExampleDevice() }
        // More than two turns' work on each reactor.
        let count = 2 * TaskClearing.turnWork / Self.unitCount + 2
        let own = initiators(count, on: TestReactors.first)
        let others = initiators(count, on: TestReactors.second)
        let watches = [TurnWatch(own, on: TestReactors.first), TurnWatch(others, on: TestReactors.second)]
        let results = Results()
        let answers = Lock(0)
        own[0].submit([ExampleDevice.wait, 0, 0, 0, 1, 0], logicalUnit: 5) { results.add($0) }
        own[0].onReactor {
            own[0].nexus.perform(.targetWarmReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answers.withLock { $0 += 1 }
            }
            own[0].submitOnReactor([ExampleDevice.wait, 0, 0, 0, 2, 0], logicalUnit: 5) { results.add($0) }
            let told = own[0].nexus.unitNexuses.count { $0.hasUnitAttention }
            #expect(told < Self.unitCount, "it is not done at once")
        }
        let isTold = Lock(false)
        waitFor([own[0]]) {
            own[0].onReactor {
                let nexus = own[0].nexus.unitNexus(LogicalUnitNumber(5))
                isTold.withLock { $0 = nexus?.hasUnitAttention == true }
            }
            return isTold.withLock { $0 }
        }
        own[0].onReactor { devices[5].letGo(1) }
        waitFor([others[0], own[0]]) { answers.withLock { $0 == 1 } }
        #expect(results.abortedCount == 1)
        own[0].onReactor { devices[5].letGo(2) }
        #expect(results.statuses == [.good])
        for (watch, port) in zip(watches, [own[0], others[0]]) {
            port.onReactor {
                watch.isOver = true
                #expect(watch.most > 0 && watch.most <= TaskClearing.turnWork + Self.unitCount)
            }
        }
        for port in own + others { #expect(attentions(port) == Self.unitCount) }
        #expect(devices.allSatisfy { $0.resets == 1 })
    }

    @Test("However many nexuses and units there are, a reactor gets one message for a step")
    func messages() throws {
        _ = offer { _ in ExampleDevice() }
        let own = initiators(1, on: TestReactors.first)
        let others = initiators(3, on: TestReactors.second)
        let released = DispatchSemaphore(value: 0)
        TestReactors.second.post { released.wait() }
        let answers = Lock(0)
        own[0].onReactor { [target] in
            let nexus = own[0].nexus
            let clearing = TaskClearing(
                target.logicalUnits.table, origin: nexus, attention: .busDeviceResetOccurred, isReset: true,
                Join(of: nexus) { _ in answers.withLock { $0 += 1 } })
            clearing.begin()
            #expect(clearing.remainingParts == 1, "the other reactor")
        }
        released.signal()
        waitFor([others[0], own[0]]) { answers.withLock { $0 == 1 } }
        for port in own + others { #expect(attentions(port) == Self.unitCount) }
    }

    /// Sends what sets something: a reservation, D_SENSE, after TEST UNIT READY.
    private func set(_ port: InMemoryPort, _ results: Results) {
        port.submit([OperationCode.testUnitReady, 0, 0, 0, 0, 0]) { results.add($0) }
        port.submit([OperationCode.reserve6, 0, 0, 0, 0, 0]) { results.add($0) }
        let list: [UInt8] = [0, 0, 0, 0, 0x0A, 10, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        port.submit([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(list.count), 0], dataOut: list) { results.add($0) }
    }

    @Test("A reset takes nothing that a nexus sets after it has been told, and tells all of what it takes")
    func settings() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let before = Results()
        set(other, before)
        #expect(before.statuses == [.good, .good, .good])
        let released = DispatchSemaphore(value: 0)
        let answers = Lock(0)
        port.onReactor {
            // The other reactor does its part, and this one goes no further.
            TestReactors.first.post { released.wait() }
            port.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answers.withLock { $0 += 1 }
            }
        }
        let after = Results()
        set(other, after)
        let newcomer = fixture.initiator("iqn.2026-11.test:c", on: fixture.otherReactor)
        released.signal()
        waitFor([other, port]) { answers.withLock { $0 == 1 } && after.statuses.count == 3 }
        #expect(after.senses.first == SenseData(.unitAttention, .busDeviceResetOccurred))
        #expect(after.statuses == [.checkCondition, .good, .good])
        #expect(fixture.device.modePages.page(0x0A)?.current.first == 0x06)
        #expect(newcomer.clearUnitAttentions().contains(.busDeviceResetOccurred))
        let conflict = newcomer.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        #expect(conflict.status == .reservationConflict)
        #expect(fixture.device.resets == 1)
    }

    @Test("Tasks that come when those of their nexus are aborted start after a reset, all of it")
    func heldTasks() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let released = DispatchSemaphore(value: 0)
        port.onReactor {
            TestReactors.first.post { released.wait() }
            for _ in 0..<2 {
                port.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in }
            }
        }
        let results = Results()
        other.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { results.add($0) }
        other.submit([ExampleDevice.wait, 0, 0, 0, 2, 0], attribute: .headOfQueue) { results.add($0) }
        other.submit([OperationCode.inquiry, 0, 0, 0, 36, 0]) { results.add($0) }
        #expect(results.statuses == [.good], "what depends on no state is answered")
        other.submit([ExampleDevice.wait, 0, 0, 0, 3, 0]) { results.add($0) }
        other.onReactor { other.nexus.abortTasks { $0.commandDescriptorBlock[4] == 3 } }
        #expect(results.abortedCount == 1)
        released.signal()
        waitFor([port, other]) { results.statuses.count == 2 }
        #expect(results.senses == [SenseData(.unitAttention, .busDeviceResetOccurred)])
        waitFor([port, other]) { fixture.device.begun == [1] }
        other.onReactor { fixture.device.letGo(1) }
        #expect(results.statuses == [.good, .checkCondition, .good])
        #expect(fixture.device.resets == 2)
    }
}
