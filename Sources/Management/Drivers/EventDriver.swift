public import Resources

public struct EventDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Event>] {
        if let last = page.last {
            return try await controller.lastEvents(limit: min(last, page.limit)).map(Self.resource)
        }
        return try await controller.events(after: page.after.flatMap { Int64($0) } ?? 0, limit: page.limit)
            .map(Self.resource)
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Event> {
        let number = Int64(name) ?? 0
        guard let event = try await controller.events(after: number - 1, limit: 1).first, event.id == number else {
            throw ManagementError(
                .notFound, "there is no event \(name); 'carousel event list' shows those that are kept")
        }
        return Self.resource(event)
    }

    private static func resource(_ event: EventSummary) -> Resource<Event> {
        var status = Event.Status()
        status.time = event.time
        status.actor = event.actor
        status.verb = event.verb
        status.kind = event.kind
        status.thing = event.name
        status.old = event.old?.serialized
        status.new = event.new?.serialized
        return Resource(name: "\(event.id)", spec: NoFields(), status: status)
    }
}
