internal import SCSI
internal import TargetCore

/// The command table (SBC-4 table 33): which commands a disk has, and which of their bits may be set.
extension DiskDeviceServer {
    /// The table of a disk, with a variant for each type of protection information: none, then types 1 to 3. Encrypted
    /// disks have none.
    static func table(
        isRemovable: Bool, isEncrypted: Bool, changesProtection: Bool
    ) -> CommandTable<DiskDeviceServer> {
        if isEncrypted { return isRemovable ? removableEncryptedTable : encryptedTable }
        return tables[(isRemovable ? 2 : 0) + (changesProtection ? 1 : 0)]
    }

    private static let encryptedTable = CommandTable(rows(isRemovable: false) + [cryptographicErase])
    private static let removableEncryptedTable = CommandTable(rows(isRemovable: true) + [cryptographicErase])

    private static let tables = [false, true].flatMap { isRemovable in
        [false, true].map { tables(isRemovable: isRemovable, changesProtection: $0) }
    }

    private static func tables(isRemovable: Bool, changesProtection: Bool) -> CommandTable<DiskDeviceServer> {
        let rows = rows(isRemovable: isRemovable)
        let unprotected = rows.map { row in
            // FMTPINFO.
            changesProtection && row.attributes.operationCode == OperationCode.formatUnit
                ? row.allowing(0xC0, inByte: 1) : row
        }
        return CommandTable(variants: [unprotected] + ProtectionType.allCases.map { protectedRows(rows, $0) })
    }

    private static func rows(isRemovable: Bool) -> [CommandDescriptor<DiskDeviceServer>] {
        (common + maintenance(isRemovable: isRemovable)).map(refusedDuringOperations) + reads + writes + verifications
            + provisioning + mediumOperations + blockErrors + variableLength + thirdPartyCopies
    }

    /// A row whose command is refused while an operation on all blocks goes on, unless it may run then: those that are
    /// processed whatever the unit's state is, and LOG SENSE (SBC-4 clause 4.11.2).
    private static func refusedDuringOperations(
        _ row: CommandDescriptor<DiskDeviceServer>
    ) -> CommandDescriptor<DiskDeviceServer> {
        // Others are refused already because the unit is not ready.
        guard row.attributes.conditions.contains(.allowedWhenNotReady), row.attributes.ordering != .immediate,
            row.attributes.operationCode != OperationCode.logSense
        else { return row }
        return row.checkingFirst { device, task in device.operationRefusal(task) }
    }

    /// Bits of byte 1: DPO, and FUA.
    private static let dpo: UInt8 = 0x10
    private static let fua: UInt8 = 0x08
    /// Bits of byte 1 of VERIFY (two) and WRITE AND VERIFY (one): BYTCHK.
    private static let byteCheck: UInt8 = 0x06
    private static let byteCheckOnly: UInt8 = 0x02
    /// Bit of byte 1 of SYNCHRONIZE CACHE and PRE-FETCH: IMMED.
    private static let immediate: UInt8 = 0x02
    /// Bit of byte 1 of SYNCHRONIZE CACHE: SYNC_NV (SBC-3), which asks for less than is done.
    private static let toNonvolatile: UInt8 = 0x04

    /// How long commands may take that go through many blocks, in seconds.
    private static let longTimeout: UInt32 = 300

    /// GROUP NUMBER: taken, and without effect, as nothing is collected by group (SBC-4 clause 4.22).
    private static let group: UInt8 = 0x1F

    // CDB usage data from byte 1 on of the medium access commands' four forms. CONTROL is zero.
    private static let usage6: [UInt8] = [0x1F, 0xFF, 0xFF, 0xFF, 0]
    private static func usage10(_ flags: UInt8) -> [UInt8] {
        [flags] + full(4) + [group] + full(2) + [0]
    }
    private static func usage12(_ flags: UInt8) -> [UInt8] {
        [flags] + full(8) + [group, 0]
    }
    private static func usage16(_ flags: UInt8) -> [UInt8] {
        [flags] + full(12) + [group, 0]
    }
    private static func full(_ count: Int) -> [UInt8] { [UInt8](repeating: 0xFF, count: count) }

    // MARK: Rows

    private static var common: [CommandDescriptor<DiskDeviceServer>] {
        let single: [CommandDescriptor<DiskDeviceServer>] = [
            CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.requestSense(),
            CommonCommands.reportLUNs(), CommonCommands.preventAllowMediumRemoval(),
        ]
        return single + CommonCommands.modeParameters() + CommonCommands.reservations()
            + CommonCommands.persistentReservations() + CommonCommands.targetPortGroups()
            + CommonCommands.reportSupported()
            + CommonCommands.logs() + CommonCommands.diagnostics() + CommonCommands.unitParameters()
            + CommonCommands.buffers()
    }

    private static var reads: [CommandDescriptor<DiskDeviceServer>] {
        func row(_ code: UInt8, _ name: String, _ usage: [UInt8]) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(
                code, name, usage: usage, direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.read(task) }
        }
        func prefetch(_ code: UInt8, _ name: String, _ usage: [UInt8]) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(code, name, usage: usage, conditions: .passesWriteExclusive) { device, task, _ in
                device.prefetch(task)
            }
        }
        return [
            row(OperationCode.read6, "READ(6)", usage6),
            row(OperationCode.read10, "READ(10)", usage10(dpo | fua)),
            row(OperationCode.read12, "READ(12)", usage12(dpo | fua)),
            row(OperationCode.read16, "READ(16)", usage16(dpo | fua)),
            prefetch(OperationCode.prefetch10, "PRE-FETCH(10)", usage10(immediate)),
            prefetch(OperationCode.prefetch16, "PRE-FETCH(16)", usage16(immediate)),
        ]
    }

    private static var writes: [CommandDescriptor<DiskDeviceServer>] {
        func row(
            _ code: UInt8, _ name: String, _ usage: [UInt8],
            _ execute: @escaping CommandDescriptor<DiskDeviceServer>.Handler
        ) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(
                code, name, usage: usage, direction: .dataOut, conditions: .writesMedium,
                begin: { device, task, _ in device.beginWrite(task) }, execute: execute)
        }
        return [
            row(OperationCode.write6, "WRITE(6)", usage6) { device, task, _ in device.write(task) },
            row(OperationCode.write10, "WRITE(10)", usage10(dpo | fua)) { device, task, _ in device.write(task) },
            row(OperationCode.write12, "WRITE(12)", usage12(dpo | fua)) { device, task, _ in device.write(task) },
            row(OperationCode.write16, "WRITE(16)", usage16(dpo | fua)) { device, task, _ in device.write(task) },
            row(OperationCode.writeAndVerify10, "WRITE AND VERIFY(10)", usage10(dpo | byteCheckOnly)) { unit, task, _ in
                unit.writeAndVerify(task)
            },
            row(OperationCode.writeAndVerify12, "WRITE AND VERIFY(12)", usage12(dpo | byteCheckOnly)) { unit, task, _ in
                unit.writeAndVerify(task)
            },
            row(OperationCode.writeAndVerify16, "WRITE AND VERIFY(16)", usage16(dpo | byteCheckOnly)) { unit, task, _ in
                unit.writeAndVerify(task)
            },
            CommandDescriptor(
                OperationCode.writeAtomic16, "WRITE ATOMIC(16)", usage: usage16(dpo | fua), direction: .dataOut,
                conditions: .writesMedium, begin: { device, task, _ in device.beginWriteAtomic(task) },
                execute: { device, task, _ in device.writeAtomic(task) }),
            CommandDescriptor(
                OperationCode.orWrite16, "ORWRITE(16)", usage: usage16(dpo | fua), direction: .dataOut,
                conditions: .writesMedium, begin: { device, task, _ in device.beginOrWrite(task) },
                execute: { device, task, _ in device.orWrite(task) }),
            CommandDescriptor(
                OperationCode.compareAndWrite, "COMPARE AND WRITE",
                usage: [dpo | fua] + full(8) + [0, 0, 0, 0xFF, group, 0], direction: .dataOut,
                conditions: .writesMedium,
                begin: { device, task, _ in device.beginCompareAndWrite(task) },
                execute: { device, task, _ in device.compareAndWrite(task) }),
        ]
    }

    private static var verifications: [CommandDescriptor<DiskDeviceServer>] {
        func row(_ code: UInt8, _ name: String, _ usage: [UInt8]) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(
                code, name, usage: usage, direction: .dataOut, conditions: .passesWriteExclusive, timeout: longTimeout,
                begin: { device, task, _ in device.beginVerify(task) },
                execute: { device, task, _ in device.verify(task) })
        }
        return [
            row(OperationCode.verify10, "VERIFY(10)", usage10(dpo | byteCheck)),
            row(OperationCode.verify12, "VERIFY(12)", usage12(dpo | byteCheck)),
            row(OperationCode.verify16, "VERIFY(16)", usage16(dpo | byteCheck)),
        ]
    }

    private static var provisioning: [CommandDescriptor<DiskDeviceServer>] {
        func writeSame(_ code: UInt8, _ name: String, _ usage: [UInt8]) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(
                code, name, usage: usage, direction: .dataOut, conditions: .writesMedium, timeout: longTimeout,
                begin: { device, task, _ in device.beginWriteSame(task) },
                execute: { device, task, _ in device.writeSame(task) })
        }
        return [
            CommandDescriptor(
                OperationCode.unmap, "UNMAP", usage: [0, 0, 0, 0, 0, group, 0xFF, 0xFF, 0], direction: .dataOut,
                conditions: .writesMedium, timeout: longTimeout, begin: { device, task, _ in device.beginUnmap(task) },
                execute: { device, task, _ in device.unmap(task) }),
            // UNMAP; ANCHOR is for resources that can be anchored, which a sparse file has not.
            writeSame(OperationCode.writeSame10, "WRITE SAME(10)", usage10(0x08)),
            // UNMAP, NDOB.
            writeSame(OperationCode.writeSame16, "WRITE SAME(16)", usage16(0x09)),
            CommandDescriptor(
                OperationCode.serviceActionIn16, serviceAction: 0x12, "GET LBA STATUS(16)",
                usage: [0] + full(12) + [0, 0], direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.getLBAStatus(task) },
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: 0x1D, "REPORT PROVISIONING INITIALIZATION PATTERN",
                usage: [0, 0, 0, 0, 0] + full(4) + [0, 0], direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.reportProvisioningPattern(task) },
        ]
    }

    private static func maintenance(isRemovable: Bool) -> [CommandDescriptor<DiskDeviceServer>] {
        func synchronize(_ code: UInt8, _ name: String, _ usage: [UInt8]) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(code, name, usage: usage, timeout: longTimeout) { unit, task, _ in
                unit.synchronizeCache(task)
            }
        }
        return [
            CommandDescriptor(
                OperationCode.readCapacity10, "READ CAPACITY(10)", usage: [0, 0, 0, 0, 0, 0, 0, 0, 0],
                direction: .dataIn, conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess]
            ) { device, task, _ in device.readCapacity10(task) },
            CommandDescriptor(
                OperationCode.serviceActionIn16, serviceAction: 0x10, "READ CAPACITY(16)",
                usage: [0, 0, 0, 0, 0, 0, 0, 0, 0] + full(4) + [0, 0], direction: .dataIn,
                conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess]
            ) { device, task, _ in device.readCapacity16(task) },
            synchronize(OperationCode.synchronizeCache10, "SYNCHRONIZE CACHE(10)", usage10(immediate | toNonvolatile)),
            synchronize(OperationCode.synchronizeCache16, "SYNCHRONIZE CACHE(16)", usage16(immediate | toNonvolatile)),
            // IMMED; POWER CONDITION MODIFIER; POWER CONDITION, NO_FLUSH, START, and LOEJ where there is something to
            // load. To start a unit is no conflict with another nexus's reservation (SPC-2 table 10); to load is.
            CommandDescriptor(
                OperationCode.startStopUnit, "START STOP UNIT", usage: [0x01, 0, 0x0F, isRemovable ? 0xF7 : 0xF5, 0],
                conditions: .allowedWhenNotReady, ordering: .exclusive, passesReservation: { $0[4] & 0xF3 == 0x01 }
            ) { device, task, nexus in device.startStop(task, nexus) },
            CommandDescriptor(
                OperationCode.readDefectData10, "READ DEFECT DATA(10)", usage: [0, 0x1F, 0, 0, 0, 0, 0xFF, 0xFF, 0],
                direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readDefectData10(task) },
            CommandDescriptor(
                OperationCode.readDefectData12, "READ DEFECT DATA(12)", usage: [0x1F] + full(8) + [0, 0],
                direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readDefectData12(task) },
        ]
    }
}
