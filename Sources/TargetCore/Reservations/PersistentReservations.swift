/// TYPE of a persistent reservation (SPC-5 table 102).
public enum PersistentReservationType: UInt8, Sendable, CaseIterable {
    case writeExclusive = 1
    case exclusiveAccess = 3
    case writeExclusiveRegistrantsOnly = 5
    case exclusiveAccessRegistrantsOnly = 6
    case writeExclusiveAllRegistrants = 7
    case exclusiveAccessAllRegistrants = 8

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

/// Who is registered: an initiator port, through one target port or all.
public struct Registrant: Hashable, Sendable {
    public let transportID: TransportID
    /// RELATIVE TARGET PORT IDENTIFIER; nil for all target ports (ALL_TG_PT).
    public let targetPort: UInt16?

    public init(_ transportID: TransportID, targetPort: UInt16?) {
        (self.transportID, self.targetPort) = (transportID, targetPort)
    }

    /// Whether it has the I_T nexus of that initiator port and target port in it.
    func covers(_ nexus: Registrant) -> Bool {
        (targetPort == nil || targetPort == nexus.targetPort) && transportID.names(nexus.transportID)
    }
}

/// The registrations and the persistent reservation of a logical unit, and the rules of PERSISTENT RESERVE OUT (SPC-5
/// clause 5.14). It knows no nexuses and no threads: whoever uses it has a lock, and does to nexuses what the outcome
/// says.
struct PersistentReservations: Sendable {
    enum Limit {
        /// The most registrations; more are refused with INSUFFICIENT REGISTRATION RESOURCES.
        static let registrations = 1024
    }

    struct Registration: Hashable, Sendable {
        let registrant: Registrant
        var key: UInt64
    }

    struct Reservation: Hashable, Sendable {
        var type: PersistentReservationType
        /// Nil when all registrants hold it.
        var holder: Registrant?
    }

    /// What a service action comes to.
    enum Outcome: Hashable {
        /// GOOD. Those who are concerned learn of it: the ones before of a registration, reservation or both that they
        /// have lost.
        case good([Notice])
        case conflict
        case refused(Refusal)
    }

    /// A unit attention for the I_T nexuses of a registrant.
    struct Notice: Hashable {
        let attention: Attention
        let registrant: Registrant
    }

    enum Attention: Hashable {
        case reservationsPreempted
        case reservationsReleased
        case registrationsPreempted
    }

    /// Why a service action is refused with CHECK CONDITION.
    enum Refusal: Hashable {
        /// The service action reservation key, in the parameter list.
        case key
        /// A TransportID in the parameter list.
        case transportID
        /// Scope or type of a release are not those of the reservation.
        case release
        case resources
    }

    /// In the order in which they came.
    private(set) var registrations: [Registration] = []
    private(set) var reservation: Reservation?
    /// PRGENERATION.
    private(set) var generation: UInt32 = 0

    /// The registration of a nexus.
    func registration(of nexus: Registrant) -> Registration? { registrations.first { $0.registrant.covers(nexus) } }

    /// Whether a registrant holds the reservation.
    func isHolder(_ registrant: Registrant) -> Bool {
        guard let reservation else { return false }
        return reservation.holder.map { $0 == registrant } ?? true
    }

    /// What the nexus may not do because of the reservation.
    func exclusion(of nexus: Registrant) -> GateConditions {
        guard let reservation else { return [] }
        if let own = registration(of: nexus) {
            if reservation.type.admitsRegistrants || isHolder(own.registrant) { return [] }
        }
        return reservation.type.exclusion
    }

    /// Whether a nexus may use RESERVE and RELEASE without an effect (SPC-5 clause 5.14.3); nil when they are as in
    /// SPC-2, because nobody is registered.
    func compatibleReservation(of nexus: Registrant) -> Bool? {
        guard !registrations.isEmpty else { return nil }
        guard let reservation, let own = registration(of: nexus) else { return false }
        return reservation.type.admitsRegistrants || isHolder(own.registrant)
    }

    // MARK: Registering

    /// REGISTER, and with `ignoresKey` REGISTER AND IGNORE EXISTING KEY, of `nexus` by its own target port or all, and
    /// of `others`.
    mutating func register(
        _ nexus: Registrant, key: UInt64, newKey: UInt64, ignoresKey: Bool, forAllPorts: Bool = false,
        others: [TransportID] = []
    ) -> Outcome {
        guard let index = registrations.firstIndex(where: { $0.registrant.covers(nexus) }) else {
            guard ignoresKey || key == 0 else { return .conflict }
            guard newKey != 0 else { return .good([]) }
            let targetPort = forAllPorts ? nil : nexus.targetPort
            guard others.count < Limit.registrations else { return .refused(.resources) }
            var keys: Set<TransportID.Key> = []
            let added = ([nexus.transportID] + others).filter { keys.insert($0.lookUpKey).inserted }
                .map { Registrant($0, targetPort: targetPort) }
            // What one of them had by itself is a part of what it has now.
            let kept = registrations.filter { old in
                let isOfPort = targetPort == nil || targetPort == old.registrant.targetPort
                return !isOfPort || !old.registrant.transportID.isNamed(in: keys)
            }
            guard kept.count + added.count <= Limit.registrations else { return .refused(.resources) }
            registrations = kept + added.map { Registration(registrant: $0, key: newKey) }
            if let holder = reservation?.holder, let new = added.first(where: { $0.covers(holder) }) {
                reservation?.holder = new
            }
            generation &+= 1
            return .good([])
        }
        let own = registrations[index]
        guard ignoresKey || own.key == key else { return .conflict }
        generation &+= 1
        guard newKey == 0 else {
            registrations[index].key = newKey
            return .good([])
        }
        return .good(unregister(own.registrant))
    }

    /// Ends a registration, and the reservation that goes with it (SPC-5 clause 5.14.11.2).
    private mutating func unregister(_ registrant: Registrant) -> [Notice] {
        registrations.removeAll { $0.registrant == registrant }
        guard let former = reservation else { return [] }
        guard former.type.isForAllRegistrants ? registrations.isEmpty : former.holder == registrant else { return [] }
        reservation = nil
        return former.type.admitsRegistrants ? notices(.reservationsReleased) : []
    }

    private func notices(_ attention: Attention, except registrant: Registrant? = nil) -> [Notice] {
        registrations.filter { $0.registrant != registrant }.map {
            Notice(attention: attention, registrant: $0.registrant)
        }
    }

    /// REGISTER AND MOVE to an initiator port through the target port `targetPort`.
    mutating func registerAndMove(
        _ nexus: Registrant, key: UInt64, newKey: UInt64, to transportID: TransportID, targetPort: UInt16,
        unregisters: Bool
    ) -> Outcome {
        guard let own = registration(of: nexus), own.key == key, let former = reservation, isHolder(own.registrant),
            !former.type.isForAllRegistrants
        else { return .conflict }
        guard newKey != 0 else { return .refused(.key) }
        let target = Registrant(transportID, targetPort: targetPort)
        guard !own.registrant.covers(target) else { return .refused(.transportID) }
        if let index = registrations.firstIndex(where: { $0.registrant.covers(target) }) {
            registrations[index].key = newKey
            reservation = Reservation(type: former.type, holder: registrations[index].registrant)
        } else {
            guard registrations.count < Limit.registrations || unregisters else { return .refused(.resources) }
            registrations.append(Registration(registrant: target, key: newKey))
            reservation = Reservation(type: former.type, holder: target)
        }
        if unregisters { registrations.removeAll { $0.registrant == own.registrant } }
        generation &+= 1
        return .good([])
    }

    // MARK: Reserving

    /// RESERVE.
    mutating func reserve(_ nexus: Registrant, key: UInt64, _ type: PersistentReservationType) -> Outcome {
        guard let own = registration(of: nexus), own.key == key else { return .conflict }
        guard let present = reservation else {
            reservation = Reservation(type: type, holder: type.isForAllRegistrants ? nil : own.registrant)
            return .good([])
        }
        return isHolder(own.registrant) && present.type == type ? .good([]) : .conflict
    }

    /// RELEASE. `type` is nil when there is none of that number.
    mutating func release(_ nexus: Registrant, key: UInt64, _ type: PersistentReservationType?) -> Outcome {
        guard let own = registration(of: nexus), own.key == key else { return .conflict }
        guard let present = reservation, isHolder(own.registrant) else { return .good([]) }
        guard present.type == type else { return .refused(.release) }
        reservation = nil
        return .good(present.type.admitsRegistrants ? notices(.reservationsReleased, except: own.registrant) : [])
    }

    /// CLEAR.
    mutating func clear(_ nexus: Registrant, key: UInt64) -> Outcome {
        guard let own = registration(of: nexus), own.key == key else { return .conflict }
        let concerned = notices(.reservationsPreempted, except: own.registrant)
        (registrations, reservation) = ([], nil)
        generation &+= 1
        return .good(concerned)
    }

    /// PREEMPT, and what PREEMPT AND ABORT does to registrations: those that it takes away, but for that of who asks,
    /// have REGISTRATIONS PREEMPTED in the outcome (SPC-5 clause 5.14.11.3).
    mutating func preempt(
        _ nexus: Registrant, key: UInt64, victims victimKey: UInt64, _ type: PersistentReservationType
    ) -> Outcome {
        guard let own = registration(of: nexus), own.key == key else { return .conflict }
        if let present = reservation {
            let holderKey = present.holder.flatMap { holder in
                registrations.first { $0.registrant == holder }?.key
            }
            let takesReservation = present.type.isForAllRegistrants ? victimKey == 0 : victimKey == holderKey
            if takesReservation {
                let victims = registrations.filter {
                    $0.registrant != own.registrant && (present.type.isForAllRegistrants || $0.key == victimKey)
                }
                remove(victims)
                reservation = Reservation(type: type, holder: type.isForAllRegistrants ? nil : own.registrant)
                generation &+= 1
                let taken = victims.map { Notice(attention: .registrationsPreempted, registrant: $0.registrant) }
                return .good(
                    taken + (present.type == type ? [] : notices(.reservationsReleased, except: own.registrant)))
            }
        }
        guard victimKey != 0 else { return .refused(.key) }
        let victims = registrations.filter { $0.key == victimKey }
        guard !victims.isEmpty else { return .conflict }
        remove(victims)
        if registrations.isEmpty, reservation?.type.isForAllRegistrants == true { reservation = nil }
        generation &+= 1
        return .good(
            victims.filter { $0.registrant != own.registrant }
                .map { Notice(attention: .registrationsPreempted, registrant: $0.registrant) })
    }

    private mutating func remove(_ victims: [Registration]) {
        let gone = Set(victims.map(\.registrant))
        registrations.removeAll { gone.contains($0.registrant) }
    }
}
