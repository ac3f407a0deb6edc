internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// The Login Phase: stages, header fields, names and what may be sent when.
enum LoginTests {
    static let all = standard + stages + header + phase + identity

    private static let standard = [
        ConformanceTest(
            "Login.Standard.Operational", "6.3", "A login may begin in the operational stage and end there.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            try wire.sendLogin(1, to: 3, wire.plan.identity(bench.target) + wire.plan.offers)
            let answer = try wire.expectLoginAnswer()
            try checkStages(answer, 1, 3)
            wire.negotiated = Negotiated(offers: wire.plan.offers, answers: answer.text)
            wire.enterFullFeaturePhase(answer.header)
            try wire.ping()
        },
        ConformanceTest(
            "Login.Standard.SecurityThenOperational", "6.3",
            "A login may go through the security stage with AuthMethod=None and then the operational stage.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            try wire.sendLogin(
                0, to: 1, wire.plan.identity(bench.target) + [TextParameter("AuthMethod", "None")])
            let first = try wire.expectLoginAnswer()
            try checkStages(first, 0, 1)
            try wire.sendLogin(1, to: 3, wire.plan.offers)
            let second = try wire.expectLoginAnswer()
            try checkStages(second, 1, 3)
            wire.negotiated = Negotiated(offers: wire.plan.offers, answers: second.text)
            wire.enterFullFeaturePhase(second.header)
            try wire.ping()
        },
        ConformanceTest(
            "Login.Standard.SecurityToFullFeature", "11.12.3",
            "A login may go from the security stage to full feature phase, unless the target wants to negotiate.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            wire.plan.offers = []
            try wire.sendLogin(
                0, to: 3, wire.plan.identity(bench.target) + [TextParameter("AuthMethod", "None")])
            let answer = try wire.expectLoginAnswer()
            if !answer.header.isTransit { return }
            try checkStages(answer, 0, answer.header.nextStageCode)
            guard answer.header.nextStageCode == 3 else { return }
            wire.negotiated = Negotiated(offers: [], answers: answer.text)
            wire.enterFullFeaturePhase(answer.header)
            try wire.ping()
        },
        ConformanceTest(
            "Login.Standard.WithoutTransit", "11.13.6",
            "A Login Response does not set T when the request did not.", .openAccess
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([], to: nil)
            let first = try wire.expectLoginAnswer()
            try require(
                !first.header.isTransit && first.header.currentStageCode == 1, "T 0 and CSG 1",
                got: Wire.describe(first.header, first.data))
            try wire.completeLogIn(wire.plan.offers)
            try wire.ping()
        },
    ]

    private static func checkStages(_ answer: Wire.LoginAnswer, _ current: UInt8, _ next: UInt8) throws {
        try require(
            answer.header.isTransit && answer.header.currentStageCode == current
                && answer.header.nextStageCode == next, "T 1, CSG \(current), NSG \(next)",
            got: Wire.describe(answer.header, answer.data))
    }

    /// A login whose first request in the operational stage, `change`d, must be refused.
    private static func refused(
        _ bench: Bench, _ why: String, with statuses: Set<LoginStatus> = [], plan: LoginPlan = LoginPlan(),
        change: (inout LoginRequestPDU) -> Void
    ) throws {
        let wire = try bench.connect()
        try wire.openOperationalStage(plan)
        try wire.sendOperational(plan.offers, change: change)
        try wire.expectRefusal(statuses, why)
    }

    private static let stages = [
        ConformanceTest(
            "Login.Stage.Reserved", "11.12.3", "A CSG of 2, which is reserved, ends the login."
        ) { bench in
            try refused(bench, "the reserved stage to be refused") { $0.currentStageCode = 2 }
        },
        ConformanceTest(
            "Login.Stage.NextReserved", "11.12.3", "An NSG of 2, which is reserved, ends the login."
        ) { bench in
            try refused(bench, "the reserved next stage to be refused") { $0.nextStageCode = 2 }
        },
        ConformanceTest(
            "Login.Stage.NextIsCurrent", "11.12.3", "A transit to the current stage ends the login."
        ) { bench in
            try refused(bench, "the transit to the same stage to be refused") { $0.nextStageCode = 1 }
        },
        ConformanceTest(
            "Login.Stage.NextIsEarlier", "11.12.3", "A transit to an earlier stage ends the login."
        ) { bench in
            try refused(bench, "the transit to an earlier stage to be refused") { $0.nextStageCode = 0 }
        },
        ConformanceTest(
            "Login.Stage.Back", "11.12.3", "A request of an earlier stage than the one reached ends the login.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([], to: nil)
            _ = try wire.expectLoginAnswer()
            try wire.sendLogin(0, to: 1, [TextParameter("AuthMethod", "None")])
            try wire.expectRefusal([], "the step back to be refused")
        },
        ConformanceTest(
            "Login.Stage.TransitAndContinue", "11.12.2", "T and C together end the login."
        ) { bench in
            try refused(bench, "T and C together to be refused") { $0.isContinued = true }
        },
        ConformanceTest(
            "Login.Stage.ContinuedRequest", "6.2",
            "A request with C is answered without text and without T; the pair that it cuts counts when it is whole."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            let identity = wire.hasSentIdentity ? [] : wire.plan.identity(bench.target)
            let text = TextCodec.format(identity + wire.plan.offers)
            let half = text.count / 2
            try wire.sendLogin(wire.loginRequest(1, to: nil), raw: Array(text[..<half])) { $0.isContinued = true }
            let first = try wire.expectLoginAnswer()
            try require(
                first.data.isEmpty && !first.header.isTransit && !first.header.isContinued,
                "an empty Login Response without T and C", got: Wire.describe(first.header, first.data))
            try wire.sendLogin(wire.loginRequest(1, to: 3), raw: Array(text[half...]))
            let second = try wire.expectLoginAnswer()
            try checkStages(second, 1, 3)
        },
        ConformanceTest(
            "Login.Stage.ContinuedResponse", "6.2",
            "An answer beyond 8192 bytes comes in parts with C, each after an empty request."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            // Keys of the greatest length with short values: the answers are longer than the offers.
            let keys = (0..<108).map { number in
                let start = "X-dev.carousel.\(number)."
                return start + String(repeating: "x", count: TextCodec.maximumKeyLength - start.utf8.count)
            }
            try wire.sendOperational(keys.map { TextParameter($0, "1") }, to: nil)
            var bytes: [UInt8] = []
            var answer = try wire.expectLoginAnswer()
            for _ in 0..<8 where answer.header.isContinued {
                try require(!answer.header.isTransit, "no T with C", got: Wire.describe(answer.header, []))
                bytes += answer.data
                try wire.sendLogin(1, to: nil, [])
                answer = try wire.expectLoginAnswer()
            }
            bytes += answer.data
            let text = (try? TextCodec.parse(bytes.rawSpan)) ?? []
            let answered = Set(text.map(\.key))
            let missing = keys.filter { !answered.contains($0) }
            try require(missing.isEmpty, "an answer to each of \(keys.count) keys", got: "\(missing.count) are missing")
        },
    ]

    private static let header = [
        ConformanceTest(
            "Login.Header.Version", "11.12.4", "A range of versions without 0 is refused with status 0205."
        ) { bench in
            try refused(bench, "status 0205", with: [.unsupportedVersion]) {
                $0.versionMin = 0x7F
                $0.versionMax = 0x7F
            }
        },
        ConformanceTest(
            "Login.Header.VersionRange", "11.13.2", "Of a range of versions with 0, Version-active is 0."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational(wire.plan.offers) { $0.versionMax = 0x7F }
            let answer = try wire.expectLoginAnswer()
            try require(
                answer.header.versionActive == 0, "Version-active 0", got: "\(answer.header.versionActive)")
        },
        ConformanceTest(
            "Login.Header.Echo", "11.13", "A Login Response repeats ISID and Initiator Task Tag."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational(wire.plan.offers)
            let answer = try wire.expectLoginAnswer()
            try require(
                answer.header.initiatorSessionID == wire.plan.initiatorSessionID, "the ISID of the request",
                got: String(answer.header.initiatorSessionID.rawValue, radix: 16))
            try require(
                answer.header.initiatorTaskTag == 0x77, "the Initiator Task Tag of the request",
                got: String(answer.header.initiatorTaskTag, radix: 16))
        },
        ConformanceTest(
            "Login.Header.StatSN", "4.2.2.2",
            "StatSN goes up by one with each Login Response and on into full feature phase."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([], to: nil)
            let first = try wire.expectLoginAnswer().header.statSN
            try wire.sendOperational(wire.plan.offers)
            let answer = try wire.expectLoginAnswer()
            let second = answer.header.statSN
            try require(second == first.advanced(by: 1), "StatSN \(first.advanced(by: 1))", got: "\(second)")
            wire.negotiated = Negotiated(offers: wire.plan.offers, answers: answer.text)
            wire.enterFullFeaturePhase(answer.header)
            _ = try wire.sendPing()
            let echo = try wire.expect(NOPInPDU.self, "the ping's echo").header.statSN
            try require(echo == second.advanced(by: 1), "StatSN \(second.advanced(by: 1))", got: "\(echo)")
        },
        ConformanceTest(
            "Login.Header.CmdSN", "11.12.8",
            "A login does not use its CmdSN up: ExpCmdSN is the same, and the first command carries it."
        ) { bench in
            for first in [SequenceNumber(0), SequenceNumber(0x1234_5678)] {
                var plan = LoginPlan()
                plan.firstCmdSN = first
                let wire = try bench.logIn(plan)
                try require(
                    wire.session.expCmdSN == first, "ExpCmdSN \(first)", got: "\(wire.session.expCmdSN)")
                try require(
                    !wire.session.maxCmdSN.precedes(first), "an open command window", got: "MaxCmdSN before CmdSN")
                _ = try wire.run(.testUnitReady)
            }
        },
        ConformanceTest(
            "Login.Header.CmdSNWraps", "4.2.2.1", "CmdSN goes from 2³²−1 to 0 without a gap."
        ) { bench in
            var plan = LoginPlan()
            plan.firstCmdSN = SequenceNumber(0xFFFF_FFFE)
            let wire = try bench.logIn(plan)
            for _ in 0..<6 { _ = try wire.run(.testUnitReady) }
        },
    ]

    private static let phase = [
        ConformanceTest(
            "Login.Phase.FirstPDUNotLogin", "6.3", "Another PDU than a Login Request first ends the connection at once."
        ) { bench in
            let ping = try bench.connect()
            _ = try ping.sendPing()
            try ping.expectClosed("the connection to be closed without an answer")
            let command = try bench.connect()
            try command.startIgnored(.testUnitReady)
            try command.expectClosed("the connection to be closed without an answer")
        },
        ConformanceTest(
            "Login.Phase.OtherPDU", "6.3", "Another PDU during the login is answered with status 020b, and the end."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([], to: nil)
            _ = try wire.expectLoginAnswer()
            _ = try wire.sendPing()
            try wire.expectRefusal([.invalidDuringLogin], "status 020b")
        },
        ConformanceTest(
            "Login.Phase.LoginInFullFeaturePhase", "6.3",
            "A Login Request in full feature phase starts no new login on the connection."
        ) { bench in
            let wire = try bench.logIn()
            try wire.sendLogin(1, to: 3, wire.plan.identity(bench.target))
            guard let pdu = try wire.nextOrClosed("a Reject or the end of the connection") else { return }
            if let response: LoginResponsePDU = pdu.parsed(), response.status == .success {
                throw TestEnd.failed(expected: "a refusal", got: Wire.describe(pdu))
            }
        },
        ConformanceTest(
            "Login.Phase.BrokenText", "6.1", "A text without '=' is a format error that ends the login."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([], to: nil)
            _ = try wire.expectLoginAnswer()
            try wire.sendLogin(wire.loginRequest(1, to: 3), raw: Array("NoEqualsSign\0".utf8))
            try wire.expectRefusal([], "the broken text to be refused")
        },
    ]

    private static let identity = [
        ConformanceTest(
            "Login.Names.NoInitiatorName", "11.13.5", "A login without InitiatorName is refused with status 0207.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            let identity = wire.plan.identity(bench.target).filter { $0.key != "InitiatorName" }
            try wire.sendLogin(1, to: 3, identity + wire.plan.offers)
            try wire.expectRefusal([.missingParameter], "status 0207")
        },
        ConformanceTest(
            "Login.Names.NoTargetName", "11.13.5",
            "A login to a normal session without TargetName is refused with status 0207.", .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            wire.plan.targetName = ""
            try wire.sendLogin(1, to: 3, wire.plan.identity(bench.target) + wire.plan.offers)
            try wire.expectRefusal([.missingParameter], "status 0207")
        },
        ConformanceTest(
            "Login.Names.UnknownTarget", "11.13.5",
            "A login to a target that is not there is refused with status 0203."
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            wire.plan.targetName = "iqn.2026-11.dev.carousel:there.is.no.such.target"
            try wire.sendLogin(1, to: 3, wire.plan.identity(bench.target) + wire.plan.offers)
            try wire.expectRefusal([.targetNotFound, .authorizationFailure, .authenticationFailure], "status 0203")
        },
        ConformanceTest(
            "Login.Names.DefaultSessionType", "13.21", "Without SessionType a login is to a normal session.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            let identity = wire.plan.identity(bench.target).filter { $0.key != "SessionType" }
            try wire.sendLogin(1, to: 3, identity + wire.plan.offers)
            let answer = try wire.expectLoginAnswer()
            wire.negotiated = Negotiated(offers: wire.plan.offers, answers: answer.text)
            wire.enterFullFeaturePhase(answer.header)
            _ = try wire.run(.testUnitReady)
        },
        ConformanceTest(
            "Login.Names.UnknownSessionType", "13.21", "A SessionType that is neither Normal nor Discovery is refused.",
            .openAccess
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            wire.plan.sessionType = "Tape"
            try wire.sendLogin(1, to: 3, wire.plan.identity(bench.target) + wire.plan.offers)
            try wire.expectRefusal([], "the unknown SessionType to be refused")
        },
        ConformanceTest(
            "Login.Names.TargetPortalGroupTag", "13.9",
            "The first Login Response of a normal session names the portal group by TargetPortalGroupTag."
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            let method = bench.target.credential == nil ? "None" : "CHAP"
            try wire.sendLogin(
                0, to: nil, wire.plan.identity(bench.target) + [TextParameter("AuthMethod", method)])
            let answer = try wire.expectLoginAnswer()
            let tag = answer.value("TargetPortalGroupTag").flatMap { TextCodec.number($0) }
            try require(
                tag.map { $0 <= 0xFFFF } == true, "TargetPortalGroupTag of 0 to 65535",
                got: Wire.describe(answer.header, answer.data))
        },
    ]
}
