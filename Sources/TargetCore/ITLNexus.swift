internal import Platform
public import SCSI
internal import Synchronization

/// One I_T_L nexus: what a logical unit remembers for one initiator port.
///
/// Tasks and the task set belong to the session's reactor; the conditions of the gate may be changed by other threads.
/// There may be ten thousand in a session, so it is one small object.
public final class ITLNexus: @unchecked Sendable {
    /// The most unit attentions that are pending for one nexus. When more conditions arise, they are replaced by
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED, which covers them all (SAM-5 clause 5.14.4).
    public static let maximumUnitAttentions = 8

    /// The I_T nexus that this is a part of.
    public let iTNexus: ITNexus
    public let logicalUnit: LogicalUnit
    public let logicalUnitNumber: LogicalUnitNumber
    /// The way to the unit when it lives on another reactor: everything about this nexus happens at its other end.
    let relay: Relay?
    /// Counts for the unit, where its commands are performed; nil at the near end of a relay, and without a unit.
    let unitCounters: CommandCounters?
    /// Counts for the I_T nexus; nil at the far end of a relay.
    let nexusCounters: CommandCounters?

    /// The conditions that stop commands, in one word.
    private let gate = Atomic<UInt32>(0)
    private let attentions = Lock(UnitAttentions())
    private let deferred = Lock<SenseData?>(nil)
    private let prevention = Atomic<Bool>(false)
    private let bufferedWrites = Atomic<Bool>(false)
    /// The order of this nexus's own tasks. On the session's reactor only.
    let taskSet = TaskSet()
    /// State that a device type keeps for each nexus (for example a block length); on the session's reactor only.
    private var deviceState: (any AnyObject & Sendable)?
    /// Whether a function that clears the logical unit has ended tasks of the nexus that it has not been told of. On
    /// the session's reactor only.
    var hasLostTask = false
    /// The position in the unit's list of nexuses, which its lock guards; negative when it is not there.
    var listPosition = -1

    init(
        iTNexus: ITNexus, logicalUnit: LogicalUnit, logicalUnitNumber: LogicalUnitNumber, relay: Relay? = nil,
        unitCounters: CommandCounters? = nil
    ) {
        self.iTNexus = iTNexus
        self.logicalUnit = logicalUnit
        self.logicalUnitNumber = logicalUnitNumber
        self.relay = relay
        self.unitCounters = unitCounters
        nexusCounters = iTNexus.counters
    }

    // MARK: The gate

    /// The conditions that hold now.
    var conditions: GateConditions { GateConditions(rawValue: gate.load(ordering: .acquiring)) }

    func raise(_ conditions: GateConditions) {
        gate.bitwiseOr(conditions.rawValue, ordering: .acquiringAndReleasing)
    }

    func lower(_ conditions: GateConditions) {
        gate.bitwiseAnd(~conditions.rawValue, ordering: .acquiringAndReleasing)
    }

    // MARK: Unit attentions

    /// Whether a unit attention is pending.
    public var hasUnitAttention: Bool { conditions.contains(.unitAttention) }

    /// Establishes a unit attention for this nexus, once for each code.
    public func establishUnitAttention(_ code: AdditionalSenseCode) {
        attentions.withLock { pending in
            pending.add(code)
            raise(.unitAttention)
        }
    }

    /// The unit attention that is reported first, which stays pending.
    var firstUnitAttention: AdditionalSenseCode? { attentions.withLock { $0.first } }

    /// The pending deferred error, which stays pending.
    var firstDeferredError: SenseData? { deferred.withLock { $0 } }

    /// Takes the unit attention that is reported first; nil when none is pending.
    public func takeUnitAttention() -> AdditionalSenseCode? {
        guard hasUnitAttention else { return nil }
        return attentions.withLock { pending in
            let first = pending.takeFirst()
            if pending.isEmpty { lower(.unitAttention) }
            return first
        }
    }

    /// The unit attention that is reported first, which is cleared unless UA_INTLCK_CTRL keeps it; nil when none is
    /// pending.
    func reportUnitAttention() -> AdditionalSenseCode? {
        logicalUnit.control.unitAttentionInterlock == .clears ? takeUnitAttention() : firstUnitAttention
    }

    /// Clears a pending unit attention that is no longer true.
    public func clearUnitAttention(_ code: AdditionalSenseCode) {
        attentions.withLock { pending in
            pending.remove(code)
            if pending.isEmpty { lower(.unitAttention) }
        }
    }

    // MARK: Prevention of medium removal (SPC-5 clause 6.14)

    public var preventsMediumRemoval: Bool {
        get { prevention.load(ordering: .acquiring) }
        set { prevention.store(newValue, ordering: .releasing) }
    }

    // MARK: Deferred errors (SPC-5 clause 4.4.7)

    /// Whether a write command of this nexus ended with GOOD whose data a durable end of a command has not covered
    /// since: the device server sets it with each such command, and clears it when the nexus's own durable end
    /// succeeds. Whoever loses buffered data on any thread reads it to find the nexuses that are concerned.
    public var hasBufferedWrites: Bool {
        get { bufferedWrites.load(ordering: .relaxed) }
        set { bufferedWrites.store(newValue, ordering: .relaxed) }
    }

    /// Whether a deferred error is pending.
    public var hasDeferredError: Bool { conditions.contains(.deferredError) }

    /// Establishes a deferred error: `sense` describes what became of earlier commands of this nexus that ended with
    /// GOOD. The next command that is not INQUIRY, REPORT LUNS or REQUEST SENSE ends with CHECK CONDITION and `sense`
    /// in the deferred form (response code 71h or 73h) and is not performed; REQUEST SENSE reports it as parameter
    /// data. One is kept: the first, as the later ones follow from it. Any thread.
    public func establishDeferredError(_ sense: SenseData) {
        deferred.withLock { pending in
            guard pending == nil else { return }
            pending = sense.deferred
            raise(.deferredError)
        }
    }

    /// Takes the pending deferred error, which is then reported.
    public func takeDeferredError() -> SenseData? {
        guard hasDeferredError else { return nil }
        return deferred.withLock { pending in
            lower(.deferredError)
            return pending.take()
        }
    }

    // MARK: Device state

    /// The state that the device type keeps for this nexus, made by `make` when there is none yet. On the session's
    /// reactor only.
    public func state<State: AnyObject & Sendable>(orMake make: () -> State) -> State {
        if let state = deviceState as? State { return state }
        let state = make()
        deviceState = state
        return state
    }
}

/// The unit attentions that are pending for one nexus, in the order in which they are reported; without memory of its
/// own.
private struct UnitAttentions {
    private var codes = InlineArray<8, AdditionalSenseCode>(repeating: .powerOnOrReset)
    private var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func add(_ code: AdditionalSenseCode) {
        for index in 0..<count where codes[index] == code { return }
        if count >= ITLNexus.maximumUnitAttentions {
            codes[0] = .powerOnOrReset
            count = 1
        } else if code.code == AdditionalSenseCode.powerOnOrReset.code {
            // A reset has the highest priority (SAM-5 clause 5.14.4).
            for index in stride(from: count, to: 0, by: -1) { codes[index] = codes[index - 1] }
            codes[0] = code
            count += 1
        } else {
            codes[count] = code
            count += 1
        }
    }

    var first: AdditionalSenseCode? { count > 0 ? codes[0] : nil }

    mutating func takeFirst() -> AdditionalSenseCode? {
        guard let first else { return nil }
        remove(first)
        return first
    }

    mutating func remove(_ code: AdditionalSenseCode) {
        var kept = 0
        for index in 0..<count where codes[index] != code {
            codes[kept] = codes[index]
            kept += 1
        }
        count = kept
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

    /// Changes the value as a copy that is put back; `placeholder` stands for it meanwhile, so that the copy is the
    /// only one. Every command reads it, and a change in place would have all accesses checked: see "Exclusive access"
    /// in Performance.
    func change(leaving placeholder: Value, _ body: (inout Value) -> Void) {
        var changed = value
        value = placeholder
        body(&changed)
        value = changed
    }
}
