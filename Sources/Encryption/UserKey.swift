/// What the user has: the content of a key file of the user's, or the output of a command. All bytes of it count.
public final class UserKey: Sendable {
    /// How many bytes it may have.
    public static let lengths = 8...65536
    /// A key of just so many bytes is taken for random, so nothing is done to make guessing slow.
    public static let randomLength = 32

    let bytes: SecretBytes

    /// The key in `bytes`.
    public init(_ bytes: SecretBytes) throws(EncryptionError) {
        guard Self.lengths.contains(bytes.count) else { throw .keyLength(bytes.count) }
        self.bytes = bytes
    }

    /// Whether both are the same bytes.
    public func isSame(as other: UserKey) -> Bool { bytes.isEqual(to: other.bytes) }

    /// Whether it is of the length of a random key.
    public var isRandom: Bool { bytes.count == Self.randomLength }
}

/// How the key under which a media key is encrypted comes from the user's key.
public enum KeyDerivation: Equatable, Sendable {
    /// scrypt (RFC 7914) with N = 2^`exponent`, r = `blockSize`, p = `parallelism`: for what people make up.
    case scrypt(exponent: Int, blockSize: Int, parallelism: Int)
    /// HKDF with SHA-256 (RFC 5869): for a random key.
    case hkdf

    /// 128 MiB and a part of a second for each guess.
    public static let standard = scrypt(exponent: 17, blockSize: 8, parallelism: 1)
    /// The most memory that a key file may ask for, in bytes: twice the standard.
    static let memoryLimit = 256 << 20
    /// The most p that a key file may ask for: each takes as long as one.
    static let parallelismLimit = 16
    /// The bytes of the salt.
    static let saltLength = 32
    /// The bytes of the key that comes out.
    static let keyLength = 32
    /// What the key is for (RFC 5869 section 3.2).
    private static let purpose: [UInt8] = Array("carousel: encrypts the media key of a disk image".utf8)

    /// What suits `key`.
    public static func suitable(for key: UserKey) -> KeyDerivation { key.isRandom ? .hkdf : .standard }

    /// Whether no limit is exceeded: a key file may be somebody else's work.
    var isGranted: Bool {
        guard case .scrypt(let exponent, let blockSize, let parallelism) = self else { return true }
        return (1...24).contains(exponent) && (1...64).contains(blockSize)
            && (1...Self.parallelismLimit).contains(parallelism) && 128 * (blockSize << exponent) <= Self.memoryLimit
    }

    /// The key that encrypts the media key.
    func key(from user: UserKey, salt: [UInt8]) throws(EncryptionError) -> SecretBytes {
        guard isGranted else { throw .unsupported }
        switch self {
        case .scrypt(let exponent, let blockSize, let parallelism):
            let key = SecretBytes(count: Self.keyLength)
            guard
                LibCrypto.scrypt(
                    user.bytes, salt: salt, exponent: exponent, blockSize: blockSize, parallelism: parallelism,
                    memoryLimit: 2 * Self.memoryLimit, into: key)
            else { throw .library }
            return key
        case .hkdf:
            // Extract, then expand to one block of the digest (RFC 5869 sections 2.2 and 2.3).
            guard let extracted = LibCrypto.authenticationCode(user.bytes, key: SecretBytes(salt)),
                let key = LibCrypto.authenticationCode(SecretBytes(Self.purpose + [1]), key: extracted)
            else { throw .library }
            return key
        }
    }
}
