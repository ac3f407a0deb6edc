extension FuzzTarget {
    /// A command of `CommandTarget`'s form, with blocks of data.
    private static func command(_ bytes: [UInt8], blocks: UInt8 = 0, data: [UInt8] = []) -> [UInt8] {
        let flags: UInt8 = (data.isEmpty ? 0 : 2) | (blocks > 0 ? 4 : 0)
        return [flags] + bytes + (data.isEmpty ? [] : [UInt8(data.count)] + data) + (blocks > 0 ? [blocks] : [])
    }

    /// What every device has: INQUIRY and its pages, REQUEST SENSE, REPORT LUNS, MODE SENSE, reservations, and the
    /// report of all commands, which leads to all others.
    private static let common: [[UInt8]] = [
        command([0x12, 0, 0, 0, 255, 0]), command([0x12, 1, 0, 0, 255, 0]), command([0x12, 1, 0x83, 0, 255, 0]),
        command([0x03, 0, 0, 0, 252, 0]), command([0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        command([0x1A, 0, 0x3F, 0xFF, 255, 0]), command([0x5A, 0, 0x3F, 0xFF, 0, 0, 0, 2, 0, 0]),
        command([0x16, 0, 0, 0, 0, 0]), command([0x17, 0, 0, 0, 0, 0]),
        command([0xA3, 0x0C, 0x80, 0, 0, 0, 0, 0, 16, 0, 0, 0]),
        command([0x4D, 0, 0x40, 0, 0, 0, 0, 2, 0, 0]), command([0x1E, 0, 0, 0, 1, 0]), command([0x1D, 4, 0, 0, 0, 0]),
        command([0x15, 0x10, 0, 0, 12, 0], data: [0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 2, 0]),
        command([0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0]), command([0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0], blocks: 1),
    ]

    private static let disk: [[UInt8]] = [
        command([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]), command([0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
        command([0x28, 0, 0, 0, 0, 1, 0, 0, 4, 0]), command([0x2A, 8, 0, 0, 0, 1, 0, 0, 2, 0], blocks: 2),
        command([0x88, 0, 0, 0, 0, 0, 0, 0, 7, 0xFF, 0, 0, 0, 2, 0, 0]),
        command([0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], blocks: 1),
        command([0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], blocks: 2),
        command([0x93, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0], blocks: 1),
        command([0x41, 0, 0, 0, 0, 1, 0, 0, 9, 0], blocks: 1), command([0x2F, 2, 0, 0, 0, 1, 0, 0, 1, 0], blocks: 1),
        command(
            [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
            data: [0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0]),
        command([0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]), command([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        command([0x1B, 0, 0, 0, 0, 0]), command([0x1B, 0, 0, 0, 1, 0]),
    ]

    private static let tape: [[UInt8]] = [
        command([0x05, 0, 0, 0, 0, 0]), command([0x0A, 0, 0, 2, 0, 0], blocks: 1), command([0x10, 1, 0, 0, 1, 0]),
        command([0x01, 0, 0, 0, 0, 0]), command([0x08, 0, 0, 2, 0, 0]), command([0x08, 2, 0, 4, 0, 0]),
        command([0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0]), command([0x11, 1, 0xFF, 0xFF, 0xFF, 0]),
        command([0x11, 3, 0, 0, 0, 0]),
        command([0x92, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), command([0x2B, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        command([0x44, 0, 0, 0, 0, 0, 0, 0, 255, 0]), command([0x8C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
        command([0x19, 0, 0, 0, 0, 0]), command([0x1B, 0, 0, 0, 0, 0]), command([0x1B, 0, 0, 0, 1, 0]),
        command([0x0A, 1, 0, 0, 1, 0], blocks: 1), command([0x04, 0, 0, 0, 0, 0]),
    ]

    private static let changer: [[UInt8]] = [
        command([0x07, 0, 0, 0, 0, 0]), command([0xB8, 0x10, 0, 0, 0xFF, 0xFF, 1, 0, 64, 0, 0, 0]),
        command([0xA5, 0, 0, 0, 4, 0, 1, 1, 0, 0, 0, 0]), command([0xA6, 0, 0, 0, 4, 1, 4, 2, 4, 4, 0, 0]),
        command([0xA5, 0, 0, 0, 1, 1, 3, 0, 0, 0, 0, 0]), command([0x2B, 0, 0, 0, 4, 0, 0, 0, 0, 0]),
        command([0x37, 0, 4, 0, 0, 0, 0, 1, 0, 0]), command([0xB5, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]),
    ]

    /// Each device with what all have, and with its own commands, all together and one by one.
    static var commands: [[UInt8]] {
        [disk, tape, changer].enumerated().flatMap { number, own in
            let device = [UInt8(number)]
            return [device + common.joined(), device + own.joined()] + own.map { device + $0 }
        }
    }
}
