internal import Bytes

/// What a media key encrypts, so that the one is never taken for the other.
public enum KeyedContent: UInt32, Sendable {
    /// The blocks of one disk, one after another.
    case blocks = 0
    /// The file of disks with snapshots, with all that finds their blocks.
    case family = 1
}

/// A media key, encrypted with AES-256-GCM; all else that is here is authenticated with it.
public struct KeySlot: Equatable, Sendable {
    /// The bytes of it.
    static let length = 192
    private static let magic: UInt64 = 0x4361_726F_4B65_7953
    /// That of keys for disks whose blocks lie one after another; and that which says what the key is for.
    private static let version: UInt32 = 1
    private static let contentVersion: UInt32 = 2
    /// AES-256-XTS.
    private static let cipher: UInt32 = 1
    /// The bytes that are authenticated.
    private static let contextLength = 96

    /// The bytes of the sectors.
    public let sectorSize: Int
    /// What it encrypts.
    public let content: KeyedContent
    /// How the key that encrypts it comes from the user's.
    public let derivation: KeyDerivation
    /// The higher one counts.
    public let generation: UInt64
    /// Which image it is for.
    public let identity: [UInt8]
    let salt: [UInt8]
    private let nonce: [UInt8]
    private let ciphertext: [UInt8]
    private let tag: [UInt8]

    /// The slot of `key`.
    init(
        _ key: MediaKey, under wrappingKey: SecretBytes, sectorSize: Int, content: KeyedContent,
        derivation: KeyDerivation, generation: UInt64, identity: [UInt8], salt: [UInt8]
    ) throws(EncryptionError) {
        let context = Self.context(sectorSize, content, derivation, generation, identity, salt)
        guard let nonce = LibCrypto.random(LibCrypto.nonceLength),
            let sealed = LibCrypto.seal(key.bytes, under: wrappingKey, nonce: nonce, context: context)
        else { throw .library }
        self.sectorSize = sectorSize
        self.content = content
        self.derivation = derivation
        self.generation = generation
        self.identity = identity
        self.salt = salt
        self.nonce = nonce
        ciphertext = sealed.ciphertext
        tag = sealed.tag
    }

    /// The note of an image whose key file has this slot as the one that counts.
    public var mark: KeyMark { KeyMark(identity: identity, generation: generation) }

    /// The media key; refuses another key than the one it was made with, and what somebody has changed.
    func mediaKey(under wrappingKey: SecretBytes) throws(EncryptionError) -> MediaKey {
        let context = Self.context(sectorSize, content, derivation, generation, identity, salt)
        guard
            let bytes = LibCrypto.open(ciphertext, tag: tag, under: wrappingKey, nonce: nonce, context: context)
        else { throw .wrongKey }
        return try MediaKey(bytes)
    }

    /// Magic number, version, cipher, size of sectors, derivation and its three parameters, content, generation,
    /// identity, salt.
    private static func context(
        _ sectorSize: Int, _ content: KeyedContent, _ derivation: KeyDerivation, _ generation: UInt64,
        _ identity: [UInt8], _ salt: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE64(magic)
        bytes.appendBE32(content == .blocks ? version : contentVersion)
        bytes.appendBE32(cipher)
        bytes.appendBE32(UInt32(sectorSize))
        let fields: [Int] =
            switch derivation {
            case .scrypt(let exponent, let blockSize, let parallelism): [1, exponent, blockSize, parallelism]
            case .hkdf: [2, 0, 0, 0]
            }
        for field in fields + [Int(content.rawValue)] { bytes.appendBE32(UInt32(field)) }
        bytes.appendBE64(generation)
        return bytes + identity + salt
    }

    /// What is authenticated, nonce, ciphertext, tag, CRC32C of all before.
    var encoded: [UInt8] {
        var bytes = Self.context(sectorSize, content, derivation, generation, identity, salt) + nonce + ciphertext + tag
        bytes.appendBE32(CRC32C.checksum(bytes.rawSpan))
        return bytes
    }

    /// Nil when `bytes` are none, or those of a later version.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.length else { return nil }
        let span = bytes.rawSpan
        guard span.loadBE64(at: 0) == Self.magic, span.loadBE32(at: 12) == Self.cipher,
            span.loadBE32(at: Self.length - 4) == CRC32C.checksum(span.extracting(0..<Self.length - 4))
        else { return nil }
        switch (span.loadBE32(at: 8), KeyedContent(rawValue: span.loadBE32(at: 36))) {
        // Of this version nobody has looked at the field.
        case (Self.version, _): content = .blocks
        case (Self.contentVersion, let found?) where found != .blocks: content = found
        default: return nil
        }
        let parameters = [24, 28, 32].map { Int(span.loadBE32(at: $0)) }
        switch span.loadBE32(at: 20) {
        case 1:
            derivation = .scrypt(exponent: parameters[0], blockSize: parameters[1], parallelism: parameters[2])
        case 2: derivation = .hkdf
        default: return nil
        }
        guard derivation.isGranted, [512, 4096].contains(span.loadBE32(at: 16)) else { return nil }
        sectorSize = Int(span.loadBE32(at: 16))
        generation = span.loadBE64(at: 40)
        identity = Array(bytes[48..<64])
        salt = Array(bytes[64..<Self.contextLength])
        nonce = Array(bytes[96..<108])
        ciphertext = Array(bytes[108..<172])
        tag = Array(bytes[172..<188])
    }
}
