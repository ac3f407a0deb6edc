internal import Profiles
internal import SCSI
internal import TargetCore

/// The command table of media changers.
enum ChangerCommands {
    private typealias Row = CommandDescriptor<ChangerDeviceServer>

    /// The table, with the timeouts of a profile.
    static func table(_ profile: LibraryProfile) -> CommandTable<ChangerDeviceServer> {
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
        rows += status(profile)
        rows += moves(profile)
        return CommandTable(rows)
    }

    private static func status(_ profile: LibraryProfile) -> [Row] {
        [
            // The inventory is always up to date, so there is nothing to look for.
            Row(
                OperationCode.initializeElementStatus, "INITIALIZE ELEMENT STATUS", usage: [0, 0, 0, 0, 0],
                timeout: profile.timeout(.initializeElementStatus)
            ) { _, task, _ in task.good() },
            Row(
                OperationCode.initializeElementStatusWithRange, "INITIALIZE ELEMENT STATUS WITH RANGE",
                usage: [0x03, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0, 0], timeout: profile.timeout(.initializeElementStatus)
            ) { device, task, _ in device.initializeElementStatusWithRange(task) },
            Row(
                OperationCode.readElementStatus, "READ ELEMENT STATUS",
                usage: [0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0x03, 0xFF, 0xFF, 0xFF, 0, 0], direction: .dataIn,
                timeout: profile.timeout(.readElementStatus),
                // CURDATA: what is known already.
                passesReservation: { $0[6] & 0x02 != 0 }
            ) { device, task, _ in device.readElementStatus(task) },
        ]
    }

    private static func moves(_ profile: LibraryProfile) -> [Row] {
        [
            Row(
                OperationCode.moveMedium, "MOVE MEDIUM",
                usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], timeout: profile.timeout(.moveMedium)
            ) { device, task, _ in device.moveMedium(task) },
            Row(
                OperationCode.exchangeMedium, "EXCHANGE MEDIUM",
                usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0],
                timeout: profile.timeout(.exchangeMedium)
            ) { device, task, _ in device.exchangeMedium(task) },
            Row(
                OperationCode.positionToElement, "POSITION TO ELEMENT",
                usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], timeout: profile.timeout(.positionToElement)
            ) { device, task, _ in device.positionToElement(task) },
        ]
    }
}
