import DeviceTestSupport
import Platform
import SCSI
import Testing

@testable import TargetCore

@Suite("Tasks that end together")
struct TogetherEndingTests {
    private func start(
        _ port: InMemoryPort, _ name: UInt8, _ attribute: TaskAttribute = .simple, results: Results
    ) {
        port.submit([ExampleDevice.wait, 0, 0, 0, name, 0], attribute: attribute, expecting: 0) { results.add($0) }
    }

    @Test("None of them is started by the end of another; what only they have blocked goes on")
    func blocked() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let results = Results()
        start(port, 1, results: results)
        start(port, 2, .ordered, results: results)
        start(port, 3, results: results)
        start(port, 4, results: results)
        port.onReactor { port.nexus.abortTasks { [2, 3].contains($0.commandDescriptorBlock[4]) } }
        #expect(results.abortedCount == 2)
        #expect(fixture.device.begun == [1, 4])
        port.onReactor { for name in [1, 4] as [UInt8] { fixture.device.letGo(name) } }
        #expect(results.statuses == [.good, .good])
    }

    @Test("A unit that is taken away fetches no data for a task behind one that waits for its turn")
    func unmapped() throws {
        let fixture = UnitFixture(isSerial: true)
        let holder = fixture.initiator()
        let port = fixture.initiator("iqn.2026-11.test:b")
        // Mapped once more: it is taken from one of them only.
        let own = LogicalUnitMap()
        fixture.target.map(fixture.unit, at: 0, of: own)
        let other = InMemoryPort(
            "iqn.2026-11.test:c", target: fixture.target, logicalUnits: own, reactor: fixture.reactor)
        other.clearUnitAttentions()
        let results = Results()
        start(holder, 1, results: results)
        // The first waits for its turn, the second for the first.
        start(other, 2, results: results)
        other.submit([ExampleDevice.take, 0, 0, 0, 1, 0], dataOut: [9]) { results.add($0) }
        start(port, 3, results: results)
        fixture.target.unmap(at: 0, of: own)
        other.onReactor {}
        let gone = SenseData(.illegalRequest, .logicalUnitNotSupported)
        #expect(results.senses == [gone, gone])
        other.onReactor { #expect(other.dataOutRequests == 0) }
        holder.onReactor { fixture.device.letGo(1) }
        #expect(fixture.device.begun == [1, 3], "the turn comes to the others")
    }

    /// With a stack frame for each the thread's 8 MiB are not enough.
    @Test("However many functions wait for a task, its end tells each of them")
    func manyFunctions() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let results = Results()
        start(port, 1, results: results)
        let answers = Lock(0)
        port.onReactor {
            for _ in 0..<100_000 {
                port.nexus.perform(.abortTaskSet, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                    answers.withLock { $0 += 1 }
                }
            }
            fixture.device.letGo(1)
        }
        port.onReactor {}
        #expect(answers.withLock { $0 } == 100_000)
        #expect(results.abortedCount == 1)
    }
}

@Suite("Tasks whose nexus is gone")
struct LostTaskTests {
    @Test("Who waits does so for the tasks that are lost by then, in whatever order they come back")
    func batches() {
        let tasks = LostTasks()
        let ended = Lock<[Int]>([])
        func wait(_ number: Int) -> Bool { tasks.wait(Countdown { ended.withLock { $0.append(number) } }) }
        #expect(!wait(0))
        let first = [tasks.enter(), tasks.enter()]
        #expect(wait(1))
        #expect(wait(2))
        let second = tasks.enter()
        #expect(wait(3))
        let third = tasks.enter()
        tasks.leave(second)
        #expect(ended.withLock { $0.isEmpty }, "older ones have not come back")
        tasks.leave(first[1])
        tasks.leave(first[0])
        #expect(ended.withLock { $0 } == [1, 2, 3])
        #expect(wait(4))
        tasks.leave(third)
        #expect(ended.withLock { $0 } == [1, 2, 3, 4])
        #expect(!wait(5))
    }

    /// A session ends while the medium has its task.
    private func lose(_ fixture: UnitFixture, _ results: Results) {
        let port = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], expecting: 0) { results.add($0) }
        port.logOut()
        #expect(results.abortedCount == 0)
    }

    private func letGo(_ fixture: UnitFixture) {
        let port = fixture.initiator("iqn.2026-11.test:c", on: fixture.otherReactor)
        port.onReactor { fixture.device.letGo(1) }
    }

    @Test("The end of a unit in a map waits for tasks of nexuses that were lost before")
    func unmap() throws {
        let fixture = UnitFixture()
        let results = Results()
        lose(fixture, results)
        let isDone = Lock(false)
        fixture.target.map(fixture.unit, at: 7)
        fixture.target.unmap(at: 7) { isDone.withLock { $0 = true } }
        #expect(!isDone.withLock { $0 })
        letGo(fixture)
        #expect(results.abortedCount == 1)
        #expect(isDone.withLock { $0 })
        let isDoneAtOnce = Lock(false)
        fixture.target.map(fixture.unit, at: 7)
        fixture.target.unmap(at: 7) { isDoneAtOnce.withLock { $0 = true } }
        fixture.initiator().onReactor {}
        #expect(isDoneAtOnce.withLock { $0 })
    }

    @Test("The end of a unit waits for tasks of a nexus that is lost before the change reaches it")
    func lostMeanwhile() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let results = Results()
        port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], expecting: 0) { results.add($0) }
        let isDone = Lock(false)
        port.onReactor {
            fixture.target.unmap(at: 0) { isDone.withLock { $0 = true } }
            port.nexus.lose()
        }
        port.onReactor {}
        #expect(!isDone.withLock { $0 })
        port.onReactor { fixture.device.letGo(1) }
        #expect(isDone.withLock { $0 })
        #expect(results.abortedCount == 1)
    }

    @Test("A logical unit reset waits for tasks of nexuses that were lost before: they change the medium")
    func reset() throws {
        let fixture = UnitFixture()
        let results = Results()
        lose(fixture, results)
        let port = fixture.initiator()
        let answered = Lock(0)
        port.onReactor {
            port.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answered.withLock { $0 += 1 }
            }
        }
        port.onReactor {}
        #expect(fixture.device.resets == 1)
        #expect(answered.withLock { $0 } == 0)
        letGo(fixture)
        port.onReactor {}
        #expect(answered.withLock { $0 } == 1)
        #expect(port.manage(.logicalUnitReset) == .complete)
    }

    /// What a port keeps for a function.
    private final class Kept: Sendable {}

    /// Sessions ask for functions that wait for ever, and end. Nothing of them is kept.
    private func loseFunctions(_ fixture: UnitFixture) {
        for _ in 0..<(4 * TaskWaiters.sweepCount) {
            let port = fixture.initiator()
            weak var kept: Kept?
            do {
                let object = Kept()
                kept = object
                let reset = TaskManagementFunction.logicalUnitReset
                port.onReactor { [object] in
                    port.nexus.perform(reset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                        _ = object
                        Issue.record("the nexus is gone")
                    }
                }
            }
            #expect(kept != nil)
            port.logOut()
            // The messages that held it are over.
            for _ in 0..<2 { port.onReactor {} }
            #expect(kept == nil)
        }
    }

    @Test("Functions of nexuses that are lost keep nothing while the medium has what they wait for")
    func functionsOfLostNexuses() throws {
        let fixture = UnitFixture()
        let results = Results()
        lose(fixture, results)
        let port = fixture.initiator("iqn.2026-11.test:c")
        port.submit([ExampleDevice.wait, 0, 0, 0, 2, 0], expecting: 0) { results.add($0) }
        loseFunctions(fixture)
        #expect(fixture.unit.lostTasks.waiterCount <= TaskWaiters.sweepCount)
        port.onReactor {
            let count = fixture.device.held[2]?.whenAborted.count ?? 0
            #expect(count > 0 && count <= TaskWaiters.sweepCount)
        }
        // Those who stay are told.
        let answered = Lock(0)
        port.onReactor {
            port.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answered.withLock { $0 += 1 }
            }
        }
        letGo(fixture)
        port.onReactor { fixture.device.letGo(2) }
        port.onReactor {}
        #expect(answered.withLock { $0 } == 1)
        #expect(results.abortedCount == 2)
        #expect(fixture.unit.lostTasks.waiterCount == 0)
    }
}
