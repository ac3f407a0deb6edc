import Platform

/// Lets so many notices of one kind through that a flood of what they tell cannot fill the disk, and says in the end
/// how many it has kept back.
final class NoticePace: Sendable {
    /// The most notices in `interval`, beside one that says how many are left out.
    static let lineLimit = 10
    /// How long a count of notices lasts.
    static let interval = Duration.seconds(60)

    private struct State {
        /// When the present interval began; nil when there was no notice yet.
        var start: MonotonicTime?
        var lines = 0
        var suppressed = 0
        /// Whether `tellSuppressed` will be called.
        var isTellingLater = false
    }

    private let limit: Int
    private let state = Lock(State())
    private let clock: @Sendable () -> MonotonicTime
    private let later: @Sendable (Duration, @escaping @Sendable () -> Void) -> Void
    private let tell: @Sendable (Int) -> Void

    /// A pace that has `tell` say how many notices were left out. `later` calls a function after a time.
    init(
        lineLimit: Int = NoticePace.lineLimit,
        clock: @escaping @Sendable () -> MonotonicTime = { .current() },
        later: @escaping @Sendable (Duration, @escaping @Sendable () -> Void) -> Void = NoticePace.sleep,
        tell: @escaping @Sendable (Int) -> Void
    ) {
        limit = lineLimit
        self.clock = clock
        self.later = later
        self.tell = tell
    }

    /// Calls `body` after `delay`.
    @Sendable static func sleep(_ delay: Duration, _ body: @escaping @Sendable () -> Void) {
        Task {
            try? await Task.sleep(for: delay)
            body()
        }
    }

    /// Whether there may be another notice now; if not, it is counted as left out. On any thread.
    func admits() -> Bool { admit() != nil }

    /// The same: which notice of its interval it is, from 1; nil when it is left out.
    func admit() -> Int? {
        let now = clock()
        let (number, isFirst) = state.withLock { state -> (Int?, Bool) in
            if state.start.map({ now - $0 >= Self.interval }) ?? true { (state.start, state.lines) = (now, 0) }
            guard state.lines < limit else {
                state.suppressed += 1
                defer { state.isTellingLater = true }
                return (nil, !state.isTellingLater)
            }
            state.lines += 1
            return (state.lines, false)
        }
        if isFirst { later(Self.interval) { [weak self] in self?.tellSuppressed() } }
        return number
    }

    private func tellSuppressed() {
        let suppressed = state.withLock { state in
            defer { (state.suppressed, state.isTellingLater) = (0, false) }
            return state.suppressed
        }
        tell(suppressed)
    }
}
