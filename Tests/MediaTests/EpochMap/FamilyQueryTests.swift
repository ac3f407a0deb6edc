import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Sizes, differences and runs of disks with snapshots, and full hosts")
struct FamilyQueryTests {
    @Test("A disk grows, by a part of a region and by levels of its map, and reads zeros there")
    func growth() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store, capacity: 3 << 20)
        #expect(family.fill(1, 1, at: 0, count: 3 << 20) == .done(3 << 20))
        #expect(family.checkpoint() == 0)
        let old = try family.snapshot([1], names: ["small"], time: FamilyFixture.time())[0]
        try family.resize(1, to: 700 << 20)
        #expect(family.content(1, at: 3 << 20, count: 4 << 20) == [UInt8](repeating: 0, count: 4 << 20))
        #expect(family.fill(1, 2, at: (700 << 20) - 4096, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        for family in [family, try DiskFamily.open(SimulatedStore(store.durable))] {
            #expect(family.content(1, at: 0, count: 3 << 20) == [UInt8](repeating: 1, count: 3 << 20))
            #expect(family.content(1, at: 3 << 20, count: 2 << 20) == [UInt8](repeating: 0, count: 2 << 20))
            #expect(family.content(1, at: (700 << 20) - 4096, count: 4096) == [UInt8](repeating: 2, count: 4096))
            #expect(family.content(old, at: 3 << 20, count: 512) == [])
            #expect(family.check() == [])
        }
        #expect(throws: FamilyError.smaller(1, capacity: 700 << 20)) { try family.resize(1, to: 1 << 20) }
        #expect(throws: FamilyError.notHead(old)) { try family.resize(old, to: 800 << 20) }
        #expect(throws: FamilyError.invalidCapacity(5)) { try family.resize(1, to: 5) }
        try family.delete(old)
        while try family.mergeStep() {}
        #expect(family.check() == [])
        #expect(family.content(1, at: 0, count: 3 << 20) == [UInt8](repeating: 1, count: 3 << 20))
    }

    @Test("Differences and runs are exact, in pieces too")
    func differences() throws {
        let family = try FamilyFixture.create(on: SimulatedStore(), capacity: 1200 << 20)
        #expect(family.fill(1, 1, at: 0, count: 1 << 20) == .done(1 << 20))
        let first = try family.snapshot([1], names: ["a"], time: FamilyFixture.time())[0]
        for unit: Int64 in [3, 4, 200, 131_072, 300_000] {
            #expect(family.fill(1, 2, at: unit * 4096, count: 4096) == .done(4096))
        }
        #expect(family.discard(1, at: 100 << 12, length: 10 << 12) == .done(0))
        let changed: [Range<UInt64>] = [3..<5, 100..<110, 200..<201, 131_072..<131_073, 300_000..<300_001]
        for round in 0..<2 {
            #expect(try family.differences(from: first, to: 1, first: 0, limit: 100) == changed)
            #expect(try family.differences(from: 1, to: first, first: 0, limit: 100) == changed)
            #expect(try family.differences(from: first, to: 1, first: 0, limit: 2) == Array(changed[..<2]))
            #expect(try family.differences(from: first, to: 1, first: 110, limit: 100) == Array(changed[2...]))
            #expect(try family.differences(from: first, to: first, first: 0, limit: 100) == [])
            let runs = try family.runs(1, first: 0, limit: 100)
            #expect(
                runs.map(\.end) == [100, 110, 256, 131_072, 131_073, 300_000, 300_001, 307_200])
            #expect(runs.map(\.isMapped) == [true, false, true, false, true, false, true, false])
            #expect(try family.runs(1, first: 105, limit: 2).map(\.end) == [110, 256])
            if round == 0 { #expect(family.checkpoint() == 0) }
        }
        #expect(throws: FamilyError.noNode(9)) { try family.runs(9, first: 0, limit: 1) }
    }

    @Test("A full host refuses what needs room, and nothing else changes")
    func full() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 1 << 20) == .done(1 << 20))
        for _ in 0..<3 { #expect(family.flush() == 0) }
        let used = family.usedUnits
        store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        #expect(family.fill(1, 2, at: 2 << 20, count: 64 << 10) == .failed(Errno.noSpace))
        #expect(family.checkpoint() == Errno.noSpace)
        store.stopFailing()
        #expect(family.usedUnits == used)
        #expect(family.content(1, at: 0, count: 1 << 20) == [UInt8](repeating: 1, count: 1 << 20))
        #expect(family.content(1, at: 2 << 20, count: 4096) == [UInt8](repeating: 0, count: 4096))
        #expect(family.fill(1, 3, at: 2 << 20, count: 64 << 10) == .done(64 << 10))
        #expect(family.check() == [])
    }

    @Test("After a synchronisation that failed everything that writes fails, and what was durable is there")
    func lost() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        store.failSynchronizations(Errno.inputOutput)
        #expect(family.fill(1, 2, at: 4096, count: 4096) == .done(4096))
        #expect(family.flush() == Errno.inputOutput)
        store.stopFailing()
        #expect(family.flush() == Errno.inputOutput)
        #expect(family.checkpoint() == Errno.inputOutput)
        #expect(family.fill(1, 3, at: 0, count: 4096) == .failed(Errno.inputOutput))
        #expect(family.discard(1, at: 0, length: 4096) == .failed(Errno.inputOutput))
        #expect(throws: FamilyError.failed(Errno.inputOutput)) {
            try family.snapshot([1], names: ["s"], time: FamilyFixture.time())
        }
        let opened = try DiskFamily.open(SimulatedStore(store.durable))
        #expect(opened.content(1, at: 0, count: 4096) == [UInt8](repeating: 1, count: 4096))
    }

    @Test("A locked snapshot is not deleted before its time, and no lock becomes shorter")
    func locks() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        let (before, end, later) = (FamilyFixture.time(99), FamilyFixture.time(100), FamilyFixture.time(101))
        let first = try family.snapshot([1], names: ["a"], time: before)[0]
        let second = try family.snapshot([1], names: ["b"], time: before)[0]
        try family.lock(first, until: end)
        try family.lock(first, until: end)
        #expect(throws: FamilyError.locked(first, until: end)) { try family.lock(first, until: before) }
        #expect(throws: FamilyError.notSnapshot(1)) { try family.lock(1, until: end) }
        #expect(throws: FamilyError.noNode(9)) { try family.lock(9, until: end) }
        try family.lock(second, until: FamilyFixture.time(0))
        for opened in [family, try DiskFamily.open(SimulatedStore(store.durable))] {
            #expect(opened.nodes.map(\.lockedUntil) == [nil, end, nil])
            #expect(throws: FamilyError.locked(first, until: end)) { try opened.delete(first, time: before) }
        }
        // What its head is rolled back to, and what is made of it, is not locked.
        let clone = try family.clone(first, name: "c", time: before)
        try family.delete(second, time: before)
        #expect(family.checkpoint() == 0)
        try family.lock(first, until: later)
        let opened = try DiskFamily.open(SimulatedStore(store.durable))
        #expect(throws: FamilyError.locked(first, until: later)) { try opened.delete(first, time: end) }
        try opened.delete(clone, time: before)
        try opened.delete(first, time: later)
        while try opened.mergeStep() {}
        #expect(opened.nodes.map(\.number) == [1])
        #expect(opened.check() == [])
    }

    @Test("Refusals are values")
    func refusals() throws {
        let family = try FamilyFixture.create(on: SimulatedStore())
        let time = FamilyFixture.time()
        let node = try family.snapshot([1], names: ["s"], time: time)[0]
        #expect(throws: FamilyError.notHead(node)) { try family.snapshot([node], names: ["t"], time: time) }
        #expect(throws: FamilyError.repeated(1)) { try family.snapshot([1, 1], names: ["t", "u"], time: time) }
        #expect(throws: FamilyError.notSnapshot(1)) { try family.clone(1, name: "t", time: time) }
        #expect(throws: FamilyError.invalidName) { try family.clone(node, name: "", time: time) }
        #expect(throws: FamilyError.noNode(7)) { try family.delete(7) }
        #expect(family.fill(node, 1, at: 0, count: 512) == .failed(Errno.noSuchFile))
        try family.delete(1)
        #expect(throws: FamilyError.lastNode(node)) { try family.delete(node) }
        #expect(throws: FamilyError.damaged("the image has no valid superblock")) {
            _ = try DiskFamily.open(SimulatedStore([UInt8](repeating: 0, count: 1 << 20)))
        }
    }
}
