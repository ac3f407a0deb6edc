import DeviceTestSupport

@testable import Media

extension SimulatedStore {
    /// A store with the first superblocks of an empty cartridge, which forgets what it failed to make durable.
    static func empty(_ identity: CartridgeIdentity) -> SimulatedStore {
        let superblock = Superblock(identity: identity, partition: 0)
        return SimulatedStore(superblock.encoded() + superblock.encoded(), forgetsAfterFailedSynchronization: true)
    }
}

/// The identity of cartridges under test.
func testIdentity(capacity: Int64 = 1 << 30, isWORM: Bool = false) -> CartridgeIdentity {
    CartridgeIdentity(
        uuid: (0..<16).map { UInt8($0) }, barcode: "V00001L8", mediumSerialNumber: "0123456789", capacity: capacity,
        densityCode: 0x5E, isWORM: isWORM)
}
