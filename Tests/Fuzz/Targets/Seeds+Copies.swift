internal import Bytes
internal import SCSI

/// Commands that lead far: 32-byte ones, copies, tokens, microcode.
extension FuzzTarget {
    /// A command of 32 bytes: flags, one address, no tags, a length.
    private static func long(
        _ action: UInt8, flags: UInt8 = 0, count: UInt8 = 1, blocks: UInt8 = 0
    ) -> [UInt8] {
        let head: [UInt8] = [OperationCode.variableLength, 0, 0, 0, 0, 0, 0, 0x18, 0, action, flags, 0]
        return command(head + [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, count], blocks: blocks)
    }

    /// READ, VERIFY, WRITE, WRITE AND VERIFY, WRITE SAME and GET LBA STATUS.
    static let longCommands: [[UInt8]] = [
        long(0x09, flags: 0x18, count: 4), long(0x0A), long(0x0A, flags: 0x02, blocks: 1),
        long(0x0B, flags: 0x08, count: 2, blocks: 2), long(0x0C, flags: 0x02, blocks: 1),
        long(0x0D, count: 9, blocks: 1), long(0x0D, flags: 0x09, count: 0), long(0x12, count: 64),
        // Of zero blocks: to the end.
        command([OperationCode.writeSame10, 8, 0, 0, 1, 0, 0, 0, 0, 0], blocks: 1),
        command([OperationCode.writeSame16, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]),
        command([OperationCode.sanitize, 0x1F, 0, 0, 0, 0, 0, 0, 0, 0]),
    ]

    // MARK: Copies

    /// EXTENDED COPY in both forms, between the disk of that number, itself and the one behind it; and tokens.
    static func copies(_ number: Int) -> [[UInt8]] {
        func descriptor(isOther: Bool) -> [UInt8] {
            var bytes: [UInt8] = [0xE4, 0, 0, 0, 1, 3, 0, 8]
            bytes.appendBE64(CommandFixture.naa(ofDisk: number, isOther: isOther))
            return bytes + [UInt8](repeating: 0, count: 16)
        }
        func segment(_ source: UInt8, _ destination: UInt8, count: UInt8 = 4) -> [UInt8] {
            [2, 0, 0, 24, 0, source, 0, destination, 0, 0, 0, count, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]
        }
        let both = descriptor(isOther: false) + descriptor(isOther: true)
        // By bytes: from the fifth byte of a block on.
        let byBytes: [UInt8] =
            [0x0A, 0, 0, 28, 0, 0, 0, 0, 0, 0, 2, 0] + [UInt8](repeating: 0, count: 15) + [5, 0, 4, 0, 0]
        let short: [UInt8] = [1, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 88, 0, 0, 0, 0]
        let shortList = short + both + segment(0, 0) + segment(0, 1) + byBytes
        var long = [UInt8](repeating: 0, count: 48)
        long[0] = 1
        long[3] = 0x20
        long[16] = 0xFF
        long[23] = 2
        long[43] = 64
        long[45] = 56
        let longList = long + both + segment(1, 2) + segment(2, 1, count: 1)
        return lists(shortList, longList) + tokens
    }

    private static func lists(_ short: [UInt8], _ long: [UInt8]) -> [[UInt8]] {
        func out(_ action: UInt8, _ list: [UInt8]) -> [UInt8] {
            command(
                [OperationCode.thirdPartyCopyOut, action, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0, 0],
                data: list)
        }
        func receive(_ action: UInt8, _ identifier: [UInt8]) -> [UInt8] {
            command(
                [OperationCode.thirdPartyCopyIn, action] + identifier + [0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0])
        }
        return [
            command([OperationCode.inquiry, 1, 0x8F, 4, 0, 0]), receive(0x03, [0, 0, 0, 0]),
            out(0x00, short), receive(0x00, [1, 0, 0, 0]), receive(0x04, [1, 0, 0, 0]),
            out(0x01, long), receive(0x05, [0, 0, 0, 2]),
            command([OperationCode.thirdPartyCopyOut, 0x1C, 0, 0, 0, 2] + [UInt8](repeating: 0, count: 10)),
            // One after another, which is what tells of a copy.
            out(0x00, short) + receive(0x00, [1, 0, 0, 0]) + receive(0x04, [1, 0, 0, 0]),
            out(0x01, long) + receive(0x05, [0, 0, 0, 2]),
        ]
    }

    /// POPULATE TOKEN, RECEIVE ROD TOKEN INFORMATION, and WRITE USING TOKEN with what came and with zeros.
    private static var tokens: [[UInt8]] {
        let range: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0]
        let other: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 0]
        let populate = command(
            [OperationCode.thirdPartyCopyOut, 0x10, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 32, 0, 0],
            data: [0, 30, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 16] + range)
        let receive = command(
            [OperationCode.thirdPartyCopyIn, 0x07, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0])
        let write: [UInt8] = [OperationCode.thirdPartyCopyOut, 0x11, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 2, 40, 0, 0]
        let head: [UInt8] = [0x02, 38] + [UInt8](repeating: 0, count: 14)
        let tail = [UInt8](repeating: 0, count: 6) + [0, 16] + other
        let zeros: [UInt8] = [0xFF, 0xFF, 0, 1, 0, 0, 0x01, 0xF8] + [UInt8](repeating: 0, count: 504)
        let use = command(write, data: head + tail, usesToken: true)
        return [
            populate, populate + receive + use, command(write, data: head + zeros + tail),
            // A change of what the token represents comes between.
            populate + receive + command([OperationCode.write10, 0, 0, 0, 0, 2, 0, 0, 1, 0], blocks: 1) + use,
        ]
    }

    // MARK: Microcode

    /// WRITE BUFFER in all modes that download or activate microcode, whole and in pieces.
    static var microcode: [[UInt8]] {
        func write(_ mode: UInt8, _ data: [UInt8], at offset: UInt8 = 0) -> [UInt8] {
            command([OperationCode.writeBuffer, mode, 0, 0, 0, offset, 0, 0, UInt8(data.count), 0], data: data)
        }
        let first = Array("AB01".utf8)
        return [
            write(0x04, first), write(0x05, first), write(0x06, first) + write(0x06, [1, 2], at: 4),
            write(0x07, first) + write(0x07, [1, 2], at: 4), write(0x8D, first) + write(0x0F, []),
            write(0x0D, first) + write(0x0D, [1, 2], at: 4) + write(0x0F, []), write(0x0E, first) + write(0x0F, []),
        ]
    }
}
