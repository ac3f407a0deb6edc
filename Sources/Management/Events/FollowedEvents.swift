public import Resources

/// Events of the catalog after one of them, then those that come, until the daemon stops; each once and in the order of
/// their numbers. Whoever reads slowly misses none: what the feed has dropped is read from the catalog, as far as that
/// still has it.
public struct FollowedEvents: AsyncSequence, Sendable {
    private let controller: Controller
    private let feed: EventFeed.Stream
    private let start: Int64
    private let kind: String?
    private let name: String?
    private let heartbeat: Duration?

    init(
        _ controller: Controller, _ feed: EventFeed.Stream, after start: Int64, kind: String?, name: String?,
        heartbeat: Duration?
    ) {
        self.controller = controller
        self.feed = feed
        self.start = start
        self.kind = kind
        self.name = name
        self.heartbeat = heartbeat
    }

    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    public struct Iterator: AsyncIteratorProtocol {
        private let events: FollowedEvents
        private var feed: EventFeed.Stream.Iterator
        /// The number of the last event that was given or passed over.
        private var last: Int64
        /// What was read from the catalog and not given yet.
        private var read: ArraySlice<EventSummary> = []
        /// Whether the catalog has no more than the feed gives.
        private var isCaughtUp = false

        fileprivate init(_ events: FollowedEvents) {
            self.events = events
            feed = events.feed.makeAsyncIterator()
            last = events.start
        }

        public mutating func next() async throws -> FollowedEvent? {
            while true {
                if let event = read.popFirst() {
                    last = event.id
                    return .event(event)
                }
                guard isCaughtUp else {
                    let page = try await events.controller.events(
                        after: last, kind: events.kind, name: events.name, limit: Controller.maximumEvents)
                    isCaughtUp = page.isEmpty
                    read = page[...]
                    continue
                }
                let next: FollowedEvent?
                do {
                    next = try await feed.next()
                } catch is ManagementError {
                    // It was too slow: from the catalog again.
                    feed = try events.controller.plane.feed.follow(heartbeat: events.heartbeat).makeAsyncIterator()
                    isCaughtUp = false
                    continue
                }
                guard case .event(let event)? = next else { return next }
                if event.id > last, events.kind ?? event.kind == event.kind, events.name ?? event.name == event.name {
                    last = event.id
                    return next
                }
            }
        }
    }
}

/// What comes into a list, as it comes, each with the name to go on after; nil when nothing has come for a while.
public typealias FollowedThings = any AsyncSequence<JSONValue?, any Error> & Sendable
