internal import ISCSI
internal import Initiator
internal import Platform
internal import SCSI

/// Several connections in one session.
enum ConnectionTests {
    static let all = joins + numbering + allegiance + ends

    private static func plan(_ plan: LoginPlan = LoginPlan(), connections: Int = 2) -> LoginPlan {
        var plan = plan
        plan.offer("MaxConnections", "\(connections)")
        return plan
    }

    /// Two connections of one session, CIDs 0 and 1.
    private static func pair(_ bench: Bench, _ offers: LoginPlan = LoginPlan()) throws -> (Wire, Wire) {
        let first = try bench.logInToUnit(plan(offers))
        guard let most = first.negotiated.number("MaxConnections"), most >= 2 else {
            throw TestEnd.skipped("the target grants MaxConnections 1")
        }
        let second = try bench.join(first, connectionID: 1)
        try second.ping()
        return (first, second)
    }

    private static let joins = [
        ConformanceTest(
            "MultiConnection.Join.Second", "6.3.5", "A login with the TSIH of a session adds a connection to it.",
            .connections(2)
        ) { bench in
            let first = try bench.logIn(plan())
            let handle = first.session.targetSessionHandle
            let second = try bench.join(first, connectionID: 1)
            try require(
                second.session.targetSessionHandle == handle, "TSIH \(handle)",
                got: "\(second.session.targetSessionHandle)")
            try second.ping()
            try first.ping()
        },
        ConformanceTest(
            "MultiConnection.Join.TooMany", "13.2",
            "A connection beyond MaxConnections is refused, and the others go on.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            let most = first.negotiated.number("MaxConnections") ?? 2
            if most > 2 { throw TestEnd.failed(expected: "MaxConnections of at most 2", got: "\(most)") }
            var plan = first.plan
            plan.targetSessionHandle = first.session.targetSessionHandle
            plan.connectionID = 2
            plan.offers = LoginPlan.connectionOffers(plan.offers)
            switch try bench.attemptLogIn(plan) {
            case .refused(let status) where status.statusClass == 2: break
            case let outcome: throw TestEnd.failed(expected: "a refusal with status 0206", got: outcome.summary)
            }
            try first.ping()
            try second.ping()
        },
        ConformanceTest(
            "MultiConnection.Join.UnknownHandle", "11.13.5",
            "A connection for a TSIH that no session has is refused with status 020a.", .connections(2)
        ) { bench in
            let (first, _) = try pair(bench)
            var plan = first.plan
            plan.targetSessionHandle = first.session.targetSessionHandle &+ 0x101
            if plan.targetSessionHandle == 0 { plan.targetSessionHandle = 0x102 }
            plan.connectionID = 1
            plan.offers = LoginPlan.connectionOffers(plan.offers)
            switch try bench.attemptLogIn(plan) {
            case .refused(.sessionDoesNotExist): break
            case let outcome: throw TestEnd.failed(expected: "a refusal with status 020a", got: outcome.summary)
            }
            try first.ping()
        },
        ConformanceTest(
            "MultiConnection.Join.OtherInitiator", "6.3.5",
            "Another initiator does not get into a session by its TSIH.", .connections(2)
        ) { bench in
            let first = try bench.logIn(plan())
            var plan = first.plan
            plan.initiatorName += ".other"
            plan.targetSessionHandle = first.session.targetSessionHandle
            plan.connectionID = 1
            plan.offers = LoginPlan.connectionOffers(plan.offers)
            switch try bench.attemptLogIn(plan) {
            case .refused(let status) where status.statusClass == 2: break
            case let outcome: throw TestEnd.failed(expected: "a login that is refused", got: outcome.summary)
            }
            try first.ping()
        },
    ]

    private static let numbering = [
        ConformanceTest(
            "MultiConnection.Numbering.Order", "4.2.2.1",
            "Commands of all connections are executed in CmdSN order, and answered where they came.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            if first.session.nextCmdSN.distance(to: first.session.maxCmdSN) < 1 {
                throw TestEnd.skipped("the target's command window has one command")
            }
            var early = Command.testUnitReady
            early.cmdSN = first.session.nextCmdSN.advanced(by: 1)
            let earlyTag = try second.start(early)
            try second.expectNothing("no answer before the gap is filled on the other connection")
            var late = Command.testUnitReady
            late.cmdSN = first.session.nextCmdSN
            let lateTag = try first.start(late)
            first.session.nextCmdSN = first.session.nextCmdSN.advanced(by: 2)
            _ = try first.finish(lateTag, "the first command's answer on its connection")
            _ = try second.finish(earlyTag, "the second command's answer on its connection")
        },
        ConformanceTest(
            "MultiConnection.Numbering.Window", "4.2.2.1",
            "ExpCmdSN on one connection shows the commands of the others.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            for _ in 0..<4 { try first.runGood(.testUnitReady) }
            _ = try second.sendPing()
            let (echo, _) = try second.expect(NOPInPDU.self, "the ping's echo")
            try require(
                echo.expCmdSN == first.session.nextCmdSN, "ExpCmdSN \(first.session.nextCmdSN)",
                got: "\(echo.expCmdSN)")
        },
        ConformanceTest(
            "MultiConnection.Numbering.Status", "4.2.2.2", "Each connection has its own StatSN.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            for round in 0..<4 {
                try first.runGood(.testUnitReady)
                try second.runGood(.testUnitReady)
                if round % 2 == 0 { try second.ping() }
            }
            let faults = first.numberingFaults + second.numberingFaults
            try require(faults.isEmpty, "consecutive StatSN on each connection", got: faults.first ?? "")
        },
    ]

    private static let allegiance = [
        ConformanceTest(
            "MultiConnection.Allegiance.Read", "4.2.5.1",
            "A read's data and status come on the connection of its command.",
            .connections(2), .disk
        ) { bench in
            let (first, second) = try pair(bench)
            let length = bench.survey.blockLength
            let one = try first.runGood(.read(0, 8, blockLength: length))
            let two = try second.runGood(.read(0, 8, blockLength: length))
            try require(one.dataIn == two.dataIn, "the same data on both connections", got: "other data")
            try first.expectNothing("nothing on the other connection")
            try first.ping()
        },
        ConformanceTest(
            "MultiConnection.Allegiance.Write", "4.2.5.1",
            "A write's R2T and status come on the connection of its command.", .connections(2), .disk
        ) { bench in
            let (first, second) = try pair(bench, .solicited)
            let pending = try second.startPendingWrite()
            try first.ping()
            try second.sendData(pending)
            let result = try second.finish(pending.tag)
            try require(result.isGood, "GOOD", got: result.summary)
        },
        ConformanceTest(
            "MultiConnection.Allegiance.DataElsewhere", "4.2.5.1",
            "Data-Out on another connection than the command's does not count.", .connections(2), .disk
        ) { bench in
            let (first, second) = try pair(bench, .solicited)
            let pending = try first.startPendingWrite()
            let start = Int(pending.request.bufferOffset)
            try second.sendData(
                [UInt8](repeating: 0x5A, count: pending.data.count),
                start..<(start + Int(pending.request.desiredDataTransferLength)), pending.request)
            try first.expectNothing("no answer to the write before its data has come where it belongs")
            try first.sendData(pending)
            let result = try first.finish(pending.tag)
            try require(result.isGood, "GOOD", got: result.summary)
            let length = bench.survey.blockLength
            let back = try first.runGood(.read(0, pending.data.count / length, blockLength: length))
            try require(back.dataIn == pending.data, "the data of the right connection", got: "other data")
        },
        ConformanceTest(
            "MultiConnection.Allegiance.TaskSet", "4.2.3.3",
            "ABORT TASK SET on one connection ends the session's tasks on the others.", .connections(2), .disk
        ) { bench in
            let (first, second) = try pair(bench, .solicited)
            let pending = try first.startPendingWrite()
            let request = second.taskManagementRequest(TaskManagementFunction.abortTaskSet.rawValue)
            try second.send(request)
            try first.sendData(pending)
            let (response, _) = try second.expect(TaskManagementResponsePDU.self, "a Task Management Response")
            if response.response == .functionNotSupported {
                throw TestEnd.skipped("the target does not support the function")
            }
            try require(
                response.response == .functionComplete, "response 0", got: "response \(response.response.rawValue)")
            if let pdu = try first.nextWithin(bench.target.silence) {
                // The data may have come before the request was handled: then the write was done.
                try require(
                    pdu.opcode == .scsiResponse && pdu.header.initiatorTaskTag == pending.tag,
                    "no answer to the aborted write", got: Wire.describe(pdu))
            }
            first.tasks = [:]
            try first.ping()
        },
    ]

    private static let ends = [
        ConformanceTest(
            "MultiConnection.Logout.Other", "11.14",
            "A logout of another connection closes that one; the session goes on.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            let response = try first.logOut(.closeConnection, connectionID: 1)
            try require(response.response == .closed, "response 0", got: "\(response.response.rawValue)")
            try second.expectClosedEventually("the connection that was logged out to be closed")
            try first.ping()
            try first.runGood(.testUnitReady)
        },
        ConformanceTest(
            "MultiConnection.Logout.Own", "11.14",
            "A logout of the own connection closes it; the session goes on.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            let response = try second.logOut(.closeConnection, connectionID: 1)
            try require(response.response == .closed, "response 0", got: "\(response.response.rawValue)")
            try second.expectEnd()
            try first.runGood(.testUnitReady)
        },
        ConformanceTest(
            "MultiConnection.Logout.First", "11.14",
            "The session goes on when its first connection is logged out.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            let response = try first.logOut(.closeConnection, connectionID: 0)
            try require(response.response == .closed, "response 0", got: "\(response.response.rawValue)")
            try first.expectEnd()
            try second.ping()
            try second.runGood(.testUnitReady)
        },
        ConformanceTest(
            "MultiConnection.Logout.Session", "11.14", "A logout of the session closes all its connections.",
            .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            let response = try second.logOut()
            try require(response.response == .closed, "response 0", got: "\(response.response.rawValue)")
            try second.expectEnd()
            try first.expectClosedEventually("the session's other connection to be closed")
        },
        ConformanceTest(
            "MultiConnection.Logout.AndBack", "6.3.5",
            "After the logout of a connection another with its CID can be added.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            _ = try second.logOut(.closeConnection, connectionID: 1)
            try second.expectEnd()
            let third = try bench.join(first, connectionID: 1)
            try third.ping()
            try third.runGood(.testUnitReady)
            try first.ping()
        },
        ConformanceTest(
            "MultiConnection.Reinstatement.Connection", "6.3.4",
            "A login with the CID of a connection replaces it; the others go on.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            let third = try bench.join(first, connectionID: 1)
            try second.expectClosedEventually("the connection that was replaced to be closed")
            try third.ping()
            try third.runGood(.testUnitReady)
            try first.ping()
        },
        ConformanceTest(
            "MultiConnection.Reinstatement.Session", "6.3.5",
            "A login with the session's ISID and TSIH 0 closes all its connections.", .connections(2)
        ) { bench in
            let (first, second) = try pair(bench)
            var again = first.plan
            again.targetSessionHandle = 0
            let new = try bench.logIn(again)
            try first.expectClosedEventually("the first connection of the old session to be closed")
            try second.expectClosedEventually("the second connection of the old session to be closed")
            try new.ping()
        },
    ]
}
