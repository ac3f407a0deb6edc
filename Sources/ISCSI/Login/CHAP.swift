internal import Bytes

/// A CHAP algorithm by its number (RFC 7143 section 12.1.3 and IANA's "PPP Authentication Algorithms").
public enum CHAPAlgorithm: UInt8, Sendable, CaseIterable {
    /// MD5.
    case md5 = 5
    /// SHA-1.
    case sha1 = 6
    /// SHA-256.
    case sha256 = 7
    /// SHA3-256.
    case sha3256 = 8
}

/// A name and its secret.
public struct CHAPCredential: Hashable, Sendable {
    /// CHAP_N.
    public var name: String
    /// The secret, 12 bytes or more where IPsec does not protect the connection (section 9.2.1).
    public var secret: [UInt8]

    /// A credential of that name and secret.
    public init(name: String, secret: [UInt8]) {
        self.name = name
        self.secret = secret
    }
}

/// What CHAP needs from outside: digests and random numbers, so that the protocol depends on no cryptography package.
public struct CHAPProvider: Sendable {
    /// The algorithms that `digest` can do.
    public var algorithms: [CHAPAlgorithm]
    /// The digest of a message.
    public var digest: @Sendable (CHAPAlgorithm, [UInt8]) -> [UInt8]
    /// That many bytes from a cryptographically strong source.
    public var random: @Sendable (Int) -> [UInt8]

    /// A provider of those functions.
    public init(
        algorithms: [CHAPAlgorithm], digest: @escaping @Sendable (CHAPAlgorithm, [UInt8]) -> [UInt8],
        random: @escaping @Sendable (Int) -> [UInt8]
    ) {
        self.algorithms = algorithms
        self.digest = digest
        self.random = random
    }

    /// The response to a challenge (RFC 1994 section 4.1): the digest of identifier, secret and challenge.
    public func response(
        _ algorithm: CHAPAlgorithm, identifier: UInt8, secret: [UInt8], challenge: [UInt8]
    ) -> [UInt8] {
        digest(algorithm, [identifier] + secret + challenge)
    }
}

/// What an initiator has to prove before it may go on.
public enum AuthenticationPolicy: Sendable {
    /// Nothing.
    case none
    /// That it knows the secret of `initiator`; it may ask the same of the target, which then answers as `target`.
    case chap(initiator: CHAPCredential, target: CHAPCredential?, CHAPProvider)
}

/// The target's side of CHAP (RFC 7143 section 12.1.3): any order of keys but the RFC's fails.
struct CHAPTarget: Sendable {
    /// The length of a challenge, in bytes: that of the longest digest.
    static let challengeLength = 32

    enum Outcome: Sendable {
        /// Send these; the exchange goes on.
        case reply([TextParameter])
        /// Send these; the initiator has proved itself.
        case authenticated([TextParameter])
        /// The login fails.
        case failed(LoginStatus)
    }

    private enum State: Sendable {
        case awaitingAlgorithms
        case awaitingResponse(CHAPAlgorithm, identifier: UInt8, challenge: [UInt8])
        case done
    }

    let initiator: CHAPCredential
    let target: CHAPCredential?
    let provider: CHAPProvider
    private var state = State.awaitingAlgorithms

    init(initiator: CHAPCredential, target: CHAPCredential?, provider: CHAPProvider) {
        self.initiator = initiator
        self.target = target
        self.provider = provider
    }

    /// Takes the CHAP keys of one text.
    mutating func receive(_ keys: [String: String]) -> Outcome {
        switch state {
        case .awaitingAlgorithms: return challenge(keys)
        case .awaitingResponse(let algorithm, let identifier, let challenge):
            return verify(keys, algorithm, identifier: identifier, challenge: challenge)
        case .done: return .failed(.initiatorError)
        }
    }

    private mutating func challenge(_ keys: [String: String]) -> Outcome {
        guard let offer = keys["CHAP_A"] else { return .failed(.missingParameter) }
        guard keys.count == 1 else { return .failed(.initiatorError) }
        let algorithms = offer.split(separator: ",").compactMap { UInt8($0).flatMap(CHAPAlgorithm.init(rawValue:)) }
        guard let algorithm = algorithms.first(where: provider.algorithms.contains) else {
            return .failed(.authenticationFailure)
        }
        let identifier = provider.random(1)[0]
        let challenge = provider.random(Self.challengeLength)
        state = .awaitingResponse(algorithm, identifier: identifier, challenge: challenge)
        return .reply([
            TextParameter("CHAP_A", String(algorithm.rawValue)),
            TextParameter("CHAP_I", String(identifier)),
            TextParameter("CHAP_C", TextCodec.formatBinary(challenge)),
        ])
    }

    private mutating func verify(
        _ keys: [String: String], _ algorithm: CHAPAlgorithm, identifier: UInt8, challenge: [UInt8]
    ) -> Outcome {
        guard let name = keys["CHAP_N"], let responseText = keys["CHAP_R"] else { return .failed(.missingParameter) }
        guard keys["CHAP_A"] == nil else { return .failed(.initiatorError) }
        guard let response = TextCodec.binary(responseText) else { return .failed(.initiatorError) }
        let expected = provider.response(
            algorithm, identifier: identifier, secret: initiator.secret, challenge: challenge)
        // Both are compared in full, so that time tells nothing about which was wrong, or where.
        let isRightName = Self.isEqual(Array(name.utf8), Array(initiator.name.utf8))
        let isRightResponse = Self.isEqual(response, expected)
        guard isRightName && isRightResponse else { return .failed(.authenticationFailure) }
        state = .done
        guard let counterIdentifier = keys["CHAP_I"] ?? keys["CHAP_C"] else { return .authenticated([]) }
        return answer(
            identifier: counterIdentifier, challenge: keys["CHAP_C"], hasIdentifier: keys["CHAP_I"] != nil,
            algorithm: algorithm, own: challenge)
    }

    /// The target's proof, when the initiator challenged it.
    private func answer(
        identifier: String, challenge: String?, hasIdentifier: Bool, algorithm: CHAPAlgorithm, own: [UInt8]
    ) -> Outcome {
        guard hasIdentifier, let challenge else { return .failed(.missingParameter) }
        guard let identifier = TextCodec.number(identifier).flatMap({ UInt8(exactly: $0) }),
            let bytes = TextCodec.binary(challenge)
        else { return .failed(.initiatorError) }
        // A challenge sent back is an attempt to let the target answer its own (section 9.2.1).
        guard let target, bytes != own else { return .failed(.authenticationFailure) }
        let response = provider.response(algorithm, identifier: identifier, secret: target.secret, challenge: bytes)
        return .authenticated([
            TextParameter("CHAP_N", target.name),
            TextParameter("CHAP_R", TextCodec.formatBinary(response)),
        ])
    }

    /// Equality in a time that depends on the lengths only.
    static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
