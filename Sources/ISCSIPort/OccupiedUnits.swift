internal import Platform
internal import TargetCore

/// The logical units that still work on commands of ended sessions of one I_T nexus, and the session to tell when they
/// have let go.
///
/// However often an initiator comes back, ended sessions are kept only while they have commands of their own with a
/// device.
final class OccupiedUnits: Sendable {
    private struct State {
        /// How many ended sessions a logical unit works for. Its number says nothing: another may have it meanwhile.
        var counts: [LogicalUnit: Int] = [:]
        var session: Session?
    }

    private let state = Lock(State())

    /// Whether no logical unit is occupied.
    var isEmpty: Bool { state.withLock { $0.counts.isEmpty } }

    /// A session begins: the units that are occupied now; `formerHasLetGo` tells it of each that is not any more.
    func begin(_ session: Session) -> Set<LogicalUnit> {
        state.withLock { state in
            state.session = session
            return Set(state.counts.keys)
        }
    }

    /// A session ends, with commands on those units.
    func end(_ session: Session, leaving units: Set<LogicalUnit>) {
        state.withLock { state in
            if state.session === session { state.session = nil }
            for unit in units { state.counts[unit, default: 0] += 1 }
        }
    }

    /// A unit has let go of the last command of one ended session.
    func letGo(of unit: LogicalUnit) {
        let session = state.withLock { state -> Session? in
            guard let count = state.counts[unit] else { return nil }
            state.counts[unit] = count > 1 ? count - 1 : nil
            return count > 1 ? nil : state.session
        }
        session?.reactor.postCompletion { session?.formerHasLetGo(of: unit) }
    }
}
