import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Commits of disk images")
struct CheckpointTests {
    private func someWrites(_ family: MapFamily, _ heads: [UInt32], _ generator: inout SeededRandom) throws {
        for _ in 0..<Int.random(in: 1...6, using: &generator) {
            let head = try #require(heads.randomElement(using: &generator))
            let last = try #require(family.nodes[head]).regions - 2
            let regions: [UInt64] = [0, 1, 2, 3, 255, 256, 511, 65535, 65536, last]
            let region = regions.randomElement(using: &generator) ?? 0
            let start = Int.random(in: 0..<512, using: &generator)
            let isWhole = Int.random(in: 0..<4, using: &generator) == 0
            let indices = isWhole ? 0..<512 : start..<min(512, start + Int.random(in: 1...40, using: &generator))
            try family.write(
                head, min(region, last), indices, isData: Int.random(in: 0..<5, using: &generator) > 0)
        }
    }

    @Test("Every commit has exactly what its nodes have, and its free map is exact", arguments: 0..<6)
    func commits(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let family = try MapFamily()
        var heads = [
            try family.addHead(capacity: 200 << 30), try family.addHead(capacity: 3 << 20),
            try family.addHead(capacity: 600 << 20),
        ]
        var snapshots: [UInt32] = []
        for _ in 0..<12 {
            try someWrites(family, heads, &generator)
            if Bool.random(using: &generator), let head = heads.randomElement(using: &generator) {
                snapshots.append(try family.snapshot(head))
                try someWrites(family, heads, &generator)
            }
            // What is written while a commit goes on is not in it.
            let model = family.model
            try family.commit {
                if Bool.random(using: &generator) { try someWrites(family, heads, &generator) }
            }
            let report = MapFamily.check(family.store)
            #expect(report.findings == [])
            #expect(report.findingCount == 0)
            let now = family.model
            family.model = model
            try family.verify(family.store)
            family.model = now
            // What is written now must reach the next commit.
            for head in heads {
                let regions = Set(now[head, default: [:]].keys).union(
                    model[head, default: [:]].keys)
                for region in regions where now[head]?[region] != model[head]?[region] {
                    family.dirty[head]?.insert(region)
                }
            }
            if Int.random(in: 0..<4, using: &generator) == 0, let parent = snapshots.randomElement(using: &generator) {
                heads.append(try family.addHead(below: parent))
            }
        }
    }

    @Test("A commit that fails leaves the one before, and the next one has it all", arguments: 1..<14)
    func failures(call: Int) throws {
        var generator = SeededRandom(seed: UInt64(call))
        let family = try MapFamily()
        let heads = [try family.addHead(capacity: 200 << 30), try family.addHead(capacity: 600 << 20)]
        try someWrites(family, heads, &generator)
        try family.commit()
        let before = (family.model, family.superblock.commit)
        try family.snapshot(heads[0])
        try someWrites(family, heads, &generator)
        family.store.fail(at: call, errorNumber: Errno.noSpace, fromThenOn: false)
        do {
            try family.commit()
        } catch CheckpointWriter.Failure.uncertain(let fault) {
            #expect(fault == .device(Errno.noSpace))
            for _ in 0..<10 {
                let report = MapFamily.check(family.store.afterCrash(using: &generator))
                #expect(report.findings == [])
            }
            return
        } catch {
            #expect(family.store.hasFailed)
        }
        if family.store.hasFailed {
            #expect(family.superblock.commit == before.1)
            #expect(MapFamily.newest(family.store)?.commit == before.1)
            #expect(MapFamily.check(family.store).findings == [])
            family.store.stopFailing()
            try family.commit()
        }
        #expect(MapFamily.check(family.store).findings == [])
        try family.verify(family.store)
    }

    @Test("After a crash in a commit there is the one before or the new one, whole", arguments: 0..<12)
    func crashes(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let family = try MapFamily()
        let heads = [try family.addHead(capacity: 200 << 30), try family.addHead(capacity: 600 << 20)]
        for _ in 0..<4 {
            try someWrites(family, heads, &generator)
            if Bool.random(using: &generator) { try family.snapshot(heads[0]) }
            try family.commit()
        }
        let last = family.superblock.commit
        try someWrites(family, heads, &generator)
        // The synchronisation before, or behind, the superblocks fails: then anything may be in the file.
        family.store.failSynchronizations(Errno.inputOutput)
        #expect(throws: CheckpointWriter.Failure.self) { try family.commit() }
        for _ in 0..<10 {
            let crashed = family.store.afterCrash(using: &generator)
            #expect(MapFamily.newest(crashed)?.commit == last)
            #expect(MapFamily.check(crashed).findings == [])
        }
    }

    @Test("Whichever call fails, a crash then leaves one of both commits", arguments: 0..<3)
    func crashAtEveryCall(seed: UInt64) throws {
        var (call, uncertain, old, new) = (1, 0, 0, 0)
        while true {
            var generator = SeededRandom(seed: seed)
            let family = try MapFamily()
            let heads = [try family.addHead(capacity: 200 << 30), try family.addHead(capacity: 600 << 20)]
            for _ in 0..<3 {
                try someWrites(family, heads, &generator)
                try family.commit()
            }
            let last = family.superblock.commit
            try family.snapshot(heads[0])
            try someWrites(family, heads, &generator)
            family.store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: true)
            do {
                try family.commit()
                break
            } catch CheckpointWriter.Failure.uncertain { uncertain += 1 } catch {}
            for _ in 0..<20 {
                let crashed = family.store.afterCrash(using: &generator)
                let commit = MapFamily.newest(crashed)?.commit
                #expect(commit == last || commit == last + 1)
                if commit == last { old += 1 } else { new += 1 }
                #expect(MapFamily.check(crashed).findings == [])
            }
            call += 1
        }
        // Both pairs of copies of the superblock, and the synchronisations before and behind them.
        #expect(uncertain == 7 && old > 0 && new > 0)
    }

    @Test("A merge leaves nothing behind and takes nothing away, at each of its steps", arguments: 0..<4)
    func merging(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let family = try MapFamily()
        let head = try family.addHead(capacity: 1200 << 20)
        var snapshots: [UInt32] = []
        for _ in 0..<4 {
            try someWrites(family, [head], &generator)
            snapshots.append(try family.snapshot(head))
            if Bool.random(using: &generator) { try family.commit() }
        }
        try someWrites(family, [head], &generator)
        try family.commit()
        snapshots.shuffle(using: &generator)
        for snapshot in snapshots {
            while try family.mergeStep(snapshot) {
                try family.commit()
                #expect(MapFamily.check(family.store).findings == [])
            }
            try family.commit()
            #expect(MapFamily.check(family.store).findings == [])
            try family.verify(family.store)
        }
        #expect(family.nodes.count == 1)
    }

    @Test("A free map of more levels begins with what was there")
    func growth() throws {
        let family = try MapFamily()
        let head = try family.addHead(capacity: 200 << 30)
        try family.write(head, 0, 0..<3)
        try family.commit()
        #expect(family.superblock.freeMapLevels == 1)
        // Far behind: the leaf with the number 300.
        #expect(family.allocator.adopt(300 * 32768..<300 * 32768 + 512))
        family.model[head]?[1] = (0..<512).map { MapEntry.data(300 * 32768 + UInt64($0), birth: 1).rawValue }
        family.dirty[head]?.insert(1)
        try family.commit()
        #expect(family.superblock.freeMapLevels == 2)
        var map = FreeMap(limit: 1 << 37)
        let tree = try FreeMapTree.read(family.superblock, family.reader, into: &map)
        #expect(tree == family.tree)
        let count = map.usedCount
        #expect(count == family.allocator.usedUnits)
    }

    @Test("An image without room for the pages of a commit keeps the one before")
    func noRoom() throws {
        let family = try MapFamily(limit: 100)
        let head = try family.addHead(capacity: 1 << 30)
        try family.write(head, 0, 0..<8)
        try family.commit()
        while let run = family.allocator.allocate(1, near: 0) { #expect(family.allocator.enter(run)) }
        family.model[head]?[5] = [MapEntry.data(99, birth: 1).rawValue] + [UInt64](repeating: 0, count: 511)
        family.dirty[head]?.insert(5)
        #expect(throws: EpochFault.limit(.physicalUnits)) { try family.commit() }
        #expect(MapFamily.check(family.store).findings == [])
    }

    @Test("A disk that grows keeps its map below more levels, and its snapshot keeps the old one")
    func growingDisk() throws {
        let family = try MapFamily()
        let head = try family.addHead(capacity: 400 << 20)
        try family.write(head, 0, 0..<7)
        try family.write(head, 199, 3..<5)
        try family.commit()
        try family.snapshot(head)
        try family.commit()
        for (capacity, region) in [(600 << 20, 299), (200 << 30, 102_399), (40 << 40, 20_971_519)] as [(UInt64, UInt64)]
        {
            try family.grow(head, to: capacity)
            try family.write(head, region, 500..<512)
            try family.write(head, 199, 4..<6)
            try family.commit()
            #expect(MapFamily.check(family.store).findings == [])
            try family.verify(family.store)
        }
        #expect(family.nodes[head]?.levels == 4 && family.nodes[head]?.map.kind == .page)
    }

    @Test("A superblock that could not be read again is not written")
    func impossibleNumbers() throws {
        let family = try MapFamily()
        try family.addHead(capacity: 1 << 30)
        try family.commit()
        let commit = family.superblock.commit
        family.epoch = 1 << 24
        #expect(throws: CheckpointWriter.Failure.notWritten(.limit(.commits))) { try family.commit() }
        family.epoch = 1
        #expect(MapFamily.check(family.store).findings == [] && MapFamily.newest(family.store)?.commit == commit)
        try family.commit()
        #expect(MapFamily.check(family.store).findings == [])
    }
}
