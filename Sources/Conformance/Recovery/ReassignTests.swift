internal import ISCSI
internal import Initiator
internal import Platform
internal import SCSI

/// ErrorRecoveryLevel 2: tasks that go on on another connection.
enum ReassignTests {
    /// A login at ErrorRecoveryLevel 2 that keeps a session without connections for a while.
    private static func plan() -> LoginPlan {
        var plan = LoginPlan.solicited
        plan.offer("ErrorRecoveryLevel", "2")
        plan.offer("MaxConnections", "2")
        plan.offer("DefaultTime2Retain", "20")
        return plan
    }

    private static func logIn(_ bench: Bench) throws -> Wire {
        let wire = try bench.logInToUnit(plan())
        guard wire.negotiated.number("ErrorRecoveryLevel") == 2 else {
            throw TestEnd.failed(
                expected: "ErrorRecoveryLevel=2", got: wire.negotiated.answer("ErrorRecoveryLevel") ?? "no answer")
        }
        return wire
    }

    /// Asks for the reassignment of the task of `tag` to `wire`, where it goes on as `command`, and gives the response.
    /// What the task sends may come at once.
    private static func reassign(
        _ wire: Wire, _ tag: UInt32, _ command: Command
    ) throws -> TaskManagementOutcome {
        let request = wire.taskManagementRequest(
            TaskManagementFunction.taskReassign.rawValue, task: (tag, SequenceNumber(0)))
        wire.tasks[tag] = CommandProgress(command: command)
        try wire.send(request)
        let (response, _) = try wire.expect(TaskManagementResponsePDU.self, "a Task Management Response")
        return response.response
    }

    private static func expectComplete(_ outcome: TaskManagementOutcome) throws {
        try require(outcome == .functionComplete, "response 0", got: "response \(outcome.rawValue)")
    }

    /// The write that `pending` is, for going on elsewhere.
    private static func command(_ bench: Bench, _ pending: Wire.PendingWrite) -> Command {
        Command.write(0, pending.data, blockLength: bench.survey.blockLength)
    }

    static let all = [
        ConformanceTest(
            "ErrorRecovery.Reassign.WriteAfterLogout", "7.2.2",
            "A write goes on on another connection after the logout for recovery of its own.",
            .errorRecoveryLevel(2), .connections(2), .disk
        ) { bench in
            let first = try logIn(bench)
            let second = try bench.join(first, connectionID: 1)
            let pending = try first.startPendingWrite(4)
            let response = try second.logOut(.removeConnectionForRecovery, connectionID: 0)
            try require(response.response == .closed, "logout response 0", got: "\(response.response.rawValue)")
            try first.expectClosedEventually("the connection that was logged out to be closed")
            try expectComplete(try reassign(second, pending.tag, command(bench, pending)))
            let result = try second.finish(pending.tag, "the write to go on")
            try require(result.isGood, "the write to end with GOOD", got: result.summary)
            try require(!result.requests.isEmpty, "an R2T on the new connection", got: "none")
        },
        ConformanceTest(
            "ErrorRecovery.Reassign.WithoutLogout", "11.6.1",
            "A task whose connection is there is not reassigned: response 3; it goes on where it is.",
            .errorRecoveryLevel(2), .connections(2), .disk
        ) { bench in
            let first = try logIn(bench)
            let second = try bench.join(first, connectionID: 1)
            let pending = try first.startPendingWrite()
            let outcome = try reassign(second, pending.tag, command(bench, pending))
            second.tasks = [:]
            try require(outcome == .taskStillAllegiant, "response 3", got: "response \(outcome.rawValue)")
            try first.sendData(pending)
            let result = try first.finish(pending.tag)
            try require(result.isGood, "the write to end with GOOD", got: result.summary)
        },
        ConformanceTest(
            "ErrorRecovery.Reassign.UnknownTask", "11.6.1",
            "TASK REASSIGN of a task that is not there is answered with response 1.", .errorRecoveryLevel(2)
        ) { bench in
            let wire = try logIn(bench)
            let outcome = try wire.manageTasks(.taskReassign, task: (0x7654_3210, SequenceNumber(0)))
            try require(outcome == .taskDoesNotExist, "response 1", got: "response \(outcome.rawValue)")
        },
        ConformanceTest(
            "ErrorRecovery.Reassign.ImplicitLogout", "7.2.2",
            "A write goes on on the connection that replaces its own.", .errorRecoveryLevel(2), .disk
        ) { bench in
            let first = try logIn(bench)
            let pending = try first.startPendingWrite()
            let second = try bench.join(first, connectionID: 0)
            try first.expectClosedEventually("the connection that was replaced to be closed")
            try expectComplete(try reassign(second, pending.tag, command(bench, pending)))
            let result = try second.finish(pending.tag, "the write to go on")
            try require(result.isGood, "the write to end with GOOD", got: result.summary)
        },
        ConformanceTest(
            "ErrorRecovery.Reassign.ConnectionLoss", "7.2.2",
            "A write goes on when its connection, the only one, broke and another came within Time2Retain.",
            .errorRecoveryLevel(2), .disk
        ) { bench in
            let first = try logIn(bench)
            let pending = try first.startPendingWrite()
            first.connection.socket.shutdownWriting()
            try first.expectClosedEventually("the broken connection to be closed")
            let second = try bench.join(first, connectionID: 0)
            try expectComplete(try reassign(second, pending.tag, command(bench, pending)))
            let result = try second.finish(pending.tag, "the write to go on")
            try require(result.isGood, "the write to end with GOOD", got: result.summary)
        },
        ConformanceTest(
            "ErrorRecovery.Reassign.Read", "7.2.2",
            "A read whose status was not acknowledged comes again, data and status, on the new connection.",
            .errorRecoveryLevel(2), .disk
        ) { bench in
            let first = try logIn(bench)
            let length = bench.survey.blockLength
            try first.ping()
            try first.ping()
            first.acknowledges = false
            let command = Command.read(0, 8, blockLength: length)
            let tag = try first.start(command)
            let original = try first.finish(tag)
            try require(original.isGood, "the read to end with GOOD", got: original.summary)
            let second = try bench.join(first, connectionID: 0)
            try first.expectClosedEventually("the connection that was replaced to be closed")
            try expectComplete(try reassign(second, tag, command))
            let again = try second.finish(tag, "the read to come again")
            try require(again.isGood, "the read to end with GOOD", got: again.summary)
            try require(again.dataIn == original.dataIn, "the same data", got: "\(again.dataIn.count) bytes")
        },
        ConformanceTest(
            "ErrorRecovery.Logout.UnknownConnection", "11.15.1",
            "A logout for recovery of a connection that is not there is answered with response 1.",
            .errorRecoveryLevel(2)
        ) { bench in
            let wire = try logIn(bench)
            let response = try wire.logOut(.removeConnectionForRecovery, connectionID: 0x7EAD)
            try require(
                response.response == .connectionNotFound, "logout response 1", got: "\(response.response.rawValue)")
            try wire.ping()
        },
        ConformanceTest(
            "ErrorRecovery.Session.Continues", "6.3.6",
            "A session without connections can be joined by its TSIH within Time2Retain, and its numbering goes on.",
            .errorRecoveryLevel(2)
        ) { bench in
            let first = try logIn(bench)
            for _ in 0..<3 { try first.runGood(.testUnitReady) }
            first.connection.socket.shutdownWriting()
            try first.expectClosedEventually("the broken connection to be closed")
            let second = try bench.join(first, connectionID: 0)
            try second.runGood(.testUnitReady)
        },
    ]
}
