internal import SCSI

/// A change of access states.
enum AccessStateChange: Sendable {
    /// By SET TARGET PORT GROUPS: other states of some groups, of those that have ports.
    case explicit([UInt16: AsymmetricAccessState], of: [UInt16])
    /// By somebody who is no initiator: all that is kept of a group, but for the cause.
    case implicit(AccessStateRecord)
}

/// What a change of access states comes to.
public enum AccessStateOutcome: Hashable, Sendable {
    /// It is durable, and in force or in transition.
    case done
    /// Another change has not ended.
    case busy
    /// It could not be kept: nothing has changed.
    case unkept
    /// More groups than `AttachedNexuses.accessStateLimit` would have states of their own.
    case tooMany
    /// No port would be left through which an initiator could ask for another state.
    case unreachable
}

/// The access states of a logical unit by target port group, and the rules of their changes (SPC-5 clause 5.16.2).
///
/// It is a value that knows neither nexuses nor threads. A change has three steps, between which nothing else may
/// change: `begin`, then what is to be kept is kept, then `enter`, and at the end of a transition `end`.
struct TargetPortGroups: Sendable {
    /// Those of all groups that have ever had another state than the first one.
    private var records: [UInt16: AccessStateRecord] = [:]
    /// The records from the end of the change that is under way on.
    private var next: [UInt16: AccessStateRecord]?
    /// The groups in transition.
    private var transitioning: Set<UInt16> = []
    /// What keeps the states beyond the life of the process, if anything does.
    private(set) var keeper: (any AccessStateKeeper)?
    /// The state of the groups without a record.
    private var initialState = AsymmetricAccessState.activeOptimized

    /// All groups are active/optimized.
    init() {}

    /// With what `keeper` has.
    init(keeper: any AccessStateKeeper) {
        self.keeper = keeper
        if !keeper.isReadable { initialState = .unavailable }
        for record in keeper.kept { records[record.group] = record }
    }

    /// A group that has no record.
    private func initial(_ group: UInt16) -> AccessStateRecord { AccessStateRecord(group: group, state: initialState) }

    /// What is in force in a group.
    subscript(group: UInt16) -> AccessStateRecord { records[group] ?? initial(group) }

    /// What is told of: while a transition lasts, what comes next.
    private var told: [UInt16: AccessStateRecord] { transitioning.isEmpty ? records : next ?? records }

    /// What is told of a group.
    func told(of group: UInt16) -> AccessStateRecord { told[group] ?? initial(group) }

    /// What is told of the groups that have or had another state than the first one, in their order.
    var known: [AccessStateRecord] { told.values.sorted { $0.group < $1.group } }

    func isTransitioning(_ group: UInt16) -> Bool { transitioning.contains(group) }

    /// What stops commands through the ports of a group.
    func condition(of group: UInt16) -> GateConditions {
        transitioning.contains(group) ? .transitioning : self[group].state.condition
    }

    // MARK: Changes

    enum Beginning: Sendable {
        /// Nothing is to be done, or it is refused.
        case ended(AccessStateOutcome)
        /// These are to be kept first.
        case keep(any AccessStateKeeper, [AccessStateRecord])
        /// Nobody keeps anything: the change can be entered.
        case enter
    }

    /// Begins a change. But for `ended`, `enter` or `fail` has to come next.
    mutating func begin(_ change: AccessStateChange) -> Beginning {
        guard next == nil else { return .ended(.busy) }
        var changed = records
        switch change {
        case .explicit(let states, let present):
            guard !present.allSatisfy({ (states[$0] ?? self[$0].state) == .offline }) else {
                return .ended(.unreachable)
            }
            for (group, state) in states {
                var record = self[group]
                guard record.state != state else { continue }
                (record.state, record.cause) = (state, .explicit)
                changed[group] = record
            }
        case .implicit(var record):
            let former = self[record.group]
            record.cause = record.state == former.state ? former.cause : .implicit
            guard record != former else { break }
            changed[record.group] = record
        }
        guard changed != records else { return .ended(.done) }
        if changed.count > AttachedNexuses.accessStateLimit {
            // Those that are as if they had never been changed need not be known.
            changed = changed.filter { group, record in
                var initial = initial(group)
                initial.cause = record.cause
                return record != initial
            }
        }
        guard changed.count <= AttachedNexuses.accessStateLimit else { return .ended(.tooMany) }
        next = changed
        guard let keeper else { return .enter }
        return .keep(keeper, changed.values.sorted { $0.group < $1.group })
    }

    /// What was begun could not be kept.
    mutating func fail() { next = nil }

    /// What was begun is durable. The time of the transition of the groups whose states change, in seconds, before
    /// `end`; nil when the change is in force now (SPC-5 clause 5.16.2.5: a single indivisible event).
    mutating func enter() -> (transitionTime: UInt8?, attention: AdditionalSenseCode?) {
        guard let next else { return (nil, nil) }
        let moving = next.values.filter { $0.state != self[$0.group].state }
        let time = moving.map(\.transitionTime).max() ?? 0
        guard time > 0 else { return (nil, end()) }
        transitioning = Set(moving.map(\.group))
        return (time, nil)
    }

    /// Puts the new states in force, and gives what nexuses learn: of a change of PREF too, for they have no other way
    /// to learn that they are to ask again.
    mutating func end() -> AdditionalSenseCode? {
        guard let next else { return nil }
        let isVisible = Set(records.keys).union(next.keys).contains { group in
            let (old, new) = (self[group], next[group] ?? initial(group))
            return old.state != new.state || old.isPreferred != new.isPreferred
        }
        records = next
        self.next = nil
        transitioning = []
        return isVisible ? .asymmetricAccessStateChanged : nil
    }
}
