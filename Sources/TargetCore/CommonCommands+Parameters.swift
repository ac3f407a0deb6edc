internal import Bytes
internal import SCSI

// Rows of what SPC defines for all device types and few initiators use. Which of them pass a reservation of another
// nexus is in the tables of SPC-2 clause 5.5 and SPC-5 clause 5.14.
extension CommonCommands {
    /// What reports and changes nothing that anybody relies on.
    private static let report: CommandConditions = [.allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess]
    /// What also uses the device.
    private static let use: CommandConditions = [.allowedWhenNotReady, .passesWriteExclusive]
    /// What changes something.
    private static let change: CommandConditions = .allowedWhenNotReady

    /// From byte 1 on, that of a MAINTENANCE IN or MAINTENANCE OUT command: byte 2, a length in bytes 6 to 9, byte 10.
    private static func maintenanceUsage(second: UInt8 = 0, tenth: UInt8 = 0) -> [UInt8] {
        [0, second, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, tenth, 0]
    }

    /// REPORT and SET IDENTIFYING INFORMATION, PRIORITY and TIMESTAMP (SPC-5 clauses 6.32 to 6.47).
    public static func unitParameters<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        [
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: 0x05, "REPORT IDENTIFYING INFORMATION",
                usage: maintenanceUsage(tenth: 0xFE), direction: .dataIn, conditions: report
            ) { _, task, nexus in nexus.logicalUnit.reportIdentifyingInformation(task) },
            CommandDescriptor(
                OperationCode.maintenanceOut, serviceAction: 0x06, "SET IDENTIFYING INFORMATION",
                usage: maintenanceUsage(tenth: 0xFE), direction: .dataOut, conditions: change,
                begin: { _, task, nexus in nexus.logicalUnit.beginSetIdentifyingInformation(task) },
                execute: { _, task, nexus in nexus.logicalUnit.setIdentifyingInformation(task, nexus) }),
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: 0x0E, "REPORT PRIORITY",
                usage: maintenanceUsage(second: 0xC0), direction: .dataIn, conditions: report
            ) { _, task, nexus in nexus.logicalUnit.reportPriority(task, nexus) },
            CommandDescriptor(
                OperationCode.maintenanceOut, serviceAction: 0x0E, "SET PRIORITY",
                usage: maintenanceUsage(second: 0xC0), direction: .dataOut, conditions: change,
                begin: { _, task, nexus in nexus.logicalUnit.beginSetPriority(task) },
                execute: { _, task, nexus in nexus.logicalUnit.setPriority(task, nexus) }),
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: 0x0F, "REPORT TIMESTAMP", usage: maintenanceUsage(),
                direction: .dataIn, conditions: report
            ) { _, task, nexus in nexus.logicalUnit.reportTimestamp(task) },
            CommandDescriptor(
                OperationCode.maintenanceOut, serviceAction: 0x0F, "SET TIMESTAMP", usage: maintenanceUsage(),
                direction: .dataOut, conditions: change,
                begin: { _, task, nexus in nexus.logicalUnit.beginSetTimestamp(task) },
                execute: { _, task, nexus in nexus.logicalUnit.setTimestamp(task, nexus) }),
        ]
    }

    /// LOG SENSE and LOG SELECT (SPC-5 clauses 6.7 and 6.8).
    public static func logs<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        [
            // SP; PC and PAGE CODE; SUBPAGE CODE; PARAMETER POINTER; ALLOCATION LENGTH.
            CommandDescriptor(
                OperationCode.logSense, "LOG SENSE", usage: [0x01, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0],
                direction: .dataIn, conditions: report.union(.allowedInStandby)
            ) { _, task, nexus in nexus.logicalUnit.logSense(task, nexus) },
            // PCR and SP; PC and PAGE CODE; SUBPAGE CODE; PARAMETER LIST LENGTH.
            CommandDescriptor(
                OperationCode.logSelect, "LOG SELECT", usage: [0x03, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0],
                direction: .dataOut, conditions: change.union(.allowedInStandby),
                begin: { _, task, nexus in nexus.logicalUnit.beginLogSelect(task) },
                execute: { _, task, nexus in nexus.logicalUnit.logSelect(task, nexus) }),
        ]
    }

    /// SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-5 clauses 6.30 and 6.42).
    public static func diagnostics<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        [
            // SELF-TEST CODE, PF, SELFTEST, DEVOFFL and UNITOFFL; PARAMETER LIST LENGTH.
            CommandDescriptor(
                OperationCode.sendDiagnostic, "SEND DIAGNOSTIC", usage: [0xF7, 0, 0xFF, 0xFF, 0], direction: .dataOut,
                conditions: change.union(.allowedInStandby), ordering: .exclusive, timeout: 300,
                begin: { _, task, nexus in nexus.logicalUnit.beginSendDiagnostic(task) },
                execute: { _, task, nexus in nexus.logicalUnit.sendDiagnostic(task) }),
            // PCV; PAGE CODE; ALLOCATION LENGTH.
            CommandDescriptor(
                OperationCode.receiveDiagnosticResults, "RECEIVE DIAGNOSTIC RESULTS",
                usage: [0x01, 0xFF, 0xFF, 0xFF, 0], direction: .dataIn, conditions: use.union(.allowedInStandby)
            ) { _, task, nexus in nexus.logicalUnit.receiveDiagnosticResults(task) },
        ]
    }

    /// READ BUFFER(10) and WRITE BUFFER (SPC-5 clauses 6.18 and 6.49).
    public static func buffers<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        // MODE; BUFFER ID; BUFFER OFFSET; ALLOCATION LENGTH or PARAMETER LIST LENGTH.
        let usage: [UInt8] = [0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0]
        // SPC names the modes of the echo buffer; the others touch no medium either.
        let echoes: CommandConditions = .allowedInEveryAccessState
        return [
            CommandDescriptor(
                OperationCode.readBuffer10, "READ BUFFER(10)", usage: usage, direction: .dataIn,
                conditions: use.union(echoes)
            ) { _, task, nexus in nexus.logicalUnit.readBuffer(task, nexus) },
            CommandDescriptor(
                OperationCode.writeBuffer, "WRITE BUFFER", usage: usage, direction: .dataOut,
                conditions: change.union(echoes),
                begin: { _, task, nexus in nexus.logicalUnit.beginWriteBuffer(task) },
                execute: { _, task, nexus in nexus.logicalUnit.writeBuffer(task, nexus) }
            )
            // MODE SPECIFIC, which a mode of microcode has.
            .allowing(LogicalUnit.modeSpecific, inByte: 1, isShown: false),
        ]
    }
}
