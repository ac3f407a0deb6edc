internal import Bytes
internal import Platform
internal import SCSI

/// The timestamp of a logical unit: milliseconds since the beginning of 1970, UTC (SPC-5 clause 5.2). Any thread.
///
/// It is the host's clock, in whole seconds, until SET TIMESTAMP sets it; then it goes on from there until the process
/// ends.
final class DeviceClock: Sendable {
    /// TIMESTAMP ORIGIN (SPC-5 table 59).
    enum Origin: UInt8, Sendable {
        /// SET TIMESTAMP.
        case command = 2
        /// A method outside of the standard.
        case host = 3
    }

    private let setting = Lock<(timestamp: UInt64, time: MonotonicTime)?>(nil)

    /// The timestamp at `time`, of 48 bits.
    func timestamp(at time: MonotonicTime) -> (origin: Origin, milliseconds: UInt64) {
        guard let setting = setting.withLock({ $0 }) else {
            return (.host, UInt64(CalendarTime.current().seconds) * 1000)
        }
        let passed = max(0, time.nanoseconds - setting.time.nanoseconds) / 1_000_000
        return (.command, (setting.timestamp &+ UInt64(passed)) & 0xFFFF_FFFF_FFFF)
    }

    func set(_ milliseconds: UInt64, at time: MonotonicTime) {
        setting.withLock { $0 = (milliseconds, time) }
    }
}

extension LogicalUnit {
    /// The length of the parameter list of SET TIMESTAMP, and of what REPORT TIMESTAMP returns.
    private static let timestampLength = 12

    /// REPORT TIMESTAMP (SPC-5 clause 6.38).
    func reportTimestamp(_ task: SCSITask) -> CommandProgress {
        let (origin, milliseconds) = clock.timestamp(at: task.reactor.clockTime)
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(Self.timestampLength - 2))
        bytes += [origin.rawValue, 0]
        bytes.appendBE16(UInt16(truncatingIfNeeded: milliseconds >> 32))
        bytes.appendBE32(UInt32(truncatingIfNeeded: milliseconds))
        bytes.appendBE16(0)
        return task.answer(bytes, allocationLength: Int(task.commandDescriptorBlock.bytes.loadBE32(at: 6)))
    }

    /// Checks a SET TIMESTAMP (SPC-5 clause 6.47): without a parameter list it changes nothing.
    func beginSetTimestamp(_ task: SCSITask) -> CommandProgress {
        let length = Int(task.commandDescriptorBlock.bytes.loadBE32(at: 6))
        guard length > 0 else { return task.good() }
        guard length == Self.timestampLength else { return task.fail(.illegalRequest, .parameterListLengthError) }
        return .awaitDataOut(length: length)
    }

    func setTimestamp(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let list = task.parameterList()
        guard list.count == Self.timestampLength else { return task.fail(.illegalRequest, .parameterListLengthError) }
        clock.set(list[4..<10].reduce(0) { $0 << 8 | UInt64($1) }, at: task.reactor.clockTime)
        attachedNexuses.establishUnitAttention(.timestampChanged, except: nexus)
        return task.good()
    }
}
