import ISCSI
import Testing

/// One offer to a target with the settings `OperationalSettings.target`, four connections and ErrorRecoveryLevel 1, and
/// its answer.
struct Offer: Sendable, CustomTestStringConvertible {
    let key: String
    let value: String
    /// nil: no answer, as for declarations.
    let answer: String?

    init(_ key: String, _ value: String, _ answer: String?) {
        self.key = key
        self.value = value
        self.answer = answer
    }

    var testDescription: String { "\(key)=\(value) → \(answer ?? "nothing")" }
}

/// The negotiation table: each key with good values, limits and bad values (RFC 7143 sections 6.2 and 13).
@Suite("Negotiation")
struct NegotiationTests {
    private func negotiation(
        _ settings: OperationalSettings = .target, phase: ParameterNegotiation.Phase = .leadingLogin,
        sessionType: SessionType = .normal
    ) -> ParameterNegotiation {
        ParameterNegotiation(role: .target, settings: settings, phase: phase, sessionType: sessionType)
    }

    static let offers: [Offer] = [
        // Lists: the offerer's order decides.
        Offer("HeaderDigest", "None", "None"), Offer("HeaderDigest", "CRC32C", "CRC32C"),
        Offer("HeaderDigest", "CRC32C,None", "CRC32C"), Offer("HeaderDigest", "None,CRC32C", "None"),
        Offer("HeaderDigest", "X-other,CRC32C", "CRC32C"), Offer("HeaderDigest", "X-other", "Reject"),
        Offer("HeaderDigest", "", "Reject"), Offer("HeaderDigest", "crc32c", "Reject"),
        Offer("DataDigest", "CRC32C,None", "CRC32C"), Offer("DataDigest", "None", "None"),
        Offer("DataDigest", "MD5", "Reject"),
        Offer("TaskReporting", "RFC3720", "RFC3720"), Offer("TaskReporting", "RFC3720,FastAbort", "RFC3720"),
        Offer("TaskReporting", "ResponseFence,FastAbort", "ResponseFence"),
        Offer("TaskReporting", "FastAbort", "FastAbort"), Offer("TaskReporting", "X-new,FastAbort", "FastAbort"),
        Offer("TaskReporting", "fastabort", "Reject"), Offer("TaskReporting", "", "Reject"),
        // Booleans.
        Offer("InitialR2T", "Yes", "Yes"), Offer("InitialR2T", "No", "No"), Offer("InitialR2T", "yes", "Reject"),
        Offer("InitialR2T", "1", "Reject"), Offer("ImmediateData", "Yes", "Yes"), Offer("ImmediateData", "No", "No"),
        Offer("ImmediateData", "", "Reject"), Offer("DataPDUInOrder", "Yes", "Yes"),
        Offer("DataPDUInOrder", "No", "Yes"), Offer("DataSequenceInOrder", "No", "Yes"),
        Offer("DataSequenceInOrder", "Maybe", "Reject"), Offer("RDMAExtensions", "Yes", "No"),
        Offer("RDMAExtensions", "No", "No"),
        // Numbers, smaller and larger ones, in decimal and hexadecimal.
        Offer("MaxBurstLength", "512", "512"), Offer("MaxBurstLength", "0x10000", "65536"),
        Offer("MaxBurstLength", "16777215", "1048576"), Offer("MaxBurstLength", "511", "Reject"),
        Offer("MaxBurstLength", "16777216", "Reject"), Offer("MaxBurstLength", "-1", "Reject"),
        Offer("MaxBurstLength", "+512", "Reject"), Offer("MaxBurstLength", "1024 ", "Reject"),
        Offer("MaxBurstLength", "18446744073709551616", "Reject"), Offer("MaxBurstLength", "", "Reject"),
        Offer("MaxBurstLength", "0x", "Reject"), Offer("MaxBurstLength", "Irrelevant", "Reject"),
        Offer("FirstBurstLength", "512", "512"), Offer("FirstBurstLength", "16777215", "262144"),
        Offer("FirstBurstLength", "100", "Reject"), Offer("MaxConnections", "1", "1"),
        Offer("MaxConnections", "65535", "4"), Offer("MaxConnections", "0", "Reject"),
        Offer("MaxConnections", "65536", "Reject"), Offer("DefaultTime2Wait", "0", "2"),
        Offer("DefaultTime2Wait", "3600", "3600"), Offer("DefaultTime2Wait", "3601", "Reject"),
        Offer("DefaultTime2Retain", "30", "20"), Offer("DefaultTime2Retain", "0", "0"),
        Offer("MaxOutstandingR2T", "1", "1"), Offer("MaxOutstandingR2T", "65535", "8"),
        Offer("MaxOutstandingR2T", "0", "Reject"), Offer("ErrorRecoveryLevel", "2", "1"),
        Offer("ErrorRecoveryLevel", "0", "0"), Offer("ErrorRecoveryLevel", "3", "Reject"),
        Offer("iSCSIProtocolLevel", "1", "1"), Offer("iSCSIProtocolLevel", "2", "2"),
        Offer("iSCSIProtocolLevel", "31", "2"), Offer("iSCSIProtocolLevel", "0", "0"),
        Offer("iSCSIProtocolLevel", "32", "Reject"),
        // Declarations: no answer, unless they are bad.
        Offer("MaxRecvDataSegmentLength", "512", nil), Offer("MaxRecvDataSegmentLength", "16777215", nil),
        Offer("MaxRecvDataSegmentLength", "511", "Reject"), Offer("MaxRecvDataSegmentLength", "16777216", "Reject"),
        Offer("InitiatorAlias", "a host", nil), Offer("SessionType", "Normal", nil),
        // iSER without RDMA.
        Offer("TargetRecvDataSegmentLength", "8192", "Irrelevant"),
        Offer("InitiatorRecvDataSegmentLength", "8192", "Irrelevant"),
        Offer("MaxOutstandingUnexpectedPDUs", "0", nil), Offer("MaxAHSLength", "256", nil),
        Offer("TaggedBufferForSolicitedDataOnly", "Yes", nil), Offer("iSERHelloRequired", "No", nil),
        // Withdrawn.
        Offer("IFMarker", "No", "Reject"), Offer("OFMarker", "Yes", "Reject"),
        Offer("IFMarkInt", "2048~8192", "Reject"), Offer("OFMarkInt", "2048", "Reject"),
        // Full feature phase only, and unknown ones.
        Offer("SendTargets", "All", "Reject"), Offer("X-com.example.key", "1", "NotUnderstood"),
        Offer("Y-com.example.key", "1", "NotUnderstood"), Offer("X#NodeArchitecture", "x", "NotUnderstood"),
        Offer("maxburstlength", "1024", "NotUnderstood"), Offer("Unknown", "NotUnderstood", nil),
    ]

    @Test("Each key's answer", arguments: offers)
    func answers(offer: Offer) throws {
        var settings = OperationalSettings.target
        settings.preferred.maxConnections = 4
        settings.preferred.errorRecoveryLevel = 1
        var negotiation = negotiation(settings)
        let answers = try negotiation.receive([TextParameter(offer.key, offer.value)])
        #expect(answers == offer.answer.map { [TextParameter(offer.key, $0)] } ?? [])
    }

    @Test("Every key of the table is tried above")
    func coverage() {
        let tried = Set(Self.offers.map(\.key))
        let untried = OperationalKey.table.map(\.name).filter { !tried.contains($0) }
        #expect(
            untried.sorted() == [
                "InitiatorName", "TargetAddress", "TargetAlias", "TargetName", "TargetPortalGroupTag",
            ])
    }

    @Test("Results are in force after the answers")
    func results() throws {
        var negotiation = negotiation()
        _ = try negotiation.receive([
            TextParameter("HeaderDigest", "CRC32C"), TextParameter("DataDigest", "None,CRC32C"),
            TextParameter("InitialR2T", "No"), TextParameter("ImmediateData", "No"),
            TextParameter("MaxRecvDataSegmentLength", "4096"), TextParameter("MaxBurstLength", "8192"),
            TextParameter("MaxOutstandingR2T", "4"), TextParameter("DefaultTime2Wait", "5"),
        ])
        let result = negotiation.result
        #expect(result.headerDigest == .crc32c && result.dataDigest == .none)
        #expect(!result.initialR2T && !result.immediateData)
        #expect(result.maxSendDataSegmentLength == 4096 && result.maxRecvDataSegmentLength == 8192)
        #expect(result.maxBurstLength == 8192 && result.firstBurstLength == 8192)
        #expect(result.maxOutstandingR2T == 4 && result.defaultTime2Wait == 5)
    }

    @Test("FirstBurstLength: limited by MaxBurstLength and irrelevant without unsolicited data, in any order")
    func firstBurst() throws {
        var limited = negotiation()
        let answers = try limited.receive([
            TextParameter("FirstBurstLength", "65536"), TextParameter("MaxBurstLength", "16384"),
        ])
        #expect(answers == [TextParameter("FirstBurstLength", "16384"), TextParameter("MaxBurstLength", "16384")])
        var irrelevant = negotiation()
        let others = try irrelevant.receive([
            TextParameter("FirstBurstLength", "65536"), TextParameter("ImmediateData", "No"),
            TextParameter("InitialR2T", "Yes"),
        ])
        #expect(others.first == TextParameter("FirstBurstLength", "Irrelevant"))
    }

    @Test(
        "Irrelevant keys of discovery sessions",
        arguments: [
            "MaxConnections", "InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength",
            "MaxOutstandingR2T", "DataPDUInOrder", "DataSequenceInOrder", "TaskReporting", "iSCSIProtocolLevel",
        ])
    func discovery(key: String) throws {
        var negotiation = negotiation(sessionType: .discovery)
        #expect(try negotiation.receive([TextParameter(key, "1")]) == [TextParameter(key, "Irrelevant")])
        #expect(negotiation.result == NegotiatedParameters())
    }

    @Test("Keys outside their phase are rejected")
    func phases() throws {
        for key in OperationalKey.table where key.senders != .target {
            let list = [TextParameter(key.name, "1")]
            var further = negotiation(phase: .furtherLogin)
            let isLeadingOnly = if case .leadingLogin = key.use { true } else { false }
            if isLeadingOnly { #expect(try further.receive(list) == [TextParameter(key.name, "Reject")]) }
            var later = negotiation(phase: .fullFeature)
            let isLoginKey =
                switch key.use {
                case .leadingLogin, .login: true
                case .fullFeature, .always: false
                }
            if isLoginKey { #expect(try later.receive(list) == [TextParameter(key.name, "Reject")]) }
        }
        var later = negotiation(phase: .fullFeature)
        #expect(try later.receive([TextParameter("MaxRecvDataSegmentLength", "1024")]).isEmpty)
        #expect(later.result.maxSendDataSegmentLength == 1024)
    }

    @Test("Repeated keys and wrong senders end the negotiation")
    func failures() throws {
        for key in OperationalKey.table {
            var negotiation = negotiation()
            if case .target = key.senders {
                #expect(throws: NegotiationFailure.wrongSender(key.name)) {
                    try negotiation.receive([TextParameter(key.name, "1")])
                }
                continue
            }
            _ = try negotiation.receive([TextParameter(key.name, "1")])
            switch key.repetition {
            case .fails:
                #expect(throws: NegotiationFailure.repeatedKey(key.name)) {
                    try negotiation.receive([TextParameter(key.name, "1")])
                }
            case .sameValue:
                #expect(try negotiation.receive([TextParameter(key.name, "1")]).isEmpty)
                #expect(throws: NegotiationFailure.repeatedKey(key.name)) {
                    try negotiation.receive([TextParameter(key.name, "2")])
                }
            case .allowed:
                #expect(throws: Never.self) { try negotiation.receive([TextParameter(key.name, "2")]) }
            }
        }
    }

    @Test("Operational keys have no place in the security stage")
    func securityStage() throws {
        for key in OperationalKey.table where key.senders != .target {
            var negotiation = negotiation()
            let list = [TextParameter(key.name, "1")]
            if key.isAllowedInSecurityStage {
                #expect(try negotiation.receiveInSecurityStage(list).isEmpty)
            } else {
                #expect(throws: NegotiationFailure.notASecurityKey(key.name)) {
                    try negotiation.receiveInSecurityStage(list)
                }
            }
        }
    }

    // MARK: Offers of this side

    @Test("A target declares its length and offers only what the defaults do not allow")
    func targetOffers() throws {
        var plain = negotiation()
        #expect(plain.offers() == [TextParameter("MaxRecvDataSegmentLength", "262144")])
        var settings = OperationalSettings()
        settings.dataDigests = [.crc32c]
        settings.preferred.immediateData = false
        settings.preferred.defaultTime2Wait = 10
        var strict = negotiation(settings)
        _ = try strict.receive([TextParameter("ImmediateData", "Yes")])
        #expect(
            strict.offers() == [TextParameter("DataDigest", "CRC32C"), TextParameter("DefaultTime2Wait", "10")])
        #expect(!strict.isSettled)
        #expect(strict.offers().isEmpty)
        #expect(try strict.receive([TextParameter("DataDigest", "CRC32C")]).isEmpty)
        #expect(try strict.receive([TextParameter("DefaultTime2Wait", "12")]).isEmpty)
        #expect(strict.isSettled && strict.result.dataDigest == .crc32c && strict.result.defaultTime2Wait == 12)
    }

    @Test("An initiator offers its keys, newer ones only when they would change something")
    func initiatorOffers() {
        var negotiation = ParameterNegotiation(role: .initiator, settings: .target)
        let offers = Dictionary(uniqueKeysWithValues: negotiation.offers().map { ($0.key, $0.value) })
        #expect(offers["HeaderDigest"] == "None,CRC32C" && offers["InitialR2T"] == "No")
        #expect(offers["MaxBurstLength"] == "1048576" && offers["MaxRecvDataSegmentLength"] == "262144")
        #expect(offers["TaskReporting"] == "FastAbort,ResponseFence,RFC3720" && offers["iSCSIProtocolLevel"] == "2")
        var plain = ParameterNegotiation(role: .initiator, settings: OperationalSettings())
        let plainKeys = Set(plain.offers().map(\.key))
        #expect(plainKeys.contains("MaxBurstLength") && !plainKeys.contains("MaxRecvDataSegmentLength"))
        #expect(plainKeys.isDisjoint(with: ["TaskReporting", "iSCSIProtocolLevel", "RDMAExtensions"]))
        #expect(offers["RDMAExtensions"] == nil && offers["IFMarker"] == nil && offers["TargetName"] == nil)
    }

    @Test("An answer that the offer does not allow ends the negotiation")
    func badAnswers() throws {
        for (key, value) in [
            ("HeaderDigest", "MD5"), ("MaxBurstLength", "2000000"), ("MaxBurstLength", "none"),
            ("DefaultTime2Wait", "1"), ("ImmediateData", "1"), ("InitialR2T", ""), ("MaxOutstandingR2T", "0"),
        ] {
            var negotiation = ParameterNegotiation(role: .initiator, settings: .target)
            _ = negotiation.offers()
            #expect(throws: NegotiationFailure.invalidAnswer(key)) {
                try negotiation.receive([TextParameter(key, value)])
            }
        }
    }

    @Test("Reserved answers leave the default", arguments: ["Reject", "Irrelevant", "NotUnderstood"])
    func reservedAnswers(answer: String) throws {
        var negotiation = ParameterNegotiation(role: .initiator, settings: .target)
        let offers = negotiation.offers()
        for offer in offers where offer.key != "MaxRecvDataSegmentLength" {
            #expect(try negotiation.receive([TextParameter(offer.key, answer)]).isEmpty)
        }
        #expect(negotiation.isSettled)
        var expected = NegotiatedParameters()
        expected.maxRecvDataSegmentLength = 262_144
        #expect(negotiation.result == expected)
    }

    @Test("iSER keys with RDMA on both sides")
    func iser() throws {
        var settings = OperationalSettings.target
        settings.preferred.rdmaExtensions = true
        settings.preferred.targetRecvDataSegmentLength = 4096
        var negotiation = negotiation(settings)
        let answers = try negotiation.receive([
            TextParameter("TargetRecvDataSegmentLength", "8192"), TextParameter("RDMAExtensions", "Yes"),
            TextParameter("InitiatorRecvDataSegmentLength", "1024"), TextParameter("MaxOutstandingUnexpectedPDUs", "4"),
        ])
        // The default is No, but both sides want it.
        #expect(
            answers == [
                TextParameter("TargetRecvDataSegmentLength", "4096"), TextParameter("RDMAExtensions", "Yes"),
                TextParameter("InitiatorRecvDataSegmentLength", "1024"),
            ])
        #expect(negotiation.result.rdmaExtensions)
        #expect(negotiation.result.peerMaxOutstandingUnexpectedPDUs == 4)
    }
}
