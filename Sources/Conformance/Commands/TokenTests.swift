internal import Bytes
internal import SCSI

/// ROD tokens of block devices: POPULATE TOKEN, RECEIVE ROD TOKEN INFORMATION and WRITE USING TOKEN (SBC-4 clauses
/// 4.28, 5.12, 5.25 and 5.59).
enum TokenTests {
    static let all = [
        test("Lists", "5.12.2", "Lists of nothing are no error, and those that are cut or lie about it are refused.") {
            disk in
            func populate(_ list: [UInt8]) throws -> CommandResult {
                try disk.wire.run(Copying.out(Copying.Out.populateToken, list, identifier: 0x31))
            }
            try expectGood(try populate([]), "POPULATE TOKEN without a list")
            let list = Copying.populateList([(first, 8)])
            for length in [1, 15] {
                try expectSense(
                    try populate(Array(list.prefix(length))), .illegalRequest, .parameterListLengthError,
                    "POPULATE TOKEN with \(length) bytes")
            }
            // POPULATE TOKEN DATA LENGTH below 1Eh; BLOCK DEVICE RANGE DESCRIPTOR LENGTH below 10h.
            for (offset, value) in [(1, 0x1D), (15, 0x0F)] as [(Int, UInt8)] {
                var lying = list
                lying[offset] = value
                try expectInvalidField(
                    try populate(lying), at: [0, 14], isInCommand: false,
                    "POPULATE TOKEN with \(value) in byte \(offset)")
            }
        },
        test("Ranges", "5.12.3", "Ranges that leave the medium, overlap, or are too many, are refused.") { disk in
            func populate(_ ranges: [(first: UInt64, count: UInt32)]) throws -> CommandResult {
                try disk.wire.run(
                    Copying.out(Copying.Out.populateToken, Copying.populateList(ranges), identifier: 0x32))
            }
            for range in [(disk.last, 2), (disk.count, 1), (UInt64.max, 2)] as [(UInt64, UInt32)] {
                try expectOutOfRange(try populate([range]), "POPULATE TOKEN of \(range.1) blocks at \(range.0)")
            }
            try expectInvalidField(
                try populate([(first, 8), (first + 4, 8)]), isInCommand: false, "POPULATE TOKEN of ranges that overlap")
            let most = try maximumRanges(disk)
            guard (1..<2000).contains(most) else { return }
            try expectSense(
                try populate((0...most).map { (first + UInt64($0 % 512) * 2, 1) }), .illegalRequest,
                .tooManySegmentDescriptors, "POPULATE TOKEN of \(most + 1) ranges")
        },
        test("Unknown", "5.59", "A token that no copy manager has made is refused: INVALID TOKEN OPERATION.", .dataLoss)
        {
            disk in
            let before = try disk.fill(Disk.scratch, 16, seed: 1)
            var token = try disk.token([(first, 4)], identifier: 0x33)
            // What is not an identifier of the token's makers is what the copy manager keeps its secret in.
            for index in 128..<Copying.tokenLength { token[index] ^= 0xA5 }
            let result = try disk.write(using: token, [(first + 8, 4)], identifier: 0x34)
            try require(
                result.sense?.key == .illegalRequest && result.sense?.additionalSenseCode.code == 0x23,
                "WRITE USING TOKEN with an invented token to end with ILLEGAL REQUEST, 23h", got: result.summary)
            try disk.expect(before, at: Disk.scratch, "all blocks as they were")
        },
        test(
            "Copies", "5.59",
            "WRITE USING TOKEN writes what the token represents, over its ranges, and no other blocks.",
            .dataLoss
        ) { disk in
            let before = try disk.fill(Disk.scratch, 64, seed: 2)
            let token = try disk.token([(first + 1, 4), (first + 10, 3)], identifier: 0x35)
            try expectGood(
                try disk.write(using: token, [(first + 30, 2), (first + 40, 5)], identifier: 0x36), "WRITE USING TOKEN")
            let length = disk.blockLength
            func blocks(_ range: Range<Int>) -> ArraySlice<UInt8> {
                before[(range.lowerBound * length)..<(range.upperBound * length)]
            }
            let data = blocks(1..<5) + blocks(10..<13)
            let expected =
                blocks(0..<30) + data.prefix(2 * length) + blocks(32..<40) + data.dropFirst(2 * length)
                + blocks(45..<64)
            try disk.expect(Array(expected), at: Disk.scratch, "seven blocks copied, and the others as they were")
        },
        test(
            "Change", "5.17.6.5",
            "A token never stands for newer data than its blocks had when it was made.", .dataLoss
        ) { disk in
            let old = try disk.fill(Disk.scratch, 4, seed: 3)
            let token = try disk.token([(first, 4)], identifier: 0x37)
            _ = try disk.fill(Disk.scratch, 4, seed: 4)
            let before = try disk.fill(Disk.scratch + 8, 4, seed: 5)
            let result = try disk.write(using: token, [(first + 8, 4)], identifier: 0x38)
            try disk.expect(
                result.isGood ? old : before, at: Disk.scratch + 8,
                result.isGood ? "the data that the token was made of" : "the blocks as they were")
        },
        test(
            "Zero", "4.28.4", "The block device zero ROD token makes blocks zeros, where the unit takes it.", .dataLoss
        ) {
            disk in
            guard try takesZeroToken(disk) else {
                throw TestEnd.skipped("VPD page 8Fh does not list the block device zero ROD token")
            }
            let around = try disk.fill(Disk.scratch, 16, seed: 6)
            try expectGood(
                try disk.write(using: Copying.zeroToken, [(first + 4, 8)], identifier: 0x39),
                "WRITE USING TOKEN with the block device zero ROD token")
            let edge = 4 * disk.blockLength
            try disk.expect(
                Array(around.prefix(edge)) + disk.zeros(8) + around.suffix(edge), at: Disk.scratch,
                "zeros, and the others as they were")
        },
        test("Beyond", "5.59", "WRITE USING TOKEN beyond the medium changes nothing.", .dataLoss) { disk in
            let before = try disk.fill(Disk.scratch, 8, seed: 7)
            let token = try disk.token([(first, 4)], identifier: 0x3A)
            try expectOutOfRange(
                try disk.write(using: token, [(first + 4, 2), (disk.last, 2)], identifier: 0x3B),
                "WRITE USING TOKEN beyond the last block")
            try disk.expect(before, at: Disk.scratch, "all blocks as they were")
        },
    ]

    private static let first = UInt64(Disk.scratch)

    /// A test of a disk whose copy manager makes tokens.
    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        // Tokens are those of SPC, and their commands those of SBC.
        let standard = clause.hasPrefix("5.17") ? "SPC-5" : "SBC-4"
        return ConformanceTest(
            "Copy.Token.\(name)", standard: "\(standard) clause \(clause)", rule,
            [.disk] + requirements
        ) { bench in
            let disk = try Disk(try bench.logInToUnit())
            try disk.needCopies("POPULATE TOKEN", Copying.Out.populateToken)
            try disk.needCopies("WRITE USING TOKEN", Copying.Out.writeUsingToken)
            try disk.needCopies("RECEIVE ROD TOKEN INFORMATION", Copying.In.tokenInformation, isIn: true)
            try body(disk)
        }
    }

    // MARK: The Third-party Copy VPD page (SPC-5 clause 7.8.17)

    /// The content of the third-party copy descriptor of that type; nil when there is none.
    private static func descriptor(_ disk: Disk, _ type: UInt16) throws -> [UInt8]? {
        guard let page = try disk.wire.vitalProductData(0x8F) else { return nil }
        var offset = 0
        while offset + 4 <= page.count {
            let end = offset + 4 + Int(page.rawSpan.loadBE16(at: offset + 2))
            try require(
                end <= page.count, "third-party copy descriptors that fill the page", got: "one that exceeds it")
            if page.rawSpan.loadBE16(at: offset) == type { return Array(page[offset + 4..<end]) }
            offset = end
        }
        return nil
    }

    /// MAXIMUM RANGE DESCRIPTORS; zero when it is not reported.
    private static func maximumRanges(_ disk: Disk) throws -> Int {
        guard let limits = try descriptor(disk, 0x0000), limits.count >= 8 else { return 0 }
        return Int(limits.rawSpan.loadBE16(at: 6))
    }

    /// Whether Supported ROD Types lists the block device zero ROD token with TOKEN_IN.
    private static func takesZeroToken(_ disk: Disk) throws -> Bool {
        guard let types = try descriptor(disk, 0x0108) else { return false }
        return stride(from: 4, to: types.count - 63, by: 64).contains {
            types.rawSpan.loadBE32(at: $0) == Copying.zeroType && types[$0 + 4] & 0x02 != 0
        }
    }
}
