import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Space that disks with snapshots give back, and damage that stays where it is")
struct FamilySpaceReturnTests {
    @Test("The last step of a deletion gives the host its storage back, on an idle disk too")
    func deletion() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store)
        #expect(family.checkpoint() == 0)
        for unit: Int64 in 0..<200 { #expect(family.fill(1, 1, at: unit << 13, count: 4096) == .done(4096)) }
        let node = try family.snapshot([1], names: ["one"], time: FamilyFixture.time())[0]
        for unit: Int64 in 0..<200 { #expect(family.fill(1, 2, at: unit << 13, count: 4096) == .done(4096)) }
        #expect(family.checkpoint() == 0)
        let before = store.content.allocatedPages
        try family.delete(node, time: FamilyFixture.time())
        while try family.mergeStep() {}
        #expect(store.content.allocatedPages <= before - 195)
        #expect(family.check() == [])
    }

    @Test("What was freed and not remembered is found after an opening")
    func opening() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store)
        for unit: Int64 in 0..<200 { #expect(family.fill(1, 1, at: unit << 13, count: 4096) == .done(4096)) }
        #expect(family.checkpoint() == 0)
        for unit: Int64 in 0..<200 { #expect(family.discard(1, at: unit << 13, length: 4096) == .done(0)) }
        #expect(family.flush() == 0)
        let opened = try DiskFamily.open(store)
        while try opened.mergeStep() {}
        #expect(opened.checkpoint() == 0)
        while try opened.mergeStep() {}
        // Besides the journal, the superblocks and the reserve, a few pages.
        #expect(store.content.allocatedPages < 64 + 4 + 64 + 40)
        #expect(opened.check() == [])
    }

    @Test("Of many runs all are found, and parts that were given out are left out")
    func sweep() throws {
        var map = FreeMap(limit: 1 << 20)
        let isEmpty = map.adopt(0..<200_000)
        #expect(isEmpty)
        let allocator = UnitAllocator(map)
        for unit in stride(from: UInt64(1000), to: 180_000, by: 2) {
            #expect(allocator.free(unit..<unit + 1, frame: 1))
        }
        allocator.release(frameDurable: 1)
        let given = try #require(allocator.allocate(1, near: 1000))
        var found: Set<UInt64> = []
        while allocator.hasPunchable {
            let runs = allocator.takePunchable(limit: 4096) + allocator.sweepPunchable(limit: 4096)
            #expect(runs.count <= 2 * 4096)
            for run in runs {
                #expect(!run.contains(given.lowerBound))
                found.formUnion(run)
            }
            for run in runs { #expect(allocator.giveBack(run)) }
        }
        #expect(found.count == 89_499)
    }

    @Test("A single free unit is found wherever it is, before the file becomes longer")
    func single() throws {
        var map = FreeMap(limit: 1 << 30)
        let isEmpty = map.adopt(0..<40_000_000)
        #expect(isEmpty)
        let allocator = UnitAllocator(map)
        #expect(allocator.free(39_777_777..<39_777_778, frame: 1))
        allocator.release(frameDurable: 1)
        #expect(allocator.allocate(1, near: 5) == 39_777_777..<39_777_778)
        #expect(allocator.allocate(1, near: 5) == 40_000_000..<40_000_001)
    }

    @Test("On a full host writes take what was freed, also in short runs")
    func full() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store)
        for unit: Int64 in 0..<400 { #expect(family.fill(1, 1, at: unit * 4096, count: 4096) == .done(4096)) }
        for _ in 0..<2 { #expect(family.checkpoint() == 0) }
        for unit: Int64 in 0..<200 { #expect(family.discard(1, at: unit << 13, length: 4096) == .done(0)) }
        for _ in 0..<3 { #expect(family.flush() == 0) }
        store.limit(to: 0)
        let result = family.fill(1, 2, at: 4 << 20, count: 64 << 10)
        #expect(result == .done(64 << 10))
        store.limit(to: nil)
        #expect(family.content(1, at: 4 << 20, count: 64 << 10) == [UInt8](repeating: 2, count: 64 << 10))
        #expect(family.check() == [])
    }

    @Test("A node whose pages are damaged keeps no other from being merged")
    func damagedNode() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store)
        var nodes: [UInt32] = []
        for round: UInt8 in 1...4 {
            for unit: Int64 in 0..<8 { #expect(family.fill(1, round, at: unit << 13, count: 4096) == .done(4096)) }
            nodes += try family.snapshot([1], names: ["\(round)"], time: FamilyFixture.time())
        }
        #expect(family.checkpoint() == 0)
        let opened = try DiskFamily.open(store)
        let damaged = opened.shared.withLock { $0.state.node(nodes[0])?.layer.root.pointer.unit ?? 0 }
        let zeros = [UInt8](repeating: 0, count: 4096)
        #expect(store.write(zeros.rawSpan, offset: EpochFormat.offset(ofUnit: damaged)) == .done(4096))
        try opened.delete(nodes[0], time: FamilyFixture.time())
        try opened.delete(nodes[2], time: FamilyFixture.time())
        #expect(throws: FamilyError.damaged("the page in unit \(damaged) (level 1) does not match its checksum")) {
            while try opened.mergeStep() {}
        }
        #expect(opened.nodes.map(\.number) == [1, nodes[0], nodes[1], nodes[3]])
    }

    @Test("Data that a device cannot read after a crash are an error of their block, and of no other")
    func unreadableData() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        for unit: Int64 in 0..<3 { #expect(family.fill(1, 1, at: unit << 16, count: 4096) == .done(4096)) }
        #expect(family.flush() == 0)
        let bad = try #require(family.liveHead(1)?.map.entry(16)).unit
        let crashed = RecordingStore(store.afterCrash(.all))
        crashed.makeUnreadable(bad)
        let opened = try DiskFamily.open(crashed)
        for unit: Int64 in [0, 2] {
            #expect(opened.content(1, at: unit << 16, count: 4096) == [UInt8](repeating: 1, count: 4096))
        }
        var bytes = [UInt8](repeating: 0, count: 4096)
        #expect(bytes.modifyBytes { opened.read(1, into: &$0, at: 1 << 16) } == .failed(Errno.inputOutput))
        #expect(opened.fill(1, 2, at: 1 << 16, count: 4096) == .done(4096))
        #expect(opened.content(1, at: 1 << 16, count: 4096) == [UInt8](repeating: 2, count: 4096))
        #expect(opened.check() == [])
    }

    @Test("After a loss what no frame confirms is not read, and what was durable is")
    func readsAfterLoss() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 4096) == .done(4096))
        for _ in 0..<3 { #expect(family.flush() == 0) }
        #expect(family.fill(1, 2, at: 4096, count: 4096) == .done(4096))
        store.loseNextSynchronization()
        #expect(family.flush() == Errno.inputOutput)
        #expect(family.content(1, at: 0, count: 4096) == [UInt8](repeating: 1, count: 4096))
        var bytes = [UInt8](repeating: 0, count: 4096)
        #expect(bytes.modifyBytes { family.read(1, into: &$0, at: 4096) } == .failed(Errno.inputOutput))
        family.retire()
        #expect(bytes.modifyBytes { family.read(1, into: &$0, at: 0) } == .failed(Errno.inputOutput))
    }

    @Test("Whoever reads a head that is removed meanwhile gets an error, never zeros")
    func removedHead() throws {
        let family = try FamilyFixture.create(on: RecordingStore(keepsHistory: false))
        #expect(family.fill(1, 1, at: 0, count: 4096) == .done(4096))
        let node = try family.snapshot([1], names: ["one"], time: FamilyFixture.time())[0]
        let clone = try family.clone(node, name: "clone", time: FamilyFixture.time())
        let live = try #require(family.liveHead(clone))
        try family.delete(clone, time: FamilyFixture.time())
        while try family.mergeStep() {}
        #expect(throws: EpochFault.device(Errno.noSuchFile)) { try family.load(live, 0) }
    }

    @Test("A part of a unit that holds nothing is not written, though its region is not in memory")
    func partOfNothing() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 4096) == .done(4096))
        #expect(family.close() == 0)
        let opened = try DiskFamily.open(store)
        let used = opened.usedUnits
        #expect(opened.discard(1, at: 8192 + 512, length: 1024) == .done(0))
        #expect(opened.usedUnits == used)
    }
}
