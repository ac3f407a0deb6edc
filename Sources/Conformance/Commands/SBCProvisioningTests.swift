internal import Bytes
internal import SCSI

/// WRITE SAME, UNMAP and GET LBA STATUS (SBC-4 clauses 4.7, 5.7, 5.35, 5.50 and 5.51).
enum SBCProvisioningTests {
    static let all = writeSame + unmapping + status

    // MARK: WRITE SAME

    private static let writeSames = [OperationCode.writeSame10, OperationCode.writeSame16]
    /// UNMAP, ANCHOR, and NDOB of WRITE SAME(16).
    private static let unmap: UInt8 = 0x08
    private static let anchor: UInt8 = 0x10
    private static let noData: UInt8 = 0x01

    private static let first = UInt64(Disk.scratch)

    private static let writeSame = [
        ConformanceTest.disk(
            "WriteSame.Data", "5.50", "WRITE SAME writes its block to each block that it names, and to no other.",
            .dataLoss
        ) { disk in
            for (seed, operationCode) in try disk.wire.supported(writeSames).enumerated() {
                let around = try disk.fill(Disk.scratch, 8, seed: seed)
                let block = disk.pattern(1, seed: 9 + seed)
                try expectGood(
                    try disk.writing(operationCode, first + 2, 4, block), "command \(Wire.hex(operationCode))")
                let expected =
                    around.prefix(2 * disk.blockLength) + block + block + block + block
                    + around.suffix(2 * disk.blockLength)
                try disk.expect(Array(expected), at: Disk.scratch, "four blocks the same, and the others as they were")
            }
        },
        ConformanceTest.disk(
            "WriteSame.Zero", "5.50",
            "A NUMBER OF LOGICAL BLOCKS of zero means all to the last block; with WSNZ it is refused, INVALID FIELD IN "
                + "CDB.", .dataLoss
        ) { disk in
            let forms = try disk.wire.supported(writeSames)
            guard !disk.refusesZeroWriteSame else {
                for operationCode in forms {
                    try expectInvalidField(
                        try disk.writing(operationCode, first, 0, disk.zeros(1)),
                        at: [operationCode == OperationCode.writeSame10 ? 7 : 10],
                        "command \(Wire.hex(operationCode)) of no blocks")
                }
                return
            }
            guard disk.maximumWriteSame == 0 || disk.maximumWriteSame >= 3 else {
                throw TestEnd.skipped("MAXIMUM WRITE SAME LENGTH is below 3")
            }
            let end = Int(disk.count) - Disk.tailLength
            let before = try disk.read(end, Disk.tailLength)
            try ending(with: { try disk.write(end, before) }) {
                for (seed, operationCode) in forms.enumerated() where disk.last <= Disk.highestAddress(operationCode) {
                    let around = try disk.fill(end, Disk.tailLength, seed: seed)
                    let block = disk.pattern(1, seed: 20 + seed)
                    try expectGood(
                        try disk.writing(operationCode, disk.count - 3, 0, block),
                        "command \(Wire.hex(operationCode)) of zero blocks")
                    let untouched = Array(around.prefix(disk.blockLength))
                    try disk.expect(
                        untouched + block + block + block, at: end,
                        "the last three blocks the same, and the one before as it was")
                }
            }
        },
        ConformanceTest.disk(
            "WriteSame.ZeroBeyond", "5.50", "Of zero blocks that begin beyond the end, the address is out of range.",
            .dataLoss
        ) { disk in
            guard !disk.refusesZeroWriteSame else { throw TestEnd.skipped("WSNZ is one") }
            for operationCode in try disk.wire.supported(writeSames) {
                for start in [disk.count + 1, Disk.highestAddress(operationCode)] where start > disk.count {
                    try expectOutOfRange(
                        try disk.writing(operationCode, start, 0, disk.zeros(1)),
                        "command \(Wire.hex(operationCode)) of zero blocks at \(start)")
                }
            }
        },
        ConformanceTest.disk(
            "WriteSame.Maximum", "6.6.3",
            "WRITE SAME beyond MAXIMUM WRITE SAME LENGTH is refused with INVALID FIELD IN CDB.", .dataLoss
        ) { disk in
            let length = disk.maximumWriteSame
            guard length > 0, length < disk.count, length < UInt32.max else {
                throw TestEnd.skipped("MAXIMUM WRITE SAME LENGTH does not limit a WRITE SAME of this medium")
            }
            try disk.wire.need("WRITE SAME(16)", OperationCode.writeSame16)
            try expectInvalidField(
                try disk.writing(OperationCode.writeSame16, 0, length + 1, disk.zeros(1)), at: [10],
                "WRITE SAME(16) of \(length + 1) blocks")
        },
        ConformanceTest.disk(
            "WriteSame.NoDataOut", "5.51", "With NDOB there is no Data-Out, and the blocks become zeros.", .dataLoss
        ) { disk in
            let usage = try disk.wire.need("WRITE SAME(16)", OperationCode.writeSame16)
            guard usage.count > 1, usage[1] & noData != 0 else {
                throw TestEnd.skipped("CDB USAGE DATA of WRITE SAME(16) do not have NDOB")
            }
            let around = try disk.fill(Disk.scratch, 6, seed: 4)
            try expectGood(
                try disk.writing(OperationCode.writeSame16, first + 1, 4, [], flags: noData), "WRITE SAME(16) with NDOB"
            )
            let expected = around.prefix(disk.blockLength) + disk.zeros(4) + around.suffix(disk.blockLength)
            try disk.expect(Array(expected), at: Disk.scratch, "zeros, and the others as they were")
        },
        ConformanceTest.disk(
            "WriteSame.Unmap", "5.51",
            "With UNMAP and zeros the blocks are read as zeros where LBPRZ says so; without LBPWS, UNMAP is refused.",
            .dataLoss
        ) { disk in
            try disk.wire.need("WRITE SAME(16)", OperationCode.writeSame16)
            let around = try disk.fill(Disk.scratch, 32, seed: 5)
            let result = try disk.writing(OperationCode.writeSame16, first + 8, 16, disk.zeros(1), flags: unmap)
            guard disk.hasProvisioning(Disk.writeSameUnmaps) else {
                try expectInvalidField(result, at: [1], "WRITE SAME(16) with UNMAP where LBPWS is zero")
                return try disk.expect(around, at: Disk.scratch, "all blocks as they were")
            }
            try expectGood(result, "WRITE SAME(16) with UNMAP")
            let edge = 8 * disk.blockLength
            try disk.expect(Array(around.prefix(edge)), at: Disk.scratch, "the blocks before as they were")
            try disk.expect(Array(around.suffix(edge)), at: Disk.scratch + 24, "the blocks behind as they were")
            if disk.hasProvisioning(Disk.unmappedReadAsZeros) {
                try disk.expect(disk.zeros(16), at: Disk.scratch + 8, "zeros")
            }
        },
        ConformanceTest.disk(
            "WriteSame.Anchor", "5.51", "Where ANC_SUP is zero, ANCHOR is refused with INVALID FIELD IN CDB.", .dataLoss
        ) { disk in
            try disk.wire.need("WRITE SAME(16)", OperationCode.writeSame16)
            guard !disk.hasProvisioning(Disk.anchors) else { throw TestEnd.skipped("ANC_SUP is one") }
            let before = try disk.fill(Disk.scratch, 1, seed: 6)
            try expectInvalidField(
                try disk.writing(OperationCode.writeSame16, first, 1, disk.zeros(1), flags: unmap | anchor), at: [1],
                "WRITE SAME(16) with ANCHOR")
            try disk.expect(before, at: Disk.scratch, "the block as it was")
        },
    ]

    // MARK: UNMAP

    /// A parameter list of UNMAP with a descriptor for each extent.
    private static func unmapList(_ extents: [(first: UInt64, count: UInt32)]) -> [UInt8] {
        var list: [UInt8] = []
        list.appendBE16(UInt16(extents.count * 16 + 6))
        list.appendBE16(UInt16(extents.count * 16))
        list.appendBE32(0)
        for extent in extents {
            list.appendBE64(extent.first)
            list.appendBE32(extent.count)
            list.appendBE32(0)
        }
        return list
    }

    private static func unmap(_ disk: Disk, _ list: [UInt8]) throws -> CommandResult {
        var cdb: [UInt8] = [OperationCode.unmap, 0, 0, 0, 0, 0, 0]
        cdb.appendBE16(UInt16(list.count))
        return try disk.wire.run(.writing(cdb + [0], list))
    }

    /// A test of UNMAP, where LBPU is one.
    private static func unmapTest(
        _ name: String, _ rule: String, body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        .disk("Unmap.\(name)", "5.35", rule, .dataLoss) { disk in
            guard disk.hasProvisioning(Disk.unmaps) else { throw TestEnd.skipped("LBPU is zero: there is no UNMAP") }
            try body(disk)
        }
    }

    private static let unmapping = [
        unmapTest("Reads", "Blocks that UNMAP names keep their data or are read as LBPRZ says; others keep theirs.") {
            disk in
            let around = try disk.fill(Disk.scratch, 40, seed: 7)
            let granularity = Int(disk.limit32(at: 24))
            let start = granularity > 1 && granularity <= 16 ? Disk.scratch + 16 : Disk.scratch + 8
            try expectGood(try unmap(disk, unmapList([(UInt64(start), 16)])), "UNMAP of 16 blocks")
            let edge = (start - Disk.scratch) * disk.blockLength
            let end = edge + 16 * disk.blockLength
            try disk.expect(Array(around[..<edge]), at: Disk.scratch, "the blocks before as they were")
            try disk.expect(Array(around[end...]), at: start + 16, "the blocks behind as they were")
            guard disk.hasProvisioning(Disk.unmappedReadAsZeros) else { return }
            let found = try disk.read(start, 16)
            for block in stride(from: 0, to: found.count, by: disk.blockLength) {
                let data = found[block..<block + disk.blockLength]
                guard !data.allSatisfy({ $0 == 0 }) else { continue }
                try require(
                    data.elementsEqual(around[edge + block..<edge + block + disk.blockLength]),
                    "zeros or the former data in block \(start + block / disk.blockLength)", got: "others")
            }
        },
        unmapTest("Nothing", "A list of no bytes or of no descriptors is no error.") { disk in
            try expectGood(try unmap(disk, []), "UNMAP without a parameter list")
            try expectGood(try unmap(disk, unmapList([])), "UNMAP without descriptors")
            try expectGood(try unmap(disk, unmapList([(first, 0)])), "UNMAP of no blocks")
        },
        unmapTest("Cut", "A list of one to seven bytes meets PARAMETER LIST LENGTH ERROR.") { disk in
            for length in 1..<8 {
                try expectSense(
                    try unmap(disk, Array(unmapList([]).prefix(length))), .illegalRequest, .parameterListLengthError,
                    "UNMAP with \(length) bytes")
            }
        },
        unmapTest("Incomplete", "A last descriptor that is not whole is ignored.") { disk in
            let before = try disk.fill(Disk.scratch, 8, seed: 8)
            var list = unmapList([(first, 8)]).dropLast(4)
            // UNMAP DATA LENGTH, and UNMAP BLOCK DESCRIPTOR DATA LENGTH.
            list.replaceSubrange(0..<4, with: [0, 18, 0, 12])
            try expectGood(try unmap(disk, Array(list)), "UNMAP with a part of a descriptor")
            try disk.expect(before, at: Disk.scratch, "the blocks as they were")
        },
        unmapTest("Beyond", "A descriptor that leaves the medium meets LOGICAL BLOCK ADDRESS OUT OF RANGE.") { disk in
            for extent in [(disk.last, 2), (disk.count, 1), (1 << 63, 1), (.max, 2)] as [(UInt64, UInt32)] {
                try expectOutOfRange(
                    try unmap(disk, unmapList([extent])), "UNMAP of \(extent.1) blocks at \(extent.0)")
            }
        },
        unmapTest(
            "Limits",
            "More descriptors or blocks than the Block Limits page allows meet INVALID FIELD IN PARAMETER LIST."
        ) { disk in
            let descriptors = Int(disk.limit32(at: 20))
            let blocks = disk.limit32(at: 16)
            let hasCountLimit = (1..<4000).contains(descriptors)
            let hasBlockLimit = blocks > 0 && blocks < min(disk.count, UInt64(UInt32.max))
            guard hasCountLimit || hasBlockLimit else {
                throw TestEnd.skipped("neither limit can be exceeded on this medium")
            }
            if hasCountLimit {
                let list = unmapList([(UInt64, UInt32)](repeating: (first, 0), count: descriptors + 1))
                try expectInvalidField(
                    try unmap(disk, list), isInCommand: false, "UNMAP with \(descriptors + 1) descriptors")
            }
            if hasBlockLimit {
                try expectInvalidField(
                    try unmap(disk, unmapList([(0, UInt32(blocks + 1))])), isInCommand: false,
                    "UNMAP of \(blocks + 1) blocks")
            }
        },
    ]

    // MARK: GET LBA STATUS

    private static func lbaStatus(_ disk: Disk, _ first: UInt64, _ allocationLength: Int = 24) throws -> CommandResult {
        var cdb: [UInt8] = [OperationCode.serviceActionIn16, 0x12]
        cdb.appendBE64(first)
        cdb.appendBE32(UInt32(allocationLength))
        return try disk.wire.run(.reading(cdb + [0, 0], allocationLength))
    }

    private static func needStatus(_ disk: Disk) throws {
        try disk.wire.need("GET LBA STATUS(16)", OperationCode.serviceActionIn16, 0x12)
        guard disk.longCapacity.map({ $0[14] & 0x80 != 0 }) ?? false else {
            throw TestEnd.skipped("LBPME is zero: the unit is fully provisioned")
        }
    }

    private static let status = [
        ConformanceTest.disk(
            "LBAStatus.Beyond", "5.7", "A start beyond the end meets LOGICAL BLOCK ADDRESS OUT OF RANGE."
        ) {
            disk in
            try needStatus(disk)
            for first in [disk.count, 1 << 63, UInt64.max] {
                try expectOutOfRange(try lbaStatus(disk, first), "GET LBA STATUS at \(first)")
            }
            try expectGood(try lbaStatus(disk, disk.last), "GET LBA STATUS of the last block")
        },
        ConformanceTest.disk(
            "LBAStatus.Contiguous", "5.7",
            "The descriptors begin with the block that was asked for, follow each other, and stay within the medium."
        ) { disk in
            try needStatus(disk)
            let start = UInt64(Disk.scratch) + 3
            let data = try expectGood(try lbaStatus(disk, start, 1024), "GET LBA STATUS")
            try require(data.count >= 24, "a descriptor", got: "\(data.count) bytes")
            var next = start
            let end = min(data.count, 4 + Int(data.rawSpan.loadBE32(at: 0)))
            for offset in stride(from: 8, to: end - 15, by: 16) {
                let (begins, length) = (data.rawSpan.loadBE64(at: offset), data.rawSpan.loadBE32(at: offset + 8))
                // The first may begin before the block.
                try require(
                    begins == next || offset == 8 && begins <= next, "a descriptor at block \(next)", got: "\(begins)")
                try require(length > 0, "blocks in each descriptor", got: "none")
                next = begins + UInt64(length)
                try require(next > start && next <= disk.count, "blocks of the medium", got: "up to \(next)")
                try require(data[offset + 12] & 0x0F <= 4, "a PROVISIONING STATUS", got: "\(data[offset + 12])")
            }
        },
        ConformanceTest.disk(
            "LBAStatus.Truncated", "5.7", "A shorter ALLOCATION LENGTH truncates the data, and is no error."
        ) { disk in
            try needStatus(disk)
            let whole = try expectGood(try lbaStatus(disk, 0), "GET LBA STATUS")
            for length in [0, 4, 8, 23] {
                let part = try expectGood(
                    try lbaStatus(disk, 0, length), "GET LBA STATUS with ALLOCATION LENGTH \(length)")
                try require(part.dropFirst(8) == whole.prefix(length).dropFirst(8), "the first bytes", got: "others")
                try require(part.count == length, "\(length) bytes", got: "\(part.count)")
            }
        },
        ConformanceTest.disk("LBAStatus.Mapped", "4.7.3", "Blocks that were written are mapped.", .dataLoss) { disk in
            try needStatus(disk)
            _ = try disk.fill(Disk.scratch, 8, seed: 2)
            let data = try expectGood(try lbaStatus(disk, first), "GET LBA STATUS")
            try require(data.count >= 24, "a descriptor", got: "\(data.count) bytes")
            try require(data[20] & 0x0F == 0, "PROVISIONING STATUS mapped", got: "\(data[20] & 0x0F)")
        },
    ]
}
