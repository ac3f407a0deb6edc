public import Platform
internal import Synchronization

/// A clock that stands still until a test moves it.
public final class ManualClock: Sendable {
    private let nanoseconds = Atomic<Int64>(1_000_000_000)

    /// A clock at one second.
    public init() {}

    /// The clock, for `Reactor.start`.
    public var clock: MonotonicClock {
        MonotonicClock { [self] in MonotonicTime(nanoseconds: nanoseconds.load(ordering: .relaxed)) }
    }

    /// Moves the clock on and lets `reactors` see it.
    public func advance(by duration: Duration, on reactors: [Reactor]) {
        nanoseconds.add(duration.wholeNanoseconds, ordering: .relaxed)
        for reactor in reactors { reactor.postCompletion {} }
    }
}
