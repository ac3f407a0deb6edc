internal import Media
internal import Platform
internal import Profiles
internal import SCSI

enum DriveMedium {
    /// Nothing.
    case none
    /// A cartridge that is being opened, or closed for the robot.
    case moving
    /// A cartridge that can be used.
    case ready(Cartridge)
    /// A cartridge that LOAD UNLOAD with HOLD has left unthreaded.
    case held(Cartridge)
    /// A cartridge that was unloaded and waits for the robot, or for a LOAD.
    case ejected(Cartridge)
    /// A cartridge that cannot be used, and why.
    case unusable(SenseData)
}

/// The state of a drive that all nexuses share. On the drive's reactor only.
struct TapeState {
    var medium = DriveMedium.none
    /// A number that changes whenever a cartridge comes or goes.
    var mediumGeneration: UInt32 = 0
    /// The format of the cartridge that is in the drive.
    var density: DensityProfile?
    /// Whether the drive only reads that format.
    var isFormatReadOnly = false
    /// The bytes between early warning and the end of the partition.
    var earlyWarningZone: Int64 = 0
    /// BUFFERED MODE: 0 or 1.
    var bufferedMode: UInt8
    /// SWP of the Device Configuration page.
    var isSoftwareWriteProtected = false
    /// REW of the Device Configuration page.
    var reportsEarlyWarningOnRead = false
    /// Set when a READ met end of data or an error: until the position changes, there is nothing more to read.
    var isReadingFenced = false
    /// Set when the host could not take data: nothing is written until the cartridge is unloaded.
    var hasWriteFailed = false
    /// How many file operations of commands are under way: none or one, because the drive is serial.
    var outstanding = 0
    /// Whether any nexus may have buffered writes.
    var hasBufferedWrites = false
    /// What to do when no file operation is under way any more: the robot waits.
    var whenIdle: (() -> Void)?
    /// The outcome that a command has when its data are durable; nil for GOOD.
    var outcomeAfterSynchronize: SenseData?
    /// The object number at which the running READ or VERIFY began.
    var firstObjectOfRead: UInt64 = 0
    /// What LOG SENSE reports.
    var counters = TapeCounters()
}

/// Amounts since the drive was made, for the log pages.
struct TapeCounters {
    /// Payload bytes that initiators have written.
    var bytesWritten: UInt64 = 0
    /// Payload bytes that initiators have read.
    var bytesRead: UInt64 = 0
    /// How many cartridges were loaded.
    var loads: UInt64 = 0
}

/// The state that a drive keeps for each nexus.
final class TapeNexusState: @unchecked Sendable {
    /// The block length of the mode parameter block descriptor; zero means variable.
    var blockLength = 0
    /// The TapeAlert flags that the nexus has been told of, and as they were when it last asked.
    var reportedAlerts = TapeAlerts.Activations()
    var sentAlerts = TapeAlerts.Activations()
}

/// Where a command with a slow operation is; kept in `SCSITask.step` while one is under way.
enum TapeStep: Int {
    /// READ or VERIFY reads blocks.
    case read
    /// WRITE writes its blocks.
    case append
    /// WRITE FILEMARKS writes its filemarks.
    case appendFilemarks
    /// What was written becomes durable; then the command has `outcomeAfterSynchronize`.
    case synchronize
    /// ERASE makes the position the end of data.
    case erase
    /// LOAD UNLOAD makes everything durable.
    case unload
    /// What a failed WRITE or WRITE FILEMARKS left behind is cut off; then the command has `outcomeAfterSynchronize`.
    case cutLeftOver
    /// WRITE ATTRIBUTE makes its changes durable.
    case commitAttributes
    /// SPACE looks for sequential filemarks.
    case space
}

/// Results that a worker leaves for the drive; the worker and the reactor use it in turn.
final class OffloadedOutcome: @unchecked Sendable {
    /// What an engine that has stopped leaves.
    private static let notPerformed = WriteFailure.host(.device(Errno.cancelled))

    /// Of filemarks.
    var append = AppendResult(count: 0, outcome: .failed(notPerformed))
    /// Of erasing, unloading and attributes.
    var failure: WriteFailure?
    /// Of moving over sequential filemarks.
    var space: SpaceResult?

    /// Forgets earlier results, before another operation.
    func forget() {
        append = AppendResult(count: 0, outcome: .failed(Self.notPerformed))
        failure = Self.notPerformed
        space = nil
    }
}
