internal import Initiator

/// Something that Carousel should reach.
struct Goal: Equatable {
    /// Which way the figure should go.
    enum Bound: Equatable {
        case atLeast(Double)
        case atMost(Double)
    }

    /// The job that it is about.
    let job: Job
    /// The figure in words.
    let figure: String
    let bound: Bound
    /// What was measured.
    let found: Double

    var isReached: Bool {
        switch bound {
        case .atLeast(let limit): found >= limit
        case .atMost(let limit): found <= limit
        }
    }

    /// Requests a second with 4 KiB at depth 32, against tgt.
    static let smallRatio = 7.0
    /// Long reads and writes at depth 32, against tgt.
    static let longReadRatio = 1.5
    static let longWriteRatio = 3.5
    /// Tape writes, against tgt.
    static let tapeWriteRatio = 2.5
    static let longTapeWriteRatio = 3.0
    /// The latency of one 4 KiB command at a time, against tgt.
    static let latencyRatio = 0.8
    /// The processor time of a 4 KiB command, against tgt.
    static let processorRatio = 1.0 / 8
    /// What digests leave of the requests a second with 64 KiB.
    static let digestRatio = 0.8
    /// Requests a second against the bare loop that reads and writes by system calls.
    static let floorRatio = 0.75
    static let smallWriteFloorRatio = 0.85
    static let longWriteFloorRatio = 0.95

    /// The goals that the results can tell of, in the order of the jobs.
    static func all(in results: Results) -> [Goal] {
        results.jobs.flatMap { goals(of: $0, in: results) }
    }

    private static func goals(of job: Job, in results: Results) -> [Goal] {
        var goals: [Goal] = []
        func add(_ figure: String, _ bound: Bound, _ found: Double?) {
            if let found { goals.append(Goal(job: job, figure: figure, bound: bound, found: found)) }
        }
        let throughput = results.ratio(of: job, to: .tgt, \.operationsPerSecond)
        if let ratio = throughputRatio(of: job) { add("throughput / tgt's", .atLeast(ratio), throughput) }
        if job.unit == .disk, job.blockLength == 4096, !job.hasDigests {
            if job.depth == 1, job.connections == 1 {
                add("latency p50 / tgt's", .atMost(latencyRatio), results.ratio(of: job, to: .tgt, \.p50Microseconds))
            }
            if job.depth == 32 {
                add(
                    "CPU per I/O / tgt's", .atMost(processorRatio),
                    results.ratio(of: job, to: .tgt, \.processorMicroseconds))
            }
        }
        if job.hasDigests, job.blockLength == 65536, job.depth == 32,
            let with = results.median(of: job, on: .carousel),
            let without = results.median(of: job.withoutDigests, on: .carousel), without.operationsPerSecond > 0
        {
            let ratio = with.operationsPerSecond / without.operationsPerSecond
            add("throughput / without digests", .atLeast(digestRatio), ratio)
        }
        add(
            "throughput / bare loop's", .atLeast(floorRatio(of: job)),
            results.ratio(of: job, to: .floor, \.operationsPerSecond))
        return goals
    }

    /// How many times tgt's requests a second a job should reach, if it has such a goal.
    private static func throughputRatio(of job: Job) -> Double? {
        if job.unit == .tape {
            guard job.operation == .write else { return nil }
            return job.blockLength > 65536 ? longTapeWriteRatio : tapeWriteRatio
        }
        guard job.depth == 32, !job.hasDigests else { return nil }
        switch (job.blockLength, job.operation) {
        case (_, .mixed): return nil
        case (4096, _): return smallRatio
        case (_, .read): return longReadRatio
        case (_, .write): return longWriteRatio
        }
    }

    /// How many of the bare loop's requests a second a job should reach.
    private static func floorRatio(of job: Job) -> Double {
        switch (job.operation, job.blockLength, job.connections) {
        case (.write, 4096, 1) where job.depth == 32: smallWriteFloorRatio
        case (.write, 65536..., _): longWriteFloorRatio
        default: floorRatio
        }
    }
}
