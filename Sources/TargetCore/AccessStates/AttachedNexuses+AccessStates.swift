public import Platform
internal import SCSI

/// The access state through one target port group, for those who show it.
public struct AccessStateSummary: Hashable, Sendable {
    public let record: AccessStateRecord
    /// Whether a transition to the state of the record has not ended.
    public let isTransitioning: Bool
}

// Changes of access states (SPC-5 clause 5.16.2.5): durable first, then in force or in transition, then answered. One
// at a time for each unit.
extension AttachedNexuses {
    /// The most target port groups of a unit that have states of their own.
    public static let accessStateLimit = 256

    /// Puts what `keeper` has in force, and has it keep what comes. Before the unit is offered.
    public func keepAccessStates(with keeper: any AccessStateKeeper) {
        changeTargetPortGroups { groups in
            groups = TargetPortGroups(keeper: keeper)
            return ((), nil)
        }
    }

    /// The access states of those target port groups that have, or had, another one than active/optimized.
    public var accessStates: [AccessStateSummary] {
        let groups = targetPortGroups
        return groups.known.map {
            AccessStateSummary(record: $0, isTransitioning: groups.isTransitioning($0.group))
        }
    }

    /// Changes the access state of a target port group for somebody who is no initiator; the record's cause is not
    /// looked at. `completion` is called, now or later on any thread, when it is durable, and in force or in
    /// transition: that ends on `reactor`, which may be any. All nexuses learn of it then, or that it has failed.
    public func setAccessState(
        _ record: AccessStateRecord, on reactor: Reactor,
        completion: @escaping @Sendable (AccessStateOutcome) -> Void
    ) {
        changeAccessStates(.implicit(record), of: nil, on: reactor, completion)
    }

    /// The same for whoever it is; `nexus` is that of the SET TARGET PORT GROUPS, which learns of the change by its
    /// answer alone.
    func changeAccessStates(
        _ change: AccessStateChange, of nexus: ITLNexus?, on reactor: Reactor,
        _ completion: @escaping @Sendable (AccessStateOutcome) -> Void
    ) {
        switch changeTargetPortGroups({ ($0.begin(change), nil) }) {
        case .ended(let outcome): completion(outcome)
        case .enter: enter(nexus, reactor, completion)
        case .keep(let keeper, let records):
            keeper.keep(records) { [self] isKept in
                if isKept { return enter(nexus, reactor, completion) }
                changeTargetPortGroups { groups in
                    groups.fail()
                    // Who has asked explicitly is told by the answer (SPC-5 clause 5.16.2.5).
                    return ((), nexus == nil ? .implicitAsymmetricAccessStateTransitionFailed : nil)
                }
                completion(.unkept)
            }
        }
    }

    private func enter(
        _ nexus: ITLNexus?, _ reactor: Reactor, _ completion: @Sendable (AccessStateOutcome) -> Void
    ) {
        let time = changeTargetPortGroups(except: nexus) { groups in
            let (time, attention) = groups.enter()
            return (time, attention)
        }
        if let time {
            // The nexus may be lost meanwhile.
            let transition = Transition { [self, weak nexus] in
                changeTargetPortGroups(except: nexus) { ((), $0.end()) }
            }
            let isPosted = reactor.postCompletion { transition.begin(on: reactor, time) }
            // A reactor that is stopping has no time left, and nobody who asks.
            if !isPosted { transition.timerFired(0) }
        }
        completion(.done)
    }
}

/// The time of a transition.
private final class Transition: TimerHandler, Sendable {
    private let whenOver: @Sendable () -> Void

    init(whenOver: @escaping @Sendable () -> Void) { self.whenOver = whenOver }

    /// On the reactor. Where it has no timer left, the transition is over.
    func begin(on reactor: Reactor, _ seconds: UInt8) {
        if reactor.schedule(after: .seconds(Int(seconds)), self, token: 0) == nil { whenOver() }
    }

    func timerFired(_ token: UInt64) { whenOver() }
}
