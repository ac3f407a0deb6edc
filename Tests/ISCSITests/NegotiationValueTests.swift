import ISCSI
import Testing

/// The values of every key of the table, made from its rule (RFC 7143 sections 6.1, 6.2 and 13).
@Suite("Values in the negotiation")
struct NegotiationValueTests {
    /// The answer of a target that would like everything, to one offer.
    private func answer(
        _ key: String, _ value: String, settings: OperationalSettings = .target
    ) throws -> (String?, NegotiatedParameters) {
        var negotiation = ParameterNegotiation(role: .target, settings: settings)
        let answers = try negotiation.receive([TextParameter(key, value)])
        #expect(answers.count <= 1 && answers.allSatisfy { $0.key == key })
        return (answers.first?.value, negotiation.parameters)
    }

    /// RDMAExtensions is wanted, so that the keys of iSER have a meaning.
    private var withRDMA: OperationalSettings {
        var settings = OperationalSettings.target
        settings.preferred.rdmaExtensions = true
        return settings
    }

    @Test("Numbers: the limits of each key, in decimal and hexadecimal, with leading zeros")
    func numbers() throws {
        var tried = 0
        for key in OperationalKey.table {
            let range: ClosedRange<Int>
            switch key.rule {
            case .minimum(_, let limits), .maximum(_, let limits), .declaredNumber(own: _, peer: _, let limits):
                range = limits
            default: continue
            }
            tried += 1
            func isRefused(_ value: String) throws -> Bool {
                var negotiation = ParameterNegotiation(role: .target, settings: withRDMA)
                _ = try negotiation.receive([TextParameter("RDMAExtensions", "Yes")])
                return try negotiation.receive([TextParameter(key.name, value)]).first?.value == "Reject"
            }
            for number in [range.lowerBound, range.upperBound, (range.lowerBound + range.upperBound) / 2] {
                let hexadecimal = String(number, radix: 16)
                for form in [
                    "\(number)", "000\(number)", "0x\(hexadecimal)", "0X\(hexadecimal.uppercased())",
                    "0x0000\(hexadecimal)",
                ] {
                    #expect(try !isRefused(form), "\(key.name)=\(form)")
                }
            }
            var outside = ["\(range.upperBound + 1)", "0x\(String(range.upperBound + 1, radix: 16))"]
            if range.lowerBound > 0 { outside += ["\(range.lowerBound - 1)", "0"] }
            outside += [
                "", " ", "-1", "+\(range.lowerBound)", "\(range.lowerBound) ", " \(range.lowerBound)",
                "\(range.lowerBound).0", "\(range.lowerBound),", "0x", "0x ", "0xg", "0b1", "x", "Yes", "1e3",
                "18446744073709551615", "18446744073709551616", "0xffffffffffffffff", "0x10000000000000000",
                String(repeating: "9", count: 255), "\u{0661}", "\u{FF11}", "NotUnderstood", "Irrelevant",
            ]
            for form in outside { #expect(try isRefused(form), "\(key.name)=\(form)") }
        }
        #expect(tried == 12)
    }

    @Test("Booleans: every key with Yes and No against both wishes, and nothing else")
    func booleans() throws {
        var tried = 0
        for key in OperationalKey.table {
            for wish in [false, true] {
                var settings = OperationalSettings.target
                let isAnd: Bool
                switch key.rule {
                case .booleanAnd(let path):
                    settings.preferred[keyPath: path] = wish
                    isAnd = true
                case .booleanOr(let path):
                    settings.preferred[keyPath: path] = wish
                    isAnd = false
                default: continue
                }
                tried += 1
                for offer in [false, true] {
                    let result = isAnd ? offer && wish : offer || wish
                    #expect(
                        try answer(key.name, offer ? "Yes" : "No", settings: settings).0 == (result ? "Yes" : "No"))
                }
                for bad in [
                    "yes", "YES", "no", "NO", "Y", "N", "true", "1", "0", "", " Yes", "Yes ", "Yes,No", "Reject",
                ] {
                    let (value, parameters) = try answer(key.name, bad, settings: settings)
                    #expect(value == "Reject" && parameters == NegotiatedParameters(), "\(key.name)=\(bad)")
                }
            }
        }
        #expect(tried == 10)
    }

    /// All orders of all subsets of `values`.
    private func arrangements(_ values: [String]) -> [[String]] {
        [[]] + values.flatMap { first in arrangements(values.filter { $0 != first }).map { [first] + $0 } }
    }

    @Test("Lists: every order of every subset, with unknown values among them, against every set that is acceptable")
    func lists() throws {
        let digests: [DigestAlgorithm] = [.none, .crc32c]
        for key in ["HeaderDigest", "DataDigest"] {
            for acceptable in [digests, [.crc32c, .none], [.none], [.crc32c]] {
                var settings = OperationalSettings.target
                settings.headerDigests = acceptable
                settings.dataDigests = acceptable
                for offer in arrangements(["None", "CRC32C", "X-sum", "none"]) where !offer.isEmpty {
                    let expected = offer.first { value in acceptable.contains { $0.rawValue == value } }
                    #expect(
                        try answer(key, offer.joined(separator: ","), settings: settings).0 == expected ?? "Reject")
                }
            }
        }
        for acceptable in [TaskReporting.allCases, [.rfc3720], [.fastAbort, .rfc3720]] {
            var settings = OperationalSettings.target
            settings.taskReporting = acceptable
            for offer in arrangements(["RFC3720", "ResponseFence", "FastAbort", "X-new"]) where !offer.isEmpty {
                let expected = offer.first { value in acceptable.contains { $0.rawValue == value } }
                let (value, parameters) = try answer("TaskReporting", offer.joined(separator: ","), settings: settings)
                #expect(value == expected ?? "Reject")
                #expect(parameters.taskReporting.rawValue == expected ?? "RFC3720")
            }
        }
    }

    @Test("Minimum and maximum: the result for every pair of wishes of small keys")
    func results() throws {
        for ours in 0...2 {
            for theirs in 0...2 {
                var settings = OperationalSettings.target
                settings.preferred.errorRecoveryLevel = ours
                settings.preferred.iSCSIProtocolLevel = ours
                settings.preferred.defaultTime2Wait = ours
                settings.preferred.defaultTime2Retain = ours
                #expect(try answer("ErrorRecoveryLevel", "\(theirs)", settings: settings).0 == "\(min(ours, theirs))")
                #expect(try answer("iSCSIProtocolLevel", "\(theirs)", settings: settings).0 == "\(min(ours, theirs))")
                #expect(try answer("DefaultTime2Wait", "\(theirs)", settings: settings).0 == "\(max(ours, theirs))")
                #expect(try answer("DefaultTime2Retain", "\(theirs)", settings: settings).0 == "\(min(ours, theirs))")
            }
        }
    }

    @Test("FirstBurstLength never exceeds MaxBurstLength, in whatever order and in however many texts they come")
    func bursts() throws {
        let lengths = [512, 1024, 65_536, 262_144, 1_048_576, 16_777_215]
        for first in lengths {
            for maximum in lengths {
                let pairs = [
                    TextParameter("FirstBurstLength", "\(first)"), TextParameter("MaxBurstLength", "\(maximum)"),
                ]
                for list in [pairs, pairs.reversed()] {
                    var together = ParameterNegotiation(role: .target, settings: .target)
                    let answers = try together.receive(list)
                    let value = answers.first { $0.key == "FirstBurstLength" }?.value
                    #expect(value == "\(min(first, maximum, 262_144))")
                    #expect(together.result.firstBurstLength == min(first, maximum, 262_144))
                    var apart = ParameterNegotiation(role: .target, settings: .target)
                    for parameter in list { _ = try apart.receive([parameter]) }
                    #expect(apart.result.firstBurstLength <= apart.result.maxBurstLength)
                }
            }
        }
    }

    @Test("Extension keys of every kind are not understood, and an answer is not answered")
    func extensionKeys() throws {
        for key in ["X-com.example.a", "Y-com.example.a", "Z-com.example.a", "X#a", "Y#a", "Z#a", "Unknown", "x"] {
            #expect(try answer(key, "1").0 == "NotUnderstood")
            #expect(try answer(key, "NotUnderstood").0 == nil)
        }
    }

    @Test("Security keys have no place among the operational ones", arguments: ["AuthMethod", "CHAP_A", "CHAP_R"])
    func securityKeys(key: String) throws {
        for phase in [ParameterNegotiation.Phase.leadingLogin, .furtherLogin] {
            var negotiation = ParameterNegotiation(role: .target, settings: .target, phase: phase)
            #expect(throws: NegotiationFailure.securityKey(key)) {
                try negotiation.receive([TextParameter(key, "None")])
            }
        }
        var later = ParameterNegotiation(role: .target, settings: .target, phase: .fullFeature)
        #expect(try later.receive([TextParameter(key, "None")]) == [TextParameter(key, "Reject")])
    }
}
