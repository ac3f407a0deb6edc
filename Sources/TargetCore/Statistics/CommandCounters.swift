internal import Bytes
internal import Platform
internal import SCSI
internal import Synchronization

/// Counts the commands that one reactor performs for a logical unit, or for an I_T nexus: written there, read on any
/// thread.
///
/// Counting costs a few loads and stores, without a lock; memory is taken when an operation code, or a class of
/// latencies, first occurs: 250 to 500 bytes an operation code, 1 KiB at most, and `operationLimit` of those are told
/// apart.
public final class CommandCounters: @unchecked Sendable {
    /// The most operation codes that are counted apart; the others are counted together.
    public static let operationLimit = 24
    /// The most of these that the device did not have when they first occurred: others keep their places whatever an
    /// initiator sends.
    public static let unknownLimit = 8

    /// The words of the row of an operation code.
    private enum Word {
        static let operationCode = 0
        static let commands = 1
        static let failures = 2
        static let readBytes = 3
        static let writtenBytes = 4
        static let nanoseconds = 5
        static let longest = 6
        static let count = 9
    }

    /// The words of the row of all commands, whose sparse part has the sense keys.
    private enum Total {
        static let row = 0
        static let begun = 0
        static let ended = 1
        static let aborted = 2
        static let statuses = 3
    }

    /// The statuses other than CHECK CONDITION that say that a command was not performed, in the order of their words.
    static let statuses: [SCSIStatus] = [.busy, .reservationConflict, .taskSetFull]

    private static let otherRow = operationLimit + 1
    private let table = CounterTable(
        rowLimit: operationLimit + 2, words: Word.count, pages: LatencyScale.count / CounterTable.pageLength)
    /// The row of each operation code that has occurred; 0 for the others. On the reactor only.
    private var rows = InlineArray<256, UInt8>(repeating: 0)
    private var operationCount = 0
    private var unknownCount = 0

    public init() {}

    // MARK: On the reactor

    /// A command has come.
    func begin() {
        table.add(1, row: Total.row, word: Total.begun)
    }

    /// A command was aborted that had come.
    func abort() {
        table.add(1, row: Total.row, word: Total.aborted)
        noteEnd()
    }

    /// A command that had come has its outcome.
    func end(_ outcome: CommandOutcome) {
        let known = Int(rows[Int(outcome.operationCode)])
        let row = known > 0 ? known : makeRow(outcome)
        table.update(row) { row in
            row.add(1, word: Word.commands)
            row.add(outcome.nanoseconds, word: Word.nanoseconds)
            row.count(sparse: outcome.latencyClass)
            row.raise(to: outcome.nanoseconds, word: Word.longest)
            row.add(outcome.readBytes, word: Word.readBytes)
            row.add(outcome.writtenBytes, word: Word.writtenBytes)
        }
        if !outcome.isGood { countFailure(outcome, row) }
        noteEnd()
    }

    /// A command has ended, and everything else is counted: who sees this sees that.
    private func noteEnd() {
        atomicMemoryFence(ordering: .releasing)
        table.add(1, row: Total.row, word: Total.ended)
    }

    private func countFailure(_ outcome: CommandOutcome, _ row: Int) {
        table.add(1, row: row, word: Word.failures)
        if outcome.status == .checkCondition {
            if let key = outcome.senseKey { table.count(row: Total.row, sparse: Int(key)) }
        } else if let index = Self.statuses.firstIndex(of: outcome.status) {
            table.add(1, row: Total.row, word: Total.statuses + index)
        }
    }

    private func makeRow(_ outcome: CommandOutcome) -> Int {
        let operationCode = outcome.operationCode
        let isTold =
            operationCount < Self.operationLimit && (!outcome.isUnknown || unknownCount < Self.unknownLimit)
        let row = isTold ? operationCount + 1 : Self.otherRow
        // The row of the others has no operation code, and theirs is looked for each time.
        if row != Self.otherRow {
            operationCount = row
            if outcome.isUnknown { unknownCount += 1 }
            rows[Int(operationCode)] = UInt8(row)
            table.store(UInt(operationCode), row: row, word: Word.operationCode)
        }
        return row
    }

    // MARK: On any thread

    /// What was counted until now.
    public var statistics: CommandStatistics {
        var statistics = CommandStatistics()
        add(to: &statistics)
        return statistics
    }

    /// Another number after each command that has begun or ended: when it is the same, so is everything that is read
    /// after it.
    var activity: UInt {
        let activity =
            table.value(row: Total.row, word: Total.begun) &+ table.value(row: Total.row, word: Total.ended)
        atomicMemoryFence(ordering: .acquiring)
        return activity
    }

    /// How many commands have ended that were of none of those operation codes.
    func commandCount(without excluded: Set<UInt8>) -> UInt {
        var count: UInt = 0
        forEachOperation { row in
            let code = UInt8(truncatingIfNeeded: table.value(row: row, word: Word.operationCode))
            guard row == Self.otherRow || !excluded.contains(code) else { return }
            count &+= table.value(row: row, word: Word.commands)
        }
        return count
    }

    /// How many commands are in flight.
    var inFlight: Int {
        // First what has ended: it is never more than what has begun.
        let ended = table.value(row: Total.row, word: Total.ended)
        return Int(clamping: table.value(row: Total.row, word: Total.begun) &- ended)
    }

    /// Calls `body` with the rows of operation codes.
    @inline(__always) private func forEachOperation(_ body: (Int) -> Void) {
        // They were made one after another.
        var row = 1
        while row < Self.otherRow, table.hasRow(row) {
            body(row)
            row += 1
        }
        if table.hasRow(Self.otherRow) { body(Self.otherRow) }
    }

    /// Adds what was counted until now, but latencies and what commands ended with. Takes no memory.
    func add(to totals: inout CommandTotals) {
        totals.inFlight += inFlight
        totals.aborted &+= table.value(row: Total.row, word: Total.aborted)
        forEachOperation { row in
            totals.commands &+= table.value(row: row, word: Word.commands)
            totals.failures &+= table.value(row: row, word: Word.failures)
            totals.readBytes &+= table.value(row: row, word: Word.readBytes)
            totals.writtenBytes &+= table.value(row: row, word: Word.writtenBytes)
        }
    }

    /// Adds what was counted until now.
    func add(to statistics: inout CommandStatistics) {
        statistics.inFlight += inFlight
        statistics.aborted &+= table.value(row: Total.row, word: Total.aborted)
        for (index, status) in Self.statuses.enumerated() {
            let count = table.value(row: Total.row, word: Total.statuses + index)
            if count > 0 { statistics.statuses[status, default: 0] &+= count }
        }
        table.forEachSparse(row: Total.row) { key, count in
            statistics.senseKeys[UInt8(key), default: 0] &+= count
        }
        forEachOperation { row in
            var operation = OperationStatistics()
            operation.commands = table.value(row: row, word: Word.commands)
            operation.failures = table.value(row: row, word: Word.failures)
            operation.readBytes = table.value(row: row, word: Word.readBytes)
            operation.writtenBytes = table.value(row: row, word: Word.writtenBytes)
            operation.nanoseconds = table.value(row: row, word: Word.nanoseconds)
            operation.longest = table.value(row: row, word: Word.longest)
            table.forEachSparse(row: row) { operation.latencies.add($1, at: $0) }
            let code = UInt8(truncatingIfNeeded: table.value(row: row, word: Word.operationCode))
            statistics.add(operation, of: row == Self.otherRow ? nil : code)
        }
    }
}

/// How a command has ended, as it is counted.
struct CommandOutcome {
    let operationCode: UInt8
    let status: SCSIStatus
    /// SENSE KEY where there is sense data.
    let senseKey: UInt8?
    /// Whether it ended with INVALID COMMAND OPERATION CODE.
    let isUnknown: Bool
    /// From the turn of the reactor in which the command came to its outcome.
    let nanoseconds: UInt
    /// The class of `LatencyScale` that this is in.
    let latencyClass: Int
    /// The Data-In that the initiator takes.
    let readBytes: UInt
    /// The Data-Out, when the status is GOOD.
    let writtenBytes: UInt

    var isGood: Bool { status == .good || status == .conditionMet }

    /// The outcome of `task`, which ends now and was not aborted.
    init(_ task: SCSITask) {
        operationCode = task.fields.commandDescriptorBlock.operationCode
        status = task.fields.status
        senseKey = status == .checkCondition ? Self.senseKey(of: task) : nil
        isUnknown =
            status == .checkCondition && task.fields.sense?.additionalSenseCode == .invalidCommandOperationCode
        nanoseconds = UInt(max(0, task.reactor.clockTime.nanoseconds - task.fields.start.nanoseconds))
        latencyClass = LatencyScale.index(nanoseconds: nanoseconds)
        readBytes = UInt(min(task.dataIn.lease?.count ?? 0, task.fields.expectedDataInLength))
        writtenBytes =
            status == .good ? UInt(min(task.fields.requestedDataOutLength, task.fields.expectedDataOutLength)) : 0
    }

    private static func senseKey(of task: SCSITask) -> UInt8? {
        guard let bytes = task.fields.verbatimSense else { return task.fields.sense?.key.rawValue }
        // The formats have it at different places (SPC-5 clauses 4.4.2 and 4.4.3).
        guard bytes.count > 2 else { return nil }
        return (bytes[0] & 0x7F >= 0x72 ? bytes[1] : bytes[2]) & 0x0F
    }
}
