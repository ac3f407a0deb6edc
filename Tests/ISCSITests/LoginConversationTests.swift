import Bytes
import ISCSI
import Testing

/// The initiator's machine talking to the target's, and to targets that do wrong.
@Suite("Login at both sides")
struct LoginConversationTests {
    private static let secret = Array("twelve bytes".utf8)
    private static let otherSecret = Array("other secret".utf8)

    private struct Outcome {
        let initiator: Result<InitiatorLoginResult, InitiatorLoginFailure>
        let target: LoginResult?
        let requestCount: Int

        var failure: InitiatorLoginFailure? {
            if case .failure(let failure) = initiator { failure } else { nil }
        }
    }

    /// Runs a login to its end. `tamper` may change each reply on its way, by its number.
    private func converse(
        _ configuration: InitiatorLoginConfiguration, _ authority: StubAuthority,
        tamper: (Int, inout LoginReply) -> Void = { _, _ in }
    ) throws -> Outcome {
        var initiator = LoginInitiatorMachine(configuration)
        var target = LoginMachine(authority: authority, windowLimit: 16)
        var submission = initiator.start()
        var result: LoginResult?
        var count = 0
        while true {
            #expect(submission.header.dataSegmentLength == submission.text.count)
            #expect(submission.text.count <= LoginLimits.dataSegmentLength)
            let step = target.receive(header: encoded(submission.header).rawSpan, data: submission.text.rawSpan)
            result = step.result ?? result
            var reply = try #require(step.reply)
            tamper(count, &reply)
            count += 1
            switch initiator.receive(reply.header, data: reply.text.rawSpan) {
            case .send(let next): submission = next
            case .finished(let outcome):
                return Outcome(initiator: .success(outcome), target: result, requestCount: count)
            case .failed(let failure): return Outcome(initiator: .failure(failure), target: result, requestCount: count)
            }
        }
    }

    private func configuration() -> InitiatorLoginConfiguration {
        var configuration = InitiatorLoginConfiguration(initiatorName: initiatorName, targetName: targetName)
        configuration.settings = .target
        return configuration
    }

    private func chapConfiguration(mutual: Bool) -> InitiatorLoginConfiguration {
        var configuration = configuration()
        configuration.provider = toyProvider
        configuration.credential = CHAPCredential(name: "host", secret: Self.secret)
        if mutual { configuration.targetCredential = CHAPCredential(name: "target", secret: Self.otherSecret) }
        return configuration
    }

    private func chapAuthority(
        target: CHAPCredential? = CHAPCredential(name: "target", secret: otherSecret)
    ) -> StubAuthority {
        var authority = StubAuthority()
        authority.grant.authentication = .chap(
            initiators: [CHAPCredential(name: "host", secret: Self.secret)], target: target, provider: targetProvider)
        return authority
    }

    /// Like the initiator's, with other random numbers: a challenge equal to its own would be a reflection.
    private var targetProvider: CHAPProvider {
        var provider = toyProvider
        provider.random = { count in toyRandom(count, startingAt: 99) }
        return provider
    }

    // MARK: Parameters

    @Test("Both sides hold the same parameters")
    func agreement() throws {
        var configuration = configuration()
        configuration.settings.headerDigests = [.crc32c, .none]
        configuration.settings.preferred.maxRecvDataSegmentLength = 65_536
        let outcome = try converse(configuration, StubAuthority())
        let ours = try outcome.initiator.get().parameters
        var theirs = try #require(outcome.target).parameters
        #expect(ours.headerDigest == .crc32c && ours.taskReporting == .fastAbort && ours.iSCSIProtocolLevel == 2)
        #expect(ours.maxRecvDataSegmentLength == 65_536 && theirs.maxSendDataSegmentLength == 65_536)
        swap(&theirs.maxRecvDataSegmentLength, &theirs.maxSendDataSegmentLength)
        #expect(ours == theirs, "the rest is the same")
        #expect(try outcome.initiator.get().targetSessionHandle == 7)
        #expect(try outcome.initiator.get().targetPortalGroupTag == 1)
        #expect(try outcome.initiator.get().expStatSN == outcome.target?.statusSequence.next)
        #expect(outcome.requestCount == 1)
    }

    @Test("AuthMethod=None in a stage of its own")
    func securityStage() throws {
        var configuration = configuration()
        configuration.startsWithSecurityStage = true
        let outcome = try converse(configuration, StubAuthority())
        #expect(outcome.requestCount == 2 && outcome.target?.authenticatedName == nil)
        #expect(try outcome.initiator.get().targetParameters.contains(TextParameter("AuthMethod", "None")))
    }

    @Test("A discovery session")
    func discovery() throws {
        var configuration = InitiatorLoginConfiguration(initiatorName: initiatorName, sessionType: .discovery)
        configuration.settings.preferred.errorRecoveryLevel = 2
        var authority = StubAuthority()
        authority.grant.settings.preferred.errorRecoveryLevel = 2
        let outcome = try converse(configuration, authority)
        #expect(try outcome.initiator.get().parameters.errorRecoveryLevel == 0)
        #expect(try outcome.initiator.get().targetPortalGroupTag == nil)
    }

    @Test("A target's own offer is answered")
    func targetOffer() throws {
        var authority = StubAuthority()
        authority.grant.settings.dataDigests = [.crc32c]
        for startsWithSecurityStage in [false, true] {
            var configuration = configuration()
            configuration.startsWithSecurityStage = startsWithSecurityStage
            configuration.settings.dataDigests = [.none, .crc32c]
            let outcome = try converse(configuration, authority)
            #expect(try outcome.initiator.get().parameters.dataDigest == .crc32c)
            #expect(outcome.target?.parameters.dataDigest == .crc32c)
        }
    }

    @Test("Texts longer than a data segment go out in parts, both ways")
    func longTexts() throws {
        var configuration = configuration()
        configuration.additionalParameters = (0..<60).map {
            TextParameter("X-dev.carousel.\($0)", String(repeating: "v", count: 200))
        }
        let outcome = try converse(configuration, StubAuthority())
        #expect(outcome.requestCount == 2)
        #expect(try outcome.initiator.get().targetParameters.filter { $0.value == "NotUnderstood" }.count == 60)
        configuration.additionalParameters = (0..<100).map {
            TextParameter("X-dev.carousel.\($0 + 100).\(String(repeating: "k", count: 43))", "")
        }
        let answered = try converse(configuration, StubAuthority())
        #expect(try answered.initiator.get().targetParameters.filter { $0.value == "NotUnderstood" }.count == 100)
    }

    @Test("A further connection has its own digests and lengths, and the session's other parameters")
    func joining() throws {
        var session = NegotiatedParameters()
        session.headerDigest = .crc32c
        session.maxSendDataSegmentLength = 65_536
        session.maxRecvDataSegmentLength = 65_536
        session.maxBurstLength = 4096
        session.firstBurstLength = 1024
        session.errorRecoveryLevel = 2
        session.maxConnections = 4
        session.taskReporting = .responseFence
        var authority = StubAuthority()
        authority.grant.joinedWindow = CommandWindow(first: SequenceNumber(500), limit: 8)
        authority.grant.joinedParameters = session
        authority.admission = .granted(authority.grant)
        authority.session = .established(targetSessionHandle: 9)
        var configuration = configuration()
        configuration.targetSessionHandle = 9
        configuration.connectionID = 2
        configuration.sessionParameters = session
        configuration.settings.headerDigests = [.none]
        let outcome = try converse(configuration, authority)
        let result = try outcome.initiator.get()
        var expected = session
        expected.headerDigest = .none
        expected.maxSendDataSegmentLength = 262_144
        expected.maxRecvDataSegmentLength = 262_144
        #expect(result.parameters == expected && outcome.target?.parameters == expected)
        #expect(result.targetSessionHandle == 9 && result.maxCmdSN == SequenceNumber(507))
        #expect(outcome.target?.identity.connectionID == 2)
        // Keys of the session are refused, and nothing comes of them.
        configuration.additionalParameters = [
            TextParameter("MaxBurstLength", "512"), TextParameter("ErrorRecoveryLevel", "0"),
            TextParameter("TaskReporting", "RFC3720"), TextParameter("MaxConnections", "1"),
        ]
        let refused = try converse(configuration, authority)
        #expect(refused.target?.parameters == expected)
        let answers = try refused.initiator.get().targetParameters.filter { $0.value == "Reject" }.map(\.key)
        #expect(answers == ["MaxBurstLength", "ErrorRecoveryLevel", "TaskReporting", "MaxConnections"])
    }

    @Test("Redirection reaches the caller")
    func redirection() throws {
        for permanently in [false, true] {
            var authority = StubAuthority()
            authority.admission = .moved(address: "[2001:db8::1]:3260", permanently: permanently)
            #expect(
                try converse(configuration(), authority).failure
                    == .moved(address: "[2001:db8::1]:3260", permanently: permanently))
        }
    }

    // MARK: CHAP

    @Test("CHAP through both machines, one way and both ways", arguments: [false, true])
    func chap(mutual: Bool) throws {
        let outcome = try converse(chapConfiguration(mutual: mutual), chapAuthority())
        #expect(outcome.failure == nil && outcome.target?.authenticatedName == "host")
        #expect(outcome.requestCount == 4)
        #expect(try outcome.initiator.get().parameters.maxRecvDataSegmentLength == 262_144)
    }

    @Test("Algorithms are offered in the provider's order")
    func algorithms() throws {
        for (offered, chosen) in [([CHAPAlgorithm.md5], "5"), ([.sha1, .sha256, .md5], "7"), ([.md5, .sha256], "5")] {
            var configuration = chapConfiguration(mutual: true)
            configuration.provider?.algorithms = offered
            let outcome = try converse(configuration, chapAuthority())
            #expect(try outcome.initiator.get().targetParameters.contains(TextParameter("CHAP_A", chosen)))
        }
        var configuration = chapConfiguration(mutual: true)
        configuration.provider?.algorithms = [.sha1]
        #expect(try converse(configuration, chapAuthority()).failure == .refused(.authenticationFailure))
    }

    @Test("The wrong secret or name fails")
    func wrongSecret() throws {
        var (configuration, authority) = (chapConfiguration(mutual: false), chapAuthority())
        configuration.credential = CHAPCredential(name: "host", secret: Self.otherSecret.reversed())
        #expect(try converse(configuration, authority).failure == .refused(.authenticationFailure))
        configuration.credential = CHAPCredential(name: "hosts", secret: Self.secret)
        #expect(try converse(configuration, authority).failure == .refused(.authenticationFailure))
        authority.grant.authentication = .none
        #expect(
            try converse(configuration, authority).failure == .refused(.authenticationFailure), "CHAP is not offered")
        configuration.credential = nil
        #expect(try converse(configuration, authority).failure == nil)
    }

    @Test("A target that cannot prove itself")
    func wrongTarget() throws {
        for target in [
            nil, CHAPCredential(name: "target", secret: Array("wrong secret".utf8)),
            CHAPCredential(name: "other", secret: Self.otherSecret),
        ] {
            let failure = try converse(chapConfiguration(mutual: true), chapAuthority(target: target)).failure
            #expect(failure == (target == nil ? .refused(.authenticationFailure) : .authentication))
        }
        let (configuration, authority) = (chapConfiguration(mutual: true), chapAuthority())
        // The target goes on as if nothing had been asked of it, or answers with something else.
        for text in [
            [], [TextParameter("CHAP_N", "target")], [TextParameter("CHAP_R", "0x00")],
            [TextParameter("CHAP_N", "target"), TextParameter("CHAP_R", "zz")],
            [TextParameter("CHAP_N", "target"), TextParameter("CHAP_R", "0x0011223344556677")],
        ] {
            let outcome = try converse(configuration, authority) { number, reply in
                if number == 2 { reply.text = TextCodec.format(text) }
            }
            #expect([.authentication, .protocolError].contains(outcome.failure), "\(text)")
            #expect(outcome.target == nil)
        }
        // Our own proof sent back proves nothing.
        let challenge = toyRandom(33)
        let echo = toyResponse(
            .sha256, identifier: challenge[0], secret: Self.secret, challenge: Array(challenge[1...]))
        let reflected = try converse(configuration, authority) { number, reply in
            if number == 2 {
                reply.text = TextCodec.format([
                    TextParameter("CHAP_N", "target"), TextParameter("CHAP_R", TextCodec.formatBinary(echo)),
                ])
            }
        }
        #expect(reflected.failure == .authentication)
    }

    @Test("A target is asked for its proof only by an initiator that proves itself; without, the login fails")
    func proofWithoutCredential() throws {
        for startsWithSecurityStage in [false, true] {
            var configuration = chapConfiguration(mutual: true)
            configuration.credential = nil
            configuration.startsWithSecurityStage = startsWithSecurityStage
            #expect(try converse(configuration, StubAuthority()).failure == .authentication)
        }
    }

    @Test("A target that does without the authentication that the initiator wants")
    func noAuthentication() throws {
        let (configuration, authority) = (chapConfiguration(mutual: false), chapAuthority())
        for method in ["None", "Reject", "KRB5"] {
            let outcome = try converse(configuration, authority) { number, reply in
                if number == 0 { reply.text = TextCodec.format([TextParameter("AuthMethod", method)]) }
            }
            #expect(outcome.failure == .authentication)
        }
        let skipped = try converse(configuration, authority) { number, reply in
            if number == 0 { (reply.header.isTransit, reply.header.nextStageCode, reply.text) = (true, 1, []) }
        }
        #expect(skipped.failure == .protocolError, "the initiator did not ask to leave the stage")
    }

    @Test("Challenges that are none")
    func wrongChallenges() throws {
        let (configuration, authority) = (chapConfiguration(mutual: false), chapAuthority())
        let good = ["CHAP_A": "7", "CHAP_I": "1", "CHAP_C": "0x0102"]
        for (key, value) in [
            ("CHAP_A", "99"), ("CHAP_A", "6"), ("CHAP_A", ""), ("CHAP_I", "256"), ("CHAP_I", ""), ("CHAP_C", "0x"),
            ("CHAP_C", "12"), ("CHAP_C", ""), ("CHAP_N", "target"), ("AuthMethod", "CHAP"),
        ] {
            var keys = good
            keys[key] = value
            let text = TextCodec.format(keys.sorted { $0.key < $1.key }.map { TextParameter($0.key, $0.value) })
            let outcome = try converse(configuration, authority) { number, reply in
                if number == 1 { reply.text = text }
            }
            #expect([.authentication, .protocolError].contains(outcome.failure), "\(key)=\(value)")
        }
        for missing in good.keys {
            let rest = good.filter { $0.key != missing }.map { TextParameter($0.key, $0.value) }
            let outcome = try converse(configuration, authority) { number, reply in
                if number == 1 { reply.text = TextCodec.format(rest) }
            }
            #expect(outcome.failure == .protocolError)
        }
    }

    // MARK: Targets that do wrong

    @Test("Responses that no target may send")
    func wrongResponses() throws {
        let changes: [(String, (inout LoginReply) -> Void)] = [
            ("another tag", { $0.header.initiatorTaskTag += 1 }),
            ("another ISID", { $0.header.initiatorSessionID = InitiatorSessionID(rawValue: 9) }),
            ("T and C", { $0.header.isContinued = true }),
            ("another stage", { $0.header.currentStageCode = 0 }),
            ("a stage that was not asked for", { $0.header.nextStageCode = 1 }),
            ("no TSIH", { $0.header.targetSessionHandle = 0 }),
            ("a broken text", { $0.text = Array("A".utf8) }),
            ("a bad portal group tag", { $0.text = Array("TargetPortalGroupTag=65536\0".utf8) }),
            ("a question with the last word", { $0.text = Array("X-a=1\0".utf8) }),
            ("no answers", { $0.text = [] }),
        ]
        for (what, change) in changes {
            let outcome = try converse(configuration(), StubAuthority()) { _, reply in change(&reply) }
            #expect(outcome.failure == .protocolError, "\(what)")
        }
        let answer = try converse(configuration(), StubAuthority()) { _, reply in
            reply.text = Array("MaxBurstLength=16777215\0".utf8)
        }
        #expect(answer.failure == .negotiation(.invalidAnswer("MaxBurstLength")))
        var configuration = configuration()
        configuration.startsWithSecurityStage = true
        let early = try converse(configuration, StubAuthority()) { number, reply in
            if number == 0 { reply.text += Array("MaxBurstLength=512\0".utf8) }
        }
        #expect(early.failure == .negotiation(.notASecurityKey("MaxBurstLength")))
    }

    @Test("A target that never comes to an end")
    func endless() throws {
        let outcome = try converse(configuration(), StubAuthority()) { _, reply in
            (reply.header.isTransit, reply.header.isContinued, reply.text) = (false, true, [])
        }
        #expect(outcome.failure == .protocolError || outcome.failure == .refused(.initiatorError))
        #expect(outcome.requestCount <= LoginLimits.requestCount + 1)
    }
}
