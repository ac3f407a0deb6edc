public import struct Foundation.Date

/// A loss of written data that nobody has acknowledged: the host of the daemon could not make durable what initiators
/// had written. Until it is acknowledged, nothing more is written.
public struct LossSummary: Record, Codable {
    /// When the host said so, by its clock; nil when that was not recorded.
    public var since: Date?
    /// Why the host could not do it.
    public var reason = ""

    public init() {}

    public init(since: Date?, reason: String) {
        self.since = since
        self.reason = reason
    }

    public static let fields: [Field<LossSummary>] = [
        Field("since", \.since, .date, help: "When the host said so, by its clock."),
        Field("reason", \.reason, .text(.any("reason")), .required, help: "Why the host could not do it."),
    ]
}

/// Whether a disk or a library is served.
public enum ServiceState: String, FieldWord, Codable {
    /// It runs, with all of its cartridges.
    case serving
    /// The library runs, but some of its cartridges cannot be used or have lost written data.
    case degraded
    /// The disk is read, but not written: data that were written are lost, and nobody has acknowledged that.
    case dataLost = "data lost"
    /// It runs, but its files were moved, removed or replaced meanwhile.
    case detached
    /// It does not run.
    case notServed = "not served"
    /// It is being made.
    case creating = "being made"
    /// It is being deleted.
    case deleting = "being deleted"
}
