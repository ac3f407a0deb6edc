internal import Bytes
internal import Platform
internal import SCSI

/// What a logical unit counts for its log pages, each since the last reset of its page. The order is that in which the
/// values are saved: new ones come at the end.
enum LogCounter: Int, CaseIterable {
    case writtenBytes, writeErrors, readBytes, readErrors, verifyErrors, nonMediumErrors
    case readCommands, writeCommands, receivedBytes, transmittedBytes, readTime, writeTime
    case startStops, transitionsToActive, transitionsToIdle, transitionsToStandby, powerOnMinutes

    /// The page that it is on, with which it is saved.
    var page: CommonLogPage {
        switch self {
        case .writtenBytes, .writeErrors: .writeErrors
        case .readBytes, .readErrors: .readErrors
        case .verifyErrors: .verifyErrors
        case .nonMediumErrors: .nonMediumErrors
        case .readCommands, .writeCommands, .receivedBytes, .transmittedBytes, .readTime, .writeTime:
            .generalStatistics
        case .startStops: .startStopCycles
        case .transitionsToActive, .transitionsToIdle, .transitionsToStandby: .powerConditionTransitions
        case .powerOnMinutes: .backgroundScan
        }
    }

    /// Whether LOG SELECT puts it back to zero.
    var isResettable: Bool { rawValue < Self.startStops.rawValue }
}

/// The counters of a logical unit that are not its commands', and where each counter was when its page was reset last.
/// Any thread.
final class UnitLogs: Sendable {
    /// What a failed command was to do.
    private enum Access {
        case read, write, verify

        init?(_ operationCode: UInt8) {
            switch operationCode {
            case _ where OperationCode.reads.contains(operationCode): self = .read
            case _ where OperationCode.writes.contains(operationCode): self = .write
            case _ where OperationCode.verifications.contains(operationCode): self = .verify
            default: return nil
            }
        }
    }

    struct Errors: Sendable {
        var read: UInt64 = 0
        var write: UInt64 = 0
        var verify: UInt64 = 0
        var nonMedium: UInt64 = 0
    }

    private struct State {
        var errors = Errors()
        /// Empty while all are zero.
        var bases: [UInt64] = []
    }
    private let state = Lock(State())
    /// When the unit was made.
    let start = MonotonicTime.current()

    var errors: Errors { state.withLock { $0.errors } }

    /// Counts a command that ends with CHECK CONDITION, if that is the medium's or the host's fault.
    func noteFailure(_ task: SCSITask) {
        guard let sense = task.sense, sense.key == .mediumError || sense.key == .hardwareError else { return }
        let access = sense.key == .mediumError ? Access(task.commandDescriptorBlock.operationCode) : nil
        state.withLock { state in
            switch access {
            case .read: state.errors.read += 1
            case .write: state.errors.write += 1
            case .verify: state.errors.verify += 1
            case nil: state.errors.nonMedium += 1
            }
        }
    }

    /// The values of counters whose counts since the unit was made are `counts`; zero where these are older than a
    /// reset.
    func values(_ counts: [UInt64]) -> [UInt64] {
        state.withLock { state in
            state.bases.isEmpty ? counts : zip(counts, state.bases).map { UInt64(max(0, Int64(bitPattern: $0 &- $1))) }
        }
    }

    /// Puts counters back to zero, those of `pages`.
    func reset(_ pages: Set<CommonLogPage>, _ counts: [UInt64]) {
        state.withLock { state in
            if state.bases.isEmpty { state.bases = [UInt64](repeating: 0, count: counts.count) }
            for counter in LogCounter.allCases {
                guard counter.isResettable, pages.contains(counter.page) else { continue }
                state.bases[counter.rawValue] = counts[counter.rawValue]
            }
        }
    }

    /// Begins with values that were saved; fewer than there are counters when they are of a former version.
    func restore(_ saved: [UInt8]) {
        let values = Self.values(ofSaved: saved)
        guard !values.isEmpty else { return }
        state.withLock { $0.bases = values.map { 0 &- $0 } }
    }

    /// The values in their saved form, one for each counter; empty when nothing was saved.
    static func values(ofSaved saved: [UInt8]) -> [UInt64] {
        guard saved.count >= 8 else { return [] }
        return LogCounter.allCases.map {
            saved.count >= ($0.rawValue + 1) * 8 ? saved.rawSpan.loadBE64(at: $0.rawValue * 8) : 0
        }
    }

    /// The form in which values are saved.
    static func saved(_ values: [UInt64]) -> [UInt8] {
        var bytes: [UInt8] = []
        for value in values { bytes.appendBE64(value) }
        return bytes
    }
}

extension OperationCode {
    /// READ (6, 10, 12, 16); tape drives have READ(6).
    static let reads: Set<UInt8> = [read6, read10, read12, read16]
    /// WRITE (6, 10, 12, 16), WRITE AND VERIFY, WRITE SAME, WRITE ATOMIC, COMPARE AND WRITE and ORWRITE; of tape drives
    /// WRITE(6) and WRITE FILEMARKS. The 32-byte commands have one operation code for all, and are not counted.
    static let writes: Set<UInt8> = [
        write6, write10, write12, write16, writeAndVerify10, writeAndVerify12, writeAndVerify16, writeSame10,
        writeSame16, writeAtomic16, compareAndWrite, orWrite16, writeFilemarks6, writeFilemarks16,
    ]
    /// VERIFY.
    static let verifications: Set<UInt8> = [verify6, verify10, verify12, verify16]
}

extension LogicalUnit {
    /// How long the unit has been there, with the time that was saved before.
    var powerOnMinutes: UInt64 { logValues[LogCounter.powerOnMinutes.rawValue] }

    /// The values of all counters.
    var logValues: [UInt64] { logs.values(logCounts) }

    /// The counts since the unit was made.
    var logCounts: [UInt64] {
        var counts = [UInt64](repeating: 0, count: LogCounter.allCases.count)
        func count(_ counter: LogCounter, _ value: UInt64) { counts[counter.rawValue] &+= value }
        for (code, operation) in statistics.operations {
            guard let code else { continue }
            if OperationCode.reads.contains(code) {
                count(.readBytes, UInt64(operation.readBytes))
                count(.transmittedBytes, UInt64(operation.readBytes))
                count(.readCommands, UInt64(operation.commands))
                count(.readTime, UInt64(operation.nanoseconds))
            } else if OperationCode.writes.contains(code) {
                count(.writtenBytes, UInt64(operation.writtenBytes))
                count(.receivedBytes, UInt64(operation.writtenBytes))
                count(.writeCommands, UInt64(operation.commands))
                count(.writeTime, UInt64(operation.nanoseconds))
            }
        }
        let (errors, transitions) = (logs.errors, power.transitions)
        count(.readErrors, errors.read)
        count(.writeErrors, errors.write)
        count(.verifyErrors, errors.verify)
        count(.nonMediumErrors, errors.nonMedium)
        count(.startStops, transitions.startStops)
        count(.transitionsToActive, transitions.active)
        count(.transitionsToIdle, transitions.idle)
        count(.transitionsToStandby, transitions.standby)
        let passed = MonotonicTime.current().nanoseconds - logs.start.nanoseconds
        count(.powerOnMinutes, UInt64(max(0, passed) / 60_000_000_000))
        return counts
    }
}
