import Bytes
import ISCSI
import Testing

/// CHAP at the target, and the initiator's machine against the target's (RFC 7143 section 12.1.3).
@Suite("Authentication")
struct CHAPTests {
    private let secret = Array("twelve bytes".utf8)
    private let identity: KeyValuePairs<String, String> = [
        "InitiatorName": initiatorName, "TargetName": targetName, "AuthMethod": "CHAP,None",
    ]

    private func authority(mutual: Bool = false) -> StubAuthority {
        var authority = StubAuthority()
        authority.grant.authentication = .chap(
            initiators: [CHAPCredential(name: "host", secret: secret)],
            target: mutual ? CHAPCredential(name: "target", secret: Array("other secret".utf8)) : nil,
            provider: toyProvider)
        return authority
    }

    private func machine(mutual: Bool = false) -> LoginMachine<StubAuthority> {
        LoginMachine(authority: authority(mutual: mutual), windowLimit: 32)
    }

    /// Goes as far as the challenge and gives identifier and challenge.
    private func challenge(
        _ machine: inout LoginMachine<StubAuthority>, _ script: inout LoginScript, algorithms: String = "5"
    ) throws -> (algorithm: CHAPAlgorithm, identifier: UInt8, challenge: [UInt8]) {
        let first = script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, identity)
        #expect(try first.parameters()["AuthMethod"] == "CHAP")
        #expect(first.reply?.header.isTransit == false)
        let second = script.send(&machine, stage: .securityNegotiation, ["CHAP_A": algorithms])
        let keys = try second.parameters()
        let algorithm = try #require(UInt8(keys["CHAP_A"] ?? "").flatMap(CHAPAlgorithm.init(rawValue:)))
        let identifier = try #require(UInt8(keys["CHAP_I"] ?? ""))
        let bytes = try #require(TextCodec.binary(keys["CHAP_C"] ?? ""))
        return (algorithm, identifier, bytes)
    }

    @Test("The right answer lets the initiator go on")
    func rightAnswer() throws {
        var (machine, script) = (self.machine(), LoginScript())
        let (algorithm, identifier, challenge) = try challenge(&machine, &script, algorithms: "6,5,7")
        #expect(algorithm == .md5, "the first of the initiator's list that the target can do")
        let response = toyProvider.response(algorithm, identifier: identifier, secret: secret, challenge: challenge)
        let step = script.send(
            &machine, stage: .securityNegotiation, to: .operationalNegotiation,
            ["CHAP_N": "host", "CHAP_R": TextCodec.formatBinary(response)])
        #expect(step.reply?.header.isTransit == true)
        let last = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
        #expect(last.result != nil)
    }

    @Test("The target proves itself when it is asked to")
    func mutual() throws {
        var (machine, script) = (self.machine(mutual: true), LoginScript())
        let (algorithm, identifier, challenge) = try challenge(&machine, &script)
        let response = toyProvider.response(algorithm, identifier: identifier, secret: secret, challenge: challenge)
        let counter: [UInt8] = [1, 2, 3, 4]
        let step = script.send(
            &machine, stage: .securityNegotiation, to: .operationalNegotiation,
            [
                "CHAP_N": "host", "CHAP_R": TextCodec.formatBinary(response), "CHAP_I": "0x22",
                "CHAP_C": TextCodec.formatBinary(counter),
            ])
        let expected = toyProvider.response(
            algorithm, identifier: 0x22, secret: Array("other secret".utf8), challenge: counter)
        #expect(try step.parameters() == ["CHAP_N": "target", "CHAP_R": TextCodec.formatBinary(expected)])
        #expect(step.reply?.header.isTransit == true)
    }

    @Test("A challenge that is sent back, and a wrong or missing proof")
    func wrongAnswers() throws {
        func refusal(
            mutual: Bool = false, _ pairs: (_ response: String, _ challenge: String) -> KeyValuePairs<String, String>
        ) throws -> LoginStatus? {
            var (machine, script) = (self.machine(mutual: mutual), LoginScript())
            let (algorithm, identifier, bytes) = try challenge(&machine, &script)
            let response = toyProvider.response(algorithm, identifier: identifier, secret: secret, challenge: bytes)
            return script.send(
                &machine, stage: .securityNegotiation, to: .operationalNegotiation,
                pairs(TextCodec.formatBinary(response), TextCodec.formatBinary(bytes))
            ).refusal
        }
        #expect(try refusal { response, _ in ["CHAP_N": "host", "CHAP_R": response] } == nil)
        #expect(try refusal { _, _ in ["CHAP_N": "host", "CHAP_R": "0x00"] } == .authenticationFailure)
        #expect(try refusal { response, _ in ["CHAP_N": "else", "CHAP_R": response] } == .authenticationFailure)
        #expect(try refusal { response, _ in ["CHAP_R": response] } == .missingParameter)
        #expect(try refusal { _, _ in ["CHAP_N": "host"] } == .missingParameter)
        #expect(try refusal { _, _ in [:] } == .missingParameter)
        #expect(try refusal { _, _ in ["CHAP_N": "host", "CHAP_R": "zz"] } == .authenticationFailure)
        #expect(
            try refusal(mutual: true) { response, challenge in
                ["CHAP_N": "host", "CHAP_R": response, "CHAP_I": "1", "CHAP_C": challenge]
            } == .authenticationFailure)
        #expect(
            try refusal(mutual: true) { response, _ in ["CHAP_N": "host", "CHAP_R": response, "CHAP_I": "1"] }
                == .missingParameter)
        #expect(
            try refusal { response, _ in ["CHAP_N": "host", "CHAP_R": response, "CHAP_I": "1", "CHAP_C": "0x01"] }
                == .authenticationFailure, "the target has nothing to prove itself with")
    }

    @Test("Going around authentication")
    func skipping() throws {
        func refusal(_ stage: LoginStage, _ next: LoginStage?, _ pairs: KeyValuePairs<String, String>) -> LoginStatus? {
            var (machine, script) = (self.machine(), LoginScript())
            return script.send(&machine, stage: stage, to: next, pairs).refusal
        }
        let plain: KeyValuePairs<String, String> = ["InitiatorName": initiatorName, "TargetName": targetName]
        #expect(refusal(.operationalNegotiation, .fullFeaturePhase, plain) == .authenticationFailure)
        #expect(refusal(.securityNegotiation, .fullFeaturePhase, plain) == .authenticationFailure)
        let none: KeyValuePairs<String, String> = [
            "InitiatorName": initiatorName, "TargetName": targetName, "AuthMethod": "None",
        ]
        #expect(refusal(.securityNegotiation, .fullFeaturePhase, none) == .authenticationFailure)
        let early: KeyValuePairs<String, String> = [
            "InitiatorName": initiatorName, "TargetName": targetName, "CHAP_A": "5",
        ]
        #expect(refusal(.securityNegotiation, nil, early) == .authenticationFailure)
        var (machine, script) = (self.machine(), LoginScript())
        _ = script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, identity)
        let step = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
        #expect(step.refusal == .initiatorError, "the target did not leave the security stage")
    }

    @Test("An initiator that insists on CHAP where there is none, and on unknown algorithms")
    func unsupported() throws {
        var (open, script) = (LoginMachine(authority: StubAuthority(), windowLimit: 1), LoginScript())
        let step = script.send(
            &open, stage: .securityNegotiation,
            ["InitiatorName": initiatorName, "TargetName": targetName, "AuthMethod": "CHAP"])
        #expect(step.refusal == .authenticationFailure)
        var (machine, second) = (self.machine(), LoginScript())
        _ = second.send(&machine, stage: .securityNegotiation, identity)
        #expect(
            second.send(&machine, stage: .securityNegotiation, ["CHAP_A": "8,99"]).refusal == .authenticationFailure)
    }
}

/// The initiator's machine talking to the target's.
@Suite("Login at both sides")
struct LoginConversationTests {
    /// Runs a login to its end and gives both outcomes.
    private func converse(
        _ configuration: InitiatorLoginConfiguration, _ authority: StubAuthority
    ) throws -> (initiator: Result<InitiatorLoginResult, InitiatorLoginFailure>, target: LoginResult?) {
        var initiator = LoginInitiatorMachine(configuration)
        var target = LoginMachine(authority: authority, windowLimit: 16)
        var submission = initiator.start()
        var result: LoginResult?
        while true {
            let step = target.receive(header: encoded(submission.header).rawSpan, data: submission.text.rawSpan)
            result = step.result
            let reply = try #require(step.reply)
            switch initiator.receive(reply.header, data: reply.text.rawSpan) {
            case .send(let next): submission = next
            case .finished(let outcome): return (.success(outcome), result)
            case .failed(let failure): return (.failure(failure), result)
            }
        }
    }

    private func configuration() -> InitiatorLoginConfiguration {
        var configuration = InitiatorLoginConfiguration(initiatorName: initiatorName, targetName: targetName)
        configuration.settings = .target
        return configuration
    }

    @Test("Both sides hold the same parameters")
    func agreement() throws {
        var configuration = configuration()
        configuration.settings.headerDigests = [.crc32c, .none]
        configuration.settings.preferred.maxRecvDataSegmentLength = 65_536
        let (initiator, target) = try converse(configuration, StubAuthority())
        let ours = try initiator.get().parameters
        let theirs = try #require(target).parameters
        #expect(ours.headerDigest == .crc32c && theirs.headerDigest == .crc32c)
        #expect(ours.maxSendDataSegmentLength == theirs.maxRecvDataSegmentLength)
        #expect(ours.maxRecvDataSegmentLength == 65_536 && theirs.maxSendDataSegmentLength == 65_536)
        #expect(ours.maxBurstLength == theirs.maxBurstLength && ours.firstBurstLength == theirs.firstBurstLength)
        #expect(ours.initialR2T == theirs.initialR2T && ours.maxOutstandingR2T == theirs.maxOutstandingR2T)
        #expect(try initiator.get().targetSessionHandle == 7)
        #expect(try initiator.get().targetPortalGroupTag == 1)
        #expect(try initiator.get().expStatSN == target?.statusSequence.next)
    }

    @Test("CHAP through both machines; the wrong secret fails")
    func chap() throws {
        var authority = StubAuthority()
        authority.grant.authentication = .chap(
            initiators: [CHAPCredential(name: "host", secret: [1, 2, 3])], target: nil, provider: toyProvider)
        var configuration = configuration()
        configuration.provider = toyProvider
        configuration.credential = CHAPCredential(name: "host", secret: [1, 2, 3])
        let right = try converse(configuration, authority)
        #expect(throws: Never.self) { try right.initiator.get() }
        #expect(right.target?.parameters.maxRecvDataSegmentLength == 262_144)
        configuration.credential = CHAPCredential(name: "host", secret: [3, 2, 1])
        let wrong = try converse(configuration, authority)
        #expect(throws: InitiatorLoginFailure.refused(.authenticationFailure)) { try wrong.initiator.get() }
    }

    @Test("Redirection reaches the caller")
    func redirection() throws {
        var authority = StubAuthority()
        authority.admission = .moved(address: "[2001:db8::1]:3260", permanently: false)
        let (initiator, _) = try converse(configuration(), authority)
        #expect(throws: InitiatorLoginFailure.moved(address: "[2001:db8::1]:3260", permanently: false)) {
            try initiator.get()
        }
    }

    @Test("A target's own offer is answered")
    func targetOffer() throws {
        var authority = StubAuthority()
        authority.grant.settings.dataDigests = [.crc32c]
        var configuration = configuration()
        configuration.settings.dataDigests = [.none, .crc32c]
        let (initiator, target) = try converse(configuration, authority)
        #expect(try initiator.get().parameters.dataDigest == .crc32c)
        #expect(target?.parameters.dataDigest == .crc32c)
    }
}
