internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Auto contingent allegiance: what a command that fails with NACA does to others (SAM-5 clause 5.9).
enum ACATests {
    static let all = condition + attributes + endings + others + refusals

    private static let acaAttribute = TaskAttribute.autoContingentAllegiance.rawValue

    /// A command that ends with CHECK CONDITION, an unknown VPD page, with NACA or without.
    private static func failing(isNormalACA: Bool = true) -> Command {
        .reading([OperationCode.inquiry, 1, 0x5F, 0, 96, isNormalACA ? 0x04 : 0], 96)
    }

    private static func testUnitReady(_ attribute: UInt8 = TaskAttribute.simple.rawValue) -> Command {
        var command = Command.testUnitReady
        command.attributes = attribute
        return command
    }

    private static func expect(_ wire: Wire, _ command: Command, _ status: SCSIStatus, _ what: String) throws {
        try expectStatus(try wire.run(command), status, what)
    }

    /// The condition begins.
    private static func fail(_ wire: Wire) throws {
        try expect(wire, failing(), .checkCondition, "INQUIRY of an unknown page with NACA")
    }

    /// A test of two nexuses with a unit whose INQUIRY data have NORMACA; the condition is cleared after it.
    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Wire, Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("ACA.\(name)", standard: "SAM-5 clause \(clause)", rule, requirements) { bench in
            let (first, second) = (try bench.logInToUnit(.solicited), try bench.logInToUnit(.solicited))
            guard try first.standardInquiryData()[3] & 0x20 != 0 else {
                throw TestEnd.skipped("NORMACA is zero: the unit has no auto contingent allegiance")
            }
            try ending(with: { _ = try first.manageTasks(.clearACA) }) { try body(first, second) }
        }
    }

    private static let condition = [
        test("Condition.Begin", "5.9.2", "A failure with NACA keeps other commands of the nexus away, with ACA ACTIVE.")
        {
            first, _ in
            try expect(first, failing(isNormalACA: false), .checkCondition, "INQUIRY of an unknown page")
            try expect(first, testUnitReady(), .good, "the next command, without NACA")
            try fail(first)
            try expect(first, testUnitReady(), .acaActive, "a SIMPLE command")
            try expect(first, .inquiry(allocationLength: 36), .acaActive, "INQUIRY")
            try expect(first, .reading([OperationCode.requestSense, 0, 0, 0, 18, 0], 18), .acaActive, "REQUEST SENSE")
        },
        test("Condition.Good", "5.9.2", "A command with NACA that ends with GOOD establishes nothing.") { first, _ in
            var command = testUnitReady()
            command.cdb[5] = 0x04
            try expect(first, command, .good, "TEST UNIT READY with NACA")
            try expect(first, testUnitReady(), .good, "the next command")
        },
        test(
            "Condition.Attributes", "5.9.4", "ORDERED and HEAD OF QUEUE commands are kept away too, with ACA ACTIVE."
        ) { first, _ in
            try fail(first)
            for attribute in [TaskAttribute.untagged, .simple, .ordered, .headOfQueue] {
                try expect(
                    first, testUnitReady(attribute.rawValue), .acaActive, "a command with the attribute \(attribute)")
            }
        },
        test("Condition.Write", "5.9.4", "A WRITE that is kept away writes nothing.", .disk, .dataLoss) { first, _ in
            let disk = try Disk(first)
            let before = try disk.fill(Disk.scratch, 1, seed: 1)
            try fail(first)
            try expect(
                first, .write(Disk.scratch, disk.pattern(1, seed: 2), blockLength: disk.blockLength), .acaActive,
                "a WRITE")
            _ = try first.manageTasks(.clearACA)
            try disk.expect(before, at: Disk.scratch, "the block as it was")
        },
        test(
            "Condition.Pending", "5.9.3",
            "A command of the nexus that was under way ends with GOOD in the end, with QERR 00b.", .disk, .dataLoss
        ) { first, _ in
            guard let page = try first.modeParameters(0x0A).pages.first, page.content[1] & 0x06 == 0 else {
                throw TestEnd.skipped("QERR is not 00b")
            }
            let pending = try first.startPendingWrite()
            try fail(first)
            try first.sendData(pending)
            // It may end now or when the condition does.
            _ = try first.takeNext(of: pending.tag, within: first.bench.target.silence)
            if first.tasks[pending.tag]?.isFinished == false { _ = try clear(first, pending.tag) }
            let result = try first.finish(pending.tag)
            try require(result.isGood, "the WRITE to end with GOOD", got: result.summary)
        },
    ]

    /// CLEAR ACA, while the answer of a command under way may come first.
    private static func clear(_ wire: Wire, _ tag: UInt32) throws -> TaskManagementOutcome {
        let request = wire.taskManagementRequest(TaskManagementFunction.clearACA.rawValue)
        try wire.send(request)
        while true {
            let pdu = try wire.next("a Task Management Response")
            if let response: TaskManagementResponsePDU = pdu.parsed() { return response.response }
            guard try wire.take(pdu) else {
                throw TestEnd.failed(expected: "a Task Management Response", got: Wire.describe(pdu))
            }
        }
    }

    private static let attributes = [
        test(
            "Attribute.Performed", "5.9.4",
            "A command with the ACA attribute is performed while the condition is there."
        ) {
            first, _ in
            try fail(first)
            try expect(first, testUnitReady(acaAttribute), .good, "a command with the ACA attribute")
            try expect(first, testUnitReady(acaAttribute), .good, "another")
            try expect(first, testUnitReady(), .acaActive, "a SIMPLE command after it")
        },
        test("Attribute.Early", "8.6.5", "A command with the ACA attribute is refused without the condition.") {
            first, _ in
            try expectSense(
                try first.run(testUnitReady(acaAttribute)), .illegalRequest, .invalidMessageError,
                "a command with the ACA attribute")
            try expect(first, testUnitReady(), .good, "the next command")
        },
        test(
            "Attribute.OneAtATime", "5.9.4",
            "While a command with the ACA attribute is under way, another meets ACA ACTIVE.",
            .disk, .dataLoss
        ) { first, _ in
            let length = first.bench.survey.blockLength
            let data = try first.runGood(.read(0, 1, blockLength: length)).dataIn
            try fail(first)
            var write = Command.write(0, data, blockLength: length)
            write.attributes = acaAttribute
            let tag = try first.start(write, answersRequests: false)
            try first.takeNext(of: tag)
            guard let request = first.tasks[tag]?.result.requests.first else {
                throw TestEnd.failed(expected: "an R2T for the ACA command", got: "its end")
            }
            try expect(first, testUnitReady(acaAttribute), .acaActive, "a second command with the ACA attribute")
            try first.sendData(data, 0..<data.count, request)
            let result = try first.finish(tag)
            try require(result.isGood, "the first one to end with GOOD", got: result.summary)
        },
        test("Attribute.Failure", "5.9.5", "A failure of the ACA command without NACA ends the condition.") {
            first, _ in
            try fail(first)
            var second = failing()
            second.attributes = acaAttribute
            try expect(first, second, .checkCondition, "the ACA command with NACA")
            try expect(first, testUnitReady(), .acaActive, "a command after it")
            var last = failing(isNormalACA: false)
            last.attributes = acaAttribute
            try expect(first, last, .checkCondition, "the ACA command without NACA")
            try expect(first, testUnitReady(), .good, "a command after that")
        },
    ]

    private static let endings = [
        test("End.Clear", "7.4", "CLEAR ACA ends the condition.") { first, _ in
            try fail(first)
            let outcome = try first.manageTasks(.clearACA)
            try require(outcome == .functionComplete, "CLEAR ACA to be complete", got: "response \(outcome.rawValue)")
            try expect(first, testUnitReady(), .good, "a command after CLEAR ACA")
        },
        test("End.ClearOfAnother", "7.4", "CLEAR ACA of another nexus does not end the condition.") { first, second in
            try fail(first)
            _ = try second.manageTasks(.clearACA)
            try expect(first, testUnitReady(), .acaActive, "a command of the faulted nexus")
        },
        test("End.Reset", "5.9.5", "LOGICAL UNIT RESET ends the condition.", .dataLoss) { first, second in
            try fail(first)
            let outcome = try second.manageTasks(.logicalUnitReset)
            guard outcome == .functionComplete else {
                throw TestEnd.skipped("the unit does not have LOGICAL UNIT RESET")
            }
            try first.clearUnitAttentions(first.bench.target.logicalUnitNumber)
            try expect(first, testUnitReady(), .good, "a command after the reset")
        },
        test("End.NexusLoss", "5.9.5", "The end of the faulted nexus's session ends the condition for others.") {
            first, second in
            let third = try first.bench.logInToUnit()
            try fail(third)
            try third.logOut()
            try expect(second, testUnitReady(), .good, "a command of another nexus")
            let fourth = try first.bench.logInToUnit()
            try expect(fourth, testUnitReady(), .good, "a command of a new session")
        },
    ]

    private static let others = [
        test("Other.Nexus", "5.9.4", "Another nexus goes on with TST 001b, and gets BUSY or ACA ACTIVE with 000b.") {
            first, second in
            let page = try first.modeParameters(0x0A).pages.first
            let isShared = (page?.content.first ?? 0) >> 5 == 0
            try fail(first)
            try expect(second, testUnitReady(), isShared ? .busy : .good, "a command of another nexus")
            var normal = testUnitReady()
            normal.cdb[5] = 0x04
            try expect(second, normal, isShared ? .acaActive : .good, "one with NACA")
        },
        test(
            "Other.QueueError", "5.9.3", "With QERR 11b the failure ends the other commands of the nexus.", .disk,
            .dataLoss
        ) { first, second in
            try ending(with: try first.change(.queueErrorManagement, to: 0x06)) {
                try second.takeUnitAttentions()
                let pending = try first.startPendingWrite()
                try fail(first)
                first.tasks[pending.tag] = nil
                try first.expectNothing("no answer to the aborted command")
                try expect(first, testUnitReady(), .acaActive, "a command of the nexus")
                try expect(second, testUnitReady(), .good, "a command of another nexus")
                _ = try first.manageTasks(.clearACA)
            }
        },
        test("Other.Reported", "5.9.1", "Where NORMACA is one, CLEAR ACA is among the supported functions.") {
            first, _ in
            try first.need("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", OperationCode.maintenanceIn, 0x0D)
            let report = try expectGood(
                try first.run(.reading([OperationCode.maintenanceIn, 0x0D, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64)),
                "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS")
            try require((report.first ?? 0) & 0x20 != 0, "CACAS one", got: "zero")
        },
    ]

    private static let refusals = [
        ConformanceTest(
            "ACA.Refused.NormalACA", standard: "SAM-5 clause 5.9.1",
            "Where NORMACA is zero, NACA is refused with INVALID FIELD IN CDB."
        ) { bench in
            let wire = try bench.logInToUnit()
            guard try wire.standardInquiryData()[3] & 0x20 == 0 else { throw TestEnd.skipped("NORMACA is one") }
            var command = testUnitReady()
            command.cdb[5] = 0x04
            try expectInvalidField(try wire.run(command), at: [5], "TEST UNIT READY with NACA")
        }
    ]
}
