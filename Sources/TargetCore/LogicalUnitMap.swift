internal import Synchronization

/// Which logical unit an initiator finds under which number (SAM-5 clause 4.7).
///
/// A target has one map for everyone, and one more for each group of initiators that sees something else. Read when a nexus meets a
/// number for the first time and for REPORT LUNS, changed by the control plane.
public final class LogicalUnitMap: Sendable {
    /// The numbers that flat space addressing reaches (SAM-5 clause 4.7.7.4).
    public static let numbers = 0..<16384

    private let units = Mutex<[Int: LogicalUnit]>([:])

    /// A map without logical units.
    public init() {}

    /// The logical unit at `number`.
    public subscript(number: Int) -> LogicalUnit? { units.withLock { $0[number] } }

    /// All logical units by number.
    public var all: [Int: LogicalUnit] { units.withLock { $0 } }

    /// Puts a unit at a number that is free.
    func insert(_ unit: LogicalUnit, at number: Int) {
        precondition(Self.numbers.contains(number), "a logical unit number must fit flat space addressing")
        units.withLock { units in
            precondition(units[number] == nil, "two logical units cannot have one number")
            units[number] = unit
        }
    }

    /// Takes the unit at `number` out.
    @discardableResult
    func remove(at number: Int) -> LogicalUnit? {
        units.withLock { $0.removeValue(forKey: number) }
    }
}
