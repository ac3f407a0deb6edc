internal import TargetCore

/// The task management functions of a session that have not ended, by what they wait for.
///
/// A function ends when the medium has given its tasks back, which a hung one may never do. So a logical unit has its
/// share of the session's functions, and so have those on all units. One that has none under way gets one in any case:
/// however many units hang, the others can be reset. Of a share the last quarter is not for ABORT TASK: an initiator
/// that has aborted one task after the other in vain goes on with a function on more.
struct FunctionCounts {
    /// What a function waits for.
    enum Scope: Hashable {
        case unit(LogicalUnit)
        /// All logical units that the initiator sees.
        case all
        /// A number that has no logical unit, nothing: it ends before another one begins.
        case absent
    }

    /// How many functions there may be beyond `limit`, of scopes that had none: one for each unit, all and absent.
    static let assured = LogicalUnitMap.maximumCount + 2

    /// The most in all, beyond those that are assured.
    let limit: Int
    /// The most of a scope.
    let share: Int
    /// How many there are.
    private(set) var count = 0
    private var counts: [Scope: Int] = [:]

    init(limit: Int, share: Int) {
        self.limit = limit
        self.share = share
    }

    /// Counts a function, while `others` more count for the session; false when there are too many.
    mutating func begin(on scope: Scope, isAbortTask: Bool, others: Int) -> Bool {
        let present = counts[scope] ?? 0
        // The others are answers that wait for the initiator: nothing is assured to one that does not take them.
        guard others < limit, present < (isAbortTask ? share - share / 4 : share),
            count + others < limit || present == 0 && count < limit + Self.assured
        else { return false }
        count += 1
        counts[scope] = present + 1
        return true
    }

    /// A function has ended that `begin` has counted.
    mutating func end(on scope: Scope) {
        count -= 1
        let present = counts[scope] ?? 0
        counts[scope] = present > 1 ? present - 1 : nil
    }
}
