internal import Platform
internal import SCSI

/// The parameters of a logical unit that are kept, as they are in force. Any thread.
final class UnitParameters: Sendable {
    enum Limit {
        /// The most changes that wait until those before them are kept; more are refused with BUSY.
        static let waiting = 64
    }

    /// What became of a change.
    enum Outcome: Sendable {
        /// It is in force, and durable where something keeps it.
        case kept
        /// Too many wait.
        case busy
        /// It could not be kept, and is not in force.
        case unkept
    }

    private struct State {
        var values: [KeptParameter: [UInt8]] = [:]
        var keeper: (any ParameterKeeper)?
        var waiting = 0
    }
    private let state = Lock(State())

    /// Whether something keeps them.
    var isKept: Bool { state.withLock { $0.keeper != nil } }

    /// The value; empty when there is none.
    subscript(parameter: KeptParameter) -> [UInt8] { state.withLock { $0.values[parameter] ?? [] } }

    /// All values of a kind, by their numbers.
    func all(_ kind: KeptParameter.Kind) -> [(number: UInt16, value: [UInt8])] {
        state.withLock { $0.values.filter { $0.key.kind == kind } }.map { ($0.key.number, $0.value) }
            .sorted { $0.0 < $1.0 }
    }

    /// Puts what `keeper` has in force, and has it keep what comes.
    func begin(_ keeper: any ParameterKeeper) {
        let kept = keeper.kept
        state.withLock { state in
            state.keeper = keeper
            state.values = kept
        }
    }

    /// Puts `values` in force when they are durable, and calls `completion`, now or later on any thread. An empty value
    /// removes.
    func change(_ values: [KeptParameter: [UInt8]], _ completion: @escaping @Sendable (Outcome) -> Void) {
        let (keeper, isFull) = state.withLock { state -> ((any ParameterKeeper)?, Bool) in
            guard state.keeper != nil, state.waiting < Limit.waiting else { return (nil, state.keeper != nil) }
            state.waiting += 1
            return (state.keeper, false)
        }
        guard !isFull else { return completion(.busy) }
        guard let keeper else {
            install(values)
            return completion(.kept)
        }
        keeper.keep(values) { [self] isKept in
            state.withLock { $0.waiting -= 1 }
            if isKept { install(values) }
            completion(isKept ? .kept : .unkept)
        }
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
    /// called, on any thread, also when the command has been aborted meanwhile; what cannot be kept is refused with
    /// INTERNAL TARGET FAILURE, and has changed nothing.
    func keep(
        _ values: [KeptParameter: [UInt8]], for task: SCSITask, whenKept: @escaping @Sendable () -> Void = {},
        then next: @escaping @Sendable (SCSITask, ITLNexus) -> CommandProgress
    ) -> CommandProgress {
        let reactor = task.reactor
        return task.wait { [parameters] wait in
            parameters.change(values) { outcome in
                if case .kept = outcome { whenKept() }
                reactor.postCompletion {
                    wait.resume { task, nexus in
                        switch outcome {
                        case .kept: next(task, nexus)
                        case .busy: task.end(.busy)
                        case .unkept: task.fail(.hardwareError, .internalTargetFailure)
                        }
                    }
                }
            }
        }
    }
}
