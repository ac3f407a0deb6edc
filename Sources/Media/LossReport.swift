public import Platform

/// A loss of written data that nobody has acknowledged, for people: why and since when.
public struct LossReport: Equatable, Sendable {
    /// Why the host could not make the data durable.
    public let failure: MediaFailure
    /// When it said so, by its clock; nil when that was not recorded.
    public let time: CalendarTime?
}
