/// The target's side of CHAP (RFC 7143 section 12.1.3): any order of keys but the RFC's fails.
struct CHAPTarget: Sendable {
    enum Outcome: Sendable {
        /// Send these; the exchange goes on.
        case reply([TextParameter])
        /// Send these; the initiator has proved to be `name`.
        case authenticated([TextParameter], name: String)
        case failed(LoginStatus)
    }

    private enum State: Sendable {
        case awaitingAlgorithms
        case awaitingResponse(CHAPAlgorithm, CHAPChallenge)
        case done
    }

    let initiators: [CHAPCredential]
    let target: CHAPCredential?
    let provider: CHAPProvider
    private var state = State.awaitingAlgorithms

    init(initiators: [CHAPCredential], target: CHAPCredential?, provider: CHAPProvider) {
        self.initiators = initiators
        self.target = target
        self.provider = provider
    }

    /// Takes the CHAP keys of one text.
    mutating func receive(_ keys: [String: String]) -> Outcome {
        do {
            switch state {
            case .awaitingAlgorithms: return try challenge(keys)
            case .awaitingResponse(let algorithm, let challenge): return try verify(keys, algorithm, challenge)
            case .done: return .failed(.authenticationFailure)
            }
        } catch {
            // Not the initiator's fault: it may try again.
            return .failed(.targetError)
        }
    }

    /// CHAP_A: the first algorithm of the initiator's list that is allowed; numbers that are unknown are passed over.
    private mutating func challenge(_ keys: [String: String]) throws(CHAPProviderFailure) -> Outcome {
        guard let offer = keys["CHAP_A"] else { return .failed(.missingParameter) }
        guard keys.count == 1 else { return .failed(.authenticationFailure) }
        let algorithms = offer.split(separator: ",").compactMap {
            TextCodec.number(String($0)).flatMap { UInt8(exactly: $0) }.flatMap(CHAPAlgorithm.init(rawValue:))
        }
        guard let algorithm = algorithms.first(where: provider.algorithms.contains) else {
            return .failed(.authenticationFailure)
        }
        let challenge = try provider.challenge()
        state = .awaitingResponse(algorithm, challenge)
        return .reply([TextParameter("CHAP_A", String(algorithm.rawValue))] + challenge.parameters)
    }

    private mutating func verify(
        _ keys: [String: String], _ algorithm: CHAPAlgorithm, _ challenge: CHAPChallenge
    ) throws(CHAPProviderFailure) -> Outcome {
        state = .done
        guard let name = keys["CHAP_N"], let responseText = keys["CHAP_R"] else { return .failed(.missingParameter) }
        let (identifier, counter) = (keys["CHAP_I"], keys["CHAP_C"])
        guard (identifier == nil) == (counter == nil) else { return .failed(.missingParameter) }
        guard keys.count == (counter == nil ? 2 : 4), let response = TextCodec.binary(responseText),
            let credential = try prover(name: name, response: response, algorithm, challenge)
        else { return .failed(.authenticationFailure) }
        guard let identifier, let counter else { return .authenticated([], name: credential.name) }
        // A challenge sent back is an attempt to let the target answer its own (section 9.2.1).
        guard let target,
            let asked = CHAPChallenge(identifier: identifier, challenge: counter), asked.bytes != challenge.bytes
        else { return .failed(.authenticationFailure) }
        let answer = try provider.response(
            algorithm, identifier: asked.identifier, secret: target.secret, challenge: asked.bytes)
        return .authenticated(
            [TextParameter("CHAP_N", target.name), TextParameter("CHAP_R", TextCodec.formatBinary(answer))],
            name: credential.name)
    }

    /// The initiator whose secret the response proves. All names and secrets are tried in full, so that time tells
    /// nothing about which of them was wrong, or where; and the target's own secret proves nothing (section 9.2.1).
    private func prover(
        name: String, response: [UInt8], _ algorithm: CHAPAlgorithm, _ challenge: CHAPChallenge
    ) throws(CHAPProviderFailure) -> CHAPCredential? {
        let givenName = Array(name.utf8)
        func isProof(of secret: [UInt8]) throws(CHAPProviderFailure) -> Bool {
            let expected = try provider.response(
                algorithm, identifier: challenge.identifier, secret: secret, challenge: challenge.bytes)
            return provider.areEqual(response, expected)
        }
        var found: CHAPCredential?
        for credential in initiators {
            let hasName = provider.areEqual(givenName, Array(credential.name.utf8))
            let hasSecret = try isProof(of: credential.secret)
            if hasName && hasSecret { found = credential }
        }
        guard let target else { return found }
        return try isProof(of: target.secret) ? nil : found
    }
}
