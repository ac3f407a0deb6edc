internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Task management functions 1 to 12.
enum TaskManagementTests {
    static let all = single + sets + resets + others + queries

    private static func check(_ outcome: TaskManagementOutcome, _ allowed: [TaskManagementOutcome]) throws {
        let words = allowed.map { "\($0.rawValue)" }.joined(separator: " or ")
        try require(allowed.contains(outcome), "response \(words)", got: "response \(outcome.rawValue)")
    }

    /// No answer to the aborted command, and its tag is free.
    static func expectGone(_ wire: Wire, _ tag: UInt32) throws {
        wire.tasks[tag] = nil
        try wire.expectNothing("no answer to the aborted command")
        try wire.ping()
        try wire.clearUnitAttentions(wire.bench.target.logicalUnitNumber)
        var command = Command.testUnitReady
        command.tag = tag
        try wire.runGood(command, "the tag of the aborted command to be free")
    }

    private static let single = [
        ConformanceTest(
            "FullFeature.AbortTask.UnderWay", "11.6.1",
            "ABORT TASK of a task under way is answered with response 0; the task is not answered.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let pending = try wire.startPendingWrite()
            try check(try wire.manageTasks(.abortTask, task: (pending.tag, pending.cmdSN)), [.functionComplete])
            try expectGone(wire, pending.tag)
        },
        ConformanceTest(
            "FullFeature.AbortTask.OfSeveral", "11.5.1", "ABORT TASK ends the task that it names and no other.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            let first = try wire.startPendingWrite()
            let second = try wire.startPendingWrite()
            try check(try wire.manageTasks(.abortTask, task: (first.tag, first.cmdSN)), [.functionComplete])
            wire.tasks[first.tag] = nil
            try wire.sendData(second)
            let result = try wire.finish(second.tag, "the answer to the other write")
            try require(result.isGood, "the other write to end with GOOD", got: result.summary)
        },
        ConformanceTest(
            "FullFeature.AbortTask.Unknown", "11.6.1",
            "ABORT TASK of a tag that is not there, with a RefCmdSN before the window, is answered with response 1."
        ) { bench in
            let wire = try bench.logInToUnit()
            let before = wire.session.nextCmdSN.advanced(by: -2)
            try check(try wire.manageTasks(.abortTask, task: (0x7654_3210, before)), [.taskDoesNotExist])
        },
        ConformanceTest(
            "FullFeature.AbortTask.Finished", "11.6.1",
            "ABORT TASK of a task that has ended is answered with response 1."
        ) { bench in
            let wire = try bench.logInToUnit()
            var command = Command.testUnitReady
            command.tag = wire.session.takeTag()
            command.cmdSN = wire.session.takeCmdSN()
            try wire.runGood(command)
            let outcome = try wire.manageTasks(
                .abortTask, task: (command.tag ?? 0, command.cmdSN ?? SequenceNumber(0)))
            try check(outcome, [.taskDoesNotExist])
        },
        ConformanceTest(
            "FullFeature.AbortTask.NotReceived", "11.6.1",
            "ABORT TASK of a command that never came counts its CmdSN as received and is answered with response 0."
        ) { bench in
            let wire = try bench.logInToUnit()
            let missing = wire.session.takeCmdSN()
            if wire.session.maxCmdSN.precedes(missing.advanced(by: 1)) {
                throw TestEnd.skipped("the target's command window has one command")
            }
            try check(try wire.manageTasks(.abortTask, task: (0x7654_3210, missing)), [.functionComplete])
            try wire.runGood(.testUnitReady, "the command after the gap to be executed")
        },
    ]

    /// A function that ends a pending write; the data that was asked for is sent after the request, as an initiator
    /// must.
    private static func end(
        _ wire: Wire, _ pending: Wire.PendingWrite, by function: TaskManagementFunction
    ) throws -> TaskManagementOutcome {
        let request = wire.taskManagementRequest(function.rawValue)
        try wire.send(request)
        try wire.sendData(pending)
        while true {
            let pdu = try wire.next("a Task Management Response")
            if let response: TaskManagementResponsePDU = pdu.parsed() { return response.response }
            // A target that does not support the function, or is done with the write before, answers the write.
            guard try wire.take(pdu) else {
                throw TestEnd.failed(expected: "a Task Management Response", got: Wire.describe(pdu))
            }
        }
    }

    private static func endsTasks(_ bench: Bench, _ function: TaskManagementFunction) throws {
        let wire = try bench.logInToUnit(.solicited)
        let pending = try wire.startPendingWrite()
        let outcome = try end(wire, pending, by: function)
        if outcome == .functionNotSupported { throw TestEnd.skipped("the target does not support the function") }
        try check(outcome, [.functionComplete])
        if wire.tasks[pending.tag]?.isFinished == true { return }
        try expectGone(wire, pending.tag)
    }

    /// The function on one unit leaves the tasks of another alone.
    private static func sparesOtherUnit(_ bench: Bench, _ function: TaskManagementFunction) throws {
        guard let other = bench.survey.secondDisk else { return }
        let wire = try bench.logInToUnit(.solicited)
        try wire.clearUnitAttentions(other)
        let pending = try wire.startPendingWrite(on: other)
        let outcome = try wire.manageTasks(function)
        if outcome == .functionNotSupported { throw TestEnd.skipped("the target does not support the function") }
        try check(outcome, [.functionComplete])
        try wire.sendData(pending)
        let result = try wire.finish(pending.tag, "the answer to the write to the other unit")
        try require(result.isGood, "the write to the other unit to end with GOOD", got: result.summary)
    }

    private static let sets = [
        ConformanceTest(
            "FullFeature.TaskSet.Abort", "4.2.3.3", "ABORT TASK SET ends the session's tasks without answers.", .disk
        ) { bench in
            try endsTasks(bench, .abortTaskSet)
        },
        ConformanceTest(
            "FullFeature.TaskSet.AbortOtherUnit", "11.5.1",
            "ABORT TASK SET leaves tasks of other logical units alone.", .disk, .secondDisk
        ) { bench in
            try sparesOtherUnit(bench, .abortTaskSet)
        },
        ConformanceTest(
            "FullFeature.TaskSet.AbortOtherSession", "11.5.1",
            "ABORT TASK SET leaves tasks of other sessions alone.", .disk
        ) { bench in
            let other = try bench.logInToUnit(.solicited)
            let wire = try bench.logInToUnit(.solicited)
            let pending = try other.startPendingWrite()
            let outcome = try wire.manageTasks(.abortTaskSet)
            if outcome == .functionNotSupported { throw TestEnd.skipped("the target does not support the function") }
            try check(outcome, [.functionComplete])
            try other.sendData(pending)
            let result = try other.finish(pending.tag, "the answer to the other session's write")
            try require(result.isGood, "the other session's write to end with GOOD", got: result.summary)
        },
        ConformanceTest(
            "FullFeature.TaskSet.Clear", "4.2.3.3", "CLEAR TASK SET ends the tasks of the unit.", .disk, .dataLoss
        ) { bench in
            try endsTasks(bench, .clearTaskSet)
        },
        ConformanceTest(
            "FullFeature.TaskSet.ClearACA", "11.5.1", "CLEAR ACA without an ACA condition does no harm."
        ) { bench in
            let wire = try bench.logInToUnit()
            let outcome = try wire.manageTasks(.clearACA)
            try check(outcome, [.functionComplete, .functionNotSupported, .functionRejected])
            try wire.runGood(.testUnitReady)
        },
    ]

    private static let resets = [
        ConformanceTest(
            "FullFeature.Reset.LogicalUnit", "4.2.3.3", "LOGICAL UNIT RESET ends the tasks of the unit.", .disk,
            .dataLoss
        ) { bench in
            try endsTasks(bench, .logicalUnitReset)
        },
        ConformanceTest(
            "FullFeature.Reset.LogicalUnitOtherUnit", "11.5.1",
            "LOGICAL UNIT RESET leaves tasks of other logical units alone.", .disk, .secondDisk, .dataLoss
        ) { bench in
            try sparesOtherUnit(bench, .logicalUnitReset)
        },
        ConformanceTest(
            "FullFeature.Reset.UnitAttention", "4.2.3.3",
            "After LOGICAL UNIT RESET another session sees a unit attention.", .disk, .dataLoss
        ) { bench in
            let other = try bench.logInToUnit()
            let wire = try bench.logInToUnit()
            let outcome = try wire.manageTasks(.logicalUnitReset)
            if outcome == .functionNotSupported { throw TestEnd.skipped("the target does not support the function") }
            try check(outcome, [.functionComplete])
            let result = try other.run(.testUnitReady)
            try require(
                result.sense?.key == .unitAttention && result.sense?.additionalSenseCode.code == 0x29,
                "UNIT ATTENTION with additional sense code 29h", got: result.summary)
        },
        ConformanceTest(
            "FullFeature.Reset.UnknownUnit", "11.6.1",
            "A function on a logical unit that is not there is answered with response 2."
        ) { bench in
            let wire = try bench.logInToUnit()
            for function in [TaskManagementFunction.abortTaskSet, .logicalUnitReset] {
                let outcome = try wire.manageTasks(function, on: LogicalUnitNumber(0x3EAD))
                try check(outcome, [.logicalUnitDoesNotExist, .functionNotSupported])
            }
        },
        ConformanceTest(
            "FullFeature.Reset.TargetWarm", "11.5.1",
            "TARGET WARM RESET is done, not supported or not authorised, and leaves the connection.", .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit()
            let outcome = try wire.manageTasks(.targetWarmReset)
            try check(outcome, [.functionComplete, .functionNotSupported, .authorizationFailed, .functionRejected])
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.Reset.TargetCold", "11.5.1",
            "TARGET COLD RESET closes the connections when it is done; else it is not supported or not authorised.",
            .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit()
            let request = wire.taskManagementRequest(TaskManagementFunction.targetColdReset.rawValue)
            try wire.send(request)
            // The connection may end before the response is on its way.
            guard let pdu = try wire.nextOrClosed("a Task Management Response") else {
                return try bench.expectTargetServes()
            }
            guard let response: TaskManagementResponsePDU = pdu.parsed() else {
                throw TestEnd.failed(expected: "a Task Management Response", got: Wire.describe(pdu))
            }
            try check(
                response.response, [.functionComplete, .functionNotSupported, .authorizationFailed, .functionRejected])
            if response.response == .functionComplete {
                try wire.expectClosedEventually("the connection to be closed by the reset")
            } else {
                try wire.ping()
            }
            try bench.expectTargetServes()
        },
    ]

    private static let others = [
        ConformanceTest(
            "FullFeature.TaskManagement.ReassignAtLevel0", "11.6.1",
            "TASK REASSIGN below ErrorRecoveryLevel 2 is answered with response 4, or not supported or rejected."
        ) { bench in
            let wire = try bench.logInToUnit()
            let request = wire.taskManagementRequest(
                TaskManagementFunction.taskReassign.rawValue, task: (0x7654_3210, wire.session.nextCmdSN))
            try wire.send(request)
            let pdu = try wire.next("a Task Management Response")
            if pdu.opcode != .reject {
                guard let response: TaskManagementResponsePDU = pdu.parsed() else {
                    throw TestEnd.failed(expected: "a Task Management Response", got: Wire.describe(pdu))
                }
                try check(response.response, [.reassignmentNotSupported, .functionNotSupported, .functionRejected])
            }
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.TaskManagement.UnknownFunction", "11.6.1",
            "A function that no standard defines is answered with response 5 or 255, or rejected, or ends the "
                + "connection."
        ) { bench in
            let wire = try bench.logInToUnit()
            for function in [0x00, 0x3F] as [UInt8] {
                let request = wire.taskManagementRequest(function)
                try wire.send(request)
                guard let pdu = try wire.nextOrClosed("a Task Management Response") else { return }
                if pdu.opcode == .reject { continue }
                guard let response: TaskManagementResponsePDU = pdu.parsed() else {
                    throw TestEnd.failed(expected: "a Task Management Response", got: Wire.describe(pdu))
                }
                try check(response.response, [.functionNotSupported, .functionRejected])
            }
            try wire.ping()
        },
    ]

    // MARK: RFC 7144

    private static var level2: LoginPlan {
        var plan = LoginPlan.solicited
        plan.offer("iSCSIProtocolLevel", "2")
        return plan
    }

    private static func query(
        _ wire: Wire, _ function: TaskManagementFunction, task: (tag: UInt32, cmdSN: SequenceNumber)? = nil
    ) throws -> TaskManagementOutcome {
        let outcome = try wire.manageTasks(function, task: task)
        if outcome == .functionNotSupported { throw TestEnd.skipped("the target does not support the function") }
        return outcome
    }

    private static let queries = [
        ConformanceTest(
            "FullFeature.Query.Task", standard: "RFC 7144 section 5",
            "QUERY TASK is answered with response 7 for a task under way and with 0 for another.",
            .disk, .protocolLevel(2)
        ) { bench in
            let wire = try bench.logInToUnit(level2)
            let pending = try wire.startPendingWrite()
            let known = try query(wire, .queryTask, task: (pending.tag, pending.cmdSN))
            try check(known, [.functionSucceeded])
            let before = pending.cmdSN.advanced(by: -1)
            try check(try query(wire, .queryTask, task: (0x7654_3210, before)), [.functionComplete])
            try wire.sendData(pending)
            _ = try wire.finish(pending.tag)
        },
        ConformanceTest(
            "FullFeature.Query.TaskSet", standard: "RFC 7144 section 5",
            "QUERY TASK SET is answered with response 7 when the session has tasks at the unit, else with 0.",
            .disk, .protocolLevel(2)
        ) { bench in
            let wire = try bench.logInToUnit(level2)
            try check(try query(wire, .queryTaskSet), [.functionComplete])
            let pending = try wire.startPendingWrite()
            try check(try query(wire, .queryTaskSet), [.functionSucceeded])
            try wire.sendData(pending)
            _ = try wire.finish(pending.tag)
        },
        ConformanceTest(
            "FullFeature.Query.AsynchronousEvent", standard: "RFC 7144 section 5",
            "QUERY ASYNCHRONOUS EVENT is answered with response 0 when no unit attention is pending.", .protocolLevel(2)
        ) { bench in
            let wire = try bench.logInToUnit(level2)
            try check(try query(wire, .queryAsynchronousEvent), [.functionComplete])
        },
        ConformanceTest(
            "FullFeature.Query.ITNexusReset", standard: "RFC 7144 section 5",
            "I_T NEXUS RESET ends the session's tasks without answers; the session goes on.",
            .disk, .protocolLevel(2), .dataLoss
        ) { bench in
            let wire = try bench.logInToUnit(level2)
            let pending = try wire.startPendingWrite()
            let outcome = try end(wire, pending, by: .iTNexusReset)
            if outcome == .functionNotSupported { throw TestEnd.skipped("the target does not support the function") }
            try check(outcome, [.functionComplete])
            if wire.tasks[pending.tag]?.isFinished == true { return }
            try expectGone(wire, pending.tag)
        },
    ]
}
