/// The initiator's side of CHAP (RFC 7143 section 12.1.3), one-way or, with `target`, in both directions.
struct CHAPInitiator: Sendable {
    private enum State: Sendable {
        case start
        case awaitingChallenge
        case awaitingProof(CHAPAlgorithm, CHAPChallenge)
        case done
    }

    let credential: CHAPCredential
    let target: CHAPCredential?
    let provider: CHAPProvider
    private var state = State.start

    init(credential: CHAPCredential, target: CHAPCredential?, provider: CHAPProvider) {
        self.credential = credential
        self.target = target
        self.provider = provider
    }

    /// Whether nothing more has to be said before the initiator may ask to leave the stage.
    var hasAnswered: Bool {
        switch state {
        case .start, .awaitingChallenge: false
        case .awaitingProof, .done: true
        }
    }

    /// Whether all has been proved that was to be.
    var isDone: Bool {
        if case .done = state { true } else { false }
    }

    /// CHAP_A, when the target has chosen CHAP.
    mutating func begin() -> [TextParameter] {
        state = .awaitingChallenge
        return [TextParameter("CHAP_A", provider.algorithms.map { String($0.rawValue) }.joined(separator: ","))]
    }

    /// Takes the target's CHAP keys and gives the answer.
    mutating func receive(_ keys: [String: String]) throws(InitiatorLoginFailure) -> [TextParameter] {
        switch state {
        case .start: throw .protocolError
        case .awaitingChallenge: return try answer(keys)
        case .awaitingProof(let algorithm, let challenge):
            try verify(keys, algorithm, challenge)
            return []
        case .done:
            guard keys.isEmpty else { throw .protocolError }
            return []
        }
    }

    private mutating func answer(_ keys: [String: String]) throws(InitiatorLoginFailure) -> [TextParameter] {
        guard keys.count == 3, let identifier = keys["CHAP_I"], let challengeText = keys["CHAP_C"],
            let number = keys["CHAP_A"].flatMap({ TextCodec.number($0) }).flatMap({ UInt8(exactly: $0) }),
            let challenge = CHAPChallenge(identifier: identifier, challenge: challengeText)
        else { throw .protocolError }
        guard let algorithm = CHAPAlgorithm(rawValue: number), provider.algorithms.contains(algorithm) else {
            throw .authentication
        }
        let response = try response(of: credential.secret, algorithm, challenge)
        let answer = [
            TextParameter("CHAP_N", credential.name), TextParameter("CHAP_R", TextCodec.formatBinary(response)),
        ]
        guard target != nil else {
            state = .done
            return answer
        }
        guard let counter = try? provider.challenge() else { throw .authentication }
        state = .awaitingProof(algorithm, counter)
        return answer + counter.parameters
    }

    /// The response to a challenge of who knows `secret`.
    private func response(
        of secret: [UInt8], _ algorithm: CHAPAlgorithm, _ challenge: CHAPChallenge
    ) throws(InitiatorLoginFailure) -> [UInt8] {
        do {
            return try provider.response(
                algorithm, identifier: challenge.identifier, secret: secret, challenge: challenge.bytes)
        } catch {
            throw .authentication
        }
    }

    private mutating func verify(
        _ keys: [String: String], _ algorithm: CHAPAlgorithm, _ challenge: CHAPChallenge
    ) throws(InitiatorLoginFailure) {
        // What the target has not said yet it may still say; leaving the stage without it fails elsewhere.
        if keys.isEmpty { return }
        guard keys.count == 2, let name = keys["CHAP_N"], let proof = keys["CHAP_R"].flatMap({ TextCodec.binary($0) })
        else { throw .protocolError }
        // Our own secret proves nothing about the target (section 9.2.1).
        guard let target, provider.areEqual(Array(name.utf8), Array(target.name.utf8)),
            provider.areEqual(proof, try response(of: target.secret, algorithm, challenge)),
            !provider.areEqual(proof, try response(of: credential.secret, algorithm, challenge))
        else { throw .authentication }
        state = .done
    }
}
