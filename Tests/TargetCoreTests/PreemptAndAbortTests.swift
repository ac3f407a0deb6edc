import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import Testing

@testable import TargetCore

/// How commands have ended, in that order.
private final class Outcomes: Sendable {
    private let texts = Lock<[String]>([])

    var all: [String] { texts.withLock { $0 } }

    func add(_ text: String) { texts.withLock { $0.append(text) } }

    func add(_ name: String, _ result: CommandResult) {
        add("\(name) \(result.isAborted ? "aborted" : result.status == .good ? "good" : "failed")")
    }
}

@Suite("PREEMPT AND ABORT")
struct PreemptAndAbortTests {
    private let fixture = UnitFixture()
    private let (a, b, c): (InMemoryPort, InMemoryPort, InMemoryPort)
    private let write: [UInt8] = [ExampleDevice.take, 0, 0, 0, 1, 0]
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]

    init() {
        a = fixture.initiator("iqn.2026-11.test:a")
        b = fixture.initiator("iqn.2026-11.test:b")
        c = fixture.initiator("iqn.2026-11.test:c", on: TestReactors.second)
    }

    /// Whether `condition` comes true within some seconds.
    private func eventually(_ condition: () -> Bool) async -> Bool {
        for _ in 0..<500 {
            if condition() { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return condition()
    }

    /// Has a command that waits begin, named `name`.
    private func begin(_ port: InMemoryPort, _ name: UInt8, _ results: Outcomes, _ text: String) {
        port.submit([ExampleDevice.wait, 0, 0, 0, name, 0]) { result in
            results.add(text, result)
        }
    }

    private func preempt(
        _ port: InMemoryPort, _ type: UInt8 = 1, key: UInt64, victims: UInt64, _ results: Outcomes,
        holding: DispatchSemaphore? = nil
    ) {
        let work: @Sendable () -> Void = {
            port.submitPreemptionOnReactor(type, key: key, victims: victims) { result in
                results.add("preempted", result)
            }
            holding?.wait()
        }
        if holding == nil { port.onReactor(work) } else { port.nexus.reactor.postCompletion(work) }
    }

    @Test("nothing of the preempted goes on after it, wherever that runs", arguments: [false, true])
    func abort(isFarther: Bool) async {
        let victim = isFarther ? c : a
        victim.reserveOut(Action.register, newKey: 0xA)
        b.reserveOut(Action.register, newKey: 0xB)
        victim.reserveOut(Action.reserve, 1, key: 0xA)
        let results = Outcomes()
        begin(victim, 1, results, "victim")
        preempt(b, key: 0xB, victims: 0xA, results)
        // It is in force, and not complete while a command of the victim is with the medium.
        while b.reservation?.key != 0xB { await Task.yield() }
        b.onReactor {}
        #expect(results.all.isEmpty)
        victim.onReactor { [device = fixture.device] in device.letGo(1) }
        while results.all.count < 2 { await Task.yield() }
        #expect(results.all == ["victim aborted", "preempted good"])
        #expect(victim.clearUnitAttentions() == [.registrationsPreempted])
        #expect(!victim.writes)
    }

    @Test("it ends once where the preempted have no commands, on one reactor or two, on a serial unit too")
    func idleVictims() {
        for isSerial in [false, true] {
            let fixture = UnitFixture(isSerial: isSerial)
            let asker = fixture.initiator("iqn.2026-11.test:asker")
            for reactor in [fixture.reactor, fixture.otherReactor] {
                let victim = fixture.initiator("iqn.2026-11.test:victim", on: reactor)
                victim.reserveOut(Action.registerAndIgnore, newKey: 0xA)
                asker.reserveOut(Action.registerAndIgnore, newKey: 0xB)
                for _ in 0..<3 {
                    #expect(asker.reserveOut(Action.preemptAndAbort, 5, key: 0xB, newKey: 0xA).status == .good)
                    for _ in 0..<InMemoryPort.slotCount { #expect(asker.execute(testUnitReady).status == .good) }
                    #expect(victim.clearUnitAttentions() == [.registrationsPreempted])
                    victim.reserveOut(Action.register, newKey: 0xA)
                }
                victim.logOut()
            }
        }
    }

    @Test("the one who preempts may be lost while it waits, and a later command finds its slot free")
    func lostPreemptor() async {
        a.reserveOut(Action.register, newKey: 0xA)
        b.reserveOut(Action.register, newKey: 0xB)
        let results = Outcomes()
        begin(a, 1, results, "victim")
        preempt(b, key: 0xB, victims: 0xA, results)
        while c.keys != [0xB] { await Task.yield() }
        b.logOut()
        #expect(results.all == ["preempted aborted"])
        a.onReactor { [device = fixture.device] in device.letGo(1) }
        while results.all.count < 2 { await Task.yield() }
        a.onReactor {}
        #expect(c.keys == [0xB], "what it has done stays")
    }

    @Test("a lost one that waited holds up neither the next one nor a reset, and two do not hold up each other")
    func lostPreemptors() async {
        let d = fixture.initiator("iqn.2026-11.test:d", on: TestReactors.second)
        for (port, key) in [(a, 0xA), (b, 0xB), (c, 0xC), (d, 0xD)] as [(InMemoryPort, UInt64)] {
            port.reserveOut(Action.register, newKey: key)
        }
        // Neither reactor answers the other before both askers are lost.
        let results = Outcomes()
        let askers = [(b, 0xB, 0xC, DispatchSemaphore(value: 0)), (d, 0xD, 0xA, DispatchSemaphore(value: 0))]
        for (port, key, victims, semaphore) in askers {
            preempt(port, key: UInt64(key), victims: UInt64(victims), results, holding: semaphore)
            DispatchQueue.global().async { port.logOut() }
        }
        try? await Task.sleep(for: .milliseconds(50))
        for (index, asker) in askers.enumerated() {
            asker.3.signal()
            #expect(await eventually { results.all.count == index + 1 })
        }
        #expect(results.all == ["preempted aborted", "preempted aborted"])
        let later = Outcomes()
        let e = fixture.initiator("iqn.2026-11.test:e")
        e.reserveOut(Action.registerAndIgnore, newKey: 0xE)
        #expect(c.clearUnitAttentions() == [.registrationsPreempted])
        c.reserveOut(Action.registerAndIgnore, newKey: 0xCC)
        preempt(e, key: 0xE, victims: 0xCC, later)
        #expect(await eventually { later.all == ["preempted good"] })
        e.onReactor {
            e.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                later.add("reset")
            }
        }
        #expect(await eventually { later.all.count == 2 })
    }

    @Test("it does not end before the commands of a session that is gone, come back or not", arguments: [false, true])
    func lostVictim(isBack: Bool) async {
        a.reserveOut(Action.register, newKey: 0xA)
        b.reserveOut(Action.register, newKey: 0xB)
        let results = Outcomes()
        begin(a, 1, results, "victim")
        a.logOut()
        // It has not addressed the unit.
        let again = isBack ? InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor) : nil
        preempt(b, key: 0xB, victims: 0xA, results)
        while c.keys != [0xB] { await Task.yield() }
        for _ in 0..<3 { b.onReactor {} }
        #expect(results.all.isEmpty, "the medium still works on a write of the one who is fenced")
        b.onReactor { [device = fixture.device] in device.letGo(1) }
        #expect(await eventually { results.all == ["victim aborted", "preempted good"] })
        again?.logOut()
    }

    @Test("the commands of the preempted end that have not begun or wait for data or for others")
    func notBegun() async {
        a.reserveOut(Action.register, newKey: 0xA)
        b.reserveOut(Action.register, newKey: 0xB)
        c.reserveOut(Action.register, newKey: 0xC)
        let results = Outcomes()
        begin(c, 1, results, "medium")
        preempt(a, key: 0xA, victims: 0xC, results)
        while b.keys != [0xA, 0xB] { await Task.yield() }
        a.onReactor { [a] in a.withholdsDataOut = true }
        let reserve: [UInt8] = [OperationCode.persistentReserveOut, Action.reserve, 5, 0, 0, 0, 0, 0, 24, 0]
        for (name, command, length) in [("write", write, 1), ("reserve", reserve, 24)] {
            a.submit(command, dataOut: [UInt8](repeating: 0, count: length)) { result in
                results.add(name, result)
            }
        }
        preempt(b, key: 0xB, victims: 0xA, results)
        #expect(await eventually { results.all.count == 4 }, "it does not wait for what the other one has waited for")
        #expect(Set(results.all.prefix(3)) == ["write aborted", "reserve aborted", "preempted aborted"])
        #expect(results.all.last == "preempted good")
        c.onReactor { [device = fixture.device] in device.letGo(1) }
        #expect(await eventually { results.all.last == "medium aborted" })
    }

    @Test("it ends the other commands of the one who asks too, where it names that one or all")
    func ownCommands() async {
        for (type, key, isEnded) in [(8, 0, true), (8, 0xB, true), (5, 0xA, false), (5, 0xB, true)]
            as [(UInt8, UInt64, Bool)]
        {
            let fixture = UnitFixture()
            let (a, b) = (fixture.initiator("iqn.2026-11.test:a"), fixture.initiator("iqn.2026-11.test:b"))
            a.reserveOut(Action.register, newKey: 0xA)
            b.reserveOut(Action.register, newKey: 0xB)
            b.reserveOut(Action.reserve, type, key: 0xB)
            let results = Outcomes()
            begin(b, 1, results, "own")
            preempt(b, 5, key: 0xB, victims: key, results)
            if isEnded {
                for _ in 0..<3 { b.onReactor {} }
                #expect(results.all.isEmpty)
            } else {
                #expect(await eventually { results.all == ["preempted good"] })
            }
            b.onReactor { fixture.device.letGo(1) }
            let expected = isEnded ? ["own aborted", "preempted good"] : ["preempted good", "own good"]
            #expect(await eventually { results.all == expected }, "\(type) \(key)")
        }
    }

    @Test("the preempted prevent the removal of the medium no longer, others still do")
    func prevention() {
        let prevent: [UInt8] = [OperationCode.preventAllowMediumRemoval, 0, 0, 0, 1, 0]
        for victim in [a, c] {
            victim.reserveOut(Action.register, newKey: 0xA)
            b.reserveOut(Action.registerAndIgnore, newKey: 0xB)
            #expect(victim.execute(prevent).status == .good)
            #expect(b.reserveOut(Action.preempt, 1, key: 0xB, newKey: 0xA).status == .good)
            #expect(fixture.device.attachedNexuses.isMediumRemovalPrevented, "PREEMPT alone changes nothing of it")
            victim.clearUnitAttentions()
            victim.reserveOut(Action.register, newKey: 0xA)
            #expect(b.execute(prevent).status == .good)
            #expect(b.reserveOut(Action.preemptAndAbort, 1, key: 0xB, newKey: 0xA).status == .good)
            #expect(fixture.device.attachedNexuses.isMediumRemovalPrevented, "by the one who has preempted")
            #expect(b.execute([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 0, 0]).status == .good)
            #expect(!fixture.device.attachedNexuses.isMediumRemovalPrevented)
            victim.clearUnitAttentions()
        }
    }
}
