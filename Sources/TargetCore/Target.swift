public import Platform
internal import SCSI

/// A SCSI target device: a name and the logical units behind it.
public final class Target: Sendable {
    /// The iSCSI name (RFC 7143 section 4.2.7).
    public let name: String
    /// TargetAlias, for people.
    public let alias: String
    /// The reactor on which all sessions with this target run, because units with a home are best used there; nil when
    /// any will do.
    public let homeReactor: Reactor?

    /// The logical units that initiators see for whom nothing else is mapped.
    public let logicalUnits = LogicalUnitMap()

    private struct Sessions {
        var nexuses: [ObjectIdentifier: ITNexus] = [:]
        /// What was counted of those that were lost.
        var former = CommandTotals()
    }
    private let sessions = Lock(Sessions())

    /// A target with no logical units yet.
    public init(name: String, alias: String, homeReactor: Reactor?) {
        self.name = name
        self.alias = alias
        self.homeReactor = homeReactor
    }

    /// The nexuses that are logged in.
    public var nexuses: [ITNexus] { sessions.withLock { Array($0.nexuses.values) } }

    /// What was counted of the commands of all nexuses since the target was made; only those of nexuses that are logged
    /// in are in flight. On any thread.
    public var totals: CommandTotals {
        sessions.withLock { sessions in
            var totals = sessions.former
            for nexus in sessions.nexuses.values { nexus.counters?.add(to: &totals) }
            return totals
        }
    }

    /// Puts a logical unit at `number` of `map` (the target's own when nil). Initiators that are logged in and use the
    /// map learn of it by REPORTED LUNS DATA HAS CHANGED (SPC-5 clause 6.33) and can use the unit at once. False, and
    /// nothing has changed, when the number is taken or not one of `LogicalUnitMap.numbers`, or the map is full.
    @discardableResult
    public func map(_ unit: LogicalUnit, at number: Int, of map: LogicalUnitMap? = nil) -> Bool {
        (map ?? logicalUnits).insert(unit, at: number)
    }

    /// Takes the logical unit at `number` of `map` (the target's own when nil) away, and gives it; nil when there is
    /// none.
    ///
    /// Its tasks end, when the medium has let go of them, with ILLEGAL REQUEST, LOGICAL UNIT NOT SUPPORTED, which is
    /// also the answer to later commands (SAM-5 clause 5.9.4); initiators that are logged in learn of it by REPORTED
    /// LUNS DATA HAS CHANGED. The unit stays at other numbers and in other maps. `completion` is called, on any thread,
    /// when no task uses the unit by this number any more, nor any whose nexus is gone and that the medium works on.
    @discardableResult
    public func unmap(
        at number: Int, of map: LogicalUnitMap? = nil, completion: @escaping @Sendable () -> Void = {}
    ) -> LogicalUnit? {
        let countdown = Countdown(completion)
        defer { countdown.leave() }
        return (map ?? logicalUnits).remove(at: number, countdown)
    }

    func attach(_ nexus: ITNexus) {
        sessions.withLock { $0.nexuses[ObjectIdentifier(nexus)] = nexus }
    }

    func detach(_ nexus: ITNexus) {
        sessions.withLock { sessions in
            guard sessions.nexuses.removeValue(forKey: ObjectIdentifier(nexus)) != nil else { return }
            nexus.counters?.add(to: &sessions.former)
            sessions.former.inFlight = 0
        }
    }
}

/// The targets that ports offer: filled by the control plane, read at login and discovery.
public final class TargetDirectory: Sendable {
    private struct State {
        var targets: [String: Target] = [:]
        /// All targets by name; nil after a change, until somebody asks.
        var sorted: [Target]?
    }
    private let state = Lock(State())

    public init() {}

    public subscript(name: String) -> Target? { state.withLock { $0.targets[name] } }

    /// All targets by name, sorted. Sorting is done once after each change.
    public var all: [Target] {
        state.withLock { state in
            if let sorted = state.sorted { return sorted }
            let sorted = state.targets.values.sorted { $0.name < $1.name }
            state.sorted = sorted
            return sorted
        }
    }

    /// Offers a target; false when there is one of that name.
    @discardableResult
    public func add(_ target: Target) -> Bool {
        state.withLock { state in
            guard state.targets[target.name] == nil else { return false }
            state.targets[target.name] = target
            state.sorted = nil
            return true
        }
    }

    /// Offers a target no longer; sessions that exist stay.
    public func remove(name: String) {
        state.withLock { state in
            state.targets[name] = nil
            state.sorted = nil
        }
    }
}
