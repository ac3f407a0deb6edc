internal import SCSI
internal import TargetCore

/// The rows of SANITIZE, FORMAT UNIT, defects and pseudo unrecovered errors, and of the 32-byte commands.
extension DiskDeviceServer {
    /// How long an operation on all blocks may take, in seconds: a day.
    private static let operationTimeout: UInt32 = 86400

    /// Byte 1 of SANITIZE: IMMED and AUSE. ZNR is for zoned devices.
    private static let sanitizeFlags: UInt8 = 0xA0

    private static func full(_ count: Int) -> [UInt8] { [UInt8](repeating: 0xFF, count: count) }
    private static func none(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

    // MARK: Operations on all blocks

    static var mediumOperations: [CommandDescriptor<DiskDeviceServer>] {
        let flags = sanitizeFlags
        return [
            CommandDescriptor(
                OperationCode.sanitize, serviceAction: SanitizeAction.overwrite, "SANITIZE, OVERWRITE",
                usage: [flags, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0], direction: .dataOut,
                conditions: [.writesMedium, .allowedWhenNotReady], ordering: .immediate, timeout: operationTimeout,
                begin: { device, task, _ in device.beginOverwrite(task) },
                execute: { device, task, _ in device.sanitizeByOverwrite(task) }),
            CommandDescriptor(
                OperationCode.sanitize, serviceAction: SanitizeAction.blockErase, "SANITIZE, BLOCK ERASE",
                usage: [flags, 0, 0, 0, 0, 0, 0, 0, 0], conditions: [.writesMedium, .allowedWhenNotReady],
                ordering: .immediate, timeout: operationTimeout,
                begin: { device, task, _ in device.beginBlockErase(task) },
                execute: { device, task, _ in device.sanitizeByBlockErase(task) }),
            CommandDescriptor(
                OperationCode.sanitize, serviceAction: SanitizeAction.exitFailureMode, "SANITIZE, EXIT FAILURE MODE",
                usage: [flags, 0, 0, 0, 0, 0, 0, 0, 0], conditions: .allowedWhenNotReady, ordering: .immediate,
                begin: { device, task, _ in device.exitFailureMode(task) }),
            // LONGLIST, FMTDATA, CMPLST, DEFECT LIST FORMAT. No protection information, no fast format.
            CommandDescriptor(
                OperationCode.formatUnit, "FORMAT UNIT", usage: [0x3F, 0, 0, 0, 0], direction: .dataOut,
                conditions: [.writesMedium, .allowedWhenNotReady], timeout: operationTimeout,
                begin: { device, task, _ in device.beginFormat(task) },
                execute: { device, task, _ in device.format(task) }),
        ]
    }

    /// What encrypted disks have besides.
    static var cryptographicErase: CommandDescriptor<DiskDeviceServer> {
        CommandDescriptor(
            OperationCode.sanitize, serviceAction: SanitizeAction.cryptographicErase, "SANITIZE, CRYPTOGRAPHIC ERASE",
            usage: [sanitizeFlags, 0, 0, 0, 0, 0, 0, 0, 0], conditions: [.writesMedium, .allowedWhenNotReady],
            ordering: .immediate, timeout: operationTimeout,
            begin: { device, task, _ in device.beginCryptographicErase(task) },
            execute: { device, task, _ in device.sanitizeByCryptographicErase(task) })
    }

    // MARK: Single blocks

    static var blockErrors: [CommandDescriptor<DiskDeviceServer>] {
        // COR_DIS, WR_UNCOR. PBLOCK would mark all blocks of a physical one.
        let writeLong: UInt8 = 0xC0
        return [
            CommandDescriptor(
                OperationCode.reassignBlocks, "REASSIGN BLOCKS", usage: [0x03, 0, 0, 0, 0], direction: .dataOut,
                conditions: .writesMedium, timeout: 300, begin: { device, task, _ in device.beginReassign(task) },
                execute: { device, task, _ in device.reassign(task) }),
            CommandDescriptor(
                OperationCode.readLong10, "READ LONG(10)", usage: [0x02] + full(4) + [0] + full(2) + [0],
                direction: .dataIn, conditions: .passesWriteExclusive
            ) { device, task, _ in device.readLong(task) },
            CommandDescriptor(
                OperationCode.serviceActionIn16, serviceAction: 0x11, "READ LONG(16)",
                usage: [0] + full(8) + [0, 0] + full(2) + [0x01, 0], direction: .dataIn,
                conditions: .passesWriteExclusive
            ) { device, task, _ in device.readLong(task) },
            CommandDescriptor(
                OperationCode.writeLong10, "WRITE LONG(10)", usage: [writeLong] + full(4) + [0] + full(2) + [0],
                conditions: .writesMedium, begin: { _, _, _ in .awaitDataOut(length: 0) },
                execute: { device, task, _ in device.writeLong(task) }),
            CommandDescriptor(
                OperationCode.serviceActionOut16, serviceAction: 0x11, "WRITE LONG(16)",
                usage: [writeLong] + full(8) + [0, 0] + full(2) + [0, 0], conditions: .writesMedium,
                begin: { _, _, _ in .awaitDataOut(length: 0) },
                execute: { device, task, _ in device.writeLong(task) }),
        ]
    }

    // MARK: 32-byte commands

    /// SERVICE ACTION of the variable-length commands (SBC-4 table 34).
    enum VariableLengthAction {
        static let read32: UInt16 = 0x0009
        static let verify32: UInt16 = 0x000A
        static let write32: UInt16 = 0x000B
        static let writeAndVerify32: UInt16 = 0x000C
        static let writeSame32: UInt16 = 0x000D
        static let getLBAStatus32: UInt16 = 0x0012
    }

    /// What the 16-byte commands do, in another form (SBC-4 clauses 5.19, 5.45, 5.52, 5.57 and 5.60). Without
    /// protection information their fields for it are zero.
    static var variableLength: [CommandDescriptor<DiskDeviceServer>] {
        typealias Row = CommandDescriptor<DiskDeviceServer>
        let group: UInt8 = 0x1F
        // From byte 10 on: the flags, the address, reference tag, application tag and its mask, the length.
        func usage(_ flags: UInt8) -> [UInt8] { [flags, 0] + full(8) + none(8) + full(4) }
        return [
            Row.variableLength(
                serviceAction: VariableLengthAction.read32, "READ(32)", group: group, usage: usage(0x18),
                direction: .dataIn, conditions: .passesWriteExclusive,
                begin: { device, task, _ in device.read(task) }),
            Row.variableLength(
                serviceAction: VariableLengthAction.verify32, "VERIFY(32)", group: group, usage: usage(0x16),
                direction: .dataOut, conditions: .passesWriteExclusive, timeout: 300,
                begin: { device, task, _ in device.beginVerify(task) },
                execute: { device, task, _ in device.verify(task) }),
            Row.variableLength(
                serviceAction: VariableLengthAction.write32, "WRITE(32)", group: group, usage: usage(0x18),
                direction: .dataOut, conditions: .writesMedium,
                begin: { device, task, _ in device.beginWrite(task) },
                execute: { device, task, _ in device.write(task) }),
            Row.variableLength(
                serviceAction: VariableLengthAction.writeAndVerify32, "WRITE AND VERIFY(32)", group: group,
                usage: usage(0x12), direction: .dataOut, conditions: .writesMedium,
                begin: { device, task, _ in device.beginWrite(task) },
                execute: { device, task, _ in device.writeAndVerify(task) }),
            // UNMAP, NDOB.
            Row.variableLength(
                serviceAction: VariableLengthAction.writeSame32, "WRITE SAME(32)", group: group, usage: usage(0x09),
                direction: .dataOut, conditions: .writesMedium, timeout: 300,
                begin: { device, task, _ in device.beginWriteSame(task) },
                execute: { device, task, _ in device.writeSame(task) }),
            // The address, SCAN LENGTH, no ELEMENT IDENTIFIER, ALLOCATION LENGTH. REPORT TYPE 00h: all blocks.
            Row.variableLength(
                serviceAction: VariableLengthAction.getLBAStatus32, "GET LBA STATUS(32)",
                usage: [0, 0] + full(8) + full(4) + none(4) + full(4), direction: .dataIn,
                conditions: .passesWriteExclusive, begin: { device, task, _ in device.getLBAStatus(task) }),
        ]
    }
}
