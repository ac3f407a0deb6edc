import DeviceTestSupport
import Encryption
import Platform
import TestSupport

@testable import Media

/// Puts the filter of encrypted images under families that other tests make.
enum FamilyCipher {
    /// Whether a test wants it.
    @TaskLocal static var isWanted = false
    /// The bytes of a sector that key files of families have.
    static let sectorSize = 4096

    static func key(_ byte: UInt8 = 1) throws -> UserKey {
        try UserKey(SecretBytes([UInt8](repeating: byte, count: UserKey.randomLength)))
    }

    private static let mediaKey: MediaKey? = try? KeyFile.create(
        in: SimulatedStore(), identity: [UInt8](repeating: 1, count: KeyFile.identityLength),
        sectorSize: sectorSize, content: .family, userKey: key()
    ).key

    static func over(_ store: any ByteStore) -> any ByteStore {
        guard isWanted else { return store }
        guard let mediaKey,
            let filter = try? KeyedContent.family.filter(over: store, mediaKey, sectorSize: sectorSize)
        else { preconditionFailure("libcrypto has a key and a cipher") }
        return filter
    }
}

/// An encrypted family in memory: its file, and the key file.
struct EncryptedStores {
    let image: SimulatedStore
    let key: SimulatedStore

    /// Those that are there.
    init(_ image: SimulatedStore, _ key: SimulatedStore) {
        self.image = image
        self.key = key
    }

    /// A new key file, and an image without a family.
    init(sectorSize: Int = FamilyCipher.sectorSize) throws {
        self.init(SimulatedStore(), SimulatedStore())
        let identity = [UInt8](repeating: 7, count: KeyFile.identityLength)
        guard image.setNote(.encryption, KeyMark(ofNew: identity).encoded) == 0 else {
            throw ProofFailure("the store takes no note")
        }
        _ = try KeyFile.create(
            in: key, identity: identity, sectorSize: sectorSize, content: .family, userKey: FamilyCipher.key())
    }

    func encryption() throws -> ImageEncryption {
        guard let note = try image.note(.encryption), let mark = KeyMark(note) else {
            throw ProofFailure("the store has no mark")
        }
        let (file, key) = try KeyFile.open(
            key, mark: mark, sectorSize: nil, content: .family, userKey: FamilyCipher.key())
        return ImageEncryption(
            store: try KeyedContent.family.filter(over: image, key, sectorSize: file.sectorSize), keyFile: file)
    }

    /// The family in it, with one disk.
    func create(capacity: Int64 = FamilyDisk.capacity) throws -> FamilyFile {
        let encryption = try encryption()
        let family = try FamilyFixture.create(on: encryption.store, capacity: capacity)
        return FamilyFile(store: image, family: family, path: "test", encryption: encryption)
    }

    func open() throws -> FamilyFile { try FamilyFile.open(image, path: "test", try encryption()) }

    /// Both after a crash now.
    func afterCrash(using random: inout SeededRandom) -> EncryptedStores {
        EncryptedStores(image.afterCrash(using: &random), key.afterCrash(using: &random))
    }
}
