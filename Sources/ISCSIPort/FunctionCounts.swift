internal import TargetCore

/// The task management functions of a session that have not ended, by the logical unit that they wait for.
///
/// A function ends when the medium has given its tasks back, which a hung one may never do. So a logical unit has its
/// share of the session's functions, and cannot keep those for the other units from being taken. Functions on all units
/// have a share, too. Of a share the last quarter is not for ABORT TASK: an initiator that has aborted one task after
/// the other in vain goes on with a function on more.
struct FunctionCounts {
    /// The most in all.
    let limit: Int
    /// The most for one logical unit, and for all of them together.
    let share: Int
    /// How many there are.
    private(set) var count = 0
    /// By logical unit; those on all of them have none.
    private var counts: [LogicalUnit?: Int] = [:]

    init(limit: Int, share: Int) {
        self.limit = limit
        self.share = share
    }

    /// Counts a function on `unit`, or on all, while `others` more count for the session; false when there are too
    /// many.
    mutating func begin(on unit: LogicalUnit?, isAbortTask: Bool, others: Int) -> Bool {
        let present = counts[unit] ?? 0
        guard count + others < limit, present < (isAbortTask ? share - share / 4 : share) else { return false }
        count += 1
        counts[unit] = present + 1
        return true
    }

    /// A function has ended that `begin` has counted.
    mutating func end(on unit: LogicalUnit?) {
        count -= 1
        let present = counts[unit] ?? 0
        counts[unit] = present > 1 ? present - 1 : nil
    }
}
