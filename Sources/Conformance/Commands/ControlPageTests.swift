internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// The Control mode page: what becomes of tasks, unit attentions and sense data (SPC-5 clause 7.5.10).
enum ControlPageTests {
    static let all = [
        test(
            "QueueError", .queueErrorManagement, 0x06, "With QERR 11b a failure ends the other commands of the nexus.",
            .disk
        ) { first, second in
            let pending = try first.startPendingWrite()
            try expectStatus(try first.run(failing), .checkCondition, "READ beyond the end")
            try TaskManagementTests.expectGone(first, pending.tag)
            try expectGood(try second.run(.testUnitReady), "a command of another nexus")
        },
        test(
            "Unaffected", .queueErrorManagement, 0, "With QERR 00b a failure leaves the other commands alone.", .disk
        ) { first, _ in
            let pending = try first.startPendingWrite()
            try expectStatus(try first.run(failing), .checkCondition, "READ beyond the end")
            try first.sendData(pending)
            try expectGood(try first.finish(pending.tag), "the WRITE")
        },
        test(
            "Interlock", .interlock, 0x20, "With UA_INTLCK_CTRL 10b a unit attention stays until REQUEST SENSE."
        ) { first, second in
            // The other one changes the page, of which the first is told.
            let changed = try second.modeParameters(0x0A).pages.first?.content[0] ?? 0
            try ending(with: try second.change(.descriptorSense, to: ~changed & 0x04)) {
                for _ in 0..<2 {
                    try expectStatus(
                        try first.run(.testUnitReady), .checkCondition, "a command with a unit attention pending")
                }
                let found = try expectGood(try first.requestSense(), "REQUEST SENSE")
                try require(
                    SenseData(parsing: found.rawSpan)?.key == .unitAttention, "REQUEST SENSE to report it",
                    got: "\(found)")
                try expectGood(try first.run(.testUnitReady), "a command after it")
            }
            try first.takeUnitAttentions()
        },
        test(
            "PreviousStatus", .interlock, 0x30,
            "With UA_INTLCK_CTRL 11b a RESERVATION CONFLICT is told again by a unit attention."
        ) { first, second in
            try first.need("RESERVE(6)", OperationCode.reserve6)
            let release = Command([OperationCode.release6, 0, 0, 0, 0, 0])
            try ending(with: { try expectGood(try first.run(release), "RELEASE(6)") }) {
                try expectGood(try first.run(Command([OperationCode.reserve6, 0, 0, 0, 0, 0])), "RESERVE(6)")
                try expectStatus(try second.run(.testUnitReady), .reservationConflict, "a command of another nexus")
            }
            try expectSense(
                try second.run(.testUnitReady), .unitAttention, .previousReservationConflictStatus, "the next command")
            try second.takeUnitAttentions()
            try expectGood(try second.run(.testUnitReady), "a command after REQUEST SENSE")
        },
        test(
            "DescriptorSense", .descriptorSense, 0x04, "With D_SENSE one, sense data have the descriptor format."
        ) { first, second in
            for wire in [first, second] { try expectFormat(0x72, wire) }
        },
        test("FixedSense", .descriptorSense, 0, "With D_SENSE zero, sense data have the fixed format.") {
            first, second in
            for wire in [first, second] { try expectFormat(0x70, wire) }
        },
    ]

    /// A command that ends with CHECK CONDITION, and means no others.
    private static var failing: Command {
        .reading([OperationCode.inquiry, 1, 0x5F, 0, 96, 0], 96)
    }

    private static func expectFormat(_ code: UInt8, _ wire: Wire) throws {
        let result = try wire.run(failing)
        try expectInvalidField(result, "INQUIRY of an unknown page")
        let format = (result.senseBytes.first ?? 0) & 0x7F
        try require(format == code, "the response code \(Wire.hex(code))", got: Wire.hex(format))
    }

    /// A test that sets bits of the page, which the unit must have; the page is as it was after it.
    private static func test(
        _ name: String, _ bits: ModeBit, _ value: UInt8, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Wire, Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest(
            "SAM.Control.\(name)", standard: "SPC-5 clause 7.5.10", rule, [.dataLoss] + requirements
        ) { bench in
            let (first, second) = (try bench.logInToUnit(.solicited), try bench.logInToUnit(.solicited))
            try ending(with: try first.change(bits, to: value)) {
                try second.takeUnitAttentions()
                try body(first, second)
            }
        }
    }
}
