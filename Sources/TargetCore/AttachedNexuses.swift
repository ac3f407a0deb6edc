internal import Platform
public import SCSI

/// The I_T_L nexuses of one logical unit, and what concerns them together: unit attentions for all, the SPC-2
/// reservation, the prevention of medium removal, and the interposer.
///
/// The logical unit and its device server share it. Any thread may call any method; none is called for each command.
public final class AttachedNexuses: Sendable {
    private struct State {
        var nexuses: [ITLNexus] = []
        /// The nexus that holds the reservation; it is one of `nexuses`.
        var reservationHolder: ObjectIdentifier?
        var interposer: (any TaskInterposer)?
        var persistent = PersistentReservations()
        /// What keeps that beyond the life of the process, if anything does.
        var keeper: (any PersistentReservationKeeper)?
        /// The changes of it that are not done yet; the first is under way.
        var changes: [PersistentReservationChange] = []
        /// What becomes of it when the first one is kept.
        var next: (reservations: PersistentReservations, effects: PersistentReservations.Effects)?
        var targetPortGroups = TargetPortGroups()
    }
    private let state = Lock(State())

    /// No nexus yet.
    public init() {}

    /// Puts what `keeper` has in force, and has it keep what comes. Before the unit is offered.
    public func keepReservations(with keeper: any PersistentReservationKeeper) {
        let persistent: PersistentReservations =
            switch keeper.kept {
            case .none: PersistentReservations()
            case .record(let record): PersistentReservations(record) ?? .lost
            case .unreadable: .lost
            }
        state.withLock { state in
            state.keeper = keeper
            state.persistent = persistent
        }
    }

    public var all: [ITLNexus] { state.withLock { $0.nexuses } }

    /// How many they are.
    var count: Int { state.withLock { $0.nexuses.count } }

    func attach(_ nexus: ITLNexus) {
        state.withLock { state in
            nexus.listPosition = state.nexuses.count
            state.nexuses.append(nexus)
            if state.reservationHolder != nil { nexus.raise(.reservationConflict) }
            if state.interposer != nil { nexus.raise(.intercepted) }
            nexus.raise(state.persistent.exclusion(of: nexus.registrant))
            nexus.raise(state.targetPortGroups.condition(of: nexus.iTNexus.targetPort.groupIdentifier))
        }
    }

    /// Detaches a nexus; its reservation and its prevention end (SPC-2 clause 5.5.1, SPC-5 clause 6.14).
    func detach(_ nexus: ITLNexus) {
        state.withLock { state in
            let position = nexus.listPosition
            guard position >= 0, let last = state.nexuses.popLast() else { return }
            if last !== nexus {
                state.nexuses[position] = last
                last.listPosition = position
            }
            nexus.listPosition = -1
        }
        endHold(of: nexus)
    }

    /// Whether a nexus is one of them.
    func contains(_ nexus: ITLNexus) -> Bool { state.withLock { _ in nexus.listPosition >= 0 } }

    // MARK: Conditions

    /// Establishes a unit attention for all nexuses, or for all but one.
    public func establishUnitAttention(_ code: AdditionalSenseCode, except: ITLNexus? = nil) {
        for nexus in all where nexus !== except { nexus.establishUnitAttention(code) }
    }

    /// Establishes a deferred error for every nexus whose buffered writes may be lost.
    public func establishDeferredError(_ sense: SenseData) {
        for nexus in all where nexus.hasBufferedWrites { nexus.establishDeferredError(sense) }
    }

    /// Whether any nexus prevents the removal of the medium.
    public var isMediumRemovalPrevented: Bool {
        state.withLock { $0.nexuses.contains(where: \.preventsMediumRemoval) }
    }

    /// Has `interposer` see all commands from now on; nil ends that.
    public func intercept(with interposer: (any TaskInterposer)?) {
        state.withLock { state in
            state.interposer = interposer
            for nexus in state.nexuses {
                if interposer == nil { nexus.lower(.intercepted) } else { nexus.raise(.intercepted) }
            }
        }
    }

    /// What sees the commands of a nexus whose gate says `intercepted`.
    var interposer: (any TaskInterposer)? { state.withLock { $0.interposer } }

    // MARK: Target port groups (SPC-5 clause 5.16)

    /// The access states of the unit by target port group.
    var targetPortGroups: TargetPortGroups { state.withLock { $0.targetPortGroups } }

    /// Changes the access states, and has every nexus meet what they are then. `body` may give a unit attention for all
    /// nexuses but `exempt`, with its answer.
    func changeTargetPortGroups<Value: Sendable>(
        except exempt: ITLNexus? = nil,
        _ body: @Sendable (inout TargetPortGroups) -> (value: Value, attention: AdditionalSenseCode?)
    ) -> Value {
        state.withLock { state in
            let (value, attention) = body(&state.targetPortGroups)
            for nexus in state.nexuses {
                if let attention, nexus !== exempt { nexus.establishUnitAttention(attention) }
                let condition = state.targetPortGroups.condition(of: nexus.iTNexus.targetPort.groupIdentifier)
                nexus.raise(condition)
                nexus.lower(GateConditions.accessStates.subtracting(condition))
            }
            return value
        }
    }

    // MARK: Persistent reservations (SPC-5 clause 5.14)

    /// Registrations and reservation as they are.
    var persistentReservations: PersistentReservations { state.withLock { $0.persistent } }

    /// Whether somebody has reserved the unit by RESERVE: then there are no persistent reservations (SPC-2 clause
    /// 5.5.1).
    var isReserved: Bool { state.withLock { $0.reservationHolder != nil } }

    /// Whether what was kept could not be read, so that the unit is closed to all.
    public var hasLostReservations: Bool { state.withLock { $0.persistent.isLost } }

    /// The name of the initiator port that has reserved the unit by RESERVE.
    public var reserver: String? {
        state.withLock { state in
            guard let holder = state.reservationHolder else { return nil }
            return state.nexuses.first { ObjectIdentifier($0) == holder }?.iTNexus.initiatorPort.name
        }
    }

    /// Performs a PERSISTENT RESERVE OUT of `nexus`, behind those that came before, and calls `completion`, now or
    /// later on any thread: when it is GOOD, also with the nexuses whose commands PREEMPT AND ABORT ends.
    ///
    /// What is to be kept is durable before it is in force and before anybody is told.
    func changePersistentReservations(
        _ request: PersistentReservationRequest, of nexus: ITLNexus,
        _ completion: @escaping @Sendable (PersistentReservations.Outcome, [ITLNexus]) -> Void
    ) {
        change(PersistentReservationChange(kind: .request(request, nexus.registrant), completion: completion))
    }

    /// Ends all registrations and reservations, by RESERVE too, for somebody who is no initiator. Who is concerned is
    /// told. `completion` is called as with a request: with false when it is not done, and will not be.
    public func clearReservations(_ completion: @escaping @Sendable (Bool) -> Void) {
        change(
            PersistentReservationChange(kind: .clear) { outcome, _ in
                if case .good = outcome { completion(true) } else { completion(false) }
            })
    }

    private func change(_ change: PersistentReservationChange) {
        let count = state.withLock { state in
            guard state.changes.count < PersistentReservations.Limit.waiting else { return 0 }
            state.changes.append(change)
            return state.changes.count
        }
        if count == 0 { return change.completion(.refused(.busy), []) }
        if count == 1 { performChanges() }
    }

    private enum ChangeStep: Sendable {
        case done(PersistentReservationChange, PersistentReservations.Outcome, [ITLNexus])
        case keep(any PersistentReservationKeeper, PersistentReservationRecord)
        case idle
    }

    /// Performs the changes that wait, until one has to be kept first.
    private func performChanges() {
        while true {
            switch state.withLock({ Self.beginChange(&$0) }) {
            case .idle: return
            case .done(let change, let outcome, let preempted): change.completion(outcome, preempted)
            case .keep(let keeper, let record):
                return keeper.keep(record) { [weak self] isKept in self?.endChange(isKept) }
            }
        }
    }

    private static func beginChange(_ state: inout State) -> ChangeStep {
        // While one is being kept, whoever ends that goes on.
        guard state.next == nil, let change = state.changes.first else { return .idle }
        let next: PersistentReservations
        let effects: PersistentReservations.Effects
        switch change.kind {
        case .clear: (next, effects) = state.persistent.cleared()
        case .request(let request, let registrant):
            // By RESERVE; whoever asked for that was faster.
            let (changed, outcome) =
                state.reservationHolder == nil
                ? state.persistent.applying(request, of: registrant) : (state.persistent, .conflict)
            guard case .good(let found) = outcome else {
                state.changes.removeFirst()
                return .done(change, outcome, [])
            }
            (next, effects) = (changed, found)
        }
        if next != state.persistent, let keeper = state.keeper {
            state.next = (next, effects)
            return .keep(keeper, next.record)
        }
        state.changes.removeFirst()
        return .done(change, .good(effects), install(next, effects, change, &state))
    }

    private func endChange(_ isKept: Bool) {
        let step = state.withLock { state -> ChangeStep in
            guard let (next, effects) = state.next, !state.changes.isEmpty else { return .idle }
            state.next = nil
            let change = state.changes.removeFirst()
            guard isKept else { return .done(change, .refused(.unkept), []) }
            return .done(change, .good(effects), Self.install(next, effects, change, &state))
        }
        if case .done(let change, let outcome, let preempted) = step { change.completion(outcome, preempted) }
        performChanges()
    }

    /// Puts `next` in force: the nexuses that are concerned learn what they have lost, and all may do what is allowed
    /// now. Gives those whose commands PREEMPT AND ABORT ends.
    private static func install(
        _ next: PersistentReservations, _ effects: PersistentReservations.Effects,
        _ change: PersistentReservationChange, _ state: inout State
    ) -> [ITLNexus] {
        let isExclusive =
            state.persistent.reservation != nil || state.persistent.isLost || next.reservation != nil
        state.persistent = next
        if case .clear = change.kind, state.reservationHolder != nil {
            for nexus in state.nexuses where ObjectIdentifier(nexus) == state.reservationHolder {
                nexus.establishUnitAttention(.reservationsPreempted)
            }
            endReservation(&state)
        }
        guard isExclusive || !effects.isEmpty else { return [] }
        var preempted: [ITLNexus] = []
        for nexus in state.nexuses {
            let registrant = nexus.registrant
            if let attention = effects.attentions[registrant] { nexus.establishUnitAttention(attention.code) }
            if effects.preempted.contains(registrant) { preempted.append(nexus) }
            guard isExclusive else { continue }
            let exclusion = next.exclusion(of: registrant)
            nexus.raise(exclusion)
            nexus.lower(GateConditions([.writeExclusion, .accessExclusion]).subtracting(exclusion))
        }
        return preempted
    }

    // MARK: RESERVE and RELEASE (SPC-2 clauses 7.15 to 7.22)

    /// Whether RESERVE and RELEASE of `nexus` end with GOOD and without an effect, or with RESERVATION CONFLICT,
    /// because somebody is registered for persistent reservations; nil when they do what SPC-2 says.
    func compatibleReservation(of nexus: ITLNexus) -> Bool? {
        state.withLock { $0.persistent.compatibleReservation(of: nexus.registrant) }
    }

    /// Reserves the unit for `nexus`; false when another one holds the reservation, or somebody is registered.
    func reserve(for nexus: ITLNexus) -> Bool {
        state.withLock { state in
            // Also while somebody's registration is being kept: it was faster.
            guard state.persistent.isEmpty, !state.persistent.isLost, state.next == nil else { return false }
            let holder = ObjectIdentifier(nexus)
            if let current = state.reservationHolder, current != holder { return false }
            guard nexus.listPosition >= 0 else { return false }
            state.reservationHolder = holder
            for other in state.nexuses where other !== nexus { other.raise(.reservationConflict) }
            return true
        }
    }

    /// Ends the reservation when `nexus` holds it; otherwise nothing happens, which is no error (SPC-2 clause 7.17).
    func release(by nexus: ITLNexus) {
        state.withLock { state in
            guard state.reservationHolder == ObjectIdentifier(nexus) else { return }
            Self.endReservation(&state)
        }
    }

    private static func endReservation(_ state: inout State) {
        state.reservationHolder = nil
        for nexus in state.nexuses { nexus.lower(.reservationConflict) }
    }

    /// Ends what `nexus` holds against others: the loss or the reset of an I_T nexus (SAM-5 clause 6.3.4).
    func endHold(of nexus: ITLNexus) {
        nexus.preventsMediumRemoval = false
        release(by: nexus)
    }

    /// Ends what any nexus holds: a logical unit reset (SAM-5 clause 6.3.3).
    func endAllHolds() {
        state.withLock { state in
            Self.endReservation(&state)
            for nexus in state.nexuses { nexus.preventsMediumRemoval = false }
        }
    }
}

/// A change of registrations and reservations.
struct PersistentReservationChange: Sendable {
    enum Kind: Sendable {
        case request(PersistentReservationRequest, Registrant)
        /// Everything is cleared.
        case clear
    }
    let kind: Kind
    /// Called when it is done, or refused.
    let completion: @Sendable (PersistentReservations.Outcome, [ITLNexus]) -> Void
}
