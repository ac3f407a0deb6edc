import Management
import Resources

/// Latencies, counted by the bounds that `/metrics` has.
struct LatencyBuckets {
    /// The upper bounds, in microseconds: classes of the counters end there.
    static let bounds = [16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304]
    private static let writtenBounds = bounds.map { MetricsText.Bound(text(ofMicroseconds: $0)) }

    private var counts = InlineArray<10, Int>(repeating: 0)
    private var count = 0
    private var seconds = 0.0
    /// Whether an operation was added, even one without latencies.
    private(set) var hasOperations = false

    mutating func add(_ operation: OperationFigures) {
        hasOperations = true
        seconds += operation.seconds
        for latencies in operation.latencies {
            count += latencies.count
            // Those of a class are not above the first bound that is not below its own.
            if let upper = latencies.upTo, let bound = Self.bound(of: upper) { counts[bound] += latencies.count }
        }
    }

    /// Writes them as a histogram.
    func write(_ labels: MetricsText.Labels, _ text: inout MetricsText) {
        var cumulative = counts
        for bound in 1..<10 { cumulative[bound] += cumulative[bound - 1] }
        text.histogram(labels, bounds: Self.writtenBounds, cumulative: cumulative, count: count, sum: seconds)
    }

    /// The first of `bounds` that is not below so many microseconds; nil when all are.
    static func bound(of microseconds: Int) -> Int? {
        // Each is four times the one before.
        let doublings = microseconds <= bounds[0] ? 0 : Int.bitWidth - (microseconds - 1).leadingZeroBitCount - 4
        let bound = (doublings + 1) / 2
        return bound < bounds.count ? bound : nil
    }

    /// A number of seconds as decimal digits.
    private static func text(ofMicroseconds microseconds: Int) -> String {
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
    }
}
