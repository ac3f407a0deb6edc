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
    }
    private let state = Lock(State())

    /// No nexus yet.
    public init() {}

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

    // MARK: Persistent reservations (SPC-5 clause 5.14)

    /// Registrations and reservation as they are.
    var persistentReservations: PersistentReservations { state.withLock { $0.persistent } }

    /// Whether somebody has reserved the unit by RESERVE: then there are no persistent reservations (SPC-2 clause
    /// 5.5.1).
    var isReserved: Bool { state.withLock { $0.reservationHolder != nil } }

    /// Performs a PERSISTENT RESERVE OUT of `nexus`: the next registrations and reservation take the place of those
    /// that are there, the nexuses that are concerned learn what they have lost, and all may do what is allowed now.
    /// When it is GOOD, also the nexuses whose commands PREEMPT AND ABORT ends.
    func changePersistentReservations(
        _ request: PersistentReservationRequest, of nexus: ITLNexus
    ) -> (outcome: PersistentReservations.Outcome, preempted: [ITLNexus]) {
        state.withLock { state in
            // By RESERVE; whoever asked for that was faster.
            guard state.reservationHolder == nil else { return (.conflict, []) }
            let (next, outcome) = state.persistent.applying(request, of: nexus.registrant)
            guard case .good(let effects) = outcome else { return (outcome, []) }
            let isExclusive = state.persistent.reservation != nil || next.reservation != nil
            state.persistent = next
            guard isExclusive || !effects.isEmpty else { return (outcome, []) }
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
            return (outcome, preempted)
        }
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
            guard state.persistent.isEmpty else { return false }
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
