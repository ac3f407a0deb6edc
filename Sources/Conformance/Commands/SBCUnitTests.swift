internal import Bytes
internal import SCSI

/// Cache, power, removal, write protection and protection fields of disks (SBC-4).
enum SBCUnitTests {
    static let all = cache + power + protection + uncorrectable

    private static let first = UInt64(Disk.scratch)
    /// DPO and FUA.
    private static let disablePageOut: UInt8 = 0x10
    private static let forceUnitAccess: UInt8 = 0x08

    // MARK: The cache

    private static let cache = [
        ConformanceTest.disk(
            "Cache.Synchronize", "5.33",
            "SYNCHRONIZE CACHE of a range, of all that follows, and with IMMED ends with GOOD."
        ) { disk in
            for operationCode in try disk.wire.supported([
                OperationCode.synchronizeCache10, OperationCode.synchronizeCache16,
            ]) {
                for (start, count) in [(0, 8), (0, 0), (disk.last, 1), (disk.last, 0)] as [(UInt64, UInt64)] {
                    try expectGood(
                        try disk.wire.run(Command(Disk.block(operationCode, start, count))),
                        "command \(Wire.hex(operationCode)) of \(count) blocks at \(start)")
                }
                guard case .supported(let usage) = try disk.wire.support(operationCode), usage.count > 1,
                    usage[1] & 0x02 != 0
                else { continue }
                try expectGood(
                    try disk.wire.run(Command(Disk.block(operationCode, 0, 0, flags: 0x02))),
                    "command \(Wire.hex(operationCode)) with IMMED")
            }
        },
        ConformanceTest.disk(
            "Cache.ForceUnitAccess", "6.5.1", "Where DPOFUA is one, READ and WRITE take DPO and FUA.", .dataLoss
        ) { disk in
            let parameters = try disk.wire.modeParameters(0x3F)
            guard parameters.deviceSpecificParameter & 0x10 != 0 else { throw TestEnd.skipped("DPOFUA is zero") }
            for (seed, flags) in [forceUnitAccess, disablePageOut, forceUnitAccess | disablePageOut].enumerated() {
                let data = disk.pattern(2, seed: seed)
                for (write, read) in [
                    (OperationCode.write10, OperationCode.read10), (OperationCode.write16, OperationCode.read16),
                ] {
                    try expectGood(
                        try disk.writing(write, first, 2, data, flags: flags), "WRITE with byte 1 \(Wire.hex(flags))")
                    let found = try expectGood(
                        try disk.reading(read, first, 2, flags: flags), "READ with byte 1 \(Wire.hex(flags))")
                    try require(found == data, "what was written", got: "other data")
                }
            }
        },
        ConformanceTest.disk("Cache.Prefetch", "5.10", "PRE-FETCH ends with GOOD or CONDITION MET.") { disk in
            for operationCode in try disk.wire.supported([OperationCode.prefetch10, OperationCode.prefetch16]) {
                let result = try disk.wire.run(Command(Disk.block(operationCode, 0, 8)))
                guard result.status != .conditionMet else { continue }
                try expectGood(result, "command \(Wire.hex(operationCode))")
            }
        },
    ]

    // MARK: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL

    private static func startStop(_ disk: Disk, _ flags: UInt8) throws -> CommandResult {
        try disk.wire.run(Command([OperationCode.startStopUnit, 0, 0, 0, flags, 0]))
    }

    private static func prevent(_ disk: Disk, _ value: UInt8) throws -> CommandResult {
        try disk.wire.run(Command([OperationCode.preventAllowMediumRemoval, 0, 0, 0, value, 0]))
    }

    private static let power = [
        ConformanceTest.disk(
            "StartStop.Stopped", "5.31",
            "A stopped unit is not ready, INITIALIZING COMMAND REQUIRED, until START is one.", .dataLoss
        ) { disk in
            try disk.wire.need("START STOP UNIT", OperationCode.startStopUnit)
            try ending(with: {
                try expectGood(try startStop(disk, 1), "START STOP UNIT with START")
                try disk.wire.clearUnitAttentions(disk.wire.bench.target.logicalUnitNumber)
                try expectGood(try disk.wire.run(.testUnitReady), "TEST UNIT READY after it")
            }) {
                try expectGood(try startStop(disk, 0), "START STOP UNIT without START")
                for command in [
                    Command.testUnitReady, .read(0, 1, blockLength: disk.blockLength),
                ] {
                    try expectSense(
                        try disk.wire.run(command), .notReady, .initializingCommandRequired,
                        "command \(Wire.hex(command.cdb[0])) of a stopped unit")
                }
                try expectGood(try disk.wire.inquire(), "INQUIRY of a stopped unit")
                _ = try disk.wire.reportedUnits()
            }
        },
        ConformanceTest.disk("StartStop.Started", "5.31", "START STOP UNIT with START at a started unit is no error.") {
            disk in
            try disk.wire.need("START STOP UNIT", OperationCode.startStopUnit)
            try expectGood(try startStop(disk, 1), "START STOP UNIT with START")
            try expectGood(try disk.wire.run(.testUnitReady), "TEST UNIT READY after it")
        },
        ConformanceTest.disk(
            "Removal.Prevented", "4.4",
            "A medium whose removal is prevented is not ejected: MEDIUM REMOVAL PREVENTED.",
            .dataLoss
        ) { disk in
            guard try disk.wire.standardInquiryData()[1] & 0x80 != 0 else {
                throw TestEnd.skipped("the medium is not removable")
            }
            try disk.wire.need("PREVENT ALLOW MEDIUM REMOVAL", OperationCode.preventAllowMediumRemoval)
            try expectGood(try prevent(disk, 1), "PREVENT ALLOW MEDIUM REMOVAL")
            try ending(with: { try expectGood(try prevent(disk, 0), "PREVENT ALLOW MEDIUM REMOVAL of nothing") }) {
                try expectSense(
                    try startStop(disk, 2), .illegalRequest, .mediumRemovalPrevented, "START STOP UNIT that ejects")
                try expectGood(try disk.wire.run(.testUnitReady), "TEST UNIT READY after it")
            }
        },
    ]

    // MARK: Write protection, protection information

    private static let protection = [
        ConformanceTest.disk(
            "Protect.Software", "4.12",
            "With SWP each write ends with DATA PROTECT, WRITE PROTECTED, WP is one, and reads go on.", .dataLoss
        ) { disk in
            let before = try disk.fill(Disk.scratch, 1, seed: 1)
            try ending(with: try disk.wire.change(.softwareWriteProtect, to: 0x08)) {
                let result = try disk.writing(OperationCode.write10, first, 1, disk.pattern(1, seed: 2))
                try require(
                    result.sense?.key == .dataProtect && result.sense?.additionalSenseCode.code == 0x27,
                    "WRITE to end with DATA PROTECT, 27h", got: result.summary)
                try require(
                    try disk.wire.modeParameters(0x3F).deviceSpecificParameter & 0x80 != 0, "WP one", got: "zero")
                try disk.expect(before, at: Disk.scratch, "the block as it was")
            }
            try disk.write(Disk.scratch, before)
        },
        ConformanceTest.disk(
            "Protect.Information", "5.16",
            "Without protection information RDPROTECT other than 000b is refused with INVALID FIELD IN CDB."
        ) { disk in
            guard let capacity = disk.longCapacity, capacity[12] & 1 == 0 else {
                throw TestEnd.skipped("the medium is formatted with protection information")
            }
            for operationCode in try disk.wire.supported([OperationCode.read10, OperationCode.read16]) {
                for protect: UInt8 in [1, 3, 5] {
                    try expectInvalidField(
                        try disk.reading(operationCode, 0, 1, flags: protect << 5), at: [1],
                        "command \(Wire.hex(operationCode)) with RDPROTECT \(protect)")
                }
            }
        },
    ]

    // MARK: Pseudo unrecovered errors

    /// WR_UNCOR and COR_DIS of WRITE LONG.
    private static let pseudoUnrecovered: UInt8 = 0xC0

    private static let uncorrectable = [
        ConformanceTest.disk(
            "Uncorrectable.Marked", "4.18.2",
            "A block that WRITE LONG has made unreadable ends each READ and VERIFY of it, until it is written.",
            .dataLoss
        ) { disk in
            let usage = try disk.wire.need("WRITE LONG(10)", OperationCode.writeLong10)
            guard usage.count > 1, usage[1] & pseudoUnrecovered == pseudoUnrecovered else {
                throw TestEnd.skipped("CDB USAGE DATA of WRITE LONG(10) do not have COR_DIS and WR_UNCOR")
            }
            let before = try disk.fill(Disk.scratch, 4, seed: 9)
            let bad = first + 2
            try ending(with: { try disk.write(Disk.scratch, before) }) {
                try expectGood(
                    try disk.wire.run(
                        Command(Disk.block(OperationCode.writeLong10, bad, 0, flags: pseudoUnrecovered))),
                    "WRITE LONG(10)")
                let results = [
                    try disk.reading(OperationCode.read10, first, 4), try disk.reading(OperationCode.read16, bad, 1),
                    try disk.wire.run(Command(Disk.block(OperationCode.verify10, first, 4))),
                ]
                for result in results {
                    try require(
                        result.sense?.key == .mediumError && result.sense?.additionalSenseCode.code == 0x11,
                        "MEDIUM ERROR, 11h", got: result.summary)
                    guard let information = result.information else { continue }
                    try require(information == bad, "INFORMATION \(bad)", got: "\(information)")
                }
                try disk.expect(
                    Array(before.prefix(2 * disk.blockLength)), at: Disk.scratch, "the blocks before as they were")
            }
            try disk.expect(before, at: Disk.scratch, "all blocks to be readable when they have been written")
        }
    ]
}
