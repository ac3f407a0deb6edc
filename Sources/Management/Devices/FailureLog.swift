import Logging
import Platform
import Resources
import SCSI
import TargetCore

/// Counts commands that medium or host have let fail, and tells the log of them, of so many of each device only that a
/// bad disk cannot fill another, nor hide one, and of all together no more than `lineLimit` beside the first of each
/// device.
final class FailureLog: Sendable {
    /// The most notices of all devices in `NoticePace.interval`, beside one that says how many are left out.
    static let lineLimit = 200
    /// The most devices whose first notice in that time is not among these.
    static let deviceLimit = 1000

    private let counters = Lock<[CommandFailure.Cause: Int]>([:])
    private let logger: Logger
    /// That of all devices together.
    private let common: NoticePace
    /// That of the first notice of each.
    private let firsts: NoticePace
    private let clock: @Sendable () -> MonotonicTime
    private let later: @Sendable (Duration, @escaping @Sendable () -> Void) -> Void

    /// A log that writes to `logger`. `later` calls a function after a time.
    init(
        _ logger: Logger, clock: @escaping @Sendable () -> MonotonicTime = { .current() },
        later: @escaping @Sendable (Duration, @escaping @Sendable () -> Void) -> Void = NoticePace.sleep
    ) {
        self.logger = logger
        let tell: @Sendable (Int) -> Void = { suppressed in
            logger.notice("more commands failed", metadata: ["notices left out": "\(suppressed)"])
        }
        common = NoticePace(lineLimit: Self.lineLimit, clock: clock, later: later, tell: tell)
        firsts = NoticePace(lineLimit: Self.deviceLimit, clock: clock, later: later, tell: tell)
        self.clock = clock
        self.later = later
    }

    /// How many there were, by cause; all causes.
    var counts: [String: Int] {
        let counts = counters.withLock { $0 }
        return Dictionary(
            uniqueKeysWithValues: CommandFailure.Cause.allCases.map { ($0.rawValue, counts[$0] ?? 0) })
    }

    /// What a logical unit calls for the device of that name: a disk, a library, or a drive of one.
    func note(of device: String, kind: String) -> @Sendable (CommandFailure) -> Void {
        let pace = NoticePace(clock: clock, later: later) { [logger, common] suppressed in
            guard common.admits() else { return }
            logger.notice("more commands failed", metadata: [kind: "\(device)", "suppressed": "\(suppressed)"])
        }
        return { self.note($0, device, kind, pace) }
    }

    private func note(_ failure: CommandFailure, _ device: String, _ kind: String, _ pace: NoticePace) {
        counters.withLock { $0[failure.cause, default: 0] += 1 }
        guard let number = pace.admit(), (number == 1 ? firsts : common).admits() else { return }
        let code = failure.sense.additionalSenseCode
        var metadata: Logger.Metadata = [
            kind: "\(device)", "cause": "\(failure.cause.rawValue)",
            "command": "\(Self.hexadecimal(failure.operationCode))",
            "additional sense code": "\(Self.hexadecimal(code.code))/\(Self.hexadecimal(code.qualifier))",
            "initiator": "\(PrintableText.escaped(failure.initiator))",
        ]
        metadata["information"] = failure.sense.information.map { "\($0)" }
        logger.notice("command failed", metadata: metadata)
    }

    private static func hexadecimal(_ value: UInt8) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return digits.count < 2 ? "0" + digits : digits
    }
}
