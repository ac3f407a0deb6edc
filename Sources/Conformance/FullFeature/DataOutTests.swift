internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Writes: immediate, unsolicited and solicited data, R2Ts, and Data-Out that is wrong.
enum DataOutTests {
    static let all = combinations + requests + refused + wrong

    /// Where the tests write.
    private static let block = 64

    /// What is wrong with the R2Ts of a write of `length` bytes of which the first `start` came unasked; nil when
    /// nothing is.
    static func fault(_ requests: [ReadyToTransferPDU], from start: Int, to length: Int, burst: Int) -> String? {
        var offset = start
        for (number, request) in requests.enumerated() {
            let place = "R2T \(number)"
            if Int(request.r2tSN) != number { return "\(place) has R2TSN \(request.r2tSN)" }
            if request.targetTransferTag == reservedTag { return "\(place) has the reserved Target Transfer Tag" }
            if Int(request.bufferOffset) != offset {
                return "\(place) has offset \(request.bufferOffset), not \(offset)"
            }
            let desired = Int(request.desiredDataTransferLength)
            if desired == 0 || desired > burst { return "\(place) asks for \(desired) bytes" }
            offset += desired
        }
        return offset == length ? nil : "R2Ts up to \(offset)"
    }

    /// Writes `blocks` blocks with the data that may be sent unasked, and reads them back.
    private static func write(
        _ wire: Wire, blocks: Int, immediate: Int, unsolicitedEnd: Int, seed: Int
    ) throws -> CommandResult {
        let length = wire.bench.survey.blockLength
        let data = Command.pattern(blocks * length, seed: seed)
        var command = Command.write(block, data, blockLength: length)
        command.immediateData = Array(data[..<immediate])
        command.isFinal = unsolicitedEnd <= immediate
        let tag = try wire.start(command)
        if unsolicitedEnd > immediate { try wire.sendData(data, immediate..<unsolicitedEnd, tag: tag) }
        let result = try wire.finish(tag)
        try require(result.isGood, "the write to end with GOOD", got: result.summary)
        let back = try wire.runGood(.read(block, blocks, blockLength: length), "the read to end with GOOD")
        try require(back.dataIn == data, "the data that was written", got: "other data")
        return result
    }

    /// The four combinations of InitialR2T and ImmediateData.
    private static let combinations = [
        (false, true), (false, false), (true, true), (true, false),
    ].map { initialR2T, immediateData in
        let name = "InitialR2T\(initialR2T ? "Yes" : "No")ImmediateData\(immediateData ? "Yes" : "No")"
        return ConformanceTest(
            "FullFeature.DataOut.\(name)", "4.2.5.2",
            "Writes with all the data that may be sent unasked, and R2Ts for the rest, arrive whole.", .disk, .dataLoss
        ) { bench in
            let plan = LoginPlan([
                "InitialR2T": initialR2T ? "Yes" : "No", "ImmediateData": immediateData ? "Yes" : "No",
                "FirstBurstLength": "4096", "MaxBurstLength": "8192",
            ])
            let wire = try bench.logInToUnit(plan)
            if !initialR2T && wire.negotiated.flag("InitialR2T") {
                throw TestEnd.skipped("the target keeps InitialR2T=Yes")
            }
            if immediateData && !wire.negotiated.flag("ImmediateData") {
                throw TestEnd.skipped("the target keeps ImmediateData=No")
            }
            let first = min(wire.negotiated.number("FirstBurstLength") ?? 4096, 4096)
            let segment = min(first, wire.negotiated.targetMaxRecvDataSegmentLength)
            let burst = wire.negotiated.number("MaxBurstLength") ?? 8192
            let length = bench.survey.blockLength
            for (seed, blocks) in [1, 8, 64].enumerated() {
                let total = blocks * length
                let immediates = immediateData ? [0, min(1024, total, segment), min(segment, total)] : [0]
                for immediate in Set(immediates).sorted() {
                    let end = initialR2T ? immediate : min(first, total)
                    let result = try write(
                        wire, blocks: blocks, immediate: immediate, unsolicitedEnd: end, seed: seed + immediate)
                    let fault = fault(result.requests, from: end, to: total, burst: burst)
                    try require(
                        fault == nil, "R2Ts from \(end) to \(total) of at most \(burst) bytes", got: fault ?? "")
                }
            }
        }
    }

    private static let requests = [
        ConformanceTest(
            "FullFeature.R2T.Fields", "11.8",
            "R2Ts are numbered from 0, cover the data once and in order, and ask for at most MaxBurstLength.",
            .disk, .dataLoss
        ) { bench in
            var plan = LoginPlan.solicited
            plan.offer("MaxBurstLength", "1024")
            plan.offer("FirstBurstLength", "512")
            let wire = try bench.logInToUnit(plan)
            let result = try write(wire, blocks: 16, immediate: 0, unsolicitedEnd: 0, seed: 1)
            let burst = wire.negotiated.number("MaxBurstLength") ?? 1024
            let fault = fault(result.requests, from: 0, to: 16 * bench.survey.blockLength, burst: burst)
            try require(fault == nil, "R2Ts of at most \(burst) bytes in order", got: fault ?? "")
        },
        ConformanceTest(
            "FullFeature.R2T.Outstanding", "13.17",
            "No more R2Ts are out at a time than MaxOutstandingR2T says.", .disk, .dataLoss
        ) { bench in
            for most in [1, 3] {
                var plan = LoginPlan.solicited
                plan.offer("MaxBurstLength", "1024")
                plan.offer("FirstBurstLength", "512")
                plan.offer("MaxOutstandingR2T", "\(most)")
                let wire = try bench.logInToUnit(plan)
                let limit = wire.negotiated.number("MaxOutstandingR2T") ?? most
                let length = bench.survey.blockLength
                let command = Command.write(block, Command.pattern(32 * length, seed: most), blockLength: length)
                let tag = try wire.start(command, answersRequests: false)
                var answered = 0
                while wire.tasks[tag]?.isFinished == false {
                    var requests = wire.tasks[tag]?.result.requests ?? []
                    if answered == requests.count {
                        try wire.takeNext(of: tag)
                    } else {
                        // All that come without an answer to the earlier ones are out together.
                        while try wire.takeNext(of: tag, within: bench.target.silence) {}
                        requests = wire.tasks[tag]?.result.requests ?? []
                        try require(
                            requests.count - answered <= limit, "at most \(limit) R2Ts out",
                            got: "\(requests.count - answered)")
                        try wire.answer(requests[answered], command)
                        answered += 1
                    }
                }
                let result = try wire.finish(tag)
                try require(result.isGood, "GOOD", got: result.summary)
            }
        },
        ConformanceTest(
            "FullFeature.R2T.Unit", "11.8", "An R2T names the logical unit and the task.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let pending = try wire.startPendingWrite()
            try require(
                pending.request.logicalUnitNumber == bench.target.logicalUnitNumber
                    && pending.request.initiatorTaskTag == pending.tag, "the command's LUN and tag", got: "others")
            try wire.sendData(pending)
            let result = try wire.finish(pending.tag)
            try require(result.isGood, "GOOD", got: result.summary)
        },
        ConformanceTest(
            "FullFeature.R2T.Parallel", "11.8.5",
            "Writes under way together have R2Ts of different tags, and each gets its own data.", .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let length = bench.survey.blockLength
            let open = wire.session.nextCmdSN.distance(to: wire.session.maxCmdSN) + 1
            let count = min(4, max(open, 1))
            var tags: [UInt32] = []
            for number in 0..<count {
                let data = Command.pattern(4 * length, seed: 40 + number)
                tags.append(try wire.start(.write(block + number * 4, data, blockLength: length)))
            }
            _ = try wire.finishAll(tags)
            for (number, tag) in tags.enumerated() {
                let result = try wire.finish(tag)
                try require(result.isGood, "write \(number) to end with GOOD", got: result.summary)
                let back = try wire.runGood(.read(block + number * 4, 4, blockLength: length))
                try require(
                    back.dataIn == Command.pattern(4 * length, seed: 40 + number), "the data of write \(number)",
                    got: "other data")
            }
        },
    ]

    // MARK: Data that may not be sent

    /// A write whose immediate data breaks what was negotiated.
    private static func refuses(_ bench: Bench, _ plan: LoginPlan, immediate: Int, _ why: String) throws {
        let wire = try bench.logInToUnit(plan)
        let length = bench.survey.blockLength
        let data = Command.pattern(16 * length, seed: 11)
        var command = Command.write(block, data, blockLength: length)
        command.immediateData = Array(data[..<immediate])
        let tag = try wire.startIgnored(command)
        try CommandFieldTests.expectRefused(wire, tag, why)
        try bench.expectTargetServes()
    }

    private static let refused = [
        ConformanceTest(
            "FullFeature.DataOut.ImmediateNotNegotiated", "4.2.5.2",
            "Immediate data with ImmediateData=No fails the command.", .disk, .dataLoss
        ) { bench in
            try refuses(bench, .solicited, immediate: 512, "the command with immediate data to fail")
        },
        ConformanceTest(
            "FullFeature.DataOut.BeyondFirstBurst", "4.2.5.2",
            "Immediate data beyond FirstBurstLength fails the command.", .disk, .dataLoss
        ) { bench in
            let plan = LoginPlan(["InitialR2T": "Yes", "FirstBurstLength": "512", "MaxBurstLength": "8192"])
            try refuses(bench, plan, immediate: 2048, "the command with too much immediate data to fail")
        },
        ConformanceTest(
            "FullFeature.DataOut.UnsolicitedBeyondFirstBurst", "4.2.5.2",
            "Unsolicited Data-Out beyond FirstBurstLength fails the command.", .disk, .dataLoss
        ) { bench in
            let plan = LoginPlan([
                "InitialR2T": "No", "ImmediateData": "No", "FirstBurstLength": "512", "MaxBurstLength": "8192",
            ])
            let wire = try bench.logInToUnit(plan)
            if wire.negotiated.flag("InitialR2T") { throw TestEnd.skipped("the target keeps InitialR2T=Yes") }
            let length = bench.survey.blockLength
            let data = Command.pattern(16 * length, seed: 12)
            var command = Command.write(block, data, blockLength: length)
            command.isFinal = false
            let tag = try wire.startIgnored(command)
            try wire.sendData(data, 0..<4096, tag: tag)
            try CommandFieldTests.expectRefused(wire, tag, "the command with too much unsolicited data to fail")
            try bench.expectTargetServes()
        },
        ConformanceTest(
            "FullFeature.DataOut.UnsolicitedNotNegotiated", "4.2.5.2",
            "Unsolicited Data-Out with InitialR2T=Yes does not count as the command's data.", .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let length = bench.survey.blockLength
            let data = Command.pattern(length, seed: 13)
            var command = Command.write(block, data, blockLength: length)
            command.isFinal = false
            let tag = try wire.startIgnored(command)
            try wire.sendData(data, 0..<length, tag: tag)
            try expectNotGood(wire, "no GOOD for data that may not be sent")
            try bench.expectTargetServes()
        },
    ]

    // MARK: Data-Out that is wrong

    /// The write fails, its data is asked for again, or the connection ends; never GOOD.
    private static func expectNotGood(_ wire: Wire, _ why: String) throws {
        guard let pdu = try wire.nextOrClosed(why) else { return }
        if let response: SCSIResponsePDU = pdu.parsed() {
            try require(!CommandResult(response, pdu.data).isGood, why, got: Wire.describe(pdu))
        } else if pdu.opcode != .reject && pdu.opcode != .readyToTransfer {
            throw TestEnd.failed(expected: why, got: Wire.describe(pdu))
        }
    }

    /// A write of four blocks whose two Data-Out PDUs are as `change` makes them; the first argument is their place.
    private static func wrongData(
        _ bench: Bench, _ why: String, change: (Int, inout DataOutPDU) -> Void
    ) throws {
        let wire = try bench.logInToUnit(.solicited)
        let length = bench.survey.blockLength
        let data = Command.pattern(4 * length, seed: 21)
        let tag = try wire.start(.write(block, data, blockLength: length), answersRequests: false)
        let (request, _) = try wire.expect(ReadyToTransferPDU.self, "an R2T for the write")
        try require(
            request.bufferOffset == 0 && Int(request.desiredDataTransferLength) == data.count,
            "one R2T for \(data.count) bytes", got: "one for \(request.desiredDataTransferLength)")
        for place in 0..<2 {
            var pdu = DataOutPDU()
            pdu.isFinal = place == 1
            pdu.logicalUnitNumber = request.logicalUnitNumber
            pdu.initiatorTaskTag = tag
            pdu.targetTransferTag = request.targetTransferTag
            pdu.expStatSN = wire.expStatSN
            pdu.dataSN = UInt32(place)
            pdu.bufferOffset = UInt32(place * 2 * length)
            pdu.dataSegmentLength = 2 * length
            change(place, &pdu)
            let start = min(Int(pdu.bufferOffset), 2 * length)
            var bytes = Array(data[start..<(start + 2 * length)])
            bytes += [UInt8](repeating: 0xEE, count: max(0, pdu.dataSegmentLength - bytes.count))
            try wire.send(pdu, data: Array(bytes.prefix(pdu.dataSegmentLength)))
        }
        try expectNotGood(wire, why)
        try bench.expectTargetServes()
    }

    private static let wrong = [
        ConformanceTest(
            "FullFeature.DataOut.DataSNRepeated", "11.7.5", "A DataSN that is repeated fails the write.", .disk,
            .dataLoss
        ) { bench in
            try wrongData(bench, "the write with DataSN 0, 0 to fail") { _, pdu in pdu.dataSN = 0 }
        },
        ConformanceTest(
            "FullFeature.DataOut.DataSNGap", "11.7.5", "A DataSN that is left out fails the write.", .disk, .dataLoss
        ) { bench in
            try wrongData(bench, "the write with DataSN 0, 27 to fail") { place, pdu in pdu.dataSN = place == 0 ? 0 : 27
            }
        },
        ConformanceTest(
            "FullFeature.DataOut.DataSNReversed", "11.7.5", "DataSN in falling order fail the write.", .disk, .dataLoss
        ) { bench in
            try wrongData(bench, "the write with DataSN 1, 0 to fail") { place, pdu in pdu.dataSN = UInt32(1 - place) }
        },
        ConformanceTest(
            "FullFeature.DataOut.OffsetBeyond", "11.7.6", "An offset beyond the R2T fails the write.", .disk, .dataLoss
        ) { bench in
            try wrongData(bench, "the write with a wrong offset to fail") { place, pdu in
                if place == 1 { pdu.bufferOffset += 1 << 20 }
            }
        },
        ConformanceTest(
            "FullFeature.DataOut.OffsetRepeated", "11.7.6",
            "Data for the same place twice, with a hole elsewhere, fails the write.", .disk, .dataLoss
        ) { bench in
            try wrongData(bench, "the write with a hole to fail") { _, pdu in pdu.bufferOffset = 0 }
        },
        ConformanceTest(
            "FullFeature.DataOut.TooLong", "11.7.7", "Data beyond what the R2T asked for fails the write.", .disk,
            .dataLoss
        ) { bench in
            try wrongData(bench, "the write with too much data to fail") { place, pdu in
                if place == 1 { pdu.dataSegmentLength += 512 }
            }
        },
        ConformanceTest(
            "FullFeature.DataOut.FinalTooEarly", "11.7.1",
            "F before all data that the R2T asked for has come does not end the write with GOOD.", .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let length = bench.survey.blockLength
            let data = Command.pattern(4 * length, seed: 22)
            _ = try wire.start(.write(block, data, blockLength: length), answersRequests: false)
            let (request, _) = try wire.expect(ReadyToTransferPDU.self, "an R2T for the write")
            try wire.sendData(data, 0..<length, request)
            try expectNotGood(wire, "the write with missing data to fail")
            try bench.expectTargetServes()
        },
        ConformanceTest(
            "FullFeature.DataOut.UnknownTransferTag", "11.7.4",
            "Data-Out with a Target Transfer Tag that no R2T gave is not written.", .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let length = bench.survey.blockLength
            let data = Command.pattern(length, seed: 23)
            let tag = try wire.start(.write(block, data, blockLength: length), answersRequests: false)
            let (request, _) = try wire.expect(ReadyToTransferPDU.self, "an R2T for the write")
            try wire.sendData(Command.pattern(length, seed: 24), 0..<length, request) {
                $0.targetTransferTag = request.targetTransferTag ^ 0x0F0F_0F0F
            }
            try wire.sendData(data, 0..<length, request)
            let limit = 3
            for _ in 0..<limit {
                guard let pdu = try wire.nextOrClosed("the end of the write") else { break }
                if pdu.opcode == .reject { continue }
                guard try wire.take(pdu) else {
                    throw TestEnd.failed(expected: "the end of the write", got: Wire.describe(pdu))
                }
                let result = try wire.finish(tag)
                if result.isGood {
                    let back = try wire.runGood(.read(block, 1, blockLength: length))
                    try require(back.dataIn == data, "the data for the R2T's own tag", got: "other data")
                }
                break
            }
            try bench.expectTargetServes()
        },
        ConformanceTest(
            "FullFeature.DataOut.AfterAbort", "4.2.3.3",
            "Data that was asked for and comes after the task was aborted harms nobody.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let pending = try wire.startPendingWrite()
            let outcome = try wire.manageTasks(.abortTask, task: (pending.tag, pending.cmdSN))
            guard outcome == .functionComplete else {
                throw TestEnd.skipped("the task cannot be aborted: response \(outcome.rawValue)")
            }
            try wire.sendData(pending)
            let tag = try wire.sendPing()
            let pdu = try wire.next("the ping's echo")
            if pdu.opcode == .reject {
                _ = try wire.next(tag, "the ping's echo")
            } else {
                try require(pdu.header.initiatorTaskTag == tag, "the ping's echo", got: Wire.describe(pdu))
            }
        },
    ]
}
