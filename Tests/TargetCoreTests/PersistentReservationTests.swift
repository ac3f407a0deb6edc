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
    private let write: [UInt8] = [ExampleDevice.take, 0, 0, 0, 1, 0]
    private let modeSense: [UInt8] = [OperationCode.modeSense6, 0, 0x0A, 0, 255, 0]

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

    private func writes(_ port: InMemoryPort) -> Bool { port.execute(write, dataOut: [1]).status == .good }
    private func reads(_ port: InMemoryPort) -> Bool { port.execute(modeSense).status == .good }

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
        #expect(writes(a) && reads(a))
        #expect(writes(b) == type.admitsRegistrants)
        #expect(reads(b) == (type.admitsRegistrants || type.exclusion == .writeExclusion))
        #expect(!writes(c))
        #expect(reads(c) == (type.exclusion == .writeExclusion))
        let late = fixture.initiator("iqn.2026-11.test:late")
        #expect(!writes(late) && late.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
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
        #expect(writes(b) && writes(c))
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
        #expect(writes(c))
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
        #expect(b.reserveOut(Action.preempt, 1, key: 0xB, newKey: 0xC).status == .good)
        #expect(c.clearUnitAttentions() == [.registrationsPreempted])
        #expect(a.keys == [0xA, 0xB] && a.reservation.map { $0 == (0xA, 5) } == true)
        // The reservation, with the registration of its holder.
        #expect(b.reserveOut(Action.preempt, 6, key: 0xB, newKey: 0xA).status == .good)
        #expect(b.keys == [0xB] && b.reservation.map { $0 == (0xB, 6) } == true)
        #expect(a.clearUnitAttentions() == [.registrationsPreempted])
        #expect(!writes(a) && writes(b))
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
        #expect(!writes(b))
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

    @Test("REGISTER AND MOVE gives the reservation to another port, which has not to be there")
    func move() {
        func list(key: UInt64, newKey: UInt64, unregisters: Bool, _ transportID: [UInt8], port: UInt16 = 1) -> [UInt8] {
            var list: [UInt8] = []
            list.appendBE64(key)
            list.appendBE64(newKey)
            list += [0, unregisters ? 2 : 0]
            list.appendBE16(port)
            list.appendBE32(UInt32(transportID.count))
            return list + transportID
        }
        let toC = InMemoryPort.transportID(of: "iqn.2026-11.test:c")
        registerAll()
        let early = a.reserveOut(Action.move, list: list(key: 0xA, newKey: 0xC, unregisters: false, toC))
        #expect(early.status == .reservationConflict, "there is no reservation")
        a.reserveOut(Action.reserve, 3, key: 0xA)
        let other = b.reserveOut(Action.move, list: list(key: 0xB, newKey: 0xC, unregisters: false, toC))
        #expect(other.status == .reservationConflict, "it is not the holder")
        let own = InMemoryPort.transportID(of: "iqn.2026-11.test:a")
        for (bad, byte) in [
            (list(key: 0xA, newKey: 0, unregisters: false, toC), 8),
            (list(key: 0xA, newKey: 1, unregisters: false, own), 24),
            (list(key: 0xA, newKey: 1, unregisters: false, [0x4F] + toC.dropFirst()), 24),
            (list(key: 0xA, newKey: 1, unregisters: false, toC, port: 0), 18),
        ] {
            let sense = a.reserveOut(Action.move, list: bad).sense
            #expect(sense == .invalidParameter(byte: byte, bit: nil))
        }
        #expect(
            a.reserveOut(Action.move, list: list(key: 0xA, newKey: 0xC, unregisters: true, toC)).status == .good)
        #expect(c.keys == [0xB, 0xC] && c.reservation.map { $0 == (0xC, 3) } == true)
        #expect(writes(c) && !reads(a) && !reads(b))
    }

    @Test("others are registered by their TransportIDs, one session or all of a name, and through all ports")
    func specified() {
        let cases: [(String?, UInt8)] = [("000000000001", 0x08), (nil, 0x0C)]
        for (session, flags) in cases {
            let ids = [InMemoryPort.transportID(of: "iqn.2026-11.test:c", sessionID: session)]
            #expect(a.reserveOut(Action.register, newKey: 0xA, flags: flags, transportIDs: ids).status == .good)
            #expect(b.keys == [0xA, 0xA])
            #expect(c.reserveOut(Action.reserve, 1, key: 0xA).status == .good)
            #expect(writes(c) && !writes(a) && !writes(b))
            let status = b.reserveIn(3)
            let second = 8 + 24 + InMemoryPort.transportID(of: "iqn.2026-11.test:a").count
            #expect(status.count == second + 24 + ids[0].count)
            #expect(status[second + 12] == (flags == 0x0C ? 0x03 : 0x01) && status[second + 13] == 1)
            #expect(status.rawSpan.loadBE16(at: second + 18) == (flags == 0x0C ? 0 : 1))
            #expect(Array(status[(second + 24)...]) == ids[0])
            #expect(c.reserveOut(Action.clear, key: 0xA).status == .good)
            for port in [a, b, c] { port.clearUnitAttentions() }
        }
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
        #expect(writes(again))
        c.clearUnitAttentions()
        #expect(!writes(c) && c.keys == [0xA, 0xB])
    }

    @Test("capabilities say what there is")
    func capabilities() {
        #expect(a.reserveIn(2) == [0, 8, 0x1C, 0xB0, 0xEA, 0x01, 0, 0])
        #expect(a.reserveIn(2, allocationLength: 3) == [0, 8, 0x1C])
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
        }
        #expect(a.reserveOut(Action.reserve, 0x11, list: good).sense == .invalidField(byte: 2, bit: 7))
        for (flag, bit) in [(0x08, 3), (0x04, 2), (0x01, 0)] as [(UInt8, UInt8)] {
            let result = a.reserveOut(Action.reserve, 1, key: 0xA, flags: flag)
            #expect(result.sense == .invalidParameter(byte: 20, bit: bit))
        }
        // APTPL is not offered, and SPEC_I_PT not for who is registered.
        #expect(c.reserveOut(Action.register, newKey: 1, flags: 1).sense == .invalidParameter(byte: 20, bit: 0))
        #expect(
            a.reserveOut(Action.register, key: 0xA, newKey: 1, flags: 8, transportIDs: []).sense
                == .invalidParameter(byte: 20, bit: 3))
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

    @Test("TransportIDs are the same however they are filled up, and more of them than may be registered are refused")
    func transportIDs() throws {
        let id = InMemoryPort.transportID(of: "iqn.2026-11.test:c")
        var longer = id + [0, 0, 0, 0]
        longer[3] += 4
        let all = TransportID(bytes: InMemoryPort.transportID(of: "iqn.2026-11.test:c", sessionID: nil))
        #expect(TransportID(bytes: id) == TransportID(bytes: longer))
        #expect(all.names(TransportID(bytes: longer)) && !TransportID(bytes: id).names(all))
        #expect(!all.names(TransportID(bytes: InMemoryPort.transportID(of: "iqn.2026-11.test:cc"))))
        var ids: [[UInt8]] = []
        for number in 0..<10_000 {
            ids.append([0x06, 0, 0, 0, UInt8(number >> 8), UInt8(number & 0xFF)] + [UInt8](repeating: 0, count: 18))
        }
        let refused = a.reserveOut(Action.register, newKey: 0xA, flags: 8, transportIDs: ids)
        #expect(refused.sense?.additionalSenseCode == .insufficientRegistrationResources)
        #expect(b.keys.isEmpty)
        // What was registered by itself is a part of what is registered for all sessions and ports.
        c.reserveOut(Action.register, newKey: 0xC)
        #expect(a.reserveOut(Action.register, newKey: 0xA, flags: 0x0C, transportIDs: [all.bytes]).status == .good)
        #expect(b.keys == [0xA, 0xA])
    }

    @Test("registrations have a limit, and what is beyond it is refused as a whole")
    func limit() {
        var reservations = PersistentReservations()
        func registrant(_ number: Int) -> Registrant {
            Registrant(
                TransportID(bytes: InMemoryPort.transportID(of: "iqn.2026-11.test:\(number)")), targetPort: 1)
        }
        for number in 0..<PersistentReservations.Limit.registrations {
            let outcome = reservations.register(registrant(number), key: 0, newKey: 1, ignoresKey: false)
            #expect(outcome == .good([]))
        }
        let last = reservations.register(registrant(-1), key: 0, newKey: 1, ignoresKey: false)
        #expect(last == .refused(.resources))
        #expect(reservations.registrations.count == PersistentReservations.Limit.registrations)
    }
}
