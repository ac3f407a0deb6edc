import Platform

/// How much storage is used and free: the last that was found, and whether somebody looks. To look takes time, for ever
/// when a file hangs, so nobody who asks waits for it; and a look lasts until it ends, however long its caller waits,
/// so that a file that hangs has one thread and no more.
final class SpaceSurvey: Sendable {
    /// How old the figures may be before somebody looks again.
    static let age = Duration.seconds(60)

    private struct State {
        var figures: SpaceFigures?
        var end: MonotonicTime?
        var isUnderWay = false
    }
    private let state = Lock(State())

    /// What was found last.
    var figures: SpaceFigures? { state.withLock { $0.figures } }

    /// Whether the caller is to look now, and to call `end` when that ends, or comes to nothing.
    func begins(at time: MonotonicTime = .current()) -> Bool {
        state.withLock { state in
            guard !state.isUnderWay, state.end.map({ time - $0 >= Self.age }) ?? true else { return false }
            state.isUnderWay = true
            return true
        }
    }

    /// What the caller has found; nil when it could not look, and the last that was found stays.
    func end(_ figures: SpaceFigures?, at time: MonotonicTime = .current()) {
        state.withLock { state in
            state.isUnderWay = false
            state.end = time
            state.figures = figures ?? state.figures
        }
    }
}
