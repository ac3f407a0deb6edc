import Bytes
import ISCSI
import Testing

let initiatorName = "iqn.2026-11.dev.carousel:host"
let targetName = "iqn.2026-11.dev.carousel:disk"

/// An authority with one target, and what a test wants to be different.
struct StubAuthority: LoginAuthority {
    var grant = LoginGrant(targetPortalGroupTag: 1)
    var admission: LoginAdmission?
    var session = SessionAdmission.established(targetSessionHandle: 7)

    func admit(_ identity: LoginIdentity) -> LoginAdmission {
        if let admission { return admission }
        if identity.targetSessionHandle != 0 { return .refused(.sessionDoesNotExist) }
        guard identity.sessionType == .discovery || identity.targetName == targetName else {
            return .refused(.targetNotFound)
        }
        return .granted(grant)
    }

    func establish(_ identity: LoginIdentity, _ parameters: NegotiatedParameters) -> SessionAdmission { session }
}

/// A provider whose digest is no cryptography, but differs with every input byte and its place.
let toyProvider = CHAPProvider(
    algorithms: [.sha256, .md5], digest: toyDigest, random: { count in toyRandom(count) }, areEqual: ==)

func toyDigest(_ algorithm: CHAPAlgorithm, _ message: [UInt8]) -> [UInt8] {
    var sum = UInt64(algorithm.rawValue)
    for byte in message { sum = (sum ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    return (0..<8).map { UInt8(truncatingIfNeeded: sum >> (8 * UInt64($0))) }
}

func toyRandom(_ count: Int, startingAt first: Int = 17) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 + first) }
}

/// The response of `toyProvider`, which computes every one.
func toyResponse(_ algorithm: CHAPAlgorithm, identifier: UInt8, secret: [UInt8], challenge: [UInt8]) -> [UInt8] {
    toyDigest(algorithm, [identifier] + secret + challenge)
}

extension LoginStep {
    /// The reply, whatever comes after it.
    var reply: LoginReply? {
        switch self {
        case .reply(let reply), .finished(let reply, _), .refused(let reply, _): reply
        case .drop: nil
        }
    }

    /// Why the login was refused, if it was.
    var refusal: LoginStatus? {
        if case .refused(_, let status) = self { status } else { nil }
    }

    /// What the login led to, if it is over.
    var result: LoginResult? {
        if case .finished(_, let result) = self { result } else { nil }
    }

    /// The parameters of the reply, by key; a key that comes twice fails the test.
    func parameters() throws -> [String: String] {
        let text = try #require(reply?.text)
        let list = try TextCodec.parse(text.rawSpan)
        return Dictionary(uniqueKeysWithValues: list.map { ($0.key, $0.value) })
    }
}

/// A login request as a test writes it.
struct LoginScript {
    var header = LoginRequestPDU()

    /// A script whose requests carry recognisable numbers.
    init() {
        header.initiatorSessionID = InitiatorSessionID(rawValue: 0x4000_0000_0001)
        header.initiatorTaskTag = 0x55
        header.connectionID = 3
        header.cmdSN = SequenceNumber(100)
    }

    /// Sends one request to `machine`.
    mutating func send(
        _ machine: inout LoginMachine<StubAuthority>, stage: LoginStage, to next: LoginStage? = nil,
        isContinued: Bool = false, _ pairs: KeyValuePairs<String, String> = [:]
    ) -> LoginStep {
        send(
            &machine, stage: stage, to: next, isContinued: isContinued,
            text: TextCodec.format(pairs.map { TextParameter($0.key, $0.value) }))
    }

    /// Sends one request with that text to `machine`.
    mutating func send(
        _ machine: inout LoginMachine<StubAuthority>, stage: LoginStage, to next: LoginStage? = nil,
        isContinued: Bool = false, text: [UInt8]
    ) -> LoginStep {
        header.currentStageCode = stage.rawValue
        header.isTransit = next != nil
        header.nextStageCode = next?.rawValue ?? 0
        header.isContinued = isContinued
        header.dataSegmentLength = text.count
        return machine.receive(header: encoded(header).rawSpan, data: text.rawSpan)
    }
}
