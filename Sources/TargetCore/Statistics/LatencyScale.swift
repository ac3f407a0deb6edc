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
    /// The latencies of one class.
    public struct Class: Sendable, Hashable {
        /// Its number in `LatencyScale`.
        public let index: Int
        /// How many there are, at least one.
        public fileprivate(set) var count: UInt
    }

    /// The most classes for which memory is taken at once; few commands have latencies of more.
    private static let usualCount = 8

    /// Those that have latencies, the short ones first.
    public private(set) var classes: [Class] = []

    /// No latencies.
    public init() {}

    /// The number of latencies.
    public var total: UInt { classes.reduce(0) { $0 &+ $1.count } }

    /// Adds `number` latencies of a class.
    public mutating func add(_ number: UInt, at index: Int) {
        precondition(index >= 0 && index < LatencyScale.count, "there is no such class")
        guard number > 0 else { return }
        if classes.isEmpty { classes.reserveCapacity(Self.usualCount) }
        // Mostly they come in order.
        guard let last = classes.last, last.index >= index else {
            return classes.append(Class(index: index, count: number))
        }
        let place = classes.firstIndex { $0.index >= index } ?? classes.count - 1
        if classes[place].index == index {
            classes[place].count &+= number
        } else {
            classes.insert(Class(index: index, count: number), at: place)
        }
    }

    /// Adds all of `other`.
    public mutating func add(_ other: LatencyHistogram) {
        guard !classes.isEmpty else { return classes = other.classes }
        for added in other.classes { add(added.count, at: added.index) }
    }

    /// The latency in microseconds that a share of all (0 to 1) does not exceed, as if those of a class were spread
    /// evenly over it; nil when there are none.
    public func quantile(_ share: Double) -> Double? {
        let total = total
        guard total > 0 else { return nil }
        let rank = max(share * Double(total), Double.leastNonzeroMagnitude)
        var below = 0.0
        for present in classes {
            let (index, count) = (present.index, present.count)
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
