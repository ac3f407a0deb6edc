internal import Bytes
internal import SCSI

/// VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE and WRITE ATOMIC (SBC-4 clause 5).
enum SBCCompareTests {
    static let all = verifying + comparing + others

    private static let first = UInt64(Disk.scratch)
    private static let verifies = [OperationCode.verify10, OperationCode.verify12, OperationCode.verify16]
    /// BYTCHK 01b, 10b and 11b.
    private static let allBlocks: UInt8 = 0x02
    private static let reserved: UInt8 = 0x04
    private static let sameBlock: UInt8 = 0x06

    /// MISCOMPARE DURING VERIFY OPERATION; INFORMATION is the offset of the first byte that differs. COMPARE AND WRITE
    /// must say it.
    private static func expectMiscompare(
        _ result: CommandResult, at offset: Int, isNeeded: Bool, _ what: String
    ) throws {
        try expectSense(result, .miscompare, .miscompareDuringVerify, what)
        guard let information = result.information else {
            return try require(!isNeeded, "\(what) to say where, in INFORMATION", got: "nothing")
        }
        try require(information == UInt64(offset), "INFORMATION \(offset) of \(what)", got: "\(information)")
    }

    // MARK: VERIFY

    private static let verifying = [
        ConformanceTest.disk("Verify.Medium", "5.38", "VERIFY with BYTCHK 00b transfers nothing, and ends with GOOD.") {
            disk in
            for operationCode in try disk.wire.supported(verifies) {
                try expectGood(
                    try disk.wire.run(Command(Disk.block(operationCode, 0, 16))), "command \(Wire.hex(operationCode))")
            }
        },
        ConformanceTest.disk(
            "Verify.Compare", "5.38",
            "VERIFY with BYTCHK 01b compares each block, and a byte that differs is MISCOMPARE, with its offset.",
            .dataLoss
        ) { disk in
            let data = try disk.fill(Disk.scratch, 4, seed: 1)
            for operationCode in try disk.wire.supported(verifies) {
                let what = "command \(Wire.hex(operationCode)) with BYTCHK 01b"
                let result = try disk.writing(operationCode, first, 4, data, flags: allBlocks)
                if result.has(.illegalRequest, .invalidFieldInCDB) {
                    throw TestEnd.skipped("the unit does not have BYTCHK 01b")
                }
                try expectGood(result, what)
                let place = 2 * disk.blockLength + 5
                var other = data
                other[place] ^= 0xFF
                try expectMiscompare(
                    try disk.writing(operationCode, first, 4, other, flags: allBlocks), at: place, isNeeded: false, what
                )
            }
            try disk.expect(data, at: Disk.scratch, "the blocks as they were")
        },
        ConformanceTest.disk(
            "Verify.Same", "5.38", "VERIFY with BYTCHK 11b compares each block with the one block of the Data-Out.",
            .dataLoss
        ) { disk in
            let usage = try disk.wire.need("VERIFY(10)", OperationCode.verify10)
            guard usage.count > 1, usage[1] & sameBlock == sameBlock else {
                throw TestEnd.skipped("CDB USAGE DATA of VERIFY(10) do not have BYTCHK 11b")
            }
            let block = disk.pattern(1, seed: 2)
            try disk.write(Disk.scratch, block + block + block)
            try expectGood(
                try disk.writing(OperationCode.verify10, first, 3, block, flags: sameBlock), "VERIFY with BYTCHK 11b")
            var last = block
            last[7] ^= 1
            try disk.write(Disk.scratch + 2, last)
            try expectSense(
                try disk.writing(OperationCode.verify10, first, 3, block, flags: sameBlock), .miscompare,
                .miscompareDuringVerify, "VERIFY of a block that differs")
        },
        ConformanceTest.disk("Verify.Reserved", "5.38", "BYTCHK 10b is refused with INVALID FIELD IN CDB.") { disk in
            for operationCode in try disk.wire.supported(verifies) {
                try expectInvalidField(
                    try disk.wire.run(Command(Disk.block(operationCode, 0, 1, flags: reserved))), at: [1],
                    "command \(Wire.hex(operationCode)) with BYTCHK 10b")
            }
        },
        ConformanceTest.disk("Verify.Write", "5.47", "WRITE AND VERIFY writes, with BYTCHK 00b and 01b.", .dataLoss) {
            disk in
            for (seed, operationCode) in try disk.wire.supported([
                OperationCode.writeAndVerify10, OperationCode.writeAndVerify12, OperationCode.writeAndVerify16,
            ]).enumerated() {
                for flags in [0, allBlocks] {
                    let data = disk.pattern(3, seed: seed * 2 + Int(flags))
                    try expectGood(
                        try disk.writing(operationCode, first, 3, data, flags: flags),
                        "command \(Wire.hex(operationCode)) with byte 1 \(Wire.hex(flags))")
                    try disk.expect(data, at: Disk.scratch, "what was written")
                }
            }
        },
    ]

    // MARK: COMPARE AND WRITE

    private static func compareTest(
        _ name: String, _ rule: String, body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        .disk("CompareAndWrite.\(name)", "5.3", rule, .dataLoss) { disk in
            guard disk.maximumCompareAndWrite > 0 else {
                throw TestEnd.skipped("MAXIMUM COMPARE AND WRITE LENGTH is zero: the unit does not have the command")
            }
            try disk.wire.need("COMPARE AND WRITE", OperationCode.compareAndWrite)
            try body(disk)
        }
    }

    private static let comparing = [
        compareTest("Match", "Blocks that are equal to the first half of the Data-Out become the second half.") {
            disk in
            let blocks = min(disk.maximumCompareAndWrite, 4)
            let around = try disk.fill(Disk.scratch, blocks + 1, seed: 1)
            let new = disk.pattern(blocks, seed: 2)
            let old = Array(around.prefix(new.count))
            try expectGood(
                try disk.writing(OperationCode.compareAndWrite, first, UInt64(blocks), old + new), "COMPARE AND WRITE")
            try disk.expect(new + around.suffix(disk.blockLength), at: Disk.scratch, "the second half, and no more")
        },
        compareTest(
            "Miscompare", "A byte that differs is MISCOMPARE with its offset in INFORMATION, and nothing is written."
        ) {
            disk in
            let blocks = min(disk.maximumCompareAndWrite, 4)
            let old = try disk.fill(Disk.scratch, blocks, seed: 3)
            for place in [0, 7, old.count - 1] {
                var expected = old
                expected[place] ^= 0x10
                try expectMiscompare(
                    try disk.writing(
                        OperationCode.compareAndWrite, first, UInt64(blocks), expected + disk.pattern(blocks, seed: 4)),
                    at: place, isNeeded: true, "COMPARE AND WRITE with another byte \(place)")
                try disk.expect(old, at: Disk.scratch, "the blocks as they were")
            }
        },
        compareTest("Descriptor", "With D_SENSE one the offset is in an information descriptor.") { disk in
            let old = try disk.fill(Disk.scratch, 1, seed: 5)
            try ending(with: try disk.wire.change(.descriptorSense, to: 0x04)) {
                var expected = old
                expected[300] ^= 1
                let result = try disk.writing(
                    OperationCode.compareAndWrite, first, 1, expected + disk.pattern(1, seed: 6))
                try require(result.senseBytes.first == 0x72, "descriptor format", got: result.summary)
                try expectMiscompare(result, at: 300, isNeeded: true, "COMPARE AND WRITE with another byte 300")
            }
            try disk.expect(old, at: Disk.scratch, "the block as it was")
        },
        compareTest(
            "Maximum", "More blocks than MAXIMUM COMPARE AND WRITE LENGTH are refused with INVALID FIELD IN CDB."
        ) {
            disk in
            let blocks = disk.maximumCompareAndWrite + 1
            guard blocks <= 255 else { throw TestEnd.skipped("the limit is that of the field") }
            try expectInvalidField(
                try disk.writing(
                    OperationCode.compareAndWrite, first, UInt64(blocks), disk.zeros(blocks * 2)), at: [13],
                "COMPARE AND WRITE of \(blocks) blocks")
        },
    ]

    // MARK: ORWRITE, WRITE ATOMIC

    private static let others = [
        ConformanceTest.disk("OrWrite.Data", "5.12", "ORWRITE leaves the OR of what was there and its data.", .dataLoss)
        { disk in
            try disk.wire.need("ORWRITE(16)", OperationCode.orWrite16)
            let old = try disk.fill(Disk.scratch, 3, seed: 5)
            let data = disk.pattern(2, seed: 6)
            try expectGood(try disk.writing(OperationCode.orWrite16, first, 2, data), "ORWRITE(16)")
            let expected = zip(old, data).map { $0 | $1 } + old.suffix(disk.blockLength)
            try disk.expect(expected, at: Disk.scratch, "the OR of both, and the next block as it was")
        },
        ConformanceTest.disk(
            "Atomic.Data", "5.48", "WRITE ATOMIC(16) of as much as it must take writes its data.", .dataLoss
        ) { disk in
            let maximum = try maximumAtomicLength(disk)
            let granularity = max(disk.limit32(at: 48), 1)
            let alignment = max(disk.limit32(at: 44), 1)
            let start = (first + alignment - 1) / alignment * alignment
            let count = min(maximum, 16) / granularity * granularity
            guard count > 0, start + count < first + UInt64(Disk.scratchLength) else {
                throw TestEnd.skipped("the granularity is too coarse")
            }
            let data = disk.pattern(Int(count), seed: 7)
            try expectGood(
                try disk.writing(OperationCode.writeAtomic16, start, count, data), "WRITE ATOMIC(16) of \(count) blocks"
            )
            try disk.expect(data, at: Int(start), "what was written")
        },
        ConformanceTest.disk(
            "Atomic.Boundary", "5.48",
            "Where MAXIMUM ATOMIC BOUNDARY SIZE is zero, an ATOMIC BOUNDARY is refused with INVALID FIELD IN CDB.",
            .dataLoss
        ) { disk in
            _ = try maximumAtomicLength(disk)
            guard disk.limit32(at: 56) == 0 else { throw TestEnd.skipped("the unit has atomic boundaries") }
            let before = try disk.fill(Disk.scratch, 2, seed: 8)
            var cdb = Disk.block(OperationCode.writeAtomic16, first, 2)
            cdb[11] = 1
            try expectInvalidField(
                try disk.wire.run(.writing(cdb, disk.zeros(2))), at: [10], "WRITE ATOMIC(16) with ATOMIC BOUNDARY 1")
            try disk.expect(before, at: Disk.scratch, "the blocks as they were")
        },
        ConformanceTest.disk(
            "Atomic.Maximum", "5.48",
            "WRITE ATOMIC(16) beyond MAXIMUM ATOMIC TRANSFER LENGTH is refused with INVALID FIELD IN CDB.", .dataLoss
        ) { disk in
            let length = try maximumAtomicLength(disk) + 1
            guard length <= 0xFFFF, length <= disk.count else {
                throw TestEnd.skipped("the limit is that of the field")
            }
            var command = Command.writing(Disk.block(OperationCode.writeAtomic16, 0, length), disk.zeros(1))
            command.expectedDataTransferLength = Int(length) * disk.blockLength
            command.dataOut = disk.zeros(Int(length))
            try expectInvalidField(try disk.wire.run(command), at: [12], "WRITE ATOMIC(16) of \(length) blocks")
        },
    ]

    private static func maximumAtomicLength(_ disk: Disk) throws -> UInt64 {
        let length = disk.limit32(at: 40)
        guard length > 0 else { throw TestEnd.skipped("MAXIMUM ATOMIC TRANSFER LENGTH is zero") }
        try disk.wire.need("WRITE ATOMIC(16)", OperationCode.writeAtomic16)
        return length
    }
}
