/// What is recorded with a file of a host's failure to make written data durable.
public struct LossNote: Equatable, Sendable {
    /// What the host said; never 0.
    public let errorNumber: Int32
    /// When that was; nil when it is not known.
    public let time: CalendarTime?

    /// A note of a failure with that error number, which is not 0.
    public init(errorNumber: Int32, time: CalendarTime?) {
        self.errorNumber = errorNumber
        self.time = time
    }
}
