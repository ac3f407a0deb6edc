import Bytes
import ISCSI
import SCSI
import TestSupport
import Testing

/// Text negotiation in full feature phase, and discovery (RFC 7143 sections 6.4, 11.10, 11.11, appendix C).
@Suite("Text in full feature phase")
struct TextMachineTests {
    private static let ownName = "iqn.2026-11.dev.carousel:own"

    /// A machine, the parameters of its connection, and the targets that it is told of.
    private struct TextFixture {
        var machine: TextMachine
        var parameters = NegotiatedParameters()
        var partLimit = OutgoingText.maximumPartLength
        var targets: [DiscoveredTarget] = []
        /// The scopes that were asked for.
        var scopes: [SendTargets.Scope] = []

        init(_ sessionType: SessionType = .discovery) {
            machine = TextMachine(sessionType: sessionType, settings: .target)
        }

        mutating func ask(
            tag: UInt32 = reservedTag, task: UInt32 = 5, final: Bool = true, continued: Bool = false, text: [UInt8]
        ) -> TextStep {
            var request = TextRequestPDU()
            request.isFinal = final
            request.isContinued = continued
            request.initiatorTaskTag = task
            request.targetTransferTag = tag
            request.logicalUnitNumber = LogicalUnitNumber(3)
            var asked: [SendTargets.Scope] = []
            let list = targets
            let step = machine.receive(
                request, data: text.rawSpan, parameters: &parameters, partLimit: partLimit
            ) { scope in
                asked.append(scope)
                return list
            }
            scopes += asked
            return step
        }

        mutating func ask(
            tag: UInt32 = reservedTag, task: UInt32 = 5, final: Bool = true, continued: Bool = false,
            _ pairs: KeyValuePairs<String, String>
        ) -> TextStep {
            ask(
                tag: tag, task: task, final: final, continued: continued,
                text: TextCodec.format(pairs.map { TextParameter($0.key, $0.value) }))
        }

        /// Asks for the rest until there is none; gives the whole text and the number of responses.
        mutating func read(_ first: TextStep) throws -> (text: [UInt8], count: Int) {
            var (step, whole, count) = (first, [UInt8](), 0)
            while true {
                let (response, text) = try #require(step.response)
                whole += text
                count += 1
                if response.isFinal { return (whole, count) }
                step = ask(tag: response.targetTransferTag, text: [])
            }
        }
    }

    private func targets(_ count: Int, addresses: Int = 1) -> [DiscoveredTarget] {
        (0..<count).map { number in
            DiscoveredTarget(
                name: "iqn.2026-11.dev.carousel:t\(number)", addresses: (0..<addresses).map { "192.0.2.\($0):3260,1" })
        }
    }

    // MARK: SendTargets

    @Test("SendTargets in one answer and in many: each continuation has a tag of its own")
    func sendTargets() throws {
        var fixture = TextFixture()
        fixture.targets = targets(50)
        fixture.parameters.maxSendDataSegmentLength = 512
        var (response, text) = try #require(fixture.ask(["SendTargets": "All"]).response)
        var whole = text
        var tags: Set<UInt32> = []
        while !response.isFinal {
            #expect(response.isContinued && text.count == 512)
            #expect(response.targetTransferTag != reservedTag && response.logicalUnitNumber == LogicalUnitNumber(3))
            #expect(tags.insert(response.targetTransferTag).inserted)
            (response, text) = try #require(fixture.ask(tag: response.targetTransferTag, [:]).response)
            whole += text
        }
        #expect(response.targetTransferTag == reservedTag && !response.isContinued && !fixture.machine.isActive)
        #expect(SendTargets.parse(try TextCodec.parse(whole.rawSpan)) == fixture.targets)
        #expect(fixture.scopes == [.all], "the list is asked for once")
    }

    @Test("Answers of every length around the segment's: nothing is lost, and no empty part comes last")
    func boundaries() throws {
        for length in 480...560 {
            var fixture = TextFixture()
            fixture.parameters.maxSendDataSegmentLength = 512
            let name = "iqn.2026-11.dev:" + String(repeating: "a", count: 100)
            let rest = length - 2 * ("TargetName=\(name)\0".utf8.count) - "TargetAddress=\0".utf8.count
            fixture.targets = [
                DiscoveredTarget(name: name, addresses: []),
                DiscoveredTarget(name: name, addresses: [String(repeating: "b", count: rest)]),
            ]
            let (text, count) = try fixture.read(fixture.ask(["SendTargets": "All"]))
            #expect(text.count == length && count == (length <= 512 ? 1 : 2))
        }
    }

    @Test(
        "Ten thousand targets at eight addresses, in parts as long as the other side takes and memory allows",
        arguments: [
            (declared: 2048, partLimit: OutgoingText.maximumPartLength, part: 2048),
            (declared: 262_144, partLimit: OutgoingText.maximumPartLength, part: 262_144),
            (declared: 16_777_215, partLimit: OutgoingText.maximumPartLength, part: 16_777_215),
            (declared: 16_777_215, partLimit: 8192, part: 8192),
        ])
    func manyTargets(declared: Int, partLimit: Int, part: Int) throws {
        var fixture = TextFixture()
        fixture.targets = targets(10_000, addresses: 8)
        fixture.parameters.maxSendDataSegmentLength = declared
        fixture.partLimit = partLimit
        let (text, count) = try fixture.read(fixture.ask(["SendTargets": "All"]))
        #expect(count == (text.count + part - 1) / part)
        let parameters = try TextCodec.parse(text.rawSpan, limit: 90_000)
        #expect(SendTargets.parse(parameters) == fixture.targets)
    }

    @Test("What is not yet sent is not written: a part costs one part and one target at most")
    func bounded() {
        var text = OutgoingText([TextParameter("A", "1")], targets: targets(10_000, addresses: 8))
        var count = 0
        while !text.isExhausted {
            let part = text.next(limit: 512)
            #expect(part.count == 512 || text.isExhausted)
            count += 1
        }
        #expect(count > 4000)
        #expect(text.next(limit: 512).isEmpty, "nothing comes after the end")
    }

    @Test("An answer is a snapshot: the list may change meanwhile")
    func snapshot() throws {
        var fixture = TextFixture()
        fixture.targets = targets(30)
        fixture.parameters.maxSendDataSegmentLength = 512
        let first = fixture.ask(["SendTargets": "All"])
        fixture.targets = []
        let (text, _) = try fixture.read(first)
        #expect(SendTargets.parse(try TextCodec.parse(text.rawSpan)) == targets(30))
    }

    @Test(
        "Values of SendTargets: what they ask for, and what is refused",
        arguments: [
            ("All", SendTargets.Scope.all, SendTargets.Scope.all), ("", nil, .session),
            ("iqn.2026-11.dev:x", .target("iqn.2026-11.dev:x"), .target("iqn.2026-11.dev:x")),
            ("IQN.2026-11.DEV:X", .target("iqn.2026-11.dev:x"), .target("iqn.2026-11.dev:x")),
            ("eui.02004567A425678D", .target("eui.02004567a425678d"), .target("eui.02004567a425678d")),
            ("all", nil, nil), ("ALL", nil, nil), ("Alle", nil, nil), ("A", nil, nil), (" All", nil, nil),
            ("iqn.2026", nil, nil), ("disk", nil, nil), ("NotUnderstood", nil, nil),
        ] as [(String, SendTargets.Scope?, SendTargets.Scope?)])
    func values(value: String, inDiscovery: SendTargets.Scope?, inNormal: SendTargets.Scope?) throws {
        for (type, scope) in [(SessionType.discovery, inDiscovery), (.normal, inNormal)] {
            var fixture = TextFixture(type)
            fixture.targets = [DiscoveredTarget(name: Self.ownName, addresses: [])]
            let text = try #require(fixture.ask(["SendTargets": value]).response?.text)
            #expect(fixture.scopes == (scope.map { [$0] } ?? []))
            let answer = TextParameter(
                scope == nil ? "SendTargets" : "TargetName", scope == nil ? "Reject" : Self.ownName)
            #expect(try TextCodec.parse(text.rawSpan) == [answer])
        }
    }

    @Test(
        "Keys like SendTargets are not understood",
        arguments: ["sENDtARGETS", "SendTargetsPlease", "sendtargets", "SendTarget"])
    func wrongKey(key: String) throws {
        var fixture = TextFixture(.normal)
        let text = try #require(fixture.ask(text: Array("\(key)=All\0".utf8)).response?.text)
        #expect(try TextCodec.parse(text.rawSpan) == [TextParameter(key, "NotUnderstood")])
        #expect(fixture.scopes.isEmpty)
    }

    // MARK: Parameters

    @Test("Every key in full feature phase")
    func keys() throws {
        for key in OperationalKey.table where key.name != "SendTargets" {
            var fixture = TextFixture(.normal)
            let step = fixture.ask(text: Array("\(key.name)=1024\0".utf8))
            if case .target = key.senders {
                #expect(step.rejection == .protocolError, "\(key.name) is the target's to say")
                continue
            }
            let text = try #require(step.response?.text)
            let answer = try TextCodec.parse(text.rawSpan)
            switch key.name {
            case "MaxRecvDataSegmentLength", "InitiatorAlias": #expect(answer.isEmpty)
            default: #expect(answer == [TextParameter(key.name, "Reject")])
            }
            var expected = NegotiatedParameters()
            if key.name == "MaxRecvDataSegmentLength" { expected.maxSendDataSegmentLength = 1024 }
            #expect(fixture.parameters == expected)
        }
        for key in ["AuthMethod", "CHAP_A", "CHAP_N", "CHAP_R"] {
            var fixture = TextFixture(.normal)
            let text = try #require(fixture.ask(text: Array("\(key)=1\0".utf8)).response?.text)
            #expect(try TextCodec.parse(text.rawSpan) == [TextParameter(key, "Reject")])
        }
    }

    @Test("A changed parameter is in force after the last response, and not when the negotiation fails or ends early")
    func force() throws {
        var fixture = TextFixture(.normal)
        let first = try #require(fixture.ask(final: false, ["MaxRecvDataSegmentLength": "4096"]).response)
        #expect(!first.header.isFinal && !first.header.isContinued)
        #expect(fixture.parameters.maxSendDataSegmentLength == 8192)
        var (failing, abandoned) = (fixture, fixture)
        let last = try #require(fixture.ask(tag: first.header.targetTransferTag, ["InitiatorAlias": "a"]).response)
        #expect(last.header.isFinal && fixture.parameters.maxSendDataSegmentLength == 4096)
        // Once in each negotiation, and so again in the next.
        _ = fixture.ask(["MaxRecvDataSegmentLength": "1024"])
        #expect(fixture.parameters.maxSendDataSegmentLength == 1024)

        let repeated = failing.ask(tag: first.header.targetTransferTag, ["MaxRecvDataSegmentLength": "1024"])
        #expect(repeated.rejection == .protocolError && !failing.machine.isActive)
        #expect(failing.parameters == NegotiatedParameters())

        #expect(abandoned.ask(task: 6, ["InitiatorAlias": "a"]).response?.header.isFinal == true)
        #expect(abandoned.parameters == NegotiatedParameters())
    }

    @Test("Bad lengths are answered and change nothing", arguments: ["511", "16777216", "-1", "x", "", "1e4"])
    func badLength(value: String) throws {
        var fixture = TextFixture(.normal)
        let text = try #require(fixture.ask(["MaxRecvDataSegmentLength": value]).response?.text)
        #expect(try TextCodec.parse(text.rawSpan) == [TextParameter("MaxRecvDataSegmentLength", "Reject")])
        #expect(fixture.parameters == NegotiatedParameters())
    }

    // MARK: Sequences

    @Test("A text over several requests")
    func continued() throws {
        var fixture = TextFixture()
        fixture.targets = targets(1)
        let text = Array("SendTargets=All\0".utf8)
        var tag = reservedTag
        for byte in text.dropLast() {
            let (response, answer) = try #require(
                fixture.ask(tag: tag, final: false, continued: true, text: [byte]).response)
            #expect(answer.isEmpty && !response.isFinal && !response.isContinued)
            #expect(response.targetTransferTag != reservedTag && response.targetTransferTag != tag)
            tag = response.targetTransferTag
        }
        let (response, answer) = try #require(fixture.ask(tag: tag, text: [0]).response)
        #expect(response.isFinal)
        #expect(SendTargets.parse(try TextCodec.parse(answer.rawSpan)) == fixture.targets)
    }

    @Test("The initiator's F bit ends the negotiation, not the target's")
    func finalBit() throws {
        var fixture = TextFixture(.normal)
        var tag = reservedTag
        for _ in 0..<3 {
            let response = try #require(fixture.ask(tag: tag, final: false, [:]).response?.header)
            #expect(!response.isFinal && fixture.machine.isActive)
            tag = response.targetTransferTag
        }
        #expect(fixture.ask(tag: tag, [:]).response?.header.isFinal == true)
        #expect(!fixture.machine.isActive)
        #expect(fixture.ask(tag: tag, [:]).rejection == .invalidPDUField, "it is over")
    }

    @Test("A request without target transfer tag ends the negotiation under way")
    func restart() throws {
        var fixture = TextFixture()
        fixture.targets = targets(100)
        fixture.parameters.maxSendDataSegmentLength = 512
        let old = try #require(fixture.ask(task: 1, ["SendTargets": "All"]).response?.header)
        let new = try #require(fixture.ask(task: 2, ["SendTargets": "All"]).response?.header)
        #expect(new.initiatorTaskTag == 2 && new.targetTransferTag != old.targetTransferTag)
        #expect(fixture.ask(tag: old.targetTransferTag, task: 1, [:]).rejection == .invalidPDUField)
        #expect(fixture.ask(tag: new.targetTransferTag, task: 2, [:]).rejection == .invalidPDUField, "and that ends it")
    }

    @Test("An answer that nobody asks for any more is not kept")
    func idle() throws {
        var fixture = TextFixture()
        fixture.targets = targets(100)
        fixture.parameters.maxSendDataSegmentLength = 512
        var response = try #require(fixture.ask(["SendTargets": "All"]).response?.header)
        for _ in 0..<3 {
            fixture.machine.elapse()
            #expect(fixture.machine.isActive)
            response = try #require(fixture.ask(tag: response.targetTransferTag, [:]).response?.header)
        }
        fixture.machine.elapse()
        fixture.machine.elapse()
        #expect(!fixture.machine.isActive)
        #expect(fixture.ask(tag: response.targetTransferTag, [:]).rejection == .invalidPDUField)
    }

    @Test("Wrong tags, wrong bits, repeated keys, broken and long texts are rejected")
    func rejected() throws {
        func rejection(_ request: (inout TextFixture) -> TextStep) -> RejectReason? {
            var fixture = TextFixture(.normal)
            let reason = request(&fixture).rejection
            #expect(!fixture.machine.isActive)
            return reason
        }
        #expect(rejection { $0.ask(tag: 9, [:]) } == .invalidPDUField)
        #expect(rejection { $0.ask(task: reservedTag, [:]) } == .invalidPDUField)
        #expect(rejection { $0.ask(continued: true, [:]) } == .protocolError)
        #expect(rejection { $0.ask(["InitiatorAlias": "a", "InitiatorAlias": "b"]) } == .protocolError)
        #expect(rejection { $0.ask(["SendTargets": "All", "SendTargets": "All"]) } == .protocolError)
        #expect(rejection { $0.ask(text: Array("SendTargets=All".utf8)) } == .protocolError)
        #expect(rejection { $0.ask(text: Array("SendTargets\0".utf8)) } == .protocolError)
        var fixture = TextFixture(.normal)
        fixture.targets = targets(1)
        let long = Array("X-a=\(String(repeating: "a", count: 200))\0".utf8)
        let part = [UInt8]((0..<50).map { _ in long }.joined())
        let response = try #require(fixture.ask(final: false, continued: true, text: part).response?.header)
        let step = fixture.ask(tag: response.targetTransferTag, final: false, continued: true, text: part)
        #expect(step.rejection == .protocolError && !fixture.machine.isActive)
    }

    @Test("New keys while an answer goes out are no continuation")
    func keysInContinuation() throws {
        var fixture = TextFixture()
        fixture.targets = targets(100)
        fixture.parameters.maxSendDataSegmentLength = 512
        let tag = try #require(fixture.ask(["SendTargets": "All"]).response?.header.targetTransferTag)
        var (keys, part, nothing) = (fixture, fixture, fixture)
        #expect(keys.ask(tag: tag, ["InitiatorAlias": "a"]).rejection == .protocolError)
        #expect(part.ask(tag: tag, final: false, continued: true, [:]).rejection == .protocolError)
        #expect(nothing.ask(tag: tag, text: [0, 0]).response?.header.isContinued == true, "NULs are no keys")
    }
}

extension TextStep {
    /// The response, if it is one.
    fileprivate var response: (header: TextResponsePDU, text: [UInt8])? {
        if case .respond(let header, let text) = self { (header, text) } else { nil }
    }

    /// Why the request is rejected, if it is.
    fileprivate var rejection: RejectReason? {
        if case .reject(let reason) = self { reason } else { nil }
    }
}
