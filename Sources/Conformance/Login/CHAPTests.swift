internal import Authentication
internal import ISCSI
internal import Initiator
internal import SCSI

/// CHAP: algorithms, challenges, names and responses, one way and mutual.
enum CHAPTests {
    static let all = methods + algorithms + challenges + names + responses + mutual

    /// The credential that the requirement has made sure of.
    private static func credential(_ bench: Bench) throws -> CHAPCredential {
        guard let credential = bench.target.credential else {
            throw TestEnd.skipped("no CHAP name and secret are given")
        }
        return credential
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String { TextCodec.formatBinary(bytes) }

    private static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = "0b"
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            let padded = Array(part) + [UInt8](repeating: 0, count: 3 - part.count)
            let bits = UInt32(padded[0]) << 16 | UInt32(padded[1]) << 8 | UInt32(padded[2])
            for place in 0..<4 {
                text.append(place <= part.count ? alphabet[Int(bits >> (18 - 6 * UInt32(place)) & 63)] : "=")
            }
        }
        return text
    }

    /// Answers a challenge with `text`, after the security stage was opened with the usual keys.
    private static func respond(
        _ bench: Bench, _ algorithms: String = "5,7,6,8",
        _ text: (Wire.Challenge, CHAPCredential) throws -> [TextParameter]
    ) throws -> Wire {
        let credential = try credential(bench)
        let wire = try bench.connect()
        try wire.openSecurityStage()
        let challenge = try wire.requestChallenge(algorithms)
        try wire.sendLogin(0, to: 1, try text(challenge, credential))
        return wire
    }

    private static func right(_ challenge: Wire.Challenge, _ credential: CHAPCredential) throws -> [TextParameter] {
        [
            TextParameter("CHAP_N", credential.name),
            TextParameter("CHAP_R", hexadecimal(try challenge.response(credential.secret))),
        ]
    }

    private static func expectAccepted(_ wire: Wire, _ why: String) throws {
        let answer = try wire.expectLoginAnswer(why)
        try require(
            answer.header.isTransit && answer.header.nextStageCode == 1, "transit to the operational stage",
            got: Wire.describe(answer.header, answer.data))
        try wire.completeLogIn(wire.plan.offers)
        try wire.ping()
    }

    /// In the security stage after AuthMethod=CHAP, `text` must end the login.
    private static func refusedAfterMethod(_ bench: Bench, _ text: [TextParameter], _ why: String) throws {
        let wire = try bench.connect()
        try wire.openSecurityStage()
        try wire.sendLogin(0, to: nil, text)
        try wire.expectRefusal([], why)
    }

    private static let methods = [
        ConformanceTest(
            "CHAP.Method.NoneOnly", "11.13.5", "AuthMethod=None alone is refused with status 0201.", .credential
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            try wire.sendLogin(0, to: 1, wire.plan.identity(bench.target) + [TextParameter("AuthMethod", "None")])
            try wire.expectRefusal([.authenticationFailure], "status 0201")
        },
        ConformanceTest(
            "CHAP.Method.Skipped", "6.3.2", "A login that skips the security stage is refused with status 0201.",
            .credential
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            try wire.sendLogin(1, to: 3, wire.plan.identity(bench.target) + wire.plan.offers)
            try wire.expectRefusal([.authenticationFailure], "status 0201")
        },
        ConformanceTest(
            "CHAP.Method.LeftEarly", "6.3.2",
            "The security stage cannot be left before the initiator has proved itself.", .credential
        ) { bench in
            let wire = try bench.connect()
            wire.plan = LoginPlan()
            try wire.sendLogin(0, to: 1, wire.plan.identity(bench.target) + [TextParameter("AuthMethod", "CHAP")])
            let answer = try wire.loginAnswer("a Login Response without transit")
            guard answer.header.status == .success else { return }
            try require(!answer.header.isTransit, "no transit", got: Wire.describe(answer.header, answer.data))
            try wire.sendLogin(1, to: 3, wire.plan.offers)
            try wire.expectRefusal([], "the operational stage to be refused")
        },
        ConformanceTest(
            "CHAP.Method.UnknownFirst", "6.2.1", "Unknown methods before CHAP are passed over.", .credential
        ) { bench in
            let wire = try bench.connect()
            try wire.openSecurityStage(methods: "Z-dev.carousel.key,CHAP")
            _ = try wire.requestChallenge()
        },
    ]

    private static let algorithms =
        [(5, "MD5"), (6, "SHA1"), (7, "SHA256"), (8, "SHA3256")].map { number, name in
            ConformanceTest(
                "CHAP.Algorithm.\(name)", "12.1.3",
                number == 5
                    ? "CHAP_A=5 (MD5), which every target has, is accepted."
                    : "CHAP_A=\(number) is what IANA says it is, or refused.", .credential
            ) { bench in
                let credential = try credential(bench)
                let wire = try bench.connect()
                try wire.openSecurityStage()
                try wire.sendLogin(0, to: nil, [TextParameter("CHAP_A", "\(number)")])
                let answer = try wire.loginAnswer("a challenge")
                if answer.header.status != .success && number != 5 {
                    throw TestEnd.skipped("the target does not do algorithm \(number)")
                }
                try require(
                    answer.header.status == .success, "a challenge", got: Wire.describe(answer.header, answer.data))
                let challenge = try wire.challenge(in: answer, of: "\(number)")
                try wire.sendLogin(0, to: 1, try right(challenge, credential))
                try expectAccepted(wire, "the response by algorithm \(number) to be accepted")
            }
        } + [
            ConformanceTest(
                "CHAP.Algorithm.List", "12.1.3",
                "Of a list of algorithms one that the target takes is chosen; unknown ones are passed over.",
                .credential
            ) { bench in
                let wire = try bench.connect()
                try wire.openSecurityStage()
                try wire.sendLogin(0, to: nil, [TextParameter("CHAP_A", "250,99,5")])
                let answer = try wire.expectLoginAnswer("a challenge")
                let challenge = try wire.challenge(in: answer, of: "5")
                try wire.sendLogin(0, to: 1, try right(challenge, try credential(bench)))
                try expectAccepted(wire, "the response to be accepted")
            },
            ConformanceTest(
                "CHAP.Algorithm.UnknownOnly", "12.1.3", "A list of unknown algorithms only ends the login.", .credential
            ) { bench in
                try refusedAfterMethod(
                    bench, [TextParameter("CHAP_A", "250,99")], "the unknown algorithms to be refused")
            },
            ConformanceTest(
                "CHAP.Algorithm.NotANumber", "12.1.3", "A CHAP_A that is no number ends the login.", .credential
            ) { bench in
                try refusedAfterMethod(bench, [TextParameter("CHAP_A", "MD5")], "the word to be refused")
            },
            ConformanceTest(
                "CHAP.Algorithm.Missing", "12.1.3", "The name and response before any algorithm end the login.",
                .credential
            ) { bench in
                let credential = try credential(bench)
                try refusedAfterMethod(
                    bench, [TextParameter("CHAP_N", credential.name), TextParameter("CHAP_R", "0x0123456789abcdef")],
                    "the response without a challenge to be refused")
            },
            ConformanceTest(
                "CHAP.Algorithm.BeforeMethod", "12.1.3", "CHAP_A before AuthMethod ends the login.", .credential
            ) { bench in
                let wire = try bench.connect()
                wire.plan = LoginPlan()
                try wire.sendLogin(0, to: nil, wire.plan.identity(bench.target) + [TextParameter("CHAP_A", "5")])
                try wire.expectRefusal([], "CHAP_A out of order to be refused")
            },
        ]

    private static let challenges = [
        ConformanceTest(
            "CHAP.Challenge.Form", "12.1.3",
            "CHAP_I is 0 to 255, and CHAP_C 1 to 1024 bytes in hexadecimal or base64.", .credential
        ) { bench in
            let wire = try bench.connect()
            try wire.openSecurityStage()
            let challenge = try wire.requestChallenge()
            try require(
                challenge.challenge.count <= 1024, "at most 1024 bytes", got: "\(challenge.challenge.count)")
        },
        ConformanceTest(
            "CHAP.Challenge.Fresh", "9.2.1", "Every login gets another challenge.", .credential
        ) { bench in
            var seen: Set<[UInt8]> = []
            for _ in 0..<4 {
                let wire = try bench.connect()
                try wire.openSecurityStage()
                let challenge = try wire.requestChallenge().challenge
                try require(seen.insert(challenge).inserted, "another challenge", got: "the same again")
            }
        },
        ConformanceTest(
            "CHAP.Challenge.Replay", "9.2.1", "A response to an earlier login's challenge is refused.", .credential
        ) { bench in
            let credential = try credential(bench)
            let first = try bench.connect()
            try first.openSecurityStage()
            let old = try first.requestChallenge("5")
            let wire = try respond(bench, "5") { _, _ in try right(old, credential) }
            try wire.expectRefusal([.authenticationFailure], "status 0201")
        },
    ]

    private static let names = [
        ConformanceTest("CHAP.Name.Right", "12.1.3", "The right name and response are accepted.", .credential) {
            bench in
            try expectAccepted(try respond(bench) { try right($0, $1) }, "the response to be accepted")
        },
        ConformanceTest(
            "CHAP.Name.Unknown", "11.13.5", "An unknown name is refused with status 0201.", .credential
        ) { bench in
            let wire = try respond(bench) { challenge, credential in
                [TextParameter("CHAP_N", credential.name + "x"), try right(challenge, credential)[1]]
            }
            try wire.expectRefusal([.authenticationFailure], "status 0201")
        },
        ConformanceTest("CHAP.Name.Missing", "12.1.3", "A response without a name is refused.", .credential) { bench in
            let wire = try respond(bench) { [try right($0, $1)[1]] }
            try wire.expectRefusal([], "the response without a name to be refused")
        },
        ConformanceTest("CHAP.Name.Empty", "12.1.3", "An empty name is refused.", .credential) { bench in
            let wire = try respond(bench) { [TextParameter("CHAP_N", ""), try right($0, $1)[1]] }
            try wire.expectRefusal([], "the empty name to be refused")
        },
        ConformanceTest(
            "CHAP.Name.Twice", "6.3", "A name that is given twice is refused.", .credential
        ) { bench in
            let wire = try respond(bench) { try [right($0, $1)[0]] + right($0, $1) }
            try wire.expectRefusal([], "the repeated name to be refused")
        },
        ConformanceTest(
            "CHAP.Name.LooksLikeNumber", "12.1.3",
            "A name that begins like a hexadecimal number is text: it is unknown, not malformed.", .credential
        ) { bench in
            for name in ["0xabc", "0babc"] {
                let wire = try respond(bench) { [TextParameter("CHAP_N", name), try right($0, $1)[1]] }
                try wire.expectRefusal([.authenticationFailure], "status 0201 for CHAP_N=\(name)")
            }
        },
    ]

    /// A login with `response` in place of the right one must be refused.
    private static func refusedResponse(
        _ bench: Bench, _ why: String, _ response: (String) -> String?
    ) throws {
        let wire = try respond(bench) { challenge, credential in
            let text = try right(challenge, credential)
            return [text[0]] + (response(text[1].value).map { [TextParameter("CHAP_R", $0)] } ?? [])
        }
        try wire.expectRefusal([], why)
    }

    private static let responses = [
        ConformanceTest(
            "CHAP.Response.Base64", "6.1", "A response in base64 is accepted like one in hexadecimal.", .credential
        ) { bench in
            let wire = try respond(bench) { challenge, credential in
                [
                    TextParameter("CHAP_N", credential.name),
                    TextParameter("CHAP_R", base64(try challenge.response(credential.secret))),
                ]
            }
            try expectAccepted(wire, "the response in base64 to be accepted")
        },
        ConformanceTest(
            "CHAP.Response.UpperCase", "6.1", "Hexadecimal digits may be upper case.", .credential
        ) { bench in
            let wire = try respond(bench) { challenge, credential in
                let text = try right(challenge, credential)
                return [text[0], TextParameter("CHAP_R", "0X" + text[1].value.dropFirst(2).uppercased())]
            }
            try expectAccepted(wire, "the response in upper case to be accepted")
        },
        ConformanceTest(
            "CHAP.Response.Wrong", "11.13.5", "A wrong response is refused with status 0201.", .credential
        ) { bench in
            let wire = try respond(bench) { challenge, credential in
                var response = try challenge.response(credential.secret)
                response[0] ^= 1
                return [TextParameter("CHAP_N", credential.name), TextParameter("CHAP_R", hexadecimal(response))]
            }
            try wire.expectRefusal([.authenticationFailure], "status 0201")
        },
        ConformanceTest("CHAP.Response.Missing", "12.1.3", "A name without a response is refused.", .credential) {
            bench in
            try refusedResponse(bench, "the name without a response to be refused") { _ in nil }
        },
        ConformanceTest("CHAP.Response.TooShort", "12.1.3", "A response that is too short is refused.", .credential) {
            bench in
            try refusedResponse(bench, "the short response to be refused") { String($0.dropLast(2)) }
        },
        ConformanceTest("CHAP.Response.TooLong", "12.1.3", "A response that is too long is refused.", .credential) {
            bench in
            try refusedResponse(bench, "the long response to be refused") { $0 + "00" }
            try refusedResponse(bench, "the very long response to be refused") {
                $0 + String(repeating: "00", count: 2000)
            }
        },
        ConformanceTest("CHAP.Response.Malformed", "6.1", "A response with other characters is refused.", .credential) {
            bench in
            try refusedResponse(bench, "the malformed response to be refused") { String($0.dropLast()) + "g" }
            try refusedResponse(bench, "the response without prefix to be refused") { String($0.dropFirst(2)) }
            try refusedResponse(bench, "the malformed base64 to be refused") { _ in "0b!!!!" }
        },
        ConformanceTest(
            "CHAP.Response.LongBase64", "6.1", "Base64 of more than 1024 bytes is refused.", .credential
        ) { bench in
            try refusedResponse(bench, "the long base64 to be refused") { _ in
                base64([UInt8](repeating: 1, count: 1500))
            }
        },
    ]

    // MARK: Mutual

    /// Proves itself and challenges the target with `own`.
    private static func challengeTarget(
        _ bench: Bench, _ own: (Wire.Challenge) -> [TextParameter]
    ) throws -> (wire: Wire, algorithm: CHAPAlgorithm, target: CHAPCredential) {
        guard let target = bench.target.mutualCredential else {
            throw TestEnd.skipped("no CHAP name and secret of the target are given")
        }
        let credential = try credential(bench)
        let wire = try bench.connect()
        try wire.openSecurityStage()
        let challenge = try wire.requestChallenge()
        try wire.sendLogin(0, to: 1, try right(challenge, credential) + own(challenge))
        return (wire, challenge.algorithm, target)
    }

    private static let ownChallenge = Array(0..<16 as Range<UInt8>)

    private static func proves(_ bench: Bench, identifier: String, challenge: String) throws {
        let (wire, algorithm, target) = try challengeTarget(bench) { _ in
            [TextParameter("CHAP_I", identifier), TextParameter("CHAP_C", challenge)]
        }
        let answer = try wire.expectLoginAnswer("the target to prove itself")
        try require(
            answer.value("CHAP_N") == target.name, "CHAP_N=\(target.name)", got: answer.value("CHAP_N") ?? "none")
        let expected = try CHAPProvider.standard.response(
            algorithm, identifier: 0x5A, secret: target.secret, challenge: ownChallenge)
        let response = answer.value("CHAP_R").flatMap { TextCodec.binary($0) }
        try require(response == expected, "the right CHAP_R", got: answer.value("CHAP_R") ?? "none")
        try wire.completeLogIn(wire.plan.offers)
        try wire.ping()
    }

    private static let mutual = [
        ConformanceTest(
            "CHAP.Mutual.Right", "12.1.3", "A target that is challenged proves that it knows its secret.",
            .credential, .mutualCredential
        ) { bench in
            try proves(bench, identifier: "90", challenge: hexadecimal(ownChallenge))
        },
        ConformanceTest(
            "CHAP.Mutual.Encodings", "6.1", "The challenge may be base64 and the identifier hexadecimal.",
            .credential, .mutualCredential
        ) { bench in
            try proves(bench, identifier: "0x5a", challenge: base64(ownChallenge))
        },
        ConformanceTest(
            "CHAP.Mutual.Reflected", "9.2.1", "A target does not answer its own challenge.", .credential,
            .mutualCredential
        ) { bench in
            let (wire, _, _) = try challengeTarget(bench) { challenge in
                [
                    TextParameter("CHAP_I", "\(challenge.identifier)"),
                    TextParameter("CHAP_C", hexadecimal(challenge.challenge)),
                ]
            }
            try wire.expectRefusal([], "the reflected challenge to be refused")
        },
        ConformanceTest(
            "CHAP.Mutual.ReflectedWithOtherIdentifier", "9.2.1",
            "A target does not answer its own challenge under another identifier either.", .credential,
            .mutualCredential
        ) { bench in
            let (wire, _, _) = try challengeTarget(bench) { challenge in
                [
                    TextParameter("CHAP_I", "\(challenge.identifier ^ 1)"),
                    TextParameter("CHAP_C", base64(challenge.challenge)),
                ]
            }
            try wire.expectRefusal([], "the reflected challenge to be refused")
        },
        ConformanceTest(
            "CHAP.Mutual.NoChallenge", "12.1.3", "CHAP_I without CHAP_C is refused.", .credential, .mutualCredential
        ) { bench in
            let (wire, _, _) = try challengeTarget(bench) { _ in [TextParameter("CHAP_I", "1")] }
            try wire.expectRefusal([], "CHAP_I without CHAP_C to be refused")
        },
        ConformanceTest(
            "CHAP.Mutual.NoIdentifier", "12.1.3", "CHAP_C without CHAP_I is refused.", .credential, .mutualCredential
        ) { bench in
            let (wire, _, _) = try challengeTarget(bench) { _ in [TextParameter("CHAP_C", hexadecimal(ownChallenge))] }
            try wire.expectRefusal([], "CHAP_C without CHAP_I to be refused")
        },
        ConformanceTest(
            "CHAP.Mutual.IdentifierTooBig", "12.1.3", "A CHAP_I above 255 is refused.", .credential, .mutualCredential
        ) { bench in
            let (wire, _, _) = try challengeTarget(bench) { _ in
                [TextParameter("CHAP_I", "256"), TextParameter("CHAP_C", hexadecimal(ownChallenge))]
            }
            try wire.expectRefusal([], "CHAP_I=256 to be refused")
        },
        ConformanceTest(
            "CHAP.Mutual.ChallengeTooBig", "12.1.3", "A CHAP_C of more than 1024 bytes is refused.",
            .credential, .mutualCredential
        ) { bench in
            let (wire, _, _) = try challengeTarget(bench) { _ in
                [
                    TextParameter("CHAP_I", "1"),
                    TextParameter("CHAP_C", hexadecimal([UInt8](repeating: 7, count: 1200))),
                ]
            }
            try wire.expectRefusal([], "the long challenge to be refused")
        },
    ]
}
