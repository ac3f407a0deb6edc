internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// CmdSN, the command window and StatSN.
enum NumberingTests {
    static let all = order + window + status

    private static func check(_ order: [UInt32], _ tags: [UInt32], _ why: String) throws {
        try require(
            order == tags, why,
            got: order.map { tag in tags.firstIndex(of: tag).map { "\($0 + 1)" } ?? "?" }
                .joined(separator: ", "))
    }

    /// TEST UNIT READY with a CmdSN that is `ahead` of the next.
    private static func ready(_ wire: Wire, _ ahead: Int) -> Command {
        var command = Command.testUnitReady
        command.cmdSN = wire.session.nextCmdSN.advanced(by: ahead)
        return command
    }

    /// Counts `count` numbers as used.
    private static func skip(_ wire: Wire, _ count: Int) {
        wire.session.nextCmdSN = wire.session.nextCmdSN.advanced(by: count)
    }

    /// The commands of these tests are numbered two and three ahead.
    private static func logIn(_ bench: Bench) throws -> Wire {
        let wire = try bench.logInToUnit()
        let open = wire.session.nextCmdSN.distance(to: wire.session.maxCmdSN) + 1
        if open < 4 { throw TestEnd.skipped("the target's command window has \(open) commands") }
        return wire
    }

    private static let order = [
        ConformanceTest(
            "FullFeature.CommandNumbering.InOrder", "4.2.2.1",
            "ExpCmdSN follows the commands; each is answered once."
        ) { bench in
            let wire = try bench.logInToUnit()
            for _ in 0..<4 { try wire.runGood(.testUnitReady) }
            try wire.ping()
            try require(
                wire.session.expCmdSN == wire.session.nextCmdSN, "ExpCmdSN \(wire.session.nextCmdSN)",
                got: "\(wire.session.expCmdSN)")
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.BelowWindow", "4.2.2.1",
            "A command with a CmdSN before ExpCmdSN is ignored without an answer."
        ) { bench in
            let wire = try bench.logInToUnit()
            try wire.startIgnored(ready(wire, -1))
            try wire.startIgnored(ready(wire, -5))
            try wire.expectNothing("no answer to a command below the window")
            try wire.ping()
            try wire.runGood(.testUnitReady)
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.AboveWindow", "4.2.2.1",
            "A command with a CmdSN beyond MaxCmdSN is ignored without an answer."
        ) { bench in
            let wire = try bench.logInToUnit()
            var command = Command.testUnitReady
            for ahead in [1, 1000] {
                command.cmdSN = wire.session.maxCmdSN.advanced(by: ahead)
                try wire.startIgnored(command)
            }
            try wire.expectNothing("no answer to a command above the window")
            try wire.ping()
            try wire.runGood(.testUnitReady)
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.Gap", "4.2.2.1",
            "A command after a gap waits; when the gap is filled, both are answered in order."
        ) { bench in
            let wire = try logIn(bench)
            let second = try wire.start(ready(wire, 1))
            try wire.expectNothing("no answer before the gap is filled")
            try wire.ping()
            let first = try wire.start(ready(wire, 0))
            skip(wire, 2)
            try check(try wire.finishAll([first, second]), [first, second], "answers 1, 2")
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.Reordered", "4.2.2.1",
            "Commands that come in the wrong order are executed in CmdSN order."
        ) { bench in
            let wire = try logIn(bench)
            // ORDERED, so that the order of answers shows the order of execution.
            func ordered(_ ahead: Int) -> Command {
                var command = ready(wire, ahead)
                command.attributes = TaskAttribute.ordered.rawValue
                return command
            }
            let third = try wire.start(ordered(2))
            let second = try wire.start(ordered(1))
            let first = try wire.start(ordered(0))
            skip(wire, 3)
            try check(try wire.finishAll([first, second, third]), [first, second, third], "answers 1, 2, 3")
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.Duplicate", "4.2.2.1",
            "A second command with the CmdSN of one that waits is ignored."
        ) { bench in
            let wire = try logIn(bench)
            let second = try wire.start(ready(wire, 1))
            try wire.startIgnored(ready(wire, 1))
            let first = try wire.start(ready(wire, 0))
            skip(wire, 2)
            _ = try wire.finishAll([first, second])
            try wire.expectNothing("no answer to the duplicate")
            try wire.ping()
            try wire.runGood(.testUnitReady)
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.Retry", "7.2.1",
            "A command that is sent again, with its tag and CmdSN, is executed and answered once."
        ) { bench in
            let wire = try logIn(bench)
            var command = ready(wire, 1)
            command.tag = wire.session.takeTag()
            let second = try wire.start(command)
            try wire.startIgnored(command)
            let first = try wire.start(ready(wire, 0))
            skip(wire, 2)
            _ = try wire.finishAll([first, second])
            try wire.startIgnored(command)
            try wire.expectNothing("no further answer")
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.Immediate", "4.2.2.1",
            "An immediate command uses no CmdSN and is executed although a gap is open."
        ) { bench in
            let wire = try logIn(bench)
            let second = try wire.start(ready(wire, 1))
            var immediate = Command.testUnitReady
            immediate.isImmediate = true
            let tag = try wire.start(immediate)
            _ = try wire.finish(tag, "the answer to the immediate command")
            let first = try wire.start(ready(wire, 0))
            skip(wire, 2)
            _ = try wire.finishAll([first, second])
            try wire.runGood(.testUnitReady)
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.ImmediateTaskManagement", "4.2.2.1",
            "An immediate task management request is executed although a gap is open."
        ) { bench in
            let wire = try logIn(bench)
            let second = try wire.start(ready(wire, 1))
            _ = try wire.manageTasks(.abortTask, task: (0x7654_3210, wire.session.nextCmdSN.advanced(by: -3)))
            let first = try wire.start(ready(wire, 0))
            skip(wire, 2)
            _ = try wire.finishAll([first, second])
        },
        ConformanceTest(
            "FullFeature.CommandNumbering.OtherRequests", "4.2.2.1",
            "NOP-Out and task management that are not immediate use CmdSN like commands."
        ) { bench in
            let wire = try bench.logInToUnit()
            try wire.ping(isImmediate: false)
            var request = wire.taskManagementRequest(TaskManagementFunction.abortTask.rawValue)
            request.isImmediate = false
            request.cmdSN = wire.session.takeCmdSN()
            request.referencedTaskTag = 0x7654_3210
            request.refCmdSN = request.cmdSN.advanced(by: -2)
            try wire.send(request)
            _ = try wire.expect(TaskManagementResponsePDU.self, "a Task Management Response")
            try wire.runGood(.testUnitReady)
            try require(
                wire.session.expCmdSN == wire.session.nextCmdSN, "ExpCmdSN \(wire.session.nextCmdSN)",
                got: "\(wire.session.expCmdSN)")
        },
    ]

    private static let window = [
        ConformanceTest(
            "FullFeature.CommandWindow.LastNumber", "4.2.2.1",
            "The command with MaxCmdSN waits until all before it have come."
        ) { bench in
            let wire = try bench.logInToUnit()
            let most = 4096
            let count = wire.session.nextCmdSN.distance(to: wire.session.maxCmdSN) + 1
            if count < 2 || count > most { throw TestEnd.skipped("the command window has \(count) commands") }
            var tags = [try wire.start(ready(wire, count - 1))]
            for ahead in 0..<(count - 1) { tags.append(try wire.start(ready(wire, ahead))) }
            skip(wire, count)
            _ = try wire.finishAll(tags)
            try wire.runGood(.testUnitReady)
        },
        ConformanceTest(
            "FullFeature.CommandWindow.Bounds", "4.2.2.1",
            "MaxCmdSN is never before ExpCmdSN less one, and the window less than 2³¹−1 wide."
        ) { bench in
            let wire = try bench.logInToUnit()
            for _ in 0..<8 { try wire.runGood(.testUnitReady) }
            _ = try wire.run(.inquiry(allocationLength: 36))
            try wire.ping()
            let faults = wire.numberingFaults.filter { $0.hasPrefix("MaxCmdSN") }
            try require(faults.isEmpty, "MaxCmdSN not before ExpCmdSN less one", got: faults.first ?? "")
        },
    ]

    private static let status = [
        ConformanceTest(
            "FullFeature.StatusNumbering.Consecutive", "4.2.2.2",
            "StatSN goes up by one with each answer that carries status, whatever its kind."
        ) { bench in
            let wire = try bench.logInToUnit()
            try wire.runGood(.testUnitReady)
            try wire.ping()
            _ = try wire.run(.inquiry(allocationLength: 36))
            _ = try wire.run(Command([0xFF] + [UInt8](repeating: 0, count: 15)))
            _ = try wire.manageTasks(.abortTask, task: (0x7654_3210, wire.session.nextCmdSN.advanced(by: -3)))
            try wire.ping(Command.pattern(100, seed: 3), isImmediate: false)
            try wire.logOut()
            try require(
                wire.numberingFaults.isEmpty, "consecutive StatSN", got: wire.numberingFaults.first ?? "")
        },
        ConformanceTest(
            "FullFeature.StatusNumbering.ReadyToTransfer", "11.8.3",
            "An R2T shows the next StatSN and does not use it up.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let pending = try wire.startPendingWrite()
            _ = try wire.manageTasks(.abortTask, task: (pending.tag, pending.cmdSN))
            try require(
                wire.numberingFaults.isEmpty, "consecutive StatSN", got: wire.numberingFaults.first ?? "")
        },
        ConformanceTest(
            "FullFeature.StatusNumbering.TextAndReject", "4.2.2.2", "Text Response and Reject use StatSN up."
        ) { bench in
            let wire = try bench.logIn()
            _ = try wire.exchangeText([TextParameter("X-dev.carousel.a", "1")])
            let request = wire.textRequest([], transferTag: 0x1234_5678)
            try wire.send(request.header)
            guard let pdu = try wire.nextOrClosed("a Reject"), pdu.opcode == .reject else {
                throw TestEnd.skipped("the target does not reject what this test makes it reject")
            }
            try wire.ping()
            try require(
                wire.numberingFaults.isEmpty, "consecutive StatSN", got: wire.numberingFaults.first ?? "")
        },
    ]
}
