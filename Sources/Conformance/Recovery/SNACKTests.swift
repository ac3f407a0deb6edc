internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// ErrorRecoveryLevel 1: retry, SNACK, retained answers, recovery R2Ts.
enum SNACKTests {
    static let all = retries + data + statuses + wrong + writes

    /// A login at ErrorRecoveryLevel 1.
    private static func plan(_ plan: LoginPlan = LoginPlan()) -> LoginPlan {
        var plan = plan
        plan.offer("ErrorRecoveryLevel", "1")
        return plan
    }

    /// A session whose answers are not acknowledged from here on.
    private static func logIn(_ bench: Bench, _ plan: LoginPlan) throws -> Wire {
        let wire = try bench.logInToUnit(plan)
        guard wire.negotiated.number("ErrorRecoveryLevel") == 1 else {
            throw TestEnd.failed(
                expected: "ErrorRecoveryLevel=1", got: wire.negotiated.answer("ErrorRecoveryLevel") ?? "no answer")
        }
        // The answers of before are acknowledged by this ping; its echo is the last that is.
        try wire.ping()
        try wire.ping()
        wire.acknowledges = false
        wire.checksStatSN = false
        return wire
    }

    /// Sends a SNACK and gives its header.
    @discardableResult
    private static func send(
        _ wire: Wire, _ type: SNACKType, tag: UInt32 = reservedTag, transferTag: UInt32 = reservedTag,
        from begRun: UInt32, count: UInt32
    ) throws -> BasicHeaderSegment {
        var request = SNACKRequestPDU()
        request.type = type
        request.logicalUnitNumber =
            type == .dataACK ? wire.bench.target.logicalUnitNumber : LogicalUnitNumber(rawValue: 0)
        request.initiatorTaskTag = tag
        request.targetTransferTag = transferTag
        request.expStatSN = wire.expStatSN
        request.begRun = begRun
        request.runLength = count
        try wire.send(request)
        return BasicHeaderSegment(request)
    }

    /// What comes again after a SNACK. A target may say that it cannot.
    private static func again(_ wire: Wire, _ expected: String) throws -> ReceivedPDU {
        let pdu = try wire.next(expected)
        if let reject: RejectPDU = pdu.parsed(), reject.reason == .snackReject {
            throw TestEnd.skipped("the target rejects the SNACK with reason 03, as one that it cannot follow")
        }
        return pdu
    }

    private static let retries = [
        ConformanceTest(
            "ErrorRecovery.Retry.Inadvertent", "7.2.1",
            "A command that is sent again although it has come is answered once.", .errorRecoveryLevel(1)
        ) { bench in
            let wire = try bench.logInToUnit(plan())
            var command = Command.testUnitReady
            command.tag = wire.session.takeTag()
            command.cmdSN = wire.session.takeCmdSN()
            let tag = try wire.start(command)
            try wire.startIgnored(command)
            _ = try wire.finish(tag)
            try wire.expectNothing("no second answer")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.Retry.AfterDigestError", "7.2.1",
            "A command that was dropped for its data digest is executed when it is sent again.",
            .errorRecoveryLevel(1), .dataDigest, .disk, .dataLoss
        ) { bench in
            var offers = plan()
            offers.offer("DataDigest", "CRC32C")
            let wire = try bench.logInToUnit(offers)
            if !wire.negotiated.flag("ImmediateData") { throw TestEnd.skipped("the target keeps ImmediateData=No") }
            let length = bench.survey.blockLength
            let data = Command.pattern(length, seed: 51)
            var command = Command.write(48, data, blockLength: length)
            command.immediateData = data
            command.tag = wire.session.takeTag()
            command.cmdSN = wire.session.takeCmdSN()
            try wire.startIgnored(command) { $0[$0.count - 1] ^= 0xFF }
            try wire.expectReject([.dataDigestError], "a Reject with reason 02")
            try wire.runGood(command, "the command, sent again, to end with GOOD")
            let back = try wire.runGood(.read(48, 1, blockLength: length))
            try require(back.dataIn == data, "the data of the repeated command", got: "other data")
        },
    ]

    // MARK: Data

    /// A read of which several Data-In came, and nothing is acknowledged.
    private static func read(_ wire: Wire) throws -> (tag: UInt32, headers: [DataInPDU], data: [UInt8]) {
        let length = wire.bench.survey.blockLength
        let count = max(8, 4096 / length)
        let tag = try wire.start(.read(0, count, blockLength: length))
        let result = try wire.finish(tag)
        try require(result.isGood, "the read to end with GOOD", got: result.summary)
        try require(result.dataInHeaders.count >= 4, "several Data-In", got: "\(result.dataInHeaders.count)")
        if result.dataInHeaders.contains(where: \.isAcknowledgeRequested) {
            throw TestEnd.skipped("the target has had the data acknowledged, so that it need not send it again")
        }
        return (tag, result.dataInHeaders, result.dataIn)
    }

    /// The next PDU is Data-In `number` of `read`, as it was.
    private static func expectAgain(
        _ wire: Wire, _ number: Int, of read: (tag: UInt32, headers: [DataInPDU], data: [UInt8])
    ) throws {
        let expected = "Data-In \(number) again"
        let pdu = try again(wire, expected)
        guard let header: DataInPDU = pdu.parsed() else {
            throw TestEnd.failed(expected: expected, got: Wire.describe(pdu))
        }
        let original = read.headers[number]
        let start = Int(original.bufferOffset)
        try require(
            header.initiatorTaskTag == read.tag && header.dataSN == original.dataSN
                && header.bufferOffset == original.bufferOffset
                && pdu.data == Array(read.data[start..<(start + original.dataSegmentLength)]), expected,
            got: Wire.describe(pdu))
    }

    private static func dataTest(
        _ bench: Bench, from begRun: Int, count: Int, expecting range: (Int) -> Range<Int>
    ) throws {
        var offers = plan()
        offers.offer("MaxRecvDataSegmentLength", "512")
        let wire = try logIn(bench, offers)
        let read = try read(wire)
        try send(wire, .dataOrR2T, tag: read.tag, from: UInt32(begRun), count: UInt32(count))
        for number in range(read.headers.count) { try expectAgain(wire, number, of: read) }
        // The status that follows data is not data: it comes again only when it travels with the last Data-In.
        try wire.expectNothing("nothing beyond what was asked for")
        try wire.ping()
    }

    private static let data = [
        ConformanceTest(
            "ErrorRecovery.SNACK.SingleDataIn", "11.16.1", "One Data-In that is asked for comes again as it was.",
            .errorRecoveryLevel(1), .disk
        ) { bench in
            try dataTest(bench, from: 2, count: 1) { _ in 2..<3 }
        },
        ConformanceTest(
            "ErrorRecovery.SNACK.DataRun", "11.16.1", "A run of Data-In that is asked for comes again, in order.",
            .errorRecoveryLevel(1), .disk
        ) { bench in
            try dataTest(bench, from: 1, count: 2) { _ in 1..<3 }
        },
        ConformanceTest(
            "ErrorRecovery.SNACK.AllData", "11.16.7", "RunLength 0 asks for all Data-In from BegRun on.",
            .errorRecoveryLevel(1), .disk
        ) { bench in
            try dataTest(bench, from: 0, count: 0) { 0..<$0 }
        },
        ConformanceTest(
            "ErrorRecovery.SNACK.RData", "11.16.3",
            "After an R-Data SNACK all data comes again in PDUs of the new MaxRecvDataSegmentLength, and a SCSI "
                + "Response with the SNACK Tag.", .errorRecoveryLevel(1), .disk
        ) { bench in
            var offers = plan()
            offers.offer("MaxRecvDataSegmentLength", "1024")
            let wire = try logIn(bench, offers)
            let read = try read(wire)
            let statSN = wire.expStatSN
            _ = try wire.exchangeText([TextParameter("MaxRecvDataSegmentLength", "512")])
            try send(wire, .rData, tag: read.tag, transferTag: 0x1111, from: 0, count: 0)
            var bytes: [UInt8] = []
            var number: UInt32 = 0
            while true {
                let pdu = try again(wire, "the data again")
                if let header: DataInPDU = pdu.parsed(), header.initiatorTaskTag == read.tag {
                    try require(
                        header.dataSN == number && Int(header.bufferOffset) == bytes.count && pdu.data.count <= 512,
                        "Data-In \(number) at \(bytes.count) of at most 512 bytes", got: Wire.describe(pdu))
                    bytes += pdu.data
                    number += 1
                } else if let response: SCSIResponsePDU = pdu.parsed(), response.initiatorTaskTag == read.tag {
                    try require(
                        response.snackTag == 0x1111 && response.statSN == statSN,
                        "the SNACK Tag 1111h and StatSN \(statSN)",
                        got: "\(String(response.snackTag, radix: 16)), \(response.statSN)")
                    break
                } else {
                    throw TestEnd.failed(expected: "the data again, and a SCSI Response", got: Wire.describe(pdu))
                }
            }
            try require(bytes == read.data, "the same data", got: "\(bytes.count) bytes")
        },
        ConformanceTest(
            "ErrorRecovery.SNACK.DataACK", "11.16.2",
            "Data-In with A has a Target Transfer Tag and a LUN, and the read goes on when it is acknowledged.",
            .errorRecoveryLevel(1), .disk
        ) { bench in
            var offers = plan()
            offers.offer("MaxRecvDataSegmentLength", "512")
            offers.offer("MaxBurstLength", "1024")
            offers.offer("FirstBurstLength", "512")
            let wire = try bench.logInToUnit(offers)
            let result = try wire.runGood(.read(0, 256, blockLength: bench.survey.blockLength))
            let marked = result.dataInHeaders.filter(\.isAcknowledgeRequested)
            if marked.isEmpty { throw TestEnd.skipped("the target does not have data acknowledged") }
            for header in marked {
                try require(
                    header.targetTransferTag != reservedTag
                        && header.logicalUnitNumber == bench.target.logicalUnitNumber,
                    "a Target Transfer Tag and the LUN with A", got: Wire.hex(UInt8(header.targetTransferTag & 0xFF)))
            }
            try wire.ping()
        },
    ]

    // MARK: Status

    private static let statuses = [
        ConformanceTest(
            "ErrorRecovery.SNACK.Status", "11.16.1", "A SCSI Response that is asked for comes again as it was.",
            .errorRecoveryLevel(1)
        ) { bench in
            let wire = try logIn(bench, plan())
            let tag = try wire.start(.testUnitReady)
            let first = try wire.finish(tag)
            try send(wire, .status, from: first.statSN.rawValue, count: 1)
            let pdu = try again(wire, "the SCSI Response again")
            guard let response: SCSIResponsePDU = pdu.parsed() else {
                throw TestEnd.failed(expected: "the SCSI Response again", got: Wire.describe(pdu))
            }
            try require(
                response.initiatorTaskTag == tag && response.statSN == first.statSN && response.status == first.status,
                "the same tag, StatSN and status", got: Wire.describe(pdu))
            try wire.expectNothing("nothing beyond what was asked for")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.SNACK.AllStatus", "11.16.7",
            "RunLength 0 asks for all answers from BegRun on, of whatever kind.", .errorRecoveryLevel(1)
        ) { bench in
            let wire = try logIn(bench, plan())
            let first = try wire.finish(try wire.start(.testUnitReady))
            let check = try wire.finish(try wire.start(Command([0xFF] + [UInt8](repeating: 0, count: 15))))
            _ = try wire.manageTasks(.abortTask, task: (0x7654_3210, wire.session.nextCmdSN.advanced(by: -3)))
            try send(wire, .status, from: first.statSN.rawValue, count: 0)
            for (number, kind) in [Opcode.scsiResponse, .scsiResponse, .taskManagementResponse].enumerated() {
                let pdu = try again(wire, "answer \(number) again")
                let statSN = SequenceNumber(pdu.header.bytes.loadBE32(at: 24))
                try require(
                    pdu.opcode == kind && statSN == first.statSN.advanced(by: number),
                    "answer \(number) again, with StatSN \(first.statSN.advanced(by: number))", got: Wire.describe(pdu))
                if number == 1, let response: SCSIResponsePDU = pdu.parsed() {
                    let again = CommandResult(response, pdu.data)
                    try require(again.sense == check.sense, "the same sense data", got: again.summary)
                }
            }
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.SNACK.Retained", "4.2.2.2",
            "An answer is kept until it is acknowledged, however many follow.", .errorRecoveryLevel(1)
        ) { bench in
            let wire = try logIn(bench, plan())
            let tag = try wire.start(.testUnitReady)
            let first = try wire.finish(tag)
            for _ in 0..<16 { _ = try wire.finish(try wire.start(.testUnitReady)) }
            try send(wire, .status, from: first.statSN.rawValue, count: 1)
            let pdu = try again(wire, "the first answer again")
            let response: SCSIResponsePDU? = pdu.parsed()
            try require(
                response?.statSN == first.statSN && response?.initiatorTaskTag == tag, "the first answer again",
                got: Wire.describe(pdu))
        },
    ]

    // MARK: Wrong requests

    private static let refusals: Set<RejectReason> = [
        .protocolError, .snackReject, .invalidPDUField, .invalidDataACK,
    ]

    private static let wrong = [
        ConformanceTest(
            "ErrorRecovery.WrongSNACK.AcknowledgedStatus", "11.17.1",
            "A SNACK for an answer that was acknowledged is rejected.", .errorRecoveryLevel(1)
        ) { bench in
            let wire = try bench.logInToUnit(plan())
            let first = try wire.run(.testUnitReady)
            try wire.ping()
            try wire.ping()
            let header = try send(wire, .status, from: first.statSN.rawValue, count: 1)
            try wire.expectReject(refusals, of: header, "a Reject with reason 04 (protocol error)")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.WrongSNACK.UnknownTask", "11.17.1",
            "A SNACK for data of a task that is not there is rejected.",
            .errorRecoveryLevel(1)
        ) { bench in
            let wire = try bench.logInToUnit(plan())
            let header = try send(wire, .dataOrR2T, tag: 0x7654_3210, from: 0, count: 1)
            try wire.expectReject(refusals, of: header, "a Reject")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.WrongSNACK.BeyondData", "11.16.6",
            "A SNACK for Data-In that was never sent is rejected.", .errorRecoveryLevel(1), .disk
        ) { bench in
            var offers = plan()
            offers.offer("MaxRecvDataSegmentLength", "512")
            let wire = try logIn(bench, offers)
            let read = try read(wire)
            let header = try send(wire, .dataOrR2T, tag: read.tag, from: 5000, count: 1)
            try wire.expectReject(refusals, of: header, "a Reject")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.WrongSNACK.UnknownDataACK", "11.17.1",
            "A DataACK with a Target Transfer Tag that the target never gave is rejected, with reason 08 at best.",
            .errorRecoveryLevel(1)
        ) { bench in
            let wire = try bench.logInToUnit(plan())
            let header = try send(wire, .dataACK, transferTag: 0x1234_5678, from: 1, count: 0)
            try wire.expectReject(refusals, of: header, "a Reject with reason 08 (invalid data ACK)")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.WrongSNACK.ReservedType", "11.16.1",
            "A SNACK of a reserved type is rejected, or ends the connection.",
            .errorRecoveryLevel(1)
        ) { bench in
            let wire = try bench.logInToUnit(plan())
            let header = try send(wire, SNACKType(rawValue: 9), tag: 0x1234, from: 0, count: 0)
            let isClosed = try wire.expectRejectOrClosed(
                refusals.union([.commandNotSupported]), of: header, "a Reject")
            if !isClosed { try wire.ping() }
        },
    ]

    // MARK: Writes

    /// Finishes a write whose data is asked for again, or that fails; what ended with GOOD must be there.
    private static func finish(_ wire: Wire, _ tag: UInt32, _ data: [UInt8], at block: Int) throws {
        let result = try wire.finish(tag, "R2Ts for the missing data, or the end of the write")
        if result.isGood {
            let length = wire.bench.survey.blockLength
            let back = try wire.runGood(.read(block, data.count / length, blockLength: length))
            try require(back.dataIn == data, "the data that was written", got: "other data")
        } else {
            try require(result.status == .checkCondition, "GOOD or CHECK CONDITION", got: result.summary)
        }
    }

    private static let writes = [
        ConformanceTest(
            "ErrorRecovery.SNACK.R2T", "11.16.1", "An R2T that is asked for comes again as it was.",
            .errorRecoveryLevel(1), .disk
        ) { bench in
            let wire = try bench.logInToUnit(plan(.solicited))
            let pending = try wire.startPendingWrite()
            try send(wire, .dataOrR2T, tag: pending.tag, from: 0, count: 1)
            let pdu = try again(wire, "the R2T again")
            guard let request: ReadyToTransferPDU = pdu.parsed() else {
                throw TestEnd.failed(expected: "the R2T again", got: Wire.describe(pdu))
            }
            try require(
                request.r2tSN == 0 && request.bufferOffset == pending.request.bufferOffset
                    && request.desiredDataTransferLength == pending.request.desiredDataTransferLength
                    && request.targetTransferTag == pending.request.targetTransferTag,
                "the same R2TSN, tag, offset and length", got: Wire.describe(pdu))
            try wire.sendData(pending)
            let result = try wire.finish(pending.tag)
            try require(result.isGood, "the write to end with GOOD", got: result.summary)
        },
        ConformanceTest(
            "ErrorRecovery.RecoveryR2T.MissingData", "7.1.4.1",
            "Data-Out that is missing is asked for again, or the write fails.", .errorRecoveryLevel(1), .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(plan(.solicited))
            let length = bench.survey.blockLength
            let data = Command.pattern(4 * length, seed: 52)
            let tag = try wire.start(.write(48, data, blockLength: length), answersRequests: false)
            let (request, _) = try wire.expect(ReadyToTransferPDU.self, "an R2T for the write")
            try wire.sendData(data, 0..<length, request) { $0.isFinal = false }
            try wire.sendData(data, (2 * length)..<(4 * length), request) { $0.dataSN = 2 }
            wire.tasks[tag]?.answersRequests = true
            try finish(wire, tag, data, at: 48)
        },
        ConformanceTest(
            "ErrorRecovery.RecoveryR2T.DigestError", "7.8",
            "Data-Out with a wrong digest is rejected with reason 02, and asked for again, or the write fails.",
            .errorRecoveryLevel(1), .dataDigest, .disk, .dataLoss
        ) { bench in
            var offers = plan(.solicited)
            offers.offer("DataDigest", "CRC32C")
            let wire = try bench.logInToUnit(offers)
            let length = bench.survey.blockLength
            let data = Command.pattern(2 * length, seed: 53)
            let tag = try wire.start(.write(48, data, blockLength: length), answersRequests: false)
            let (request, _) = try wire.expect(ReadyToTransferPDU.self, "an R2T for the write")
            var pdu = DataOutPDU()
            pdu.logicalUnitNumber = request.logicalUnitNumber
            pdu.initiatorTaskTag = tag
            pdu.targetTransferTag = request.targetTransferTag
            pdu.expStatSN = wire.expStatSN
            pdu.dataSegmentLength = data.count
            try wire.send(pdu, data: data) { $0[$0.count - 1] ^= 0xFF }
            try wire.expectReject([.dataDigestError], of: BasicHeaderSegment(pdu), "a Reject with reason 02")
            wire.tasks[tag]?.answersRequests = true
            try finish(wire, tag, data, at: 48)
        },
    ]
}
