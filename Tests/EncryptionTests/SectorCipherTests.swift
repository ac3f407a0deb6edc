import Bytes
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Encryption

/// The bytes of hexadecimal digits.
func bytes(_ digits: String) -> [UInt8] {
    let values = digits.compactMap(\.hexDigitValue)
    return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
}

/// The different blocks of 16 bytes.
func cipherBlocks(_ bytes: [UInt8]) -> Set<[UInt8]> {
    var blocks: Set<[UInt8]> = []
    for place in stride(from: 0, to: bytes.count, by: 16) { blocks.insert(Array(bytes[place..<place + 16])) }
    return blocks
}

/// A media key of those bytes.
func mediaKey(_ bytes: [UInt8]) throws -> MediaKey { try MediaKey(SecretBytes(bytes)) }

@Suite("AES-256-XTS over sectors")
struct SectorCipherTests {
    /// Both keys of vectors 10 to 14 of IEEE 1619-2007, annex B.
    static let standardKey = bytes(
        "2718281828459045235360287471352662497757247093699959574966967627"
            + "3141592653589793238462643383279502884197169399375105820974944592")

    private func encrypted(_ plain: [UInt8], _ cipher: SectorCipher, first: UInt64) -> [UInt8] {
        let stored = cipher.encrypted(plain, first: first)
        #expect(stored != nil)
        return stored ?? []
    }

    private func decrypted(_ stored: [UInt8], _ cipher: SectorCipher, first: UInt64) -> [UInt8] {
        let plain = cipher.decrypted(stored, first: first)
        #expect(plain != nil)
        return plain ?? []
    }

    @Test(
        "The vectors of IEEE 1619-2007 for units of 512 bytes",
        arguments: [
            (
                0xFF,
                "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317f9ac683f44",
                "193c4caa773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151"
            ),
            (
                0xFFFF,
                "77a31251618a15e6b92d1d66dffe7b50b50bad552305ba0217a610688eff7e11e1d0225438e093242d6db274fde801d4",
                "097fc09054fbff89eeaeea791f4a7ab1f9868294a4f9e27b42af8100cb9d59cef9645803"
            ),
            (
                0xFF_FFFF, "e387aaa58ba483afa7e8eb469778317ecf4cf573aa9d4eac23f2cdf914e4e200",
                "5bed5f36ed242c8900dd1fa965bc950dfce09b132263a1eef52dd6888c309f5a7d712826"
            ),
            (
                0xFFFF_FFFF, "bf53d2dade78e822a4d949a9bc6766b01b06a8ef70d26748c6a7fc36d80ae4c5",
                "2fbba88cf6516139420fcff3b7361d86322c4bd84c82f335abb152c4a93411373aaa8220"
            ),
            (
                0xFF_FFFF_FFFF, "64497e5a831e4a932c09be3e5393376daa599548b816031d224bbf50a818ed23",
                "585e94de6975be5e0b4efce51cd3e70c25a1fbbbd609d273ad5b0d59631c531f6a0a57b9"
            ),
        ] as [(UInt64, String, String)])
    func vectors(number: UInt64, beginning: String, end: String) throws {
        let cipher = try SectorCipher(try mediaKey(Self.standardKey), sectorSize: 512)
        let plain = (0..<512).map { UInt8(truncatingIfNeeded: $0) }
        let stored = encrypted(plain, cipher, first: number)
        #expect(stored.starts(with: bytes(beginning)))
        let tail = bytes(end)
        #expect(Array(stored.suffix(tail.count)) == tail)
        #expect(decrypted(stored, cipher, first: number) == plain)
    }

    @Test("Equal sectors have different ciphertexts, and sectors of a run are those that are alone")
    func places() throws {
        for size in [512, 4096] {
            let cipher = try SectorCipher(try .random(), sectorSize: size)
            let plain = [UInt8](repeating: 0x5A, count: 16 * size)
            let stored = encrypted(plain, cipher, first: 7)
            let sectors = (0..<16).map { index -> [UInt8] in Array(stored[index * size..<(index + 1) * size]) }
            #expect(Set(sectors).count == 16)
            // Nor do the blocks of the cipher repeat.
            #expect(cipherBlocks(stored).count == size)
            for (index, sector) in sectors.enumerated() {
                #expect(encrypted(Array(plain.prefix(size)), cipher, first: 7 + UInt64(index)) == sector)
            }
            #expect(decrypted(stored, cipher, first: 7) == plain)
            #expect(decrypted(stored, cipher, first: 8) != plain)
        }
    }

    @Test("A sector of zeros is encrypted, and stored zeros stay zeros")
    func zeros() throws {
        let cipher = try SectorCipher(try .random(), sectorSize: 512)
        let zeros = [UInt8](repeating: 0, count: 2048)
        let stored = encrypted(zeros, cipher, first: 0)
        #expect(cipherBlocks(stored).count == 128)
        #expect(decrypted(zeros, cipher, first: 0) == zeros)
        var mixed = zeros
        mixed.replaceSubrange(512..<1024, with: stored[512..<1024])
        #expect(decrypted(mixed, cipher, first: 0) == zeros)
    }

    @Test("Other keys give other ciphertexts; equal halves, other lengths and other sectors are refused")
    func keys() throws {
        let plain = [UInt8](repeating: 1, count: 512)
        let first = try SectorCipher(try .random(), sectorSize: 512)
        let second = try SectorCipher(try .random(), sectorSize: 512)
        #expect(encrypted(plain, first, first: 0) != encrypted(plain, second, first: 0))
        #expect(throws: EncryptionError.unsupported) { try mediaKey([UInt8](repeating: 7, count: 64)) }
        #expect(throws: EncryptionError.unsupported) { try mediaKey([UInt8](repeating: 7, count: 32)) }
        #expect(throws: EncryptionError.unsupported) { try SectorCipher(try .random(), sectorSize: 520) }
    }

    @Test("Many threads get what one gets, also while the key is exchanged")
    func threads() throws {
        let keys = [try MediaKey.random(), try MediaKey.random()]
        let cipher = try SectorCipher(keys[0], sectorSize: 512)
        let plain = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let wanted = try keys.map { key in encrypted(plain, try SectorCipher(key, sectorSize: 512), first: 3) }
        let wrong = Atomic<Int>(0)
        let threads = try (0..<6).map { index in
            try PlatformThread.start(name: "cipher") {
                for _ in 0..<500 {
                    let stored = cipher.encrypted(plain, first: 3)
                    if !wanted.contains(where: { $0 == stored }) { wrong.add(1, ordering: .relaxed) }
                }
            }
        }
        for round in 1...20 { cipher.replaceKey(by: keys[round % 2]) }
        for thread in threads { thread.join() }
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect(encrypted(plain, cipher, first: 3) == wanted[0])
    }

    @Test("Secrets are in no description")
    func descriptions() throws {
        let secret = SecretBytes(Array("a secret".utf8))
        let key = try mediaKey(Self.standardKey)
        let user = try UserKey(secret)
        for text in [
            "\(secret)", String(reflecting: secret), "\(key)", String(reflecting: key), String(reflecting: user),
        ] {
            #expect(!text.contains("secret ") || text.contains("<8 secret bytes>"))
            #expect(!text.contains("39, 24") && !text.contains("97, 32"))
        }
        var dumped = ""
        dump(key, to: &dumped)
        dump(user, to: &dumped)
        #expect(!dumped.contains("39") && !dumped.contains("a secret"))
    }
}
