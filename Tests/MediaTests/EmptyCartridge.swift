import DeviceTestSupport

@testable import Media

extension SimulatedStore {
    /// A store with the first superblocks of an empty cartridge.
    static func empty(capacity: Int64 = 1 << 30) -> SimulatedStore {
        let superblock = Superblock(identity: testIdentity(capacity: capacity), partition: 0)
        return SimulatedStore(superblock.encoded() + superblock.encoded())
    }
}

/// The identity of cartridges under test.
func testIdentity(capacity: Int64 = 1 << 30) -> CartridgeIdentity {
    CartridgeIdentity(
        uuid: (0..<16).map { UInt8($0) }, barcode: "V00001L8", mediumSerialNumber: "0123456789", capacity: capacity,
        densityCode: 0x5E, isWORM: false)
}
