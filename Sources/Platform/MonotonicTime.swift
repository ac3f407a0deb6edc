internal import CPlatform

/// A moment of the monotonic clock, in nanoseconds since an arbitrary start.
public struct MonotonicTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since the clock's start.
    public let nanoseconds: Int64

    /// The moment `nanoseconds` after the clock's start.
    @inlinable
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Later than any other moment.
    public static let distantFuture = MonotonicTime(nanoseconds: .max)

    /// The present moment; costs a clock read (about 20 ns). On a reactor use `Reactor.now`.
    public static func current() -> MonotonicTime {
        MonotonicTime(nanoseconds: cplatform_monotonic_nanoseconds())
    }

    /// Whether `left` is earlier.
    @inlinable
    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The moment `duration` later.
    @inlinable
    public static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        MonotonicTime(nanoseconds: time.nanoseconds + duration.wholeNanoseconds)
    }

    /// The time from `right` to `left`.
    @inlinable
    public static func - (left: MonotonicTime, right: MonotonicTime) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }
}

/// The source of a reactor's time: the system's clock, or one that a test moves.
public struct MonotonicClock: Sendable {
    /// CLOCK_MONOTONIC.
    public static let system = MonotonicClock { .current() }

    private let read: @Sendable () -> MonotonicTime

    /// A clock that takes its time from `read`, which any thread may call and which never goes back.
    public init(_ read: @escaping @Sendable () -> MonotonicTime) {
        self.read = read
    }

    /// The present moment.
    public var now: MonotonicTime { read() }
}

extension Duration {
    @inlinable
    public var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
