internal import Bytes
internal import SCSI

/// Capacity, addresses and lengths (SBC-4).
enum SBCRangeTests {
    static let all = capacity + ranges + lengths

    private static let reads = [OperationCode.read6, OperationCode.read10, OperationCode.read12, OperationCode.read16]
    private static let longReads = [OperationCode.read10, OperationCode.read12, OperationCode.read16]
    private static let writes = [
        OperationCode.write6, OperationCode.write10, OperationCode.write12, OperationCode.write16,
        OperationCode.writeAndVerify10, OperationCode.writeAndVerify12, OperationCode.writeAndVerify16,
        OperationCode.orWrite16,
    ]

    // MARK: Capacity

    private static let capacity = [
        ConformanceTest.disk(
            "Capacity.Agree", "5.20", "READ CAPACITY(10) and (16) agree on the last block and its length."
        ) {
            disk in
            guard let long = disk.longCapacity else {
                throw TestEnd.skipped("the unit does not have READ CAPACITY(16)")
            }
            let short = try expectGood(try disk.wire.run(.readCapacity10()), "READ CAPACITY(10)")
            try require(short.count == 8, "8 bytes of READ CAPACITY(10)", got: "\(short.count)")
            let last = UInt32(exactly: long.rawSpan.loadBE64(at: 0)) ?? .max
            try require(short.rawSpan.loadBE32(at: 0) == last, "\(last)", got: "\(short.rawSpan.loadBE32(at: 0))")
            let length = long.rawSpan.loadBE32(at: 8)
            try require(short.rawSpan.loadBE32(at: 4) == length, "\(length)", got: "\(short.rawSpan.loadBE32(at: 4))")
        },
        ConformanceTest.disk(
            "Capacity.Truncated", "5.21", "READ CAPACITY(16) has 32 bytes, of which ALLOCATION LENGTH leaves the first."
        ) { disk in
            let whole = try expectGood(try disk.wire.run(Disk.readCapacity16(512)), "READ CAPACITY(16)")
            try require(whole.count == 32, "32 bytes", got: "\(whole.count)")
            for length in [0, 8, 12, 31] {
                let part = try expectGood(
                    try disk.wire.run(Disk.readCapacity16(length)), "READ CAPACITY(16) with ALLOCATION LENGTH \(length)"
                )
                try require(part == Array(whole.prefix(length)), "the first \(length) bytes", got: "others")
            }
        },
        ConformanceTest.disk(
            "Capacity.Provisioning", "5.21.2", "LBPME and LBPRZ of READ CAPACITY(16) are what VPD page B2h says."
        ) { disk in
            guard let capacity = disk.longCapacity else {
                throw TestEnd.skipped("the unit does not have READ CAPACITY(16)")
            }
            guard capacity[14] & 0x80 != 0 else {
                return try require(
                    !disk.hasProvisioning(Disk.unmaps), "LBPU zero where LBPME is zero", got: "LBPU one")
            }
            guard disk.provisioning != nil else {
                throw TestEnd.failed(expected: "VPD page B2h where LBPME is one", got: "none")
            }
            let isZeros = disk.hasProvisioning(Disk.unmappedReadAsZeros)
            try require((capacity[14] & 0x40 != 0) == isZeros, "the same LBPRZ", got: "\(!isZeros)")
        },
        ConformanceTest.disk(
            "Capacity.BlockDescriptor", "6.5.2",
            "The block descriptor of MODE SENSE, short or long, has the number of blocks and their length."
        ) { disk in
            let short = try disk.wire.modeParameters(0x3F, hasBlockDescriptors: true).blockDescriptor
            guard short.count == 8 else { throw TestEnd.skipped("there is no block descriptor") }
            let count = UInt32(exactly: disk.count) ?? .max
            let length = UInt32(disk.blockLength)
            try require(
                short.rawSpan.loadBE32(at: 0) == count || short.rawSpan.loadBE32(at: 0) == 0, "\(count) blocks",
                got: "\(short.rawSpan.loadBE32(at: 0))")
            try require(
                short.rawSpan.loadBE24(at: 5) == length, "blocks of \(length) bytes", got: "\(short)")
            let result = try disk.wire.run(
                .reading([OperationCode.modeSense10, 0x10, 0x3F, 0, 0, 0, 0, 16, 0, 0], 4096))
            guard result.isGood, result.dataIn.count >= 24, result.dataIn[4] & 1 != 0 else { return }
            let data = result.dataIn
            try require(data.rawSpan.loadBE16(at: 6) == 16, "a descriptor of 16 bytes", got: "another")
            try require(
                data.rawSpan.loadBE64(at: 8) == disk.count && data.rawSpan.loadBE32(at: 20) == length,
                "\(disk.count) blocks of \(length) bytes",
                got: "\(data.rawSpan.loadBE64(at: 8)) of \(data.rawSpan.loadBE32(at: 20))")
        },
        ConformanceTest.disk(
            "Capacity.Limits", "6.6.3", "The Block Limits page has the length 3Ch, and limits that fit each other."
        ) { disk in
            guard let page = try disk.wire.vitalProductData(0xB0) else {
                throw TestEnd.skipped("VPD page B0h is not listed")
            }
            if page.count == 0x0C { throw TestEnd.skipped("the page is that of SBC-2") }
            try require(page.count == 0x3C, "60 bytes", got: "\(page.count)")
            let (most, best) = (disk.maximumTransferLength, disk.limit32(at: 8))
            try require(
                most == 0 || best <= most, "OPTIMAL TRANSFER LENGTH of at most \(most)", got: "\(best)")
            if disk.hasProvisioning(Disk.unmaps) {
                try require(
                    disk.limit32(at: 16) > 0 && disk.limit32(at: 20) > 0, "limits of UNMAP where LBPU is one",
                    got: "zero")
            } else {
                try require(
                    disk.limit32(at: 16) == 0, "MAXIMUM UNMAP LBA COUNT zero where LBPU is zero", got: "another")
            }
            guard let characteristics = try disk.wire.vitalProductData(0xB1) else { return }
            try require(characteristics.count == 0x3C, "60 bytes of page B1h", got: "\(characteristics.count)")
        },
    ]

    // MARK: Addresses

    /// Addresses and counts of which a part or all is beyond the end, for a command of that operation code.
    private static func outside(_ disk: Disk, _ operationCode: UInt8) -> [(first: UInt64, count: UInt64)] {
        var all: [(UInt64, UInt64)] = [
            (disk.last, 2), (disk.count, 1), (UInt64(UInt32.max), 1), (1 << 63, 1), (UInt64.max, 1),
            (UInt64.max - 1, 4),
        ]
        if operationCode >> 5 == 0 { all.append((0x1F_FFFF, 1)) }
        return all.filter { first, count in
            first <= Disk.highestAddress(operationCode) && (first > disk.last || count > disk.count - first)
        }
    }

    private static func name(_ operationCode: UInt8, _ range: (first: UInt64, count: UInt64)) -> String {
        "command \(Wire.hex(operationCode)) of \(range.count) blocks at \(range.first)"
    }

    private static let ranges = [
        ConformanceTest.disk(
            "Range.Read", "5.15",
            "Each READ reads the last block, and refuses what leaves the medium: ADDRESS OUT OF RANGE."
        ) { disk in
            for operationCode in try disk.wire.supported(reads) {
                if disk.last <= Disk.highestAddress(operationCode) {
                    let data = try expectGood(
                        try disk.reading(operationCode, disk.last, 1), name(operationCode, (disk.last, 1)))
                    try require(data.count == disk.blockLength, "one block", got: "\(data.count) bytes")
                }
                for range in outside(disk, operationCode) {
                    let result = try disk.reading(operationCode, range.first, range.count)
                    try expectOutOfRange(result, name(operationCode, range))
                    try require(result.dataIn.isEmpty, "no data", got: "\(result.dataIn.count) bytes")
                }
            }
        },
        ConformanceTest.disk(
            "Range.Write", "5.43", "Each WRITE that leaves the medium meets ADDRESS OUT OF RANGE, and writes nothing.",
            .dataLoss
        ) { disk in
            guard let last = Int(exactly: disk.last), last <= UInt32.max else {
                throw TestEnd.skipped("the last block is beyond READ(10)")
            }
            let before = try disk.read(last, 1)
            for operationCode in try disk.wire.supported(writes) {
                for range in outside(disk, operationCode) {
                    let data = disk.pattern(Int(range.count), seed: 3)
                    try expectOutOfRange(
                        try disk.writing(operationCode, range.first, range.count, data), name(operationCode, range))
                }
            }
            try disk.expect(before, at: last, "the last block as it was")
        },
        ConformanceTest.disk(
            "Range.Verify", "5.38",
            "VERIFY, PRE-FETCH and SYNCHRONIZE CACHE that leave the medium meet ADDRESS OUT OF RANGE."
        ) { disk in
            for operationCode in try disk.wire.supported([
                OperationCode.verify10, OperationCode.verify12, OperationCode.verify16, OperationCode.prefetch10,
                OperationCode.prefetch16, OperationCode.synchronizeCache10, OperationCode.synchronizeCache16,
            ]) {
                for range in outside(disk, operationCode) {
                    try expectOutOfRange(
                        try disk.wire.run(Command(Disk.block(operationCode, range.first, range.count))),
                        name(operationCode, range))
                }
            }
        },
        ConformanceTest.disk(
            "Range.Others", "5.50",
            "WRITE SAME, COMPARE AND WRITE and WRITE ATOMIC that leave the medium meet ADDRESS OUT OF RANGE.", .dataLoss
        ) { disk in
            for operationCode in try disk.wire.supported([
                OperationCode.writeSame10, OperationCode.writeSame16, OperationCode.compareAndWrite,
                OperationCode.writeAtomic16,
            ]) {
                for range in outside(disk, operationCode) where range.count <= 2 {
                    let isSame =
                        operationCode == OperationCode.writeSame10 || operationCode == OperationCode.writeSame16
                    let isComparing = operationCode == OperationCode.compareAndWrite
                    let blocks = isSame ? 1 : Int(range.count) * (isComparing ? 2 : 1)
                    try expectOutOfRange(
                        try disk.writing(operationCode, range.first, range.count, disk.zeros(blocks)),
                        name(operationCode, range))
                }
            }
        },
    ]

    // MARK: Lengths

    private static let lengths = [
        ConformanceTest.disk(
            "Length.ZeroRead", "5.16", "A TRANSFER LENGTH of zero is no error: nothing is transferred."
        ) { disk in
            for operationCode in try disk.wire.supported(longReads) {
                let result = try disk.reading(operationCode, 0, 0)
                let data = try expectGood(result, name(operationCode, (0, 0)))
                try require(data.isEmpty, "no data", got: "\(data.count) bytes")
                let beyond = disk.count + 1
                guard beyond <= Disk.highestAddress(operationCode) else { continue }
                try expectOutOfRange(try disk.reading(operationCode, beyond, 0), name(operationCode, (beyond, 0)))
            }
        },
        ConformanceTest.disk("Length.Short", "5.15", "A TRANSFER LENGTH of zero in READ(6) means 256 blocks.") { disk in
            try disk.wire.need("READ(6)", OperationCode.read6)
            let length = 256 * disk.blockLength
            let data = try expectGood(
                try disk.wire.run(.reading(Disk.block(OperationCode.read6, 0, 0), length)), "READ(6) of 0 blocks")
            try require(data.count == length, "256 blocks", got: "\(data.count) bytes")
        },
        ConformanceTest.disk(
            "Length.ZeroWrite", "5.43", "A length of zero is no error in WRITE and VERIFY: nothing is written.",
            .dataLoss
        ) { disk in
            let before = try disk.fill(Disk.scratch, 1, seed: 1)
            for operationCode in try disk.wire.supported([
                OperationCode.write10, OperationCode.write12, OperationCode.write16, OperationCode.writeAndVerify10,
                OperationCode.writeAndVerify16, OperationCode.verify10, OperationCode.verify16,
                OperationCode.compareAndWrite, OperationCode.orWrite16,
            ]) {
                let range = (UInt64(Disk.scratch), UInt64(0))
                try expectGood(
                    try disk.wire.run(Command(Disk.block(operationCode, range.0, range.1))), name(operationCode, range))
            }
            try disk.expect(before, at: Disk.scratch, "the block as it was")
        },
        ConformanceTest.disk(
            "Length.Maximum", "6.6.3", "A READ beyond MAXIMUM TRANSFER LENGTH is refused with INVALID FIELD IN CDB."
        ) { disk in
            let length = disk.maximumTransferLength + 1
            guard length > 1, length <= disk.count else {
                throw TestEnd.skipped("MAXIMUM TRANSFER LENGTH does not limit a READ of this medium")
            }
            let fields = [OperationCode.read10: 7, OperationCode.read12: 6, OperationCode.read16: 10]
            for operationCode in try disk.wire.supported(longReads)
            where length <= (operationCode == OperationCode.read10 ? 0xFFFF : 0xFFFF_FFFF) {
                try expectInvalidField(
                    try disk.reading(operationCode, 0, length), at: [fields[operationCode] ?? 0],
                    name(operationCode, (0, length)))
            }
        },
        ConformanceTest.disk(
            "Length.Forms", "5.43", "What one form of WRITE writes, each form of READ reads.", .dataLoss
        ) { disk in
            let forms = try disk.wire.supported(reads)
            for (seed, operationCode) in try disk.wire.supported(writes).enumerated() {
                guard operationCode != OperationCode.orWrite16 else { continue }
                let data = disk.pattern(3, seed: seed)
                try expectGood(
                    try disk.writing(operationCode, UInt64(Disk.scratch), 3, data),
                    name(operationCode, (UInt64(Disk.scratch), 3)))
                for form in forms {
                    let found = try expectGood(
                        try disk.reading(form, UInt64(Disk.scratch), 3), name(form, (UInt64(Disk.scratch), 3)))
                    try require(
                        found == data, "what command \(Wire.hex(operationCode)) has written", got: "other data")
                }
            }
        },
    ]
}
