import Authentication
import ISCSI
import Testing

/// `CHAPProvider.standard` against published digests.
@Suite("Digests and random numbers")
struct StandardCHAPTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test(
        "Digests of nothing and of abc (RFC 1321, FIPS 180-4, FIPS 202)",
        arguments: [
            (CHAPAlgorithm.md5, "", "d41d8cd98f00b204e9800998ecf8427e"),
            (.md5, "abc", "900150983cd24fb0d6963f7d28e17f72"),
            (.sha1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (.sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (.sha256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (.sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (.sha3256, "", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
            (.sha3256, "abc", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        ])
    func digests(algorithm: CHAPAlgorithm, message: String, digest: String) {
        #expect(hexadecimal(CHAPProvider.standard.digest(algorithm, Array(message.utf8))) == digest)
    }

    /// Computed with Python's hashlib over identifier 0x27, the secret "a secret of Carousel" and the challenge 00…1F.
    @Test(
        "Responses to a challenge",
        arguments: [
            (CHAPAlgorithm.md5, "ea9118d991d096ac646b941d100549cf"),
            (.sha1, "7e0e1eef9e3b317cb4219ab717b794d3ddafee02"),
            (.sha256, "b9c08280e7e79038ede4212313bd7d0dea3520908667168d840a3510cbc6d49e"),
            (.sha3256, "235fae73f7b2136563774f64bb03d63fe014fd9190eb7a52a880bc9bc58d6754"),
        ])
    func responses(algorithm: CHAPAlgorithm, response: String) {
        let bytes = CHAPProvider.standard.response(
            algorithm, identifier: 0x27, secret: Array("a secret of Carousel".utf8), challenge: Array(0..<32))
        #expect(hexadecimal(bytes) == response)
    }

    @Test("Every algorithm is there, the strongest first")
    func algorithms() {
        #expect(CHAPProvider.standard.algorithms == [.sha3256, .sha256, .sha1, .md5])
        #expect(Set(CHAPProvider.standard.algorithms) == Set(CHAPAlgorithm.allCases))
    }

    @Test("Random numbers: as many as asked for, and never the same again")
    func random() {
        let random = CHAPProvider.standard.random
        #expect(random(0).isEmpty && random(1).count == 1)
        let drawn = (0..<1000).map { _ in random(32) }
        #expect(drawn.allSatisfy { $0.count == 32 })
        #expect(Set(drawn).count == 1000)
        // 32,000 bytes leave none of the 256 values out, but with a probability below 10⁻⁵⁰.
        #expect(Set(drawn.joined()).count == 256)
    }
}
