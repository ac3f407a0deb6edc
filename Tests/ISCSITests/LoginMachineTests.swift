import Bytes
import ISCSI
import Testing

/// The target's side of the login phase, PDU by PDU (RFC 7143 sections 6.3, 11.12, 11.13).
@Suite("Login at the target")
struct LoginMachineTests {
    private var script = LoginScript()

    private func machine(_ authority: StubAuthority = StubAuthority()) -> LoginMachine<StubAuthority> {
        LoginMachine(authority: authority, windowLimit: 32, firstStatSN: SequenceNumber(9))
    }

    private let identity: KeyValuePairs<String, String> = [
        "InitiatorName": initiatorName, "TargetName": targetName, "SessionType": "Normal",
    ]

    @Test("One request straight to full feature phase, as libiscsi logs in")
    mutating func shortest() throws {
        var machine = self.machine()
        let step = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase,
            [
                "InitiatorName": initiatorName, "TargetName": targetName, "SessionType": "Normal",
                "HeaderDigest": "None,CRC32C", "DataDigest": "None", "InitialR2T": "No", "ImmediateData": "Yes",
                "MaxBurstLength": "262144", "FirstBurstLength": "262144", "DefaultTime2Wait": "2",
                "DefaultTime2Retain": "0", "MaxOutstandingR2T": "1", "ErrorRecoveryLevel": "0", "IFMarker": "No",
                "OFMarker": "No", "MaxConnections": "1", "MaxRecvDataSegmentLength": "262144",
                "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes",
            ])
        let result = try #require(step.result)
        let reply = try #require(step.reply)
        #expect(reply.header.isTransit && !reply.header.isContinued)
        #expect(reply.header.currentStage == .operationalNegotiation)
        #expect(reply.header.nextStage == .fullFeaturePhase)
        #expect(reply.header.targetSessionHandle == 7 && reply.header.initiatorTaskTag == 0x55)
        #expect(reply.header.statSN == SequenceNumber(9))
        #expect(reply.header.expCmdSN == SequenceNumber(100) && reply.header.maxCmdSN == SequenceNumber(131))
        #expect(reply.header.dataSegmentLength == reply.text.count)
        let answers = try step.parameters()
        #expect(answers["TargetPortalGroupTag"] == "1")
        #expect(answers["HeaderDigest"] == "None" && answers["InitialR2T"] == "No")
        #expect(answers["IFMarker"] == "Reject" && answers["OFMarker"] == "Reject")
        #expect(answers["MaxRecvDataSegmentLength"] == "262144")
        #expect(answers["InitiatorName"] == nil && answers["SessionType"] == nil)
        #expect(result.parameters.maxSendDataSegmentLength == 262_144)
        #expect(result.parameters.maxRecvDataSegmentLength == 262_144)
        #expect(!result.parameters.initialR2T && result.parameters.immediateData)
        #expect(result.statusSequence.next == SequenceNumber(10))
        #expect(result.identity.connectionID == 3 && result.identity.targetName == targetName)
    }

    @Test("Security stage first, then operational, names repeated")
    mutating func twoStages() throws {
        var machine = self.machine()
        let first = script.send(
            &machine, stage: .securityNegotiation, to: .operationalNegotiation,
            [
                "InitiatorName": initiatorName, "TargetName": targetName, "SessionType": "Normal",
                "AuthMethod": "CHAP,None",
            ])
        #expect(try first.parameters() == ["TargetPortalGroupTag": "1", "AuthMethod": "None"])
        #expect(first.reply?.header.isTransit == true)
        #expect(first.reply?.header.currentStage == .securityNegotiation)
        #expect(first.reply?.header.nextStage == .operationalNegotiation)
        let second = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase,
            ["InitiatorName": initiatorName, "TargetName": targetName, "MaxBurstLength": "1024"])
        #expect(second.reply?.header.statSN == SequenceNumber(10))
        #expect(second.result?.parameters.maxBurstLength == 1024)
        #expect(second.result?.parameters.firstBurstLength == 1024, "never beyond MaxBurstLength")
    }

    @Test("Security stage straight to full feature phase keeps the defaults")
    mutating func securityOnly() throws {
        var machine = self.machine()
        let step = script.send(&machine, stage: .securityNegotiation, to: .fullFeaturePhase, identity)
        #expect(step.result?.parameters == NegotiatedParameters())
    }

    @Test("A discovery session needs no target name")
    mutating func discovery() throws {
        var machine = self.machine()
        let step = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase,
            ["InitiatorName": initiatorName, "SessionType": "Discovery", "MaxBurstLength": "1024"])
        let answers = try step.parameters()
        #expect(answers["MaxBurstLength"] == "Irrelevant" && answers["TargetPortalGroupTag"] == nil)
        #expect(step.result?.identity.sessionType == .discovery)
    }

    @Test("Without the T bit the stage goes on")
    mutating func noTransit() throws {
        var machine = self.machine()
        let first = script.send(&machine, stage: .operationalNegotiation, identity)
        #expect(first.reply?.header.isTransit == false)
        let second = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
        #expect(second.result != nil)
        #expect(try second.parameters().isEmpty, "the declaration is not repeated")
    }

    @Test("A text over several requests with the C bit")
    mutating func continued() throws {
        var machine = self.machine()
        let text = TextCodec.format([
            TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName),
        ])
        let first = script.send(
            &machine, stage: .operationalNegotiation, isContinued: true, text: Array(text.prefix(20)))
        #expect(first.reply?.text.isEmpty == true && first.reply?.header.isTransit == false)
        let second = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase, text: Array(text.dropFirst(20)))
        #expect(second.result != nil)
    }

    @Test("An answer beyond 8192 bytes goes out with the C bit")
    mutating func longAnswer() throws {
        var machine = self.machine()
        var parameters = [TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName)]
        for number in 0..<118 {
            parameters.append(TextParameter("X-dev.carousel.\(number + 1000).\(String(repeating: "x", count: 40))", ""))
        }
        let text = TextCodec.format(parameters)
        #expect(text.count <= LoginLimits.dataSegmentLength)
        let first = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase, text: text)
        #expect(first.reply?.header.isContinued == true && first.reply?.header.isTransit == false)
        #expect(first.reply?.text.count == 8192)
        for (isContinued, other) in [(false, "X-a=1\0"), (true, "")] {
            var (interrupted, otherScript) = (machine, script)
            let step = otherScript.send(
                &interrupted, stage: .operationalNegotiation, isContinued: isContinued, text: Array(other.utf8))
            #expect(step.refusal == .initiatorError, "the initiator may only ask for the rest")
        }
        let second = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase)
        #expect(second.result != nil)
        let whole = try #require(first.reply?.text) + #require(second.reply?.text)
        let answers = try TextCodec.parse(whole.rawSpan)
        #expect(answers.filter { $0.value == "NotUnderstood" }.count == 118)
    }

    @Test("A target that cannot accept a default offers the key and holds the stage")
    mutating func targetOffer() throws {
        var authority = StubAuthority()
        authority.grant.settings.preferred.maxBurstLength = 65_536
        var machine = self.machine(authority)
        let first = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase, identity)
        #expect(try first.parameters()["MaxBurstLength"] == "65536")
        #expect(first.reply?.header.isTransit == false)
        let second = script.send(
            &machine, stage: .operationalNegotiation, to: .fullFeaturePhase, ["MaxBurstLength": "4096"])
        #expect(second.result?.parameters.maxBurstLength == 4096)
    }

    // MARK: Refusals

    @Test("The first PDU is no Login Request: no answer; a later one is refused")
    mutating func notALogin() throws {
        var silent = self.machine()
        let nop = encoded(NOPOutPDU())
        guard case .drop = silent.receive(header: nop.rawSpan, data: [UInt8]().rawSpan) else {
            Issue.record("an answer before any login")
            return
        }
        var machine = self.machine()
        _ = script.send(&machine, stage: .operationalNegotiation, identity)
        let step = machine.receive(header: nop.rawSpan, data: [UInt8]().rawSpan)
        #expect(step.refusal == .invalidDuringLogin)
    }

    @Test("Names and session types")
    mutating func names() throws {
        func refusal(_ pairs: KeyValuePairs<String, String>) -> LoginStatus? {
            var machine = self.machine()
            var script = LoginScript()
            return script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase, pairs).refusal
        }
        #expect(refusal([:]) == .missingParameter)
        #expect(refusal(["TargetName": targetName]) == .missingParameter)
        #expect(refusal(["InitiatorName": initiatorName]) == .missingParameter)
        #expect(refusal(["InitiatorName": "host", "TargetName": targetName]) == .initiatorError)
        #expect(refusal(["InitiatorName": initiatorName, "TargetName": "iqn.2026-11.dev:none"]) == .targetNotFound)
        #expect(refusal(["InitiatorName": initiatorName, "TargetName": "disk"]) == .targetNotFound)
        #expect(refusal(["InitiatorName": initiatorName, "SessionType": "Odd"]) == .sessionTypeNotSupported)
        #expect(
            refusal(["InitiatorName": initiatorName, "TargetName": targetName, "InitiatorName": "iqn.2026-11.x:y"])
                == .initiatorError)
        #expect(refusal(["InitiatorName": "IQN.2026-11.DEV.Carousel:Host", "TargetName": targetName]) == nil)
    }

    @Test("The authority's refusals reach the initiator")
    mutating func refusals() throws {
        for status: LoginStatus in [
            .authorizationFailure, .targetRemoved, .tooManyConnections, .serviceUnavailable, .outOfResources,
        ] {
            var authority = StubAuthority()
            authority.admission = .refused(status)
            var machine = self.machine(authority)
            let step = script.send(&machine, stage: .operationalNegotiation, identity)
            #expect(step.refusal == status && step.reply?.header.status == status)
            #expect(step.reply?.header.isTransit == false)
        }
        var late = StubAuthority()
        late.session = .refused(.outOfResources)
        var machine = self.machine(late)
        let step = script.send(&machine, stage: .operationalNegotiation, to: .fullFeaturePhase, identity)
        #expect(step.refusal == .outOfResources)
    }

    @Test("A moved target gives its address", arguments: [true, false])
    mutating func moved(permanently: Bool) throws {
        var authority = StubAuthority()
        authority.admission = .moved(address: "192.0.2.1:3260", permanently: permanently)
        var machine = self.machine(authority)
        let step = script.send(&machine, stage: .operationalNegotiation, identity)
        #expect(step.refusal == (permanently ? .targetMovedPermanently : .targetMovedTemporarily))
        #expect(try step.parameters() == ["TargetAddress": "192.0.2.1:3260"])
    }

    @Test("An unknown session")
    mutating func unknownSession() throws {
        var machine = self.machine()
        script.header.targetSessionHandle = 44
        let step = script.send(&machine, stage: .operationalNegotiation, identity)
        #expect(step.refusal == .sessionDoesNotExist && step.reply?.header.targetSessionHandle == 44)
    }

    @Test("Versions without overlap")
    mutating func version() throws {
        var machine = self.machine()
        script.header.versionMin = 1
        script.header.versionMax = 2
        #expect(script.send(&machine, stage: .operationalNegotiation, identity).refusal == .unsupportedVersion)
    }

    @Test("Wrong stages and bits")
    mutating func stages() throws {
        func refusal(_ change: (inout LoginRequestPDU) -> Void) -> LoginStatus? {
            var machine = self.machine()
            var header = LoginScript().header
            header.currentStageCode = 1
            change(&header)
            let text = TextCodec.format(identity.map { TextParameter($0.key, $0.value) })
            return machine.receive(header: encoded(header).rawSpan, data: text.rawSpan).refusal
        }
        #expect(refusal { $0.currentStageCode = 2 } == .initiatorError)
        #expect(refusal { $0.currentStageCode = 3 } == .initiatorError)
        #expect(refusal { ($0.isTransit, $0.nextStageCode) = (true, 2) } == .initiatorError)
        #expect(refusal { ($0.isTransit, $0.nextStageCode) = (true, 1) } == .initiatorError)
        #expect(refusal { ($0.isTransit, $0.nextStageCode) = (true, 0) } == .initiatorError)
        #expect(refusal { ($0.isTransit, $0.nextStageCode, $0.isContinued) = (true, 3, true) } == .initiatorError)
        #expect(refusal { $0.additionalHeaderLength = 4 } == .initiatorError)
        #expect(refusal { $0.nextStageCode = 2 } == nil, "NSG means nothing without the T bit")
    }

    @Test("The numbers of a login stay the same")
    mutating func constants() throws {
        let changes: [(inout LoginRequestPDU) -> Void] = [
            { $0.initiatorTaskTag += 1 }, { $0.initiatorSessionID = InitiatorSessionID(rawValue: 9) },
            { $0.connectionID += 1 }, { $0.cmdSN = SequenceNumber(101) }, { $0.targetSessionHandle = 7 },
        ]
        for change in changes {
            var machine = self.machine()
            var script = LoginScript()
            _ = script.send(&machine, stage: .operationalNegotiation, identity)
            change(&script.header)
            #expect(script.send(&machine, stage: .operationalNegotiation).refusal == .initiatorError)
        }
    }

    @Test("Back to an earlier stage, and a key twice")
    mutating func protocolErrors() throws {
        var back = self.machine()
        _ = script.send(&back, stage: .operationalNegotiation, identity)
        #expect(script.send(&back, stage: .securityNegotiation).refusal == .initiatorError)
        var twice = self.machine()
        _ = script.send(&twice, stage: .operationalNegotiation, identity)
        _ = script.send(&twice, stage: .operationalNegotiation, ["MaxBurstLength": "1024"])
        let step = script.send(&twice, stage: .operationalNegotiation, ["MaxBurstLength": "1024"])
        #expect(step.refusal == .initiatorError)
        var wrongStage = self.machine()
        let early = script.send(
            &wrongStage, stage: .securityNegotiation,
            ["InitiatorName": initiatorName, "TargetName": targetName, "MaxBurstLength": "1024"])
        #expect(early.refusal == .initiatorError)
    }

    @Test("Text and request limits")
    mutating func limits() throws {
        var long = self.machine()
        let part = [UInt8](repeating: UInt8(ascii: "x"), count: 8192)
        #expect(script.send(&long, stage: .operationalNegotiation, isContinued: true, text: part).refusal == nil)
        #expect(script.send(&long, stage: .operationalNegotiation, isContinued: true, text: part).refusal == nil)
        #expect(
            script.send(&long, stage: .operationalNegotiation, isContinued: true, text: part).refusal == .initiatorError
        )
        var slow = self.machine()
        _ = script.send(&slow, stage: .operationalNegotiation, identity)
        for _ in 1..<LoginLimits.requestCount {
            #expect(script.send(&slow, stage: .operationalNegotiation).refusal == nil)
        }
        #expect(script.send(&slow, stage: .operationalNegotiation).refusal == .initiatorError)
    }

    @Test("Broken text")
    mutating func brokenText() throws {
        for text in ["InitiatorName=\(initiatorName)", "InitiatorName\0", "=x\0", "Bad Key=x\0"] {
            var machine = self.machine()
            #expect(
                script.send(&machine, stage: .operationalNegotiation, text: Array(text.utf8)).refusal == .initiatorError
            )
        }
    }
}
