import Bytes
import DeviceTestSupport
import SCSI
import TestSupport
import Testing

@testable import TargetCore

/// What SPC says of registrations and reservations, written down as plainly as it can be: numbers for nexuses, no
/// effects, no threads.
private struct ReservationModel {
    enum Answer: Hashable {
        case good
        case conflict
        case refused(AdditionalSenseCode)
    }

    enum Request {
        case register(key: UInt64, newKey: UInt64, ignores: Bool)
        case reserve(key: UInt64, type: UInt8)
        case release(key: UInt64, type: UInt8)
        case clear(key: UInt64)
        case preempt(key: UInt64, victims: UInt64, type: UInt8, aborts: Bool)
        case move(key: UInt64, newKey: UInt64, to: Int, unregisters: Bool)
        case reserve6
        case release6
    }

    var keys: [Int: UInt64] = [:]
    var type: UInt8?
    /// Of types that are not for all registrants.
    var holder: Int?
    var generation: UInt32 = 0
    /// Who has reserved by RESERVE.
    var reserver: Int?
    var attentions: [Int: [AdditionalSenseCode]] = [:]

    private static let types: Set<UInt8> = [1, 3, 5, 6, 7, 8]
    private var isForAll: Bool { type.map { $0 >= 7 } ?? false }

    func holds(_ nexus: Int) -> Bool { type != nil && (isForAll ? keys[nexus] != nil : holder == nexus) }

    func mayWrite(_ nexus: Int) -> Bool {
        if let reserver { return reserver == nexus }
        guard let type else { return true }
        return type >= 5 ? keys[nexus] != nil : holder == nexus
    }

    func mayRead(_ nexus: Int) -> Bool {
        if let reserver { return reserver == nexus }
        guard let type else { return true }
        return [1, 5, 7].contains(type) || mayWrite(nexus)
    }

    private mutating func tell(_ code: AdditionalSenseCode, except nexus: Int, among nexuses: some Sequence<Int>) {
        for other in nexuses where other != nexus && attentions[other]?.contains(code) != true {
            attentions[other, default: []].append(code)
        }
    }

    private mutating func endReservation(by nexus: Int) {
        if let type, type >= 5 { tell(.reservationsReleased, except: nexus, among: keys.keys) }
        (type, holder) = (nil, nil)
    }

    mutating func perform(_ request: Request, by nexus: Int) -> Answer {
        switch request {
        case .reserve6, .release6:
            guard keys.isEmpty else { return keys[nexus] != nil && mayRelease(nexus) ? .good : .conflict }
            if case .reserve6 = request {
                guard reserver == nil || reserver == nexus else { return .conflict }
                reserver = nexus
            } else if reserver == nexus {
                reserver = nil
            }
            return .good
        default: break
        }
        guard reserver == nil else { return .conflict }
        switch request {
        case .register(let key, let newKey, let ignores):
            guard ignores || key == keys[nexus] ?? 0 else { return .conflict }
            guard newKey != 0 || keys[nexus] != nil else { return .good }
            generation &+= 1
            keys[nexus] = newKey == 0 ? nil : newKey
            if newKey == 0, type != nil, isForAll ? keys.isEmpty : holder == nexus { endReservation(by: nexus) }
            return .good
        case .reserve(let key, let wanted):
            guard keys[nexus] == key else { return .conflict }
            guard Self.types.contains(wanted) else { return .refused(.invalidFieldInCDB) }
            guard type == nil || holds(nexus) && type == wanted else { return .conflict }
            take(wanted, nexus)
            return .good
        case .release(let key, let wanted):
            guard keys[nexus] == key else { return .conflict }
            guard holds(nexus) else { return .good }
            guard type == wanted else { return .refused(.invalidReleaseOfPersistentReservation) }
            endReservation(by: nexus)
            return .good
        case .clear(let key):
            guard keys[nexus] == key else { return .conflict }
            tell(.reservationsPreempted, except: nexus, among: keys.keys)
            (keys, type, holder) = ([:], nil, nil)
            generation &+= 1
            return .good
        case .preempt(let key, let victims, let wanted, _):
            guard keys[nexus] == key else { return .conflict }
            return preempt(nexus, victims, wanted)
        case .move(let key, let newKey, let destination, let unregisters):
            guard keys[nexus] == key else { return .conflict }
            guard type != nil else { return .refused(.invalidFieldInCDB) }
            guard holder == nexus else { return .conflict }
            guard newKey != 0, destination != nexus else { return .refused(.invalidFieldInParameterList) }
            if unregisters { keys[nexus] = nil }
            keys[destination] = newKey
            holder = destination
            generation &+= 1
            return .good
        case .reserve6, .release6: return .good
        }
    }

    private func mayRelease(_ nexus: Int) -> Bool {
        guard let type else { return false }
        return type >= 5 || holder == nexus
    }

    private mutating func take(_ wanted: UInt8, _ nexus: Int) {
        type = wanted
        holder = wanted >= 7 ? nil : nexus
    }

    private mutating func preempt(_ nexus: Int, _ victims: UInt64, _ wanted: UInt8) -> Answer {
        let former = type
        let takesReservation = former != nil && (isForAll ? victims == 0 : holder.flatMap { keys[$0] } == victims)
        guard takesReservation else {
            guard victims != 0 else { return .refused(.invalidFieldInParameterList) }
            let preempted = keys.filter { $0.value == victims }.map(\.key)
            guard !preempted.isEmpty else { return .conflict }
            for other in preempted { keys[other] = nil }
            if keys.isEmpty { (type, holder) = (nil, nil) }
            tell(.registrationsPreempted, except: nexus, among: preempted)
            generation &+= 1
            return .good
        }
        guard Self.types.contains(wanted) else { return .refused(.invalidFieldInCDB) }
        let preempted = keys.filter { (isForAll || $0.value == victims) && $0.key != nexus }.map(\.key)
        for other in preempted { keys[other] = nil }
        tell(.registrationsPreempted, except: nexus, among: preempted)
        if former != wanted { tell(.reservationsReleased, except: nexus, among: keys.keys) }
        take(wanted, nexus)
        generation &+= 1
        return .good
    }

    /// The end of a session, and another of the same initiator port.
    mutating func reconnect(_ nexus: Int) {
        attentions[nexus] = nil
        if reserver == nexus { reserver = nil }
    }
}

@Suite("Persistent reservations against a model")
struct ReservationModelTests {
    /// As many as `Tools/test --all` tries; without it a tenth.
    private static let sequences = 100_000
    /// How many of them use one unit, one after another.
    private static let sequencesOfOne = 500
    private static let length = 12
    private static let names = ["a", "b", "c", "d"].map { "iqn.2026-11.test:\($0)" }
    private static let told: Set<AdditionalSenseCode> = [
        .reservationsPreempted, .reservationsReleased, .registrationsPreempted,
    ]

    private static func random(_ model: ReservationModel, _ nexus: Int, _ random: inout SeededRandom)
        -> ReservationModel.Request
    {
        // Few keys, so that they are equal now and then; mostly the right one.
        func anyKey() -> UInt64 { UInt64.random(in: 0...3, using: &random) }
        let own = model.keys[nexus] ?? 0
        let key = Int.random(in: 0..<8, using: &random) == 0 ? anyKey() : own
        func anyType() -> UInt8 { [0, 1, 3, 5, 6, 7, 8, 9, 0x11].randomElement(using: &random)! }
        func likelyType() -> UInt8 { Bool.random(using: &random) ? model.type ?? anyType() : anyType() }
        switch Int.random(in: 0..<16, using: &random) {
        case 0...3: return .register(key: key, newKey: anyKey(), ignores: false)
        case 4: return .register(key: anyKey(), newKey: anyKey(), ignores: true)
        case 5...7: return .reserve(key: key, type: likelyType())
        case 8: return .release(key: key, type: likelyType())
        case 9: return .clear(key: key)
        case 10...12:
            let victims = model.keys.values.sorted().randomElement(using: &random) ?? 0
            return .preempt(
                key: key, victims: Bool.random(using: &random) ? victims : anyKey(), type: likelyType(),
                aborts: Bool.random(using: &random))
        case 13:
            return .move(
                key: key, newKey: anyKey(), to: Int.random(in: 0..<names.count, using: &random),
                unregisters: Bool.random(using: &random))
        case 14: return .reserve6
        default: return .release6
        }
    }

    private static func answer(_ request: ReservationModel.Request, by port: InMemoryPort) -> ReservationModel.Answer {
        let result: CommandResult
        switch request {
        case .register(let key, let newKey, let ignores):
            result = port.reserveOut(ignores ? Action.registerAndIgnore : Action.register, key: key, newKey: newKey)
        case .reserve(let key, let type): result = port.reserveOut(Action.reserve, type, key: key)
        case .release(let key, let type): result = port.reserveOut(Action.release, type, key: key)
        case .clear(let key): result = port.reserveOut(Action.clear, key: key)
        case .preempt(let key, let victims, let type, let aborts):
            result = port.reserveOut(
                aborts ? Action.preemptAndAbort : Action.preempt, type, key: key, newKey: victims)
        case .move(let key, let newKey, let destination, let unregisters):
            let transportID = InMemoryPort.transportID(of: names[destination])
            var list: [UInt8] = []
            list.appendBE64(key)
            list.appendBE64(newKey)
            list += [0, unregisters ? 2 : 0, 0, 1]
            list.appendBE32(UInt32(transportID.count))
            result = port.reserveOut(Action.move, list: list + transportID)
        case .reserve6: result = port.execute([OperationCode.reserve6, 0, 0, 0, 0, 0])
        case .release6: result = port.execute([OperationCode.release6, 0, 0, 0, 0, 0])
        }
        switch result.status {
        case .good: return .good
        case .reservationConflict: return .conflict
        default: return .refused(result.sense?.additionalSenseCode ?? .noAdditionalSenseInformation)
        }
    }

    @Test(
        "random requests, resets and losses of nexuses come to what the model says",
        arguments: 1...20 as ClosedRange<UInt64>)
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let count = Self.sequences / 20 / (Effort.isFull ? 1 : 10)
        for start in stride(from: 0, to: count, by: Self.sequencesOfOne) {
            guard Self.run(min(Self.sequencesOfOne, count - start), &random) else { return }
        }
    }

    /// So many sequences on one unit; false after a difference.
    private static func run(_ count: Int, _ random: inout SeededRandom) -> Bool {
        let fixture = UnitFixture()
        func connect(_ nexus: Int) -> InMemoryPort {
            let port = fixture.initiator(names[nexus], on: nexus < 2 ? TestReactors.first : TestReactors.second)
            port.clearUnitAttentions()
            return port
        }
        var ports = names.indices.map(connect)
        var model = ReservationModel()
        var done: [String] = []
        for _ in 0..<count * length {
            let nexus = Int.random(in: 0..<names.count, using: &random)
            let told = ports[nexus].clearUnitAttentions().filter { Self.told.contains($0) }
            #expect(told == model.attentions[nexus] ?? [], "\(nexus) after \(done.suffix(8))")
            model.attentions[nexus] = nil
            switch Int.random(in: 0..<40, using: &random) {
            case 0:
                done.append("\(nexus) reconnects")
                ports[nexus].logOut()
                model.reconnect(nexus)
                ports[nexus] = connect(nexus)
            case 1:
                done.append("\(nexus) resets")
                for other in names.indices { ports[other].clearUnitAttentions() }
                model.attentions = [:]
                #expect(ports[nexus].manage(.logicalUnitReset) == .complete)
                model.reserver = nil
            default:
                let request = Self.random(model, nexus, &random)
                done.append("\(nexus) \(request)")
                let wanted = model.perform(request, by: nexus)
                let found = Self.answer(request, by: ports[nexus])
                #expect(found == wanted, "\(done.suffix(8))")
            }
            guard isSame(model, fixture, ports, Int.random(in: 0..<names.count, using: &random)) else {
                Issue.record("the state is another after \(done.suffix(8)): \(model)")
                return false
            }
        }
        return true
    }

    /// Whether registrations and reservation are those of the model, and `nexus` may do what it may there.
    private static func isSame(
        _ model: ReservationModel, _ fixture: UnitFixture, _ ports: [InMemoryPort], _ nexus: Int
    ) -> Bool {
        let state = fixture.unit.attachedNexuses.persistentReservations
        let keys = ports.map { state[$0.nexus.registrant]?.key }
        let isForAll = model.type.map { $0 >= 7 } ?? false
        guard keys == names.indices.map({ model.keys[$0] }), state.registrations.count == model.keys.count,
            state.generation == model.generation, state.reservation?.type.rawValue == model.type,
            isForAll || state.reservation?.holder == model.holder.map({ ports[$0].nexus.registrant })
        else { return false }
        // A unit attention would come first; it stays for the turn of its nexus.
        guard model.attentions[nexus] == nil else { return true }
        let port = ports[nexus]
        let write = port.execute([ExampleDevice.take, 0, 0, 0, 1, 0], dataOut: [1]).status
        guard write != .checkCondition else { return true }
        let read = port.execute([OperationCode.modeSense6, 0, 0x0A, 0, 255, 0]).status
        return (write == .good) == model.mayWrite(nexus) && (read == .good) == model.mayRead(nexus)
    }
}
