internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Header and data digests, right and wrong.
enum DigestTests {
    static let all = right + wrongData + wrongHeader

    private static func plan(header: Bool, data: Bool, _ plan: LoginPlan = LoginPlan()) -> LoginPlan {
        var plan = plan
        plan.offer("HeaderDigest", header ? "CRC32C" : "None")
        plan.offer("DataDigest", data ? "CRC32C" : "None")
        return plan
    }

    /// Pings of many lengths and commands. What comes in has its digests checked.
    private static func exercise(_ bench: Bench, header: Bool, data: Bool) throws {
        let wire = try bench.logInToUnit(plan(header: header, data: data))
        for (key, isOn) in [("HeaderDigest", header), ("DataDigest", data)] {
            try require(
                (wire.negotiated.value(key) == "CRC32C") == isOn, "\(key)=\(isOn ? "CRC32C" : "None")",
                got: wire.negotiated.answer(key) ?? "no answer")
        }
        for length in [0, 1, 2, 3, 4, 5, 511, 2048] {
            try wire.ping(Command.pattern(length, seed: length), "the echo of \(length) bytes")
        }
        _ = try wire.run(.inquiry(allocationLength: 255))
        let result = try wire.run(Command([0xFF] + [UInt8](repeating: 0, count: 15)))
        try require(result.status == .checkCondition, "CHECK CONDITION", got: result.summary)
        try wire.logOut()
    }

    private static let right = [
        ConformanceTest("Digest.Right.Header", "13.1", "With HeaderDigest=CRC32C all PDUs go both ways.", .headerDigest)
        {
            bench in
            try exercise(bench, header: true, data: false)
        },
        ConformanceTest("Digest.Right.Data", "13.1", "With DataDigest=CRC32C all PDUs go both ways.", .dataDigest) {
            bench in
            try exercise(bench, header: false, data: true)
        },
        ConformanceTest(
            "Digest.Right.Both", "13.1", "With both digests all PDUs go both ways.", .headerDigest, .dataDigest
        ) { bench in
            try exercise(bench, header: true, data: true)
        },
        ConformanceTest(
            "Digest.Right.AdditionalHeader", "11.2.3", "The header digest covers additional header segments.",
            .headerDigest
        ) { bench in
            let wire = try bench.logInToUnit(plan(header: true, data: false))
            var cdb = [UInt8](repeating: 0, count: 32)
            cdb[0] = 0x7F
            cdb[7] = 24
            cdb[8] = 0xFF
            cdb[9] = 0xEE
            var command = Command(Array(cdb[..<16]))
            command.additionalHeader = AdditionalHeaderSegments.encodeExtendedCDB(CommandDescriptorBlock(cdb))
            let tag = try wire.startIgnored(command)
            try CommandFieldTests.expectRefused(wire, tag, "the unknown command to be refused")
            try wire.ping()
        },
        ConformanceTest(
            "Digest.Right.Transfers", "13.1", "With both digests written data is read again.",
            .headerDigest, .dataDigest, .disk, .dataLoss
        ) { bench in
            for base in [LoginPlan(), .solicited] {
                var plan = plan(header: true, data: true, base)
                plan.offer("MaxRecvDataSegmentLength", "1000")
                let wire = try bench.logInToUnit(plan)
                let length = bench.survey.blockLength
                let data = Command.pattern(16 * length, seed: 31)
                var command = Command.write(32, data, blockLength: length)
                if wire.negotiated.flag("ImmediateData") {
                    command.immediateData = Array(data[..<min(1024, wire.negotiated.targetMaxRecvDataSegmentLength)])
                }
                try wire.runGood(command)
                let back = try wire.runGood(.read(32, 16, blockLength: length))
                try require(back.dataIn == data, "the data that was written", got: "other data")
            }
        },
    ]

    /// Changes the last byte on the wire: the data digest of a PDU with data.
    private static func breakEnd(_ bytes: inout [UInt8]) { bytes[bytes.count - 1] ^= 0xFF }

    /// Changes the header digest of a PDU without additional header segments.
    private static func breakHeaderDigest(_ bytes: inout [UInt8]) { bytes[BasicHeaderSegment.length] ^= 0xFF }

    private static let wrongData = [
        ConformanceTest(
            "Digest.WrongData.Ping", "7.8",
            "A ping with a wrong data digest is rejected with reason 02, or ends the connection.", .dataDigest
        ) { bench in
            let wire = try bench.logIn(plan(header: false, data: true))
            _ = try wire.sendPing([1, 2, 3, 4], change: breakEnd)
            let isClosed = try wire.expectRejectOrClosed([.dataDigestError], "a Reject with reason 02")
            if !isClosed { try wire.ping([5, 6, 7]) }
        },
        ConformanceTest(
            "Digest.WrongData.Padding", "11.2.3",
            "The data digest covers the padding: a change there is an error like any other.", .dataDigest
        ) { bench in
            let wire = try bench.logIn(plan(header: false, data: true))
            _ = try wire.sendPing([1]) { $0[BasicHeaderSegment.length + 2] = 0xEE }
            let isClosed = try wire.expectRejectOrClosed([.dataDigestError], "a Reject with reason 02")
            if !isClosed { try wire.ping([5, 6, 7]) }
        },
        ConformanceTest(
            "Digest.WrongData.Text", "7.8",
            "A Text Request with a wrong data digest is rejected with reason 02, or ends the connection.", .dataDigest
        ) { bench in
            let wire = try bench.logIn(plan(header: false, data: true))
            let request = wire.textRequest([TextParameter("X-dev.carousel.a", "1")])
            try wire.send(request.header, data: request.data, change: breakEnd)
            let isClosed = try wire.expectRejectOrClosed(
                [.dataDigestError], of: BasicHeaderSegment(request.header), "a Reject with reason 02")
            if isClosed { return }
            wire.session.nextCmdSN = wire.session.expCmdSN
            try wire.ping([5, 6, 7])
            _ = try wire.exchangeText([TextParameter("X-dev.carousel.a", "1")])
        },
        ConformanceTest(
            "Digest.WrongData.Command", "7.8",
            "A command whose immediate data has a wrong digest is rejected with reason 02 and not executed, or ends "
                + "the connection; it can be sent again.", .dataDigest, .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(plan(header: false, data: true))
            if !wire.negotiated.flag("ImmediateData") { throw TestEnd.skipped("the target keeps ImmediateData=No") }
            let length = bench.survey.blockLength
            let old = Command.pattern(length, seed: 32)
            try wire.runGood(.write(40, old, blockLength: length))
            let new = Command.pattern(length, seed: 33)
            var command = Command.write(40, new, blockLength: length)
            command.immediateData = new
            let tag = try wire.startIgnored(command, change: breakEnd)
            let isClosed = try wire.expectRejectOrClosed([.dataDigestError], "a Reject with reason 02")
            let after = isClosed ? try bench.logInToUnit() : wire
            if !isClosed {
                // Nothing more need come, but at ErrorRecoveryLevel 0 the command may also end with an error.
                if let pdu = try wire.nextWithin(bench.target.silence) {
                    let response: SCSIResponsePDU? = pdu.parsed()
                    try require(
                        response?.initiatorTaskTag == tag
                            && response.map { CommandResult($0, pdu.data).isGood } == false,
                        "the command not to be executed", got: Wire.describe(pdu))
                }
                wire.session.nextCmdSN = wire.session.expCmdSN
            }
            let unchanged = try after.runGood(.read(40, 1, blockLength: length))
            try require(unchanged.dataIn == old, "the data of before", got: "other data")
            if isClosed { return }
            try wire.runGood(command, "the command, sent again, to end with GOOD")
            let changed = try wire.runGood(.read(40, 1, blockLength: length))
            try require(changed.dataIn == new, "the data of the repeated command", got: "other data")
        },
        ConformanceTest(
            "Digest.WrongData.DataOut", "7.8",
            "Data-Out with a wrong digest is rejected with reason 02, and the write fails or the data is asked for "
                + "again; or the connection ends.", .dataDigest, .disk, .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(plan(header: false, data: true, .solicited))
            let pending = try wire.startPendingWrite()
            var pdu = DataOutPDU()
            pdu.logicalUnitNumber = pending.request.logicalUnitNumber
            pdu.initiatorTaskTag = pending.tag
            pdu.targetTransferTag = pending.request.targetTransferTag
            pdu.expStatSN = wire.expStatSN
            pdu.dataSegmentLength = pending.data.count
            try wire.send(pdu, data: pending.data, change: breakEnd)
            let isClosed = try wire.expectRejectOrClosed([.dataDigestError], "a Reject with reason 02")
            if isClosed { return try bench.expectTargetServes() }
            guard let next = try wire.nextOrClosed("the end of the write") else { return }
            if let response: SCSIResponsePDU = next.parsed() {
                try require(
                    !CommandResult(response, next.data).isGood, "the write to fail", got: Wire.describe(next))
            } else {
                try require(
                    next.opcode == .readyToTransfer && wire.negotiated.number("ErrorRecoveryLevel") != 0,
                    "the end of the write", got: Wire.describe(next))
            }
        },
    ]

    private static let wrongHeader = [
        ConformanceTest(
            "Digest.WrongHeader.Command", "7.8",
            "A command with a wrong header digest is not executed: it is dropped, or the connection ends.",
            .headerDigest
        ) { bench in
            let wire = try bench.logInToUnit(plan(header: true, data: false))
            let command = Command.testUnitReady
            try wire.startIgnored(command, change: breakHeaderDigest)
            try expectDropped(bench, wire)
        },
        ConformanceTest(
            "Digest.WrongHeader.Ping", "7.8",
            "A ping with a wrong header digest is not answered: it is dropped, or the connection ends.", .headerDigest
        ) { bench in
            let wire = try bench.logIn(plan(header: true, data: false))
            _ = try wire.sendPing(change: breakHeaderDigest)
            try expectDropped(bench, wire)
        },
    ]

    private static func expectDropped(_ bench: Bench, _ wire: Wire) throws {
        let tag = try wire.sendPing()
        guard let pdu = try wire.nextOrClosed("the echo of a right ping, or the end of the connection") else {
            return try bench.expectTargetServes()
        }
        if pdu.opcode == .asyncMessage { return try bench.expectTargetServes() }
        try require(
            pdu.opcode == .nopIn && pdu.header.initiatorTaskTag == tag,
            "the echo of a right ping, or the end of the connection", got: Wire.describe(pdu))
    }
}
