/// Counts of durations in buckets that grow with the duration, so that percentiles are right to 1.6 %. Recording
/// allocates nothing.
public struct LatencyHistogram: Sendable {
    /// Each power of two is cut into that many buckets.
    private static let subBucketBits = 6
    private static let subBucketCount = 1 << subBucketBits
    /// Durations of 2⁴⁰ ns (18 minutes) and more share the last bucket.
    private static let maximumBits = 40
    private static let bucketCount = (maximumBits - subBucketBits + 1) * subBucketCount

    private var buckets: [UInt64]
    /// How many durations were recorded.
    public private(set) var count: UInt64 = 0
    /// Their sum in nanoseconds.
    public private(set) var totalNanoseconds: UInt64 = 0
    /// The longest in nanoseconds.
    public private(set) var maximumNanoseconds: UInt64 = 0

    /// An empty histogram.
    public init() {
        buckets = [UInt64](repeating: 0, count: Self.bucketCount)
    }

    /// Records a duration; a negative one counts as zero.
    public mutating func record(nanoseconds: Int64) {
        let value = UInt64(max(nanoseconds, 0))
        buckets[Self.bucket(of: value)] += 1
        count += 1
        totalNanoseconds += value
        if value > maximumNanoseconds { maximumNanoseconds = value }
    }

    /// Adds what `other` recorded.
    public mutating func add(_ other: Self) {
        for index in buckets.indices { buckets[index] += other.buckets[index] }
        count += other.count
        totalNanoseconds += other.totalNanoseconds
        maximumNanoseconds = max(maximumNanoseconds, other.maximumNanoseconds)
    }

    /// Empties the histogram; its memory stays.
    public mutating func reset() {
        for index in buckets.indices { buckets[index] = 0 }
        count = 0
        totalNanoseconds = 0
        maximumNanoseconds = 0
    }

    /// The mean in nanoseconds; 0 when nothing was recorded.
    public var meanNanoseconds: Double { count == 0 ? 0 : Double(totalNanoseconds) / Double(count) }

    /// The duration in nanoseconds that the part `fraction` (0…1) of all did not exceed; 0 when nothing was recorded.
    public func percentile(_ fraction: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = max(UInt64((Double(count) * fraction).rounded(.up)), 1)
        var seen: UInt64 = 0
        for index in buckets.indices {
            seen += buckets[index]
            if seen >= rank { return min(Self.middle(of: index), maximumNanoseconds) }
        }
        return maximumNanoseconds
    }

    /// The bucket of a value: values below `subBucketCount` have one each, then each power of two has `subBucketCount`.
    private static func bucket(of value: UInt64) -> Int {
        let bits = UInt64.bitWidth - value.leadingZeroBitCount
        guard bits > subBucketBits else { return Int(value) }
        guard bits <= maximumBits else { return bucketCount - 1 }
        let shift = bits - subBucketBits - 1
        return (shift + 1) << subBucketBits + Int(value >> UInt64(shift)) - subBucketCount
    }

    /// The value in the middle of a bucket.
    private static func middle(of bucket: Int) -> UInt64 {
        guard bucket >= subBucketCount else { return UInt64(bucket) }
        let shift = bucket >> subBucketBits - 1
        let start = UInt64(subBucketCount + bucket & (subBucketCount - 1)) << UInt64(shift)
        return start + (1 << UInt64(shift)) / 2
    }
}
