import Bytes
import TestSupport

/// What a pool must hold to: which bytes of which region are leased.
struct LeaseModel {
    struct Entry {
        let box: BufferLeaseBox
        let mark: UInt64
    }

    private var ranges: [Int: [Range<Int>]] = [:]
    private(set) var total = 0
    let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    /// False when the range overlaps another, or leaves its region.
    mutating func add(region: Int, offset: Int, length: Int) -> Bool {
        let regionLength = min(BufferArena.regionLength, limit - region * BufferArena.regionLength)
        let range = offset..<offset + length
        guard range.upperBound <= regionLength, ranges[region, default: []].allSatisfy({ !$0.overlaps(range) }) else {
            return false
        }
        ranges[region, default: []].append(range)
        total += length
        return true
    }

    mutating func remove(region: Int, offset: Int) {
        guard let index = ranges[region]?.firstIndex(where: { $0.lowerBound == offset }),
            let range = ranges[region]?.remove(at: index)
        else { return }
        total -= range.count
    }
}
