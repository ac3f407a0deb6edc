public import struct Foundation.Date

/// How many latencies lie between two bounds.
public struct LatencyCount: Codable, Sendable, Hashable {
    /// The latencies are longer than so many microseconds.
    public var above: Int
    /// They are not longer than so many microseconds; nil when there is no bound.
    public var upTo: Int?
    public var count: Int
}

/// What was counted of the commands of one operation code.
public struct OperationFigures: Codable, Sendable {
    /// The standard's name; a hexadecimal number where it has none here, and `other` for those that are not counted
    /// apart.
    public var name: String
    /// OPERATION CODE; nil for those that are not counted apart.
    public var operationCode: Int?
    /// Those that ended, without aborted ones.
    public var commands: Int
    /// Those of them that did not end with GOOD or CONDITION MET.
    public var failures: Int
    /// Data-In that initiators took, in bytes.
    public var readBytes: Int
    /// Data-Out of commands that ended with GOOD, in bytes.
    public var writtenBytes: Int
    /// The sum of all latencies.
    public var seconds: Double
    /// The longest latency.
    public var longestSeconds: Double
    /// The latencies that have occurred, the short ones first.
    public var latencies: [LatencyCount]
}

/// What was counted of commands, whatever their operation codes.
public struct TotalFigures: Codable, Sendable {
    /// Commands that have come and not ended.
    public var inFlight = 0
    /// Commands that ended without an outcome.
    public var aborted = 0
    /// Those that ended, without aborted ones.
    public var commands = 0
    /// Those of them that did not end with GOOD or CONDITION MET.
    public var failures = 0
    /// Data-In that initiators took, in bytes.
    public var readBytes = 0
    /// Data-Out of commands that ended with GOOD, in bytes.
    public var writtenBytes = 0

    public init() {}
}

/// What was counted of the commands of a device or a session.
public struct CommandFigures: Codable, Sendable {
    /// Commands that have come and not ended.
    public var inFlight = 0
    /// Commands that ended without an outcome.
    public var aborted = 0
    /// How often commands ended with CHECK CONDITION, by the name of the sense key.
    public var senseKeys: [String: Int] = [:]
    /// How often commands ended with another status than GOOD, CONDITION MET and CHECK CONDITION, by its name.
    public var statuses: [String: Int] = [:]
    /// By operation code, those that have occurred.
    public var operations: [OperationFigures] = []

    public init() {}

    /// The sums over all operations.
    public var totals: TotalFigures {
        var totals = TotalFigures()
        totals.inFlight = inFlight
        totals.aborted = aborted
        for index in operations.indices {
            totals.commands += operations[index].commands
            totals.failures += operations[index].failures
            totals.readBytes += operations[index].readBytes
            totals.writtenBytes += operations[index].writtenBytes
        }
        return totals
    }

    /// The sum over all operations.
    public func sum(_ figure: KeyPath<OperationFigures, Int>) -> Int {
        operations.reduce(0) { $0 + $1[keyPath: figure] }
    }
}

/// A logical unit that runs.
public struct DeviceFigures: Codable, Sendable {
    /// The name of the disk or the library, `LIBRARY/drive:N` for a drive.
    public var name: String
    /// `disk`, `changer` or `drive`.
    public var kind: String
    public var commands: CommandFigures
    /// Whether it has lost written data, and nobody has acknowledged that.
    public var hasLostData: Bool
    /// Another number when `commands` are not those of before; nil when that is not known. The API does not tell it.
    public var revision: UInt64? = nil

    private enum CodingKeys: String, CodingKey {
        case name, kind, commands, hasLostData
    }
}

/// A session that is logged in.
public struct SessionFigures: Codable, Sendable {
    /// The TSIH, as sessions are named elsewhere.
    public var name: String
    /// The initiator's name.
    public var initiator: String
    /// The target's name.
    public var target: String
    /// How many connections it has.
    public var connections: Int
    public var commands: CommandFigures
}

/// A target that is offered.
public struct TargetFigures: Codable, Sendable {
    /// Its iSCSI name.
    public var name: String
    /// How many sessions are logged in.
    public var sessions: Int
    /// Those of all sessions, former ones included.
    public var commands: TotalFigures
}

/// A thread of the data plane.
public struct ReactorFigures: Codable, Sendable {
    public var name: String
    /// Turns of its loop.
    public var turns: Int
    /// System calls for waiting, receiving and sending.
    public var systemCalls: Int
    /// Bytes received on stream sockets.
    public var receivedBytes: Int
    /// Bytes sent on stream sockets.
    public var sentBytes: Int
}

/// How much storage is used and free, as it was found in the background.
public struct SpaceFigures: Codable, Sendable {
    /// When it was found.
    public var time: Date
    /// The storage that the images of disks take, in bytes, by disk.
    public var disks: [String: Int]
    /// The bytes that are written on the cartridges of each library.
    public var libraries: [String: Int]
    /// How many cartridges each library has.
    public var cartridges: [String: Int]
    /// What is free on the file system of the state folder, in bytes.
    public var free: Int?
    /// The size of that file system in bytes.
    public var size: Int?
}

/// The daemon's process.
public struct ProcessFigures: Codable, Sendable {
    /// Resident memory in bytes, hot data of disks included.
    public var residentBytes: Int?
    /// Processor time in seconds, user and system.
    public var processorSeconds: Double?
}

/// What the daemon has counted since it started, and its state of this moment.
public struct DaemonStatistics: Codable, Sendable {
    /// The version of Carousel.
    public var version: String
    /// When the daemon started to serve.
    public var started: Date
    /// The seconds since then, by a clock that nobody sets: for rates.
    public var uptime: Double
    public var devices: [DeviceFigures]
    public var sessions: [SessionFigures]
    public var targets: [TargetFigures]
    public var reactors: [ReactorFigures]
    /// Commands that medium or host have let fail, by cause.
    public var failures: [String: Int]
    /// How many logins were refused.
    public var refusedLogins: Int
    /// How many disks, libraries and portals are not served, or not all of them.
    public var problems: Int
    /// How many disks and cartridges are known to have lost written data that nobody has acknowledged.
    public var losses: Int
    /// How many jobs there are, by state; of those that have ended, the last ones.
    public var jobs: [String: Int]
    public var process: ProcessFigures
    /// Nil until it was looked for.
    public var space: SpaceFigures?
}
