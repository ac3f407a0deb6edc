import Platform
import Resources

/// The jobs of the daemon: those that are under way, and the last that have ended.
final class JobRegistry: Sendable {
    /// The most jobs that wait or run.
    static let maximumJobs = 64
    /// How many of those that have ended are kept; the first to end go first.
    static let maximumEnded = 100

    private struct State {
        var jobs: [Int: Job] = [:]
        /// Those that have ended, in that order.
        var ended: [Int] = []
        var lastID = 0
        var tasks: [Int: Task<Void, Never>] = [:]
    }

    private let state = Lock(State())

    /// Starts a job that does `work`, on behalf of the present requester. `work` runs the job to its end, by a
    /// `KeyedQueue`.
    func start(
        _ subject: Job.Subject, total: Int,
        _ work: @escaping @Sendable (Job) async throws(ManagementError) -> Void
    ) throws(ManagementError) -> Job {
        try DryRun.endBeforeEffect()
        let actor = Requester.current
        let made: Job? = state.withLock { state in
            guard state.jobs.count - state.ended.count < Self.maximumJobs else { return nil }
            state.lastID += 1
            let job = Job(id: state.lastID, subject: subject, actor: actor, total: total)
            state.jobs[job.id] = job
            return job
        }
        guard let job = made else {
            throw ManagementError(
                .system, "\(Self.maximumJobs) jobs are under way already; wait until one has ended, or cancel one")
        }
        let task = Task {
            var failure: ManagementError?
            do throws(ManagementError) {
                try await work(job)
            } catch {
                failure = error
            }
            // First, so that they are kept in the order in which those who wait for them hear of their ends.
            self.forget(job.id)
            job.end(failure)
        }
        state.withLock { state in
            if !state.ended.contains(job.id) { state.tasks[job.id] = task }
        }
        return job
    }

    /// The jobs, by number.
    var summaries: [JobSummary] {
        state.withLock { $0.jobs.values.map { $0 } }.map(\.summary).sorted { $0.id < $1.id }
    }

    /// The job with that number.
    func job(_ id: Int) throws(ManagementError) -> Job {
        guard let job = state.withLock({ $0.jobs[id] }) else {
            throw ManagementError(
                .notFound, "there is no job \(id), or it has ended and \(Self.maximumEnded) others after it")
        }
        return job
    }

    /// Has the job with that number stop, and nothing of it stay.
    func cancel(_ id: Int) throws(ManagementError) -> JobSummary {
        let job = try job(id)
        guard job.stop(Job.wasCancelled) else {
            throw ManagementError(
                .conflict,
                job.hasEnded
                    ? "job \(id) has ended already"
                    : "job \(id), \(job.summary.work), cannot be taken back any more")
        }
        // One that waits never begins.
        state.withLock { $0.tasks[id] }?.cancel()
        return job.summary
    }

    /// Has all jobs stop that can: the daemon stops.
    func stopAll(_ reason: ManagementError) {
        for job in state.withLock({ $0.jobs.values.map { $0 } }) { _ = job.stop(reason) }
    }

    private func forget(_ id: Int) {
        state.withLock { state in
            state.tasks[id] = nil
            state.ended.append(id)
            guard state.ended.count > Self.maximumEnded else { return }
            state.jobs[state.ended.removeFirst()] = nil
        }
    }
}
