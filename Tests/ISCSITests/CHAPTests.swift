import Bytes
import ISCSI
import Platform
import Testing

/// CHAP at the target (RFC 7143 sections 9.2.1 and 12.1.3).
@Suite("CHAP at the target")
struct CHAPTests {
    private static let secret = Array("twelve bytes".utf8)
    private static let otherSecret = Array("other secret".utf8)
    private let identity: KeyValuePairs<String, String> = [
        "InitiatorName": initiatorName, "TargetName": targetName, "AuthMethod": "CHAP,None",
    ]

    private func machine(
        initiators: [CHAPCredential] = [CHAPCredential(name: "host", secret: secret)],
        target: CHAPCredential? = nil, provider: CHAPProvider = toyProvider
    ) -> LoginMachine<StubAuthority> {
        var authority = StubAuthority()
        authority.grant.authentication = .chap(initiators: initiators, target: target, provider: provider)
        return LoginMachine(authority: authority, windowLimit: 32)
    }

    private let mutual = CHAPCredential(name: "target", secret: otherSecret)

    /// What the target asks.
    private struct Challenge {
        let algorithm: CHAPAlgorithm
        let identifier: UInt8
        let bytes: [UInt8]

        func response(_ secret: [UInt8]) -> [UInt8] {
            toyResponse(algorithm, identifier: identifier, secret: secret, challenge: bytes)
        }
    }

    /// Goes as far as the challenge.
    private func challenge(
        _ machine: inout LoginMachine<StubAuthority>, _ script: inout LoginScript, algorithms: String = "5"
    ) throws -> Challenge {
        let first = script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, identity)
        #expect(try first.parameters() == ["AuthMethod": "CHAP", "TargetPortalGroupTag": "1"])
        #expect(first.reply?.header.isTransit == false)
        let second = script.send(
            &machine, stage: .securityNegotiation, to: .operationalNegotiation, ["CHAP_A": algorithms])
        #expect(second.reply?.header.isTransit == false, "nothing is proved yet")
        let keys = try second.parameters()
        #expect(Set(keys.keys) == ["CHAP_A", "CHAP_I", "CHAP_C"])
        let algorithm = try #require(UInt8(keys["CHAP_A"] ?? "").flatMap(CHAPAlgorithm.init(rawValue:)))
        let identifier = try #require(UInt8(keys["CHAP_I"] ?? ""))
        return Challenge(
            algorithm: algorithm, identifier: identifier, bytes: try #require(TextCodec.binary(keys["CHAP_C"] ?? "")))
    }

    /// Answers a challenge with what `pairs` makes of it.
    private func answer(
        target: CHAPCredential? = nil, initiators: [CHAPCredential]? = nil,
        _ pairs: (Challenge) -> KeyValuePairs<String, String>
    ) throws -> LoginStep {
        var machine = initiators.map { self.machine(initiators: $0, target: target) } ?? self.machine(target: target)
        var script = LoginScript()
        let challenge = try challenge(&machine, &script)
        return script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, pairs(challenge))
    }

    private func hex(_ bytes: [UInt8]) -> String { TextCodec.formatBinary(bytes) }

    // MARK: Algorithms

    @Test(
        "The first of the initiator's list that is allowed; what is unknown is passed over",
        arguments: [
            ("5", CHAPAlgorithm.md5), ("7,5", .sha256), ("5,7", .md5), ("6,8,5,7", .md5), ("99,255,256,7", .sha256),
            ("0,MD5,,0x7,5", .sha256), ("5,5", .md5),
        ])
    func algorithms(list: String, chosen: CHAPAlgorithm) throws {
        var (machine, script) = (self.machine(), LoginScript())
        #expect(try challenge(&machine, &script, algorithms: list).algorithm == chosen)
    }

    @Test("A list with nothing that is allowed", arguments: ["6", "8,6", "99", "SHA256", "", ",", "55", "-5", "5 "])
    func noAlgorithm(list: String) {
        var (machine, script) = (self.machine(), LoginScript())
        _ = script.send(&machine, stage: .securityNegotiation, identity)
        let step = script.send(&machine, stage: .securityNegotiation, ["CHAP_A": list])
        #expect(step.refusal == .authenticationFailure)
    }

    @Test("Keys in place of the list of algorithms")
    func beforeChallenge() {
        func refusal(_ pairs: KeyValuePairs<String, String>) -> LoginStatus? {
            var (machine, script) = (self.machine(), LoginScript())
            _ = script.send(&machine, stage: .securityNegotiation, identity)
            return script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, pairs).refusal
        }
        #expect(refusal([:]) == .missingParameter)
        #expect(refusal(["CHAP_N": "host", "CHAP_R": "0x00"]) == .missingParameter)
        #expect(refusal(["CHAP_I": "1", "CHAP_C": "0x00"]) == .missingParameter)
        #expect(refusal(["CHAP_A": "5", "CHAP_N": "host"]) == .authenticationFailure)
        #expect(refusal(["CHAP_A": "5", "CHAP_I": "1"]) == .authenticationFailure)
        #expect(refusal(["CHAP_A": "5", "AuthMethod": "CHAP"]) == .initiatorError, "the method is negotiated once")
        #expect(refusal(["CHAP_A": "5", "CHAP_A": "5"]) == .initiatorError, "a key twice")
    }

    @Test("Each login has a challenge of its own")
    func fresh() throws {
        let count = Lock<UInt8>(0)
        let provider = CHAPProvider(
            algorithms: [.md5], digest: toyDigest,
            random: { length in
                let seed = count.withLock {
                    $0 += 1
                    return $0
                }
                return [UInt8](repeating: seed, count: length)
            }, areEqual: ==)
        var challenges: Set<[UInt8]> = []
        for _ in 0..<4 {
            var (machine, script) = (self.machine(provider: provider), LoginScript())
            challenges.insert(try challenge(&machine, &script).bytes)
        }
        #expect(challenges.count == 4 && challenges.allSatisfy { $0.count == 32 })
    }

    @Test("When the library gives no random numbers or no digest, the login fails as the target's error")
    func failingProvider() throws {
        var mute = toyProvider
        mute.random = { _ throws(CHAPProviderFailure) in throw CHAPProviderFailure() }
        var (machine, script) = (self.machine(provider: mute), LoginScript())
        _ = script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, identity)
        let refused = script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation, ["CHAP_A": "5"])
        #expect(refused.refusal == .targetError)

        var broken = toyProvider
        broken.digest = { _, _ throws(CHAPProviderFailure) in throw CHAPProviderFailure() }
        (machine, script) = (self.machine(provider: broken), LoginScript())
        let challenge = try challenge(&machine, &script)
        let step = script.send(
            &machine, stage: .securityNegotiation, to: .operationalNegotiation,
            ["CHAP_N": "host", "CHAP_R": hex(challenge.response(Self.secret))])
        #expect(step.refusal == .targetError)
    }

    // MARK: Proofs

    @Test("The right answer lets the initiator go on, in any encoding")
    func rightAnswer() throws {
        let base64 = "0b" + base64Text(of: [UInt8](0..<8))
        #expect(TextCodec.binary(base64) == [UInt8](0..<8))
        for encode in [hex, { "0X" + hex($0).dropFirst(2).uppercased() }, { "0b" + base64Text(of: $0) }] {
            var (machine, script) = (self.machine(), LoginScript())
            let challenge = try challenge(&machine, &script)
            let step = script.send(
                &machine, stage: .securityNegotiation, to: .operationalNegotiation,
                ["CHAP_N": "host", "CHAP_R": encode(challenge.response(Self.secret))])
            #expect(step.reply?.header.isTransit == true && step.reply?.text.isEmpty == true)
            let last = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
            #expect(last.result?.authenticatedName == "host")
        }
    }

    @Test("Names are texts, whatever they begin with", arguments: ["0xabc", "0babc", "0x", "Host", "ä", "a,b=c"])
    func names(name: String) throws {
        let credential = CHAPCredential(name: name, secret: Self.secret)
        let step = try answer(initiators: [credential]) { ["CHAP_N": name, "CHAP_R": hex($0.response(Self.secret))] }
        #expect(step.reply?.header.isTransit == true)
        let other = try answer(initiators: [credential]) {
            ["CHAP_N": name.uppercased() + "x", "CHAP_R": hex($0.response(Self.secret))]
        }
        #expect(other.refusal == .authenticationFailure)
    }

    @Test("Several initiators: each with its own secret only")
    func severalInitiators() throws {
        let names = ["a", "b", "host", "hosts"]
        let credentials = names.map { CHAPCredential(name: $0, secret: Array("secret of \($0)".utf8)) }
        for credential in credentials {
            for other in credentials {
                let step = try answer(initiators: credentials) {
                    ["CHAP_N": credential.name, "CHAP_R": hex($0.response(other.secret))]
                }
                #expect(step.refusal == (credential == other ? nil : .authenticationFailure))
            }
        }
    }

    @Test("An unknown name costs the same digests and gives the same status as a wrong secret")
    func noOracle() throws {
        func attempt(_ name: String, _ response: String) throws -> (digests: Int, status: LoginStatus?) {
            let digests = Lock(0)
            let provider = CHAPProvider(
                algorithms: [.md5],
                digest: { algorithm, message in
                    digests.withLock { $0 += 1 }
                    return toyDigest(algorithm, message)
                }, random: toyProvider.random, areEqual: ==)
            let initiators = ["a", "b", "c"].map { CHAPCredential(name: $0, secret: Array("secret of \($0)".utf8)) }
            var (machine, script) = (self.machine(initiators: initiators, provider: provider), LoginScript())
            _ = try challenge(&machine, &script)
            let step = script.send(
                &machine, stage: .securityNegotiation, to: .operationalNegotiation,
                ["CHAP_N": name, "CHAP_R": response])
            return (digests.withLock { $0 }, step.refusal)
        }
        let wrong = hex([UInt8](repeating: 7, count: 8))
        let reference = try attempt("a", wrong)
        #expect(reference.digests == 3 && reference.status == .authenticationFailure)
        for (name, response) in [("c", wrong), ("unknown", wrong), ("", wrong), ("b", "0x00")] {
            let result = try attempt(name, response)
            #expect(result.digests == reference.digests && result.status == reference.status, "\(name)")
        }
    }

    @Test("Wrong, missing and superfluous keys in place of the proof")
    func wrongAnswers() throws {
        func refusal(_ pairs: (_ response: String) -> KeyValuePairs<String, String>) throws -> LoginStatus? {
            try answer(target: mutual) { pairs(hex($0.response(Self.secret))) }.refusal
        }
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0] } == nil)
        // Missing.
        #expect(try refusal { _ in [:] } == .missingParameter)
        #expect(try refusal { ["CHAP_R": $0] } == .missingParameter)
        #expect(try refusal { _ in ["CHAP_N": "host"] } == .missingParameter)
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0, "CHAP_I": "1"] } == .missingParameter)
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0, "CHAP_C": "0x01"] } == .missingParameter)
        #expect(try refusal { _ in ["CHAP_A": "5"] } == .missingParameter, "the list again")
        // Superfluous.
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0, "CHAP_A": "5"] } == .authenticationFailure)
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0, "AuthMethod": "CHAP"] } == .initiatorError)
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0, "CHAP_R": $0] } == .initiatorError)
        // Wrong.
        #expect(try refusal { ["CHAP_N": "else", "CHAP_R": $0] } == .authenticationFailure)
        #expect(try refusal { ["CHAP_N": "", "CHAP_R": $0] } == .authenticationFailure)
        let long = "0x" + String(repeating: "0", count: 2 * 1024)
        let longBase64 = "0b" + String(repeating: "AAAA", count: 342)
        for bad in ["", "0x", "zz", "00", "0xzz", "0x00", "0b", "0bA", "0b=AAA", "Reject", long, longBase64] {
            #expect(
                try refusal { _ in ["CHAP_N": "host", "CHAP_R": bad] } == .authenticationFailure, "\(bad.prefix(9))")
        }
        #expect(try refusal { ["CHAP_N": "host", "CHAP_R": $0 + "00"] } == .authenticationFailure)
        #expect(try refusal { _ in ["CHAP_N": "host", "CHAP_R": long + "0"] } == .initiatorError, "beyond any value")
    }

    @Test("An initiator that proves itself twice")
    func twice() throws {
        var (machine, script) = (self.machine(), LoginScript())
        let challenge = try challenge(&machine, &script)
        let proof: KeyValuePairs<String, String> = ["CHAP_N": "host", "CHAP_R": hex(challenge.response(Self.secret))]
        let first = script.send(&machine, stage: .securityNegotiation, proof)
        #expect(first.refusal == nil && first.reply?.header.isTransit == false)
        var again = machine
        var otherScript = script
        let idle = otherScript.send(&again, stage: .securityNegotiation, to: .operationalNegotiation)
        #expect(idle.reply?.header.isTransit == true, "the stage may be left later")
        #expect(script.send(&machine, stage: .securityNegotiation, proof).refusal == .authenticationFailure)
    }

    // MARK: Mutual CHAP

    @Test("The target proves itself when it is asked to")
    func mutualCHAP() throws {
        let counter: [UInt8] = [1, 2, 3, 4]
        for (text, identifier) in [
            ("34", UInt8(34)), ("0x22", 34), ("0X22", 34), ("0bIg==", 34), ("0", 0), ("255", 255),
        ] {
            var algorithm = CHAPAlgorithm.md5
            let step = try answer(target: mutual) { challenge in
                algorithm = challenge.algorithm
                return [
                    "CHAP_N": "host", "CHAP_R": hex(challenge.response(Self.secret)), "CHAP_I": text,
                    "CHAP_C": hex(counter),
                ]
            }
            let expected = toyResponse(
                algorithm, identifier: identifier, secret: Self.otherSecret, challenge: counter)
            #expect(try step.parameters() == ["CHAP_N": "target", "CHAP_R": hex(expected)])
            #expect(step.reply?.header.isTransit == true)
        }
    }

    @Test("Challenges to the target that are refused")
    func wrongChallenges() throws {
        func refusal(
            target: CHAPCredential?, _ identifier: String, _ challenge: (_ own: [UInt8]) -> String
        ) throws -> LoginStatus? {
            try answer(target: target) {
                [
                    "CHAP_N": "host", "CHAP_R": hex($0.response(Self.secret)), "CHAP_I": identifier,
                    "CHAP_C": challenge($0.bytes),
                ]
            }.refusal
        }
        #expect(try refusal(target: mutual, "1") { _ in "0x01" } == nil, "RFC 1994 asks for a byte at least")
        #expect(try refusal(target: nil, "1") { _ in "0x0102" } == .authenticationFailure, "nothing to prove with")
        #expect(try refusal(target: mutual, "1") { hex($0) } == .authenticationFailure, "reflected")
        #expect(try refusal(target: mutual, "1") { "0b" + base64Text(of: $0) } == .authenticationFailure)
        for identifier in ["", "256", "-1", "x", "0x100", "0bAQI="] {
            #expect(try refusal(target: mutual, identifier) { _ in "0x0102" } == .authenticationFailure)
        }
        for challenge in ["", "0x", "0b", "12", "0b" + String(repeating: "AAAA", count: 342)] {
            #expect(try refusal(target: mutual, "1") { _ in challenge } == .authenticationFailure)
        }
    }

    @Test("A secret that serves both directions proves nothing")
    func sharedSecret() throws {
        let shared = CHAPCredential(name: "target", secret: Self.secret)
        let proof = try answer(target: shared) { ["CHAP_N": "host", "CHAP_R": hex($0.response(Self.secret))] }
        #expect(proof.refusal == .authenticationFailure)
        let own = try answer(target: mutual) { ["CHAP_N": "target", "CHAP_R": hex($0.response(Self.otherSecret))] }
        #expect(own.refusal == .authenticationFailure, "the target's own name and secret")
    }

    // MARK: Configuration

    @Test("Credentials are checked before they come into force")
    func configuration() {
        func failure(_ initiators: [CHAPCredential], _ target: CHAPCredential? = nil) -> CHAPConfigurationError? {
            do throws(CHAPConfigurationError) {
                try AuthenticationPolicy.validate(initiators: initiators, target: target)
                return nil
            } catch {
                return error
            }
        }
        func credential(_ name: String, _ length: Int, _ byte: UInt8 = 1) -> CHAPCredential {
            CHAPCredential(name: name, secret: [UInt8](repeating: byte, count: length))
        }
        #expect(failure([credential("a", 12)]) == nil)
        #expect(failure([credential("a", 255), credential("b", 12)], credential("a", 12, 2)) == nil)
        #expect(failure([]) == .noInitiator)
        #expect(failure((0...256).map { credential("\($0)", 12) }) == .tooManyInitiators)
        #expect(failure([credential("", 12)]) == .nameLength(""))
        let long = String(repeating: "x", count: 256)
        #expect(failure([credential(long, 12)]) == .nameLength(long))
        #expect(failure([credential("a\n", 12)]) == .nameCharacters("a\n"))
        #expect(failure([credential("a", 12), credential("a", 13)]) == .repeatedName("a"))
        #expect(failure([credential("a", 11)]) == .shortSecret("a"))
        #expect(failure([credential("a", 256)]) == .longSecret("a"))
        #expect(failure([credential("a", 12)], credential("t", 11)) == .shortSecret("t"))
        #expect(failure([credential("a", 12), credential("b", 12, 2)], credential("t", 12, 2)) == .sharedSecret("b"))
        let errors: [CHAPConfigurationError] = [
            .noInitiator, .tooManyInitiators, .nameLength("n"), .nameCharacters("n"), .repeatedName("n"),
            .shortSecret("n"), .longSecret("n"), .sharedSecret("n"),
        ]
        #expect(errors.allSatisfy { $0.description.hasPrefix("CHAP ") || $0.description.hasPrefix("The CHAP ") })
    }
}

/// The base64 form of `bytes`, without its prefix.
func base64Text(of bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var text = ""
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = Array(bytes[start..<min(start + 3, bytes.count)])
        let bits = (0..<3).reduce(0) { $0 << 8 | ($1 < group.count ? Int(group[$1]) : 0) }
        for place in 0..<4 { text.append(place <= group.count ? alphabet[bits >> (18 - 6 * place) & 63] : "=") }
    }
    return text
}
