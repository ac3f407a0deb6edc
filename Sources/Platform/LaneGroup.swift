/// A bound of the requests that several lanes together have performed at a time, so that they do not have all threads
/// of an engine. Any thread.
public final class LaneGroup: Sendable {
    private struct State {
        var running = 0
        /// Lanes that may not take a request yet, in turns.
        var waiting: [Lane] = []
    }

    /// The most requests of all the lanes that are performed at a time.
    public let limit: Int
    private let state = Lock(State())

    public init(limit: Int) {
        precondition(limit > 0, "a group goes on")
        self.limit = limit
    }

    /// Whether a lane may take a request now; if not, its engine is called when another one leaves.
    func enter(_ lane: Lane) -> Bool {
        state.withLock { state in
            guard state.running < limit else {
                state.waiting.append(lane)
                return false
            }
            state.running += 1
            return true
        }
    }

    /// A request that was taken is done, or there was none.
    func leave() {
        let next = state.withLock { state -> Lane? in
            state.running -= 1
            return state.waiting.isEmpty ? nil : state.waiting.removeFirst()
        }
        if let next { next.engine.schedule(next) }
    }
}
