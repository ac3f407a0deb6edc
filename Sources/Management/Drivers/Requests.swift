import Platform
public import Resources

/// How long one who asks for a job waits for its end before it is told of the job.
public enum Patience: Sendable, Hashable {
    case none
    case seconds(Int)
    case unlimited
}

/// How something is asked for.
public struct RequestOptions: Sendable, Hashable {
    /// Whether somebody may see more than before; that is refused otherwise.
    public var mayWiden: Bool
    /// Whether everything is checked, and nothing changed.
    public var isDryRun: Bool
    /// How long to wait where it is a job.
    public var patience: Patience
    /// The generations one of which the thing has to have; it is not changed otherwise. Nil for any.
    public var generations: Set<Int64>?

    public init(
        mayWiden: Bool = false, isDryRun: Bool = false, patience: Patience = .unlimited,
        generations: Set<Int64>? = nil
    ) {
        self.mayWiden = mayWiden
        self.isDryRun = isDryRun
        self.patience = patience
        self.generations = generations
    }
}

/// What became of a request.
public enum RequestOutcome: Sendable, Hashable {
    /// It is done: the thing as it is now; nil when it has gone.
    case done(JSONValue?)
    /// This job goes on with it.
    case started(JSONValue)
    /// It was a dry run, and would be done: the thing as it would be, or as it is before it is deleted.
    case possible(JSONValue)
}

/// A request that is only to be tried: the change is begun, with all of its checks, and ends where it would first have
/// an effect. Every effect asks for that: each transaction of the catalog, each change of a file, each job, and what
/// changes devices before it changes the catalog.
final class DryRun: Sendable {
    /// The one on whose behalf the present task or thread works.
    @TaskLocal static var current: DryRun?

    private let state = Lock(false)

    /// Whether all checks were passed.
    var isPassed: Bool { state.withLock { $0 } }

    /// Called before each effect (`Effect.begin`), and each job: ends a dry run there.
    static func endBeforeEffect() throws(ManagementError) {
        guard let current else { return }
        current.state.withLock { $0 = true }
        throw ManagementError(.internal, "it was a dry run, which changes nothing")
    }

    /// Tries `body`.
    ///
    /// - Throws: The refusal of a check. A change that has nothing to do passes, too.
    static func of(_ body: () async throws(ManagementError) -> Void) async throws(ManagementError) {
        let run = DryRun()
        let refusal: ManagementError? = await $current.withValue(run) {
            do throws(ManagementError) {
                try await body()
                return nil
            } catch {
                return error
            }
        }
        if let refusal, !run.isPassed { throw refusal }
    }
}
