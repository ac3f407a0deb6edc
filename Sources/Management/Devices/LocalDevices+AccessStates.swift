import Platform
public import Resources
import TargetCore

// Through which portal groups the units that run let themselves be used.
extension LocalDevices {
    public func accessStates(ofUnit wanted: Int64?) -> [Int64: [AccessState.Group]] {
        let units = units.withLock { units in
            guard let wanted else { return units }
            return units[wanted].map { [wanted: $0] } ?? [:]
        }
        return units.mapValues { unit in
            unit.attachedNexuses.accessStates.map {
                AccessState.Group($0.record, isTransitioning: $0.isTransitioning)
            }
        }
    }

    public func setAccessState(
        _ wanted: AccessState.Group, ofUnit key: Int64, whenSet: @escaping @Sendable () -> Void
    ) -> AccessStateSetting? {
        guard let unit = units.withLock({ $0[key] }) else { return nil }
        let outcome = Outcome<AccessStateSetting>()
        // The end of a transition is a matter of any reactor that runs.
        unit.attachedNexuses.setAccessState(wanted.record, on: unit.homeReactor ?? reactors[0]) { found in
            let setting: AccessStateSetting =
                switch found {
                case .done: .set
                case .busy: .busy
                case .tooMany: .tooMany
                // The last is for initiators.
                case .unkept, .unreachable: .refused
                }
            if setting == .set { whenSet() }
            outcome.set(setting)
        }
        return outcome.wait(atMost: Limit.accessStateWait) ?? .waiting
    }
}

extension AccessState.Group {
    /// What is shown of a record.
    init(_ record: AccessStateRecord, isTransitioning: Bool) {
        self.init(group: Int(record.group))
        state =
            switch record.state {
            case .activeOptimized: .activeOptimized
            case .activeNonOptimized: .activeNonOptimized
            case .standby: .standby
            case .unavailable: .unavailable
            case .offline: .offline
            }
        changedBy =
            switch record.cause {
            case .none: .none
            case .explicit: .explicit
            case .implicit: .implicit
            }
        self.isTransitioning = isTransitioning
        isPreferred = record.isPreferred
        transition = Int(record.transitionTime)
    }

    /// The record that is wanted; its cause is whatever makes it.
    var record: AccessStateRecord {
        let state: AsymmetricAccessState =
            switch state {
            case .activeOptimized: .activeOptimized
            case .activeNonOptimized: .activeNonOptimized
            case .standby: .standby
            case .unavailable: .unavailable
            case .offline: .offline
            }
        return AccessStateRecord(
            group: UInt16(clamping: group), state: state, isPreferred: isPreferred,
            transitionTime: UInt8(clamping: transition))
    }
}
