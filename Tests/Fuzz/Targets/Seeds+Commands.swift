internal import SCSI

extension FuzzTarget {
    /// A command of `CommandTarget`'s form, with blocks of data.
    static func command(_ bytes: [UInt8], blocks: UInt8 = 0, data: [UInt8] = [], usesToken: Bool = false) -> [UInt8] {
        let isLong = data.count > 255
        let flags: UInt8 =
            (data.isEmpty ? 0 : 2) | (blocks > 0 ? 4 : 0) | (isLong ? 64 : 0) | (usesToken ? 128 : 0)
        let length = isLong ? [UInt8(data.count >> 8), UInt8(data.count & 0xFF)] : [UInt8(data.count)]
        return [flags] + bytes + (data.isEmpty ? [] : length + data) + (blocks > 0 ? [blocks] : [])
    }

    /// What every device has: INQUIRY and its pages, REQUEST SENSE, REPORT LUNS, MODE SENSE, reservations, and the
    /// report of all commands, which leads to all others.
    private static let common: [[UInt8]] = [
        command([OperationCode.inquiry, 0, 0, 0, 255, 0]), command([OperationCode.inquiry, 1, 0, 0, 255, 0]),
        command([OperationCode.inquiry, 1, 0x83, 0, 255, 0]),
        command([OperationCode.requestSense, 0, 0, 0, 252, 0]),
        command([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        command([OperationCode.modeSense6, 0, 0x3F, 0xFF, 255, 0]),
        command([OperationCode.modeSense10, 0, 0x3F, 0xFF, 0, 0, 0, 2, 0, 0]),
        command([OperationCode.reserve6, 0, 0, 0, 0, 0]), command([OperationCode.release6, 0, 0, 0, 0, 0]),
        command([OperationCode.maintenanceIn, 0x0C, 0x80, 0, 0, 0, 0, 0, 16, 0, 0, 0]),
        command([OperationCode.logSense, 0, 0x40, 0, 0, 0, 0, 2, 0, 0]),
        command([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 1, 0]),
        command([OperationCode.sendDiagnostic, 4, 0, 0, 0, 0]),
        command([OperationCode.sendDiagnostic, 0x10, 0, 0, 4, 0], data: [0, 0, 0, 0]),
        command([OperationCode.receiveDiagnosticResults, 1, 0, 0, 255, 0]),
        command([OperationCode.logSelect, 0, 0x40, 0, 0, 0, 0, 0, 9, 0], data: [0x0F, 0, 0, 5, 0, 1, 3, 1, 7]),
        command([OperationCode.logSelect, 2, 0x40, 0, 0, 0, 0, 0, 0, 0]),
        command([OperationCode.maintenanceIn, 0x05, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]),
        command([OperationCode.maintenanceOut, 0x06, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0], data: [1, 2, 3]),
        command(
            [OperationCode.maintenanceOut, 0x0E, 0x40, 0, 0, 0, 0, 0, 0, 8, 0, 0], data: [5, 0, 0, 0, 0, 0, 0, 0]),
        command(
            [OperationCode.maintenanceOut, 0x0F, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0],
            data: [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]),
        command([OperationCode.writeBuffer, 0x0A, 0, 0, 0, 0, 0, 0, 4, 0], data: [1, 2, 3, 4]),
        command([OperationCode.readBuffer10, 0x0A, 0, 0, 0, 0, 0, 0, 4, 0]),
        command([OperationCode.readBuffer10, 0x03, 0, 0, 0, 0, 0, 0, 4, 0]),
        command([OperationCode.modeSelect6, 0x10, 0, 0, 12, 0], data: [0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 2, 0]),
        command([OperationCode.persistentReserveIn, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
        command([OperationCode.persistentReserveOut, 0, 0, 0, 0, 0, 0, 0, 24, 0], blocks: 1),
        command([OperationCode.maintenanceIn, 0x2A, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]),
        command([OperationCode.maintenanceOut, 0x0A, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], data: [0, 0, 0, 0, 1, 0, 0, 1]),
    ]

    private static let disk: [[UInt8]] = [
        command([OperationCode.readCapacity10, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        command([OperationCode.serviceActionIn16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
        command([OperationCode.read10, 0, 0, 0, 0, 1, 0, 0, 4, 0]),
        command([OperationCode.write10, 8, 0, 0, 0, 1, 0, 0, 2, 0], blocks: 2),
        command([OperationCode.read16, 0, 0, 0, 0, 0, 0, 0, 7, 0xFF, 0, 0, 0, 2, 0, 0]),
        command([OperationCode.write16, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], blocks: 1),
        command([OperationCode.compareAndWrite, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], blocks: 2),
        command([OperationCode.writeSame16, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0], blocks: 1),
        command([OperationCode.writeSame10, 0, 0, 0, 0, 1, 0, 0, 9, 0], blocks: 1),
        command([OperationCode.verify10, 2, 0, 0, 0, 1, 0, 0, 1, 0], blocks: 1),
        command(
            [OperationCode.unmap, 0, 0, 0, 0, 0, 0, 0, 24, 0],
            data: [0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0]),
        command([OperationCode.serviceActionIn16, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]),
        command([OperationCode.synchronizeCache10, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        command([OperationCode.sanitize, 0x82, 0, 0, 0, 0, 0, 0, 0, 0]),
        command([OperationCode.sanitize, 0x01, 0, 0, 0, 0, 0, 0, 6, 0], data: [0x81, 0, 0, 2, 1, 2]),
        command([OperationCode.formatUnit, 0x10, 0, 0, 0, 0], data: [0, 0x8A, 0, 0, 0, 1, 0, 2, 1, 2]),
        command([OperationCode.reassignBlocks, 0, 0, 0, 0, 0], data: [0, 0, 0, 4, 0, 0, 0, 1]),
        command([OperationCode.writeLong10, 0x40, 0, 0, 0, 1, 0, 0, 0, 0]),
        command([OperationCode.readLong10, 0, 0, 0, 0, 1, 0, 2, 0, 0]),
        command([OperationCode.writeAtomic16, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], blocks: 1),
        command([OperationCode.startStopUnit, 0, 0, 0, 0, 0]), command([OperationCode.startStopUnit, 0, 0, 0, 1, 0]),
    ]

    /// Of a disk with protection information: 8 bytes, and a block of 512.
    private static let protectedDisk: [[UInt8]] = [
        command([OperationCode.write10, 0x60, 0, 0, 0, 1, 0, 0, 1, 0], blocks: 1, data: [1, 2, 3, 4, 5, 6, 7, 8]),
        command([OperationCode.read10, 0x20, 0, 0, 0, 1, 0, 0, 2, 0]),
        command([OperationCode.read16, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0]),
        command([OperationCode.verify10, 0x62, 0, 0, 0, 1, 0, 0, 1, 0], blocks: 1, data: [1, 2, 3, 4, 5, 6, 7, 8]),
        command([OperationCode.writeSame10, 0x60, 0, 0, 0, 1, 0, 0, 9, 0], blocks: 1, data: [1, 2, 3, 4, 5, 6, 7, 8]),
        command(
            [OperationCode.orWrite16, 0x60, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], blocks: 1,
            data: [1, 2, 3, 4, 5, 6, 7, 8]),
        command(
            [OperationCode.variableLength, 0, 0, 0, 0, 0, 0, 0x18, 0, 9, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 1]
                + [0, 0, 0, 7, 0, 1, 0, 0xFF, 0, 0, 0, 2]),
        command([OperationCode.formatUnit, 0x90, 0, 0, 0, 0], data: [0, 2, 0, 0]),
    ]

    private static let tape: [[UInt8]] = [
        command([OperationCode.readBlockLimits, 0, 0, 0, 0, 0]),
        command([OperationCode.write6, 0, 0, 2, 0, 0], blocks: 1),
        command([OperationCode.writeFilemarks6, 1, 0, 0, 1, 0]),
        command([OperationCode.rewind, 0, 0, 0, 0, 0]), command([OperationCode.read6, 0, 0, 2, 0, 0]),
        command([OperationCode.read6, 2, 0, 4, 0, 0]),
        command([OperationCode.readPosition, 6, 0, 0, 0, 0, 0, 0, 0, 0]),
        command([OperationCode.space6, 1, 0xFF, 0xFF, 0xFF, 0]),
        command([OperationCode.space6, 3, 0, 0, 0, 0]),
        command([OperationCode.locate16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        command([OperationCode.locate10, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        command([OperationCode.reportDensitySupport, 0, 0, 0, 0, 0, 0, 0, 255, 0]),
        command([OperationCode.readAttribute, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        command([OperationCode.erase6, 0, 0, 0, 0, 0]), command([OperationCode.loadUnload, 0, 0, 0, 0, 0]),
        command([OperationCode.loadUnload, 0, 0, 0, 1, 0]),
        command([OperationCode.write6, 1, 0, 0, 1, 0], blocks: 1),
        command([OperationCode.formatMedium, 0, 0, 0, 0, 0]),
    ]

    private static let changer: [[UInt8]] =
        [
            command([OperationCode.initializeElementStatus, 0, 0, 0, 0, 0]),
            command([OperationCode.readElementStatus, 0x10, 0, 0, 0xFF, 0xFF, 1, 0, 64, 0, 0, 0]),
            command([OperationCode.moveMedium, 0, 0, 0, 4, 0, 1, 1, 0, 0, 0, 0]),
            command([OperationCode.exchangeMedium, 0, 0, 0, 4, 1, 4, 2, 4, 4, 0, 0]),
            command([OperationCode.moveMedium, 0, 0, 0, 1, 1, 3, 0, 0, 0, 0, 0]),
            command([OperationCode.positionToElement, 0, 0, 0, 4, 0, 0, 0, 0, 0]),
            command([OperationCode.initializeElementStatusWithRange, 0, 4, 0, 0, 0, 0, 1, 0, 0]),
            command([0xB5, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]),
        ] + microcode

    /// Each device with what all have, and with its own commands, all together and one by one.
    static var commands: [[UInt8]] {
        [
            disk + longCommands + copies(0), tape, changer, disk + protectedDisk + copies(1),
            protectedDisk + longCommands + copies(2),
        ].enumerated().flatMap { number, own in
            let device = [UInt8(number)]
            return [device + common.joined(), device + own.joined()] + own.map { device + $0 }
        }
    }
}
