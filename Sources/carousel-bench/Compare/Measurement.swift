internal import Initiator

/// What one run of a job gave.
struct Measurement: Equatable {
    /// Commands a second.
    var operationsPerSecond: Double
    /// Megabytes (10⁶) a second.
    var megabytesPerSecond: Double
    /// Half of the commands took no longer, in microseconds.
    var p50Microseconds: Double
    /// 99 % of the commands took no longer.
    var p99Microseconds: Double
    /// The target's processor time for each command, user and system, in microseconds.
    var processorMicroseconds: Double

    /// The figures of a run of `seconds` during which the target used `processorNanoseconds`.
    init(_ report: LoadReport, seconds: Double, processorNanoseconds: Int64) {
        operationsPerSecond = Double(report.operations) / seconds
        megabytesPerSecond = Double(report.bytes) / seconds / 1_000_000
        p50Microseconds = Double(report.latencies.percentile(0.5)) / 1000
        p99Microseconds = Double(report.latencies.percentile(0.99)) / 1000
        processorMicroseconds = Double(processorNanoseconds) / 1000 / Double(max(report.operations, 1))
    }

    /// Figure by figure the median of several runs, of which there is at least one.
    init(medianOf runs: [Measurement]) {
        func median(_ figure: KeyPath<Measurement, Double>) -> Double { Self.median(runs.map { $0[keyPath: figure] }) }
        operationsPerSecond = median(\.operationsPerSecond)
        megabytesPerSecond = median(\.megabytesPerSecond)
        p50Microseconds = median(\.p50Microseconds)
        p99Microseconds = median(\.p99Microseconds)
        processorMicroseconds = median(\.processorMicroseconds)
    }

    /// The value in the middle, or the mean of the two there.
    static func median(_ values: [Double]) -> Double {
        precondition(!values.isEmpty, "nothing has no median")
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

/// What all sides gave.
struct Results {
    /// Who was measured.
    enum Side: String, CaseIterable {
        case carousel, tgt
        /// The bare loop that reads and writes by system calls.
        case floor
        /// The bare loop that copies from and to a mapping.
        case mapped

        /// Whether it knows no digests and no tapes.
        var isBareLoop: Bool { self == .floor || self == .mapped }
    }

    private(set) var jobs: [Job] = []
    private var runs: [Job: [Side: [Measurement]]] = [:]

    /// Notes a run.
    mutating func add(_ measurement: Measurement, of job: Job, on side: Side) {
        if runs[job] == nil { jobs.append(job) }
        runs[job, default: [:]][side, default: []].append(measurement)
    }

    /// The medians of a side's runs of a job; nil when there were none.
    func median(of job: Job, on side: Side) -> Measurement? {
        runs[job]?[side].map(Measurement.init(medianOf:))
    }

    /// Carousel's figure divided by that of a side; nil when there is nothing to compare.
    func ratio(of job: Job, to side: Side, _ figure: KeyPath<Measurement, Double>) -> Double? {
        guard let ours = median(of: job, on: .carousel), let theirs = median(of: job, on: side),
            theirs[keyPath: figure] > 0
        else { return nil }
        return ours[keyPath: figure] / theirs[keyPath: figure]
    }
}
