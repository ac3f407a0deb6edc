public import Resources

// What was counted.
extension Controller {
    /// What was counted since the daemon started, and the state of this moment. It waits for no change and no file;
    /// what is said about space is of the last time that somebody asked, or older, and there is none the first time.
    public func statistics() async throws(ManagementError) -> DaemonStatistics {
        if survey.begins() {
            let look = SingleFlight { [survey] figures in survey.end(figures) }
            Task {
                try? await query(in: .long) { plane throws(ManagementError) in look.result = try plane.space() }
            }
        }
        let (jobs, space) = (jobs.summaries, survey.figures)
        return try await query { plane throws(ManagementError) in plane.statistics(jobs: jobs, space: space) }
    }
}
