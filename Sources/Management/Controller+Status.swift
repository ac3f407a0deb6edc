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
            let found = try plane.events(after: id, kind: kind, name: name, limit: limit)
            guard found.isEmpty, id > 0 else { return found }
            try Self.check(event: id, isKnownOf: try plane.lastEvents(kind: nil, name: nil, limit: 1).last?.id ?? 0)
            return found
        }
    }

    /// The last `limit` events, the oldest of them first: those of a kind of thing, or of one thing, where that is
    /// given.
    public func lastEvents(
        kind: String? = nil, name: String? = nil, limit: Int = 20
    ) async throws(ManagementError) -> [EventSummary] {
        try Self.check(eventCount: limit)
        return try await query { plane throws(ManagementError) in
            try plane.lastEvents(kind: kind, name: name, limit: limit)
        }
    }

    /// The events after the one with the number `id`, or from now on, until the daemon stops: those of a kind of thing,
    /// or of one thing, where that is given. Whenever nothing has come for `heartbeat`, that is told too.
    public func followEvents(
        after id: Int64? = nil, kind: String? = nil, name: String? = nil, heartbeat: Duration? = nil
    ) async throws(ManagementError) -> FollowedEvents {
        // First, so that none is missed in between.
        let feed = try plane.feed.follow(heartbeat: heartbeat)
        let newest = try await lastEvents(limit: 1).last?.id ?? 0
        if let id { try Self.check(event: id, isKnownOf: newest) }
        let last = id ?? newest
        return FollowedEvents(self, feed, after: last, kind: kind, name: name, heartbeat: heartbeat)
    }

    /// Refuses the number `id` of an event that was never recorded here, while the last is `newest`: whoever knows it
    /// would wait in vain for what comes after it.
    private static func check(event id: Int64, isKnownOf newest: Int64) throws(ManagementError) {
        guard id > newest else { return }
        throw ManagementError(
            .outdated,
            "there was no event \(id) yet, the last is \(newest): the catalog was put back from an older copy, so read "
                + "the events anew", field: "after")
    }

    /// Ends all who follow events, now and later: the daemon stops.
    public func endFollowers() { plane.feed.end() }

    private static func check(eventCount limit: Int) throws(ManagementError) {
        guard (1...maximumEvents).contains(limit) else {
            throw ManagementError(.invalid, "\(limit) is no number of events; give 1 to \(maximumEvents)")
        }
    }
}
