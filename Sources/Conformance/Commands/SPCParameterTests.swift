internal import Bytes
internal import ISCSI
internal import SCSI

/// Logs, identifying information, the timestamp, buffers, self-tests (SPC-5 clause 6), and which commands report unit
/// attentions.
enum SPCParameterTests {
    static let all = logs + parameters + buffers + attentions

    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("SPC.\(name)", standard: "SPC-5 clause \(clause)", rule, requirements) { bench in
            try body(try bench.logInToUnit())
        }
    }

    // MARK: LOG SENSE

    private static func logSense(
        _ wire: Wire, _ page: UInt8, subpage: UInt8 = 0, pointer: UInt16 = 0, allocationLength: Int = 16_384
    ) throws -> CommandResult {
        var cdb: [UInt8] = [OperationCode.logSense, 0, 0x40 | page, subpage, 0]
        cdb.appendBE16(pointer)
        cdb.appendBE16(UInt16(allocationLength))
        return try wire.run(.reading(cdb + [0], allocationLength))
    }

    private static func supportedLogPages(_ wire: Wire) throws -> [UInt8] {
        try wire.need("LOG SENSE", OperationCode.logSense)
        let data = try expectGood(try logSense(wire, 0), "LOG SENSE of page 00h")
        try require(data.count >= 4, "a log page with a header", got: "\(data.count) bytes")
        return Array(data.dropFirst(4).prefix(Int(data.rawSpan.loadBE16(at: 2)))).map { $0 & 0x3F }
    }

    /// The parameter codes of a log page of those that SPC and SBC describe as lists of parameters.
    private static func parameterCodes(_ data: [UInt8], _ what: String) throws -> [UInt16] {
        var codes: [UInt16] = []
        var offset = 4
        while offset < data.count {
            let end = offset + 4 <= data.count ? offset + 4 + Int(data[offset + 3]) : Int.max
            try require(end <= data.count, "parameters that fill \(what)", got: "one that exceeds it")
            codes.append(data.rawSpan.loadBE16(at: offset))
            offset = end
        }
        return codes
    }

    private static let logs = [
        test("Log.Pages", "6.8", "Each page that page 00h lists comes with its own code and PAGE LENGTH.") { wire in
            let listed = try supportedLogPages(wire)
            try require(
                listed.first == 0 && zip(listed, listed.dropFirst()).allSatisfy(<),
                "page 00h first, and ascending codes",
                got: listed.map(Wire.hex).joined(separator: " "))
            for page in listed {
                let what = "log page \(Wire.hex(page))"
                let data = try expectGood(try logSense(wire, page), "LOG SENSE of \(what)")
                try require(data.count >= 4 && data[0] & 0x3F == page, "\(what)", got: "another")
                let length = Int(data.rawSpan.loadBE16(at: 2))
                try require(
                    data.count == min(4 + length, 16_384), "\(what) of \(length) bytes", got: "\(data.count - 4)")
            }
        },
        test("Log.Parameters", "7.3.2", "The parameters of a page fill it, and their codes ascend.") { wire in
            // Error counters, non-medium errors, temperature, start-stop cycles, self-test results, informational
            // exceptions.
            for page: UInt8 in [0x02, 0x03, 0x05, 0x06, 0x0D, 0x0E, 0x10, 0x2F]
            where try supportedLogPages(wire).contains(page) {
                let what = "log page \(Wire.hex(page))"
                let codes = try parameterCodes(try expectGood(try logSense(wire, page), "LOG SENSE of \(what)"), what)
                try require(
                    zip(codes, codes.dropFirst()).allSatisfy(<), "ascending parameter codes in \(what)", got: "\(codes)"
                )
            }
        },
        test("Log.UnknownPage", "6.8", "A page that is not listed is refused with INVALID FIELD IN CDB.") { wire in
            let listed = try supportedLogPages(wire)
            for page: UInt8 in [0x20, 0x2B] where !listed.contains(page) {
                try expectInvalidField(try logSense(wire, page), at: [2], "LOG SENSE of page \(Wire.hex(page))")
            }
            try expectInvalidField(
                try logSense(wire, 0, subpage: 0xDD), at: [2, 3], "LOG SENSE of subpage DDh of page 00h")
        },
        test(
            "Log.Subpages", "6.8", "Each page and subpage that page 00h, subpage FFh lists comes with its own codes."
        ) { wire in
            _ = try supportedLogPages(wire)
            let result = try logSense(wire, 0, subpage: 0xFF)
            guard result.isGood else { return try expectInvalidField(result, at: [3], "LOG SENSE of subpage FFh") }
            let listed = result.dataIn.dropFirst(4).map { $0 }
            try require(listed.count.isMultiple(of: 2), "entries of two bytes", got: "\(listed.count) bytes")
            for offset in stride(from: 0, to: listed.count, by: 2) {
                let (page, subpage) = (listed[offset] & 0x3F, listed[offset + 1])
                let what = "log page \(Wire.hex(page)), subpage \(Wire.hex(subpage))"
                let data = try expectGood(try logSense(wire, page, subpage: subpage), "LOG SENSE of \(what)")
                try require(
                    data.count >= 4 && data[0] & 0x3F == page && data[1] == subpage, what, got: "another")
            }
        },
        test(
            "Log.Pointer", "6.8",
            "PARAMETER POINTER leaves out the parameters before it; beyond the last one it is INVALID FIELD IN CDB."
        ) { wire in
            let candidates: [UInt8] = [0x02, 0x03, 0x0D, 0x0E]
            guard let page = try supportedLogPages(wire).first(where: candidates.contains) else {
                throw TestEnd.skipped("there is no log page with counters or the temperature")
            }
            let what = "log page \(Wire.hex(page))"
            let codes = try parameterCodes(try expectGood(try logSense(wire, page), "LOG SENSE of \(what)"), what)
            guard let last = codes.last, last < 0xFFFF else { throw TestEnd.skipped("\(what) is empty") }
            let rest = try expectGood(try logSense(wire, page, pointer: last), "LOG SENSE of the last parameter")
            let found = try parameterCodes(rest, what)
            try require(found == [last], "the parameter \(last) alone", got: "\(found)")
            try expectInvalidField(
                try logSense(wire, page, pointer: last + 1), at: [5],
                "LOG SENSE with a pointer beyond the last parameter")
        },
        test("Log.Truncated", "4.2.5.6", "PAGE LENGTH is that of the whole page, whatever ALLOCATION LENGTH is.") {
            wire in
            _ = try supportedLogPages(wire)
            let whole = try expectGood(try logSense(wire, 0), "LOG SENSE of page 00h")
            for length in [0, 4, 5] {
                let part = try expectGood(
                    try logSense(wire, 0, allocationLength: length), "LOG SENSE with ALLOCATION LENGTH \(length)")
                try require(part == Array(whole.prefix(length)), "the first \(length) bytes", got: "others")
            }
        },
    ]

    // MARK: Identifying information, timestamp, self-test

    private static func identifyingInformation(_ wire: Wire) throws -> [UInt8] {
        let data = try expectGood(
            try wire.run(.reading([OperationCode.maintenanceIn, 0x05, 0, 0, 0, 0, 0, 0, 2, 8, 0, 0], 520)),
            "REPORT IDENTIFYING INFORMATION")
        try require(data.count >= 4, "information with a header", got: "\(data.count) bytes")
        return Array(data.dropFirst(4).prefix(Int(data.rawSpan.loadBE16(at: 2))))
    }

    private static func setIdentifyingInformation(_ wire: Wire, _ information: [UInt8]) throws -> CommandResult {
        var cdb: [UInt8] = [OperationCode.maintenanceOut, 0x06, 0, 0, 0, 0]
        cdb.appendBE32(UInt32(information.count))
        return try wire.run(.writing(cdb + [0, 0], information))
    }

    private static let parameters = [
        test(
            "Identifying.RoundTrip", "6.43",
            "What SET IDENTIFYING INFORMATION sets is reported to each I_T nexus, and the others are told of it.",
            .dataLoss
        ) { wire in
            try wire.need("REPORT IDENTIFYING INFORMATION", OperationCode.maintenanceIn, 0x05)
            try wire.need("SET IDENTIFYING INFORMATION", OperationCode.maintenanceOut, 0x06)
            let other = try wire.bench.logInToUnit()
            let before = try identifyingInformation(wire)
            let restore = { () throws -> Void in
                try expectGood(try setIdentifyingInformation(wire, before), "the former information")
            }
            try ending(with: restore) {
                let text = Array("conformance-\(before.count)".utf8)
                try expectGood(try setIdentifyingInformation(wire, text), "SET IDENTIFYING INFORMATION")
                try other.expectOneAttention(.deviceIdentifierChanged, "SET IDENTIFYING INFORMATION of another nexus")
                for reader in [wire, other] {
                    try require(
                        try identifyingInformation(reader) == text, "the information that was set", got: "another")
                }
                try expectGood(try setIdentifyingInformation(wire, []), "SET IDENTIFYING INFORMATION of nothing")
                try require(try identifyingInformation(wire).isEmpty, "no information", got: "some")
            }
        },
        test("Timestamp.Report", "6.38", "REPORT TIMESTAMP gives twelve bytes, and the time does not run back.") {
            wire in
            try wire.need("REPORT TIMESTAMP", OperationCode.maintenanceIn, 0x0F)
            func timestamp() throws -> UInt64 {
                let data = try expectGood(
                    try wire.run(.reading([OperationCode.maintenanceIn, 0x0F, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32)),
                    "REPORT TIMESTAMP")
                try require(
                    data.count == 12 && data.rawSpan.loadBE16(at: 0) == 0x0A, "12 bytes", got: "\(data.count) bytes")
                try require([0, 2, 3].contains(data[2] & 0x07), "a TIMESTAMP ORIGIN", got: "\(data[2] & 0x07)")
                return UInt64(data.rawSpan.loadBE16(at: 4)) << 32 | UInt64(data.rawSpan.loadBE32(at: 6))
            }
            let first = try timestamp()
            try wire.expectNothing("nothing while time passes")
            let second = try timestamp()
            try require(second >= first, "a later time than \(first)", got: "\(second)")
        },
        test(
            "Diagnostic.Pages", "7.2.3", "The diagnostic page 00h lists the pages in ascending order, itself first."
        ) { wire in
            try wire.need("RECEIVE DIAGNOSTIC RESULTS", OperationCode.receiveDiagnosticResults)
            let result = try wire.run(.reading([OperationCode.receiveDiagnosticResults, 1, 0, 4, 0, 0], 1024))
            guard !result.has(.illegalRequest, .invalidFieldInCDB) else {
                throw TestEnd.skipped("the unit has no diagnostic pages")
            }
            let data = try expectGood(result, "RECEIVE DIAGNOSTIC RESULTS of page 00h")
            try require(
                data.count >= 5 && data[0] == 0 && Int(data.rawSpan.loadBE16(at: 2)) == data.count - 4,
                "page 00h of the length that it says", got: "\(data.count) bytes")
            let pages = Array(data.dropFirst(4))
            try require(
                pages.first == 0 && zip(pages, pages.dropFirst()).allSatisfy(<), "ascending page codes from 00h on",
                got: pages.map(Wire.hex).joined(separator: " "))
        },
        test("SelfTest.Default", "6.42", "The default self-test of SEND DIAGNOSTIC ends with GOOD.", .dataLoss) {
            wire in
            try wire.need("SEND DIAGNOSTIC", OperationCode.sendDiagnostic)
            try expectGood(
                try wire.run(Command([OperationCode.sendDiagnostic, 0x04, 0, 0, 0, 0])), "SEND DIAGNOSTIC with SELFTEST"
            )
        },
    ]

    // MARK: The echo buffer

    private static func buffer(_ operationCode: UInt8, _ mode: UInt8, _ length: Int) -> [UInt8] {
        var cdb: [UInt8] = [operationCode, mode, 0, 0, 0, 0]
        cdb.appendBE24(UInt32(length))
        return cdb + [0]
    }

    private static let buffers = [
        test(
            "Buffer.Echo", "6.18", "READ BUFFER of the echo buffer gives what WRITE BUFFER has put there.", .dataLoss
        ) { wire in
            try wire.need("READ BUFFER", OperationCode.readBuffer10)
            try wire.need("WRITE BUFFER", OperationCode.writeBuffer)
            let descriptor = try wire.run(.reading(buffer(OperationCode.readBuffer10, 0x0B, 4), 4))
            guard descriptor.isGood, descriptor.dataIn.count == 4 else {
                throw TestEnd.skipped("the unit has no echo buffer")
            }
            let capacity = Int(descriptor.dataIn.rawSpan.loadBE16(at: 2) & 0x1FFF)
            guard capacity >= 4 else { throw TestEnd.skipped("the echo buffer has \(capacity) bytes") }
            let data = Command.pattern(min(capacity, 252) & ~3, seed: 5)
            try expectGood(
                try wire.run(.writing(buffer(OperationCode.writeBuffer, 0x0A, data.count), data)), "WRITE BUFFER")
            let echo = try expectGood(
                try wire.run(.reading(buffer(OperationCode.readBuffer10, 0x0A, data.count), data.count)), "READ BUFFER")
            try require(
                echo == data, "the \(data.count) bytes that were written", got: "\(echo.count) bytes, or others")
        },
        test(
            "Buffer.Beyond", "6.18",
            "A BUFFER OFFSET beyond the capacity of the buffer is refused: INVALID FIELD IN CDB."
        ) { wire in
            try wire.need("READ BUFFER", OperationCode.readBuffer10)
            let descriptor = try wire.run(.reading(buffer(OperationCode.readBuffer10, 0x03, 4), 4))
            guard descriptor.isGood, descriptor.dataIn.count == 4 else {
                throw TestEnd.skipped("the unit does not describe its buffer")
            }
            let capacity = descriptor.dataIn.rawSpan.loadBE24(at: 1)
            guard capacity > 0, capacity < 0xFF_0000 else { throw TestEnd.skipped("the buffer has \(capacity) bytes") }
            var cdb: [UInt8] = [OperationCode.readBuffer10, 0x02, 0]
            cdb.appendBE24(0xFF_FFF8)
            cdb.appendBE24(8)
            try expectInvalidField(try wire.run(.reading(cdb + [0], 8)), at: [3], "READ BUFFER beyond its capacity")
        },
        test("Buffer.UnknownMode", "6.18", "A reserved MODE of READ BUFFER is refused with INVALID FIELD IN CDB.") {
            wire in
            try wire.need("READ BUFFER", OperationCode.readBuffer10)
            try expectInvalidField(
                try wire.run(.reading(buffer(OperationCode.readBuffer10, 0x1E, 4), 4)), at: [1], "READ BUFFER, mode 1Eh"
            )
        },
    ]

    // MARK: Unit attentions

    private static let attentions = [
        test(
            "Attention.NotReported", "6.6.1",
            "INQUIRY, REPORT LUNS and REQUEST SENSE do not end with a unit attention; the next other command does.",
            .dataLoss
        ) { first in
            let second = try first.bench.logInToUnit()
            let outcome = try second.manageTasks(.logicalUnitReset)
            guard outcome == .functionComplete else {
                throw TestEnd.skipped("the unit does not have LOGICAL UNIT RESET")
            }
            try expectGood(try first.inquire(), "INQUIRY with a unit attention pending")
            _ = try first.reportedUnits()
            let told = try first.run(.testUnitReady)
            try require(told.hasAttention(0x29), "a unit attention 29h then", got: told.summary)
            try first.expectNoAttention("it has been reported")
        },
        test(
            "Attention.RequestSense", "6.39", "REQUEST SENSE reports a unit attention as its data, and clears it.",
            .dataLoss
        ) { first in
            let second = try first.bench.logInToUnit()
            let outcome = try second.manageTasks(.logicalUnitReset)
            guard outcome == .functionComplete else {
                throw TestEnd.skipped("the unit does not have LOGICAL UNIT RESET")
            }
            let sense = try first.reportedSense()
            try require(
                sense?.key == .unitAttention && sense?.additionalSenseCode.code == 0x29, "a unit attention 29h",
                got: "\(sense.map { "\($0.key), \(Wire.hex($0.additionalSenseCode.code))" } ?? "nothing")")
            try first.takeUnitAttentions()
            try first.expectNoAttention("REQUEST SENSE has reported it")
        },
    ]
}
