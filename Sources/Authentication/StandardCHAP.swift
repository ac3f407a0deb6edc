internal import Crypto
public import ISCSI

extension CHAPProvider {
    /// The digests and random numbers of `swift-crypto` and the system: SHA3-256, SHA-256, SHA-1 and MD5, the strongest
    /// first, so that an initiator offers them in that order (a target follows the initiator's).
    public static let standard = CHAPProvider(
        algorithms: [.sha3256, .sha256, .sha1, .md5], digest: standardDigest, random: randomBytes)

    private static func standardDigest(_ algorithm: CHAPAlgorithm, of message: [UInt8]) -> [UInt8] {
        switch algorithm {
        case .md5: Array(Insecure.MD5.hash(data: message))
        case .sha1: Array(Insecure.SHA1.hash(data: message))
        case .sha256: Array(SHA256.hash(data: message))
        case .sha3256: Array(SHA3_256.hash(data: message))
        }
    }

    private static func randomBytes(_ count: Int) -> [UInt8] {
        // The system's generator takes its numbers from the kernel's (getrandom).
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }
}
