import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Openings of disks with snapshots")
struct FamilyOpeningTests {
    @Test("A frame that was lost in a crash is followed by none of those behind it, whatever is written in its place")
    func sameFrames() throws {
        let store = RecordingStore()
        var family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 4096) == .done(4096))
        for _ in 0..<3 { #expect(family.flush() == 0) }
        // Two frames that nobody has synchronised, and the data of both.
        let first = store.entryCount
        store.failSynchronizations(Errno.inputOutput)
        #expect(family.fill(1, 2, at: 8192, count: 4096) == .done(4096))
        #expect(family.flush() != 0)
        store.failSynchronizations(0)
        let (base, entries) = store.record
        var cursor = CrashCursor(base: base, entries: entries)
        cursor.advance(to: entries.count)
        #expect(entries.count == first + 2)
        // The data are lost, the frame is there.
        let crashed = RecordingStore(cursor.image(.only(0)))
        family = try FamilyRun.open(crashed)
        #expect(family.content(1, at: 8192, count: 4096) == [UInt8](repeating: 0, count: 4096))
        // The same write, and a crash before its frame is written: what was not there does not come back.
        #expect(family.fill(1, 2, at: 8192, count: 4096) == .done(4096))
        let again = try FamilyRun.open(RecordingStore(crashed.content))
        #expect(again.content(1, at: 8192, count: 4096) == [UInt8](repeating: 0, count: 4096))
        #expect(again.check() == [])
        #expect(family.flush() == 0)
        let last = try FamilyRun.open(RecordingStore(crashed.content))
        #expect(last.content(1, at: 8192, count: 4096) == [UInt8](repeating: 2, count: 4096))
        #expect(last.check() == [])
    }

    @Test("A thousand openings in succession, without room for anything, leave the journal as it is")
    func manyOpenings() throws {
        let store = RecordingStore(keepsHistory: false)
        var family = try FamilyFixture.create(on: store)
        for round in 0..<40 {
            #expect(family.fill(1, UInt8(1 + round), at: Int64(round) * 8192, count: 4096) == .done(4096))
            #expect(family.flush() == 0)
        }
        let used = family.usedUnits
        for _ in 0..<(Effort.isFull ? 1000 : 100) { family = try FamilyRun.open(store) }
        #expect(family.usedUnits == used)
        for round in 0..<40 { #expect(family.content(1, at: Int64(round) * 8192, count: 512)[0] == UInt8(1 + round)) }
        #expect(family.check() == [])
    }

    @Test("What a replay has confirmed is overwritten in place, and what it has freed is used again")
    func afterReplay() throws {
        let store = RecordingStore(keepsHistory: false)
        var family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 1 << 20) == .done(1 << 20))
        #expect(family.flush() == 0)
        #expect(family.discard(1, at: 0, length: 512 << 10) == .done(0))
        for _ in 0..<2 { #expect(family.flush() == 0) }
        family = try FamilyRun.open(store)
        let length = store.content.length
        let entry = try #require(family.liveHead(1)?.map.entry(200))
        #expect(family.fill(1, 2, at: 200 << 12, count: 4096) == .done(4096))
        #expect(family.liveHead(1)?.map.entry(200)?.unit == entry.unit)
        #expect(family.fill(1, 3, at: 1 << 20, count: 4096) == .done(4096))
        for _ in 0..<2 { #expect(family.flush() == 0) }
        #expect(family.fill(1, 4, at: 2 << 20, count: 500 << 10) == .done(500 << 10))
        #expect(store.content.length <= length + 16 * 4096, "the freed units are used")
        #expect(family.check() == [])
    }

    @Test("Three copies of the superblock rot, and the fourth is the newest: nothing goes back in time")
    func superblocks() throws {
        let store = SimulatedStore()
        var family = try FamilyFixture.create(on: store)
        for round in 1...4 {
            #expect(family.fill(1, UInt8(round), at: 0, count: 4096) == .done(4096))
            if round % 2 == 0 { #expect(family.close() == 0) } else { #expect(family.checkpoint() == 0) }
            for kept in 0..<4 {
                var content = store.content
                for copy in 0..<4 where copy != kept { content[copy * 16384 + 100] ^= 4 }
                let opened = try DiskFamily.open(SimulatedStore(content))
                #expect(opened.content(1, at: 0, count: 512)[0] == UInt8(round))
            }
            family = try DiskFamily.open(store)
        }
    }
}
