internal import Platform

/// How often a connection asks for something that is no command, and whether reading from it pauses.
///
/// Commands are bounded by their window. Pings, texts and task management functions are not, and each may cost as much
/// as a command; a peer that floods them must not take the reactor from the others. The connection is not read from
/// until the average is met again, so TCP holds the peer back, and nothing is refused or lost.
struct RequestPace {
    /// How far requests may run ahead of the pace.
    private static let burst = Duration.seconds(1)

    private let interval: Duration
    /// When the requests that have come would all be due at the pace.
    private var due = MonotonicTime(nanoseconds: 0)
    /// Whether the connection is not read from.
    var isPaused = false

    /// At most `rate` requests a second.
    init(rate: Int) {
        precondition(rate > 0, "a pace is above zero")
        interval = Duration.seconds(1) / rate
    }

    /// Counts a request, or one that costs as much as `weight` of them.
    mutating func count(_ weight: Int = 1, at now: MonotonicTime) {
        let earliest = MonotonicTime(nanoseconds: now.nanoseconds - Self.burst.wholeNanoseconds)
        due = max(due, earliest) + interval * weight
    }

    /// How long the peer has to wait; nil when it need not.
    func wait(at now: MonotonicTime) -> Duration? { due > now ? due - now : nil }
}

extension Connection {
    /// Counts a request that is no command, or as much as `weight` of them, and stops reading for a while when there
    /// have been too many.
    func countRequest(weight: Int = 1) {
        pace.count(weight, at: reactor.now)
        if !pace.isPaused { pauseReading() }
    }

    private func pauseReading() {
        guard let wait = pace.wait(at: reactor.now) else { return pace.isPaused = false }
        pauseTimer = reactor.schedule(after: wait, self, token: Self.pauseToken)
        // What was received already is still handled; the interest changes at the end of the turn.
        pace.isPaused = pauseTimer != nil
    }

    /// The pause ends, or is extended.
    func endPause() {
        pauseTimer = nil
        pauseReading()
        datamover?.receptionChanged()
    }
}
