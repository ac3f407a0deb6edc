import Bytes
import ISCSI
import Testing

/// The choice of an authentication method, and ways around it (RFC 7143 sections 6.3.2 and 12.1).
@Suite("Security stage at the target")
struct SecurityStageTests {
    private func machine(needsCHAP: Bool) -> LoginMachine<StubAuthority> {
        var authority = StubAuthority()
        if needsCHAP {
            let credential = CHAPCredential(name: "host", secret: Array("twelve bytes".utf8))
            authority.grant.authentication = .chap(initiators: [credential], target: nil, provider: toyProvider)
        }
        return LoginMachine(authority: authority, windowLimit: 32)
    }

    /// The first request of a login, with `AuthMethod` where `methods` is not nil.
    private func start(
        needsCHAP: Bool, _ methods: String?, stage: LoginStage = .securityNegotiation,
        to next: LoginStage? = .operationalNegotiation, other: [TextParameter] = []
    ) -> LoginStep {
        var (machine, script) = (machine(needsCHAP: needsCHAP), LoginScript())
        var parameters = [TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName)]
        if let methods { parameters.append(TextParameter("AuthMethod", methods)) }
        return script.send(&machine, stage: stage, to: next, text: TextCodec.format(parameters + other))
    }

    @Test(
        "Lists of methods where CHAP is needed, and where nothing is",
        arguments: [
            ("CHAP", "CHAP", nil), ("None", nil, "None"), ("CHAP,None", "CHAP", "None"), ("None,CHAP", "CHAP", "None"),
            ("KRB5,SRP,CHAP", "CHAP", nil), ("SPKM1,None", nil, "None"), ("KRB5,SRP", nil, nil), ("", nil, nil),
            (",", nil, nil), ("chap,none", nil, nil), ("Chap", nil, nil), ("CHAP ,None ", nil, nil),
            ("X-com.example.auth,None,CHAP", "CHAP", "None"), ("Reject", nil, nil),
        ] as [(String, String?, String?)])
    func methods(list: String, withCHAP: String?, without: String?) throws {
        for (needsCHAP, answer) in [(true, withCHAP), (false, without)] {
            let step = start(needsCHAP: needsCHAP, list)
            guard let answer else {
                #expect(step.refusal == .authenticationFailure)
                continue
            }
            #expect(try step.parameters()["AuthMethod"] == answer)
            #expect(step.reply?.header.isTransit == (answer == "None"))
        }
    }

    @Test("Going around authentication")
    func skipping() throws {
        for needsCHAP in [true, false] {
            let expected: LoginStatus? = needsCHAP ? .authenticationFailure : nil
            #expect(start(needsCHAP: needsCHAP, nil).refusal == expected)
            #expect(start(needsCHAP: needsCHAP, nil, to: .fullFeaturePhase).refusal == expected)
            #expect(
                start(needsCHAP: needsCHAP, nil, stage: .operationalNegotiation, to: .fullFeaturePhase).refusal
                    == expected)
            #expect(start(needsCHAP: needsCHAP, nil, stage: .operationalNegotiation, to: nil).refusal == expected)
            #expect(start(needsCHAP: needsCHAP, "None", to: .fullFeaturePhase).refusal == expected)
            // Without the T bit a method may still come.
            #expect(start(needsCHAP: needsCHAP, nil, to: nil).refusal == nil)
        }
        var (machine, script) = (self.machine(needsCHAP: true), LoginScript())
        let first = script.send(
            &machine, stage: .securityNegotiation, to: .operationalNegotiation,
            ["InitiatorName": initiatorName, "TargetName": targetName, "AuthMethod": "CHAP"])
        #expect(first.reply?.header.isTransit == false)
        let step = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
        #expect(step.refusal == .initiatorError, "the target did not leave the security stage")
    }

    @Test("The method comes alone, first and once")
    func order() throws {
        for needsCHAP in [true, false] {
            let list = TextParameter("CHAP_A", "5")
            #expect(start(needsCHAP: needsCHAP, nil, other: [list]).refusal == .authenticationFailure)
            #expect(start(needsCHAP: needsCHAP, "CHAP,None", other: [list]).refusal == .authenticationFailure)
            let again = TextParameter("AuthMethod", "CHAP,None")
            #expect(start(needsCHAP: needsCHAP, "CHAP,None", other: [again]).refusal == .initiatorError)
        }
        for (text, status) in [
            ("AuthMethod=None\0", LoginStatus.initiatorError), ("CHAP_A=5\0", .authenticationFailure),
            ("CHAP_N=host\0CHAP_R=0x00\0", .authenticationFailure),
        ] {
            var (machine, script) = (self.machine(needsCHAP: false), LoginScript())
            _ = script.send(
                &machine, stage: .securityNegotiation,
                ["InitiatorName": initiatorName, "TargetName": targetName, "AuthMethod": "None"])
            #expect(script.send(&machine, stage: .securityNegotiation, text: Array(text.utf8)).refusal == status)
        }
    }

    /// How far a login with CHAP has come.
    private enum Progress: CaseIterable {
        case start, chosen, challenged, done

        /// The status that a text with those keys, all of them right, ends the login with; nil when it goes on.
        func refusal(of keys: Set<String>) -> LoginStatus? {
            if self != .start, keys.contains("AuthMethod") { return .initiatorError }
            switch self {
            case .start:
                return keys.isEmpty || keys == ["AuthMethod"] ? nil : .authenticationFailure
            case .chosen:
                guard keys.contains("CHAP_A") else { return .missingParameter }
                return keys == ["CHAP_A"] ? nil : .authenticationFailure
            case .challenged:
                guard keys.isSuperset(of: ["CHAP_N", "CHAP_R"]), keys.contains("CHAP_I") == keys.contains("CHAP_C")
                else { return .missingParameter }
                return keys.contains("CHAP_A") ? .authenticationFailure : nil
            case .done:
                return keys.isEmpty ? nil : .authenticationFailure
            }
        }
    }

    @Test("Every set of keys at every point of CHAP")
    func everySet() throws {
        let secret = Array("twelve bytes".utf8)
        var authority = StubAuthority()
        authority.grant.authentication = .chap(
            initiators: [CHAPCredential(name: "host", secret: secret)],
            target: CHAPCredential(name: "target", secret: Array("other secret".utf8)), provider: toyProvider)
        let random = toyRandom(33)
        let response = toyResponse(
            .md5, identifier: random[0], secret: secret, challenge: Array(random.dropFirst()))
        let values = [
            TextParameter("AuthMethod", "CHAP"), TextParameter("CHAP_A", "5"), TextParameter("CHAP_I", "1"),
            TextParameter("CHAP_C", "0x0102"), TextParameter("CHAP_N", "host"),
            TextParameter("CHAP_R", TextCodec.formatBinary(response)),
        ]
        let identity = [TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName)]
        let way = [[values[0]], [values[1]], [values[4], values[5]]]
        for (position, progress) in Progress.allCases.enumerated() {
            for subset in 0..<(1 << values.count) {
                var (machine, script) = (LoginMachine(authority: authority, windowLimit: 32), LoginScript())
                for (number, step) in way.prefix(position).enumerated() {
                    let text = TextCodec.format(number == 0 ? identity + step : step)
                    #expect(script.send(&machine, stage: .securityNegotiation, text: text).refusal == nil)
                }
                let keys = values.indices.filter { subset >> $0 & 1 != 0 }.map { values[$0] }
                let text = TextCodec.format(position == 0 ? identity + keys : keys)
                let step = script.send(&machine, stage: .securityNegotiation, text: text)
                let expected = progress.refusal(of: Set(keys.map(\.key)))
                #expect(step.refusal == expected, "\(progress) with \(keys)")
            }
        }
    }

    @Test("Keys of methods that are unknown here are not understood; security keys have no place in later stages")
    func otherKeys() throws {
        let unknown = start(
            needsCHAP: false, "None", other: [TextParameter("SRP_U", "x"), TextParameter("CHAP_X", "1")])
        let answers = try unknown.parameters()
        #expect(answers["SRP_U"] == "NotUnderstood" && answers["CHAP_X"] == "NotUnderstood")
        for key in ["AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"] {
            let step = start(
                needsCHAP: false, nil, stage: .operationalNegotiation, to: .fullFeaturePhase,
                other: [TextParameter(key, "None")])
            #expect(step.refusal == .initiatorError)
        }
    }

    @Test("Where defaults will not do, the operational stage cannot be left out")
    func defaultsNotAcceptable() throws {
        var authority = StubAuthority()
        authority.grant.settings.headerDigests = [.crc32c]
        var (machine, script) = (LoginMachine(authority: authority, windowLimit: 1), LoginScript())
        let identity: KeyValuePairs<String, String> = ["InitiatorName": initiatorName, "TargetName": targetName]
        let held = script.send(&machine, stage: .securityNegotiation, to: .fullFeaturePhase, identity)
        #expect(held.refusal == nil && held.reply?.header.isTransit == false)
        let moved = script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation)
        #expect(moved.reply?.header.nextStage == .operationalNegotiation && moved.reply?.header.isTransit == true)
        let offered = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
        #expect(try offered.parameters()["HeaderDigest"] == "CRC32C" && offered.result == nil)
        let last = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase, ["HeaderDigest": "CRC32C"])
        #expect(last.result?.parameters.headerDigest == .crc32c)
    }
}
