internal import Bytes
internal import ISCSI
internal import SCSI

/// What a unit reports of itself: REPORT LUNS, REQUEST SENSE, REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT
/// FUNCTIONS (SPC-5 clauses 6.33 to 6.39).
enum SPCReportTests {
    static let all = reportLUNs + requestSense + operationCodes + taskManagement

    private static func test(
        _ name: String, _ clause: String, _ rule: String, body: @escaping @Sendable (Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("SPC.\(name)", standard: "SPC-5 clause \(clause)", rule) { bench in
            try body(try bench.logInToUnit())
        }
    }

    // MARK: REPORT LUNS

    private static func reportLUNs(_ select: UInt8, _ allocationLength: Int) -> Command {
        var command = Command.reportLUNs(allocationLength: allocationLength)
        command.cdb[2] = select
        command.isRead = allocationLength > 0
        return command
    }

    private static let reportLUNs = [
        test("ReportLUNs.Own", "6.33", "The logical unit that is asked is in the list, and each unit once.") { wire in
            let units = try wire.reportedUnits()
            try require(Set(units).count == units.count, "each unit once", got: "one of them twice")
            // Its addressing method may be another one.
            let own = wire.bench.target.logicalUnitNumber
            let isReported = units.contains {
                $0 == own.rawValue || LogicalUnitNumber(rawValue: $0).number == own.number
            }
            try require(isReported, "the unit's own number", got: "\(units.count) others")
        },
        test(
            "ReportLUNs.Length", "6.33",
            "LUN LIST LENGTH is that of all units, whatever ALLOCATION LENGTH is; below 16 it may be refused."
        ) { wire in
            let whole = try expectGood(try wire.run(reportLUNs(0, 16_384)), "REPORT LUNS")
            try require(
                whole.count == min(16_384, 8 + Int(whole.rawSpan.loadBE32(at: 0))) && whole.count.isMultiple(of: 8),
                "a list of the length that it says", got: "\(whole.count) bytes")
            for length in [16, 17, 24] {
                let part = try expectGood(
                    try wire.run(reportLUNs(0, length)), "REPORT LUNS with ALLOCATION LENGTH \(length)")
                try require(part == Array(whole.prefix(length)), "the first \(length) bytes", got: "others")
            }
            for length in [4, 8, 15] {
                let short = try wire.run(reportLUNs(0, length))
                if short.isGood {
                    try require(
                        short.dataIn == Array(whole.prefix(length)), "the first \(length) bytes", got: "others")
                } else {
                    try expectInvalidField(short, at: [6], "REPORT LUNS with ALLOCATION LENGTH \(length)")
                }
            }
        },
        test(
            "ReportLUNs.Select", "6.33",
            "SELECT REPORT 01h gives well known logical units alone, 02h all, and a reserved value is refused."
        ) { wire in
            let plain = try wire.reportedUnits(0)
            let wellKnown = try wire.reportedUnits(1)
            let all = try wire.reportedUnits(2)
            for unit in wellKnown where unit >> 56 != 0xC1 {
                throw TestEnd.failed(expected: "well known logical units", got: String(unit, radix: 16))
            }
            try require(
                Set(all) == Set(plain).union(wellKnown), "02h to give what 00h and 01h give", got: "\(all.count) units")
            try expectInvalidField(try wire.run(reportLUNs(0x7F, 1024)), at: [2], "REPORT LUNS with SELECT REPORT 7Fh")
        },
    ]

    // MARK: REQUEST SENSE

    private static let requestSense = [
        test(
            "RequestSense.Fixed", "6.39", "REQUEST SENSE without DESC ends with GOOD and sense data of fixed format."
        ) { wire in
            let data = try expectGood(try wire.requestSense(), "REQUEST SENSE")
            try require(data.count >= 8, "8 bytes at least", got: "\(data.count)")
            try require(data[0] & 0x7F == 0x70, "response code 70h", got: Wire.hex(data[0]))
            try require(
                data.count == 8 + Int(data[7]), "as many bytes as ADDITIONAL SENSE LENGTH says",
                got: "\(data.count) and \(data[7])")
            for length in [0, 1, 8, 14] {
                let part = try expectGood(
                    try wire.requestSense(allocationLength: length), "REQUEST SENSE with ALLOCATION LENGTH \(length)")
                try require(part.count == min(length, data.count), "\(length) bytes", got: "\(part.count)")
            }
        },
        test(
            "RequestSense.Descriptor", "6.39",
            "REQUEST SENSE with DESC gives sense data of descriptor format, or is refused with INVALID FIELD IN CDB."
        ) { wire in
            let result = try wire.requestSense(isDescriptorFormat: true)
            guard result.isGood else { return try expectInvalidField(result, at: [1], "REQUEST SENSE with DESC") }
            let data = result.dataIn
            try require(data.count >= 8, "8 bytes at least", got: "\(data.count)")
            try require(data[0] & 0x7F == 0x72, "response code 72h", got: Wire.hex(data[0]))
            try require(
                data.count == 8 + Int(data[7]), "as many bytes as ADDITIONAL SENSE LENGTH says",
                got: "\(data.count) and \(data[7])")
        },
    ]

    // MARK: REPORT SUPPORTED OPERATION CODES

    private static func allCommands(_ wire: Wire, hasTimeouts: Bool = false) throws -> [Wire.ListedCommand] {
        let result = try wire.reportOperationCodes(hasTimeouts ? 0x80 : 0)
        let data = try expectGood(result, "REPORT SUPPORTED OPERATION CODES")
        return try Wire.listedCommands(data, hasTimeouts: hasTimeouts)
    }

    /// A command of zeros, if that is harmless on a unit of that type.
    private static func harmless(_ listed: Wire.ListedCommand, deviceType: UInt8) -> Command? {
        let withoutData: Set<UInt8> = [0x00, 0x1E, 0x2F, 0x8F, 0xAF]
        let everywhere: Set<UInt8> = [0x00, 0x03, 0x12, 0x1A, 0x1C, 0x1E, 0x3C, 0x4D, 0x5A, 0x5E, 0x84, 0xA0, 0xA3]
        let onDisks: Set<UInt8> = [0x25, 0x28, 0x2F, 0x37, 0x88, 0x8F, 0x9E, 0xA8, 0xAF, 0xB7]
        guard everywhere.contains(listed.operationCode) || deviceType == 0 && onDisks.contains(listed.operationCode),
            listed.length > 0
        else { return nil }
        var cdb = [UInt8](repeating: 0, count: listed.length)
        cdb[0] = listed.operationCode
        if let action = listed.action { cdb[1] = UInt8(truncatingIfNeeded: action) & 0x1F }
        return withoutData.contains(listed.operationCode) ? Command(cdb) : .reading(cdb, 512)
    }

    private static let operationCodes = [
        test(
            "OperationCodes.All", "6.35.2",
            "The list of all commands has each once, with the length of its operation code's group, and what it must."
        ) { wire in
            let listed = try allCommands(wire)
            let names = listed.map { [UInt16($0.operationCode), $0.action ?? 0, $0.action == nil ? 0 : 1] }
            try require(Set(names).count == names.count, "each command once", got: "one of them twice")
            for command in listed {
                guard let length = CommandDescriptorBlock.length(ofOperationCode: command.operationCode) else {
                    continue
                }
                try require(
                    command.length == length, "\(command.name) of \(length) bytes", got: "\(command.length)")
            }
            for operationCode: UInt8 in [0x00, 0x12, 0xA0]
            where !listed.contains(where: { $0.operationCode == operationCode }) {
                throw TestEnd.failed(expected: "the mandatory command \(Wire.hex(operationCode))", got: "none")
            }
        },
        test(
            "OperationCodes.Timeouts", "6.35.4",
            "With RCTD the same commands are listed, with timeouts descriptors of 12 bytes where CTDP is one."
        ) { wire in
            let plain = try allCommands(wire)
            try require(try allCommands(wire, hasTimeouts: true) == plain, "the same commands", got: "others")
        },
        test(
            "OperationCodes.Absent", "6.35.3",
            "A command that is not listed has SUPPORT 001b when it is asked for alone."
        ) { wire in
            let listed = Set(try allCommands(wire).map(\.operationCode))
            for operationCode: UInt8 in [0x60, 0x6A] where !listed.contains(operationCode) {
                let data = try expectGood(
                    try wire.reportOperationCodes(1, operationCode), "the option 001b for \(Wire.hex(operationCode))")
                try require(data.count > 1 && data[1] & 0x07 == 1, "SUPPORT 001b", got: "\(data.prefix(4))")
            }
        },
        test(
            "OperationCodes.OneTimeout", "6.35.4",
            "With RCTD the report of one command ends with a timeouts descriptor where CTDP is one; without it never."
        ) { wire in
            _ = try allCommands(wire)
            let plain = try expectGood(try wire.reportOperationCodes(1, OperationCode.inquiry), "the report of INQUIRY")
            let data = try expectGood(
                try wire.reportOperationCodes(0x81, OperationCode.inquiry), "the report of INQUIRY with RCTD")
            try require(plain.count > 1 && plain[1] & 0x80 == 0, "CTDP zero without RCTD", got: "\(plain.prefix(2))")
            let length = data.count > 1 && data[1] & 0x80 != 0 ? plain.count + 12 : plain.count
            try require(data.count == length, "\(length) bytes", got: "\(data.count)")
        },
        test(
            "OperationCodes.One", "6.35.3",
            "Each listed command is supported when it is asked for alone, with usage data that begin with its code."
        ) { wire in
            for command in try allCommands(wire) {
                let data = try expectGood(
                    try wire.reportOperationCodes(
                        command.action == nil ? 1 : 2, command.operationCode, command.action ?? 0),
                    "REPORT SUPPORTED OPERATION CODES of \(command.name)")
                let support = data.count > 1 ? data[1] & 0x07 : 0
                try require([3, 5].contains(support), "SUPPORT 011b or 101b for \(command.name)", got: "\(support)")
                try require(
                    data.count >= 4 + command.length && Int(data.rawSpan.loadBE16(at: 2)) == command.length,
                    "\(command.length) bytes of CDB USAGE DATA for \(command.name)", got: "\(data.count - 4)")
                try require(
                    data[4] == command.operationCode, "the operation code in the usage data of \(command.name)",
                    got: Wire.hex(data[4]))
            }
        },
        test(
            "OperationCodes.Option3", "6.35.1",
            "REPORTING OPTIONS 011b says of each command what 001b and 010b say, and of others that they are not there."
        ) { wire in
            let listed = try allCommands(wire)
            guard try wire.reportOperationCodes(3, OperationCode.inquiry).isGood else {
                throw TestEnd.skipped("the unit does not have the option")
            }
            for command in listed {
                let option: UInt8 = command.action == nil ? 1 : 2
                let one = try wire.reportOperationCodes(option, command.operationCode, command.action ?? 0)
                let other = try wire.reportOperationCodes(3, command.operationCode, command.action ?? 0)
                try require(
                    other.isGood && other.dataIn == one.dataIn, "the same of \(command.name)", got: other.summary)
            }
            let reserved = try expectGood(try wire.reportOperationCodes(3, 0x6A), "the option 011b for 6Ah")
            try require(reserved.count > 1 && reserved[1] & 0x07 == 1, "SUPPORT 001b for 6Ah", got: "\(reserved)")
        },
        test(
            "OperationCodes.WrongOption", "6.35.1",
            "001b for a command with service actions, 010b for one without, and a reserved option are refused."
        ) { wire in
            _ = try allCommands(wire)
            try expectInvalidField(
                try wire.reportOperationCodes(1, OperationCode.maintenanceIn, 0x0C), at: [2, 3],
                "the option 001b for MAINTENANCE IN")
            try expectInvalidField(
                try wire.reportOperationCodes(2, OperationCode.inquiry), at: [2, 3, 4], "the option 010b for INQUIRY")
            try expectInvalidField(
                try wire.reportOperationCodes(7, OperationCode.inquiry), at: [2], "the reserved option 111b")
        },
        test(
            "OperationCodes.Listed", "6.35.2", "No listed command ends with INVALID COMMAND OPERATION CODE."
        ) { wire in
            for command in try allCommands(wire) {
                guard let zeros = harmless(command, deviceType: wire.bench.survey.deviceType) else { continue }
                let result = try wire.run(zeros)
                try require(!result.isUnknownCommand, "\(command.name) to be there", got: result.summary)
            }
        },
        test(
            "OperationCodes.Unlisted", "4.2.5.1",
            "An operation code that is not listed ends with INVALID COMMAND OPERATION CODE."
        ) { wire in
            let listed = Set(try allCommands(wire).map(\.operationCode))
            // Of the group of reserved operation codes.
            for operationCode: UInt8 in [0x60, 0x6A, 0x7D] where !listed.contains(operationCode) {
                let result = try wire.run(Command([operationCode] + [UInt8](repeating: 0, count: 15)))
                try require(
                    result.isUnknownCommand, "the operation code \(Wire.hex(operationCode)) to be unknown",
                    got: result.summary)
            }
        },
        test(
            "OperationCodes.ServiceAction", "4.2.5.2",
            "A service action that is not listed, of an operation code that is, ends with INVALID FIELD IN CDB."
        ) { wire in
            let listed = try allCommands(wire)
            // Those that no standard assigns.
            for (operationCode, action, length) in [
                (OperationCode.maintenanceIn, 0x13, 12), (OperationCode.maintenanceIn, 0x16, 12),
                (OperationCode.persistentReserveIn, 0x1F, 10), (OperationCode.thirdPartyCopyIn, 0x1F, 16),
                (OperationCode.serviceActionIn16, 0x1E, 16),
            ] as [(UInt8, UInt8, Int)] {
                let actions = listed.filter { $0.operationCode == operationCode && $0.action != nil }.map(\.action)
                guard !actions.isEmpty, !actions.contains(UInt16(action)) else { continue }
                var cdb = [UInt8](repeating: 0, count: length)
                cdb.replaceSubrange(0...1, with: [operationCode, action])
                try expectInvalidField(
                    try wire.run(Command(cdb)), at: [1],
                    "command \(Wire.hex(operationCode)) with the service action \(Wire.hex(action))")
            }
        },
    ]

    // MARK: REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS

    private static let taskManagement = [
        test(
            "TaskManagement.Report", "6.36",
            "The functions are reported in four bytes, or with REPD in sixteen, LOGICAL UNIT RESET among them."
        ) { wire in
            try wire.need("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", OperationCode.maintenanceIn, 0x0D)
            let data = try report(wire)
            try require(data.count == 4, "4 bytes", got: "\(data.count)")
            try require(data[0] & 0x08 != 0, "LOGICAL UNIT RESET", got: "none")
            let extended = try wire.run(
                .reading([OperationCode.maintenanceIn, 0x0D, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64))
            guard extended.isGood else { return try expectInvalidField(extended, at: [2], "the report with REPD") }
            try require(
                extended.dataIn.count == 16 && extended.dataIn[3] == 12, "16 bytes with REPD",
                got: "\(extended.dataIn.count)")
        },
        test(
            "TaskManagement.Claimed", "6.36", "A reported function is not answered as unsupported."
        ) { wire in
            try wire.need("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", OperationCode.maintenanceIn, 0x0D)
            let functions = try report(wire).first ?? 0
            let before = wire.session.nextCmdSN.advanced(by: -2)
            for (bit, function) in [
                (0x80, .abortTask), (0x40, .abortTaskSet), (0x20, .clearACA),
            ] as [(UInt8, TaskManagementFunction)] where functions & bit != 0 {
                let task: (UInt32, SequenceNumber)? = function == .abortTask ? (0x7654_3210, before) : nil
                let outcome = try wire.manageTasks(function, task: task)
                try require(
                    outcome != .functionNotSupported, "the function \(function.rawValue) to be supported",
                    got: "response \(outcome.rawValue)")
            }
        },
    ]

    private static func report(_ wire: Wire) throws -> [UInt8] {
        try expectGood(
            try wire.run(.reading([OperationCode.maintenanceIn, 0x0D, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64)),
            "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS")
    }
}
