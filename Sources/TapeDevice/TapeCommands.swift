internal import Profiles
internal import SCSI
internal import TargetCore

/// The command table of tape drives.
enum TapeCommands {
    private typealias Row = CommandDescriptor<TapeDeviceServer>

    /// The table, with the timeouts of a profile.
    static func table(_ profile: DriveProfile) -> CommandTable<TapeDeviceServer> {
        var rows: [Row] = [
            CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.requestSense(),
            CommonCommands.reportLUNs(), CommonCommands.preventAllowMediumRemoval(),
        ]
        rows += CommonCommands.modeParameters()
        rows += CommonCommands.reservations()
        rows += CommonCommands.persistentReservations()
        rows += CommonCommands.targetPortGroups()
        rows += CommonCommands.reportSupported()
        rows += CommonCommands.logs()
        rows += CommonCommands.diagnostics()
        rows += CommonCommands.unitParameters()
        rows += CommonCommands.buffers()
        rows += transfers(profile)
        rows += positioning(profile)
        rows += medium(profile)
        rows += reports()
        rows += attributes()
        return CommandTable(rows)
    }

    /// Commands that move blocks and filemarks.
    private static func transfers(_ profile: DriveProfile) -> [Row] {
        [
            Row(
                OperationCode.read6, "READ(6)", usage: [0x03, 0xFF, 0xFF, 0xFF, 0], direction: .dataIn,
                conditions: .passesWriteExclusive, timeout: profile.timeout(.read)
            ) { device, task, nexus in device.read(task, nexus) },
            Row(
                OperationCode.write6, "WRITE(6)", usage: [0x01, 0xFF, 0xFF, 0xFF, 0], direction: .dataOut,
                conditions: .writesMedium, timeout: profile.timeout(.write),
                begin: { device, task, nexus in device.beginWrite(task, nexus) },
                execute: { device, task, nexus in device.write(task, nexus) }),
            Row(
                OperationCode.writeFilemarks6, "WRITE FILEMARKS(6)", usage: [0x01, 0xFF, 0xFF, 0xFF, 0],
                conditions: .writesMedium, timeout: profile.timeout(.writeFilemarks)
            ) { device, task, nexus in device.writeFilemarks(task, nexus) },
            Row(
                OperationCode.verify6, "VERIFY(6)", usage: [0x05, 0xFF, 0xFF, 0xFF, 0],
                conditions: .passesWriteExclusive, timeout: profile.timeout(.verify)
            ) { device, task, nexus in device.read(task, nexus) },
            Row(
                OperationCode.erase6, "ERASE(6)", usage: [0x03, 0, 0, 0, 0], conditions: .writesMedium,
                timeout: profile.timeout(.erase)
            ) { device, task, nexus in device.erase(task, nexus) },
        ]
    }

    /// Commands that change the position.
    private static func positioning(_ profile: DriveProfile) -> [Row] {
        let identifier = [UInt8](repeating: 0xFF, count: 8)
        return [
            Row(
                OperationCode.rewind, "REWIND", usage: [0x01, 0, 0, 0, 0], conditions: .passesWriteExclusive,
                timeout: profile.timeout(.rewind)
            ) { device, task, nexus in device.rewind(task, nexus) },
            Row(
                OperationCode.space6, "SPACE(6)", usage: [0x0F, 0xFF, 0xFF, 0xFF, 0],
                conditions: .passesWriteExclusive, timeout: profile.timeout(.space)
            ) { device, task, _ in device.space(task) },
            Row(
                OperationCode.space16, "SPACE(16)", usage: [0x0F, 0, 0] + identifier + [0, 0, 0, 0],
                conditions: .passesWriteExclusive, timeout: profile.timeout(.space)
            ) { device, task, _ in device.space(task) },
            Row(
                OperationCode.locate10, "LOCATE(10)", usage: [0x07, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0],
                conditions: .passesWriteExclusive, timeout: profile.timeout(.locate)
            ) { device, task, _ in device.locate10(task) },
            Row(
                OperationCode.locate16, "LOCATE(16)", usage: [0x3B, 0, 0xFF] + identifier + [0, 0, 0, 0],
                conditions: .passesWriteExclusive, timeout: profile.timeout(.locate)
            ) { device, task, _ in device.locate16(task) },
        ]
    }

    /// Loading and unloading.
    private static func medium(_ profile: DriveProfile) -> [Row] {
        [
            Row(
                OperationCode.loadUnload, "LOAD UNLOAD", usage: [0x01, 0, 0, 0x0F, 0],
                conditions: .allowedWhenNotReady, timeout: profile.timeout(.loadUnload)
            ) { device, task, nexus in device.loadUnload(task, nexus) }
        ]
    }

    /// Commands that only tell something.
    private static func reports() -> [Row] {
        // The allocation length belongs to the extended form (SSC-5 table 62); other forms ignore it, because clients
        // in the field fill it in for the long form too.
        let readPosition: [UInt8] = [0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]
        return [
            Row(
                OperationCode.readBlockLimits, "READ BLOCK LIMITS", usage: [0x01, 0, 0, 0, 0], direction: .dataIn,
                conditions: [.allowedWhenNotReady, .passesExclusiveAccess]
            ) { device, task, _ in device.readBlockLimits(task) },
            Row(
                OperationCode.reportDensitySupport, "REPORT DENSITY SUPPORT",
                usage: [0x01, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0], direction: .dataIn,
                conditions: [.allowedWhenNotReady, .passesExclusiveAccess]
            ) { device, task, _ in device.reportDensitySupport(task) },
            Row(
                OperationCode.readPosition, serviceAction: 0x00, "READ POSITION, SHORT FORM - BLOCK ID",
                usage: readPosition, direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readPositionShort(task) },
            Row(
                OperationCode.readPosition, serviceAction: 0x01, "READ POSITION, SHORT FORM - VENDOR SPECIFIC",
                usage: readPosition, direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readPositionShort(task) },
            Row(
                OperationCode.readPosition, serviceAction: 0x06, "READ POSITION, LONG FORM", usage: readPosition,
                direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readPositionLong(task) },
            Row(
                OperationCode.readPosition, serviceAction: 0x08, "READ POSITION, EXTENDED FORM", usage: readPosition,
                direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readPositionExtended(task) },
        ]
    }

    /// Medium auxiliary memory.
    private static func attributes() -> [Row] {
        let actions: [(UInt8, String)] = [
            (0x00, "ATTRIBUTE VALUES"), (0x01, "ATTRIBUTE LIST"), (0x02, "LOGICAL VOLUME LIST"),
            (0x03, "PARTITION LIST"), (0x05, "SUPPORTED ATTRIBUTES"),
        ]
        let read = actions.map { action, name in
            Row(
                OperationCode.readAttribute, serviceAction: action, "READ ATTRIBUTE, \(name)",
                usage: [0, 0, 0, 0, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0], direction: .dataIn,
                conditions: .passesWriteExclusive
            ) { device, task, _ in device.readAttribute(task) }
        }
        return read + [
            Row(
                OperationCode.writeAttribute, "WRITE ATTRIBUTE",
                usage: [0x01, 0, 0, 0, 0xFF, 0, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0], direction: .dataOut,
                conditions: .writesMedium, begin: { device, task, _ in device.beginWriteAttribute(task) },
                execute: { device, task, nexus in device.writeAttribute(task, nexus) })
        ]
    }
}
