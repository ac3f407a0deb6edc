internal import ISCSI
internal import Initiator
internal import Platform
internal import SCSI

/// Sessions as logins make, find and replace them.
enum LoginSessionTests {
    static let all = [
        ConformanceTest(
            "Login.Session.HandleNotZero", "11.13.3", "The final response of a new session gives a TSIH that is not 0."
        ) { bench in
            let wire = try bench.logIn()
            try require(wire.session.targetSessionHandle != 0, "a TSIH that is not 0", got: "0")
        },
        ConformanceTest(
            "Login.Session.HandleOnlyInFinalResponse", "11.13.3",
            "Responses before the final one of a new session have the TSIH 0 of the request."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([], to: nil)
            let answer = try wire.expectLoginAnswer()
            try require(
                answer.header.targetSessionHandle == 0, "TSIH 0", got: "\(answer.header.targetSessionHandle)")
        },
        ConformanceTest(
            "Login.Session.UnknownHandle", "11.13.5",
            "A login with a TSIH that no session has is refused with status 020a."
        ) { bench in
            let wire = try bench.logIn()
            var plan = LoginPlan()
            plan.targetSessionHandle = wire.session.targetSessionHandle ^ 0x5A5A
            if plan.targetSessionHandle == 0 { plan.targetSessionHandle = 0x5A5B }
            plan.connectionID = 1
            try expectRefusal(bench, plan, [.sessionDoesNotExist])
        },
        ConformanceTest(
            "Login.Session.HandleOfOtherISID", "6.3.5",
            "A login with the TSIH of a session of another ISID does not get into that session."
        ) { bench in
            let wire = try bench.logIn()
            var plan = LoginPlan()
            plan.targetSessionHandle = wire.session.targetSessionHandle
            plan.connectionID = 1
            try expectRefusal(bench, plan, [])
            try wire.ping()
        },
        ConformanceTest(
            "Login.Session.TooManyConnections", "13.2",
            "A connection beyond the negotiated MaxConnections is refused, and the session goes on."
        ) { bench in
            let wire = try bench.logIn()
            guard wire.negotiated.number("MaxConnections") == 1 else {
                throw TestEnd.failed(expected: "MaxConnections=1", got: wire.negotiated.answer("MaxConnections") ?? "")
            }
            var plan = wire.plan
            plan.targetSessionHandle = wire.session.targetSessionHandle
            plan.connectionID = 1
            plan.offers = LoginPlan.connectionOffers(plan.offers)
            try expectRefusal(bench, plan, [])
            try wire.ping()
        },
        ConformanceTest(
            "Login.Session.Reinstatement", "6.3.5",
            "A login with the ISID of a session and TSIH 0 ends that session and makes a new one."
        ) { bench in
            let old = try bench.logIn()
            let new = try bench.logIn(old.plan)
            try old.expectClosedEventually("the old session's connection to be closed")
            try new.ping()
            _ = try new.run(.testUnitReady)
        },
        ConformanceTest(
            "Login.Session.ReinstatementEndsTasks", "6.3.5",
            "A command of the old session is not answered on the new one, and its tag is free there.", .disk
        ) { bench in
            let old = try bench.logInToUnit(.solicited)
            let pending = try old.startPendingWrite()
            let new = try bench.logIn(old.plan)
            try old.expectClosedEventually("the old session's connection to be closed")
            var command = Command.testUnitReady
            command.tag = pending.tag
            _ = try new.run(command)
            try new.ping()
        },
        ConformanceTest(
            "Login.Session.ConnectionReinstatement", "6.3.4",
            "A login with the TSIH and CID of a connection replaces that connection."
        ) { bench in
            let old = try bench.logIn()
            let handle = old.session.targetSessionHandle
            let new = try bench.join(old, connectionID: 0)
            try old.expectClosedEventually("the old connection to be closed")
            try require(
                new.session.targetSessionHandle == handle, "the session's TSIH \(handle)",
                got: "\(new.session.targetSessionHandle)")
            try new.ping()
            _ = try new.run(.testUnitReady)
        },
        ConformanceTest(
            "Login.Session.OtherISID", "4.4.2", "Sessions of one initiator with different ISIDs live side by side."
        ) { bench in
            let first = try bench.logIn()
            let second = try bench.logIn()
            try first.ping()
            try second.ping()
        },
        ConformanceTest(
            "Login.Session.SameISIDOfOtherInitiator", "4.4.2",
            "Sessions of initiators with different names and the same ISID live side by side."
        ) { bench in
            let first = try bench.logIn()
            var plan = first.plan
            plan.initiatorName += ".other"
            let second: Wire
            do {
                second = try bench.logIn(plan)
            } catch TestEnd.failed(let reason) {
                throw TestEnd.skipped("the target does not let another initiator name in: \(reason)")
            }
            try second.ping()
            try first.ping()
        },
        ConformanceTest(
            "Login.Session.AfterConnectionLoss", "7.14",
            "After its connection broke, an initiator logs in again at once."
        ) { bench in
            let old = try bench.logIn()
            old.connection.socket.shutdownWriting()
            let new = try bench.logIn(old.plan)
            try new.ping()
        },
    ]

    private static func expectRefusal(_ bench: Bench, _ plan: LoginPlan, _ statuses: Set<LoginStatus>) throws {
        let expected =
            statuses.first.map { "a login that is refused with \(Wire.hex($0))" } ?? "a login that is refused"
        switch try bench.attemptLogIn(plan) {
        case .refused(let status) where statuses.isEmpty ? status.statusClass == 2 : statuses.contains(status): return
        case .refused(let status): throw TestEnd.failed(expected: expected, got: "status \(Wire.hex(status)) \(status)")
        case .negotiated: throw TestEnd.failed(expected: expected, got: "a login that succeeds")
        }
    }
}
