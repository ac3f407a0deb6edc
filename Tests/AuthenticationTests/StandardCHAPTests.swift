import ISCSI
import Testing

@testable import Authentication

/// `CHAPProvider.standard` against published digests.
@Suite("Digests and random numbers")
struct StandardCHAPTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static let alphabet = "abcdefghijklmnopqrstuvwxyz"
    /// The message of two blocks in FIPS 180's examples.
    private static let twoBlocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"

    @Test(
        "MD5: the test suite of RFC 1321, appendix A.5",
        arguments: [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (alphabet, "c3fcd3d76192e4007dfb496cca67e13b"),
            (alphabet.uppercased() + alphabet + "0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
            (String(repeating: "1234567890", count: 8), "57edf4a22be3c955ac49da2e2107b67a"),
        ])
    func md5(message: String, digest: String) throws {
        #expect(hexadecimal(try CHAPProvider.standard.digest(.md5, Array(message.utf8))) == digest)
    }

    @Test(
        "SHA-1 and SHA-256: the examples of FIPS 180; SHA3-256: those of FIPS 202",
        arguments: [
            (CHAPAlgorithm.sha1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (.sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (.sha1, twoBlocks, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
            (.sha1, String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
            (.sha256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (.sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (.sha256, twoBlocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
            (
                .sha256, String(repeating: "a", count: 1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
            ),
            (.sha3256, "", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
            (.sha3256, "abc", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
            (.sha3256, twoBlocks, "41c0dba2a9d6240849100376a8235e2c82e1b9998a999e21db32dd97496d3376"),
        ])
    func secureHashes(algorithm: CHAPAlgorithm, message: String, digest: String) throws {
        #expect(hexadecimal(try CHAPProvider.standard.digest(algorithm, Array(message.utf8))) == digest)
    }

    @Test("SHA3-256: 1600 bits, NIST's example of FIPS 202")
    func sponge() throws {
        let message = [UInt8](repeating: 0xA3, count: 200)
        let digest = "79f38adec5c20307a98ef76e8324afbfd46cfd81b22e3973c65fa1bd9de31787"
        #expect(hexadecimal(try CHAPProvider.standard.digest(.sha3256, message)) == digest)
    }

    /// Computed with Python's hashlib over identifier 0x27, the secret "a secret of Carousel" and the challenge
    /// 00…1F.
    @Test(
        "Responses to a challenge",
        arguments: [
            (CHAPAlgorithm.md5, "ea9118d991d096ac646b941d100549cf"),
            (.sha1, "7e0e1eef9e3b317cb4219ab717b794d3ddafee02"),
            (.sha256, "b9c08280e7e79038ede4212313bd7d0dea3520908667168d840a3510cbc6d49e"),
            (.sha3256, "235fae73f7b2136563774f64bb03d63fe014fd9190eb7a52a880bc9bc58d6754"),
        ])
    func responses(algorithm: CHAPAlgorithm, response: String) throws {
        let bytes = try CHAPProvider.standard.response(
            algorithm, identifier: 0x27, secret: Array("a secret of Carousel".utf8), challenge: Array(0..<32))
        #expect(hexadecimal(bytes) == response)
    }

    @Test("Every algorithm is there, the strongest first")
    func algorithms() {
        #expect(CHAPProvider.standard.algorithms == [.sha3256, .sha256, .sha1, .md5])
        #expect(Set(CHAPProvider.standard.algorithms) == Set(CHAPAlgorithm.allCases))
    }

    @Test("What libcrypto's configuration does not allow is neither offered nor computed")
    func disallowed() {
        // Debian's libcrypto comes without the FIPS provider, the only one whose implementations have this property.
        let provider = CHAPProvider.libCrypto(properties: "fips=yes")
        #expect(provider.algorithms.isEmpty)
        for algorithm in CHAPAlgorithm.allCases {
            #expect(throws: CHAPProviderFailure.self) { try provider.digest(algorithm, [1, 2, 3]) }
        }
    }

    @Test("Equal means the same bytes and the same length")
    func comparison() {
        let areEqual = CHAPProvider.standard.areEqual
        let bytes = Array(UInt8(1)...32)
        #expect(areEqual([], []) && areEqual(bytes, bytes))
        #expect(!areEqual(bytes, []) && !areEqual([], bytes))
        #expect(!areEqual(bytes, Array(bytes.dropLast())) && !areEqual(Array(bytes.dropLast()), bytes))
        #expect(!areEqual(bytes + [0], bytes) && !areEqual(bytes, bytes + [0]), "what is missing is not zero")
        for position in bytes.indices {
            var other = bytes
            other[position] ^= 0x80
            #expect(!areEqual(bytes, other))
        }
    }

    @Test("Random numbers: as many as asked for, and never the same again")
    func random() throws {
        let random = CHAPProvider.standard.random
        #expect(try random(0).isEmpty)
        #expect(try random(1).count == 1)
        #expect(throws: CHAPProviderFailure.self) { try random(-1) }
        let drawn = try (0..<1000).map { _ in try random(32) }
        #expect(drawn.allSatisfy { $0.count == 32 })
        #expect(Set(drawn).count == 1000)
        // 32,000 bytes leave none of the 256 values out, but with a probability below 10⁻⁵⁰.
        #expect(Set(drawn.joined()).count == 256)
    }
}
