import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TestSupport
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

    @Test("Whatever comes back first, those who wait are told when all that they wait for have", arguments: 1...8)
    func randomBatches(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let tasks = LostTasks()
        let ended = Lock<Set<Int>>([])
        var present: [Int: Int] = [:]
        var expected: [Int: Set<Int>] = [:]
        for step in 0..<2000 {
            switch Int.random(in: 0..<(step < 1500 ? 3 : 5), using: &random) {
            case 0: present[step] = tasks.enter()
            case 1:
                let isWaiting = tasks.wait(Countdown { ended.withLock { _ = $0.insert(step) } })
                #expect(isWaiting == !present.isEmpty)
                if isWaiting { expected[step] = Set(present.keys) }
            default:
                guard let task = present.keys.sorted().randomElement(using: &random) else { continue }
                tasks.leave(present.removeValue(forKey: task) ?? -1)
            }
            let done = Set(expected.filter { $0.value.isDisjoint(with: present.keys) }.keys)
            #expect(ended.withLock { $0 } == done)
            #expect(tasks.batchCount <= present.count)
            #expect(tasks.waiterCount == expected.count - done.count)
        }
    }

    /// Somebody who does not wait any more.
    private final class Withdrawn: TaskWaiter {
        let isWithdrawn = true
        func hasEnded() {}
    }

    @Test("While one task hangs and others come and go, batches and those who have withdrawn do not gather")
    func boundedBatches() {
        let tasks = LostTasks()
        let hung = tasks.enter()
        #expect(tasks.wait(Withdrawn()))
        var present = tasks.enter()
        for _ in 0..<1000 {
            #expect(tasks.wait(Withdrawn()))
            let next = tasks.enter()
            tasks.leave(present)
            present = next
            #expect(tasks.batchCount <= 2)
            #expect(tasks.waiterCount <= 2 * TaskWaiters.sweepCount)
        }
        tasks.leave(present)
        let isTold = Lock(false)
        #expect(tasks.wait(Countdown { isTold.withLock { $0 = true } }))
        tasks.leave(hung)
        #expect(isTold.withLock { $0 })
        #expect(tasks.batchCount == 0 && tasks.waiterCount == 0)
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
        // Each reactor has a word in it.
        for _ in 0..<10_000 where !isDoneAtOnce.withLock({ $0 }) { sleepMilliseconds(1) }
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
    private func loseFunctions(_ initiator: () -> InMemoryPort, settle: () -> Void) {
        for _ in 0..<(4 * TaskWaiters.sweepCount) {
            let port = initiator()
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
            settle()
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
        loseFunctions({ fixture.initiator() }, settle: { for _ in 0..<2 { port.onReactor {} } })
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
    @Test(
        "Functions of lost nexuses keep nothing on the reactor of a serial unit either", arguments: [true, false],
        [true, false])
    func functionsOfLostNexusesAtHome(isLost: Bool, areAway: Bool) throws {
        let fixture = UnitFixture(isSerial: true)
        let reactor = areAway ? fixture.otherReactor : fixture.reactor
        let results = Results()
        let holder = fixture.initiator("iqn.2026-11.test:b", on: reactor)
        holder.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], expecting: 0) { results.add($0) }
        let stayer = InMemoryPort("iqn.2026-11.test:c", target: fixture.target, reactor: reactor)
        func settle() {
            for _ in 0..<4 { for reactor in [fixture.otherReactor, fixture.reactor] { wait(for: reactor) } }
        }
        settle()
        if isLost { holder.logOut() }
        settle()
        loseFunctions(
            { InMemoryPort("iqn.2026-11.test:d", target: fixture.target, reactor: reactor) }, settle: settle)
        #expect(fixture.unit.lostTasks.waiterCount <= TaskWaiters.sweepCount)
        run(on: fixture.reactor) {
            let count = fixture.device.held[1]?.whenAborted.count ?? 0
            #expect(count > 0 && count <= TaskWaiters.sweepCount)
        }
        #expect(fixture.unit.attachedNexuses.count == (isLost ? 0 : 1))
        // Those who stay are told.
        let answered = Lock(0)
        stayer.onReactor {
            stayer.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answered.withLock { $0 += 1 }
            }
        }
        settle()
        #expect(answered.withLock { $0 } == 0)
        run(on: fixture.reactor) { fixture.device.letGo(1) }
        settle()
        #expect(answered.withLock { $0 } == 1)
        #expect(results.abortedCount == 1)
        #expect(fixture.unit.lostTasks.waiterCount == 0)
    }

    private func wait(for reactor: Reactor) { run(on: reactor) {} }

    private func run(on reactor: Reactor, _ body: @escaping @Sendable () -> Void) {
        let done = DispatchSemaphore(value: 0)
        reactor.postCompletion {
            body()
            done.signal()
        }
        done.wait()
    }
}
