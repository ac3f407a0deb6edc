internal import Bytes
internal import SCSI

/// The rows of commands that SPC defines for all device types. A type's table takes those that it has.
public enum CommonCommands {
    /// TEST UNIT READY (SPC-5 clause 6.47).
    public static func testUnitReady<Device: DeviceServer>() -> CommandDescriptor<Device> {
        CommandDescriptor(
            OperationCode.testUnitReady, "TEST UNIT READY", usage: [0, 0, 0, 0, 0], conditions: .passesExclusiveAccess
        ) { _, task, _ in task.good() }
    }

    /// INQUIRY (SPC-5 clause 6.6).
    public static func inquiry<Device: DeviceServer>() -> CommandDescriptor<Device> {
        CommandDescriptor(
            OperationCode.inquiry, "INQUIRY", usage: [0x01, 0xFF, 0xFF, 0xFF, 0], direction: .dataIn,
            conditions: [
                .allowedWithUnitAttention, .allowedWhenReserved, .passesExclusiveAccess, .allowedWhenNotReady,
                .allowedInEveryAccessState,
            ], ordering: .immediate
        ) { _, task, nexus in nexus.logicalUnit.inquire(task, nexus) }
    }

    /// REQUEST SENSE (SPC-5 clause 6.39).
    public static func requestSense<Device: DeviceServer>() -> CommandDescriptor<Device> {
        CommandDescriptor(
            OperationCode.requestSense, "REQUEST SENSE", usage: [0x01, 0, 0, 0xFF, 0], direction: .dataIn,
            conditions: [
                .allowedWithUnitAttention, .allowedWhenReserved, .passesExclusiveAccess, .allowedWhenNotReady,
                .allowedInEveryAccessState,
            ], ordering: .immediate
        ) { device, task, nexus in
            let block = task.commandDescriptorBlock
            let allocationLength = Int(block[4])
            let isDescriptorFormat = block[1] & 1 != 0
            // Where INQUIRY says that no peripheral device is connected, nothing else is reported (SPC-5 clause 6.39).
            let unsupported =
                nexus.hidesPeripheralDevice ? SenseData(.illegalRequest, .logicalUnitNotSupported) : nil
            let attention = unsupported == nil ? nexus.firstUnitAttention : nil
            let deferred = unsupported == nil && attention == nil ? nexus.firstDeferredError : nil
            let sense =
                unsupported ?? attention.map { SenseData(.unitAttention, $0) } ?? deferred
                ?? nexus.conditions.accessStateSense
                ?? nexus.logicalUnit.polledSense(device.polledSense(nexus), on: task.reactor)
            let progress = task.answer(
                sense.encoded(isDescriptorFormat: isDescriptorFormat), allocationLength: allocationLength)
            // What is reported is cleared when it has gone out with its additional sense code, and not before.
            let reported = min(allocationLength, task.expectedDataInLength)
            guard task.status == .good, reported >= (isDescriptorFormat ? 4 : 14) else { return progress }
            if let attention { nexus.clearUnitAttention(attention) }
            if deferred != nil { _ = nexus.takeDeferredError() }
            return progress
        }
    }

    /// REPORT LUNS (SPC-5 clause 6.33).
    public static func reportLUNs<Device: DeviceServer>() -> CommandDescriptor<Device> {
        CommandDescriptor(
            OperationCode.reportLUNs, "REPORT LUNS", usage: [0, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0],
            direction: .dataIn,
            conditions: [
                .allowedWithUnitAttention, .allowedWhenReserved, .passesExclusiveAccess, .allowedWhenNotReady,
                .allowedInEveryAccessState,
            ], ordering: .immediate
        ) { _, task, nexus in
            let block = task.commandDescriptorBlock
            let allocationLength = Int(block.bytes.loadBE32(at: 6))
            // 00h: those of the map; 01h: the well known ones; 02h: all.
            guard block[2] <= 2 else { return task.failInvalidField(byte: 2) }
            let iTNexus = nexus.iTNexus
            iTNexus.inventoryWillBeReported()
            let listed = block[2] == 1 ? 0 : (max(allocationLength, 8) - 1) / 8
            let (count, numbers) = block[2] == 1 ? (0, []) : iTNexus.logicalUnits.inventory(limit: listed)
            let wellKnown = block[2] == 0 ? [] : WellKnownDevice.numbers
            var bytes: [UInt8] = []
            bytes.reserveCapacity(8 + (numbers.count + wellKnown.count) * 8)
            bytes.appendBE32(UInt32((count + wellKnown.count) * 8))
            bytes.appendBE32(0)
            for number in numbers { bytes.appendBE64(LogicalUnitNumber(number).rawValue) }
            for number in wellKnown { bytes.appendBE64(number.rawValue) }
            let progress = task.answer(bytes, allocationLength: allocationLength)
            // The initiator has learned of nothing: it is told of the change again.
            if task.status != .good { iTNexus.inventoryHasChanged() }
            return progress
        }
    }

    /// MODE SENSE(6) and (10), MODE SELECT(6) and (10) (SPC-5 clauses 6.11 to 6.14).
    public static func modeParameters<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        [
            CommandDescriptor(
                OperationCode.modeSense6, "MODE SENSE(6)", usage: [0x08, 0xFF, 0xFF, 0xFF, 0], direction: .dataIn,
                conditions: [.allowedWhenNotReady, .passesWriteExclusive, .allowedInStandby]
            ) { _, task, nexus in nexus.logicalUnit.modeSense(task, nexus, isLong: false) },
            CommandDescriptor(
                OperationCode.modeSense10, "MODE SENSE(10)", usage: [0x18, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0],
                direction: .dataIn, conditions: [.allowedWhenNotReady, .passesWriteExclusive, .allowedInStandby]
            ) { _, task, nexus in nexus.logicalUnit.modeSense(task, nexus, isLong: true) },
            CommandDescriptor(
                OperationCode.modeSelect6, "MODE SELECT(6)", usage: [0x13, 0, 0, 0xFF, 0], direction: .dataOut,
                conditions: [.allowedWhenNotReady, .allowedInStandby], ordering: .exclusive,
                begin: { _, task, _ in .awaitDataOut(length: Int(task.commandDescriptorBlock[4])) },
                execute: { _, task, nexus in nexus.logicalUnit.modeSelect(task, nexus, isLong: false) }),
            CommandDescriptor(
                OperationCode.modeSelect10, "MODE SELECT(10)", usage: [0x13, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0],
                direction: .dataOut, conditions: [.allowedWhenNotReady, .allowedInStandby], ordering: .exclusive,
                begin: { _, task, _ in
                    .awaitDataOut(length: Int(task.commandDescriptorBlock.bytes.loadBE16(at: 7)))
                },
                execute: { _, task, nexus in nexus.logicalUnit.modeSelect(task, nexus, isLong: true) }),
        ]
    }

    /// RESERVE and RELEASE, (6) and (10), of the whole unit (SPC-2 clauses 7.15 to 7.22). Third-party and extent
    /// reservations are obsolete and refused.
    public static func reservations<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        let reserve: CommandDescriptor<Device>.Handler = { device, task, nexus in
            if let isGood = device.attachedNexuses.compatibleReservation(of: nexus) {
                return isGood ? task.good() : task.end(.reservationConflict)
            }
            return device.attachedNexuses.reserve(for: nexus) ? task.good() : task.end(.reservationConflict)
        }
        let release: CommandDescriptor<Device>.Handler = { device, task, nexus in
            if let isGood = device.attachedNexuses.compatibleReservation(of: nexus) {
                return isGood ? task.good() : task.end(.reservationConflict)
            }
            device.attachedNexuses.release(by: nexus)
            return task.good()
        }
        let short: [UInt8] = [0, 0, 0, 0, 0]
        let long: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0]
        return [
            CommandDescriptor(
                OperationCode.reserve6, "RESERVE(6)", usage: short,
                conditions: [.allowedWhenNotReady, .passesExclusiveAccess], begin: reserve),
            CommandDescriptor(
                OperationCode.reserve10, "RESERVE(10)", usage: long,
                conditions: [.allowedWhenNotReady, .passesExclusiveAccess], begin: reserve),
            // A nexus that holds nothing may release: GOOD without effect (SPC-2 clause 7.17.1).
            CommandDescriptor(
                OperationCode.release6, "RELEASE(6)", usage: short,
                conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess], begin: release),
            CommandDescriptor(
                OperationCode.release10, "RELEASE(10)", usage: long,
                conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess], begin: release),
        ]
    }

    /// PERSISTENT RESERVE IN and PERSISTENT RESERVE OUT (SPC-5 clauses 6.15 and 6.16). Each finds conflicts itself.
    public static func persistentReservations<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        let conditions: CommandConditions = [
            .allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess, .allowedInStandby,
        ]
        let reads: [(LogicalUnit.PersistentReserveInAction, String)] = [
            (.readKeys, "READ KEYS"), (.readReservation, "READ RESERVATION"),
            (.reportCapabilities, "REPORT CAPABILITIES"), (.readFullStatus, "READ FULL STATUS"),
        ]
        let changes: [(LogicalUnit.PersistentReserveOutAction, String)] = [
            (.register, "REGISTER"), (.reserve, "RESERVE"), (.release, "RELEASE"), (.clear, "CLEAR"),
            (.preempt, "PREEMPT"), (.preemptAndAbort, "PREEMPT AND ABORT"),
            (.registerAndIgnoreExistingKey, "REGISTER AND IGNORE EXISTING KEY"),
            (.registerAndMove, "REGISTER AND MOVE"), (.replaceLostReservation, "REPLACE LOST RESERVATION"),
        ]
        return reads.map { action, name in
            CommandDescriptor(
                OperationCode.persistentReserveIn, serviceAction: action.rawValue, "PERSISTENT RESERVE IN, \(name)",
                usage: [0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0], direction: .dataIn, conditions: conditions
            ) { _, task, nexus in nexus.logicalUnit.persistentReserveIn(task, action) }
        }
            + changes.map { action, name in
                CommandDescriptor(
                    OperationCode.persistentReserveOut, serviceAction: action.rawValue,
                    "PERSISTENT RESERVE OUT, \(name)",
                    // Scope and type are ignored where they say nothing.
                    usage: [0, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0],
                    direction: .dataOut,
                    conditions: action == .preemptAndAbort ? conditions.union(.allowedInFaultedTaskSet) : conditions,
                    begin: { _, task, nexus in nexus.logicalUnit.beginPersistentReserveOut(task) },
                    execute: { _, task, nexus in nexus.logicalUnit.persistentReserveOut(task, nexus, action) })
            }
    }

    /// REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-5 clauses 6.35, 6.36).
    public static func reportSupported<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        [
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: 0x0C, "REPORT SUPPORTED OPERATION CODES",
                usage: [0, 0x87, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0], direction: .dataIn,
                conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesWriteExclusive, .allowedInStandby],
                ordering: .immediate
            ) { _, task, nexus in nexus.logicalUnit.reportSupportedOperationCodes(task, nexus) },
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: 0x0D, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
                usage: [0, 0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0], direction: .dataIn,
                conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesWriteExclusive, .allowedInStandby],
                ordering: .immediate
            ) { _, task, _ in
                let block = task.commandDescriptorBlock
                // ATS, ATSS, CACAS, CTSS, LURS, QTS; QAES, QTSS, ITNRS in byte 1 (SPC-5 table 286).
                var bytes: [UInt8] = [0xFC, 0x07, 0, 0]
                if block[2] & 0x80 != 0 {
                    // REPD: the extended format with a medium timeout descriptor of none.
                    bytes[3] = 12
                    bytes.append(contentsOf: repeatElement(0, count: 12))
                }
                return task.answer(bytes, allocationLength: Int(block.bytes.loadBE32(at: 6)))
            },
        ]
    }

    /// REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS (SPC-5 clauses 6.37 and 6.45).
    public static func targetPortGroups<Device: DeviceServer>() -> [CommandDescriptor<Device>] {
        [
            CommandDescriptor(
                OperationCode.maintenanceIn, serviceAction: LogicalUnit.targetPortGroupsAction,
                "REPORT TARGET PORT GROUPS", usage: [0xE0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0],
                direction: .dataIn,
                conditions: [
                    .allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess, .allowedInEveryAccessState,
                ], ordering: .immediate
            ) { _, task, nexus in nexus.logicalUnit.reportTargetPortGroups(task, nexus) },
            CommandDescriptor(
                OperationCode.maintenanceOut, serviceAction: LogicalUnit.targetPortGroupsAction,
                "SET TARGET PORT GROUPS", usage: [0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0],
                direction: .dataOut,
                conditions: [.allowedWhenNotReady, .allowedInStandby, .allowedWhenUnavailable],
                begin: { _, task, _ in LogicalUnit.beginSetTargetPortGroups(task) },
                execute: { _, task, nexus in nexus.logicalUnit.setTargetPortGroups(task, nexus) }),
        ]
    }

    /// PREVENT ALLOW MEDIUM REMOVAL (SPC-5 clause 6.14). Allowing is no conflict with another nexus's reservation
    /// (SPC-2 table 10).
    public static func preventAllowMediumRemoval<Device: DeviceServer>() -> CommandDescriptor<Device> {
        CommandDescriptor(
            OperationCode.preventAllowMediumRemoval, "PREVENT ALLOW MEDIUM REMOVAL", usage: [0, 0, 0, 0x03, 0],
            conditions: [.allowedWhenNotReady], passesReservation: { $0[4] & 0x03 == 0 }
        ) { _, task, nexus in
            let prevent = task.commandDescriptorBlock[4] & 0x03
            guard prevent < 2 else { return task.failInvalidField(byte: 4, bit: 1) }
            nexus.preventsMediumRemoval = prevent == 1
            return task.good()
        }
    }
}
