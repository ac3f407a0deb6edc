import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("The memory of disks with snapshots, and long queries")
struct FamilyMemoryTests {
    /// Writes a unit of each of some regions.
    private func scatter(_ family: DiskFamily, _ head: UInt32, _ regions: Range<Int>) -> [FileResult] {
        regions.map { family.fill(head, 1, at: Int64($0) << 21 + 8192, count: 4096) }
    }

    @Test("A snapshot does not keep the map of the head that it was, or was made of")
    func formerHeads() throws {
        let family = try FamilyFixture.create(on: RecordingStore(keepsHistory: false), capacity: 64 << 20)
        let empty = try family.snapshot([1], names: ["empty"], time: FamilyFixture.time())[0]
        #expect(scatter(family, 1, 0..<20).allSatisfy { $0 == .done(4096) })
        #expect(family.memory.leafCount == 20)
        let head = try family.rollBack(1, to: empty, keeping: "kept", time: FamilyFixture.time())
        #expect(family.checkpoint() == 0)
        #expect(family.memory.leafCount == 0)
        let clone = try family.clone(empty, name: "clone", time: FamilyFixture.time())
        #expect(scatter(family, clone, 0..<10).allSatisfy { $0 == .done(4096) })
        let node = try family.snapshot([clone], names: ["of the clone"], time: FamilyFixture.time())[0]
        #expect(family.checkpoint() == 0)
        try family.delete(clone, time: FamilyFixture.time())
        while try family.mergeStep() {}
        #expect(family.checkpoint() == 0)
        #expect(family.memory.leafCount == 0)
        #expect(family.content(node, at: 8192, count: 4096) == [UInt8](repeating: 1, count: 4096))
        #expect(family.content(1, at: 8192, count: 4096) == [UInt8](repeating: 1, count: 4096))
        #expect(family.content(head, at: 8192, count: 4096) == [UInt8](repeating: 0, count: 4096))
    }

    @Test("While no commit succeeds, changes are refused before their maps fill the memory")
    func changedMaps() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store, capacity: 1 << 30)
        let limit = 8
        family.memory.dirtyLimit = limit
        #expect(scatter(family, 1, 0..<256).allSatisfy { $0 == .done(4096) })
        #expect(family.memory.changedCount <= limit * 2)
        #expect(family.checkpoint() == 0)
        #expect(family.memory.changedCount == 0)
        store.fail(at: 1, Errno.noSpace, fromThenOn: true)
        for unit: Int64 in 0..<256 { _ = family.discard(1, at: unit << 21 + 8192, length: 4096) }
        #expect(family.memory.changedCount == limit * 3)
        store.fail(at: nil, 0)
        #expect(family.discard(1, at: 0, length: 1 << 30) == .done(0))
        #expect(family.flush() == 0)
        #expect(family.check() == [])
    }

    @Test("A query of a large disk looks at what is there, and commits go on meanwhile")
    func largeDisk() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store)
        try family.resize(1, to: 256 << 40)
        let units = UInt64(256) << 40 / 4096
        #expect(try family.runs(1, first: 0, limit: 4) == [DiskFamily.UnitRun(isMapped: false, end: units)])
        let place = units - 77
        #expect(family.fill(1, 1, at: Int64(place) * 4096, count: 8192) == .done(8192))
        let expected = [
            DiskFamily.UnitRun(isMapped: false, end: place), DiskFamily.UnitRun(isMapped: true, end: place + 2),
            DiskFamily.UnitRun(isMapped: false, end: units),
        ]
        #expect(try family.runs(1, first: 5, limit: 4) == expected)
        #expect(family.checkpoint() == 0)
        #expect(try family.runs(1, first: 5, limit: 4) == expected)
        #expect(try family.runs(1, first: place + 1, limit: 1) == [expected[1]])
    }

    @Test("A group of snapshots is in one frame of the journal, or is refused")
    func group() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        let origin = try family.snapshot([1], names: ["origin"], time: FamilyFixture.time())[0]
        var heads: [UInt32] = [1]
        for number in 0..<80 {
            heads.append(try family.clone(origin, name: "clone \(number)", time: FamilyFixture.time()))
        }
        #expect(family.checkpoint() == 0)
        let long = String(repeating: "n", count: 150)
        let refusal = FamilyError.limit("a snapshot of 81 disks at one instant has no room in the journal of the image")
        #expect(throws: refusal) {
            _ = try family.snapshot(heads, names: heads.map { "\($0)\(long)" }, time: FamilyFixture.time())
        }
        // A frame that is nearly full of other records.
        for unit: Int64 in 0..<460 where unit % 2 == 0 {
            #expect(family.fill(1, 1, at: unit * 4096, count: 4096) == .done(4096))
        }
        for unit: Int64 in 0..<460 where unit % 2 == 1 {
            #expect(family.fill(1, 1, at: unit * 4096, count: 4096) == .done(4096))
        }
        let before = store.entryCount
        let some = Array(heads[..<60])
        let made = try family.snapshot(some, names: some.map { "\($0)\(long)" }, time: FamilyFixture.time())
        let (base, entries) = store.record
        for call in before...entries.count {
            var cursor = CrashCursor(base: base, entries: entries)
            cursor.advance(to: call)
            let opened = try DiskFamily.open(RecordingStore(cursor.image(.all)))
            let found = opened.nodes.filter { made.contains($0.number) }.count
            #expect(found == 0 || found == made.count, "\(call)")
        }
    }
}
