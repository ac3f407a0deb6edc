internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Task attributes, addressing of logical units, unit attentions and what resets do to others (SAM-5).
enum SAMTests {
    static let all = attributes + addresses + attentions + resets + wellKnownUnits

    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Wire, Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("SAM.\(name)", standard: "SAM-5 clause \(clause)", rule, requirements) { bench in
            try body(try bench.logInToUnit(.solicited), try bench.logInToUnit(.solicited))
        }
    }

    private static func testUnitReady(_ attribute: TaskAttribute, on unit: LogicalUnitNumber? = nil) -> Command {
        var command = Command.testUnitReady
        command.attributes = attribute.rawValue
        command.logicalUnitNumber = unit
        return command
    }

    // MARK: Task attributes

    private static let attributes = [
        test("Attribute.Accepted", "8.6", "Commands with each attribute but ACA are performed.") { first, _ in
            for attribute in [TaskAttribute.untagged, .simple, .ordered, .headOfQueue] {
                try expectGood(
                    try first.run(testUnitReady(attribute)), "a command with the attribute \(attribute)")
            }
        },
        test(
            "Attribute.Ordered", "8.6.3", "An ORDERED command waits for those before it, and those behind it for it.",
            .disk
        ) { first, _ in
            let pending = try first.startPendingWrite()
            let ordered = try first.start(testUnitReady(.ordered))
            let simple = try first.start(testUnitReady(.simple))
            try first.expectNothing("no answer while the WRITE before the ORDERED command waits for its data")
            try first.sendData(pending)
            let order = try first.finishAll([pending.tag, ordered, simple])
            try require(order == [pending.tag, ordered, simple], "the order WRITE, ORDERED, SIMPLE", got: "another")
        },
        test(
            "Attribute.HeadOfQueue", "8.6.4", "A HEAD OF QUEUE command does not wait for an ORDERED one.", .disk
        ) { first, _ in
            let pending = try first.startPendingWrite()
            let ordered = try first.start(testUnitReady(.ordered))
            let head = try first.start(testUnitReady(.headOfQueue))
            // It may end at once, or when the WRITE has.
            _ = try first.takeNext(of: head, within: first.bench.target.silence)
            try require(first.tasks[ordered]?.isFinished == false, "HEAD OF QUEUE before ORDERED", got: "ORDERED first")
            let isEarly = first.tasks[head]?.isFinished == true
            try first.sendData(pending)
            let order = try first.finishAll([pending.tag, ordered] + (isEarly ? [] : [head]))
            guard !isEarly, let ordinal = order.firstIndex(of: ordered) else { return }
            try require(order[..<ordinal].contains(head), "HEAD OF QUEUE before ORDERED", got: "ORDERED first")
        },
    ]

    // MARK: Addressing

    private static let addresses = [
        test(
            "Address.Flat", "4.7.7.3",
            "The number in flat space addressing is that of the same unit or of none, never of another."
        ) { first, _ in
            guard let number = first.bench.target.logicalUnitNumber.number, number < 256 else {
                throw TestEnd.skipped("the unit's number is above 255")
            }
            let flat = LogicalUnitNumber(rawValue: UInt64(0x4000 | number) << 48)
            let data = try expectGood(try first.inquire(on: flat), "INQUIRY by flat space addressing")
            guard data.first != 0x7F else {
                return try expectSense(
                    try first.run(testUnitReady(.simple, on: flat)), .illegalRequest, .logicalUnitNotSupported,
                    "TEST UNIT READY there")
            }
            func names(_ unit: LogicalUnitNumber?) throws -> [Wire.Designator] {
                try first.designators(on: unit).filter { $0.association == 0 }
            }
            try require(try names(flat) == names(nil), "the designators of the same unit", got: "others")
        },
        test(
            "Address.Unknown", "4.7", "Numbers of addressing methods that no unit has are not those of a unit."
        ) { first, _ in
            // Not specified; a well known unit that there is not; target 63 in logical unit addressing.
            for raw: UInt64 in [UInt64.max, 0xC1FF << 48, 0xBFFF << 48] {
                let unit = LogicalUnitNumber(rawValue: raw)
                let what = "the number \(String(raw, radix: 16, uppercase: true))h"
                let data = try expectGood(try first.inquire(on: unit), "INQUIRY of \(what)")
                try require(
                    data.first == 0x7F, "7Fh in byte 0 of INQUIRY of \(what)",
                    got: data.first.map(Wire.hex) ?? "nothing")
                try expectSense(
                    try first.run(testUnitReady(.simple, on: unit)), .illegalRequest, .logicalUnitNotSupported,
                    "TEST UNIT READY of \(what)")
            }
        },
        test("Address.Other", "4.7.1", "A command to one number does not reach another unit.", .secondDisk) {
            first, _ in
            let other = first.bench.survey.secondDisk
            let names = try first.designators(on: other).filter { $0.association == 0 }
            let own = try first.designators().filter { $0.association == 0 }
            try require(names != own, "designators of another unit", got: "the same")
        },
    ]

    // MARK: Unit attentions

    private static func reset(_ wire: Wire) throws {
        guard try wire.manageTasks(.logicalUnitReset) == .functionComplete else {
            throw TestEnd.skipped("the unit does not have LOGICAL UNIT RESET")
        }
    }

    private static let attentions = [
        test("Attention.Reset", "5.14", "A reset is reported to each I_T nexus by 29h, once.", .dataLoss) {
            first, second in
            try reset(second)
            for wire in [first, second] {
                let told = try wire.run(.testUnitReady)
                try require(told.hasAttention(0x29), "a unit attention 29h", got: told.summary)
                try wire.expectNoAttention("it has been reported")
            }
        },
        test(
            "Attention.Order", "5.14.4", "Of a reset and what came before it, the reset is reported first.", .dataLoss
        ) { first, second in
            guard let bit = try ModeBit.harmless.first(where: { try second.canChange($0) }) else {
                throw TestEnd.skipped("MODE SELECT changes none of the bits D_SENSE, TAS, DEXCPT, WCE and SWP")
            }
            let page = try second.modeParameters(bit.code).pages.first
            let value = ~(page?.content[bit.byte] ?? 0) & bit.mask
            try ending(with: try second.change(bit, to: value)) {
                try reset(second)
                let told = try first.run(.testUnitReady)
                try require(told.hasAttention(0x29), "29h first", got: told.summary)
                try first.takeUnitAttentions()
            }
        },
        test(
            "Attention.Write", "5.14.2", "A command that reports a unit attention is not performed.", .disk, .dataLoss
        ) { first, second in
            let disk = try Disk(first)
            let before = try disk.fill(Disk.scratch, 1, seed: 1)
            try reset(second)
            let result = try disk.writing(OperationCode.write10, UInt64(Disk.scratch), 1, disk.pattern(1, seed: 2))
            try require(result.hasAttention(0x29), "WRITE to report the reset", got: result.summary)
            try first.takeUnitAttentions()
            try disk.expect(before, at: Disk.scratch, "the block as it was")
        },
    ]

    // MARK: Resets, task sets, the loss of a nexus

    /// Ends commands of the first nexus by another one, with TAS as it is to be.
    private static func clearing(
        _ name: String, _ clause: String, _ rule: String, isReported: Bool
    ) -> ConformanceTest {
        test(name, clause, rule, .disk, .dataLoss) { first, second in
            try ending(with: try first.change(.taskAbortedStatus, to: isReported ? 0x40 : 0)) {
                try second.takeUnitAttentions()
                let pending = try first.startPendingWrite()
                try reset(second)
                guard isReported else {
                    first.tasks[pending.tag] = nil
                    try first.expectNothing("no answer to the aborted command")
                    let told = try first.run(.testUnitReady)
                    return try require(
                        told.hasAttention(0x29) || told.hasAttention(0x2F), "a unit attention 29h or 2Fh",
                        got: told.summary)
                }
                try expectStatus(try first.finish(pending.tag), .taskAborted, "the aborted command")
            }
        }
    }

    private static let resets = [
        clearing(
            "Reset.TaskAborted", "5.6", "With TAS one, commands that another nexus ends get the status TASK ABORTED.",
            isReported: true),
        clearing(
            "Reset.Silent", "5.6",
            "With TAS zero, commands that another nexus ends are not answered; it is told of it.",
            isReported: false),
        test(
            "Reset.ModePages", "6.3.3",
            "LOGICAL UNIT RESET puts mode pages back to the saved values, or the default ones.",
            .dataLoss
        ) { first, second in
            guard let bit = try ModeBit.harmless.first(where: { try second.canChange($0) }) else {
                throw TestEnd.skipped("MODE SELECT changes none of the bits D_SENSE, TAS, DEXCPT, WCE and SWP")
            }
            let saved = try second.modeSense(bit.code, .saved)
            let kept =
                saved.isGood
                ? try ModeParameters(parsing: saved.dataIn, isLong: true)
                : try second.modeParameters(bit.code, .defaults)
            guard let content = kept.pages.first?.content, bit.byte < content.count else {
                throw TestEnd.skipped("the mode page is empty")
            }
            try ending(with: try second.change(bit, to: ~content[bit.byte] & bit.mask)) {
                try reset(first)
                for wire in [first, second] {
                    try wire.takeUnitAttentions()
                    let found = try wire.modeParameters(bit.code).pages.first?.content
                    try require(found == content, "the values of before the change", got: "others")
                }
            }
        },
        test("Reset.Reservation", "6.3.3", "LOGICAL UNIT RESET ends a reservation by RESERVE(6).", .dataLoss) {
            first, second in
            try first.need("RESERVE(6)", OperationCode.reserve6)
            let release = Command([OperationCode.release6, 0, 0, 0, 0, 0])
            try ending(with: {
                try first.takeUnitAttentions()
                try expectGood(try first.run(release), "RELEASE(6)")
            }) {
                try expectGood(try first.run(Command([OperationCode.reserve6, 0, 0, 0, 0, 0])), "RESERVE(6)")
                try expectStatus(
                    try second.run(.testUnitReady), .reservationConflict, "TEST UNIT READY of another nexus")
                try reset(second)
                try second.takeUnitAttentions()
                try expectGood(try second.run(.testUnitReady), "TEST UNIT READY after the reset")
            }
        },
        test("Reset.Persistent", "6.3.3", "LOGICAL UNIT RESET leaves a persistent reservation as it is.", .dataLoss) {
            first, second in
            try first.need("PERSISTENT RESERVE OUT", OperationCode.persistentReserveOut, 0)
            guard try first.registeredKeys().keys.isEmpty else { throw TestEnd.skipped("somebody is registered") }
            try ending(with: {
                try first.takeUnitAttentions()
                try expectGood(try first.reserveOut(.clear, key: 0xA), "CLEAR")
                try second.takeUnitAttentions()
            }) {
                try expectGood(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
                try expectGood(try first.reserveOut(.reserve, 3, key: 0xA), "RESERVE")
                try reset(second)
                try second.takeUnitAttentions()
                let found = try second.presentReservation()
                try require(found?.key == 0xA && found?.type == 3, "the reservation to stay", got: "another or none")
            }
        },
        test("Reset.Nexus", "6.3.4", "The end of a session ends its reservation by RESERVE(6).", .dataLoss) {
            first, second in
            try first.need("RESERVE(6)", OperationCode.reserve6)
            let third = try first.bench.logInToUnit()
            try expectGood(try third.run(Command([OperationCode.reserve6, 0, 0, 0, 0, 0])), "RESERVE(6)")
            try expectStatus(try second.run(.testUnitReady), .reservationConflict, "TEST UNIT READY of another nexus")
            try third.logOut()
            try third.expectEnd()
            try second.takeUnitAttentions()
            try expectGood(try second.run(.testUnitReady), "TEST UNIT READY after the session")
        },
    ]

    // MARK: Well known logical units

    private static let wellKnownUnits = [
        ConformanceTest(
            "SAM.WellKnown.ReportLUNs", standard: "SPC-5 clause 8.2",
            "The well known unit C101h, where it is listed, has the type 1Eh and reports the units."
        ) { bench in
            let wire = try bench.logInToUnit()
            let unit = LogicalUnitNumber.reportLUNsWellKnown
            guard try wire.reportedUnits(1).contains(unit.rawValue) else {
                throw TestEnd.skipped("C101h is not listed")
            }
            let type = try expectGood(try wire.inquire(on: unit), "INQUIRY of C101h").first
            try require(type == 0x1E, "peripheral device type 1Eh", got: "\(type.map(Wire.hex) ?? "nothing")")
            var report = Command.reportLUNs(allocationLength: 1024)
            report.logicalUnitNumber = unit
            let there = try expectGood(try wire.run(report), "REPORT LUNS of C101h")
            let own = try expectGood(try wire.run(.reportLUNs(allocationLength: 1024)), "REPORT LUNS")
            try require(there == own, "the same units as elsewhere", got: "others")
        },
        ConformanceTest(
            "SAM.WellKnown.Unlisted", standard: "SPC-5 clause 8.1",
            "A well known unit that is not listed is no unit: 7Fh, and LOGICAL UNIT NOT SUPPORTED."
        ) { bench in
            let wire = try bench.logInToUnit()
            let listed = try wire.reportedUnits(1)
            for raw: UInt64 in [0xC102 << 48, 0xC104 << 48] where !listed.contains(raw) {
                let unit = LogicalUnitNumber(rawValue: raw)
                let data = try expectGood(try wire.inquire(on: unit), "INQUIRY of a well known unit that is not listed")
                try require(data.first == 0x7F, "7Fh in byte 0", got: data.first.map(Wire.hex) ?? "nothing")
                try expectSense(
                    try wire.run(testUnitReady(.simple, on: unit)), .illegalRequest, .logicalUnitNotSupported,
                    "TEST UNIT READY there")
            }
        },
    ]
}
