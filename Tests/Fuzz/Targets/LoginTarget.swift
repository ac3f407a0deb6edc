internal import Bytes
internal import ISCSI

/// Names, secrets and a provider that is no cryptography, so that inputs can hold right responses.
enum FuzzIdentity {
    static let initiatorName = "iqn.2026-11.dev.carousel:host"
    static let targetName = "iqn.2026-11.dev.carousel:disk"
    static let initiator = CHAPCredential(name: "host", secret: Array("initiator-secret".utf8))
    static let other = CHAPCredential(name: "guest", secret: Array("another-secret!!".utf8))
    static let target = CHAPCredential(name: "disk", secret: Array("the-target-secret".utf8))

    static let provider = CHAPProvider(
        algorithms: [.sha256, .md5], digest: digest, random: { count in random(count) }, areEqual: ==)

    static func digest(_ algorithm: CHAPAlgorithm, _ message: [UInt8]) -> [UInt8] {
        var sum = UInt64(algorithm.rawValue)
        for byte in message { sum = (sum ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return (0..<8).map { UInt8(truncatingIfNeeded: sum >> (8 * UInt64($0))) }
    }

    static func random(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 + 17) } }

    /// What an initiator may have to prove: nothing, itself, or itself to a target that proves itself too.
    static func policy(_ selector: UInt8) -> AuthenticationPolicy {
        switch selector % 3 {
        case 0: .none
        case 1: .chap(initiators: [initiator, other], target: nil, provider: provider)
        default: .chap(initiators: [initiator, other], target: target, provider: provider)
        }
    }
}

/// An authority that lets everyone in who names the target, and counts how often it is asked.
final class FuzzAuthority: LoginAuthority {
    let grant: LoginGrant
    private(set) var admissions = 0
    private(set) var sessions = 0

    init(_ policy: AuthenticationPolicy) {
        grant = LoginGrant(targetPortalGroupTag: 1, targetAlias: "disk", authentication: policy)
    }

    func admit(_ identity: LoginIdentity) -> LoginAdmission {
        admissions += 1
        if identity.targetSessionHandle > 1 { return .refused(.sessionDoesNotExist) }
        guard identity.sessionType == .discovery || identity.targetName == FuzzIdentity.targetName else {
            return .refused(.targetNotFound)
        }
        return .granted(grant)
    }

    func establish(_ identity: LoginIdentity, _ parameters: NegotiatedParameters) -> SessionAdmission {
        sessions += 1
        return .established(targetSessionHandle: 7)
    }
}

/// The input is a policy and login requests: flags, what is odd about the header, and the text.
enum LoginTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) { _ = try hasSession(input) }

    /// Runs the login; whether it led to a session.
    static func hasSession(_ input: [UInt8]) throws(FuzzFinding) -> Bool {
        var reader = FuzzReader(input)
        let selector = reader.byte()
        let authority = FuzzAuthority(FuzzIdentity.policy(selector))
        var machine = LoginMachine(authority: authority, windowLimit: 32)
        var steps = 0
        var said: [UInt8] = []
        while !reader.isAtEnd {
            let header = header(&reader)
            let text = reader.bytes(header.rawSpan.dataSegmentLength)
            said += text
            steps += 1
            try require(steps <= LoginLimits.requestCount + 1, "a login ends within its limit of requests")
            switch machine.receive(header: header.rawSpan, data: text.rawSpan) {
            case .reply(let reply):
                try check(reply)
                try require(reply.header.status == .success, "a login that goes on has no error status")
            case .refused(let reply, let reason):
                try check(reply)
                try require(reply.header.status == reason && reason != .success, "a refusal says why")
                try require(!reply.header.isTransit, "a refusal grants no transit")
                return false
            case .finished(let reply, let result):
                try check(reply)
                try finished(reply, result, authority)
                if selector % 3 != 0 { try require(hasProof(said), "nobody gets in without proof") }
                return true
            case .drop:
                try require(steps == 1, "only a first PDU that is no login is dropped")
                return false
            }
        }
        try require(authority.admissions <= 1, "the authority is asked once")
        try require(authority.sessions == 0, "a login that is not over has no session")
        return false
    }

    /// Byte 1 of the header is the input's; so is what does not fit the login.
    private static func header(_ reader: inout FuzzReader) -> [UInt8] {
        let flags = reader.byte()
        let odd = reader.byte()
        var request = LoginRequestPDU()
        request.initiatorSessionID = InitiatorSessionID(rawValue: odd & 1 != 0 ? 0x4000_0000_0002 : 0x4000_0000_0001)
        request.initiatorTaskTag = odd & 2 != 0 ? 9 : 8
        request.targetSessionHandle = odd & 4 != 0 ? UInt16(odd >> 7) + 1 : 0
        request.versionMin = odd & 8 != 0 ? 1 : 0
        request.connectionID = odd & 16 != 0 ? 4 : 3
        request.cmdSN = SequenceNumber(odd & 32 != 0 ? 101 : 100)
        request.dataSegmentLength = reader.number16() % (LoginLimits.dataSegmentLength + 1)
        var bytes = BasicHeaderSegment(request).bytes.copyToArray()
        bytes[1] = flags
        if odd & 64 != 0 { bytes[0] ^= odd & 0x1F }
        return bytes
    }

    /// What holds for every reply.
    static func check(_ reply: LoginReply) throws(FuzzFinding) {
        try require(reply.header.dataSegmentLength == reply.text.count, "a reply's header has the length of its text")
        try require(reply.text.count <= LoginLimits.dataSegmentLength, "a reply fits what initiators take")
        try require(!(reply.header.isTransit && reply.header.isContinued), "a reply with T is complete")
        guard !reply.header.isContinued, !reply.text.isEmpty else { return }
        try require(reply.text.last == 0, "a reply's text ends with NUL")
    }

    static func finished(
        _ reply: LoginReply, _ result: LoginResult, _ authority: FuzzAuthority
    ) throws(FuzzFinding) {
        try require(authority.admissions == 1 && authority.sessions == 1, "the authority is asked once")
        try require(reply.header.isTransit && reply.header.nextStage == .fullFeaturePhase, "the last reply says so")
        try require(reply.header.targetSessionHandle == 7, "the last reply has the session's handle")
        let parameters = result.parameters
        try check(parameters)
        try require(parameters.firstBurstLength <= parameters.maxBurstLength, "the first burst is within a burst")
    }

    /// What negotiated parameters must be, whatever was said.
    static func check(_ parameters: NegotiatedParameters) throws(FuzzFinding) {
        let lengths = 512...0xFF_FFFF
        try require(
            lengths.contains(parameters.maxBurstLength) && lengths.contains(parameters.firstBurstLength)
                && lengths.contains(parameters.maxSendDataSegmentLength)
                && lengths.contains(parameters.maxRecvDataSegmentLength), "lengths are within the RFC's range")
        try require(
            (1...65_535).contains(parameters.maxConnections) && (1...65_535).contains(parameters.maxOutstandingR2T),
            "counts are within the RFC's range")
        try require(
            (0...3600).contains(parameters.defaultTime2Wait) && (0...3600).contains(parameters.defaultTime2Retain)
                && (0...2).contains(parameters.errorRecoveryLevel), "times and level are within the RFC's range")
    }

    /// Whether a text has the response of one of the initiators to the provider's challenge.
    private static func hasProof(_ said: [UInt8]) -> Bool {
        let proofs = [FuzzIdentity.initiator, FuzzIdentity.other].flatMap { credential in
            FuzzIdentity.provider.algorithms.map { CHAPTarget.proof(of: credential, $0) }
        }
        return said.split(separator: 0).contains { pair in
            let text = String(decoding: pair, as: UTF8.self)
            guard text.hasPrefix("CHAP_R=") else { return false }
            return TextCodec.binary(String(text.dropFirst(7))).map(proofs.contains) ?? false
        }
    }
}
