internal import ISCSI
internal import Initiator
internal import SCSI

/// Booleans, lists, and the rules that hold for all keys.
enum KeyTests {
    static let all = booleans + lists + rules + obsolete

    /// What was answered to `key` in a login with `plan`, which must succeed.
    private static func answer(_ bench: Bench, _ key: String, _ plan: LoginPlan) throws -> String? {
        switch try bench.attemptLogIn(plan) {
        case .negotiated(let negotiated): return negotiated.answer(key)
        case .refused(let status):
            throw TestEnd.failed(
                expected: "a login with \(key)=\(plan.offered(key) ?? "")",
                got: "status \(Wire.hex(status)) \(status)")
        }
    }

    /// The answer to `key` is one of `values`, where `nil` stands for none.
    private static func check(_ bench: Bench, _ key: String, _ value: String, in values: Set<String?>) throws {
        var plan = LoginPlan()
        plan.offer(key, value)
        let got = try answer(bench, key, plan)
        let expected = values.compactMap { $0 }.sorted().joined(separator: " or ")
        try require(values.contains(got), "\(key)=\(value) to be answered with \(expected)", got: got ?? "no answer")
    }

    // MARK: Booleans

    private static let booleans = [
        ("InitialR2T", "13.10", true), ("ImmediateData", "13.11", false), ("DataPDUInOrder", "13.18", true),
        ("DataSequenceInOrder", "13.19", true),
    ].flatMap { key, clause, isOr in
        [
            ConformanceTest(
                "Login.Boolean.\(key)", clause,
                "\(key)=\(isOr ? "Yes" : "No") decides; \(key)=\(isOr ? "No" : "Yes") is answered with Yes or No."
            ) { bench in
                let deciding = isOr ? "Yes" : "No"
                try check(bench, key, deciding, in: [deciding, nil])
                try check(bench, key, isOr ? "No" : "Yes", in: ["Yes", "No"])
            },
            ConformanceTest(
                "Login.Boolean.\(key)Illegal", "6.2.2",
                "\(key)=Maybe is answered with Reject, Yes or No, or ends the login."
            ) { bench in
                for value in ["Maybe", "yes", ""] {
                    var plan = LoginPlan()
                    plan.offer(key, value)
                    guard case .negotiated(let negotiated) = try bench.attemptLogIn(plan) else { continue }
                    let answer = negotiated.answer(key)
                    try require(
                        answer.map { ["Reject", "Yes", "No"].contains($0) } == true,
                        "Reject, Yes or No for \(key)=\(value)", got: answer ?? "no answer")
                }
            },
        ]
    }

    // MARK: Lists

    /// A target may insist on a digest; then None alone ends the login or is rejected.
    private static func insists(_ bench: Bench, on key: String) throws -> Bool {
        var plan = LoginPlan()
        plan.offer(key, "None")
        guard case .negotiated(let negotiated) = try bench.attemptLogIn(plan) else { return true }
        return negotiated.answer(key) != "None"
    }

    private static let lists =
        ["HeaderDigest", "DataDigest"].flatMap { key in
            [
                ConformanceTest(
                    "Login.List.\(key)Order", "6.2.1",
                    "Of \(key)=None,CRC32C the first that the target takes is chosen."
                ) { bench in
                    if try insists(bench, on: key) { throw TestEnd.skipped("the target insists on \(key)=CRC32C") }
                    try check(bench, key, "None,CRC32C", in: ["None"])
                    try check(bench, key, "CRC32C,None", in: ["None", "CRC32C"])
                },
                ConformanceTest(
                    "Login.List.\(key)Unknown", "6.2.1",
                    "Unknown values of \(key) are passed over; a list of nothing else is rejected."
                ) { bench in
                    if try insists(bench, on: key) { throw TestEnd.skipped("the target insists on \(key)=CRC32C") }
                    try check(bench, key, "Y-dev.carousel.sum,None", in: ["None"])
                    var plan = LoginPlan()
                    plan.offer(key, "Y-dev.carousel.sum")
                    guard case .negotiated(let negotiated) = try bench.attemptLogIn(plan) else { return }
                    let answer = negotiated.answer(key)
                    try require(answer == "Reject", "\(key)=Reject, or a refused login", got: answer ?? "no answer")
                },
            ]
        } + [
            ConformanceTest(
                "Login.List.AuthMethodUnknown", "6.2.1",
                "Unknown methods before None are passed over.", .openAccess
            ) { bench in
                let wire = try bench.connect()
                wire.plan = LoginPlan()
                try wire.sendLogin(
                    0, to: 1,
                    wire.plan.identity(bench.target) + [TextParameter("AuthMethod", "Z-dev.carousel.key,None")])
                let answer = try wire.expectLoginAnswer()
                try require(
                    answer.value("AuthMethod") == "None", "AuthMethod=None",
                    got: Wire.describe(answer.header, answer.data))
            },
            ConformanceTest(
                "Login.List.AuthMethodInvalid", "6.3.2",
                "A list of unknown methods only ends the login or is rejected."
            ) { bench in
                let wire = try bench.connect()
                wire.plan = LoginPlan()
                try wire.sendLogin(
                    0, to: 1, wire.plan.identity(bench.target) + [TextParameter("AuthMethod", "Z-dev.carousel.key")])
                let answer = try wire.loginAnswer("a refusal or AuthMethod=Reject")
                let isRefused = answer.header.status.statusClass == 2
                try require(
                    isRefused || answer.value("AuthMethod") == "Reject" && !answer.header.isTransit,
                    "a refusal or AuthMethod=Reject without transit",
                    got: Wire.describe(answer.header, answer.data))
            },
            ConformanceTest(
                "Login.List.TaskReporting", "13.23",
                "TaskReporting is understood, and one of the offered values is chosen."
            ) { bench in
                try check(bench, "TaskReporting", "RFC3720", in: ["RFC3720"])
                try check(
                    bench, "TaskReporting", "FastAbort,ResponseFence,RFC3720",
                    in: ["FastAbort", "ResponseFence", "RFC3720"])
            },
            ConformanceTest(
                "Login.List.ProtocolLevel", "13.24",
                "iSCSIProtocolLevel is understood, and the result is not higher than the offer."
            ) { bench in
                for level in [1, 2, 31] {
                    var plan = LoginPlan()
                    plan.offer("iSCSIProtocolLevel", "\(level)")
                    let answer = try answer(bench, "iSCSIProtocolLevel", plan)
                    let number = answer.flatMap { TextCodec.number($0) }
                    try require(
                        number.map { $0 <= UInt64(level) } == true, "iSCSIProtocolLevel of at most \(level)",
                        got: answer ?? "no answer")
                }
            },
        ]

    // MARK: Rules for all keys

    private static let rules = [
        ConformanceTest(
            "Login.Key.Unknown", "6.2", "A key that the target does not know is answered with NotUnderstood."
        ) { bench in
            try check(bench, "CarouselUnknownKey", "1", in: ["NotUnderstood"])
        },
        ConformanceTest(
            "Login.Key.PrivateExtension", "13.22",
            "A private key X-… that the target does not know is answered with "
                + "NotUnderstood."
        ) { bench in
            try check(bench, "X-dev.carousel.conformance", "1", in: ["NotUnderstood"])
        },
        ConformanceTest(
            "Login.Key.CaseMatters", "6.1", "A key in other letters than the standard's is not that key."
        ) { bench in
            try check(bench, "maxburstlength", "65536", in: ["NotUnderstood"])
        },
        ConformanceTest(
            "Login.Key.HexadecimalNumber", "6.1", "Numbers may be hexadecimal."
        ) { bench in
            var plan = LoginPlan()
            plan.offer("MaxBurstLength", "0x10000")
            let answer = try answer(bench, "MaxBurstLength", plan)
            let number = answer.flatMap { TextCodec.number($0) }
            try require(
                number.map { (512...65_536).contains($0) } == true, "MaxBurstLength of at most 65536",
                got: answer ?? "no answer")
        },
        ConformanceTest(
            "Login.Key.FirstBurstBeyondMaxBurst", "13.14",
            "FirstBurstLength never exceeds MaxBurstLength, whatever is offered."
        ) { bench in
            var plan = LoginPlan()
            plan.offer("MaxBurstLength", "8192")
            plan.offer("FirstBurstLength", "65536")
            guard case .negotiated(let negotiated) = try bench.attemptLogIn(plan) else { return }
            if negotiated.answer("FirstBurstLength") == "Reject" || negotiated.answer("MaxBurstLength") == "Reject" {
                return
            }
            let first = negotiated.number("FirstBurstLength") ?? 65_536
            let burst = negotiated.number("MaxBurstLength") ?? 262_144
            try require(first <= burst, "FirstBurstLength at most \(burst), Reject or a refusal", got: "\(first)")
        },
        ConformanceTest(
            "Login.Key.TwiceInOneRequest", "6.3", "A key that is offered twice ends the login with status 0200."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            let twice = [TextParameter("ImmediateData", "Yes"), TextParameter("ImmediateData", "No")]
            try wire.sendOperational(twice, to: nil)
            try wire.expectRefusal([.initiatorError], "status 0200")
        },
        ConformanceTest(
            "Login.Key.TwiceInTwoRequests", "6.3",
            "A key that is offered again in a later request ends the login with status 0200."
        ) { bench in
            let wire = try bench.connect()
            try wire.openOperationalStage(LoginPlan())
            try wire.sendOperational([TextParameter("MaxOutstandingR2T", "1")], to: nil)
            _ = try wire.expectLoginAnswer()
            try wire.sendOperational([TextParameter("MaxOutstandingR2T", "1")], to: nil)
            try wire.expectRefusal([.initiatorError], "status 0200")
        },
        ConformanceTest(
            "Login.Key.DeclaredNotAnswered", "6.2",
            "The initiator's declarations are not answered; the target's MaxRecvDataSegmentLength is its own."
        ) { bench in
            var plan = LoginPlan()
            plan.offer("InitiatorAlias", "conformance")
            plan.offer("MaxRecvDataSegmentLength", "512")
            let wire = try bench.logIn(plan)
            for key in ["InitiatorAlias", "InitiatorName", "SessionType"] {
                let answer = wire.negotiated.answer(key)
                try require(answer == nil, "no answer to \(key)", got: answer ?? "")
            }
            let own = wire.negotiated.number("MaxRecvDataSegmentLength") ?? 8192
            try require(
                (512...0xFF_FFFF).contains(own), "MaxRecvDataSegmentLength of 512 to 16777215", got: "\(own)")
        },
        ConformanceTest(
            "Login.Key.DiscoveryErrorRecoveryLevel", "7.4.1",
            "ErrorRecoveryLevel in a discovery session is answered with 0."
        ) { bench in
            var plan = LoginPlan.discovery
            plan.offer("ErrorRecoveryLevel", "2")
            let answer = try answer(bench, "ErrorRecoveryLevel", plan)
            try require(answer == "0", "ErrorRecoveryLevel=0", got: answer ?? "no answer")
        },
    ]

    private static let obsolete =
        ["IFMarker", "OFMarker"].map { key in
            ConformanceTest(
                "Login.Obsolete.\(key)", "13.25", "\(key) is answered with Reject or No, never with NotUnderstood."
            ) { bench in
                try check(bench, key, "Yes", in: ["Reject", "No"])
                try check(bench, key, "No", in: ["Reject", "No"])
            }
        }
        + ["IFMarkInt", "OFMarkInt"].map { key in
            ConformanceTest("Login.Obsolete.\(key)", "13.25", "\(key) is answered with Reject.") { bench in
                try check(bench, key, "2048~65535", in: ["Reject"])
            }
        }
}
