import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Encryption

@Suite("The file with the key of an image")
struct KeyFileTests {
    /// Quick, and no good for anything else.
    private let quick = KeyDerivation.scrypt(exponent: 4, blockSize: 1, parallelism: 1)
    private let identity = (0..<16).map { UInt8($0) }
    private let user = Array("correct horse battery".utf8)

    private func userKey(_ bytes: [UInt8]) throws -> UserKey { try UserKey(SecretBytes(bytes)) }

    private func made(_ store: SimulatedStore) throws -> (file: KeyFile, key: MediaKey) {
        try KeyFile.create(
            in: store, identity: identity, sectorSize: 512, userKey: try userKey(user), derivation: quick)
    }

    private func opened(
        _ store: SimulatedStore, key: [UInt8]? = nil, identity: [UInt8]? = nil, generation: UInt64 = 0,
        sectorSize: Int = 512
    ) throws -> [UInt8] {
        try KeyFile.open(
            store, mark: KeyMark(identity: identity ?? self.identity, generation: generation), sectorSize: sectorSize,
            userKey: try userKey(key ?? user)
        ).key.bytes.copyToArray()
    }

    @Test("The key comes back with the user's key, and with no other, for no other image and block size")
    func opening() throws {
        let store = SimulatedStore()
        let key = try made(store).key.bytes.copyToArray()
        #expect(store.durable.count == KeyFile.length)
        #expect(try opened(store) == key)
        #expect(throws: EncryptionError.wrongKey) { try opened(store, key: user + [10]) }
        #expect(throws: EncryptionError.foreign) { try opened(store, identity: identity.reversed()) }
        #expect(throws: EncryptionError.unsupported) { try opened(store, sectorSize: 4096) }
        #expect(try KeyFile.found(in: store)?.identity == identity)
        #expect(store.content == store.durable)
        // Neither key is in the file.
        for secret in [key, user] {
            let content = store.durable
            for place in 0..<content.count - secret.count where content[place] == secret[0] {
                #expect(Array(content[place..<place + secret.count]) != secret)
            }
        }
    }

    @Test("Two files of the same user's key have other salts, nonces and keys")
    func salts() throws {
        let (first, second) = (SimulatedStore(), SimulatedStore())
        #expect(try made(first).key.bytes.copyToArray() != made(second).key.bytes.copyToArray())
        let slots = try [first, second].map { try #require(try KeyFile.found(in: $0)) }
        #expect(slots[0].salt != slots[1].salt)
    }

    @Test("Keys of 32 bytes are taken for random; keys that are too short or too long are refused")
    func userKeys() throws {
        let random = try userKey([UInt8](repeating: 3, count: 32))
        #expect(KeyDerivation.suitable(for: random) == .hkdf)
        #expect(KeyDerivation.suitable(for: try userKey(user)) == .standard)
        let store = SimulatedStore()
        let key = try KeyFile.create(in: store, identity: identity, sectorSize: 512, userKey: random).key
        #expect(try opened(store, key: [UInt8](repeating: 3, count: 32)) == key.bytes.copyToArray())
        #expect(throws: EncryptionError.wrongKey) { try opened(store, key: [UInt8](repeating: 4, count: 32)) }
        #expect(throws: EncryptionError.keyLength(7)) { try userKey([UInt8](repeating: 3, count: 7)) }
        #expect(throws: EncryptionError.keyLength(65537)) { try userKey([UInt8](repeating: 3, count: 65537)) }
    }

    @Test("Every byte of a copy counts, and the other copy makes it good")
    func damage() throws {
        let store = SimulatedStore()
        let key = try made(store).key.bytes.copyToArray()
        let whole = store.content
        for copy in 0..<2 {
            for place in 0..<KeySlot.length {
                var content = whole
                content[copy * KeyFile.copyLength + place] ^= 0x10
                let damaged = SimulatedStore(content)
                #expect(try KeyFile.wholeCopies(in: damaged) == 1)
                #expect(try opened(damaged) == key)
                #expect(damaged.durable == whole)
            }
        }
        #expect(throws: EncryptionError.damaged) { try opened(SimulatedStore([UInt8](repeating: 0, count: 8192))) }
        #expect(throws: EncryptionError.damaged) { try opened(SimulatedStore()) }
        #expect(try KeyFile.found(in: SimulatedStore()) == nil)
    }

    @Test("What somebody has changed with a right checksum is refused")
    func authentication() throws {
        let store = SimulatedStore()
        _ = try made(store)
        // Generation, salt, nonce, ciphertext, tag. Identity and sector size are compared first.
        for place in [47, 64, 95, 96, 107, 108, 171, 172, 187] {
            var slot = Array(store.content.prefix(KeySlot.length - 4))
            slot[place] ^= 1
            slot.appendBE32(CRC32C.checksum(slot.rawSpan))
            let copy = slot + [UInt8](repeating: 0, count: KeyFile.copyLength - slot.count)
            #expect(throws: EncryptionError.wrongKey) { try opened(SimulatedStore(copy + copy)) }
        }
    }

    @Test("No file makes the daemon take more memory than the limit")
    func limits() throws {
        for (exponent, blockSize, parallelism) in [
            (0, 8, 1), (25, 1, 1), (63, 8, 1), (19, 8, 1), (10, 65, 1), (10, 0, 1), (10, 8, 17), (10, 8, 0),
        ] {
            let derivation = KeyDerivation.scrypt(exponent: exponent, blockSize: blockSize, parallelism: parallelism)
            #expect(!derivation.isGranted)
            #expect(throws: EncryptionError.unsupported) {
                _ = try derivation.key(from: try userKey(user), salt: [])
            }
        }
        #expect(KeyDerivation.standard.isGranted)
    }

    @Test("The vectors of RFC 7914 and RFC 5869")
    func vectors() throws {
        let key = SecretBytes(count: 32)
        #expect(
            LibCrypto.scrypt(
                SecretBytes(Array("password".utf8)), salt: Array("NaCl".utf8), exponent: 10, blockSize: 8,
                parallelism: 16, memoryLimit: 64 << 20, into: key))
        #expect(key.copyToArray() == bytes("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"))
        let extracted = try #require(
            LibCrypto.authenticationCode(
                SecretBytes([UInt8](repeating: 0x0B, count: 22)), key: SecretBytes((0..<13).map { UInt8($0) })))
        #expect(
            extracted.copyToArray() == bytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"))
        let expanded = LibCrypto.authenticationCode(
            SecretBytes((0xF0...0xF9).map { UInt8($0) } + [1]), key: extracted)
        #expect(
            expanded?.copyToArray() == bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"))
    }

    // MARK: Changes

    @Test("After a change nothing of the old key is in the file")
    func replacement() throws {
        let store = SimulatedStore()
        let (file, old) = try made(store)
        let before = store.durable
        guard case .replaced(let key) = file.replaceMediaKey() else {
            Issue.record("not replaced")
            return
        }
        #expect(key.bytes.copyToArray() != old.bytes.copyToArray())
        #expect(try opened(store) == key.bytes.copyToArray())
        let after = store.durable
        #expect(after.count == before.count)
        for copy in 0..<2 {
            // The wrapped key, nonce and tag.
            let place = copy * KeyFile.copyLength + 96
            #expect(after[place..<place + 92] != before[place..<place + 92])
        }
        // And once more.
        guard case .replaced(let next) = file.replaceMediaKey() else {
            Issue.record("not replaced")
            return
        }
        #expect(try opened(store) == next.bytes.copyToArray())
    }

    @Test("A file of an older generation than the mark says is refused; marks of identities alone take any")
    func generations() throws {
        let store = SimulatedStore()
        let (file, old) = try made(store)
        let older = store.content
        guard case .replaced(let key) = file.replaceMediaKey() else {
            Issue.record("not replaced")
            return
        }
        #expect(file.mark == KeyMark(identity: identity, generation: 2))
        for generation in [0, 1, 2] as [UInt64] {
            #expect(try opened(store, generation: generation) == key.bytes.copyToArray())
        }
        #expect(throws: EncryptionError.older) { try opened(store, generation: 3) }
        for generation in [0, 1] as [UInt64] {
            #expect(try opened(SimulatedStore(older), generation: generation) == old.bytes.copyToArray())
        }
        #expect(throws: EncryptionError.older) { try opened(SimulatedStore(older), generation: 2) }
        #expect(KeyMark(file.mark.encoded) == file.mark && file.mark.encoded.count == 24)
        #expect(KeyMark(identity) == KeyMark(identity: identity, generation: 0))
        for count in [0, 15, 17, 23, 25] { #expect(KeyMark([UInt8](repeating: 0, count: count)) == nil) }
    }

    @Test("After a change that has ended half-way the next one begins with the copy that is behind")
    func halfWay() throws {
        let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
        let file = try made(store).file
        store.fail(at: 4, errorNumber: Errno.inputOutput, fromThenOn: false)
        guard case .incomplete(let key, _) = file.replaceMediaKey() else {
            Issue.record("not incomplete")
            return
        }
        // The second copy, its synchronisation; then the first one of the next key.
        store.fail(at: 3, errorNumber: Errno.inputOutput, fromThenOn: true)
        guard case .unknown = file.replaceMediaKey() else {
            Issue.record("not unknown")
            return
        }
        let second = [UInt8](repeating: 0, count: KeyFile.copyLength) + store.durable[KeyFile.copyLength...]
        #expect(try opened(SimulatedStore(second), generation: 2) == key.bytes.copyToArray())
    }

    @Test("Whichever step of a change fails, what it says of the keys is so at the next opening")
    func failingSteps() throws {
        for fromThenOn in [false, true] {
            for call in 1...5 {
                let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
                let (file, old) = try made(store)
                store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: fromThenOn)
                let outcome = file.replaceMediaKey()
                store.stopFailing()
                let atNextOpening = try opened(SimulatedStore(store.durable))
                switch outcome {
                case .replaced(let key):
                    #expect(call == 5)
                    #expect(atNextOpening == key.bytes.copyToArray())
                case .incomplete(let key, let code):
                    #expect((3...4).contains(call) && code == Errno.inputOutput)
                    #expect(atNextOpening == key.bytes.copyToArray())
                case .kept(let code):
                    #expect(call <= 2 && !fromThenOn && code == Errno.inputOutput)
                    #expect(atNextOpening == old.bytes.copyToArray())
                case .unknown(let code):
                    #expect(call <= 2 && fromThenOn && code == Errno.inputOutput)
                }
            }
        }
    }

    @Test("Whenever the power fails in a change, the old key or the new one is there")
    func crashes() throws {
        var generator = SeededRandom(seed: 5)
        for call in 1...4 {
            for _ in 0..<50 {
                let store = SimulatedStore()
                let (file, old) = try made(store)
                store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: true)
                let outcome = file.replaceMediaKey()
                store.stopFailing()
                let found = try opened(store.afterCrash(using: &generator))
                switch outcome {
                case .incomplete(let key, _): #expect(found == key.bytes.copyToArray())
                case .unknown: #expect(found.count == MediaKey.length)
                case .kept, .replaced: Issue.record("call \(call) has failed, and all later ones")
                }
                if call == 1 { #expect(found == old.bytes.copyToArray() || found.count == MediaKey.length) }
            }
        }
    }

    @Test("A file that cannot be written or made durable is an error, at each step")
    func failingCreation() throws {
        for call in 1...3 {
            let store = SimulatedStore()
            store.fail(at: call, errorNumber: Errno.noSpace, fromThenOn: true)
            #expect(throws: EncryptionError.system(Errno.noSpace)) { try made(store) }
        }
    }
}
