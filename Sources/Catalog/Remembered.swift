import Platform
import Synchronization

/// Which transaction was the last, for those who remember what they have read.
final class CatalogChanges: Sendable {
    private let begun = Atomic<UInt64>(0)
    private let ended = Atomic<UInt64>(0)

    /// How many transactions there have been; nil while one is under way, which may be committed already.
    var count: UInt64? {
        // In this order: what has ended is never more than what has begun.
        let ended = ended.load(ordering: .sequentiallyConsistent)
        return begun.load(ordering: .sequentiallyConsistent) == ended ? ended : nil
    }

    /// Does `body`, a transaction.
    func during<Value>(_ body: () throws -> Value) rethrows -> Value {
        begun.add(1, ordering: .sequentiallyConsistent)
        defer { ended.add(1, ordering: .sequentiallyConsistent) }
        return try body()
    }
}

/// What was read last, for as long as there is no transaction.
final class Remembered<Value: Sendable>: Sendable {
    private let state = Lock<(value: Value, count: UInt64)?>(nil)

    /// The value, if it was read after so many transactions.
    func value(after count: UInt64) -> Value? {
        state.withLock { $0?.count == count ? $0?.value : nil }
    }

    /// What was read after so many transactions, or later.
    func set(_ value: Value, after count: UInt64) {
        state.withLock { $0 = (value, count) }
    }
}
