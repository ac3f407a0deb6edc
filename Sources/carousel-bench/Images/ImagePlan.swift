internal import Initiator
internal import Platform

/// What a worker does with a disk.
struct ImagePlan: Sendable {
    enum Operation: Sendable {
        case read, write
    }

    enum Pattern: Sendable {
        /// Anywhere, also twice.
        case random
        /// One after another.
        case sequential
        /// Each block once, in an order that a fixed step makes: far apart, and the same on all sides.
        case stepping
    }

    enum Limit: Sendable {
        case seconds(Double)
        /// So many commands of all workers together.
        case commands(Int)
    }

    var operation: Operation
    /// In bytes.
    var blockLength: Int
    var pattern: Pattern
    /// The bytes from the beginning of the disk on that are used.
    var span: Int
    var limit: Limit
    /// Whether each write is followed by a synchronisation.
    var flushesEach = false
    /// Whether there is one at the end.
    var flushesAtEnd = false
    /// Whether what is written is less than half random, and so compressed to less than half.
    var isCompressible = false
    /// Whether each command's time is noted; that costs a look at the clock.
    var isTimed = false
    var threads = 1
    /// Other numbers give `random` other places.
    var seed: UInt64 = 0

    var blocks: Int { span / blockLength }

    /// From one block to the next, of `stepping`: odd, so that every block comes once where their number is a power of
    /// two, and near the golden section, so that neighbours are far apart in time.
    static func step(blocks: Int) -> Int { max(1, blocks * 618 / 1000) | 1 }
}

/// What a worker did.
struct ImageReport: Sendable {
    var commands = 0
    var bytes = 0
    /// Commands that a lane did.
    var laneCommands = 0
    var nanoseconds: Int64 = 0
    /// The processor time of the workers' threads, without that of the lane's.
    var processorNanoseconds: Int64 = 0
    var latencies = LatencyHistogram()
    var failure: String?

    /// Of workers at the same time.
    mutating func add(_ other: ImageReport) {
        commands += other.commands
        bytes += other.bytes
        laneCommands += other.laneCommands
        nanoseconds = max(nanoseconds, other.nanoseconds)
        processorNanoseconds += other.processorNanoseconds
        latencies.add(other.latencies)
        failure = failure ?? other.failure
    }

    var commandsPerSecond: Double { nanoseconds > 0 ? Double(commands) * 1e9 / Double(nanoseconds) : 0 }

    /// What a worker's thread would do in a second of its processor time.
    var commandsPerProcessorSecond: Double {
        processorNanoseconds > 0 ? Double(commands) * 1e9 / Double(processorNanoseconds) : 0
    }
}
