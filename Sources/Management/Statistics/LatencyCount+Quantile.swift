// Latencies of a time between two readings.
extension [LatencyCount] {
    /// The number of all.
    public var total: Int { reduce(0) { $0 + $1.count } }

    /// What has come since `earlier`, which was read before.
    public func since(_ earlier: [LatencyCount]) -> [LatencyCount] {
        let before = Dictionary(earlier.map { ($0.above, $0.count) }, uniquingKeysWith: +)
        return compactMap { latencies in
            let added = latencies.count - (before[latencies.above] ?? 0)
            return added > 0 ? LatencyCount(above: latencies.above, upTo: latencies.upTo, count: added) : nil
        }
    }

    /// All of both, the short ones first.
    public func adding(_ other: [LatencyCount]) -> [LatencyCount] {
        var classes = Dictionary(map { ($0.above, $0) }, uniquingKeysWith: { one, _ in one })
        for added in other {
            if let present = classes[added.above]?.count {
                classes[added.above]?.count = present + added.count
            } else {
                classes[added.above] = added
            }
        }
        return classes.values.sorted { $0.above < $1.above }
    }

    /// The latency in microseconds that a share of all (0 to 1) does not exceed, as if those between two bounds were
    /// spread evenly; nil when there are none.
    public func quantile(_ share: Double) -> Double? {
        let rank = Swift.max(share * Double(total), Double.leastNonzeroMagnitude)
        var below = 0.0
        for latencies in self where latencies.count > 0 {
            guard below + Double(latencies.count) >= rank else {
                below += Double(latencies.count)
                continue
            }
            guard let upper = latencies.upTo else { return Double(latencies.above) }
            return Double(latencies.above)
                + Double(upper - latencies.above) * (rank - below) / Double(latencies.count)
        }
        return nil
    }
}
