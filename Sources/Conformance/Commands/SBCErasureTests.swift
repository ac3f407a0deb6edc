internal import Bytes
internal import Initiator
internal import Platform
internal import SCSI

/// SANITIZE and FORMAT UNIT (SBC-4 clauses 4.11, 4.34, 5.4 and 5.30), which destroy all data: they run only where the
/// user allows just that.
enum SBCErasureTests {
    static let all = sanitize + format

    /// The most bytes of a disk: an operation on all its blocks takes no longer than a test may.
    private static let largest: UInt64 = 1 << 30

    private static func test(
        _ name: String, _ clause: String, _ rule: String, body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        .disk(name, clause, rule, .dataLoss, .erasure) { disk in
            guard disk.count <= largest / UInt64(disk.blockLength) else {
                throw TestEnd.skipped("the disk has more than 1 GiB, all of which takes longer than a test may")
            }
            try body(disk)
        }
    }

    /// Where blocks are looked at: at both ends, and between.
    private static func places(_ disk: Disk) -> [Int] { [0, Disk.scratch, Int(disk.count / 2), Int(disk.last)] }

    /// Writes blocks that differ at the places that are looked at.
    private static func mark(_ disk: Disk, seed: Int) throws {
        for (index, place) in places(disk).enumerated() { _ = try disk.fill(place, 1, seed: seed + index) }
    }

    private static func expectMarks(_ disk: Disk, seed: Int) throws {
        for (index, place) in places(disk).enumerated() {
            try disk.expect(disk.pattern(1, seed: seed + index), at: place, "the data as they were")
        }
    }

    /// Waits until an operation is over: until then all that comes is NOT READY with `code`, and the progress that
    /// REQUEST SENSE tells does not go back.
    private static func waitUntilReady(_ disk: Disk, _ code: AdditionalSenseCode) throws {
        var last = -1
        while true {
            let result = try disk.wire.run(.testUnitReady)
            if result.isGood { return }
            if result.sense?.key == .unitAttention { continue }
            try require(
                result.has(.notReady, code), "TEST UNIT READY to end with \(SenseData(.notReady, code).summary)",
                got: result.summary)
            try expectGood(try disk.wire.inquire(), "INQUIRY during the operation")
            if let sense = try disk.wire.reportedSense(), sense.additionalSenseCode == code,
                let progress = sense.progress
            {
                try require(Int(progress) >= last, "a PROGRESS INDICATION of \(last) at least", got: "\(progress)")
                last = Int(progress)
            }
            guard disk.wire.bench.remaining > .zero else {
                throw TestEnd.inconclusive("the operation takes longer than a test may")
            }
        }
    }

    // MARK: SANITIZE

    private static let overwrite: UInt16 = 0x01
    private static let blockErase: UInt16 = 0x02
    private static let cryptographicErase: UInt16 = 0x03
    /// IMMED.
    private static let immediate: UInt8 = 0x80

    private static func sanitize(_ action: UInt16, _ list: [UInt8] = [], flags: UInt8 = 0) -> Command {
        var cdb: [UInt8] = [OperationCode.sanitize, flags | UInt8(action), 0, 0, 0, 0, 0]
        cdb.appendBE16(UInt16(list.count))
        return .writing(cdb + [0], list)
    }

    /// The parameter list of OVERWRITE.
    private static func overwriteList(_ pattern: [UInt8], first: UInt8 = 1) -> [UInt8] {
        var list: [UInt8] = [first, 0]
        list.appendBE16(UInt16(pattern.count))
        return list + pattern
    }

    /// Erases a disk by a service action without a list, and looks whether anything is left.
    private static func expectErased(_ disk: Disk, _ action: UInt16, _ name: String, seed: Int) throws {
        try disk.wire.need(name, OperationCode.sanitize, action)
        try mark(disk, seed: seed)
        try expectGood(try disk.wire.run(sanitize(action, flags: immediate)), name)
        try waitUntilReady(disk, .sanitizeInProgress)
        for (index, place) in places(disk).enumerated() {
            let result = try disk.wire.run(.read(place, 1, blockLength: disk.blockLength))
            // What WABEREQ or WACEREQ says of such blocks may be an error.
            try require(
                !result.isGood || result.dataIn != disk.pattern(1, seed: seed + index),
                "other data than before in block \(place)", got: "the same")
        }
    }

    private static let sanitize = [
        test(
            "Sanitize.Overwrite", "5.30",
            "OVERWRITE leaves its pattern in all blocks; with IMMED it goes on behind GOOD, and most commands meet "
                + "SANITIZE IN PROGRESS."
        ) { disk in
            try disk.wire.need("SANITIZE, OVERWRITE", OperationCode.sanitize, overwrite)
            let pattern: [UInt8] = [0xC3, 0x5A, 0x11, 0x77]
            for (seed, flags) in [immediate, 0].enumerated() {
                try mark(disk, seed: 3 * seed)
                try expectGood(
                    try disk.wire.run(sanitize(overwrite, overwriteList(pattern), flags: flags)), "SANITIZE, OVERWRITE")
                try waitUntilReady(disk, .sanitizeInProgress)
                let block = [UInt8]((0..<disk.blockLength / pattern.count).flatMap { _ in pattern })
                for place in places(disk) { try disk.expect(block, at: place, "the pattern in all blocks") }
            }
        },
        test("Sanitize.Erase", "5.30", "BLOCK ERASE leaves nothing of what blocks had.") { disk in
            try expectErased(disk, blockErase, "SANITIZE, BLOCK ERASE", seed: 5)
        },
        test("Sanitize.Cryptographic", "5.30", "CRYPTOGRAPHIC ERASE leaves nothing of what blocks had.") { disk in
            try expectErased(disk, cryptographicErase, "SANITIZE, CRYPTOGRAPHIC ERASE", seed: 12)
        },
        test(
            "Sanitize.Lists", "5.30", "Lists of OVERWRITE without a pattern or a count change nothing."
        ) { disk in
            try disk.wire.need("SANITIZE, OVERWRITE", OperationCode.sanitize, overwrite)
            try mark(disk, seed: 6)
            for length in [0, 4] {
                let list = [UInt8](overwriteList([]).prefix(length))
                try expectInvalidField(
                    try disk.wire.run(sanitize(overwrite, list)), at: [7], "OVERWRITE with \(length) bytes")
            }
            try expectInvalidField(
                try disk.wire.run(sanitize(overwrite, overwriteList([1, 2], first: 0))), at: [0], isInCommand: false,
                "OVERWRITE with OVERWRITE COUNT 0")
            var nothing = overwriteList([1, 2])
            nothing.replaceSubrange(2..<4, with: [0, 0])
            try expectInvalidField(
                try disk.wire.run(sanitize(overwrite, nothing)), at: [2], isInCommand: false,
                "OVERWRITE with INITIALIZATION PATTERN LENGTH 0")
            try expectMarks(disk, seed: 6)
        },
        test("Sanitize.Unknown", "5.30", "A service action that is reserved meets INVALID FIELD IN CDB.") { disk in
            let actions = [overwrite, blockErase, cryptographicErase]
            guard try actions.contains(where: { try disk.wire.support(OperationCode.sanitize, $0) != .none }) else {
                throw TestEnd.skipped("the unit does not have SANITIZE")
            }
            try mark(disk, seed: 7)
            for action: UInt16 in [0x00, 0x0F, 0x1E] {
                try expectInvalidField(
                    try disk.wire.run(sanitize(action)), at: [1], "SANITIZE with service action \(action)")
            }
            try expectMarks(disk, seed: 7)
        },
    ]

    // MARK: FORMAT UNIT

    /// FMTPINFO and PROTECTION FIELD USAGE that keep the protection information as it is (SBC-4 table 39).
    private static func protection(_ disk: Disk) -> (flags: UInt8, usage: UInt8) {
        guard let type = disk.protectionType else { return (0, 0) }
        return [(0x80, 0), (0xC0, 0), (0xC0, 1)][min(type - 1, 2)]
    }

    /// FORMAT UNIT with a short parameter list header.
    private static func format(_ disk: Disk, options: UInt8, _ rest: [UInt8] = [], defects: UInt16 = 0) -> Command {
        let (flags, usage) = protection(disk)
        var list: [UInt8] = [usage, options]
        list.appendBE16(defects)
        // FMTDATA.
        return .writing([OperationCode.formatUnit, 0x10 | flags, 0, 0, 0, 0], list + rest)
    }

    // In byte 1 of the parameter list header: FOV, DPRY, IP and IMMED.
    private static let optionsValid: UInt8 = 0x80
    private static let disablesPrimary: UInt8 = 0x40
    private static let hasPattern: UInt8 = 0x08
    private static let isImmediate: UInt8 = 0x02

    private static let format = [
        test(
            "Format.Whole", "5.4",
            "FORMAT UNIT ends with GOOD when it is over, or with IMMED at once, and leaves the blocks readable and as "
                + "many as they were."
        ) { disk in
            try disk.wire.need("FORMAT UNIT", OperationCode.formatUnit)
            for (seed, options) in [isImmediate, 0].enumerated() {
                try mark(disk, seed: 8 + seed)
                try expectGood(try disk.wire.run(format(disk, options: options)), "FORMAT UNIT")
                try waitUntilReady(disk, .formatInProgress)
                try require(try Disk(disk.wire).count == disk.count, "\(disk.count) blocks", got: "others")
                for place in places(disk) { _ = try disk.read(place, 1) }
            }
        },
        test(
            "Format.Pattern", "5.4", "With an initialization pattern all blocks hold it after FORMAT UNIT."
        ) { disk in
            try disk.wire.need("FORMAT UNIT", OperationCode.formatUnit)
            try mark(disk, seed: 10)
            let pattern: [UInt8] = [0x6E, 0x01, 0xF0, 0x33]
            var descriptor: [UInt8] = [0, 0x01]
            descriptor.appendBE16(UInt16(pattern.count))
            let result = try disk.wire.run(
                format(disk, options: optionsValid | hasPattern, descriptor + pattern))
            if result.has(.illegalRequest, .invalidFieldInParameterList) {
                try expectMarks(disk, seed: 10)
                throw TestEnd.skipped("the unit takes no initialization pattern")
            }
            try expectGood(result, "FORMAT UNIT with a pattern")
            try waitUntilReady(disk, .formatInProgress)
            let block = [UInt8]((0..<disk.blockLength / pattern.count).flatMap { _ in pattern })
            for place in places(disk) { try disk.expect(block, at: place, "the pattern in all blocks") }
        },
        test(
            "Format.Lists", "5.4.2", "A parameter list header that is cut, or has options without FOV, changes nothing."
        ) { disk in
            try disk.wire.need("FORMAT UNIT", OperationCode.formatUnit)
            try mark(disk, seed: 11)
            try expectInvalidField(
                try disk.wire.run(format(disk, options: disablesPrimary)), at: [1], isInCommand: false,
                "FORMAT UNIT with DPRY and without FOV")
            var cut = format(disk, options: 0)
            cut.dataOut = [0, 0]
            cut.expectedDataTransferLength = 2
            let result = try disk.wire.run(cut)
            try require(
                result.sense?.key == .illegalRequest || result.sense?.key == .abortedCommand,
                "FORMAT UNIT with 2 bytes of its header to be refused", got: result.summary)
            try expectMarks(disk, seed: 11)
        },
    ]
}
