/// The classes that latencies are counted in: four for each doubling from 4 µs on, one a microsecond below.
///
/// A class holds what is above its lower and not above its upper bound, both whole microseconds, so its width is at
/// most a quarter of its lower bound, and each power of two of microseconds is a bound. The last one has no upper
/// bound.
public enum LatencyScale {
    /// How many classes there are.
    public static let count = 112
    /// The lower bound of the last class in microseconds: some 7 minutes.
    public static let longest = lowerBound(count - 1)

    /// The class of a latency in nanoseconds.
    public static func index(nanoseconds: UInt) -> Int {
        let microseconds = nanoseconds == 0 ? 0 : (nanoseconds - 1) / 1000
        guard microseconds >= 4 else { return Int(microseconds) }
        let exponent = UInt.bitWidth - 1 - microseconds.leadingZeroBitCount
        return min(count - 1, (exponent - 1) * 4 + Int(microseconds >> UInt(exponent - 2) & 3))
    }

    /// The upper bound of a class in microseconds; nil for the last one.
    public static func upperBound(_ index: Int) -> Int? {
        precondition(index >= 0 && index < count, "there is no such class")
        return index == count - 1 ? nil : lowerBound(index + 1)
    }

    /// The lower bound of a class in microseconds.
    public static func lowerBound(_ index: Int) -> Int {
        index < 4 ? index : (4 + index % 4) << (index / 4 - 1)
    }
}

/// How many latencies were of which class.
public struct LatencyHistogram: Sendable, Hashable {
    /// Of each class of `LatencyScale`; empty when there are none.
    public private(set) var counts: [UInt] = []

    /// No latencies.
    public init() {}

    /// The number of latencies.
    public var total: UInt { counts.reduce(0, &+) }

    /// Adds `number` latencies of a class.
    public mutating func add(_ number: UInt, at index: Int) {
        if counts.isEmpty { counts = Array(repeating: 0, count: LatencyScale.count) }
        counts[index] &+= number
    }

    /// Adds all of `other`.
    public mutating func add(_ other: LatencyHistogram) {
        guard !other.counts.isEmpty else { return }
        guard !counts.isEmpty else { return counts = other.counts }
        for index in counts.indices { counts[index] &+= other.counts[index] }
    }

    /// The latency in microseconds that a share of all (0 to 1) does not exceed, as if those of a class were spread
    /// evenly over it; nil when there are none.
    public func quantile(_ share: Double) -> Double? {
        let total = total
        guard total > 0 else { return nil }
        let rank = max(share * Double(total), Double.leastNonzeroMagnitude)
        var below = 0.0
        for (index, count) in counts.enumerated() where count > 0 {
            let lower = Double(LatencyScale.lowerBound(index))
            guard below + Double(count) >= rank else {
                below += Double(count)
                continue
            }
            guard let upper = LatencyScale.upperBound(index) else { return lower }
            return lower + (Double(upper) - lower) * (rank - below) / Double(count)
        }
        return nil
    }
}
