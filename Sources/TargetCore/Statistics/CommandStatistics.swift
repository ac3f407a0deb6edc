public import SCSI

/// What was counted of the commands of one operation code.
public struct OperationStatistics: Sendable, Hashable {
    /// Those that ended, without aborted ones.
    public var commands: UInt = 0
    /// Those of them that did not end with GOOD or CONDITION MET.
    public var failures: UInt = 0
    /// Data-In that initiators took.
    public var readBytes: UInt = 0
    /// Data-Out of commands that ended with GOOD.
    public var writtenBytes: UInt = 0
    /// The sum of all latencies.
    public var nanoseconds: UInt = 0
    /// The longest latency in nanoseconds.
    public var longest: UInt = 0
    /// The latencies: from the turn of the reactor in which a command came to its outcome, data included.
    public var latencies = LatencyHistogram()

    /// Nothing.
    public init() {}

    /// Adds what was counted elsewhere.
    public mutating func add(_ other: OperationStatistics) {
        commands &+= other.commands
        failures &+= other.failures
        readBytes &+= other.readBytes
        writtenBytes &+= other.writtenBytes
        nanoseconds &+= other.nanoseconds
        longest = max(longest, other.longest)
        latencies.add(other.latencies)
    }
}

/// What was counted of the commands of a logical unit or an I_T nexus: a copy of some moment.
public struct CommandStatistics: Sendable {
    /// The most operation codes for which memory is taken at once; most devices are used with fewer.
    private static let usualOperations = 8

    /// Commands that have come and not ended.
    public var inFlight = 0
    /// Commands that ended without an outcome.
    public var aborted: UInt = 0
    /// How often commands ended with a status that has no sense data: BUSY, RESERVATION CONFLICT, TASK SET FULL.
    public var statuses: [SCSIStatus: UInt] = [:]
    /// How often commands ended with CHECK CONDITION, by SENSE KEY.
    public var senseKeys: [UInt8: UInt] = [:]
    /// By operation code, those that have occurred; without one, what was counted together beyond
    /// `CommandCounters.operationLimit`.
    public private(set) var operations: [(code: UInt8?, statistics: OperationStatistics)] = []

    /// Nothing.
    public init() {}

    /// All operations together.
    public var total: OperationStatistics {
        var total = OperationStatistics()
        for operation in operations { total.add(operation.statistics) }
        return total
    }

    mutating func add(_ operation: OperationStatistics, of code: UInt8?) {
        if let index = operations.firstIndex(where: { $0.code == code }) {
            operations[index].statistics.add(operation)
        } else {
            if operations.isEmpty { operations.reserveCapacity(Self.usualOperations) }
            operations.append((code, operation))
        }
    }

    /// Adds what was counted elsewhere.
    public mutating func add(_ other: CommandStatistics) {
        inFlight += other.inFlight
        aborted &+= other.aborted
        for (status, count) in other.statuses { statuses[status, default: 0] &+= count }
        for (key, count) in other.senseKeys { senseKeys[key, default: 0] &+= count }
        for operation in other.operations { add(operation.statistics, of: operation.code) }
    }
}
