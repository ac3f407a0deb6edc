import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TestSupport
import Testing

@testable import TargetCore

/// A keeper that keeps when the test says so.
private final class Keeper: PersistentReservationKeeper, @unchecked Sendable {
    let kept: KeptReservations
    private let state = Lock<(records: [PersistentReservationRecord], waiting: [@Sendable (Bool) -> Void])>(([], []))
    /// Whether each record is kept at once.
    let isQuick: Bool

    init(_ kept: KeptReservations = .none, isQuick: Bool = true) {
        self.kept = kept
        self.isQuick = isQuick
    }

    var records: [PersistentReservationRecord] { state.withLock { $0.records } }
    var waiting: Int { state.withLock { $0.waiting.count } }

    func keep(_ record: PersistentReservationRecord, completion: @escaping @Sendable (Bool) -> Void) {
        state.withLock { state in
            state.records.append(record)
            if !isQuick { state.waiting.append(completion) }
        }
        if isQuick { completion(true) }
    }

    /// Waits until a record is to be kept, and ends that.
    func end(_ isKept: Bool) {
        while waiting == 0 { sleepMilliseconds(1) }
        state.withLock { $0.waiting.removeFirst() }(isKept)
    }
}

/// A keeper that keeps on another thread, and counts the records that come before it has kept the last one.
private final class SlowKeeper: PersistentReservationKeeper {
    let kept = KeptReservations.none
    private let state = Lock<(count: Int, overlaps: Int, isBusy: Bool)>((0, 0, false))
    private let queue = DispatchQueue(label: "keeper")

    var count: Int { state.withLock { $0.count } }
    var overlaps: Int { state.withLock { $0.overlaps } }

    func keep(_ record: PersistentReservationRecord, completion: @escaping @Sendable (Bool) -> Void) {
        state.withLock { state in
            state.count += 1
            if state.isBusy { state.overlaps += 1 }
            state.isBusy = true
        }
        queue.async { [self] in
            state.withLock { $0.isBusy = false }
            completion(true)
        }
    }
}

@Suite("Persistent reservations that are kept")
struct KeptReservationTests {
    private let fixture = UnitFixture()

    private func initiator(_ name: String) -> InMemoryPort { fixture.initiator("iqn.2026-11.test:\(name)") }

    private func attach(_ keeper: Keeper) { fixture.unit.attachedNexuses.keepReservations(with: keeper) }

    @Test("each change is kept, and what was kept is there again, with APTPL in the capabilities")
    func roundTrip() throws {
        let keeper = Keeper()
        attach(keeper)
        let (a, b) = (initiator("a"), initiator("b"))
        a.reserveOut(Action.register, newKey: 0xA, flags: 1)
        b.reserveOut(Action.register, newKey: 0xB, flags: 1)
        b.clearUnitAttentions()
        #expect(a.reserveOut(Action.reserve, 5, key: 0xA).status == .good)
        #expect(a.reserveIn(2)[3] == 0xB1)
        // What changes nothing needs not be kept.
        #expect(a.reserveOut(Action.reserve, 5, key: 0xA).status == .good && keeper.records.count == 3)
        let record = try #require(keeper.records.last)
        #expect(record.persists && record.registrations.map(\.key) == [0xA, 0xB] && record.type == 5)
        let state = fixture.unit.attachedNexuses.persistentReservations
        #expect(PersistentReservations(record) == state)

        let second = KeptReservationTests()
        second.attach(Keeper(.record(record)))
        let (again, stranger) = (second.initiator("a"), second.initiator("c"))
        #expect(again.writes && !stranger.writes && stranger.keys == [0xA, 0xB])
        #expect(again.reservation.map { $0 == (0xA, 5) } == true && again.generation == 2)
        // The last that says so decides.
        #expect(again.reserveOut(Action.register, key: 0xA, newKey: 0xA).status == .good)
        #expect(again.reserveIn(2)[3] == 0xB0)
    }

    @Test("nothing is in force, and nobody is told, before it is durable; what cannot be kept is refused")
    func order() {
        let keeper = Keeper(isQuick: false)
        attach(keeper)
        let (a, b) = (initiator("a"), initiator("b"))
        let results = Lock<[CommandResult]>([])
        func register(_ port: InMemoryPort, _ key: UInt64) {
            var list: [UInt8] = []
            list.appendBE64(0)
            list.appendBE64(key)
            list += [UInt8](repeating: 0, count: 8)
            port.submit([OperationCode.persistentReserveOut, 0, 0, 0, 0, 0, 0, 0, 24, 0], dataOut: list) { result in
                results.withLock { $0.append(result) }
            }
        }
        register(a, 0xA)
        while keeper.waiting == 0 { sleepMilliseconds(1) }
        register(b, 0xB)
        #expect(results.withLock { $0.isEmpty } && b.keys.isEmpty)
        // Who reserves by RESERVE comes too late, although nobody is registered yet.
        #expect(b.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .reservationConflict)
        keeper.end(false)
        keeper.end(true)
        while results.withLock({ $0.count }) < 2 { sleepMilliseconds(1) }
        let (refused, good) = (results.withLock { $0[0] }, results.withLock { $0[1] })
        #expect(refused.sense?.key == .hardwareError)
        #expect(refused.sense?.additionalSenseCode == .internalTargetFailure)
        #expect(good.status == .good && a.keys == [0xB] && a.generation == 1)
    }

    @Test("a record is given to the keeper when the one before it is kept, however many threads ask for changes")
    func oneAtATime() {
        let keeper = SlowKeeper()
        fixture.unit.attachedNexuses.keepReservations(with: keeper)
        let ports = (0..<4).map { index in
            let reactor = index % 2 == 0 ? TestReactors.first : TestReactors.second
            return fixture.initiator("iqn.2026-11.test:\(index)", on: reactor)
        }
        DispatchQueue.concurrentPerform(iterations: ports.count) { index in
            for _ in 0..<200 {
                ports[index].reserveOut(Action.registerAndIgnore, newKey: UInt64(index) + 1)
                ports[index].reserveOut(Action.registerAndIgnore)
            }
        }
        #expect(keeper.overlaps == 0 && keeper.count == 4 * 400)
        #expect(ports[0].keys.isEmpty && ports[0].generation == UInt32(4 * 400))
    }

    @Test("no more changes wait than the limit says; others end with BUSY")
    func limit() {
        let keeper = Keeper(isQuick: false)
        attach(keeper)
        let (a, b) = (initiator("a"), initiator("b"))
        a.submit(
            [OperationCode.persistentReserveOut, 6, 0, 0, 0, 0, 0, 0, 24, 0],
            dataOut: [UInt8](repeating: 0, count: 15) + [1] + [UInt8](repeating: 0, count: 8)
        ) { _ in }
        while keeper.waiting == 0 { sleepMilliseconds(1) }
        let refused = Lock(0)
        for _ in 0..<PersistentReservations.Limit.waiting {
            fixture.unit.attachedNexuses.clearReservations { isCleared in
                if !isCleared { refused.withLock { $0 += 1 } }
            }
        }
        #expect(refused.withLock { $0 } == 1)
        #expect(b.reserveOut(Action.registerAndIgnore, newKey: 2).status == .busy)
        for _ in 0..<PersistentReservations.Limit.waiting { keeper.end(true) }
        #expect(refused.withLock { $0 } == 1 && b.keys.isEmpty)
    }

    @Test("a session that ends while its registration is being kept leaves it, and keeps nobody waiting")
    func lostNexus() {
        let keeper = Keeper(isQuick: false)
        attach(keeper)
        let (a, b) = (initiator("a"), initiator("b"))
        var list: [UInt8] = [UInt8](repeating: 0, count: 15) + [0xA]
        list += [UInt8](repeating: 0, count: 8)
        a.submit([OperationCode.persistentReserveOut, 0, 0, 0, 0, 0, 0, 0, 24, 0], dataOut: list) { _ in }
        while keeper.waiting == 0 { sleepMilliseconds(1) }
        a.logOut()
        keeper.end(true)
        while b.keys != [0xA] { sleepMilliseconds(1) }
        #expect(b.manage(.logicalUnitReset) == .complete)
    }

    @Test("a unit whose reservation cannot be read is closed to all until somebody replaces or clears it")
    func lost() {
        let keeper = Keeper(.unreadable)
        attach(keeper)
        let (a, b) = (initiator("a"), initiator("b"))
        #expect(!a.writes && a.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        for result in [
            a.execute([OperationCode.persistentReserveIn, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
            a.reserveOut(Action.register, newKey: 1), a.reserveOut(Action.clear),
        ] {
            #expect(result.sense?.additionalSenseCode == .persistentReservationInformationLost)
        }
        #expect(a.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .reservationConflict)
        #expect(a.reserveOut(8, 9, newKey: 0xA).sense == .invalidField(byte: 2, bit: 3))
        #expect(a.reserveOut(8, 1).sense == .invalidParameter(byte: 8, bit: nil))
        #expect(a.reserveOut(8, 1, newKey: 0xA).status == .good)
        #expect(a.reservation.map { $0 == (0xA, 1) } == true && a.writes && !b.writes)
        #expect(keeper.records.count == 1)
        // Nothing is lost now.
        #expect(a.reserveOut(8, 1, key: 0xA, newKey: 0xA).sense == .invalidField(byte: 1, bit: 4))
    }

    @Test("who is no initiator clears all of it, RESERVE too, and those who are concerned are told")
    func clear() {
        attach(Keeper())
        let (a, b) = (initiator("a"), initiator("b"))
        func clear() -> Bool {
            let isCleared = Lock(false)
            fixture.unit.attachedNexuses.clearReservations { outcome in isCleared.withLock { $0 = outcome } }
            return isCleared.withLock { $0 }
        }
        a.reserveOut(Action.register, newKey: 0xA)
        a.reserveOut(Action.reserve, 3, key: 0xA)
        #expect(!b.writes && clear() && b.writes && b.keys.isEmpty)
        #expect(a.clearUnitAttentions() == [.reservationsPreempted] && b.clearUnitAttentions().isEmpty)
        #expect(a.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(fixture.unit.attachedNexuses.reserver == "iqn.2026-11.test:a")
        #expect(!b.writes && clear() && b.writes)
        #expect(a.clearUnitAttentions() == [.reservationsPreempted])
    }
}
