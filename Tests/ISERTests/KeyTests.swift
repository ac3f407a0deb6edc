import ISCSI
import ISER
import Testing

@Suite("iSER keys")
struct KeyTests {
    private func key(_ name: String) throws -> ISERKey { try #require(ISERKey.table.first { $0.name == name }) }

    @Test("Every key of RFC 7145 section 6 is there, and the negotiation knows all of them")
    func names() {
        #expect(
            ISERKey.table.map(\.name) == [
                "RDMAExtensions", "TargetRecvDataSegmentLength", "InitiatorRecvDataSegmentLength",
                "MaxOutstandingUnexpectedPDUs", "MaxAHSLength", "TaggedBufferForSolicitedDataOnly",
                "iSERHelloRequired",
            ])
        for key in ISERKey.table { #expect(OperationalKey.byName[key.name] != nil, "\(key.name)") }
    }

    @Test("Defaults are those that hold in a login that says nothing")
    func defaults() throws {
        let parameters = NegotiatedParameters()
        #expect(try key("RDMAExtensions").rule == .booleanAnd(default: parameters.rdmaExtensions))
        #expect(
            try key("TargetRecvDataSegmentLength").rule
                == .minimum(default: parameters.targetRecvDataSegmentLength, 512...16_777_215))
        #expect(
            try key("InitiatorRecvDataSegmentLength").rule
                == .minimum(default: parameters.initiatorRecvDataSegmentLength, 512...16_777_215))
        #expect(
            try key("MaxOutstandingUnexpectedPDUs").rule
                == .declaredNumber(default: parameters.maxOutstandingUnexpectedPDUs, zeroOr: 2...4_294_967_295))
        #expect(try key("MaxAHSLength").rule == .declaredNumber(default: 256, zeroOr: 2...4_294_967_295))
        #expect(try key("iSERHelloRequired").rule == .declaredBoolean(default: false))
    }

    @Test(
        "Values",
        arguments: [
            ("RDMAExtensions", ["Yes", "No"], ["yes", "", "1"]),
            ("TargetRecvDataSegmentLength", ["512", "0x2000", "16777215"], ["511", "16777216", "-1", ""]),
            ("MaxOutstandingUnexpectedPDUs", ["0", "2", "4294967295"], ["1", "4294967296"]),
            ("MaxAHSLength", ["0", "2", "256"], ["1", "Yes"]),
            ("iSERHelloRequired", ["Yes", "No"], ["0"]),
        ])
    func values(name: String, valid: [String], invalid: [String]) throws {
        let key = try key(name)
        for value in valid { #expect(key.isValid(value), "\(value)") }
        for value in invalid { #expect(!key.isValid(value), "\(value)") }
    }

    @Test("Only initiators say what they advertise and whether they send Hello")
    func senders() throws {
        for key in ISERKey.table {
            switch (key.rule, key.senders) {
            case (.declaredBoolean, .initiator): break
            case (.declaredBoolean, _), (_, .initiator), (_, .target): Issue.record("\(key.name)")
            default: break
            }
        }
    }

    @Test("What keeps a connection from iSER")
    func obstacles() {
        var parameters = NegotiatedParameters()
        #expect(parameters.obstacleToISER == .extensionsNotAgreed)
        parameters.rdmaExtensions = true
        #expect(parameters.obstacleToISER == nil)
        parameters.dataDigest = .crc32c
        #expect(parameters.obstacleToISER == .dataDigest)
        parameters.headerDigest = .crc32c
        #expect(parameters.obstacleToISER == .headerDigest)
    }

    @Test("The keys of iSER take the place of MaxRecvDataSegmentLength")
    func lengths() {
        var parameters = NegotiatedParameters()
        parameters.maxRecvDataSegmentLength = 1 << 20
        parameters.maxSendDataSegmentLength = 1 << 20
        parameters.targetRecvDataSegmentLength = 4096
        parameters.initiatorRecvDataSegmentLength = 512
        let target = parameters.usingISER(as: .target)
        #expect(target.maxRecvDataSegmentLength == 4096 && target.maxSendDataSegmentLength == 512)
        let initiator = parameters.usingISER(as: .initiator)
        #expect(initiator.maxRecvDataSegmentLength == 512 && initiator.maxSendDataSegmentLength == 4096)
    }
}
