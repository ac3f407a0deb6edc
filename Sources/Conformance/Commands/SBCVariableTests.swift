internal import Bytes
internal import SCSI

/// The 32-byte commands (SBC-4 clauses 5.19, 5.45, 5.52, 5.57 and 5.60), and the tags that they have for type 2
/// protection (SBC-4 clause 4.21.2.4).
enum SBCVariableTests {
    static let all = plain + tags

    private static let read32: UInt16 = 0x0009
    private static let verify32: UInt16 = 0x000A
    private static let write32: UInt16 = 0x000B
    private static let writeAndVerify32: UInt16 = 0x000C
    private static let writeSame32: UInt16 = 0x000D

    private static let first = UInt64(Disk.scratch)

    /// A 32-byte command with the expected initial reference tag, the application tag and its mask.
    private static func cdb(
        _ action: UInt16, _ first: UInt64, _ count: UInt64, flags: UInt8 = 0, tag: UInt32 = 0,
        application: UInt16 = 0, mask: UInt16 = 0
    ) -> [UInt8] {
        var cdb = Disk.block(OperationCode.variableLength, first, count, flags: flags, action: action)
        var tags: [UInt8] = []
        tags.appendBE32(tag)
        tags.appendBE16(application)
        tags.appendBE16(mask)
        cdb.replaceSubrange(20..<28, with: tags)
        return cdb
    }

    private static let plain = [
        ConformanceTest.disk(
            "Variable.Transfer", "5.19", "READ(32) reads what WRITE(32) has written, and so does READ(10).", .dataLoss
        ) { disk in
            try disk.wire.need("READ(32)", OperationCode.variableLength, read32)
            try disk.wire.need("WRITE(32)", OperationCode.variableLength, write32)
            let data = disk.pattern(4, seed: 3)
            try expectGood(
                try disk.wire.run(
                    .writing(Disk.block(OperationCode.variableLength, first, 4, action: write32), data)), "WRITE(32)")
            let found = try expectGood(
                try disk.wire.run(
                    .reading(Disk.block(OperationCode.variableLength, first, 4, action: read32), data.count)),
                "READ(32)")
            try require(found == data, "what was written", got: "other data")
            try disk.expect(data, at: Disk.scratch, "what was written")
        },
        ConformanceTest.disk(
            "Variable.Beyond", "5.19", "READ(32) that leaves the medium meets LOGICAL BLOCK ADDRESS OUT OF RANGE."
        ) { disk in
            try disk.wire.need("READ(32)", OperationCode.variableLength, read32)
            for (start, count) in [(disk.last, 2), (disk.count, 1), (UInt64.max, 1)] as [(UInt64, UInt64)] {
                let cdb = Disk.block(OperationCode.variableLength, start, count, action: read32)
                try expectOutOfRange(
                    try disk.wire.run(.reading(cdb, Int(count) * disk.blockLength)), "READ(32) at \(start)")
            }
        },
        ConformanceTest.disk(
            "Variable.AdditionalLength", "5.19",
            "An ADDITIONAL CDB LENGTH other than 18h is refused: INVALID FIELD IN CDB."
        ) { disk in
            try disk.wire.need("READ(32)", OperationCode.variableLength, read32)
            for length: UInt8 in [0x00, 0x08, 0x14, 0x1C, 0xF8] {
                var cdb = Disk.block(OperationCode.variableLength, 0, 1, action: read32)
                cdb[7] = length
                try expectInvalidField(
                    try disk.wire.run(.reading(cdb, disk.blockLength)), at: [7],
                    "READ(32) with ADDITIONAL CDB LENGTH \(Wire.hex(length))")
            }
        },
        ConformanceTest.disk(
            "Variable.WriteSame", "5.52", "WRITE SAME(32) writes its block to each that it names, and to no other.",
            .dataLoss
        ) { disk in
            try disk.wire.need("WRITE SAME(32)", OperationCode.variableLength, writeSame32)
            let around = try disk.fill(Disk.scratch, 8, seed: 4)
            let block = disk.pattern(1, seed: 5)
            try expectGood(try disk.wire.run(.writing(cdb(writeSame32, first + 2, 4), block)), "WRITE SAME(32)")
            let edge = 2 * disk.blockLength
            let same = block + block + block + block
            try disk.expect(
                Array(around.prefix(edge)) + same + Array(around.suffix(edge)), at: Disk.scratch,
                "four blocks the same, and the others as they were")
        },
        ConformanceTest.disk(
            "Variable.Verify", "5.45",
            "WRITE AND VERIFY(32) writes; VERIFY(32) with BYTCHK 01b ends with GOOD, or MISCOMPARE where data differ.",
            .dataLoss
        ) { disk in
            try disk.wire.need("WRITE AND VERIFY(32)", OperationCode.variableLength, writeAndVerify32)
            try disk.wire.need("VERIFY(32)", OperationCode.variableLength, verify32)
            let data = disk.pattern(3, seed: 6)
            try expectGood(
                try disk.wire.run(.writing(cdb(writeAndVerify32, first, 3), data)), "WRITE AND VERIFY(32)")
            try disk.expect(data, at: Disk.scratch, "what was written")
            // BYTCHK.
            let command = cdb(verify32, first, 3, flags: 0x02)
            try expectGood(try disk.wire.run(.writing(command, data)), "VERIFY(32) of what is there")
            var other = data
            other[disk.blockLength + 7] ^= 0xFF
            let result = try disk.wire.run(.writing(command, other))
            try require(
                result.sense?.key == .miscompare, "VERIFY(32) of other data to end with MISCOMPARE", got: result.summary
            )
        },
        ConformanceTest.disk(
            "Variable.Unknown", "5.2", "A service action that the unit does not list is INVALID FIELD IN CDB."
        ) { disk in
            try disk.wire.need("READ(32)", OperationCode.variableLength, read32)
            for action: UInt16 in [0x0000, 0x00FF, 0x7FFF] {
                try expectInvalidField(
                    try disk.wire.run(.reading(cdb(action, first, 1), disk.blockLength)), at: [8, 9],
                    "a 32-byte command of service action \(action)")
            }
        },
        ConformanceTest.disk(
            "Variable.Plain", "5.19", "Without protection information RDPROTECT is refused in READ(32) too."
        ) { disk in
            try disk.wire.need("READ(32)", OperationCode.variableLength, read32)
            guard disk.protectionType == nil else {
                throw TestEnd.skipped("the medium is formatted with protection information")
            }
            for protect: UInt8 in [1, 3, 5] {
                try expectInvalidField(
                    try disk.wire.run(.reading(cdb(read32, first, 1, flags: protect << 5), disk.blockLength)), at: [10],
                    "READ(32) with RDPROTECT \(protect)")
            }
        },
    ]

    // MARK: Type 2 protection

    /// RDPROTECT or WRPROTECT 001b: protection information goes along, and is checked.
    private static let checked: UInt8 = 0x20

    private static func type2(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest(
            "SBC.Variable.\(name)", standard: "SBC-4 clause \(clause)", rule, [.disk] + requirements
        ) { bench in
            let disk = try Disk(try bench.logInToUnit())
            guard disk.protectionType == 2 else {
                throw TestEnd.skipped("the medium is not formatted with type 2 protection information")
            }
            try disk.wire.need("READ(32)", OperationCode.variableLength, read32)
            try disk.wire.need("WRITE(32)", OperationCode.variableLength, write32)
            try body(disk)
        }
    }

    /// Blocks with their protection information: guards, an application tag, and reference tags from `tag` on.
    private static func protected(_ disk: Disk, _ data: [UInt8], tag: UInt32, application: UInt16) -> [UInt8] {
        var bytes: [UInt8] = []
        for (index, start) in stride(from: 0, to: data.count, by: disk.blockLength).enumerated() {
            let block = Array(data[start..<start + disk.blockLength])
            bytes += block
            bytes.appendBE16(guardTag(block))
            bytes.appendBE16(application)
            bytes.appendBE32(tag &+ UInt32(index))
        }
        return bytes
    }

    /// LOGICAL BLOCK GUARD: the CRC of the polynomial 18BB7h (SBC-4 clause 4.21.4).
    static func guardTag(_ block: [UInt8]) -> UInt16 {
        block.reduce(0) { sum, byte in
            (0..<8).reduce(sum ^ UInt16(byte) << 8) { sum, _ in sum & 0x8000 != 0 ? sum << 1 ^ 0x8BB7 : sum << 1 }
        }
    }

    private static let tags = [
        type2(
            "Tags", "5.19",
            "READ(32) gives the protection information that WRITE(32) has brought, where the expected tags are right.",
            .dataLoss
        ) { disk in
            let data = disk.pattern(3, seed: 7)
            let blocks = protected(disk, data, tag: 0x1000_0000, application: 0x1234)
            try expectGood(
                try disk.wire.run(
                    .writing(
                        cdb(
                            write32, first, 3, flags: checked, tag: 0x1000_0000, application: 0x1234, mask: 0xFFFF),
                        blocks)), "WRITE(32) with WRPROTECT 001b")
            let found = try expectGood(
                try disk.wire.run(
                    .reading(
                        cdb(read32, first, 3, flags: checked, tag: 0x1000_0000, application: 0x1234, mask: 0xFFFF),
                        blocks.count)), "READ(32) with RDPROTECT 001b")
            try require(found == blocks, "the blocks with their protection information", got: "others")
            try disk.expect(data, at: Disk.scratch, "the data without their protection information")
        },
        type2(
            "ReferenceTag", "5.19",
            "READ(32) with another expected reference tag ends with LOGICAL BLOCK REFERENCE TAG CHECK FAILED.",
            .dataLoss
        ) { disk in
            let blocks = protected(disk, disk.pattern(2, seed: 8), tag: 77, application: 1)
            try expectGood(
                try disk.wire.run(.writing(cdb(write32, first, 2, flags: checked, tag: 77), blocks)), "WRITE(32)")
            let result = try disk.wire.run(.reading(cdb(read32, first, 2, flags: checked, tag: 78), blocks.count))
            try require(
                result.sense?.key == .abortedCommand && result.sense?.additionalSenseCode.code == 0x10,
                "READ(32) with another tag to end with ABORTED COMMAND, 10h", got: result.summary)
        },
        type2(
            "Guard", "5.57", "WRITE(32) of blocks with a wrong guard or reference tag is refused, and changes nothing.",
            .dataLoss
        ) { disk in
            let before = try disk.fill(Disk.scratch, 2, seed: 9)
            let right = protected(disk, disk.pattern(2, seed: 10), tag: 5, application: 1)
            // A guard, and the reference tag of the second block.
            for place in [disk.blockLength, right.count - 1] {
                var wrong = right
                wrong[place] ^= 0x01
                let result = try disk.wire.run(.writing(cdb(write32, first, 2, flags: checked, tag: 5), wrong))
                try require(
                    result.sense?.key == .abortedCommand && result.sense?.additionalSenseCode.code == 0x10,
                    "WRITE(32) of wrong protection information to end with ABORTED COMMAND, 10h", got: result.summary)
            }
            try disk.expect(before, at: Disk.scratch, "the blocks as they were")
        },
        type2(
            "ShortForms", "5.16",
            "With type 2 RDPROTECT in the shorter commands is refused with INVALID COMMAND OPERATION CODE."
        ) { disk in
            for operationCode in [OperationCode.read10, OperationCode.read12, OperationCode.read16] {
                guard try disk.wire.support(operationCode) != .none else { continue }
                let result = try disk.reading(operationCode, first, 1, flags: checked)
                try require(
                    result.has(.illegalRequest, .invalidCommandOperationCode),
                    "command \(Wire.hex(operationCode)) with RDPROTECT to end with INVALID COMMAND OPERATION CODE",
                    got: result.summary)
            }
        },
    ]
}
