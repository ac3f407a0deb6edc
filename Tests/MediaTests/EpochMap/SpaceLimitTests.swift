import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Limits of the space of disks with snapshots")
struct SpaceLimitTests {
    private static let unit = 4096
    private static let hostFull = FileResult.failed(Errno.noSpace)

    /// A family of which `limit` lets so many units more be allocated.
    private static func limited(_ units: UInt64, _ family: DiskFamily, pool: SpacePool? = nil) -> UnitLimit {
        let limit = UnitLimit()
        limit.set(bytes: Int64(family.usedUnits + units) * 4096)
        family.units.join(limit, pool)
        return limit
    }

    @Test("Beyond the limit new storage is refused, and all else goes on")
    func limits() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        func fill(_ value: UInt8, _ first: Int, _ count: Int) -> FileResult {
            family.fill(1, value, at: Int64(first * Self.unit), count: count * Self.unit)
        }
        func done(_ count: Int) -> FileResult { .done(count * Self.unit) }
        #expect(fill(1, 0, 128) == done(128))
        #expect(family.flush() == 0)
        let snapshot = try family.snapshot([1], names: ["a"], time: FamilyFixture.time())[0]
        let limit = Self.limited(64, family)
        #expect(fill(2, 0, 65) == Self.hostFull, "all of it or nothing")
        #expect(family.content(1, at: 0, count: 65 * Self.unit).allSatisfy { $0 == 1 })
        #expect(fill(2, 0, 64) == done(64))
        #expect(fill(3, 64, 1) == Self.hostFull)
        let bytes = [UInt8](repeating: 4, count: Self.unit)
        #expect(family.writeAtomically(1, bytes.rawSpan, at: 0) == Self.hostFull)
        // In place, also what no frame has confirmed yet.
        #expect(fill(5, 0, 64) == done(64))
        #expect(family.fill(1, 6, at: 512, count: 512) == .done(512))
        #expect(family.checkpoint() == 0)
        _ = try family.snapshot([1], names: ["b"], time: FamilyFixture.time())
        limit.set(bytes: Int64(family.usedUnits) * 4096)
        #expect(fill(7, 0, 1) == Self.hostFull)
        // The deletion of a snapshot gives room, and so does UNMAP.
        try family.delete(snapshot)
        while try family.mergeStep() {}
        #expect(fill(7, 0, 16) == done(16))
        #expect(fill(7, 16, 112) == Self.hostFull)
        #expect(family.discard(1, at: 0, length: Int64(16 * Self.unit)) == .done(0))
        #expect(fill(7, 32, 16) == done(16))
        limit.set(bytes: nil)
        #expect(fill(7, 0, 128) == done(128))
        limit.set(bytes: 0)
        #expect(fill(8, 0, 128) == done(128), "what is there stays")
        #expect(family.flush() == 0)
        #expect(family.check() == [])
    }

    @Test("What is refused on a reactor takes nothing, and reads go on")
    func reactor() throws {
        let family = try FamilyFixture.create(on: SimulatedStore())
        let limit = Self.limited(1, family)
        let bytes = [UInt8](repeating: 1, count: 2 * Self.unit)
        #expect(family.fill(1, 1, at: 1 << 20, count: 1 << 12) == .done(1 << 12))
        #expect(family.writeCached(1, bytes.rawSpan, at: 0) == .wouldBlock)
        let used = family.usedUnits
        limit.set(bytes: nil)
        #expect(family.fill(1, 1, at: 0, count: 2 * Self.unit) == .done(2 * Self.unit))
        #expect(family.usedUnits == used + 2)
    }

    @Test("A pool counts all its images, and its limit counts for each")
    func pool() throws {
        let pool = SpacePool()
        let stores = [SimulatedStore(), SimulatedStore()]
        var families: [DiskFamily] = []
        for store in stores {
            families.append(try FamilyFixture.create(on: store))
            families[families.count - 1].units.join(UnitLimit(), pool)
        }
        func expected() -> Int64 { families.reduce(0) { $0 + Int64($1.usedUnits) * 4096 } }
        #expect(pool.usedBytes == expected())
        pool.setLimit(pool.usedBytes + 6 * 4096)
        #expect(families[0].fill(1, 1, at: 0, count: 4 * Self.unit) == .done(4 * Self.unit))
        #expect(families[1].fill(1, 1, at: 0, count: 3 * Self.unit) == Self.hostFull)
        #expect(families[1].fill(1, 1, at: 0, count: 2 * Self.unit) == .done(2 * Self.unit))
        #expect(pool.usedBytes == expected())
        #expect(families[0].discard(1, at: 0, length: Int64(2 * Self.unit)) == .done(0))
        #expect(families[1].fill(1, 1, at: 1 << 20, count: 2 * Self.unit) == .done(2 * Self.unit))
        #expect(families.allSatisfy { $0.flush() == 0 })
        #expect(families.allSatisfy { $0.checkpoint() == 0 })
        #expect(pool.usedBytes == expected())
        families[0].units.leavePool()
        #expect(pool.usedBytes == Int64(families[1].usedUnits) * 4096)
        families.removeLast()
        #expect(pool.usedBytes == 0, "one that is gone takes nothing")
    }

    @Test("A random history leaves the pool with what is in use", arguments: Effort.seeds(30, few: 3))
    func history(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let pool = SpacePool()
        let store = SimulatedStore()
        var family = try FamilyFixture.create(on: store, capacity: Int64(FamilySpaceTests.units) * 4096)
        var model = FamilySpaceTests.Model(units: FamilySpaceTests.units)
        for _ in 0..<100 {
            family.units.join(UnitLimit(), pool)
            try FamilySpaceTests.step(&family, &model, store, &random)
            family.units.join(UnitLimit(), pool)
            #expect(pool.usedBytes == Int64(family.usedUnits) * 4096)
        }
    }

    @Test("A file keeps its limit over another opening after a loss, and is out of the pool when it is closed")
    func file() throws {
        let store = SimulatedStore()
        let file = try FamilyDisk.file(store)
        let pool = SpacePool()
        file.join(pool)
        let disk = try #require(FamilyDisk(file))
        file.setSpaceLimit(file.usedBytes)
        #expect(file.spaceLimit == file.usedBytes && pool.usedBytes == file.usedBytes)
        #expect(disk.image.limitedSpace == LimitedSpace(used: file.usedBytes, limit: file.usedBytes))
        #expect(try disk.write(0, 8, 1) == .failed(.hostFull))
        #expect(file.replaceFamily() == nil)
        #expect(pool.usedBytes == file.usedBytes)
        #expect(try disk.write(0, 8, 1) == .failed(.hostFull))
        file.setSpaceLimit(nil)
        #expect(try disk.write(0, 8, 1) == .done)
        #expect(disk.image.findMappedBytes() == 4096 && disk.image.limitedSpace == nil)
        #expect(disk.image.close() == nil)
        #expect(pool.usedBytes == 0)
    }
}
