internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// What a command that fails does to others: auto contingent allegiance (SAM-5 clause 5.9) and the Control mode page
/// (SPC-5 clause 7.5.10). And the well known logical units (SPC-5 clause 8).
enum TaskTests {
    static let all = contingentAllegiance + controlPage + wellKnownUnits

    private static let acaAttribute = TaskAttribute.autoContingentAllegiance.rawValue

    /// A command that ends with CHECK CONDITION, READ(10) beyond the end, with NACA or without.
    private static func failing(isNormalACA: Bool = true) -> Command {
        var command = Command.read(0xFFFF_FFFE, 1, blockLength: 512)
        if isNormalACA { command.cdb[9] = 0x04 }
        return command
    }

    private static func testUnitReady(_ attribute: UInt8 = TaskAttribute.simple.rawValue) -> Command {
        var command = Command.testUnitReady
        command.attributes = attribute
        return command
    }

    private static func expect(_ wire: Wire, _ command: Command, _ status: SCSIStatus, _ what: String) throws {
        let result = try wire.run(command)
        try require(
            result.response == 0 && result.status == status, "\(what) to end with status \(Wire.hex(status.rawValue))",
            got: result.summary)
    }

    // MARK: Auto contingent allegiance

    /// A test of two nexuses with a unit whose INQUIRY data have NORMACA; the condition is cleared after it.
    private static func allegiance(
        _ name: String, _ clause: String, _ rule: String, _ body: @escaping @Sendable (Wire, Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("Task.Allegiance.\(name)", standard: "SAM-5 clause \(clause)", rule, .disk) { bench in
            let (first, second) = (try bench.logInToUnit(), try bench.logInToUnit())
            let inquiry = try first.runGood(.inquiry(allocationLength: 36), "INQUIRY to end with GOOD").dataIn
            guard inquiry.count > 3, inquiry[3] & 0x20 != 0 else {
                throw TestEnd.skipped("NORMACA is zero: the unit has no auto contingent allegiance")
            }
            let ended = Result { try body(first, second) }
            _ = try first.manageTasks(.clearACA)
            try ended.get()
        }
    }

    private static let contingentAllegiance = [
        allegiance("Begin", "5.9.2", "A failure with NACA keeps other commands of the nexus away, with ACA ACTIVE.") {
            first, _ in
            try expect(first, failing(isNormalACA: false), .checkCondition, "READ beyond the end")
            try expect(first, testUnitReady(), .good, "the next command, without NACA")
            try expect(first, failing(), .checkCondition, "READ beyond the end with NACA")
            try expect(first, testUnitReady(), .acaActive, "a SIMPLE command")
            try expect(first, .inquiry(allocationLength: 36), .acaActive, "INQUIRY")
        },
        allegiance("Attribute", "5.9.4", "A command with the ACA attribute is performed while the condition is there.")
        {
            first, _ in
            let early = try first.run(testUnitReady(acaAttribute))
            try require(
                early.sense?.key == .illegalRequest && early.sense?.additionalSenseCode == .invalidMessageError,
                "a command with the ACA attribute without the condition to end with INVALID MESSAGE ERROR",
                got: early.summary)
            try expect(first, failing(), .checkCondition, "READ beyond the end with NACA")
            try expect(first, testUnitReady(acaAttribute), .good, "a command with the ACA attribute")
            try expect(first, testUnitReady(), .acaActive, "a SIMPLE command after it")
        },
        allegiance("Clear", "7.4", "CLEAR ACA ends the condition.") { first, _ in
            try expect(first, failing(), .checkCondition, "READ beyond the end with NACA")
            let outcome = try first.manageTasks(.clearACA)
            try require(outcome == .functionComplete, "CLEAR ACA to be complete", got: "response \(outcome.rawValue)")
            try expect(first, testUnitReady(), .good, "a command after CLEAR ACA")
        },
        allegiance("Failure", "5.9.5", "A failure of the ACA command without NACA ends the condition.") { first, _ in
            try expect(first, failing(), .checkCondition, "READ beyond the end with NACA")
            var second = failing()
            second.attributes = acaAttribute
            try expect(first, second, .checkCondition, "the ACA command with NACA")
            try expect(first, testUnitReady(), .acaActive, "a command after it")
            var last = failing(isNormalACA: false)
            last.attributes = acaAttribute
            try expect(first, last, .checkCondition, "the ACA command without NACA")
            try expect(first, testUnitReady(), .good, "a command after that")
        },
        allegiance(
            "OtherNexus", "5.9.4", "Another nexus goes on with TST 001b, and gets BUSY or ACA ACTIVE with 000b."
        ) { first, second in
            let isShared = try control(first)[0] >> 5 == 0
            try expect(first, failing(), .checkCondition, "READ beyond the end with NACA")
            try expect(second, testUnitReady(), isShared ? .busy : .good, "a command of another nexus")
            var normal = testUnitReady()
            normal.cdb[5] = 0x04
            try expect(second, normal, isShared ? .acaActive : .good, "one with NACA")
        },
    ]

    // MARK: The Control mode page

    /// The content of the Control mode page, current values or, with 1, what may be changed.
    private static func control(_ wire: Wire, _ control: UInt8 = 0) throws -> [UInt8] {
        var command = Command([OperationCode.modeSense6, 0x08, control << 6 | 0x0A, 0, 255, 0])
        command.isRead = true
        command.expectedDataTransferLength = 255
        let result = try wire.run(command)
        guard result.isGood, result.dataIn.count >= 16 else { throw TestEnd.skipped("there is no Control mode page") }
        return Array(result.dataIn[6..<16])
    }

    /// Takes unit attentions by REQUEST SENSE, which clears them whatever UA_INTLCK_CTRL is.
    private static func takeUnitAttentions(_ wire: Wire) throws {
        let limit = 32
        for _ in 0..<limit {
            var command = Command([OperationCode.requestSense, 0, 0, 0, 18, 0])
            command.isRead = true
            command.expectedDataTransferLength = 18
            let sense = try wire.runGood(command, "REQUEST SENSE to end with GOOD").dataIn
            guard sense.count > 2, sense[2] & 0x0F == SenseKey.unitAttention.rawValue else { return }
        }
        throw TestEnd.inconclusive("REQUEST SENSE reports unit attentions without end")
    }

    private static func select(_ wire: Wire, _ content: [UInt8]) throws -> CommandResult {
        let list: [UInt8] = [0, 0, 0, 0, 0x0A, 10] + content
        var command = Command([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(list.count), 0])
        command.isWrite = true
        command.expectedDataTransferLength = list.count
        command.dataOut = list
        return try wire.run(command)
    }

    /// A test that sets bits of the page, which the unit must have; the page is as it was after it.
    private static func page(
        _ name: String, byte: Int, mask: UInt8, _ value: UInt8, _ rule: String,
        _ body: @escaping @Sendable (Wire, Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("Task.Control.\(name)", standard: "SPC-5 clause 7.5.10", rule, .disk, .dataLoss) { bench in
            let (first, second) = (try bench.logInToUnit(.solicited), try bench.logInToUnit(.solicited))
            guard try control(first, 1)[byte] & mask == mask else {
                throw TestEnd.skipped("MODE SELECT does not change the bits")
            }
            let before = try control(first)
            var changed = before
            changed[byte] = changed[byte] & ~mask | value
            let result = try select(first, changed)
            try require(result.isGood, "MODE SELECT to end with GOOD", got: result.summary)
            try takeUnitAttentions(second)
            let ended = Result { try body(first, second) }
            try takeUnitAttentions(first)
            let restored = try select(first, before)
            try ended.get()
            try require(restored.isGood, "MODE SELECT of the former page to end with GOOD", got: restored.summary)
        }
    }

    private static let controlPage = [
        page("QueueError", byte: 1, mask: 0x06, 0x06, "With QERR 11b a failure ends the other commands of the nexus.") {
            first, second in
            let pending = try first.startPendingWrite()
            try expect(first, failing(isNormalACA: false), .checkCondition, "READ beyond the end")
            try TaskManagementTests.expectGone(first, pending.tag)
            try expect(second, testUnitReady(), .good, "a command of another nexus")
        },
        page(
            "Interlock", byte: 2, mask: 0x30, 0x20,
            "With UA_INTLCK_CTRL 10b a unit attention stays until REQUEST SENSE."
        ) {
            first, second in
            // The other one changes the page, of which the first is told.
            var page = try control(second)
            page[0] ^= 0x04
            let result = try select(second, page)
            try require(result.isGood, "MODE SELECT of D_SENSE to end with GOOD", got: result.summary)
            for _ in 0..<2 {
                try expect(first, testUnitReady(), .checkCondition, "a command with a unit attention pending")
            }
            var sense = Command([OperationCode.requestSense, 0, 0, 0, 18, 0])
            sense.isRead = true
            sense.expectedDataTransferLength = 18
            let found = try first.runGood(sense, "REQUEST SENSE to end with GOOD").dataIn
            try require(
                found.count > 2 && found[2] & 0x0F == 6, "REQUEST SENSE to report the unit attention", got: "\(found)")
            try expect(first, testUnitReady(), .good, "a command after it")
        },
    ]

    // MARK: Well known logical units

    private static let wellKnownUnits = [
        ConformanceTest(
            "Task.WellKnown.ReportLUNs", standard: "SPC-5 clause 8.2",
            "The well known unit C101h, where it is listed, has the type 1Eh and reports the units."
        ) { bench in
            let wire = try bench.logInToUnit()
            var list = Command.reportLUNs(allocationLength: 1024)
            list.cdb[2] = 1
            let listed = try wire.run(list)
            guard listed.isGood, listed.dataIn.count >= 16 else {
                throw TestEnd.skipped("no well known logical units are reported")
            }
            let unit = LogicalUnitNumber.reportLUNsWellKnown
            var inquiry = Command.inquiry(allocationLength: 36)
            inquiry.logicalUnitNumber = unit
            let type = try wire.runGood(inquiry, "INQUIRY of C101h to end with GOOD").dataIn.first
            try require(type == 0x1E, "peripheral device type 1Eh", got: "\(type.map(Wire.hex) ?? "nothing")")
            var report = Command.reportLUNs(allocationLength: 1024)
            report.logicalUnitNumber = unit
            let there = try wire.runGood(report, "REPORT LUNS of C101h to end with GOOD").dataIn
            let own = try wire.runGood(.reportLUNs(allocationLength: 1024), "REPORT LUNS to end with GOOD").dataIn
            try require(there == own, "the same units as elsewhere", got: "others")
        }
    ]
}
