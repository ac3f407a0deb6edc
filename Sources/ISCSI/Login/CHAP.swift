/// A CHAP algorithm by its number (RFC 7143 section 12.1.3 and IANA's "PPP Authentication Algorithms").
public enum CHAPAlgorithm: UInt8, Sendable, CaseIterable {
    /// MD5, which RFC 7143 section 12.1.3 requires.
    case md5 = 5
    /// SHA-1 (IANA's registry of CHAP algorithms).
    case sha1 = 6
    /// SHA-256 (IANA's registry of CHAP algorithms).
    case sha256 = 7
    /// SHA3-256 (IANA's registry of CHAP algorithms).
    case sha3256 = 8
}

/// A name and its secret.
public struct CHAPCredential: Hashable, Sendable {
    /// The least bytes of a secret: 96 bits, where IPsec does not protect the connection (RFC 7143 section 9.2.1).
    public static let minimumSecretLength = 12
    /// The most bytes of a secret, as of any text value.
    public static let maximumSecretLength = 255

    /// CHAP_N: who proves that it knows the secret.
    public var name: String
    /// What both sides know, and what never goes over the wire: up to `maximumSecretLength` bytes.
    public var secret: [UInt8]

    public init(name: String, secret: [UInt8]) {
        self.name = name
        self.secret = secret
    }
}

/// The cryptographic library did not compute a digest or give random numbers.
public struct CHAPProviderFailure: Error, Hashable, Sendable {
    /// A failure without a reason: the library gave none.
    public init() {}
}

/// What CHAP needs from outside: digests, comparisons and random numbers, so that the protocol depends on no
/// cryptographic library.
public struct CHAPProvider: Sendable {
    /// The digest of a message.
    public typealias Digest = @Sendable (CHAPAlgorithm, [UInt8]) throws(CHAPProviderFailure) -> [UInt8]
    /// That many bytes from a cryptographically strong source.
    public typealias Random = @Sendable (Int) throws(CHAPProviderFailure) -> [UInt8]
    /// Whether the first, which the other side chose, equals the second, which is secret; the time it takes depends on
    /// the first only.
    public typealias Comparison = @Sendable ([UInt8], [UInt8]) -> Bool

    /// The algorithms that are allowed, of those that `digest` can do, in the order in which an initiator offers them.
    public var algorithms: [CHAPAlgorithm]
    /// The digest of a message in one of the algorithms.
    public var digest: Digest
    /// Random bytes that cannot be predicted, as many as asked for.
    public var random: Random
    /// Compares names and responses.
    public var areEqual: Comparison

    public init(
        algorithms: [CHAPAlgorithm], digest: @escaping Digest, random: @escaping Random, areEqual: @escaping Comparison
    ) {
        self.algorithms = algorithms
        self.digest = digest
        self.random = random
        self.areEqual = areEqual
    }

    /// The response to a challenge (RFC 1994 section 4.1): the digest of identifier, secret and challenge.
    public func response(
        _ algorithm: CHAPAlgorithm, identifier: UInt8, secret: [UInt8], challenge: [UInt8]
    ) throws(CHAPProviderFailure) -> [UInt8] {
        try digest(algorithm, [identifier] + secret + challenge)
    }

    /// A new challenge with its identifier.
    func challenge() throws(CHAPProviderFailure) -> CHAPChallenge {
        let bytes = try random(CHAPChallenge.length + 1)
        return CHAPChallenge(identifier: bytes.first ?? 0, bytes: Array(bytes.dropFirst()))
    }
}

/// What an initiator has to prove before it may go on.
public enum AuthenticationPolicy: Sendable {
    /// Nothing.
    case none
    /// That it knows the secret of one of `initiators`, whose names differ. It may ask the same of the target, which
    /// then answers as `target`; without one such a login fails. See `validate` for what the credentials must be like.
    case chap(initiators: [CHAPCredential], target: CHAPCredential?, provider: CHAPProvider)

    /// The most credentials of initiators in one policy: a login tries them all.
    public static let maximumInitiatorCount = 256

    /// Checks the credentials of a policy before it comes into force: lengths, and that no secret serves both
    /// directions (RFC 7143 section 9.2.1).
    public static func validate(
        initiators: [CHAPCredential], target: CHAPCredential?
    ) throws(CHAPConfigurationError) {
        guard !initiators.isEmpty else { throw .noInitiator }
        guard initiators.count <= maximumInitiatorCount else { throw .tooManyInitiators }
        for credential in initiators { try check(credential) }
        if let target { try check(target) }
        var names: Set<String> = []
        for credential in initiators where !names.insert(credential.name).inserted {
            throw .repeatedName(credential.name)
        }
        if let target, let same = initiators.first(where: { $0.secret == target.secret }) {
            throw .sharedSecret(same.name)
        }
    }

    private static func check(_ credential: CHAPCredential) throws(CHAPConfigurationError) {
        guard (1...TextCodec.maximumValueLength).contains(credential.name.utf8.count) else {
            throw .nameLength(credential.name)
        }
        guard credential.name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw .nameCharacters(credential.name)
        }
        guard credential.secret.count >= CHAPCredential.minimumSecretLength else {
            throw .shortSecret(credential.name)
        }
        guard credential.secret.count <= CHAPCredential.maximumSecretLength else { throw .longSecret(credential.name) }
    }
}

/// Why credentials cannot be used for CHAP.
public enum CHAPConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// There is no initiator's credential.
    case noInitiator
    /// There are more than `AuthenticationPolicy.maximumInitiatorCount`.
    case tooManyInitiators
    /// The name is empty or longer than 255 bytes.
    case nameLength(String)
    /// The name has control characters.
    case nameCharacters(String)
    /// Two initiators have the name.
    case repeatedName(String)
    /// The secret of that name is shorter than 12 bytes.
    case shortSecret(String)
    /// The secret of that name is longer than 255 bytes.
    case longSecret(String)
    /// The initiator of that name has the target's secret.
    case sharedSecret(String)

    /// The mistake as a sentence.
    public var description: String {
        switch self {
        case .noInitiator: "CHAP needs at least one initiator's name and secret."
        case .tooManyInitiators: "CHAP takes at most \(AuthenticationPolicy.maximumInitiatorCount) initiators' names."
        case .nameLength(let name): "The CHAP name \"\(name.prefix(40))\" must have 1 to 255 bytes."
        case .nameCharacters(let name): "The CHAP name \"\(name.prefix(40))\" must not have control characters."
        case .repeatedName(let name): "The CHAP name \"\(name)\" is given to two initiators; give each its own."
        case .shortSecret(let name): "The CHAP secret of \"\(name)\" must have at least 12 bytes."
        case .longSecret(let name): "The CHAP secret of \"\(name)\" must have at most 255 bytes."
        case .sharedSecret(let name):
            "The CHAP secret of \"\(name)\" is also the target's; the two directions need different secrets."
        }
    }
}

/// A challenge and its identifier, as one side sent them.
struct CHAPChallenge: Hashable, Sendable {
    /// The length of our own challenges, in bytes: that of the longest digest.
    static let length = 32

    /// CHAP_I: goes into the response with secret and challenge.
    var identifier: UInt8
    /// CHAP_C: the challenge itself.
    var bytes: [UInt8]

    /// The challenge as the keys CHAP_I and CHAP_C.
    var parameters: [TextParameter] {
        [TextParameter("CHAP_I", String(identifier)), TextParameter("CHAP_C", TextCodec.formatBinary(bytes))]
    }
}

extension CHAPChallenge {
    /// The challenge in the values of CHAP_I, a number of one byte in any encoding, and CHAP_C, at least a byte; nil
    /// when they are malformed.
    init?(identifier: String, challenge: String) {
        guard let number = Self.identifier(identifier), let bytes = TextCodec.binary(challenge) else { return nil }
        self.init(identifier: number, bytes: bytes)
    }

    private static func identifier(_ text: String) -> UInt8? {
        if let number = TextCodec.number(text) { return UInt8(exactly: number) }
        guard let bytes = TextCodec.binary(text), bytes.dropLast().allSatisfy({ $0 == 0 }) else { return nil }
        return bytes.last
    }
}
