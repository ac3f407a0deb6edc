import Catalog
import Foundation
import Logging
import Resources

// Events: what was changed, by whom, when.
extension Controller {
    /// The most events that one call gives.
    public static let maximumEvents = 1000

    /// The events after the one with the number `id`, at most `limit`, the oldest first: those of a kind of thing, or of
    /// one thing, where that is given.
    public func events(
        after id: Int64 = 0, kind: String? = nil, name: String? = nil, limit: Int = maximumEvents
    ) throws(ManagementError) -> [EventSummary] {
        guard (1...Self.maximumEvents).contains(limit) else {
            throw ManagementError(.invalid, "\(limit) is no number of events; give 1 to \(Self.maximumEvents)")
        }
        return try query { () throws(CatalogError) in
            try catalog.events(after: id, kind: kind, name: name, limit: limit)
        }.map(EventSummary.init)
    }

    /// The last `limit` events, the oldest of them first.
    public func lastEvents(limit: Int = 20) throws(ManagementError) -> [EventSummary] {
        guard (1...Self.maximumEvents).contains(limit) else {
            throw ManagementError(.invalid, "\(limit) is no number of events; give 1 to \(Self.maximumEvents)")
        }
        return try query { () throws(CatalogError) in try catalog.lastEvents(limit: limit) }.map(EventSummary.init)
    }

    /// All events from now on. Who wants earlier ones too follows first, then reads those, and leaves out what comes
    /// twice: the numbers tell.
    ///
    /// The stream ends with a `ManagementError` when it is read too slowly, and without one when the daemon stops.
    public nonisolated func followEvents() throws(ManagementError) -> AsyncThrowingStream<EventSummary, any Error> {
        try feed.follow()
    }

    // MARK: For the extensions by topic

    /// The event of a change that is made now on behalf of the present requester.
    func event(
        _ verb: String, _ kind: String, _ name: String, old: JSONValue? = nil, new: JSONValue? = nil
    ) -> NewEvent {
        NewEvent(
            time: Date(), actor: Requester.current, kind: kind, name: name, verb: verb, old: old?.serialized,
            new: new?.serialized)
    }

    /// Records an event that goes with no change of the catalog. The change is made, so a failure is only told of.
    func record(_ event: NewEvent) {
        do {
            try catalog.record(event)
        } catch {
            logger.error("an event was not recorded", metadata: ["event": "\(event)", "reason": "\(error)"])
        }
    }

    /// Removes files; once again with the room of the reserve when the system refuses.
    func removing(_ remove: () throws(ManagementError) -> Void) throws(ManagementError) {
        do {
            try remove()
        } catch {
            guard error.code == .system, folder.reserve.giveUp() else { throw error }
            try remove()
        }
    }
}
