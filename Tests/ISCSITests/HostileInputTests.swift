import Bytes
import ISCSI
import SCSI
import TestSupport
import Testing

/// Parses `bytes` as one kind of header; what is parsed must encode to something that parses to the same again.
private func roundTrips<Header: PDUHeader>(_ kind: Header.Type, _ bytes: [UInt8]) -> Bool {
    guard let header = Header(parsing: bytes.rawSpan) else { return true }
    let first = encoded(header)
    guard let again = Header(parsing: first.rawSpan) else { return false }
    return encoded(again) == first
}

/// Random bytes into every parser: each must give an answer, none may stop the process.
@Suite("Hostile input")
struct HostileInputTests {
    @Test("Headers of random bytes", arguments: 0..<16 as Range<UInt64>)
    func headers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let opcodes: [UInt8] = [
            0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3F,
        ]
        for opcode in opcodes {
            for _ in 0..<50 {
                var bytes = random.bytes(48)
                bytes[0] = bytes[0] & 0xC0 | opcode
                #expect(
                    roundTrips(NOPOutPDU.self, bytes) && roundTrips(SCSICommandPDU.self, bytes)
                        && roundTrips(TaskManagementRequestPDU.self, bytes)
                        && roundTrips(LoginRequestPDU.self, bytes) && roundTrips(TextRequestPDU.self, bytes)
                        && roundTrips(DataOutPDU.self, bytes) && roundTrips(LogoutRequestPDU.self, bytes)
                        && roundTrips(SNACKRequestPDU.self, bytes))
                #expect(
                    roundTrips(NOPInPDU.self, bytes) && roundTrips(SCSIResponsePDU.self, bytes)
                        && roundTrips(TaskManagementResponsePDU.self, bytes)
                        && roundTrips(LoginResponsePDU.self, bytes) && roundTrips(TextResponsePDU.self, bytes)
                        && roundTrips(DataInPDU.self, bytes) && roundTrips(LogoutResponsePDU.self, bytes)
                        && roundTrips(ReadyToTransferPDU.self, bytes) && roundTrips(AsyncMessagePDU.self, bytes)
                        && roundTrips(RejectPDU.self, bytes))
            }
        }
    }

    @Test("Framing and additional headers of random bytes", arguments: 0..<16 as Range<UInt64>)
    func framing(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let bytes = random.bytes(Int.random(in: 0...96, using: &random))
            let framer = PDUFramer(
                maximumDataSegmentLength: 8192, hasHeaderDigest: Bool.random(using: &random),
                hasDataDigest: Bool.random(using: &random))
            switch framer.frame(bytes.rawSpan) {
            case .needsHeader(let more): #expect(more > 0)
            case .header(let layout): #expect(layout.dataSegmentLength <= 8192 && layout.totalLength % 4 == 0)
            case .failed: break
            }
            _ = try? AdditionalHeaderSegments(parsing: bytes.rawSpan, cdb: CommandDescriptorBlock())
        }
    }

    @Test("Texts of random bytes and of broken pairs", arguments: 0..<16 as Range<UInt64>)
    func texts(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let alphabet = Array(
            "InitiatorName=iqn.2026-11.dev:x\0MaxBurstLength=0x\0\0CHAP_A=5,7,\0HeaderDigest=\u{FC}".utf8)
        for _ in 0..<300 {
            let noise = random.bytes(Int.random(in: 0...64, using: &random))
            _ = try? TextCodec.parse(noise.rawSpan)
            let likely = (0..<Int.random(in: 0...300, using: &random)).map { _ in
                alphabet.randomElement(using: &random)!
            }
            if let parameters = try? TextCodec.parse(likely.rawSpan) {
                let again = try? TextCodec.parse(TextCodec.format(parameters).rawSpan)
                #expect(again == parameters)
            }
            let value = String(decoding: random.bytes(12), as: UTF8.self)
            _ = TextCodec.number(value)
            _ = TextCodec.binary("0x" + value)
            _ = TextCodec.binary("0b" + value)
            _ = ISCSIName.normalized("iqn." + value)
        }
    }

    @Test("A login of random requests ends within its limit", arguments: 0..<32 as Range<UInt64>)
    func logins(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var machine = LoginMachine(authority: StubAuthority(), windowLimit: 32)
        let keys = OperationalKey.table.map(\.name) + ["AuthMethod", "CHAP_A", "CHAP_N", "Unknown"]
        let values = ["Yes", "No", "None", "1", "65536", "All", "", "Reject", targetName, initiatorName, "Normal"]
        var steps = 0
        var isOver = false
        while !isOver {
            var bytes = random.bytes(48)
            bytes[0] = 0x43
            bytes[1] &= 0x8F
            bytes.replaceSubrange(2..<48, with: repeatElement(0, count: 46))
            if Int.random(in: 0..<8, using: &random) == 0 { bytes[Int.random(in: 0..<48, using: &random)] ^= 0x10 }
            var parameters = [TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName)]
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                parameters.append(
                    TextParameter(keys.randomElement(using: &random)!, values.randomElement(using: &random)!))
            }
            let text = TextCodec.format(parameters)
            switch machine.receive(header: bytes.rawSpan, data: text.rawSpan) {
            case .reply: break
            case .finished, .refused, .drop: isOver = true
            }
            steps += 1
        }
        #expect(steps <= LoginLimits.requestCount + 1)
    }

    @Test("No random order of security keys gets past CHAP", arguments: 0..<32 as Range<UInt64>)
    func authentication(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var authority = StubAuthority()
        authority.grant.authentication = .chap(
            initiators: [CHAPCredential(name: "host", secret: Array("twelve bytes".utf8))],
            target: CHAPCredential(name: "target", secret: Array("other secret".utf8)), provider: toyProvider)
        let keys: [(String, [String])] = [
            ("AuthMethod", ["CHAP", "None", "CHAP,None", ""]), ("CHAP_A", ["5", "7,5", "99", ""]),
            ("CHAP_N", ["host", "target", "0x", ""]), ("CHAP_R", ["0x00", "0b", "zz", "0x0011223344556677"]),
            ("CHAP_I", ["1", "256", "0b", ""]), ("CHAP_C", ["0x11", "0b////", ""]), ("MaxBurstLength", ["512"]),
        ]
        for _ in 0..<200 {
            var (machine, script) = (LoginMachine(authority: authority, windowLimit: 32), LoginScript())
            var parameters = [TextParameter("InitiatorName", initiatorName), TextParameter("TargetName", targetName)]
            var step: LoginStep
            repeat {
                for _ in 0..<Int.random(in: 0...2, using: &random) {
                    let (key, values) = keys.randomElement(using: &random)!
                    parameters.append(TextParameter(key, values.randomElement(using: &random)!))
                }
                let stage: LoginStage =
                    Int.random(in: 0..<8, using: &random) == 0 ? .operationalNegotiation : .securityNegotiation
                let next: [LoginStage?] = [nil, .operationalNegotiation, .fullFeaturePhase]
                step = script.send(
                    &machine, stage: stage, to: next.randomElement(using: &random)!,
                    text: TextCodec.format(parameters))
                parameters = []
                #expect(step.result == nil && step.reply?.header.isTransit == false)
            } while step.refusal == nil
        }
    }

    @Test(
        "An initiator's login at a target of random replies ends within its limit", arguments: 0..<32 as Range<UInt64>)
    func initiatorLogins(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let keys = OperationalKey.table.map(\.name) + ["AuthMethod", "CHAP_A", "CHAP_C", "CHAP_I", "CHAP_N", "CHAP_R"]
        let values = ["Yes", "No", "None", "CHAP", "5", "0x01", "65536", "", "Reject", "NotUnderstood", targetName]
        for _ in 0..<100 {
            var configuration = InitiatorLoginConfiguration(initiatorName: initiatorName, targetName: targetName)
            if Bool.random(using: &random) {
                configuration.credential = CHAPCredential(name: "host", secret: [1])
                configuration.targetCredential = CHAPCredential(name: "target", secret: [2])
                configuration.provider = toyProvider
            }
            configuration.startsWithSecurityStage = Bool.random(using: &random)
            var machine = LoginInitiatorMachine(configuration)
            _ = machine.start()
            var count = 0
            var isOver = false
            while !isOver {
                var response = LoginResponsePDU()
                response.initiatorTaskTag = configuration.initiatorTaskTag
                response.initiatorSessionID = configuration.initiatorSessionID
                response.isTransit = Bool.random(using: &random)
                response.isContinued = Int.random(in: 0..<4, using: &random) == 0
                response.currentStageCode = UInt8.random(in: 0...1, using: &random)
                response.nextStageCode = UInt8.random(in: 0...3, using: &random)
                response.targetSessionHandle = UInt16.random(in: 0...1, using: &random)
                var text = (0..<Int.random(in: 0...3, using: &random)).flatMap { _ in
                    TextCodec.format([
                        TextParameter(keys.randomElement(using: &random)!, values.randomElement(using: &random)!)
                    ])
                }
                if Int.random(in: 0..<10, using: &random) == 0 { text += random.bytes(9) }
                count += 1
                switch machine.receive(response, data: text.rawSpan) {
                case .send: break
                case .finished:
                    #expect(configuration.credential == nil, "nobody proved anything")
                    isOver = true
                case .failed: isOver = true
                }
            }
            #expect(count <= LoginLimits.requestCount + 1)
        }
    }

    @Test("Text requests of random flags", arguments: 0..<16 as Range<UInt64>)
    func textRequests(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var machine = TextMachine(sessionType: .discovery, settings: .target)
        var parameters = NegotiatedParameters()
        for _ in 0..<300 {
            var request = TextRequestPDU()
            request.isFinal = Bool.random(using: &random)
            request.isContinued = Bool.random(using: &random)
            request.initiatorTaskTag = UInt32.random(in: 0...1, using: &random)
            request.targetTransferTag = [reservedTag, 0, 1, 2].randomElement(using: &random)!
            let text = [TextCodec.format([TextParameter("SendTargets", "All")]), random.bytes(20), []]
                .randomElement(using: &random)!
            let step = machine.receive(request, data: text.rawSpan, parameters: &parameters) { _ in [] }
            if case .respond(let response, let text) = step { #expect(response.dataSegmentLength == text.count) }
        }
    }
}
