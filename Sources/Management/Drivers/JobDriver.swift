public import Resources

public struct JobDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<DaemonJob>] {
        page.slice(controller.jobSummaries().map(Self.resource))
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<DaemonJob> {
        Self.resource(try controller.job(Int(name) ?? 0))
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        _ = try NoFields(arguments, of: action)
        let job = try controller.cancelJob(Int(name ?? "") ?? 0)
        return ["done": .text("job \(job.id) is to stop"), "job": Self.resource(job).json]
    }

    private static func resource(_ job: JobSummary) -> Resource<DaemonJob> {
        var status = DaemonJob.Status()
        status.work = "\(job.verb) \(job.kind) \(job.name)"
        status.state = job.state.rawValue
        status.progress = "\(job.done) of \(job.total) \(job.unit)"
        status.rate = job.rate
        status.remaining = job.remaining.map { Int($0.rounded()) }
        status.actor = job.actor
        status.asked = job.asked
        status.ended = job.ended
        status.canBeCancelled = job.canBeCancelled
        status.problem = job.problem
        return Resource(name: "\(job.id)", spec: NoFields(), status: status)
    }
}
