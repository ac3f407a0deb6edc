public import ISCSI

extension CHAPProvider {
    /// The digests and random numbers of libcrypto: SHA3-256, SHA-256, SHA-1 and MD5, the strongest first, so that an
    /// initiator offers them in that order (a target follows the initiator's). What the system's configuration of
    /// libcrypto does not allow (MD5 where FIPS is in force) is not offered.
    public static let standard = libCrypto()

    /// A provider of those implementations that have `properties`, or of those that the system's configuration allows.
    static func libCrypto(properties: String? = nil) -> CHAPProvider {
        var digests: [CHAPAlgorithm: LibCrypto.MessageDigest] = [:]
        for algorithm in CHAPAlgorithm.allCases {
            digests[algorithm] = LibCrypto.MessageDigest(algorithm.libCryptoName, properties: properties)
        }
        return CHAPProvider(
            algorithms: [.sha3256, .sha256, .sha1, .md5].filter { digests[$0] != nil },
            digest: { [digests] algorithm, message throws(CHAPProviderFailure) in
                guard let digest = digests[algorithm]?.digest(of: message) else { throw CHAPProviderFailure() }
                return digest
            },
            random: { count throws(CHAPProviderFailure) in
                guard let bytes = LibCrypto.random(count) else { throw CHAPProviderFailure() }
                return bytes
            },
            areEqual: LibCrypto.areEqual)
    }
}

extension CHAPAlgorithm {
    /// Its name in `EVP_MD_fetch`.
    fileprivate var libCryptoName: String {
        switch self {
        case .md5: "MD5"
        case .sha1: "SHA1"
        case .sha256: "SHA2-256"
        case .sha3256: "SHA3-256"
        }
    }
}
