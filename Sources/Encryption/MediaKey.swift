/// The key of a disk's blocks: two keys of AES-256, as XTS needs them. It is random, known to nobody, and never leaves
/// the process but encrypted.
public final class MediaKey: Sendable {
    /// The bytes of both keys.
    public static let length = 64

    let bytes: SecretBytes

    /// The key in `bytes`; refuses another length and equal halves, with which XTS would tell what it encrypts (IEEE
    /// 1619, NIST SP 800-38E by way of FIPS 140-3 IG C.I).
    init(_ bytes: SecretBytes) throws(EncryptionError) {
        guard bytes.count == Self.length, !bytes.hasEqualHalves else { throw .unsupported }
        self.bytes = bytes
    }

    /// A new one.
    static func random() throws(EncryptionError) -> MediaKey {
        let bytes = SecretBytes(count: length)
        guard LibCrypto.fillRandomly(bytes) else { throw .library }
        return try MediaKey(bytes)
    }
}
