public import Resources

public struct EventDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    /// What events are about beside the things of the tables.
    private static let otherKinds = ["access", "configuration"]
    /// The words that events have for kinds: `initiatorGroup`.
    static let kinds: Set<String> = Set(
        Registry.kinds.map { kind in
            let words = kind.description.singular.split(separator: " ")
            return words.dropFirst().reduce(String(words.first ?? "")) {
                $0 + $1.prefix(1).uppercased() + $1.dropFirst()
            }
        } + otherKinds)

    /// The kind that is asked for; nil for all.
    private static func kind(_ page: Page) throws(ManagementError) -> String? {
        guard let kind = page.filters["kind"] else { return nil }
        guard kinds.contains(kind) else {
            throw ManagementError(
                .invalid, "there are no events of kind '\(kind)'; kinds are \(kinds.sorted().joined(separator: ", "))",
                field: "kind")
        }
        return kind
    }

    /// The number of the event that is asked for what is behind it.
    private static func after(_ page: Page) throws(ManagementError) -> Int64? {
        guard let text = page.after else { return nil }
        guard let number = PlainNumber.parse(text, as: Int64.self), number >= 0 else {
            throw ManagementError(.invalid, "'\(text)' is no number of an event", field: "after")
        }
        return number
    }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Event>] {
        let (kind, thing) = (try Self.kind(page), page.filters["thing"])
        if let last = page.last {
            return try await controller.lastEvents(kind: kind, name: thing, limit: min(last, page.limit))
                .map(Self.resource)
        }
        return try await controller.events(
            after: try Self.after(page) ?? 0, kind: kind, name: thing, limit: page.limit
        ).map(Self.resource)
    }

    /// How long nothing comes before that is told.
    static let heartbeat = Duration.seconds(15)

    public func follow(_ page: Page) async throws(ManagementError) -> FollowedThings {
        try await controller.followEvents(
            after: try Self.after(page), kind: try Self.kind(page), name: page.filters["thing"],
            heartbeat: Self.heartbeat
        ).map { event in
            switch event {
            case .event(let event): Self.resource(event).json
            case .silence: nil
            }
        }
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Event> {
        let number = Int64(name) ?? 0
        var event: EventSummary?
        do throws(ManagementError) {
            event = try await controller.events(after: number - 1, limit: 1).first
        } catch {
            // One that has not been yet is not there either.
            guard error.code == .outdated else { throw error }
        }
        guard let event, event.id == number else {
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
