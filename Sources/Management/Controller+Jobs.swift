public import Resources

// Jobs: what takes long.
extension Controller {
    /// The jobs that are under way and the last that have ended, by number.
    public func jobSummaries() -> [JobSummary] { jobs.summaries }

    /// The job with that number.
    public func job(_ id: Int) throws(ManagementError) -> JobSummary { try jobs.job(id).summary }

    /// Has the job with that number stop, and nothing of it stay; the job as it is then, which may take a moment more
    /// to end.
    public func cancelJob(_ id: Int) throws(ManagementError) -> JobSummary { try jobs.cancel(id) }

    /// The job with that number as it is now, then whenever it has got further, and at last as it ended. What is not
    /// read in time is left out, but never the end.
    public func followJob(_ id: Int) throws(ManagementError) -> AsyncStream<JobSummary> { try jobs.job(id).follow() }

    /// Waits until the job with that number has ended.
    ///
    /// - Throws: What the job failed with; and when the task is cancelled, which leaves the job alone.
    public func finish(_ id: Int) async throws(ManagementError) {
        let job = try jobs.job(id)
        for await _ in job.follow() {}
        if let failure = job.failure { throw failure }
        guard job.hasEnded else { throw ManagementError(.conflict, "nobody waits any more; job \(id) goes on") }
    }

    /// The same, but no longer than `patience` says; false when the job goes on.
    func finish(_ id: Int, _ patience: Patience) async throws(ManagementError) -> Bool {
        let job = try jobs.job(id)
        switch patience {
        case .none: return false
        case .unlimited: break
        case .seconds(let seconds):
            await withTaskGroup(of: Void.self) { group in
                group.addTask { for await _ in job.follow() {} }
                group.addTask { try? await Task.sleep(for: .seconds(seconds)) }
                await group.next()
                group.cancelAll()
            }
            guard job.hasEnded else { return false }
        }
        try await finish(id)
        return true
    }

    /// Starts a job that does `body` to the thing of that name, on a thread for jobs, when no other change has its
    /// name.
    func startJob(
        _ verb: String, _ kind: String, _ name: String, unit: String = "cartridges", total: Int,
        _ body: @escaping @Sendable (ControlPlane, Job) throws(ManagementError) -> Void
    ) throws(ManagementError) -> JobSummary {
        let subject = Job.Subject(verb: verb, kind: kind, name: name, unit: unit)
        return try jobs.start(subject, total: total) { [self] job async throws(ManagementError) in
            try await change(ChangeKey.device(name), in: .long) { plane throws(ManagementError) in
                job.begin()
                try body(plane, job)
            }
        }.summary
    }
}
