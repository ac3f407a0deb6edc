internal import Platform

/// Which logical unit an initiator finds under which number (SAM-5 clause 4.7).
///
/// A target has one map for everyone, and one more for each group of initiators that sees something else. Read when a
/// nexus meets a number for the first time and for REPORT LUNS, changed by the control plane. It knows the nexuses that
/// use it: they learn of changes. One logical unit may be in several maps, and in one more than once.
public final class LogicalUnitMap: Sendable {
    /// The numbers that there are. Extended flat space addressing reaches further (SAM-5 clause 4.7.7.5), but a table
    /// takes eight bytes for each 64 numbers below its highest, in each nexus.
    public static let numbers = 0..<65536
    /// The most units of a map.
    public static let maximumCount = 16384

    private struct State {
        var units = LogicalUnitTable<LogicalUnit>()
        var nexuses: [ObjectIdentifier: ITNexus] = [:]
    }
    private let state = Lock(State())

    public init() {}

    public subscript(number: Int) -> LogicalUnit? {
        guard Self.numbers.contains(number) else { return nil }
        return state.withLock { $0.units[number] }
    }

    /// All logical units by number.
    public var all: [Int: LogicalUnit] {
        state.withLock { state in
            var all: [Int: LogicalUnit] = [:]
            all.reserveCapacity(state.units.count)
            state.units.forEach { number, unit in
                all[number] = unit
                return true
            }
            return all
        }
    }

    /// How many logical units there are.
    public var count: Int { state.withLock { $0.units.count } }

    /// The lowest number of a logical unit; nil when it is not there.
    func number(of unit: LogicalUnit) -> Int? {
        state.withLock { state in
            var found: Int?
            state.units.forEach { number, candidate in
                if candidate === unit { found = number }
                return found == nil
            }
            return found
        }
    }

    /// How many logical units there are, and the lowest `limit` of their numbers, sorted.
    func inventory(limit: Int) -> (count: Int, numbers: [Int]) {
        state.withLock { state in
            var numbers: [Int] = []
            let listed = min(limit, state.units.count)
            guard listed > 0 else { return (state.units.count, []) }
            numbers.reserveCapacity(listed)
            state.units.forEach { number, _ in
                numbers.append(number)
                return numbers.count < listed
            }
            return (state.units.count, numbers)
        }
    }

    /// The logical units of now by number, one perhaps more than once.
    var table: LogicalUnitTable<LogicalUnit> { state.withLock { $0.units } }

    // MARK: Changes

    /// Puts a unit at a number, and tells the nexuses; false when the number is taken or not one of `numbers`, or the
    /// map is full.
    func insert(_ unit: LogicalUnit, at number: Int) -> Bool {
        guard Self.numbers.contains(number) else { return false }
        let nexuses: [ITNexus]? = state.withLock { state in
            guard state.units[number] == nil, state.units.count < Self.maximumCount else { return nil }
            state.units[number] = unit
            return Array(state.nexuses.values)
        }
        guard let nexuses else { return false }
        for nexus in nexuses { nexus.inventoryHasChanged() }
        return true
    }

    /// Takes the unit at `number` out, and away from the nexuses that use it. `countdown` waits for their tasks, and
    /// for those that the medium works on although their nexuses are gone.
    func remove(at number: Int, _ countdown: Countdown) -> LogicalUnit? {
        guard Self.numbers.contains(number) else { return nil }
        let (unit, nexuses) = state.withLock { state in
            let unit = state.units[number]
            state.units[number] = nil
            return (unit, unit == nil ? [] : Array(state.nexuses.values))
        }
        guard let unit else { return nil }
        for nexus in nexuses {
            countdown.enter()
            let isPosted = nexus.reactor.postCompletion {
                nexus.withdraw(unit, at: number, countdown)
                countdown.leave()
            }
            // A reactor that stops has no tasks to wait for.
            if !isPosted { countdown.leave() }
            nexus.inventoryHasChanged()
        }
        countdown.wait(for: unit.lostTasks)
        return unit
    }

    // MARK: Nexuses

    func attach(_ nexus: ITNexus) {
        state.withLock { $0.nexuses[ObjectIdentifier(nexus)] = nexus }
    }

    func detach(_ nexus: ITNexus) {
        state.withLock { $0.nexuses[ObjectIdentifier(nexus)] = nil }
    }
}
