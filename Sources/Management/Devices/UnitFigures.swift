import Platform
import Synchronization
import TargetCore

/// What is told of the commands of a unit: kept while nobody uses it, for to read the counters of many units costs more
/// than to write what they say.
final class UnitFigures: Sendable {
    /// The number of the figures that were read last, of any unit.
    private static let lastRevision = Atomic<UInt64>(0)

    private struct Known {
        let activity: UInt
        let revision: UInt64
        let figures: CommandFigures
    }
    private let last = Lock<Known?>(nil)

    /// The figures of `unit`, the only one that is asked about here, and a number that no other figures have.
    func figures(of unit: LogicalUnit) -> (figures: CommandFigures, revision: UInt64) {
        // First, so that what is counted meanwhile is not taken for what was read.
        let activity = unit.activity
        if let last = last.withLock({ $0 }), last.activity == activity { return (last.figures, last.revision) }
        let known = Known(
            activity: activity, revision: Self.lastRevision.add(1, ordering: .relaxed).newValue,
            figures: CommandFigures(unit.statistics, names: unit.server.commands))
        last.withLock { $0 = known }
        return (known.figures, known.revision)
    }
}
