import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Testing

@testable import TargetCore

@Suite("PERSISTENT RESERVE IN and OUT")
struct PersistentReservationTests {
    private let fixture = UnitFixture()
    private let (a, b, c): (InMemoryPort, InMemoryPort, InMemoryPort)

    init() {
        a = fixture.initiator("iqn.2026-11.test:a")
        b = fixture.initiator("iqn.2026-11.test:b")
        c = fixture.initiator("iqn.2026-11.test:c", on: TestReactors.second)
    }

    private func registerAll() {
        a.reserveOut(Action.register, newKey: 0xA)
        b.reserveOut(Action.register, newKey: 0xB)
        for port in [a, b, c] { port.clearUnitAttentions() }
    }

    @Test("a registration needs the key that is there, is changed and ended by it, and counts in the generation")
    func registrations() {
        #expect(a.keys.isEmpty && a.generation == 0)
        #expect(a.reserveOut(Action.register, key: 1, newKey: 0xA).status == .reservationConflict)
        #expect(a.reserveOut(Action.register).status == .good && a.generation == 0, "nothing to do")
        #expect(a.reserveOut(Action.register, newKey: 0xA).status == .good)
        #expect(b.keys == [0xA] && b.generation == 1)
        #expect(a.reserveOut(Action.register, newKey: 0xAA).status == .reservationConflict, "the key is another")
        #expect(a.reserveOut(Action.register, key: 0xA, newKey: 0xAA).status == .good)
        #expect(b.keys == [0xAA] && b.generation == 2)
        #expect(b.reserveOut(Action.registerAndIgnore, key: 7, newKey: 0xB).status == .good)
        #expect(b.reserveOut(Action.registerAndIgnore, key: 7, newKey: 0xBB).status == .good)
        #expect(b.keys == [0xAA, 0xBB] && b.generation == 4)
        #expect(a.reserveOut(Action.register, key: 0xAA, newKey: 0).status == .good)
        #expect(b.keys == [0xBB] && b.generation == 5)
        #expect(c.reserveOut(Action.reserve, 1, key: 0xBB).status == .reservationConflict, "c is not registered")
        #expect(c.clearUnitAttentions().isEmpty)
    }

    @Test(
        "who may read and write beside each type: holder, registrant, others",
        arguments: PersistentReservationType.allCases)
    func access(type: PersistentReservationType) {
        registerAll()
        #expect(a.reserveOut(Action.reserve, type.rawValue, key: 0xA).status == .good)
        let isForAll = type.isForAllRegistrants
        #expect(b.reservation.map { $0 == (isForAll ? 0 : 0xA, type.rawValue) } == true)
        #expect(a.writes && a.reads)
        #expect(b.writes == type.admitsRegistrants)
        #expect(b.reads == (type.admitsRegistrants || type.exclusion == .writeExclusion))
        #expect(!c.writes)
        #expect(c.reads == (type.exclusion == .writeExclusion))
        let late = fixture.initiator("iqn.2026-11.test:late")
        #expect(!late.writes && late.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        // The same again is nothing new; another is a conflict; another registrant may not, unless all hold it.
        #expect(a.reserveOut(Action.reserve, type.rawValue, key: 0xA).status == .good)
        let other: UInt8 = type == .writeExclusive ? 3 : 1
        #expect(a.reserveOut(Action.reserve, other, key: 0xA).status == .reservationConflict)
        #expect((b.reserveOut(Action.reserve, type.rawValue, key: 0xB).status == .good) == isForAll)
        // Who holds nothing releases nothing.
        if !isForAll {
            #expect(b.reserveOut(Action.release, type.rawValue, key: 0xB).status == .good)
            #expect(b.reservation != nil)
        }
        let wrong = a.reserveOut(Action.release, other, key: 0xA)
        #expect(wrong.sense?.additionalSenseCode == .invalidReleaseOfPersistentReservation)
        #expect(a.reserveOut(Action.release, type.rawValue, key: 0xA).status == .good)
        #expect(a.reservation == nil)
        #expect(b.clearUnitAttentions() == (type.admitsRegistrants ? [.reservationsReleased] : []))
        #expect(a.clearUnitAttentions().isEmpty && c.clearUnitAttentions().isEmpty)
        #expect(b.writes && c.writes)
    }

    @Test("a reservation goes with the registration of its holder, or the last of all", arguments: [1, 3, 5, 6, 7, 8])
    func unregister(type: UInt8) {
        registerAll()
        a.reserveOut(Action.reserve, type, key: 0xA)
        #expect(a.reserveOut(Action.register, key: 0xA).status == .good)
        let stays = type >= 7
        #expect((c.reservation != nil) == stays)
        #expect(b.clearUnitAttentions() == (type == 5 || type == 6 ? [.reservationsReleased] : []))
        if stays {
            #expect(b.reserveOut(Action.register, key: 0xB).status == .good)
            #expect(c.reservation == nil)
        }
        #expect(c.writes)
    }

    @Test("clear takes everything from everybody, and tells them")
    func clear() {
        registerAll()
        a.reserveOut(Action.reserve, 1, key: 0xA)
        #expect(c.reserveOut(Action.clear, key: 0).status == .reservationConflict)
        #expect(b.reserveOut(Action.clear, key: 0xB).status == .good)
        #expect(b.keys.isEmpty && b.reservation == nil && b.generation == 3)
        #expect(a.clearUnitAttentions() == [.reservationsPreempted])
        #expect(b.clearUnitAttentions().isEmpty && c.clearUnitAttentions().isEmpty)
    }

    @Test("a preemption takes the reservation, or registrations alone, and tells who has lost what")
    func preempt() {
        registerAll()
        c.reserveOut(Action.register, newKey: 0xC)
        a.reserveOut(Action.reserve, 5, key: 0xA)
        #expect(b.reserveOut(Action.preempt, 5, key: 0xB, newKey: 0xD).status == .reservationConflict)
        #expect(
            b.reserveOut(Action.preempt, 5, key: 0xB, newKey: 0).sense?.additionalSenseCode
                == .invalidFieldInParameterList)
        // Registrations alone: scope and type say nothing.
        #expect(b.reserveOut(Action.preempt, 0xF0, key: 0xB, newKey: 0xC).status == .good)
        #expect(c.clearUnitAttentions() == [.registrationsPreempted])
        #expect(a.keys == [0xA, 0xB] && a.reservation.map { $0 == (0xA, 5) } == true)
        // The reservation, with the registration of its holder.
        #expect(b.reserveOut(Action.preempt, 6, key: 0xB, newKey: 0xA).status == .good)
        #expect(b.keys == [0xB] && b.reservation.map { $0 == (0xB, 6) } == true)
        #expect(a.clearUnitAttentions() == [.registrationsPreempted])
        #expect(!a.writes && b.writes)
        // By itself: it keeps its registration.
        #expect(b.reserveOut(Action.preempt, 1, key: 0xB, newKey: 0xB).status == .good)
        #expect(b.keys == [0xB] && b.reservation.map { $0 == (0xB, 1) } == true)
    }

    @Test("where all registrants hold it, the key 0 takes it, and another only registrations")
    func preemptAll() {
        registerAll()
        a.reserveOut(Action.reserve, 8, key: 0xA)
        #expect(a.reserveOut(Action.preempt, 1, key: 0xA, newKey: 0xC).status == .reservationConflict)
        #expect(a.reserveOut(Action.preempt, 1, key: 0xA, newKey: 0).status == .good)
        #expect(a.keys == [0xA] && a.reservation.map { $0 == (0xA, 1) } == true)
        #expect(b.clearUnitAttentions() == [.registrationsPreempted])
        #expect(!b.writes)
    }

    @Test("others who stay learn that a preemption has changed the type")
    func preemptToOtherType() {
        registerAll()
        c.reserveOut(Action.register, newKey: 0xC)
        a.reserveOut(Action.reserve, 5, key: 0xA)
        #expect(b.reserveOut(Action.preempt, 6, key: 0xB, newKey: 0xA).status == .good)
        #expect(c.clearUnitAttentions() == [.reservationsReleased])
        #expect(a.clearUnitAttentions() == [.registrationsPreempted])
    }

    @Test("RESERVE and RELEASE of SPC-2 do nothing for who may use the unit, and are a conflict for others")
    func compatibility() {
        let reserve: [UInt8] = [OperationCode.reserve6, 0, 0, 0, 0, 0]
        let release: [UInt8] = [OperationCode.release6, 0, 0, 0, 0, 0]
        #expect(c.execute(reserve).status == .good)
        // While that is there, there is no persistent reservation, not even for its holder.
        for port in [a, c] {
            #expect(port.reserveOut(Action.register, newKey: 1).status == .reservationConflict)
            #expect(
                port.execute([OperationCode.persistentReserveIn, 0, 0, 0, 0, 0, 0, 0, 8, 0]).status
                    == .reservationConflict)
        }
        #expect(c.execute(release).status == .good)
        registerAll()
        for port in [a, b, c] {
            #expect(port.execute(reserve).status == .reservationConflict)
            #expect(port.execute(release).status == .reservationConflict)
        }
        a.reserveOut(Action.reserve, 5, key: 0xA)
        for port in [a, b] { #expect(port.execute(reserve).status == .good && port.execute(release).status == .good) }
        #expect(c.execute(reserve).status == .reservationConflict)
        #expect(c.reservation.map { $0 == (0xA, 5) } == true)
    }

    @Test("registrations survive the loss of the nexus and resets of the unit")
    func survival() {
        registerAll()
        a.reserveOut(Action.reserve, 6, key: 0xA)
        #expect(b.manage(.logicalUnitReset) == .complete)
        a.logOut()
        let again = fixture.initiator("iqn.2026-11.test:a")
        #expect(again.writes)
        c.clearUnitAttentions()
        #expect(!c.writes && c.keys == [0xA, 0xB])
    }

    @Test("capabilities say what there is")
    func capabilities() {
        #expect(a.reserveIn(2) == [0, 8, 0x9D, 0xB0, 0xEA, 0x01, 0, 0])
        #expect(a.reserveIn(2, allocationLength: 3) == [0, 8, 0x9D])
        #expect(
            a.execute([OperationCode.persistentReserveIn, 4, 0, 0, 0, 0, 0, 0, 8, 0]).sense
                == .invalidField(byte: 1, bit: 4))
    }

    @Test(
        "lists that are too short or long, flags in the wrong place and unknown types are refused, and change nothing")
    func badLists() {
        registerAll()
        let before = a.reserveIn(3)
        let good: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0xA] + [UInt8](repeating: 0, count: 16)
        for length in 0..<24 {
            let result = a.reserveOut(Action.reserve, 1, list: Array(good.prefix(length)))
            #expect(result.sense?.additionalSenseCode == .parameterListLengthError, "\(length)")
        }
        #expect(
            a.reserveOut(Action.reserve, 1, list: good + [0]).sense?.additionalSenseCode == .parameterListLengthError)
        for type: UInt8 in [0, 2, 4, 9, 15] {
            #expect(a.reserveOut(Action.reserve, type, list: good).sense == .invalidField(byte: 2, bit: 3))
            #expect(b.reserveOut(Action.reserve, type, list: good).status == .reservationConflict, "the key is first")
        }
        #expect(a.reserveOut(Action.reserve, 0x11, list: good).sense == .invalidField(byte: 2, bit: 7))
        // SPEC_I_PT is for REGISTER alone; ALL_TG_PT and APTPL are ignored elsewhere.
        for action in [Action.reserve, Action.release, Action.clear, Action.preempt, Action.preemptAndAbort] {
            let result = a.reserveOut(action, 1, key: 0xA, flags: 0x08)
            #expect(result.sense == .invalidParameter(byte: 20, bit: 3))
        }
        for action in [Action.reserve, Action.release] {
            #expect(a.reserveOut(action, 1, key: 0xA, flags: 0x05).status == .good)
        }
        // SPEC_I_PT is not for who is registered.
        #expect(
            a.reserveOut(Action.register, key: 0xA, newKey: 1, flags: 8, transportIDs: []).sense
                == .invalidParameter(byte: 20, bit: 3))
        // The key is looked at first, and what a list names not at all where nobody is to be registered.
        let bad: [UInt8] = [0x4F, 0, 0, 0]
        #expect(
            b.reserveOut(Action.register, key: 7, newKey: 1, flags: 9, transportIDs: [bad]).status
                == .reservationConflict)
        #expect(c.reserveOut(Action.register, flags: 8, transportIDs: [bad]).status == .good)
        let id = InMemoryPort.transportID(of: "iqn.2026-11.test:z")
        for length in 0..<id.count {
            let cut = Array(id.prefix(length))
            let result = c.reserveOut(Action.register, newKey: 1, flags: 8, transportIDs: [cut])
            #expect((result.status == .good) == (length == 0), "\(length)")
            if length == 0 { c.reserveOut(Action.register, key: 1) }
        }
        for (index, value) in [(0, 0x85), (0, 0x05), (0, 0x4B), (3, 0xFC), (2, 0xFF), (3, 21)] as [(Int, UInt8)] {
            var bad = id
            bad[index] = value
            let result = c.reserveOut(Action.register, newKey: 1, flags: 8, transportIDs: [bad])
            #expect(result.sense?.additionalSenseCode == .invalidFieldInParameterList, "\(index) \(value)")
        }
        #expect(Array(a.reserveIn(3).dropFirst(4)) == Array(before.dropFirst(4)))
    }
}
