internal import Authentication
internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// A Login Response that refuses where a login was to succeed.
struct LoginRefusal: Error {
    let status: LoginStatus
    let expected: String

    /// The failure of a test that needs the login.
    var end: TestEnd { .failed(expected: expected, got: "a login that is refused with \(Wire.hex(status)) \(status)") }
}

/// The Login Phase, step by step or as a whole.
extension Wire {
    /// The Login Requests of one login.
    private static let requestLimit = 16

    /// A Login Response with its text.
    struct LoginAnswer {
        var header: LoginResponsePDU
        var data: [UInt8]
        var text: [TextParameter]

        func value(_ key: String) -> String? { text.first { $0.key == key }?.value }
    }

    // MARK: Single requests

    /// A Login Request of the plan: from stage `current` to `next`, or staying when `next` is nil.
    func loginRequest(_ current: UInt8, to next: UInt8?) -> LoginRequestPDU {
        var request = LoginRequestPDU()
        request.currentStageCode = current
        request.isTransit = next != nil
        request.nextStageCode = next ?? 0
        request.initiatorSessionID = plan.initiatorSessionID
        request.targetSessionHandle = plan.targetSessionHandle
        request.initiatorTaskTag = 0x77
        request.connectionID = plan.connectionID
        request.cmdSN = plan.firstCmdSN
        request.expStatSN = expStatSN
        return request
    }

    /// Sends a Login Request with `text`, after `change`.
    func sendLogin(
        _ current: UInt8, to next: UInt8?, _ text: [TextParameter], change: (inout LoginRequestPDU) -> Void = { _ in }
    ) throws {
        try sendLogin(loginRequest(current, to: next), raw: TextCodec.format(text), change: change)
    }

    /// Sends a Login Request with these bytes as data, after `change`.
    func sendLogin(
        _ request: LoginRequestPDU, raw: [UInt8], change: (inout LoginRequestPDU) -> Void = { _ in }
    ) throws {
        var request = request
        request.dataSegmentLength = raw.count
        change(&request)
        try send(request, data: raw)
    }

    /// The next PDU, which must be a Login Response that does not refuse.
    func expectLoginAnswer(_ expected: @autoclosure () -> String = "a Login Response with success") throws
        -> LoginAnswer
    {
        let answer = try loginAnswer(expected())
        guard answer.header.status == .success else {
            throw LoginRefusal(status: answer.header.status, expected: expected())
        }
        return answer
    }

    /// The next PDU, which must be a Login Response.
    func loginAnswer(_ expected: @autoclosure () -> String) throws -> LoginAnswer {
        let (header, data) = try expect(LoginResponsePDU.self, expected())
        expStatSN = header.statSN.advanced(by: 1)
        guard let text = try? TextCodec.parse(data.rawSpan) else {
            if header.isContinued { return LoginAnswer(header: header, data: data, text: []) }
            throw TestEnd.failed(expected: "a text of key=value pairs", got: "\"\(Self.text(data))\"")
        }
        return LoginAnswer(header: header, data: data, text: text)
    }

    /// The login is refused with one of `statuses` (any of the initiator's errors when empty), and the connection ends.
    func expectRefusal(_ statuses: Set<LoginStatus> = [], _ why: @autoclosure () -> String) throws {
        guard let pdu = try nextOrClosed(why()) else {
            if statuses.isEmpty { return }
            throw TestEnd.failed(expected: why(), got: "the connection was closed without a Login Response")
        }
        guard let response: LoginResponsePDU = pdu.parsed() else {
            throw TestEnd.failed(expected: why(), got: Self.describe(pdu))
        }
        let isExpected = statuses.isEmpty ? response.status.statusClass == 2 : statuses.contains(response.status)
        try require(isExpected, why(), got: Self.describe(pdu))
        try expectClosedEventually("the connection to end after the refusal")
    }

    // MARK: Whole logins

    /// Logs in as `plan` says; in full feature phase then.
    func logIn(_ plan: LoginPlan) throws {
        _ = try tryLogIn(plan)
    }

    /// Logs in as `plan` says, and gives what was negotiated.
    @discardableResult
    func tryLogIn(_ plan: LoginPlan) throws -> Negotiated {
        switch try attemptLogIn(plan) {
        case .negotiated(let negotiated): return negotiated
        case .refused(let status): throw LoginRefusal(status: status, expected: "a login that succeeds")
        }
    }

    /// Begins the login of `plan` and goes through the security stage as far as the target's authentication needs it.
    /// The next request is in the operational stage; `completeLogIn` or `sendOperational` sends it.
    func openOperationalStage(_ plan: LoginPlan) throws {
        self.plan = plan
        negotiated = Negotiated()
        hasSentIdentity = false
        guard let credential = bench.target.credential else { return }
        // Discovery may be open although the target is not.
        if plan.sessionType == "Discovery" {
            hasSentIdentity = true
            try sendLogin(0, to: 1, plan.identity(bench.target) + [TextParameter("AuthMethod", "CHAP,None")])
            let answer = try expectLoginAnswer()
            negotiated.answers += answer.text
            if answer.value("AuthMethod") == "None" {
                if !answer.header.isTransit {
                    try sendLogin(0, to: 1, [])
                    _ = try expectLoginAnswer()
                }
                return
            }
        } else {
            try openSecurityStage(plan)
        }
        let challenge = try requestChallenge()
        let response = try challenge.response(credential.secret)
        try sendLogin(
            0, to: 1,
            [TextParameter("CHAP_N", credential.name), TextParameter("CHAP_R", TextCodec.formatBinary(response))])
        let answer = try expectLoginAnswer("the CHAP response to be accepted")
        negotiated.answers += answer.text
        try require(
            answer.header.isTransit && answer.header.nextStageCode == 1, "transit to the operational stage",
            got: Self.describe(answer.header, answer.data))
    }

    /// Sends `offers` in the operational stage, with the identity when it is the first request of the login.
    func sendOperational(
        _ offers: [TextParameter], to next: UInt8? = 3, change: (inout LoginRequestPDU) -> Void = { _ in }
    ) throws {
        let identity = hasSentIdentity ? [] : plan.identity(bench.target)
        hasSentIdentity = true
        try sendLogin(1, to: next, identity + offers, change: change)
    }

    /// Negotiates `offers` and enters full feature phase.
    func completeLogIn(_ offers: [TextParameter]) throws {
        try sendOperational(offers)
        negotiated.offers += offers
        var answer = try expectLoginAnswer("a login that succeeds")
        for _ in 0..<Self.requestLimit {
            negotiated.answers += answer.text
            if answer.header.isTransit { break }
            try sendLogin(1, to: answer.header.isContinued ? nil : 3, replies(to: answer.text))
            answer = try expectLoginAnswer("a login that succeeds")
        }
        try require(
            answer.header.isTransit && answer.header.nextStageCode == 3, "transit to full feature phase",
            got: Self.describe(answer.header, answer.data))
        enterFullFeaturePhase(answer.header)
    }

    /// How a login with offers that the target may refuse ended.
    enum LoginOutcome {
        case negotiated(Negotiated)
        case refused(LoginStatus)

        var summary: String {
            switch self {
            case .negotiated: "a login that succeeds"
            case .refused(let status): "a login that is refused with \(status)"
            }
        }
    }

    /// Logs in as `plan` says, which the target may refuse.
    func attemptLogIn(_ plan: LoginPlan) throws -> LoginOutcome {
        do {
            try openOperationalStage(plan)
            try completeLogIn(plan.offers)
            return .negotiated(negotiated)
        } catch let refusal as LoginRefusal {
            return .refused(refusal.status)
        }
    }

    /// Answers to keys that the target offers by itself: its own value is always admissible, `None` for lists.
    private func replies(to text: [TextParameter]) -> [TextParameter] {
        text.filter { parameter in
            LoginPlan.defaults[parameter.key] != nil && !LoginPlan.declared.contains(parameter.key)
                && !negotiated.offers.contains { $0.key == parameter.key }
                && !Negotiated.constants.contains(parameter.value)
        }.map { parameter in
            parameter.value.contains(",") || parameter.key.hasSuffix("Digest")
                ? TextParameter(parameter.key, "None") : parameter
        }
    }

    /// Puts the negotiated parameters in force.
    func enterFullFeaturePhase(_ response: LoginResponsePDU) {
        isLoggedIn = true
        let isLeading = plan.targetSessionHandle == 0
        session.targetSessionHandle = response.targetSessionHandle
        if isLeading {
            session.nextCmdSN = plan.firstCmdSN
            session.expCmdSN = response.expCmdSN
            session.maxCmdSN = response.maxCmdSN
        } else if session.maxCmdSN.precedes(response.maxCmdSN) {
            session.maxCmdSN = response.maxCmdSN
        }
        let hasHeaderDigest = negotiated.value("HeaderDigest") == "CRC32C"
        let hasDataDigest = negotiated.value("DataDigest") == "CRC32C"
        connection.incoming = PDUFramer(
            maximumDataSegmentLength: negotiated.ownMaxRecvDataSegmentLength, hasHeaderDigest: hasHeaderDigest,
            hasDataDigest: hasDataDigest)
        connection.outgoing = connection.incoming
    }

    // MARK: CHAP

    /// A CHAP challenge of the target.
    struct Challenge {
        var algorithm: CHAPAlgorithm
        var identifier: UInt8
        var challenge: [UInt8]

        func response(_ secret: [UInt8]) throws -> [UInt8] {
            try CHAPProvider.standard.response(algorithm, identifier: identifier, secret: secret, challenge: challenge)
        }
    }

    /// Sends the first Login Request in the security stage, offering CHAP, and takes the answer.
    func openSecurityStage(_ plan: LoginPlan = LoginPlan(), methods: String = "CHAP") throws {
        self.plan = plan
        hasSentIdentity = true
        try sendLogin(0, to: nil, plan.identity(bench.target) + [TextParameter("AuthMethod", methods)])
        let answer = try expectLoginAnswer()
        negotiated.answers += answer.text
        try require(
            answer.value("AuthMethod") == "CHAP", "AuthMethod=CHAP",
            got: Self.describe(answer.header, answer.data))
    }

    /// Offers `algorithms` and takes the target's challenge.
    func requestChallenge(_ algorithms: String = "5,7,6,8") throws -> Challenge {
        try sendLogin(0, to: nil, [TextParameter("CHAP_A", algorithms)])
        let answer = try expectLoginAnswer("CHAP_A, CHAP_I and CHAP_C")
        return try challenge(in: answer, of: algorithms)
    }

    /// The challenge in `answer`, whose parts must be well-formed.
    func challenge(in answer: LoginAnswer, of algorithms: String) throws -> Challenge {
        let offered = algorithms.split(separator: ",").map(String.init)
        guard let chosen = answer.value("CHAP_A"), offered.contains(chosen),
            let algorithm = UInt8(chosen).flatMap(CHAPAlgorithm.init(rawValue:))
        else {
            throw TestEnd.failed(
                expected: "CHAP_A to be one of \(algorithms)", got: Self.describe(answer.header, answer.data))
        }
        guard let identifier = answer.value("CHAP_I").flatMap({ TextCodec.number($0) }).flatMap({ UInt8(exactly: $0) })
        else { throw TestEnd.failed(expected: "CHAP_I of 0 to 255", got: answer.value("CHAP_I") ?? "none") }
        guard let bytes = answer.value("CHAP_C").flatMap({ TextCodec.binary($0) }), !bytes.isEmpty else {
            throw TestEnd.failed(
                expected: "CHAP_C of 1 to 1024 bytes in hexadecimal or base64", got: answer.value("CHAP_C") ?? "none")
        }
        return Challenge(algorithm: algorithm, identifier: identifier, challenge: bytes)
    }
}
