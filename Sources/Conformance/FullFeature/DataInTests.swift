internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Data-In: numbers, offsets, lengths and flags of what a target sends.
enum DataInTests {
    /// What is wrong with the Data-In of a read of `length` bytes; nil when nothing is. Order is negotiated.
    static func fault(_ result: CommandResult, length: Int, segment: Int, burst: Int) -> String? {
        var offset = 0
        var inSequence = 0
        for (number, header) in result.dataInHeaders.enumerated() {
            let place = "Data-In \(number)"
            if Int(header.dataSN) != number { return "\(place) has DataSN \(header.dataSN)" }
            if Int(header.bufferOffset) != offset { return "\(place) has offset \(header.bufferOffset), not \(offset)" }
            if header.dataSegmentLength > segment { return "\(place) has \(header.dataSegmentLength) bytes" }
            offset += header.dataSegmentLength
            inSequence += header.dataSegmentLength
            if inSequence > burst { return "\(place) makes its sequence \(inSequence) bytes long" }
            let isLast = offset == length
            if isLast && !header.isFinal { return "the last Data-In has no F" }
            if header.hasStatus && !(isLast && header.isFinal) { return "\(place) has S before the end" }
            if header.isFinal { inSequence = 0 }
        }
        if offset != length { return "\(offset) bytes came" }
        return nil
    }

    private static func check(
        _ bench: Bench, segment: Int, burst: Int, blocks: Int, plan: LoginPlan = LoginPlan()
    ) throws {
        var plan = plan
        plan.offer("MaxRecvDataSegmentLength", "\(segment)")
        plan.offer("MaxBurstLength", "\(burst)")
        plan.offer("FirstBurstLength", "\(min(burst, 65_536))")
        let wire = try bench.logInToUnit(plan)
        let length = blocks * bench.survey.blockLength
        let result = try wire.runGood(.read(0, blocks, blockLength: bench.survey.blockLength))
        let granted = wire.negotiated.number("MaxBurstLength") ?? burst
        let fault = fault(result, length: length, segment: segment, burst: granted)
        try require(
            fault == nil,
            "\(length) bytes of Data-In in PDUs of at most \(segment) and sequences of at most \(granted)",
            got: fault ?? "")
        if let response = result.responseHeader {
            try require(
                Int(response.expDataSN) == result.dataInHeaders.count, "ExpDataSN \(result.dataInHeaders.count)",
                got: "\(response.expDataSN)")
        }
    }

    static let all = [
        ConformanceTest(
            "FullFeature.DataIn.Single", "11.7", "A short read comes in one Data-In with F.", .disk
        ) { bench in
            try check(bench, segment: 65_536, burst: 262_144, blocks: 1)
        },
        ConformanceTest(
            "FullFeature.DataIn.Segments", "13.12",
            "Data-In PDUs are at most as long as the initiator's MaxRecvDataSegmentLength.", .disk
        ) { bench in
            try check(bench, segment: 512, burst: 262_144, blocks: 16)
            try check(bench, segment: 1000, burst: 262_144, blocks: 16)
        },
        ConformanceTest(
            "FullFeature.DataIn.Sequences", "13.13",
            "Sequences of Data-In end with F after at most MaxBurstLength bytes.", .disk
        ) { bench in
            try check(bench, segment: 512, burst: 1024, blocks: 16)
            try check(bench, segment: 4096, burst: 512, blocks: 16)
            try check(bench, segment: 1000, burst: 1500, blocks: 16)
        },
        ConformanceTest(
            "FullFeature.DataIn.Long", "11.7", "A read of many bursts comes whole.", .disk
        ) { bench in
            try check(bench, segment: 8192, burst: 16_384, blocks: 512)
        },
        ConformanceTest(
            "FullFeature.DataIn.Tags", "11.7.4",
            "Data-In without A has the reserved Target Transfer Tag; at ErrorRecoveryLevel 0 there is no A.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(LoginPlan(["MaxRecvDataSegmentLength": "512"]))
            let result = try wire.runGood(.read(0, 16, blockLength: bench.survey.blockLength))
            for header in result.dataInHeaders {
                try require(!header.isAcknowledgeRequested, "no A at ErrorRecoveryLevel 0", got: "A")
                try require(
                    header.targetTransferTag == reservedTag, "the reserved Target Transfer Tag",
                    got: String(header.targetTransferTag, radix: 16))
            }
        },
        ConformanceTest(
            "FullFeature.DataIn.Parallel", "11.7",
            "Reads under way together each get their own data, in order.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(LoginPlan(["MaxRecvDataSegmentLength": "1024"]))
            let length = bench.survey.blockLength
            let open = wire.session.nextCmdSN.distance(to: wire.session.maxCmdSN) + 1
            let count = min(8, max(open, 1))
            var single: [[UInt8]] = []
            for number in 0..<count {
                single.append(try wire.runGood(.read(number * 16, 16, blockLength: length)).dataIn)
            }
            var tags: [UInt32] = []
            for number in 0..<count { tags.append(try wire.start(.read(number * 16, 16, blockLength: length))) }
            _ = try wire.finishAll(tags)
            for (number, tag) in tags.enumerated() {
                let result = try wire.finish(tag)
                try require(result.isGood, "GOOD", got: result.summary)
                try require(result.dataIn == single[number], "the data of read \(number)", got: "other data")
                let fault = fault(result, length: 16 * length, segment: 1024, burst: 262_144)
                try require(fault == nil, "the Data-In of read \(number) in order", got: fault ?? "")
            }
        },
        ConformanceTest(
            "FullFeature.DataIn.StatusFields", "11.7.3",
            "A read's status comes once, with the last Data-In or after it, and is GOOD when it comes with data.", .disk
        ) { bench in
            let wire = try bench.logInToUnit()
            for blocks in [1, 8, 64] {
                let result = try wire.runGood(.read(0, blocks, blockLength: bench.survey.blockLength))
                let count = result.dataInHeaders.filter(\.hasStatus).count + (result.responseHeader == nil ? 0 : 1)
                try require(count == 1, "one status", got: "\(count)")
            }
            try wire.expectNothing("no second status")
            try wire.ping()
        },
    ]
}
