public import Resources

// What the daemon tells of itself.
extension Controller {
    /// The state of the daemon.
    public func status() async throws(ManagementError) -> DaemonStatus {
        try await query { plane throws(ManagementError) in try plane.status() }
    }

    // MARK: Events

    /// The most events that one call gives.
    public static let maximumEvents = 1000

    /// The events after the one with the number `id`, at most `limit`, the oldest first: those of a kind of thing, or
    /// of one thing, where that is given.
    public func events(
        after id: Int64 = 0, kind: String? = nil, name: String? = nil, limit: Int = maximumEvents
    ) async throws(ManagementError) -> [EventSummary] {
        try Self.check(eventCount: limit)
        return try await query { plane throws(ManagementError) in
            try plane.events(after: id, kind: kind, name: name, limit: limit)
        }
    }

    /// The last `limit` events, the oldest of them first.
    public func lastEvents(limit: Int = 20) async throws(ManagementError) -> [EventSummary] {
        try Self.check(eventCount: limit)
        return try await query { plane throws(ManagementError) in try plane.lastEvents(limit: limit) }
    }

    /// All events from now on. Who wants earlier ones too follows first, then reads those, and leaves out what comes
    /// twice: the numbers tell.
    ///
    /// The stream ends with a `ManagementError` when it is read too slowly, and without one when the daemon stops.
    public func followEvents() throws(ManagementError) -> AsyncThrowingStream<EventSummary, any Error> {
        try plane.feed.follow()
    }

    private static func check(eventCount limit: Int) throws(ManagementError) {
        guard (1...maximumEvents).contains(limit) else {
            throw ManagementError(.invalid, "\(limit) is no number of events; give 1 to \(maximumEvents)")
        }
    }
}
