internal import Platform
internal import SCSI

/// The parameters of a logical unit that are kept, as they are in force. Any thread.
final class UnitParameters: Sendable {
    enum Limit {
        /// The most changes that wait for those before them; more are refused with BUSY.
        static let waiting = 64
    }

    /// What parameters become.
    typealias Values = @Sendable () -> [KeptParameter: [UInt8]]

    /// What became of a change.
    enum Outcome: Sendable {
        /// These values are in force, and durable where something keeps them.
        case kept([KeptParameter: [UInt8]])
        /// Too many wait.
        case busy
        /// It could not be kept, and is not in force.
        case unkept
    }

    private struct Change: Sendable {
        let values: Values
        let completion: @Sendable (Outcome, _ proceed: @escaping @Sendable () -> Void) -> Void
    }

    private struct State {
        var values: [KeptParameter: [UInt8]] = [:]
        var keeper: (any ParameterKeeper)?
        /// The changes that have not ended; the first is under way.
        var changes: [Change] = []
    }
    private let state = Lock(State())

    /// Whether something keeps them, and has read what it has.
    var isKept: Bool { state.withLock { $0.keeper?.isReadable == true } }

    /// The value; empty when there is none.
    subscript(parameter: KeptParameter) -> [UInt8] { state.withLock { $0.values[parameter] ?? [] } }

    /// All values of a kind, by their numbers.
    func all(_ kind: KeptParameter.Kind) -> [(number: UInt16, value: [UInt8])] {
        state.withLock { $0.values.filter { $0.key.kind == kind } }.map { ($0.key.number, $0.value) }
            .sorted { $0.0 < $1.0 }
    }

    /// Puts what `keeper` has in force, as far as it fits, and has it keep what comes.
    func begin(_ keeper: any ParameterKeeper) {
        let kept = Self.fitting(keeper.kept)
        state.withLock { state in
            state.keeper = keeper
            state.values = kept
        }
    }

    /// Those of `kept` that commands could have set; log pages and answers have no room for others.
    private static func fitting(_ kept: [KeptParameter: [UInt8]]) -> [KeptParameter: [UInt8]] {
        kept.filter { parameter, value in
            switch parameter.kind {
            case .applicationLog:
                LogicalUnit.ApplicationLog.codes.contains(parameter.number)
                    && value.count <= LogicalUnit.ApplicationLog.length
            case .identifyingInformation:
                value.count <= LogicalUnit.InformationType(rawValue: parameter.number)?.limit ?? 0
            case .microcode:
                value.count == (parameter.number == 0 ? Microcode.revisionLength : Microcode.Deferred.encodedLength)
            case .selfTests: value.count <= LogicalUnit.selfTestLimit * LogicalUnit.selfTestResultLength
            // Their lengths are checked where they are put in force.
            case .modePage, .logCounters: true
            }
        }
    }

    /// Puts `values` in force when they are durable; an empty value removes. One change is made after another: `values`
    /// is asked when those before have ended, and this one ends when `completion`, which is called now or later on any
    /// thread, has had `proceed` called.
    func change(
        _ values: @escaping Values,
        _ completion: @escaping @Sendable (Outcome, _ proceed: @escaping @Sendable () -> Void) -> Void
    ) {
        let count = state.withLock { state in
            guard state.changes.count < Limit.waiting else { return 0 }
            state.changes.append(Change(values: values, completion: completion))
            return state.changes.count
        }
        if count == 0 { return completion(.busy, {}) }
        if count == 1 { performFirst() }
    }

    private func performFirst() {
        let (first, keeper) = state.withLock { ($0.changes.first, $0.keeper) }
        guard let first else { return }
        let values = first.values()
        guard let keeper else {
            install(values)
            return first.completion(.kept(values), endFirst)
        }
        keeper.keep(values) { [self] isKept in
            if isKept { install(values) }
            first.completion(isKept ? .kept(values) : .unkept, endFirst)
        }
    }

    private func endFirst() {
        state.withLock { _ = $0.changes.removeFirst() }
        performFirst()
    }

    private func install(_ values: [KeptParameter: [UInt8]]) {
        state.withLock { state in
            for (parameter, value) in values { state.values[parameter] = value.isEmpty ? nil : value }
        }
    }
}

extension LogicalUnit {
    /// Puts what `keeper` has in force, and has it keep what comes: saved mode pages and log counters, identifying
    /// information, the Application Client log page, results of self-tests. Before the unit is offered.
    public func keepParameters(with keeper: any ParameterKeeper) {
        parameters.begin(keeper)
        logs.restore(parameters[KeptParameter(.logCounters)])
        restoreMicrocode()
        // What a serial unit's pages have an effect on belongs to its reactor, and no command is there before this.
        if let homeReactor {
            homeReactor.postCompletion { [self] in restoreModePages() }
        } else {
            restoreModePages()
        }
    }

    private func restoreModePages() {
        for page in server.modePages.all {
            server.modePages.restoreSaved(page, parameters[.modePage(page)]) { modePageChanged($0) }
        }
        configurePower()
    }

    /// Has the command keep `values` and go on with `next`: `return keep(…)`. When they are durable `whenKept` is
    /// called with them, on any thread, also when the command has been aborted meanwhile; what cannot be kept is
    /// refused with INTERNAL TARGET FAILURE or BUSY after `whenRefused`, and has changed nothing. The next change of
    /// the unit begins when `next` has returned.
    func keep(
        for task: SCSITask, _ values: @escaping UnitParameters.Values,
        whenKept: @escaping @Sendable ([KeptParameter: [UInt8]]) -> Void = { _ in },
        whenRefused: @escaping @Sendable () -> Void = {},
        then next: @escaping @Sendable (SCSITask, ITLNexus) -> CommandProgress
    ) -> CommandProgress {
        let reactor = task.reactor
        return task.wait { [parameters] wait in
            parameters.change(values) { outcome, proceed in
                if case .kept(let values) = outcome { whenKept(values) } else { whenRefused() }
                let isAccepted = reactor.postCompletion {
                    wait.resume { task, nexus in
                        switch outcome {
                        case .kept: next(task, nexus)
                        case .busy: task.end(.busy)
                        case .unkept: task.fail(.hardwareError, .internalTargetFailure)
                        }
                    }
                    proceed()
                }
                // A reactor that is stopping answers nobody any more.
                if !isAccepted { proceed() }
            }
        }
    }
}
