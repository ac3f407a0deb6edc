public import Resources

public struct EventDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Event>] {
        let (kind, thing) = (page.filters["kind"], page.filters["thing"])
        if let last = page.last {
            return try await controller.lastEvents(kind: kind, name: thing, limit: min(last, page.limit))
                .map(Self.resource)
        }
        return try await controller.events(
            after: page.after.flatMap { Int64($0) } ?? 0, kind: kind, name: thing, limit: page.limit
        ).map(Self.resource)
    }

    /// How long nothing comes before that is told.
    static let heartbeat = Duration.seconds(15)

    public func follow(_ page: Page) async throws(ManagementError) -> FollowedThings {
        let after = try page.after.map { text throws(ManagementError) in
            guard let number = Int64(text), number >= 0 else {
                throw ManagementError(.invalid, "'\(text)' is no number of an event", field: "after")
            }
            return number
        }
        return try await controller.followEvents(
            after: after, kind: page.filters["kind"], name: page.filters["thing"], heartbeat: Self.heartbeat
        ).map { event in
            switch event {
            case .event(let event): Self.resource(event).json
            case .silence: nil
            }
        }
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
