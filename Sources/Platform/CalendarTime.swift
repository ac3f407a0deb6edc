internal import CPlatform

/// A moment of the system's clock in whole seconds, from 1970 to 9999 (UTC). For what people are told: unlike
/// `MonotonicTime` it can be wrong, and go back.
public struct CalendarTime: Comparable, Hashable, Sendable {
    /// The last second of the year 9999.
    public static let limit: Int64 = 253_402_300_799

    /// Seconds since the beginning of 1970, 0 to `limit`.
    public let seconds: Int64

    /// The moment `seconds` after the beginning of 1970; nil outside of 0 to `limit`.
    public init?(seconds: Int64) {
        guard (0...Self.limit).contains(seconds) else { return nil }
        self.seconds = seconds
    }

    /// The present moment, as far as the clock is right; the first or the last that there is when it is outside.
    public static func current() -> CalendarTime {
        CalendarTime(clamping: cplatform_calendar_seconds())
    }

    private init(clamping seconds: Int64) {
        self.seconds = min(max(seconds, 0), Self.limit)
    }

    /// Whether `left` is earlier.
    public static func < (left: CalendarTime, right: CalendarTime) -> Bool { left.seconds < right.seconds }
}
