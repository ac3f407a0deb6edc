import Bytes
import SCSI
import SRP
import TestSupport
import Testing

/// Parses `bytes` as one kind of information unit. What is parsed must encode to bytes that parse to the same again,
/// and all of its length must have been there.
private func isKept<Unit: SRPInformationUnit>(_ kind: Unit.Type, _ bytes: [UInt8]) -> Bool {
    guard let unit = try? Unit(parsing: bytes.rawSpan) else { return true }
    guard unit.length <= bytes.count else { return false }
    let first = encoded(unit)
    guard let again = try? Unit(parsing: first.rawSpan) else { return kind is any Listed.Type }
    return encoded(again) == first
}

/// Information units whose encoding leaves out what decides on their validity: the descriptors of lists.
private protocol Listed {}
extension SRPCommand: Listed {}

private func areKept(_ bytes: [UInt8]) -> Bool {
    isKept(SRPLoginRequest.self, bytes) && isKept(SRPLoginResponse.self, bytes) && isKept(SRPLoginReject.self, bytes)
        && isKept(SRPInitiatorLogout.self, bytes) && isKept(SRPTargetLogout.self, bytes)
        && isKept(SRPTaskManagement.self, bytes) && isKept(SRPCommand.self, bytes) && isKept(SRPResponse.self, bytes)
        && isKept(SRPCreditRequest.self, bytes) && isKept(SRPCreditResponse.self, bytes)
        && isKept(SRPAsyncEventRequest.self, bytes) && isKept(SRPAsyncEventResponse.self, bytes)
}

/// Random bytes into every parser: each must give an answer, none may stop the process.
@Suite("Hostile information units")
struct HostileInputTests {
    private static let types: [UInt8] = [
        0x00, 0x01, 0x02, 0x03, 0x41, 0x42, 0x80, 0x81, 0x82, 0xC0, 0xC1, 0xC2,
    ]

    /// A valid one of each type, commands with all formats among them.
    private static let samples: [[UInt8]] = {
        var command = SRPCommand()
        command.dataIn = .direct(Samples.descriptor)
        var indirect = SRPCommand()
        indirect.dataOut = Samples.indirect(tableCount: 3, dataLength: 1500, listCount: 3)
        var partial = SRPCommand()
        partial.dataIn = Samples.indirect(tableCount: 9, dataLength: 1500, listCount: 2)
        var immediate = SRPCommand()
        immediate.dataOut = .immediate(20)
        immediate.immediateDataOffset = 80
        var response = SRPResponse(.complete, tag: 1, requestLimitDelta: 1)
        response.senseLength = 18
        var event = SRPAsyncEventRequest()
        event.senseLength = 18
        return [
            encoded(Samples.loginRequest), encoded(SRPLoginResponse()), encoded(SRPLoginReject()),
            encoded(SRPInitiatorLogout()), encoded(SRPTargetLogout(.inactive)),
            encoded(SRPTaskManagement(.abortTask, tag: 1)), encoded(response), encoded(event),
            encoded(SRPCreditRequest()), encoded(SRPCreditResponse()), encoded(SRPAsyncEventResponse()),
            encoded(SRPCommand()), encoded(command),
            Samples.bytes(of: indirect, dataOut: Samples.list([500, 500, 500])),
            Samples.bytes(of: partial, dataIn: Samples.list([5, 5])), encoded(immediate),
        ]
    }()

    private static let rules = SRPCommandRules(immediateDataOffset: 80)

    /// The places of a command that was parsed are inside of it, and its descriptors can be read.
    private func expectPlaces(_ command: SRPCommand, _ bytes: [UInt8]) {
        #expect(command.length <= bytes.count)
        for range in [command.dataOutList, command.dataInList] {
            #expect(range.lowerBound >= SRPCommand.minimumLength && range.upperBound <= bytes.count)
            let list = SRPDescriptorList(bytes.rawSpan.extracting(range))
            _ = list.dataLength
        }
        if let data = command.immediateData {
            #expect(data.upperBound <= bytes.count)
            #expect(data.lowerBound >= command.dataInList.upperBound)
        }
    }

    @Test("Every length of every information unit that is too short is refused")
    func truncation() throws {
        for sample in Self.samples {
            let type = SRPInformationUnitType(rawValue: sample[0])
            for count in 0..<sample.count {
                let bytes = Array(sample.prefix(count))
                let short: SRPError
                switch type {
                case .loginRequest: short = try refusal(SRPLoginRequest.self, bytes)
                case .loginResponse: short = try refusal(SRPLoginResponse.self, bytes)
                case .loginReject: short = try refusal(SRPLoginReject.self, bytes)
                case .initiatorLogout: short = try refusal(SRPInitiatorLogout.self, bytes)
                case .targetLogout: short = try refusal(SRPTargetLogout.self, bytes)
                case .taskManagement: short = try refusal(SRPTaskManagement.self, bytes)
                case .response: short = try refusal(SRPResponse.self, bytes)
                case .creditRequest: short = try refusal(SRPCreditRequest.self, bytes)
                case .creditResponse: short = try refusal(SRPCreditResponse.self, bytes)
                case .asyncEventRequest: short = try refusal(SRPAsyncEventRequest.self, bytes)
                case .asyncEventResponse: short = try refusal(SRPAsyncEventResponse.self, bytes)
                default:
                    short = try error { () throws(SRPError) in
                        try SRPCommand(parsing: bytes.rawSpan, rules: Self.rules).tag
                    }
                }
                switch short.remedy {
                case .loginReject: #expect(type == .loginRequest)
                case .initiatorLogout: #expect(type.isTargetType)
                case .targetLogout(let reason):
                    #expect(reason == (count == 0 ? .invalidType : .invalidLength))
                case .response(let code): #expect(type == .command && count >= 48 && code == .requestFieldsInvalid)
                }
            }
        }
    }

    private func refusal<Unit: SRPInformationUnit>(_ kind: Unit.Type, _ bytes: [UInt8]) throws -> SRPError {
        try error { () throws(SRPError) in try Unit(parsing: bytes.rawSpan).tag }
    }

    @Test("Headers: what is too short, and what no standard defines")
    func headers() throws {
        for type in UInt8.min...UInt8.max {
            let unit = SRPInformationUnitType(rawValue: type)
            for count in 1...16 {
                let bytes = [type] + [UInt8](repeating: 0, count: count - 1)
                if unit.isInitiatorType || unit.isTargetType, count == 16 {
                    #expect(try SRPHeader(parsing: bytes.rawSpan).type == unit)
                    continue
                }
                let refusal = try error { () throws(SRPError) in try SRPHeader(parsing: bytes.rawSpan) }
                if unit.isInitiatorType || unit.isTargetType {
                    #expect(refusal == .tooShort(unit, length: count, needed: 16))
                } else {
                    #expect(refusal == .unknownType(type) && refusal.remedy == .targetLogout(.invalidType))
                }
            }
        }
        let nothing: [UInt8] = []
        #expect(try error { () throws(SRPError) in try SRPHeader(parsing: nothing.rawSpan) } == .empty)
    }

    @Test("An information unit where another one is expected ends the channel, at both sides")
    func unexpected() throws {
        for bytes in [encoded(SRPLoginResponse()), encoded(SRPCreditResponse())] {
            let type = SRPInformationUnitType(rawValue: bytes[0])
            let atTarget = try refusal(SRPTaskManagement.self, bytes)
            #expect(atTarget == .unexpectedType(type, expected: .taskManagement))
            #expect(atTarget.remedy == .targetLogout(.invalidType))
            #expect(try refusal(SRPResponse.self, bytes).remedy == .initiatorLogout)
        }
    }

    @Test("Responses that contradict themselves")
    func responses() throws {
        var bytes = encoded(SRPResponse(.complete, tag: 1, requestLimitDelta: 1))
        for flags: UInt8 in [0x0C, 0x30, 0x3C] {
            bytes[18] = flags
            #expect(try refusal(SRPResponse.self, bytes) == .contradictoryResidual)
        }
        bytes[18] = 0x01
        bytes[35] = 3
        #expect(try refusal(SRPResponse.self, bytes) == .responseDataLength(3))
        #expect(try refusal(SRPResponse.self, bytes).remedy == .initiatorLogout)
        bytes.replaceSubrange(32..<36, with: [0xFF, 0xFF, 0xFF, 0xFF])
        bytes.replaceSubrange(28..<32, with: [0xFF, 0xFF, 0xFF, 0xFF])
        bytes[18] = 0x03
        #expect(
            try refusal(SRPResponse.self, bytes)
                == .tooShort(.response, length: 40, needed: 36 + 2 * 0xFFFF_FFFF))
    }

    @Test("Information units of random bytes", arguments: 0..<16 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for type in Self.types {
            for _ in 0..<60 {
                var bytes = random.bytes(Int.random(in: 0...200, using: &random))
                if !bytes.isEmpty { bytes[0] = type }
                #expect(areKept(bytes))
                _ = try? SRPLoginRequest(parsingPrivateData: bytes.rawSpan)
                _ = try? SRPHeader(parsing: bytes.rawSpan)
            }
        }
    }

    @Test("Valid information units with wrong bytes", arguments: 0..<8 as Range<UInt64>)
    func mutations(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for sample in Self.samples {
            for _ in 0..<100 {
                var bytes = sample
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    bytes[Int.random(in: 1..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
                #expect(areKept(bytes))
                if let command = try? SRPCommand(parsing: bytes.rawSpan, rules: Self.rules) {
                    expectPlaces(command, bytes)
                }
            }
        }
    }

    @Test("Commands whose fields are likely", arguments: 0..<16 as Range<UInt64>)
    func commands(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var parsed = 0
        for _ in 0..<2000 {
            var bytes = [UInt8](repeating: 0, count: Int.random(in: 48...300, using: &random))
            bytes[0] = 0x02
            bytes[5] = [0x00, 0x01, 0x10, 0x02, 0x20, 0x22, 0x30, 0x31, 0x32, 0x12].randomElement(using: &random)!
            bytes[6] = UInt8.random(in: 0...5, using: &random)
            bytes[7] = UInt8.random(in: 0...5, using: &random)
            bytes[31] = UInt8.random(in: 0...20, using: &random) & 0xFC
            let start = 48 + Int(bytes[31])
            if start + 20 <= bytes.count {
                bytes[start + 15] = UInt8.random(in: 0...6, using: &random) << 4
                bytes[start + 3] = UInt8.random(in: 0...80, using: &random)
            }
            guard let command = try? SRPCommand(parsing: bytes.rawSpan, rules: Self.rules) else { continue }
            parsed += 1
            expectPlaces(command, bytes)
        }
        #expect(parsed > 200)
    }
}
