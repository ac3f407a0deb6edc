import Bytes
import DeviceTestSupport
import SCSI
import Testing

@testable import TargetCore

@Suite("Who is registered for persistent reservations")
struct RegistrantTests {
    private let fixture = UnitFixture()
    private let (a, b, c): (InMemoryPort, InMemoryPort, InMemoryPort)

    init() {
        a = fixture.initiator("iqn.2026-11.test:a")
        b = fixture.initiator("iqn.2026-11.test:b")
        c = fixture.initiator("iqn.2026-11.test:c", on: TestReactors.second)
    }

    private func initiator(
        _ name: String, sessionID: String = "000000000001", target: Target? = nil, port: UInt16 = 1
    ) -> InMemoryPort {
        let port = InMemoryPort(
            "iqn.2026-11.test:" + name, sessionID: sessionID, target: target ?? fixture.target,
            reactor: fixture.reactor, portIdentifier: port, of: [1, 2])
        port.clearUnitAttentions()
        return port
    }

    private func transportID(_ name: String, sessionID: String? = "000000000001") -> [UInt8] {
        InMemoryPort.transportID(of: "iqn.2026-11.test:" + name, sessionID: sessionID)
    }

    @Test("a registration through one target says nothing of the same unit in another")
    func targets() {
        let other = Target(name: "iqn.2026-11.dev.carousel:other", alias: "", homeReactor: nil)
        other.map(fixture.unit, at: 0)
        let away = initiator("a", target: other)
        #expect(a.reserveOut(Action.register, newKey: 0xA).status == .good)
        #expect(a.reserveOut(Action.reserve, 3, key: 0xA).status == .good)
        #expect(!away.writes && !away.reads && a.writes)
        #expect(away.reserveOut(Action.register, key: 0xA).status == .reservationConflict, "it is not registered there")
        #expect(away.reserveOut(Action.clear, key: 0xA).status == .reservationConflict)
        #expect(away.reserveOut(Action.register, newKey: 0xAA).status == .good)
        #expect(!away.writes && b.keys == [0xA, 0xAA])
        #expect(away.reserveOut(Action.register, key: 0xAA).status == .good)
        #expect(b.reservation.map { $0 == (0xA, 3) } == true)
    }

    @Test("others are registered by their TransportIDs, through all ports of the target too")
    func specified() {
        let flags: [UInt8] = [0x08, 0x0C]
        let asker = initiator("asker")
        for flag in flags {
            let result = asker.reserveOut(Action.register, newKey: 0xA, flags: flag, transportIDs: [transportID("c")])
            #expect(result.status == .good)
            let count = flag == 0x0C ? 4 : 2
            #expect(b.keys == [UInt64](repeating: 0xA, count: count))
            #expect(c.reserveOut(Action.reserve, 1, key: 0xA).status == .good)
            #expect(c.writes && !asker.writes && !b.writes)
            let status = b.reserveIn(3)
            #expect(status.count == 8 + count / 2 * (48 + transportID("asker").count + transportID("c").count))
            let last = status.count - 24 - transportID("c").count
            #expect(status[last + 12] == (flag == 0x0C ? 0 : 1), "through the other port it does not hold it")
            #expect(status.rawSpan.loadBE16(at: last + 18) == (flag == 0x0C ? 2 : 1))
            #expect(Array(status[(last + 24)...]) == transportID("c"))
            #expect(c.reserveOut(Action.clear, key: 0xA).status == .good)
            for port in [asker, b, c] { port.clearUnitAttentions() }
        }
    }

    @Test("a registration through all ports is one for each of them, as if each had been asked")
    func allPorts() {
        let (one, two) = (initiator("x"), initiator("x", port: 2))
        #expect(one.reserveOut(Action.register, newKey: 0xA, flags: 0x04).status == .good)
        #expect(b.keys == [0xA, 0xA])
        #expect(one.reserveOut(Action.reserve, 1, key: 0xA).status == .good)
        #expect(one.writes && !two.writes, "one I_T nexus holds it")
        #expect(two.reserveOut(Action.register, key: 0xA, newKey: 0xB).status == .good)
        #expect(b.keys == [0xA, 0xB])
        // Through the other port the key is another.
        #expect(one.reserveOut(Action.register, key: 0xA, newKey: 0xC, flags: 0x04).status == .good)
        #expect(b.keys == [0xC, 0xB])
        #expect(two.reserveOut(Action.register, key: 0xB).status == .good)
        #expect(b.keys == [0xC] && b.reservation?.key == 0xC)
        #expect(one.reserveOut(Action.registerAndIgnore, newKey: 0xD, flags: 0x04).status == .good)
        #expect(b.keys == [0xD, 0xD])
        #expect(one.reserveOut(Action.register, key: 0xD, flags: 0x04).status == .good)
        #expect(b.keys.isEmpty && b.reservation == nil)
    }

    @Test("a device that is named stands for its sessions that are there, each by itself")
    func devices() {
        let sessions = ["00000000000a", "00000000000b"].map { initiator("many", sessionID: $0) }
        let name = transportID("many", sessionID: nil)
        let result = a.reserveOut(Action.register, newKey: 0xA, flags: 8, transportIDs: [name])
        #expect(result.status == .good && b.keys == [0xA, 0xA, 0xA])
        #expect(sessions[0].reserveOut(Action.reserve, 1, key: 0xA).status == .good)
        #expect(sessions[0].writes && !sessions[1].writes)
        #expect(sessions[1].reserveOut(Action.register, key: 0xA).status == .good)
        #expect(b.keys == [0xA, 0xA] && b.reservation?.type == 1)
        let late = initiator("many", sessionID: "00000000000c")
        #expect(late.reserveOut(Action.register, key: 0xA).status == .reservationConflict, "it came later")
        let unknown = b.reserveOut(
            Action.register, newKey: 0xB, flags: 8, transportIDs: [transportID("nobody", sessionID: nil)])
        #expect(unknown.sense == .invalidParameter(byte: 28, bit: nil))
        let registered = b.reserveOut(Action.register, newKey: 0xB, flags: 8, transportIDs: [transportID("z"), name])
        let offset = 28 + transportID("z").count
        #expect(registered.sense == .invalidParameter(byte: offset, bit: nil), "one of them is registered")
    }

    @Test("who is registered cannot be registered by another, and nothing of it changes")
    func noTakingOver() {
        b.reserveOut(Action.register, newKey: 0xB)
        b.reserveOut(Action.reserve, 1, key: 0xB)
        let before = c.reserveIn(3)
        for flags: UInt8 in [0x08, 0x0C] {
            let result = a.reserveOut(
                Action.register, newKey: 0xA, flags: flags, transportIDs: [transportID("z"), transportID("b")])
            let offset = 28 + transportID("z").count
            #expect(result.sense == .invalidParameter(byte: offset, bit: nil))
        }
        #expect(c.reserveIn(3) == before)
        #expect(b.reserveOut(Action.release, 1, key: 0xB).status == .good)
    }

    @Test("TransportIDs are the same however they are filled up and written")
    func transportIDs() throws {
        let id = TransportID(bytes: transportID("c", sessionID: "80000000abcd"))
        #expect(id.bytes == transportID("c", sessionID: "80000000abcd"))
        var longer = id.bytes + [0, 0, 0, 0]
        longer[3] += 4
        #expect(TransportID(bytes: longer) == id)
        #expect(TransportID(bytes: transportID("c", sessionID: "80000000ABCD")) == id)
        #expect(
            TransportID(bytes: transportID("c", sessionID: "ABCD")).bytes == transportID("c", sessionID: "00000000abcd")
        )
        #expect(TransportID(bytes: transportID("cc", sessionID: "80000000abcd")) != id)
        for session in ["", "1234567890123", "80000000abcg", "1,i,0x1"] {
            #expect(TransportID.read(transportID("c", sessionID: session), at: 0) == nil, "\(session)")
        }
        let device = TransportID(bytes: transportID("c", sessionID: nil))
        #expect(device.namesDevice && !id.namesDevice && device.deviceName == id.deviceName)
        // A session finds itself whatever letters somebody else has named it with.
        let session = initiator("hex", sessionID: "80000000abcd")
        let named = transportID("hex", sessionID: "80000000ABCD")
        #expect(a.reserveOut(Action.register, newKey: 0xA, flags: 8, transportIDs: [named]).status == .good)
        #expect(session.reserveOut(Action.reserve, 1, key: 0xA).status == .good)
    }

    // MARK: REGISTER AND MOVE

    private func move(
        _ port: InMemoryPort, key: UInt64, newKey: UInt64, to transportID: [UInt8], port number: UInt16 = 1,
        flags: UInt8 = 0
    ) -> CommandResult {
        var list: [UInt8] = []
        list.appendBE64(key)
        list.appendBE64(newKey)
        list += [0, flags]
        list.appendBE16(number)
        list.appendBE32(UInt32(transportID.count))
        return port.reserveOut(Action.move, list: list + transportID)
    }

    @Test("REGISTER AND MOVE gives the reservation to another port, which has not to be there")
    func moving() {
        let holder = initiator("h")
        holder.reserveOut(Action.register, newKey: 0xA)
        b.reserveOut(Action.register, newKey: 0xB)
        let toC = transportID("c")
        #expect(move(c, key: 0, newKey: 1, to: toC).status == .reservationConflict, "it is not registered")
        #expect(move(holder, key: 7, newKey: 1, to: toC).status == .reservationConflict, "the key is another")
        #expect(move(holder, key: 0xA, newKey: 0xC, to: toC).sense == .invalidField(byte: 1, bit: 4), "no reservation")
        holder.reserveOut(Action.reserve, 3, key: 0xA)
        #expect(move(b, key: 0xB, newKey: 0xC, to: toC).status == .reservationConflict, "it is not the holder")
        let foreign: [UInt8] = [0x06] + [UInt8](repeating: 0, count: 23)
        let (device, own) = (transportID("c", sessionID: nil), transportID("h"))
        let cases: [(CommandResult, Int)] = [
            (move(holder, key: 0xA, newKey: 0, to: toC), 8),
            (move(holder, key: 0xA, newKey: 1, to: own), 24), (move(holder, key: 0xA, newKey: 1, to: own, port: 2), 24),
            (move(holder, key: 0xA, newKey: 1, to: [0x4F] + toC.dropFirst()), 24),
            (move(holder, key: 0xA, newKey: 1, to: foreign), 24), (move(holder, key: 0xA, newKey: 1, to: device), 24),
            (move(holder, key: 0xA, newKey: 1, to: toC, port: 0), 18),
            (move(holder, key: 0xA, newKey: 1, to: toC, port: 999), 18),
        ]
        for (result, byte) in cases { #expect(result.sense == .invalidParameter(byte: byte, bit: nil)) }
        #expect(c.reservation.map { $0 == (0xA, 3) } == true && holder.reads)
        #expect(move(holder, key: 0xA, newKey: 0xC, to: toC, flags: 2).status == .good)
        #expect(c.keys == [0xB, 0xC] && c.reservation.map { $0 == (0xC, 3) } == true)
        #expect(c.writes && !holder.reads && !b.reads)
        // To one that is registered: its key changes.
        #expect(move(c, key: 0xC, newKey: 0xBB, to: transportID("b")).status == .good)
        #expect(c.keys == [0xBB, 0xC] && b.writes && !c.writes)
        #expect(b.reserveOut(Action.release, 3, key: 0xBB).status == .good)
        b.reserveOut(Action.reserve, 8, key: 0xBB)
        #expect(move(b, key: 0xBB, newKey: 1, to: toC).status == .reservationConflict, "all hold it")
    }

    // MARK: Limits

    @Test("nobody can register so many others that there is no place for those who come themselves")
    func unused() {
        let foreign: [[UInt8]] = (0..<10).map { [0x06, 0, 0, 0, $0] + [UInt8](repeating: 0, count: 19) }
        for ids in [foreign, [[UInt8](repeating: 0, count: 24)]] {
            let result = a.reserveOut(Action.register, newKey: 0xA, flags: 8, transportIDs: ids)
            #expect(result.sense == .invalidParameter(byte: 28, bit: nil), "the target port has not that protocol")
        }
        let most = PersistentReservations.Limit.unusedOfOne
        func ids(_ prefix: String, _ count: Int) -> [[UInt8]] { (0..<count).map { transportID("\(prefix)\($0)") } }
        for count in [most + 1, 900] {
            let result = a.reserveOut(Action.register, newKey: 0xA, flags: 8, transportIDs: ids("a", count))
            #expect(result.sense?.additionalSenseCode == .insufficientRegistrationResources)
            #expect(b.keys.isEmpty)
        }
        #expect(a.reserveOut(Action.register, newKey: 0xA, flags: 8, transportIDs: ids("a", most)).status == .good)
        #expect(b.reserveOut(Action.register, newKey: 0xB, flags: 8, transportIDs: ids("b", most)).status == .good)
        let third = c.reserveOut(Action.register, newKey: 0xC, flags: 8, transportIDs: ids("c", 1))
        #expect(third.sense?.additionalSenseCode == .insufficientRegistrationResources)
        #expect(c.reserveOut(Action.register, newKey: 0xC).status == .good)
        // One that comes and uses its registration makes place.
        let used = initiator("a7")
        #expect(used.reserveOut(Action.register, key: 0xA, newKey: 0xAA).status == .good)
        let again = initiator("d")
        #expect(again.reserveOut(Action.register, newKey: 0xD, flags: 8, transportIDs: ids("d", 1)).status == .good)
    }

    @Test("registrations have a limit, and what is beyond it is refused as a whole")
    func limit() {
        var reservations = PersistentReservations()
        func register(_ number: Int) -> PersistentReservations.Outcome {
            let request = PersistentReservationRequest(
                key: 0, action: .register(PersistentReservationRequest.Registering(newKey: 1, ignoresKey: false)))
            let registrant = Registrant(TransportID(bytes: transportID("\(number)")), target: "t", targetPort: 1)
            let (next, outcome) = reservations.applying(request, of: registrant)
            reservations = next
            return outcome
        }
        let good = PersistentReservations.Outcome.good(PersistentReservations.Effects())
        for number in 0..<PersistentReservations.Limit.registrations { #expect(register(number) == good) }
        let before = reservations
        #expect(register(-1) == .refused(.resources))
        #expect(reservations == before)
        #expect(reservations.registrations.count == PersistentReservations.Limit.registrations)
    }
}
