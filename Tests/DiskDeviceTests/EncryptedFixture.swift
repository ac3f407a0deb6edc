import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import DiskDevice
@testable import Encryption
@testable import Media

/// The two stores of an encrypted disk: its image and its key file.
struct EncryptedStores {
    let image: SimulatedStore
    let key: SimulatedStore
    private let identity: [UInt8]
    private let userKey: UserKey

    /// Those of a new disk of so many blocks of 512 bytes; or of one that an earlier version has made, whose note does
    /// not have the generation.
    init(blocks: Int = 64, isEarly: Bool = false) throws {
        identity = try #require(KeyFile.newIdentity())
        image = SimulatedStore(
            [UInt8](repeating: 0, count: blocks * 512),
            notes: [.encryption: isEarly ? identity : KeyMark(ofNew: identity).encoded])
        key = SimulatedStore()
        userKey = try UserKey(SecretBytes([UInt8](repeating: 0x4B, count: UserKey.randomLength)))
        _ = try KeyFile.create(in: key, identity: identity, sectorSize: 512, userKey: userKey)
    }

    private init(_ other: EncryptedStores, image: SimulatedStore, key: SimulatedStore) {
        self.image = image
        self.key = key
        identity = other.identity
        userKey = other.userKey
    }

    /// What both could be after a crash now.
    func afterCrash(using generator: inout SeededRandom) -> EncryptedStores {
        EncryptedStores(
            self, image: image.afterCrash(using: &generator), key: key.afterCrash(using: &generator))
    }

    /// What a kill now leaves, or a loss of power.
    func afterEnd(losesPower: Bool) -> EncryptedStores {
        EncryptedStores(
            self, image: SimulatedStore(losesPower ? image.durable : image.content, notes: image.notes),
            key: SimulatedStore(losesPower ? key.durable : key.content))
    }

    /// The same with another key file.
    func with(key content: [UInt8]) -> EncryptedStores {
        EncryptedStores(self, image: image, key: SimulatedStore(content))
    }

    private var mark: KeyMark {
        get throws { try #require(image.notes[.encryption].flatMap { KeyMark($0) }) }
    }

    /// The media key that the next opening finds.
    func mediaKey() throws -> [UInt8] {
        let copy = SimulatedStore(key.content)
        return try KeyFile.open(copy, mark: mark, sectorSize: 512, userKey: userKey).key.bytes.copyToArray()
    }

    func opened(engine: any MediumEngine) throws -> RawDiskImage {
        let (file, mediaKey) = try KeyFile.open(key, mark: mark, sectorSize: 512, userKey: userKey)
        let store = EncryptedStore(image, try SectorCipher(mediaKey, sectorSize: 512))
        let opened = RawDiskImage(
            store: image, engine: engine, path: "test", blockSize: 512, capacity: image.size(),
            encryption: ImageEncryption(store: store, keyFile: file))
        _ = opened.keepKeyMark(of: opened.encryption)
        return opened
    }
}

extension DiskFixture {
    /// A fixture with an encrypted disk.
    convenience init(_ stores: EncryptedStores, engine: (any MediumEngine)? = nil) throws {
        try self.init { _, threads in try stores.opened(engine: engine ?? threads) }
    }
}

extension OperationCDB {
    static func cryptographicErase(immediate: Bool = false, ause: Bool = false) -> [UInt8] {
        sanitize(0x03, immediate: immediate, ause: ause)
    }
}
