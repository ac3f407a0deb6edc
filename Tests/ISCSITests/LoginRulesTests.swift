import Bytes
import ISCSI
import Testing

/// The rules of the login phase, tried with everything that a request can say (RFC 7143 sections 6.3, 11.12 and 11.13).
@Suite("Rules of the login phase")
struct LoginRulesTests {
    private static let names = TextCodec.format([
        TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName),
    ])

    private func machine(_ authority: StubAuthority = StubAuthority()) -> LoginMachine<StubAuthority> {
        LoginMachine(authority: authority, windowLimit: 32)
    }

    /// Sends one request with everything in `header` as it is.
    private func send(
        _ machine: inout LoginMachine<StubAuthority>, _ header: LoginRequestPDU, _ text: [UInt8]
    ) -> LoginStep {
        machine.receive(header: encoded(header).rawSpan, data: text.rawSpan)
    }

    // MARK: Stages

    /// One combination of CSG, NSG, T and C.
    private struct Step: Hashable {
        var current: UInt8
        var next: UInt8
        var isTransit: Bool
        var isContinued: Bool

        static let all: [Step] = (0..<4).flatMap { current in
            (0..<4).flatMap { next in
                [false, true].flatMap { transit in
                    [false, true].map {
                        Step(current: UInt8(current), next: UInt8(next), isTransit: transit, isContinued: $0)
                    }
                }
            }
        }

        /// Whether a login in `stage` may go on with it: 0 → 1 → 3 or 0 → 3, never 2, and NSG counts only with
        /// the T bit.
        func isAllowed(in stage: UInt8?) -> Bool {
            guard current == 0 || current == 1, stage == nil || stage == current else { return false }
            guard isTransit else { return true }
            return !isContinued && (next == 3 || (current == 0 && next == 1))
        }

        var header: LoginRequestPDU {
            var header = LoginScript().header
            header.currentStageCode = current
            header.nextStageCode = next
            header.isTransit = isTransit
            header.isContinued = isContinued
            return header
        }
    }

    @Test("Every first request's stages and bits")
    func firstStep() {
        #expect(Step.all.count == 64)
        for step in Step.all {
            var machine = self.machine()
            let answer = send(&machine, step.header, Self.names)
            #expect(answer.refusal == (step.isAllowed(in: nil) ? nil : .initiatorError), "\(step)")
            guard let reply = answer.reply, step.isAllowed(in: nil) else { continue }
            #expect(reply.header.currentStageCode == step.current && reply.header.isTransit == step.isTransit)
            if step.isTransit { #expect(reply.header.nextStageCode == step.next) }
            if step.isContinued { #expect(reply.text.isEmpty && !reply.header.isContinued) }
            #expect((answer.result != nil) == (step.isTransit && step.next == 3))
            #expect(reply.header.versionMax == 0 && reply.header.versionActive == 0)
        }
    }

    @Test("Every second request's stages and bits, after every good first one")
    func secondStep() {
        for first in Step.all where first.isAllowed(in: nil) && !(first.isTransit && first.next == 3) {
            let stage = first.isTransit ? first.next : first.current
            for second in Step.all {
                var machine = self.machine()
                _ = send(&machine, first.header, first.isContinued ? Array(Self.names.prefix(9)) : Self.names)
                let rest = first.isContinued ? Array(Self.names.dropFirst(9)) : []
                let answer = send(&machine, second.header, rest)
                let isAllowed = second.isAllowed(in: stage)
                #expect(answer.refusal == (isAllowed ? nil : .initiatorError), "\(first) then \(second)")
                #expect((answer.result != nil) == (isAllowed && second.isTransit && second.next == 3))
            }
        }
    }

    // MARK: Header fields

    @Test("Versions: 0 must be among them")
    func versions() {
        for (minimum, maximum) in [(UInt8(0), UInt8(0)), (0, 1), (0, 255), (1, 1), (1, 0), (2, 255), (255, 255)] {
            var header = Step(current: 1, next: 3, isTransit: true, isContinued: false).header
            (header.versionMin, header.versionMax) = (minimum, maximum)
            var machine = self.machine()
            #expect(send(&machine, header, Self.names).refusal == (minimum == 0 ? nil : .unsupportedVersion))
        }
    }

    @Test("ISIDs: three formats are defined, the fourth is reserved")
    func initiatorSessionIDs() {
        for format in UInt64(0)..<4 {
            for rest in [UInt64(0), 1, 0x3FFF_FFFF_FFFF] {
                var header = Step(current: 1, next: 3, isTransit: true, isContinued: false).header
                header.initiatorSessionID = InitiatorSessionID(rawValue: format << 46 | rest)
                var machine = self.machine()
                let step = send(&machine, header, Self.names)
                #expect(step.refusal == (format == 3 ? .initiatorError : nil))
                #expect(step.reply?.header.initiatorSessionID == header.initiatorSessionID)
            }
        }
    }

    @Test("The reserved tag is no tag of a login")
    func reservedTaskTag() {
        var header = Step(current: 1, next: 3, isTransit: true, isContinued: false).header
        header.initiatorTaskTag = reservedTag
        var machine = self.machine()
        #expect(send(&machine, header, Self.names).refusal == .initiatorError)
    }

    @Test("The TSIH comes with the last response only; StatSN counts, and CmdSN does not")
    func numbers() throws {
        var (machine, script) = (self.machine(), LoginScript())
        var steps: [LoginStep] = []
        steps.append(script.send(&machine, stage: .securityNegotiation, text: Self.names))
        steps.append(script.send(&machine, stage: .securityNegotiation, to: .operationalNegotiation))
        steps.append(script.send(&machine, stage: .operationalNegotiation, isContinued: true))
        steps.append(script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase))
        for (number, step) in steps.enumerated() {
            let header = try #require(step.reply?.header)
            #expect(header.targetSessionHandle == (number == 3 ? 7 : 0))
            #expect(header.statSN == SequenceNumber(UInt32(number + 1)))
            #expect(header.expCmdSN == SequenceNumber(100) && header.maxCmdSN == SequenceNumber(131))
            #expect(header.initiatorTaskTag == 0x55)
        }
        #expect(try steps.map { try $0.parameters()["TargetPortalGroupTag"] } == ["1", nil, nil, nil])
    }

    // MARK: Identity

    @Test("Who logs in is said in the first text, and nothing else later")
    func laterIdentity() {
        func refusal(discovery: Bool = false, _ key: String, _ value: String) -> LoginStatus? {
            var (machine, script) = (self.machine(), LoginScript())
            let first =
                discovery
                ? TextCodec.format([
                    TextParameter("InitiatorName", initiatorName), TextParameter("SessionType", "Discovery"),
                ]) : Self.names
            _ = script.send(&machine, stage: .operationalNegotiation, text: first)
            return script.send(
                &machine, stage: .operationalNegotiation, to: .fullFeaturePhase,
                text: TextCodec.format([TextParameter(key, value)])
            ).refusal
        }
        #expect(refusal("InitiatorName", initiatorName) == nil)
        #expect(refusal("InitiatorName", "iqn.2026-11.dev:other") == .initiatorError)
        #expect(refusal("TargetName", targetName) == nil)
        #expect(refusal("TargetName", "iqn.2026-11.dev:other") == .initiatorError)
        #expect(refusal("SessionType", "Normal") == nil)
        #expect(refusal("SessionType", "Discovery") == .initiatorError)
        #expect(refusal("InitiatorAlias", "late") == nil)
        #expect(refusal(discovery: true, "TargetName", targetName) == .initiatorError)
        #expect(refusal(discovery: true, "SessionType", "Normal") == .initiatorError)
        #expect(refusal(discovery: true, "SessionType", "Discovery") == nil)
    }

    @Test(
        "Keys that only a target may say end the login",
        arguments: ["TargetAlias", "TargetAddress", "TargetPortalGroupTag"])
    func targetKeys(key: String) {
        for stage in [LoginStage.securityNegotiation, .operationalNegotiation] {
            var (machine, script) = (self.machine(), LoginScript())
            let text = Self.names + Array("\(key)=1\0".utf8)
            #expect(script.send(&machine, stage: stage, text: text).refusal == .initiatorError)
        }
    }

    @Test("A discovery session with a target's name, or in a session that there is")
    func discovery() {
        func login(_ handle: UInt16, _ pairs: KeyValuePairs<String, String>) -> LoginStep {
            var (machine, script) = (self.machine(), LoginScript())
            script.header.targetSessionHandle = handle
            return script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase, pairs)
        }
        let named = login(
            0, ["InitiatorName": initiatorName, "SessionType": "Discovery", "TargetName": targetName])
        #expect(named.result?.identity.targetName == targetName)
        #expect(named.result?.identity.sessionType == .discovery)
        let joining = login(7, ["InitiatorName": initiatorName, "SessionType": "Discovery"])
        #expect(joining.refusal == .cannotIncludeInSession)
        for bad in ["", "normal", "DISCOVERY", "Normal ", "Discovery,Normal"] {
            let step = login(0, ["InitiatorName": initiatorName, "SessionType": bad, "TargetName": targetName])
            #expect(step.refusal == .sessionTypeNotSupported)
        }
    }

    @Test("A discovery session recovers nothing and has one connection")
    func discoveryParameters() throws {
        var authority = StubAuthority()
        authority.grant.settings.preferred.errorRecoveryLevel = 2
        authority.grant.settings.preferred.maxConnections = 8
        var (machine, script) = (self.machine(authority), LoginScript())
        let step = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase,
            [
                "InitiatorName": initiatorName, "SessionType": "Discovery", "ErrorRecoveryLevel": "2",
                "MaxConnections": "4",
            ])
        let answers = try step.parameters()
        #expect(answers["ErrorRecoveryLevel"] == "0" && answers["MaxConnections"] == "Irrelevant")
        #expect(step.result?.parameters.errorRecoveryLevel == 0 && step.result?.parameters.maxConnections == 1)
    }

    @Test("The first text says who logs in: nothing of it may be missing or malformed")
    func missing() {
        func refusal(_ pairs: KeyValuePairs<String, String>) -> LoginStatus? {
            var (machine, script) = (self.machine(), LoginScript())
            return script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase, pairs).refusal
        }
        #expect(refusal(["SessionType": "Discovery"]) == .missingParameter)
        #expect(refusal(["InitiatorName": "", "TargetName": targetName]) == .initiatorError)
        let long = "iqn.2026-11." + String(repeating: "a", count: 212)
        #expect(refusal(["InitiatorName": long, "TargetName": targetName]) == .initiatorError)
        #expect(refusal(["InitiatorName": initiatorName, "TargetName": ""]) == .targetNotFound)
        #expect(refusal(["InitiatorName": initiatorName, "TargetName": long]) == .targetNotFound)
        #expect(refusal(["InitiatorName": initiatorName, "TargetName": targetName.uppercased()]) == nil)
        #expect(refusal(["initiatorname": initiatorName, "TargetName": targetName]) == .missingParameter)
    }

    // MARK: Limits

    @Test("Keys of 63 bytes and values of 255 are taken; longer ones end the login")
    func lengths() {
        func refusal(key: Int, value: Int) -> LoginStatus? {
            var (machine, script) = (self.machine(), LoginScript())
            let pair = "X-\(String(repeating: "k", count: key - 2))=\(String(repeating: "v", count: value))\0"
            return script.send(
                &machine, stage: .operationalNegotiation, to: .fullFeaturePhase, text: Self.names + Array(pair.utf8)
            ).refusal
        }
        #expect(refusal(key: 63, value: 255) == nil)
        #expect(refusal(key: 64, value: 1) == .initiatorError)
        #expect(refusal(key: 3, value: 256) == .initiatorError)
    }

    @Test("Each status that a login can end with is on the wire as the standard numbers it")
    func statusNumbers() {
        let numbers: [(LoginStatus, UInt16)] = [
            (.success, 0x0000), (.targetMovedTemporarily, 0x0101), (.targetMovedPermanently, 0x0102),
            (.initiatorError, 0x0200), (.authenticationFailure, 0x0201), (.authorizationFailure, 0x0202),
            (.targetNotFound, 0x0203), (.targetRemoved, 0x0204), (.unsupportedVersion, 0x0205),
            (.tooManyConnections, 0x0206), (.missingParameter, 0x0207), (.cannotIncludeInSession, 0x0208),
            (.sessionTypeNotSupported, 0x0209), (.sessionDoesNotExist, 0x020A), (.invalidDuringLogin, 0x020B),
            (.targetError, 0x0300), (.serviceUnavailable, 0x0301), (.outOfResources, 0x0302),
        ]
        for (status, number) in numbers {
            #expect(status.rawValue == number && !status.description.hasPrefix("login status"))
            guard status != .success else { continue }
            var authority = StubAuthority()
            authority.admission = .refused(status)
            var (machine, script) = (self.machine(authority), LoginScript())
            let step = script.send(
                &machine, stage: .operationalNegotiation, to: .fullFeaturePhase, text: Self.names)
            let bytes = step.reply.map { encoded($0.header) } ?? []
            #expect(bytes.count == 48 && bytes[36] == UInt8(number >> 8) && bytes[37] == UInt8(number & 0xFF))
            #expect(bytes[1] & 0x80 == 0, "no transit")
        }
    }
}
