internal import Platform
internal import Synchronization

/// The bytes that the images of several families take together, and how many they may. Any thread may use it.
///
/// Writes on several images at one instant may go beyond the limit by what they take.
public final class SpacePool: Sendable {
    private let used = Atomic<UInt64>(0)
    private let limit = Atomic<UInt64>(.max)

    public init() {}

    /// The bytes in use by the images that are open.
    public var usedBytes: Int64 { EpochFormat.bytes(ofUnits: used.load(ordering: .relaxed)) }

    /// Refuses new storage beyond so many bytes; nil: never.
    public func setLimit(_ bytes: Int64?) { limit.store(EpochFormat.units(ofLimit: bytes), ordering: .relaxed) }

    /// Whether so many units more are beyond the limit.
    @inline(__always)
    func isFull(for count: UInt64) -> Bool {
        let limit = limit.load(ordering: .relaxed)
        return count > limit || used.load(ordering: .relaxed) > limit - count
    }

    /// An image has `now` units in use in place of `before`.
    func replace(_ before: UInt64, with now: UInt64) {
        if now > before { used.add(now - before, ordering: .relaxed) }
        if before > now { used.subtract(before - now, ordering: .relaxed) }
    }
}

/// How many units a family may have in use, over all openings of its file.
final class UnitLimit: Sendable {
    private let units = Atomic<UInt64>(.max)

    /// The limit in units; nil when there is none.
    var value: UInt64? {
        let value = units.load(ordering: .relaxed)
        return value == .max ? nil : value
    }

    func set(bytes: Int64?) { units.store(EpochFormat.units(ofLimit: bytes), ordering: .relaxed) }

    /// Whether so many units more than `used` are beyond it.
    @inline(__always)
    func isFull(_ used: UInt64, for count: UInt64) -> Bool {
        let limit = units.load(ordering: .relaxed)
        return count > limit || used > limit - count
    }
}

extension EpochFormat {
    fileprivate static func units(ofLimit bytes: Int64?) -> UInt64 {
        bytes.map { UInt64(max(0, $0)) >> UInt64(unitShift) } ?? .max
    }

    static func bytes(ofUnits units: UInt64) -> Int64 { Int64(clamping: units) << Int64(unitShift) }
}

// What the image takes, and how much that may be.
extension FamilyFile {
    /// The bytes that are in use in the image: data, maps and journal, of all of its disks and snapshots.
    public var usedBytes: Int64 { EpochFormat.bytes(ofUnits: withFamily { $0.usedUnits }) }

    /// The bytes that may be in use; nil when there is no limit.
    public var spaceLimit: Int64? { limit.value.map { EpochFormat.bytes(ofUnits: $0) } }

    /// Refuses writes that need new storage beyond so many bytes, as a full host does; nil: none. It counts at once,
    /// and what is in use beyond it stays.
    public func setSpaceLimit(_ bytes: Int64?) { limit.set(bytes: bytes) }

    /// Counts the image in `pool` until it is closed, and has the limit of that count for it too.
    public func join(_ pool: SpacePool) {
        self.pool.withLock { $0 = pool }
        withFamily { $0.units.join(limit, pool) }
    }
}
