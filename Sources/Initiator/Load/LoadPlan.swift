public import ISCSI
public import Platform
public import SCSI

/// A session that is logged in and idle, on its way to another user of its socket.
public struct EstablishedSession: Sendable {
    /// The socket that the session uses.
    public let socket: StreamSocket
    /// The parameters in force.
    public let parameters: NegotiatedParameters
    /// The CmdSN of the next command.
    public let nextCmdSN: SequenceNumber
    /// The target's last MaxCmdSN.
    public let maxCmdSN: SequenceNumber
    /// ExpStatSN: all responses before it have arrived (section 4.2.2.2).
    public let expStatSN: SequenceNumber
}

extension BlockingInitiator {
    /// Gives the session away; this initiator must not be used after that. No command may be open. Fails when the
    /// target has sent something unsolicited.
    public func handOver() throws(InitiatorError) -> EstablishedSession {
        precondition(exchanges.isEmpty, "a session is handed over idle")
        guard !connection.hasUnreadInput else { throw .protocolViolation("it sent something unsolicited") }
        return EstablishedSession(
            socket: connection.socket, parameters: parameters, nextCmdSN: nextCmdSN, maxCmdSN: maxCmdSN,
            expStatSN: expStatSN)
    }
}

/// What a load does.
public enum LoadOperation: String, Sendable, CaseIterable {
    /// READ commands only.
    case read
    /// WRITE commands only.
    case write
    /// Reads and writes in random order, `LoadPlan.mixedReadShare` reads in a hundred commands.
    case mixed
}

/// Which addresses of a disk a load takes.
public enum LoadPattern: String, Sendable, CaseIterable {
    /// Any, at random.
    case random
    /// Each behind the one before, from the start again at the end.
    case sequential
}

/// What the logical unit under load is.
public enum LoadUnit: Sendable {
    /// A disk, of which the load uses the logical blocks in `region`; `logicalBlockLength` is in bytes.
    case disk(logicalBlockLength: Int, region: Range<UInt64>)
    /// A tape with variable blocks, on which a load that writes puts a filemark after that many records (0: never).
    case tape(recordsPerFilemark: Int)
}

/// The work of one load connection.
public struct LoadPlan: Sendable {
    /// The most commands of a connection that are under way at a time.
    public static let maximumDepth = 1024
    /// The most bytes of one command.
    public static let maximumBlockLength = 16 << 20
    /// How many of a hundred commands of a mixed load are reads.
    public static let mixedReadShare: UInt64 = 70

    /// Where the commands go.
    public var logicalUnitNumber: LogicalUnitNumber
    /// The logical unit under load, and how the load uses it.
    public var unit: LoadUnit
    /// Whether the load reads or writes.
    public var operation: LoadOperation
    /// Which addresses of a disk the load takes.
    public var pattern: LoadPattern
    /// Bytes of each command, at most `maximumBlockLength`; of a disk a multiple of its logical block length.
    public var blockLength: Int
    /// Commands under way at a time, 1…`maximumDepth`.
    public var depth: Int
    /// Where the connection's random numbers start.
    public var seed: UInt64
    /// After that many reads and writes no more are begun; nil goes on until `stop`.
    public var operationLimit: Int?

    public init(
        logicalUnitNumber: LogicalUnitNumber, unit: LoadUnit, operation: LoadOperation, pattern: LoadPattern,
        blockLength: Int, depth: Int, seed: UInt64
    ) {
        self.logicalUnitNumber = logicalUnitNumber
        self.unit = unit
        self.operation = operation
        self.pattern = pattern
        self.blockLength = blockLength
        self.depth = depth
        self.seed = seed
    }
}

/// What a load connection has done since it began to measure.
public struct LoadReport: Sendable {
    /// Reads and writes that ended with GOOD.
    public var operations = 0
    /// The bytes that they moved.
    public var bytes = 0
    /// How long they took.
    public var latencies = LatencyHistogram()
    /// Commands that ended otherwise, apart from what belongs to the work: unit attentions of a new session, ends of a
    /// tape.
    public var errors = 0
    /// The first of these in words.
    public var firstError: String?
    /// BUSY and TASK SET FULL, after which the command was sent again.
    public var busyCount = 0
    /// Why the connection ended before its time.
    public var failure: InitiatorError?

    public init() {}

    /// Adds what another connection did.
    public mutating func add(_ other: Self) {
        operations += other.operations
        bytes += other.bytes
        latencies.add(other.latencies)
        errors += other.errors
        firstError = firstError ?? other.firstError
        busyCount += other.busyCount
        failure = failure ?? other.failure
    }
}
