internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// SCSI Command and SCSI Response: flags, lengths, tags, sense data.
enum CommandFieldTests {
    static let all = fields + sense + residuals

    /// What a target answers to a command that it must not execute: a Reject, a response that is not GOOD, or the end.
    static func expectRefused(_ wire: Wire, _ tag: UInt32, _ why: String) throws {
        guard let pdu = try wire.nextOrClosed(why) else { return }
        if pdu.opcode == .reject { return }
        if let response: SCSIResponsePDU = pdu.parsed(), response.initiatorTaskTag == tag {
            let result = CommandResult(response, pdu.data)
            try require(!result.isGood, why, got: Wire.describe(pdu))
            return
        }
        throw TestEnd.failed(expected: why, got: Wire.describe(pdu))
    }

    private static let fields = [
        ConformanceTest(
            "FullFeature.Command.Response", "11.4",
            "A SCSI Response repeats the tag, has response 0 and F, and no data with GOOD."
        ) { bench in
            let wire = try bench.logInToUnit()
            let tag = try wire.startIgnored(.testUnitReady)
            let pdu = try wire.next("a SCSI Response")
            guard let response: SCSIResponsePDU = pdu.parsed() else {
                throw TestEnd.failed(expected: "a SCSI Response", got: Wire.describe(pdu))
            }
            try require(
                response.initiatorTaskTag == tag && response.response == 0 && pdu.header.isFinal,
                "the tag \(tag), response 0 and F", got: Wire.describe(pdu))
            try require(
                response.status != .good || pdu.data.isEmpty, "no data with GOOD", got: "\(pdu.data.count) bytes")
        },
        ConformanceTest(
            "FullFeature.Command.ReservedAttribute", "11.3.1",
            "A reserved task attribute is a protocol error: the command is not executed."
        ) { bench in
            let wire = try bench.logInToUnit()
            for attribute in [5, 6, 7] as [UInt8] {
                let header = wire.header(.testUnitReady)
                try wire.send(header) { $0[1] = $0[1] & 0xF8 | attribute }
                let tag = header.initiatorTaskTag
                guard let pdu = try wire.nextOrClosed("a Reject or a failure for attribute \(attribute)") else {
                    return
                }
                if pdu.opcode == .reject {
                    // A rejected command has not used its CmdSN up, unless the target says so.
                    wire.session.nextCmdSN = wire.session.expCmdSN
                    continue
                }
                let response: SCSIResponsePDU? = pdu.parsed()
                try require(
                    response?.initiatorTaskTag == tag && response.map { CommandResult($0, pdu.data).isGood } == false,
                    "a Reject or a failure for attribute \(attribute)", got: Wire.describe(pdu))
            }
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.Command.Attributes", "11.3.1",
            "Untagged, simple, ordered and head-of-queue commands are executed."
        ) { bench in
            let wire = try bench.logInToUnit()
            for attribute in 0...3 as ClosedRange<UInt8> {
                var command = Command.testUnitReady
                command.attributes = attribute
                try wire.runGood(command, "attribute \(attribute) to be executed")
            }
        },
        ConformanceTest(
            "FullFeature.Command.TagInUse", "11.17.1",
            "A command with the tag of a task that is under way is rejected with reason 07, and the task goes on.",
            .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let pending = try wire.startPendingWrite()
            var command = Command.testUnitReady
            command.tag = pending.tag
            let header = wire.header(command)
            try wire.send(header)
            try wire.expectReject(
                [.taskInProgress], of: BasicHeaderSegment(header), "a Reject with reason 07 (task in progress)")
            // The Reject leaves it open whether the number counts as used.
            wire.session.nextCmdSN = wire.session.expCmdSN
            let outcome = try wire.manageTasks(.abortTask, task: (pending.tag, pending.cmdSN))
            try require(
                outcome == .functionComplete, "the task to be there for ABORT TASK", got: "response \(outcome.rawValue)"
            )
        },
        ConformanceTest(
            "FullFeature.Command.TagsAreFree", "11.2.1.8", "Tags may have any value but ffffffff, in any order."
        ) { bench in
            let wire = try bench.logInToUnit()
            for tag in [0, 0xFFFF_FFFE, 0x8000_0000, 1, 0] as [UInt32] {
                var command = Command.testUnitReady
                command.tag = tag
                try wire.runGood(command, "a command with tag \(tag) to be executed")
            }
        },
        ConformanceTest(
            "FullFeature.Command.UnknownOpcode", "11.17.1", "A PDU with a reserved opcode is rejected with its header."
        ) { bench in
            for opcode in [0x07, 0x1B] as [UInt8] {
                let wire = try bench.logIn()
                let tag = wire.session.takeTag()
                var header = BasicHeaderSegment(NOPOutPDU())
                header.modifyBytes { bytes in
                    bytes.store(byte: 0x40 | opcode, at: 0)
                    bytes.storeBE32(tag, at: 16)
                    bytes.storeBE32(wire.session.nextCmdSN.rawValue, at: 24)
                    bytes.storeBE32(wire.expStatSN.rawValue, at: 28)
                }
                try wire.send(header)
                try wire.expectReject(
                    [.commandNotSupported, .protocolError, .invalidPDUField], of: header,
                    "a Reject with reason 05 (command not supported)")
                try wire.ping()
            }
        },
        ConformanceTest(
            "FullFeature.Command.TargetOpcode", "11.2.1.2",
            "A PDU that only targets send is rejected, or ends the connection."
        ) { bench in
            let wire = try bench.logIn()
            var header = SCSIResponsePDU()
            header.initiatorTaskTag = wire.session.takeTag()
            try wire.send(header)
            let isClosed = try wire.expectRejectOrClosed(
                [.commandNotSupported, .protocolError, .invalidPDUField], "a Reject")
            if !isClosed { try wire.ping() }
        },
        ConformanceTest(
            "FullFeature.Command.ExtendedCDB", "11.2.2.3",
            "A command block of 32 bytes in an additional header segment is understood, if only to be refused."
        ) { bench in
            let wire = try bench.logInToUnit()
            // The service action is a vendor's: no device knows it.
            var cdb = [UInt8](repeating: 0, count: 32)
            cdb[0] = 0x7F
            cdb[7] = 24
            cdb[8] = 0xFF
            cdb[9] = 0xEE
            var command = Command(Array(cdb[..<16]))
            command.additionalHeader = AdditionalHeaderSegments.encodeExtendedCDB(CommandDescriptorBlock(cdb))
            let tag = try wire.startIgnored(command)
            try expectRefused(wire, tag, "the unknown command to be refused")
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.Command.UnknownAdditionalHeader", "11.2.2.1",
            "An additional header segment of a reserved type is a protocol error: the command is not executed."
        ) { bench in
            let wire = try bench.logInToUnit()
            var command = Command.testUnitReady
            command.additionalHeader = [0x00, 0x05, 0x2A, 0x00, 1, 2, 3, 4]
            let tag = try wire.startIgnored(command)
            try expectRefused(wire, tag, "the command to be refused")
            try bench.expectTargetServes()
        },
        ConformanceTest(
            "FullFeature.Command.DataSegmentTooLong", "13.12",
            "A data segment beyond the target's MaxRecvDataSegmentLength is refused, or ends the connection."
        ) { bench in
            let wire = try bench.logIn()
            let length = wire.negotiated.targetMaxRecvDataSegmentLength + 4
            if length > 1 << 22 { throw TestEnd.skipped("the target takes \(length) bytes") }
            _ = try wire.sendPing(Command.pattern(length, seed: 5))
            guard let pdu = try wire.nextOrClosed("a Reject or the end of the connection") else {
                return try bench.expectTargetServes()
            }
            try require(pdu.opcode == .reject, "a Reject or the end of the connection", got: Wire.describe(pdu))
        },
    ]

    private static let sense = [
        ConformanceTest(
            "FullFeature.Sense.Format", "11.4.7",
            "Sense data follows its two-byte SenseLength and is in a format of SPC."
        ) { bench in
            let wire = try bench.logInToUnit()
            let tag = try wire.startIgnored(Command([0xFF] + [UInt8](repeating: 0, count: 15)))
            let pdu = try wire.next("a SCSI Response with CHECK CONDITION")
            guard let response: SCSIResponsePDU = pdu.parsed(), response.initiatorTaskTag == tag,
                response.status == .checkCondition
            else { throw TestEnd.failed(expected: "CHECK CONDITION for an unknown command", got: Wire.describe(pdu)) }
            try require(pdu.data.count >= 10, "sense data", got: "\(pdu.data.count) bytes")
            let length = Int(pdu.data.rawSpan.loadBE16(at: 0))
            try require(
                length > 0 && length <= pdu.data.count - 2, "SenseLength of at most \(pdu.data.count - 2)",
                got: "\(length)")
            let code = pdu.data[2] & 0x7F
            try require([0x70, 0x72].contains(code), "response code 70h or 72h", got: Wire.hex(code))
            let result = CommandResult(response, pdu.data)
            try require(result.sense?.key == .illegalRequest, "ILLEGAL REQUEST", got: result.summary)
        },
        ConformanceTest(
            "FullFeature.Sense.UnknownUnit", "11.4.7",
            "A command to a logical unit that is not there ends with ILLEGAL REQUEST, not with a lost connection."
        ) { bench in
            let wire = try bench.logInToUnit()
            var command = Command.testUnitReady
            command.logicalUnitNumber = LogicalUnitNumber(0x3EAD)
            let result = try wire.run(command)
            let isExpected =
                result.response != 0 || result.status == .checkCondition && result.sense?.key == .illegalRequest
            try require(isExpected, "ILLEGAL REQUEST", got: result.summary)
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.Sense.AfterError", "10.2", "The command after one that ended with CHECK CONDITION is executed."
        ) { bench in
            let wire = try bench.logInToUnit()
            for _ in 0..<3 {
                let result = try wire.run(Command([0xFF] + [UInt8](repeating: 0, count: 15)))
                try require(result.status == .checkCondition, "CHECK CONDITION", got: result.summary)
                try wire.runGood(.testUnitReady)
            }
        },
    ]

    // MARK: Residuals

    /// Runs a read of one block with an expected length of `expected` bytes. The target may refuse it, or must tell the
    /// residual.
    private static func read(_ bench: Bench, expecting expected: Int, isRead: Bool = true) throws {
        let wire = try bench.logInToUnit()
        let length = bench.survey.blockLength
        var command = Command.read(0, 1, blockLength: length)
        command.expectedDataTransferLength = expected
        command.isRead = isRead
        let result = try wire.run(command)
        if result.status == .checkCondition { return }
        try require(result.isGood, "GOOD or CHECK CONDITION", got: result.summary)
        let right = Residual(expected: expected, actual: length)
        try require(
            result.residual == right, right.isOverflow ? "O \(right.count)" : "U \(right.count)", got: result.summary)
        let moved = min(expected, length)
        try require(result.dataIn.count == moved, "\(moved) bytes of data", got: "\(result.dataIn.count)")
    }

    private static func write(_ bench: Bench, expecting expected: Int) throws {
        let wire = try bench.logInToUnit(.solicited)
        let length = bench.survey.blockLength
        var command = Command.write(8, Command.pattern(length, seed: 7), blockLength: length)
        command.dataOut = Command.pattern(expected, seed: 7)
        command.expectedDataTransferLength = expected
        let result = try wire.run(command)
        if result.status == .checkCondition { return }
        try require(result.isGood, "GOOD or CHECK CONDITION", got: result.summary)
        let right = Residual(expected: expected, actual: length)
        try require(
            result.residual == right, right.isOverflow ? "O \(right.count)" : "U \(right.count)", got: result.summary)
    }

    private static let residuals = [
        ConformanceTest(
            "FullFeature.Residual.ReadNothing", "11.4.5.1",
            "A read with an expected length of 0 moves nothing and tells the overflow.", .disk
        ) { bench in
            try read(bench, expecting: 0, isRead: false)
        },
        ConformanceTest(
            "FullFeature.Residual.ReadOverflow", "11.4.5.1",
            "A read of more than the expected length moves that length and tells the overflow.", .disk
        ) { bench in
            try read(bench, expecting: 200)
            try read(bench, expecting: bench.survey.blockLength / 2)
        },
        ConformanceTest(
            "FullFeature.Residual.ReadUnderflow", "11.4.5.1",
            "A read of less than the expected length tells the underflow.", .disk
        ) { bench in
            try read(bench, expecting: bench.survey.blockLength + 512)
            try read(bench, expecting: 10_000)
        },
        ConformanceTest(
            "FullFeature.Residual.Exact", "11.4.5.1", "A read of exactly the expected length tells no residual.", .disk
        ) { bench in
            let wire = try bench.logInToUnit()
            let length = bench.survey.blockLength
            let result = try wire.runGood(.read(0, 4, blockLength: length))
            try require(result.residual == .none, "no residual", got: result.summary)
            try require(result.dataIn.count == 4 * length, "\(4 * length) bytes", got: "\(result.dataIn.count)")
        },
        ConformanceTest(
            "FullFeature.Residual.ShortInquiry", "11.4.5.2",
            "Data that the allocation length cuts is no overflow; what is left of it is an underflow."
        ) { bench in
            let wire = try bench.logInToUnit()
            let short = try wire.runGood(.inquiry(allocationLength: 8))
            try require(
                short.residual == .none && short.dataIn.count == 8, "8 bytes without residual", got: short.summary)
            let long = try wire.runGood(.inquiry(allocationLength: 0x1000))
            let right = Residual(expected: 0x1000, actual: long.dataIn.count)
            try require(long.residual == right, "U \(right.count)", got: long.summary)
        },
        ConformanceTest(
            "FullFeature.Residual.WriteOverflow", "11.4.5.1",
            "A write of more than the expected length ends with the overflow or with CHECK CONDITION.", .disk, .dataLoss
        ) { bench in
            try write(bench, expecting: bench.survey.blockLength / 2)
        },
        ConformanceTest(
            "FullFeature.Residual.WriteUnderflow", "11.4.5.1",
            "A write of less than the expected length ends with the underflow or with CHECK CONDITION.", .disk,
            .dataLoss
        ) { bench in
            try write(bench, expecting: bench.survey.blockLength * 2)
        },
    ]
}
