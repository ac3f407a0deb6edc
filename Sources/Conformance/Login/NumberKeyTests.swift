internal import ISCSI

/// The keys whose values are numbers: what may be answered to legal and illegal offers.
enum NumberKeyTests {
    /// How the result comes from offer and answer.
    private enum Function {
        case minimum
        case maximum
    }

    private struct Key {
        let name: String
        let clause: String
        let range: ClosedRange<Int>
        let function: Function
        let legal: [Int]
        let illegal: [String]
    }

    private static let longest = 0xFF_FFFF

    private static let keys = [
        Key(
            name: "MaxConnections", clause: "13.2", range: 1...65535, function: .minimum, legal: [1, 2, 65535],
            illegal: ["0", "65536", "many"]),
        Key(
            name: "MaxBurstLength", clause: "13.13", range: 512...longest, function: .minimum,
            legal: [512, 1000, 262_144, longest], illegal: ["0", "511", "16777216", "-1"]),
        Key(
            name: "FirstBurstLength", clause: "13.14", range: 512...longest, function: .minimum,
            legal: [512, 1000, 65_536, longest], illegal: ["0", "511", "16777216", "1e4"]),
        Key(
            name: "DefaultTime2Wait", clause: "13.15", range: 0...3600, function: .maximum, legal: [0, 7, 3600],
            illegal: ["3601", "soon"]),
        Key(
            name: "DefaultTime2Retain", clause: "13.16", range: 0...3600, function: .minimum, legal: [0, 7, 3600],
            illegal: ["3601", ""]),
        Key(
            name: "MaxOutstandingR2T", clause: "13.17", range: 1...65535, function: .minimum, legal: [1, 4, 65535],
            illegal: ["0", "65536"]),
        Key(
            name: "ErrorRecoveryLevel", clause: "13.20", range: 0...2, function: .minimum, legal: [0, 1, 2],
            illegal: ["3", "all"]),
    ]

    static let all = keys.flatMap { key in
        [
            ConformanceTest(
                "Login.Number.\(key.name)", key.clause,
                "An offer of \(key.name) is answered with a number in its range that is "
                    + (key.function == .minimum ? "not higher." : "not lower.")
            ) { bench in
                for value in key.legal { try checkLegal(bench, key, value) }
            },
            ConformanceTest(
                "Login.Number.\(key.name)Illegal", "6.2.2",
                "An inadmissible offer of \(key.name) is answered with Reject or an admissible value, or ends the "
                    + "login."
            ) { bench in
                for value in key.illegal { try checkIllegal(bench, key, value) }
            },
        ]
    }

    /// Offers of `key` that agree with each other.
    private static func plan(_ key: Key, _ text: String, _ value: Int) -> LoginPlan {
        var plan = LoginPlan()
        if key.name == "MaxBurstLength" { plan.offer("FirstBurstLength", "\(min(value, 65_536))") }
        if key.name == "FirstBurstLength" { plan.offer("MaxBurstLength", "\(max(value, 262_144))") }
        plan.offer(key.name, text)
        return plan
    }

    private static func checkLegal(_ bench: Bench, _ key: Key, _ value: Int) throws {
        let expected = "an admissible answer to \(key.name)=\(value)"
        guard case .negotiated(let negotiated) = try bench.attemptLogIn(plan(key, "\(value)", value)) else {
            throw TestEnd.failed(expected: expected, got: "a login that is refused")
        }
        guard let answer = negotiated.answer(key.name) else { throw TestEnd.failed(expected: expected, got: "none") }
        let number = TextCodec.number(answer).flatMap { Int(exactly: $0) }
        let isAdmissible =
            number.map { number in
                key.range.contains(number) && (key.function == .minimum ? number <= value : number >= value)
            } ?? false
        try require(isAdmissible, expected, got: "\(key.name)=\(answer)")
        if key.name == "FirstBurstLength", let number, let burst = negotiated.number("MaxBurstLength") {
            try require(number <= burst, "FirstBurstLength at most MaxBurstLength \(burst)", got: "\(number)")
        }
    }

    private static func checkIllegal(_ bench: Bench, _ key: Key, _ value: String) throws {
        let expected = "Reject or an admissible value for \(key.name)=\(value), or a refused login"
        switch try bench.attemptLogIn(plan(key, value, 262_144)) {
        case .refused(let status):
            try require(status.statusClass == 2, expected, got: "status \(Wire.hex(status)) \(status)")
        case .negotiated(let negotiated):
            guard let answer = negotiated.answer(key.name) else {
                throw TestEnd.failed(expected: expected, got: "a login that succeeds without an answer to the key")
            }
            let number = TextCodec.number(answer).flatMap { Int(exactly: $0) }
            let isAllowed = answer == "Reject" || number.map { key.range.contains($0) } == true
            try require(isAllowed, expected, got: "\(key.name)=\(answer)")
        }
    }
}
