/// TYPE of a persistent reservation (SPC-5 table 102).
public enum PersistentReservationType: UInt8, Sendable, CaseIterable, CustomStringConvertible {
    case writeExclusive = 1
    case exclusiveAccess = 3
    case writeExclusiveRegistrantsOnly = 5
    case exclusiveAccessRegistrantsOnly = 6
    case writeExclusiveAllRegistrants = 7
    case exclusiveAccessAllRegistrants = 8

    /// In SPC's words.
    public var description: String {
        switch self {
        case .writeExclusive: "Write Exclusive"
        case .exclusiveAccess: "Exclusive Access"
        case .writeExclusiveRegistrantsOnly: "Write Exclusive - Registrants Only"
        case .exclusiveAccessRegistrantsOnly: "Exclusive Access - Registrants Only"
        case .writeExclusiveAllRegistrants: "Write Exclusive - All Registrants"
        case .exclusiveAccessAllRegistrants: "Exclusive Access - All Registrants"
        }
    }

    /// Whether every registrant is a holder.
    var isForAllRegistrants: Bool { self == .writeExclusiveAllRegistrants || self == .exclusiveAccessAllRegistrants }
    /// Whether all who are registered may do what the holder may.
    var admitsRegistrants: Bool { self != .writeExclusive && self != .exclusiveAccess }
    /// What others may not do.
    var exclusion: GateConditions {
        switch self {
        case .writeExclusive, .writeExclusiveRegistrantsOnly, .writeExclusiveAllRegistrants: .writeExclusion
        case .exclusiveAccess, .exclusiveAccessRegistrantsOnly, .exclusiveAccessAllRegistrants: .accessExclusion
        }
    }
}

/// The registrations and the persistent reservation of a logical unit, and the rules of PERSISTENT RESERVE OUT (SPC-5
/// clause 5.14).
///
/// It is a value, and a request makes the next one of it (`applying`). It knows no nexuses and no threads: whoever uses
/// it has a lock, and does to nexuses what the outcome says.
struct PersistentReservations: Hashable, Sendable {
    enum Limit {
        /// The most registrations; more are refused with INSUFFICIENT REGISTRATION RESOURCES.
        static let registrations = 1024
        /// The most that one I_T nexus has made for others, or for its initiator port through other target ports, and
        /// that have not been used since.
        static let unusedOfOne = 256
        /// The most of all that were made so and have not been used: the others are for those who come themselves.
        static let unused = 512
        /// The most requests that wait until those before them are kept; more are refused with BUSY.
        static let waiting = 1024
    }

    struct Registration: Hashable, Sendable {
        let registrant: Registrant
        var key: UInt64
        /// Who has made it for the registrant, until that has changed something by a PERSISTENT RESERVE OUT of its own.
        /// After a start of the process the registrant itself stands for whoever it was.
        var maker: Registrant?
        /// Rises with each registration.
        let number: UInt64
    }

    struct Reservation: Hashable, Sendable {
        var type: PersistentReservationType
        /// Nil when all registrants hold it.
        var holder: Registrant?
    }

    private var table: [Registrant: Registration] = [:]
    private var nextNumber: UInt64 = 0
    private(set) var reservation: Reservation?
    /// PRGENERATION.
    private(set) var generation: UInt32 = 0
    /// Whether all of it is there again after a loss of power: APTPL of the last request that said so or not.
    private(set) var persists = false
    /// Whether what was kept could not be read, so that nobody knows whom the unit was reserved for.
    private(set) var isLost = false

    /// Nobody is registered.
    init() {}

    var isEmpty: Bool { table.isEmpty }
    /// In the order in which they came.
    var registrations: [Registration] { table.values.sorted { $0.number < $1.number } }

    subscript(registrant: Registrant) -> Registration? { table[registrant] }

    /// Whether a registrant holds the reservation.
    func isHolder(_ registrant: Registrant) -> Bool {
        guard let reservation else { return false }
        return reservation.holder.map { $0 == registrant } ?? true
    }

    /// What the nexus may not do because of the reservation.
    func exclusion(of nexus: Registrant) -> GateConditions {
        guard !isLost else { return .accessExclusion }
        guard let reservation else { return [] }
        return table[nexus] != nil && (reservation.type.admitsRegistrants || isHolder(nexus))
            ? [] : reservation.type.exclusion
    }

    /// Whether a nexus may use RESERVE and RELEASE without an effect (SPC-5 clause 5.14.3); nil when they are as in
    /// SPC-2, because nobody is registered.
    func compatibleReservation(of nexus: Registrant) -> Bool? {
        guard !table.isEmpty else { return nil }
        guard let reservation, table[nexus] != nil else { return false }
        return reservation.type.admitsRegistrants || isHolder(nexus)
    }

    // MARK: Requests

    /// What becomes of the registrations and the reservation by a request of `nexus`, and of the request. They stay as
    /// they are unless it comes to GOOD.
    func applying(_ request: PersistentReservationRequest, of nexus: Registrant) -> (next: Self, outcome: Outcome) {
        var next = self
        let outcome = isLost ? next.replace(request, nexus) : next.perform(request, nexus)
        guard case .good = outcome else { return (self, outcome) }
        next.table[nexus]?.maker = nil
        return (next, outcome)
    }

    /// What a request comes to.
    enum Outcome: Hashable {
        case good(Effects)
        case conflict
        case refused(PersistentReservationRefusal)
    }

    /// What those who are concerned learn, and lose.
    struct Effects: Hashable {
        /// Who has a unit attention.
        var attentions: [Registrant: Attention] = [:]
        /// Whose commands PREEMPT AND ABORT ends; of who asks for it, the other ones.
        var preempted: Set<Registrant> = []

        var isEmpty: Bool { attentions.isEmpty && preempted.isEmpty }
    }

    enum Attention: Hashable {
        case reservationsPreempted
        case reservationsReleased
        case registrationsPreempted
    }

    private mutating func perform(_ request: PersistentReservationRequest, _ nexus: Registrant) -> Outcome {
        let own = table[nexus]
        if case .register(let wanted) = request.action { return register(nexus, own, request.key, wanted) }
        // It is verified before anything else is looked at (SPC-5 clause 6.16.3).
        guard let own, own.key == request.key else { return .conflict }
        switch request.action {
        case .register: return .conflict
        case .refused(let refusal): return .refused(refusal)
        case .reserve(let scopeAndType): return reserve(nexus, scopeAndType)
        case .release(let scopeAndType): return release(nexus, scopeAndType)
        case .clear:
            let effects = Effects(attentions: attentions(.reservationsPreempted, except: nexus))
            (table, reservation) = ([:], nil)
            generation &+= 1
            return .good(effects)
        case .preempt(let victims, let scopeAndType): return preempt(nexus, victims, scopeAndType)
        case .registerAndMove(let move): return registerAndMove(nexus, move)
        case .replaceLost: return .refused(.command(byte: 1, bit: 4))
        }
    }

    /// REPLACE LOST RESERVATION, the only one that can be performed while the information is lost.
    private mutating func replace(_ request: PersistentReservationRequest, _ nexus: Registrant) -> Outcome {
        guard case .replaceLost(let newKey, let scopeAndType, let persists) = request.action else {
            return .refused(.lost)
        }
        guard newKey != 0 else { return .refused(.parameter(byte: 8, bit: nil)) }
        switch Self.type(scopeAndType) {
        case .failure(let refusal): return .refused(refusal)
        case .success(let type):
            self = Self()
            self.persists = persists
            add(nexus, key: newKey, maker: nil)
            reservation = Reservation(type: type, holder: type.isForAllRegistrants ? nil : nexus)
            generation = 1
            return .good(Effects())
        }
    }

    /// What is left when somebody has cleared all of it who is no initiator, and who is told of that.
    func cleared() -> (next: Self, effects: Effects) {
        var next = Self()
        next.nextNumber = nextNumber
        next.generation = generation &+ 1
        return (next, Effects(attentions: table.mapValues { _ in .reservationsPreempted }))
    }

    private func attentions(_ attention: Attention, except nexus: Registrant) -> [Registrant: Attention] {
        var attentions: [Registrant: Attention] = [:]
        for registrant in table.keys where registrant != nexus { attentions[registrant] = attention }
        return attentions
    }

    // MARK: Records

    /// All of it, as it is kept.
    var record: PersistentReservationRecord {
        PersistentReservationRecord(
            persists: persists, generation: generation, nextNumber: nextNumber, type: reservation?.type.rawValue,
            holder: reservation?.holder.flatMap { table[$0]?.number },
            registrations: registrations.map { registration in
                PersistentReservationRecord.Registration(
                    number: registration.number, registrant: registration.registrant, key: registration.key,
                    isUnused: registration.maker != nil)
            })
    }

    /// What was kept; nil when it contradicts itself.
    init?(_ record: PersistentReservationRecord) {
        persists = record.persists
        generation = record.generation
        nextNumber = record.nextNumber
        guard record.registrations.count <= Limit.registrations else { return nil }
        var holder: Registrant?
        for registration in record.registrations {
            guard registration.key != 0, registration.number < record.nextNumber,
                table[registration.registrant] == nil
            else { return nil }
            table[registration.registrant] = Registration(
                registrant: registration.registrant, key: registration.key,
                maker: registration.isUnused ? registration.registrant : nil, number: registration.number)
            if registration.number == record.holder { holder = registration.registrant }
        }
        guard let number = record.type else { return }
        guard let type = PersistentReservationType(rawValue: number), !table.isEmpty,
            type.isForAllRegistrants == (holder == nil)
        else { return nil }
        reservation = Reservation(type: type, holder: holder)
    }

    /// Something was kept that could not be read.
    static var lost: Self {
        var lost = Self()
        lost.isLost = true
        return lost
    }

    // MARK: Registering

    /// REGISTER and REGISTER AND IGNORE EXISTING KEY.
    private mutating func register(
        _ nexus: Registrant, _ own: Registration?, _ key: UInt64, _ wanted: PersistentReservationRequest.Registering
    ) -> Outcome {
        guard wanted.ignoresKey || key == own?.key ?? 0 else { return .conflict }
        if let refusal = wanted.refusal { return .refused(refusal) }
        defer { persists = wanted.persists }
        var others: [PersistentReservationRequest.NamedPort] = []
        if let named = wanted.others {
            guard own == nil else { return .refused(.parameter(byte: 20, bit: 3)) }
            if wanted.newKey != 0 {
                switch named {
                case .success(let ports): others = ports
                case .failure(let refusal): return .refused(refusal)
                }
            }
        }
        let ports = Set(wanted.targetPorts).union([nexus.targetPort]).sorted()
        // A registration has no effect on any other (SPC-5 clause 5.14.7).
        for other in others {
            let isRegistered = ports.contains { table[other.of(nexus.target, $0)] != nil }
            guard !isRegistered else { return .refused(.parameter(byte: other.offset, bit: nil)) }
        }
        let before = nextNumber
        let effects = register(nexus, through: ports, key, wanted)
        for other in others {
            guard table.count <= Limit.registrations else { return .refused(.resources) }
            for port in ports where table[other.of(nexus.target, port)] == nil {
                add(other.of(nexus.target, port), key: wanted.newKey, maker: nexus)
            }
        }
        return nextNumber == before || isWithinLimits(of: nexus) ? .good(effects) : .refused(.resources)
    }

    /// As if each of the target ports had been asked by itself. Its own is: that the key is right there, is known.
    private mutating func register(
        _ nexus: Registrant, through ports: [UInt16], _ key: UInt64,
        _ wanted: PersistentReservationRequest.Registering
    ) -> Effects {
        var removed: Set<Registrant> = []
        var isChanged = false
        for registrant in ports.map(nexus.through) {
            let present = table[registrant]
            guard wanted.ignoresKey || registrant == nexus || key == present?.key ?? 0 else { continue }
            if wanted.newKey == 0 {
                if present != nil { removed.insert(registrant) }
                continue
            }
            if present == nil {
                add(registrant, key: wanted.newKey, maker: registrant == nexus ? nil : nexus)
            } else {
                table[registrant]?.key = wanted.newKey
            }
            isChanged = true
        }
        if isChanged || !removed.isEmpty { generation &+= 1 }
        return unregister(removed, nexus)
    }

    private mutating func add(_ registrant: Registrant, key: UInt64, maker: Registrant?) {
        table[registrant] = Registration(registrant: registrant, key: key, maker: maker, number: nextNumber)
        nextNumber += 1
    }

    /// Whether there are not too many, after `nexus` has added some.
    private func isWithinLimits(of nexus: Registrant) -> Bool {
        guard table.count <= Limit.registrations else { return false }
        let unused = table.values.filter { $0.maker != nil }
        return unused.count <= Limit.unused && unused.count { $0.maker == nexus } <= Limit.unusedOfOne
    }

    /// Ends registrations, and the reservation that goes with them (SPC-5 clause 5.14.11.2).
    private mutating func unregister(_ registrants: Set<Registrant>, _ nexus: Registrant) -> Effects {
        for registrant in registrants { table[registrant] = nil }
        guard let former = reservation else { return Effects() }
        guard former.holder.map({ registrants.contains($0) }) ?? table.isEmpty else { return Effects() }
        reservation = nil
        return former.type.admitsRegistrants
            ? Effects(attentions: attentions(.reservationsReleased, except: nexus)) : Effects()
    }

    /// REGISTER AND MOVE.
    private mutating func registerAndMove(
        _ nexus: Registrant, _ move: PersistentReservationRequest.Moving
    ) -> Outcome {
        // It is the service action that cannot be (SPC-5 clause 5.14.8).
        guard let former = reservation else { return .refused(.command(byte: 1, bit: 4)) }
        guard former.holder == nexus else { return .conflict }
        guard move.newKey != 0 else { return .refused(.parameter(byte: 8, bit: nil)) }
        let destination: Registrant
        switch move.destination {
        case .success(let found): destination = found
        case .failure(let refusal): return .refused(refusal)
        }
        guard destination.transportID != nexus.transportID else { return .refused(.parameter(byte: 24, bit: nil)) }
        if move.unregisters { table[nexus] = nil }
        if table[destination] == nil {
            add(destination, key: move.newKey, maker: nexus)
            guard isWithinLimits(of: nexus) else { return .refused(.resources) }
        } else {
            table[destination]?.key = move.newKey
        }
        reservation = Reservation(type: former.type, holder: destination)
        generation &+= 1
        persists = move.persists
        return .good(Effects())
    }

    // MARK: Reserving

    /// The type that SCOPE and TYPE of the CDB ask for.
    private static func type(
        _ scopeAndType: UInt8
    ) -> Result<PersistentReservationType, PersistentReservationRefusal> {
        guard scopeAndType >> 4 == 0 else { return .failure(.command(byte: 2, bit: 7)) }
        return PersistentReservationType(rawValue: scopeAndType & 0x0F).map { .success($0) }
            ?? .failure(.command(byte: 2, bit: 3))
    }

    /// RESERVE.
    private mutating func reserve(_ nexus: Registrant, _ scopeAndType: UInt8) -> Outcome {
        switch Self.type(scopeAndType) {
        case .failure(let refusal): return .refused(refusal)
        case .success(let type):
            guard let present = reservation else {
                reservation = Reservation(type: type, holder: type.isForAllRegistrants ? nil : nexus)
                return .good(Effects())
            }
            return isHolder(nexus) && present.type == type ? .good(Effects()) : .conflict
        }
    }

    /// RELEASE.
    private mutating func release(_ nexus: Registrant, _ scopeAndType: UInt8) -> Outcome {
        guard let present = reservation, isHolder(nexus) else { return .good(Effects()) }
        guard present.type.rawValue == scopeAndType else { return .refused(.release) }
        reservation = nil
        return .good(
            present.type.admitsRegistrants
                ? Effects(attentions: attentions(.reservationsReleased, except: nexus)) : Effects())
    }

    /// PREEMPT, and what PREEMPT AND ABORT does to registrations (SPC-5 clauses 5.14.11.3 to 5.14.11.5).
    private mutating func preempt(_ nexus: Registrant, _ victimKey: UInt64, _ scopeAndType: UInt8) -> Outcome {
        guard let present = reservation, isKeyOfHolder(present, victimKey) else {
            return preemptRegistrations(nexus, victimKey)
        }
        switch Self.type(scopeAndType) {
        case .failure(let refusal): return .refused(refusal)
        case .success(let type):
            let isOfAll = present.type.isForAllRegistrants
            let preempted = Set(table.values.filter { isOfAll || $0.key == victimKey }.map(\.registrant))
            for registrant in preempted where registrant != nexus { table[registrant] = nil }
            reservation = Reservation(type: type, holder: type.isForAllRegistrants ? nil : nexus)
            generation &+= 1
            var effects = Effects(preempted: preempted)
            if present.type != type { effects.attentions = attentions(.reservationsReleased, except: nexus) }
            for registrant in preempted where registrant != nexus {
                effects.attentions[registrant] = .registrationsPreempted
            }
            return .good(effects)
        }
    }

    /// Whether a key names the holder of a reservation; all holders have the key 0.
    private func isKeyOfHolder(_ present: Reservation, _ key: UInt64) -> Bool {
        present.holder.map { table[$0]?.key == key } ?? (key == 0)
    }

    /// Takes registrations alone away; scope and type say nothing.
    private mutating func preemptRegistrations(_ nexus: Registrant, _ victimKey: UInt64) -> Outcome {
        guard victimKey != 0 else { return .refused(.parameter(byte: 8, bit: nil)) }
        let preempted = Set(table.values.filter { $0.key == victimKey }.map(\.registrant))
        guard !preempted.isEmpty else { return .conflict }
        var effects = Effects(preempted: preempted)
        for registrant in preempted {
            table[registrant] = nil
            if registrant != nexus { effects.attentions[registrant] = .registrationsPreempted }
        }
        if table.isEmpty, reservation?.type.isForAllRegistrants == true { reservation = nil }
        generation &+= 1
        return .good(effects)
    }
}
