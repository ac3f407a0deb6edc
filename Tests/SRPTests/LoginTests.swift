import Bytes
import SRP
import Testing

@Suite("SRP logins")
struct LoginTests {
    private let offer = SRPTargetOffer(targetPort: Samples.targetPort, maximumLength: 8272)

    @Test("A login within the offer is accepted")
    func accepted() {
        #expect(offer.rejectReason(of: Samples.loginRequest) == nil)
        #expect(offer.immediateDataOffset(of: Samples.loginRequest) == 80)
    }

    @Test("A target port identifier of revision 10 is the same port")
    func swapped() {
        var login = Samples.loginRequest
        login.targetPort = login.targetPort.swapped
        #expect(offer.rejectReason(of: login) == nil)
        login.targetPort.guid ^= 1
        #expect(offer.rejectReason(of: login) == .noNexus)
    }

    @Test("What does not fit the offer has its reason")
    func rejected() {
        var login = Samples.loginRequest
        login.maximumLength = 8273
        #expect(offer.rejectReason(of: login) == .maximumLengthTooLarge)
        login = Samples.loginRequest
        login.bufferFormats = SRPBufferFormats(rawValue: 0x0008)
        #expect(offer.rejectReason(of: login) == .unsupportedBufferFormat)
        var direct = offer
        direct.bufferFormats = .direct
        #expect(direct.rejectReason(of: Samples.loginRequest) == .unsupportedBufferFormat)
        var single = offer
        single.allowsMultipleChannels = false
        #expect(single.rejectReason(of: Samples.loginRequest) == .multipleChannelsUnsupported)
        login = Samples.loginRequest
        login.multiChannelAction = .endOthers
        #expect(single.rejectReason(of: login) == nil)
    }

    @Test(
        "Immediate data is granted where a command of that length can have it",
        arguments: [(UInt16(0), false), (48, false), (51, false), (52, true), (8271, true), (8272, false)])
    func immediateData(offset: UInt16, isGranted: Bool) {
        var login = Samples.loginRequest
        login.immediateDataOffset = offset
        #expect((offer.immediateDataOffset(of: login) != nil) == isGranted)
        login.requestsImmediateData = false
        #expect(offer.immediateDataOffset(of: login) == nil)
        var none = offer
        none.allowsImmediateData = false
        #expect(none.immediateDataOffset(of: Samples.loginRequest) == nil)
    }

    @Test("Logins that no target port accepts", arguments: [false, true])
    func invalid(isPrivateData: Bool) throws {
        var bytes = [UInt8](repeating: 0, count: 64)
        bytes.modifyBytes {
            if isPrivateData {
                Samples.loginRequest.encodePrivateData(into: &$0)
            } else {
                Samples.loginRequest.encode(into: &$0)
            }
        }
        func parse(_ bytes: [UInt8]) throws -> SRPError {
            try error { () throws(SRPError) in
                isPrivateData
                    ? try SRPLoginRequest(parsingPrivateData: bytes.rawSpan)
                    : try SRPLoginRequest(parsing: bytes.rawSpan)
            }
        }
        let (type, length, flags) = isPrivateData ? (11, 12, 10) : (0, 16, 26)
        var wrong = bytes
        wrong[type] = 0x02
        #expect(try parse(wrong) == .unexpectedType(.command, expected: .loginRequest))
        #expect(try parse(wrong).remedy == .loginReject(.unspecified))
        wrong = bytes
        wrong.replaceSubrange(length..<length + 4, with: [0, 0, 0, 63])
        #expect(try parse(wrong) == .maximumLengthTooSmall(63))
        #expect(try parse(wrong).remedy == .loginReject(.unspecified))
        for action: UInt8 in [2, 3] {
            wrong = bytes
            wrong[flags] = action
            #expect(try parse(wrong) == .reservedMultiChannelAction(action))
            #expect(try parse(wrong).remedy == .loginReject(.unspecified))
        }
        let needed = isPrivateData ? 56 : 64
        for count in (isPrivateData ? 0 : 1)..<needed {
            let short = try parse(Array(bytes.prefix(count)))
            #expect(short == .tooShort(.loginRequest, length: count, needed: needed))
            #expect(short.remedy == .loginReject(.unspecified))
        }
    }

    @Test("Port identifiers as text, in letters of both cases")
    func text() {
        let text = "0x000102030405060708090a0b0c0d0e0f"
        #expect(Samples.initiatorPort.description == text)
        #expect(SRPPortIdentifier(text) == Samples.initiatorPort)
        #expect(SRPPortIdentifier(text.uppercased()) == Samples.initiatorPort)
        #expect(SRPPortIdentifier(String(text.dropFirst(2))) == Samples.initiatorPort)
        #expect(SRPPortIdentifier.digits(0xAB) == "00000000000000ab")
        for wrong in ["", "0x", String(text.dropLast()), text + "0", text.dropLast() + "g", "1x" + text.dropFirst(2)] {
            #expect(SRPPortIdentifier(String(wrong)) == nil, "\(wrong)")
        }
    }

    @Test("The TransportID of an initiator port")
    func transportID() {
        let bytes = Samples.initiatorPort.transportID
        #expect(bytes == [0x04, 0, 0, 0, 0, 0, 0, 0] + (0..<16).map { UInt8($0) })
        #expect(SRPPortIdentifier(transportID: bytes) == Samples.initiatorPort)
        #expect(SRPPortIdentifier(transportID: bytes + [0]) == nil)
        #expect(SRPPortIdentifier(transportID: Array(bytes.dropLast())) == nil)
        #expect(SRPPortIdentifier(transportID: []) == nil)
        var other = bytes
        other[0] = 0x05
        #expect(SRPPortIdentifier(transportID: other) == nil)
        other[0] = 0x44
        #expect(SRPPortIdentifier(transportID: other) == nil)
    }
}
