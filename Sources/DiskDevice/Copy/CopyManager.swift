internal import Media
public import Platform
internal import SCSI
public import TargetCore

/// What the copy managers of all disks of a daemon share: the disks that copies find, the operations under way, their
/// results, and the ROD tokens.
///
/// Each disk contains a copy manager (SPC-5 clause 5.17.2) that processes third-party copy commands; this is the way
/// from one to another. Any thread may call any method.
public final class CopyManager: Sendable {
    private struct ResultKey: Hashable {
        let nexus: ObjectIdentifier
        let identifier: UInt32
    }

    private struct Running {
        let operation: CopyOperation
        /// Its logical unit was reset: nothing is kept of it.
        var isForgotten = false
    }

    /// A disk that copies find. It ends without being removed where the daemon ends: a disk keeps this object.
    private struct FoundUnit {
        weak var unit: LogicalUnit?
    }

    private struct State {
        /// The disks by their NAA identifiers.
        var units: [UInt64: FoundUnit] = [:]
        /// The operations under way, by task.
        var running: [ObjectIdentifier: Running] = [:]
        var results: [ResultKey: CopyResult] = [:]
        /// The keys of `results`, the oldest first.
        var order: [ResultKey] = []
    }

    private let state = Lock(State())
    /// The ROD tokens of all disks.
    let tokens: RODTokens

    /// No disk yet. The lifetimes of ROD tokens are measured by `clock`.
    public init(clock: MonotonicClock = .system) {
        tokens = RODTokens(clock: clock)
    }

    // MARK: Disks

    /// Has copies find a disk from now on, by its NAA identifier. False when another has the same.
    @discardableResult
    public func add(_ unit: LogicalUnit) -> Bool {
        state.withLock { state in
            let naa = unit.identity.naa
            if let present = state.units[naa]?.unit, present !== unit { return false }
            state.units[naa] = FoundUnit(unit: unit)
            return true
        }
    }

    /// Has copies find a disk no longer. Those that use it end with its next piece; its ROD tokens become invalid.
    public func remove(_ unit: LogicalUnit) {
        state.withLock { state in
            let naa = unit.identity.naa
            if state.units[naa]?.unit === unit { state.units[naa] = nil }
        }
        if let disk = unit.server as? DiskDeviceServer { disk.representedBlocks.cancelAll() }
    }

    /// The disk with that identifier.
    func unit(naa: UInt64) -> LogicalUnit? { state.withLock { $0.units[naa]?.unit } }

    // MARK: Operations

    /// Why an operation does not begin.
    enum Refusal {
        /// As many are under way as there may be.
        case limit
        /// One of the nexus has the same list identifier, and was originated by that service action.
        case duplicate(serviceAction: UInt8)
    }

    /// Takes an operation of `task` in; what is kept under its list identifier goes. Nil when it may begin.
    func begin(_ operation: CopyOperation, of task: SCSITask) -> Refusal? {
        state.withLock { state in
            let nexus = operation.nexus
            let others = state.running.values.map(\.operation)
            if let identifier = operation.identifier,
                let same = others.first(where: { $0.nexus === nexus && $0.identifier == identifier })
            {
                return .duplicate(serviceAction: same.serviceAction)
            }
            let unit = nexus.logicalUnit
            guard others.count < CopyLimit.concurrent,
                others.count(where: { $0.nexus.logicalUnit === unit }) < CopyLimit.concurrentOfUnit
            else { return .limit }
            state.running[ObjectIdentifier(task)] = Running(operation: operation)
            if let identifier = operation.identifier {
                Self.remove(ResultKey(nexus: ObjectIdentifier(nexus), identifier: identifier), &state)
            }
            return nil
        }
    }

    /// The operation of a task.
    func operation(of task: SCSITask) -> CopyOperation? {
        state.withLock { $0.running[ObjectIdentifier(task)]?.operation }
    }

    /// The operation of a nexus that is under way with that list identifier. On the reactor of the nexus.
    func operation(_ identifier: UInt32, of nexus: ITLNexus) -> CopyOperation? {
        state.withLock { state in
            state.running.values.first { $0.operation.nexus === nexus && $0.operation.identifier == identifier }?
                .operation
        }
    }

    /// The operation of a task has ended. What is told of it is kept, if it has a list identifier and its nexus is
    /// still there.
    func end(_ task: SCSITask, _ result: CopyResult) {
        let ended = state.withLock { $0.running.removeValue(forKey: ObjectIdentifier(task)) }
        guard let ended, !ended.isForgotten, let identifier = ended.operation.identifier,
            ended.operation.nexus.isAttached
        else { return }
        let operation = ended.operation
        let key = ResultKey(nexus: ObjectIdentifier(operation.nexus), identifier: identifier)
        state.withLock { state in
            Self.remove(key, &state)
            let own = state.order.filter { $0.nexus == key.nexus }
            if own.count >= CopyLimit.resultsOfNexus, let oldest = own.first { Self.remove(oldest, &state) }
            if state.order.count >= CopyLimit.results, let oldest = state.order.first { Self.remove(oldest, &state) }
            state.results[key] = result
            state.order.append(key)
        }
    }

    /// The operation of a task has not begun after all.
    func withdraw(_ task: SCSITask) {
        state.withLock { $0.running[ObjectIdentifier(task)] = nil }
    }

    private static func remove(_ key: ResultKey, _ state: inout State) {
        guard state.results.removeValue(forKey: key) != nil else { return }
        state.order.removeAll { $0 == key }
    }

    // MARK: Results

    /// What is kept under a list identifier of a nexus.
    func result(_ identifier: UInt32, of nexus: ITLNexus) -> CopyResult? {
        state.withLock { $0.results[ResultKey(nexus: ObjectIdentifier(nexus), identifier: identifier)] }
    }

    /// Changes what is kept under a list identifier of a nexus.
    func changeResult(_ identifier: UInt32, of nexus: ITLNexus, _ body: (inout CopyResult) -> Void) {
        state.withLock { state in
            let key = ResultKey(nexus: ObjectIdentifier(nexus), identifier: identifier)
            guard var result = state.results[key] else { return }
            body(&result)
            state.results[key] = result
        }
    }

    /// Forgets the results of nexuses that are lost, or whose logical unit was reset.
    func forgetResults(of nexuses: [ITLNexus]) {
        let gone = Set(nexuses.map(ObjectIdentifier.init))
        state.withLock { state in
            for (task, running) in state.running where gone.contains(ObjectIdentifier(running.operation.nexus)) {
                state.running[task]?.isForgotten = true
            }
            guard !state.results.isEmpty else { return }
            for key in state.order where gone.contains(key.nexus) { state.results[key] = nil }
            state.order.removeAll { gone.contains($0.nexus) }
        }
    }
}
