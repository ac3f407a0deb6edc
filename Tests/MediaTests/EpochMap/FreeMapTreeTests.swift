import DeviceTestSupport
import Testing

@testable import Media

@Suite("The tree of a free map")
struct FreeMapTreeTests {
    @Test("Units that were used and freed between two commits, behind all others, are covered by neither")
    func usedAndFreed() throws {
        var map = FreeMap(limit: EpochFormat.physicalUnitLimit)
        _ = map.adopt(0..<80)
        let allocator = UnitAllocator(map)
        var tree = FreeMapTree()
        func commit(_ frame: UInt64) throws -> UInt64 {
            var sink = PageSink(SimulatedStore())
            #expect(allocator.beginCommit(cut: frame))
            let covered = try tree.write(covering: 80, allocator, birth: 1, seed: 0, hint: 80, &sink)
            allocator.endCommit(isDurable: true)
            return covered
        }
        let covered = try commit(0)
        let run = try #require(allocator.allocate(40000, near: .max))
        #expect(allocator.enter(run))
        #expect(allocator.free(run, frame: 1))
        allocator.release(frameDurable: 1)
        #expect(try commit(1) <= covered + 2)
    }
}
