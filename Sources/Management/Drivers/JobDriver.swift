public import Resources

public struct JobDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<DaemonJob>] {
        page.slice(controller.jobSummaries().map(\.resource))
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<DaemonJob> {
        try controller.job(Int(name) ?? 0).resource
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        _ = try NoFields(arguments, of: action)
        let job = try controller.cancelJob(Int(name ?? "") ?? 0)
        return ["done": .text("job \(job.id) is to stop"), "job": job.resource.json]
    }
}

extension JobSummary {
    /// The job as the API shows it.
    public var resource: Resource<DaemonJob> {
        var status = DaemonJob.Status()
        status.work = work
        status.state = state.rawValue
        status.progress =
            unit == Self.bytes
            ? "\(ByteSize.format(Int64(done))) of \(ByteSize.format(Int64(total)))" : "\(done) of \(total) \(unit)"
        status.done = done
        status.total = total
        status.unit = unit
        status.rate = rate
        status.remaining = remaining.map { Int($0.rounded()) }
        status.actor = actor
        status.asked = asked
        status.ended = ended
        status.canBeCancelled = canBeCancelled
        status.problem = problem
        status.problemCode = problemCode?.rawValue
        return Resource(name: "\(id)", spec: NoFields(), status: status)
    }

    /// The unit of jobs that read or write so much.
    static var bytes: String { "bytes" }
}
