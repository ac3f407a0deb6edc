internal import Bytes
internal import ISCSI

/// The input is how an initiator answers CHAP, and a value for every place that takes one.
enum CHAPTarget {
    /// The identifier and challenge that the provider makes.
    private static let identifier = FuzzIdentity.random(33)[0]
    private static let challenge = Array(FuzzIdentity.random(33).dropFirst())

    /// The right response of `credential`.
    static func proof(of credential: CHAPCredential, _ algorithm: CHAPAlgorithm) -> [UInt8] {
        FuzzIdentity.digest(algorithm, [identifier] + credential.secret + challenge)
    }

    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        var reader = FuzzReader(input)
        let flags = reader.byte()
        let choice = reader.byte()
        // A value ends with NUL on the wire.
        let value = String(decoding: reader.rest().prefix { $0 != 0 }, as: UTF8.self)
        try values(value)
        try exchange(flags, choice, value)
    }

    /// Numbers, binary values and names.
    private static func values(_ value: String) throws(FuzzFinding) {
        if let number = TextCodec.number(value) {
            try require(TextCodec.number(String(number)) == number, "a number in decimal is the same number")
            try require(
                TextCodec.number("0x" + String(number, radix: 16)) == number,
                "a number in hexadecimal is the same number")
        }
        for text in [value, "0x" + value, "0b" + value] {
            guard let bytes = TextCodec.binary(text) else { continue }
            try require(bytes.count <= 1024, "a binary value has at most 1024 bytes")
            try require(TextCodec.binary(TextCodec.formatBinary(bytes)) == bytes, "a binary value is kept")
        }
        for text in [value, "iqn." + value, "iqn.2026-11." + value, "eui." + value, "naa." + value] {
            guard let name = ISCSIName.normalized(text) else { continue }
            try require(name.utf8.count <= ISCSIName.maximumLength, "a name has at most 223 bytes")
            try require(ISCSIName.normalized(name) == name, "a normalised name stays as it is")
        }
    }

    /// One login with CHAP, in which one value is the input's.
    private static func exchange(_ flags: UInt8, _ choice: UInt8, _ value: String) throws(FuzzFinding) {
        let isMutual = flags & 1 != 0
        let authority = FuzzAuthority(FuzzIdentity.policy(isMutual ? 2 : 1))
        var machine = LoginMachine(authority: authority, windowLimit: 32)
        var header = LoginRequestPDU()
        header.initiatorSessionID = InitiatorSessionID(rawValue: 0x4000_0000_0001)
        func send(_ parameters: [TextParameter], isTransit: Bool) -> LoginStep {
            let text = TextCodec.format(parameters)
            header.currentStageCode = LoginStage.securityNegotiation.rawValue
            header.isTransit = isTransit
            header.nextStageCode = isTransit ? LoginStage.fullFeaturePhase.rawValue : 0
            header.dataSegmentLength = text.count
            return machine.receive(header: BasicHeaderSegment(header).bytes, data: text.rawSpan)
        }
        let algorithm = flags & 2 != 0 ? CHAPAlgorithm.md5 : .sha256
        let names = [
            TextParameter("InitiatorName", FuzzIdentity.initiatorName),
            TextParameter("TargetName", FuzzIdentity.targetName), TextParameter("AuthMethod", "CHAP"),
        ]
        guard case .reply = send(names, isTransit: false) else {
            throw FuzzFinding(description: "CHAP can be chosen")
        }
        let offer = flags & 4 != 0 ? value : String(algorithm.rawValue)
        guard case .reply(let reply) = send([TextParameter("CHAP_A", offer)], isTransit: false) else { return }
        let asked = (try? TextCodec.parse(reply.text.rawSpan)) ?? []
        let chosen = asked.first { $0.key == "CHAP_A" }.flatMap { UInt8($0.value) }.flatMap(CHAPAlgorithm.init)
        guard let chosen else { throw FuzzFinding(description: "an algorithm was chosen") }
        try require(FuzzIdentity.provider.algorithms.contains(chosen), "an algorithm was chosen that is allowed")

        let isProof = choice & 3 == 0
        var answer = [
            TextParameter("CHAP_N", flags & 8 != 0 ? value : FuzzIdentity.initiator.name),
            TextParameter("CHAP_R", response(choice, chosen, value)),
        ]
        let isChallenged = flags & 16 != 0
        var counter: [UInt8]?
        if isChallenged {
            let challengeText = flags & 32 != 0 ? value : TextCodec.formatBinary(challenge.reversed())
            counter = TextCodec.binary(challengeText)
            answer.append(TextParameter("CHAP_I", flags & 64 != 0 ? value : "5"))
            answer.append(TextParameter("CHAP_C", challengeText))
        }
        let step = send(answer, isTransit: true)
        guard case .finished(let last, let result) = step else { return }
        try LoginTarget.finished(last, result, authority)
        let given = TextCodec.binary(answer[1].value)
        let credential = [FuzzIdentity.initiator, FuzzIdentity.other].first { $0.name == answer[0].value }
        try require(
            credential.map { given == Self.proof(of: $0, chosen) } ?? false, "only the right response gets in")
        try require(isProof || given != nil, "a response was given")
        try require(isMutual || !isChallenged, "a target without a secret does not prove itself")
        guard isChallenged else { return }
        let proof = try? TextCodec.parse(last.text.rawSpan).first { $0.key == "CHAP_R" }
        guard let counter, let proof, let number = TextCodec.number(answer[2].value).flatMap(UInt8.init(exactly:))
        else { throw FuzzFinding(description: "the target proves itself when it is asked to") }
        let expected = FuzzIdentity.digest(chosen, [number] + FuzzIdentity.target.secret + counter)
        try require(TextCodec.binary(proof.value) == expected, "the target's proof is right")
        try require(counter != challenge, "a challenge that is sent back is not answered")
    }

    private static func response(_ choice: UInt8, _ algorithm: CHAPAlgorithm, _ value: String) -> String {
        var bytes = proof(of: FuzzIdentity.initiator, algorithm)
        switch choice & 3 {
        case 0: break
        case 1: return value
        case 2: bytes[Int(choice >> 2) % bytes.count] ^= 1
        default: bytes.removeLast()
        }
        return TextCodec.formatBinary(bytes)
    }
}
