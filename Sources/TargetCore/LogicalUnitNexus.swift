public import SCSI
internal import Synchronization

/// One I_T_L nexus: what a logical unit remembers for one initiator port.
///
/// Tasks and the task set belong to the session's reactor; unit attentions and the prevention of medium removal may
/// be changed by other threads.
public final class LogicalUnitNexus: Sendable {
    /// The most unit attentions that wait for one nexus. When more conditions arise, they are replaced by
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED, which covers them all (SAM-5 clause 5.14.4).
    public static let maximumUnitAttentions = 8

    /// The I_T nexus that this is a part of.
    public let iTNexus: ITNexus
    /// The logical unit.
    public let logicalUnit: LogicalUnit
    /// Its number in this nexus.
    public let logicalUnitNumber: LogicalUnitNumber

    private let attentions = Mutex<[AdditionalSenseCode]>([])
    private let hasAttention = Atomic<Bool>(false)
    private let prevention = Atomic<Bool>(false)
    /// The order of this nexus's own tasks; used when the unit is not serial. On the session's reactor only.
    let taskSet = ReactorConfined(TaskSet())
    /// State that a device type keeps for each nexus (for example a block length); on the session's reactor only.
    private let deviceState = ReactorConfined<(any AnyObject & Sendable)?>(nil)

    init(iTNexus: ITNexus, logicalUnit: LogicalUnit, logicalUnitNumber: LogicalUnitNumber) {
        self.iTNexus = iTNexus
        self.logicalUnit = logicalUnit
        self.logicalUnitNumber = logicalUnitNumber
    }

    // MARK: Unit attentions

    /// Whether a unit attention waits.
    public var hasUnitAttention: Bool { hasAttention.load(ordering: .acquiring) }

    /// Lets a unit attention wait for this nexus, once for each code.
    public func establishUnitAttention(_ code: AdditionalSenseCode) {
        attentions.withLock { waiting in
            guard !waiting.contains(code) else { return }
            if waiting.count >= Self.maximumUnitAttentions {
                waiting = [.powerOnOrReset]
            } else if code.code == AdditionalSenseCode.powerOnOrReset.code {
                // A reset has the highest priority (SAM-5 clause 5.14.4).
                waiting.insert(code, at: 0)
            } else {
                waiting.append(code)
            }
        }
        hasAttention.store(true, ordering: .releasing)
    }

    /// Takes the unit attention that comes first; nil when none waits.
    public func takeUnitAttention() -> AdditionalSenseCode? {
        guard hasUnitAttention else { return nil }
        return attentions.withLock { waiting in
            guard !waiting.isEmpty else { return nil }
            let first = waiting.removeFirst()
            if waiting.isEmpty { hasAttention.store(false, ordering: .releasing) }
            return first
        }
    }

    /// Drops a waiting unit attention that is no longer true.
    public func clearUnitAttention(_ code: AdditionalSenseCode) {
        attentions.withLock { waiting in
            waiting.removeAll { $0 == code }
            if waiting.isEmpty { hasAttention.store(false, ordering: .releasing) }
        }
    }

    // MARK: Prevention of medium removal (SPC-5 clause 6.14)

    /// Whether this nexus prevents the removal of the medium.
    public var preventsMediumRemoval: Bool {
        get { prevention.load(ordering: .acquiring) }
        set { prevention.store(newValue, ordering: .releasing) }
    }

    // MARK: Device state

    /// The state that the device type keeps for this nexus, made by `make` when there is none yet. On the session's
    /// reactor only.
    public func state<State: AnyObject & Sendable>(orMake make: () -> State) -> State {
        if let state = deviceState.value as? State { return state }
        let state = make()
        deviceState.value = state
        return state
    }
}

/// A value that only the code of one reactor touches, held by an object that other threads may reference.
///
/// The owner of the object keeps the promise; the class only gives it a name that can be found.
final class ReactorConfined<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) {
        self.value = value
    }
}
