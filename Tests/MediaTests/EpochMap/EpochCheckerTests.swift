import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("The check of disk images")
struct EpochCheckerTests {
    /// Three heads and some snapshots with a history.
    private func family() throws -> (family: MapFamily, head: UInt32, snapshot: UInt32) {
        let family = try MapFamily()
        let head = try family.addHead(capacity: 200 << 30)
        try family.write(head, 0, 0..<512)
        try family.write(head, 70000, 3..<90)
        try family.commit()
        let snapshot = try family.snapshot(head)
        try family.write(head, 70000, 5..<20)
        try family.write(head, 300, 0..<1)
        try family.commit()
        let clone = try family.addHead(below: snapshot)
        try family.write(clone, 1, 7..<9)
        let other = try family.addHead(capacity: 3 << 20)
        try family.write(other, 1, 0..<256)
        try family.commit()
        #expect(MapFamily.check(family.store).findings == [])
        return (family, head, snapshot)
    }

    /// Commits what somebody has done to the state.
    private func findings(_ family: MapFamily) throws -> [EpochFinding] {
        try family.commit()
        let report = MapFamily.check(family.store)
        #expect(min(report.findingCount, 1000) == report.findings.count)
        return report.findings
    }

    @Test("A changed bit in any page is found and named, and its page is never served")
    func bits() throws {
        let (family, _, _) = try family()
        let content = family.store.content
        var map = FreeMap(limit: 1 << 37)
        _ = try FreeMapTree.read(family.superblock, family.reader, into: &map)
        var pages = 0
        let words = family.model.values.flatMap { $0.values.flatMap { $0 } }.filter { $0 != 0 }
        let data = Set(words.map { MapEntry(rawValue: $0).unit })
        for unit in 80..<content.count / 4096 {
            // Data are not written here, so what is not zero is a page, or has been one; and may be for data since.
            let range = unit * 4096..<(unit + 1) * 4096
            guard content[range].contains(where: { $0 != 0 }) else { continue }
            let isUsed = map.isUsed(UInt64(unit)) && !data.contains(UInt64(unit))
            pages += isUsed ? 1 : 0
            for byte in [0, 17, 2048, 4095] {
                var changed = content
                changed[range.lowerBound + byte] ^= 0x20
                let store = SimulatedStore(changed)
                let findings = EpochChecker.check(store).findings
                let isNamed = findings.contains { finding in
                    guard case .damaged(.page(let other, _)) = finding else { return false }
                    return other == UInt64(unit)
                }
                #expect(isNamed == isUsed, "unit \(unit), byte \(byte): \(findings.prefix(3))")
                guard isUsed else { continue }
                let reader = PageReader(store, seed: family.superblock.seed, firstUnit: 80)
                guard let nodes = try? NodeTable.read(family.superblock, reader) else { continue }
                for record in nodes.records {
                    let tree = PageTree(reader: reader, root: record.map, levels: record.levels, isMap: true)
                    var words = [UInt64](repeating: 0, count: 512)
                    for region in [0, 1, 300, 70000] as [UInt64] {
                        let model = family.model[record.number]?[region] ?? [UInt64](repeating: 0, count: 512)
                        do {
                            try reader.region(tree.pointer(toLeaf: region), into: &words)
                            #expect(words == model)
                        } catch EpochFault.damaged(.page(let other, _)) {
                            #expect(other == UInt64(unit))
                        }
                    }
                }
            }
        }
        #expect(pages > 12)
    }

    @Test("Any three copies of the superblock may be lost")
    func superblocks() throws {
        let (family, _, _) = try family()
        var content = family.store.content
        for kept in 0..<4 {
            var damaged = content
            for copy in 0..<4 where copy != kept { damaged[copy * 4 * 4096 + 33] ^= 1 }
            #expect(MapFamily.newest(SimulatedStore(damaged)) == family.superblock)
        }
        for copy in 0..<4 { content[copy * 4 * 4096] = 0 }
        #expect(EpochChecker.check(SimulatedStore(content)).findings == [.damaged(.superblock)])
        #expect(EpochChecker.check(SimulatedStore([])).findings == [.damaged(.superblock)])
    }

    @Test("A file that is cut says which unit is missing")
    func truncated() throws {
        let (family, _, _) = try family()
        let content = family.store.content
        for length in stride(from: 81 * 4096, to: content.count - 4096, by: 5 * 4096 + 100) {
            let findings = EpochChecker.check(SimulatedStore(Array(content[..<length]))).findings
            let isNamed = findings.contains { finding in
                guard case .damaged(.truncated(let unit)) = finding else { return false }
                return unit >= UInt64(length / 4096)
            }
            #expect(isNamed, "\(length)")
        }
    }

    @Test("Units in use that nobody has, and the other way round")
    func freeMap() throws {
        let (family, head, _) = try family()
        let end = family.allocator.end
        #expect(family.allocator.adopt(end + 10..<end + 200))
        let found = try findings(family)
        #expect(found == [.leaked(end + 10..<end + 200)])
        #expect(family.allocator.free(end + 10..<end + 200, frame: family.frame))
        let unit = MapEntry(rawValue: family.model[head]?[300]?[0] ?? 0).unit
        #expect(family.allocator.free(unit..<unit + 1, frame: family.frame))
        #expect(try findings(family) == [.notInUse(unit..<unit + 1)])
    }

    @Test("Two owners of a unit, wrong epochs, data behind the end")
    func owners() throws {
        let (family, head, snapshot) = try family()
        let old = MapEntry(rawValue: family.model[head]?[300]?[0] ?? 0)
        family.model[head]?[300]?[9] = old.rawValue
        family.dirty[head]?.insert(300)
        #expect(try findings(family) == [.ownedTwice(unit: old.unit)])
        // What a snapshot has at another place is not shared.
        let shared = MapEntry(rawValue: family.model[snapshot]?[70000]?[50] ?? 0)
        family.model[head]?[300]?[9] = MapEntry.data(shared.unit, birth: family.epoch).rawValue
        family.dirty[head]?.insert(300)
        #expect(try findings(family) == [.ownedTwice(unit: shared.unit)])
        // From an epoch in which the head did not write.
        family.model[head]?[300]?[9] = 0
        family.model[head]?[300]?[0] = MapEntry.data(old.unit, birth: 1).rawValue
        family.dirty[head]?.insert(300)
        #expect(try findings(family) == [.wrongBirth(node: head, unit: old.unit)])
        family.model[head]?[300]?[0] = MapEntry.data(old.unit, birth: family.epoch + 1).rawValue
        family.dirty[head]?.insert(300)
        #expect(try findings(family) == [.wrongBirth(node: head, unit: old.unit)])
        family.model[head]?[300]?[0] = MapEntry.data(1 << 36, birth: family.epoch).rawValue
        family.dirty[head]?.insert(300)
        #expect(try findings(family) == [.notCovered(unit: 1 << 36), .leaked(old.unit..<old.unit + 1)])
        family.model[head]?[300]?[0] = old.rawValue
        family.dirty[head]?.insert(300)
        #expect(try findings(family) == [])
        // The other head has 3 MiB.
        let other = try #require(family.nodes.records.last)
        let run = try #require(family.allocator.allocate(1, near: 0))
        #expect(family.allocator.enter(run))
        family.model[other.number]?[1]?[256] = MapEntry.data(run.lowerBound, birth: family.epoch).rawValue
        family.dirty[other.number]?.insert(1)
        #expect(try findings(family) == [.behindEnd(node: other.number, unit: run.lowerBound)])
    }

    @Test("No image stops the process or is called clean that was made of any pages", arguments: 0..<40)
    func hostile(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let (family, head, snapshot) = try family()
        let reader = family.reader
        var pages: [(pointer: UnitPointer, level: Int)] = []
        func random() -> UnitPointer {
            let unit = UInt64.random(
                in: 0..<1 << [4, 7, 8, 10, 37].randomElement(using: &generator)!, using: &generator)
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: return .page(unit, birth: 1, checksum: UInt32.random(in: 0 ... .max, using: &generator))
            case 1: return .run(min(unit, 1 << 37 - 512), birth: UInt32.random(in: 0...3, using: &generator))
            case 2: return .nothing
            default: return pages.randomElement(using: &generator)?.pointer ?? .nothing
            }
        }
        for _ in 0..<30 {
            let level = Int.random(in: 0...3, using: &generator)
            var page = [UInt8](repeating: 0, count: 4096)
            page.modifyBytes { bytes in
                for index in 0..<(level == 0 ? 512 : 256) where Int.random(in: 0..<4, using: &generator) == 0 {
                    if level > 0 {
                        let below = pages.filter { $0.level == level - 1 }.randomElement(using: &generator)
                        let isProper = Int.random(in: 0..<100, using: &generator) > 0
                        bytes.store(isProper ? below?.pointer ?? .nothing : random(), at: index * 16)
                    } else {
                        let unit = UInt64.random(in: 80..<400, using: &generator)
                        let isProper = Int.random(in: 0..<500, using: &generator) > 0
                        let word = MapEntry.data(unit, birth: UInt32.random(in: 1...3, using: &generator)).rawValue
                        bytes.storeBE64(isProper ? word : word ^ 1 << 61, at: index * 8)
                    }
                }
            }
            let unit = family.allocator.end + 3
            #expect(family.allocator.adopt(unit..<unit + 1))
            _ = family.store.write(page.rawSpan, offset: EpochFormat.offset(ofUnit: unit))
            let sum = CRC32C.checksum(page.rawSpan, previous: reader.seed)
            pages.append((.page(unit, birth: UInt32.random(in: 1...3, using: &generator), checksum: sum), level))
        }
        for number in [head, snapshot] {
            var record = try #require(family.nodes[number])
            record.map = pages.filter { $0.level == 3 }.randomElement(using: &generator)?.pointer ?? pages[0].pointer
            if number == snapshot, Bool.random(using: &generator) {
                record.isBeingDeleted = true
                record.pagesDone = UInt64.random(in: 0...record.firstLevelPages, using: &generator)
            }
            try family.nodes.put(record)
        }
        #expect(try !findings(family).isEmpty)
        for record in family.nodes.records {
            let tree = PageTree(reader: reader, root: record.map, levels: record.levels, isMap: true)
            var words = [UInt64](repeating: 0, count: 512)
            for _ in 0..<50 {
                let region = UInt64.random(in: 0...1 << 25, using: &generator)
                do { try reader.region(tree.pointer(toLeaf: region), into: &words) } catch {}
            }
        }
    }

    @Test("A chain of nodes that are all being deleted is checked in a bounded time")
    func chain() throws {
        let family = try MapFamily()
        let head = try family.addHead(capacity: 200 << 30)
        try family.write(head, 0, 0..<9)
        try family.commit()
        for _ in 0..<300 { try family.snapshot(head) }
        try family.commit()
        #expect(MapFamily.check(family.store).findings == [])
        for (index, var record) in family.nodes.records.enumerated() where record.kind == .snapshot {
            record.isBeingDeleted = true
            record.pagesDone = UInt64(index)
            try family.nodes.put(record)
        }
        try family.commit()
        let found = MapFamily.check(family.store).findings
        #expect(found.contains(.damaged(.node(head))))
    }

    @Test("A free map of a hostile image is refused")
    func hostileFreeMap() throws {
        let (family, _, _) = try family()
        var superblock = family.superblock
        superblock.coveredUnits = 1 << 37
        superblock.freeMapLevels = 3
        var map = FreeMap(limit: 1 << 37)
        #expect(throws: EpochFault.self) { try FreeMapTree.read(superblock, family.reader, into: &map) }
        superblock = family.superblock
        superblock.coveredUnits = 81
        var other = FreeMap(limit: 1 << 37)
        #expect(throws: EpochFault.damaged(.freeMap)) { try FreeMapTree.read(superblock, family.reader, into: &other) }
        superblock = family.superblock
        superblock.nodeTable = superblock.freeMap
        #expect(throws: EpochFault.self) { try NodeTable.read(superblock, family.reader) }
    }

    @Test("A row of partly merged nodes is right however long it is")
    func partlyMerged() throws {
        let family = try FamilyFixture.create(on: RecordingStore(keepsHistory: false), capacity: 1 << 30)
        var snapshots: [UInt32] = []
        for round in 0..<70 {
            for place: Int64 in [0, 600 << 20] {
                #expect(family.fill(1, UInt8(1 + round), at: place, count: 4096) == .done(4096))
            }
            snapshots += try family.snapshot([1], names: ["\(round)"], time: FamilyFixture.time())
        }
        #expect(family.checkpoint() == 0)
        for snapshot in snapshots.dropLast() {
            try family.delete(snapshot, time: FamilyFixture.time())
            _ = try family.mergeStep()
        }
        #expect(family.check() == [])
        while try family.mergeStep() {}
        #expect(family.check() == [])
    }

    @Test("Of partly merged nodes, each with more pages done than those above, there are not too many")
    func longRow() throws {
        let pages = 68
        let family = try FamilyFixture.create(on: RecordingStore(keepsHistory: false), capacity: Int64(pages) << 29)
        var snapshots: [UInt32] = []
        for round in 0..<pages {
            for page in 0..<min(pages, round + 3) {
                #expect(family.fill(1, UInt8(1 + round), at: Int64(page) << 29, count: 4096) == .done(4096))
            }
            snapshots += try family.snapshot([1], names: ["\(round)"], time: FamilyFixture.time())
        }
        #expect(family.checkpoint() == 0)
        for (index, snapshot) in snapshots.dropLast().enumerated() {
            try family.delete(snapshot, time: FamilyFixture.time())
            for _ in 0..<min(index + 1, 66) { _ = try family.mergeStep() }
        }
        #expect(family.check() == [])
        while try family.mergeStep() {}
        #expect(family.nodes.map(\.number) == [1, snapshots[pages - 1]])
        #expect(family.check() == [])
    }

    @Test("Bad copies of the superblock, a damaged journal and a file that was cut are found")
    func outsideOfPages() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        for round: UInt8 in 1...3 {
            #expect(family.fill(1, round, at: 1 << 20, count: 4096) == .done(4096))
            #expect(family.checkpoint() == 0)
        }
        #expect(family.check() == [])
        let zeros = [UInt8](repeating: 0, count: 4096)
        let copy = 2
        let commit = family.maintenance.withLock { $0.superblock }
        let place = EpochFormat.offset(ofUnit: EpochSuperblock.unit(ofCopy: copy))
        #expect(store.write(zeros.rawSpan, offset: place) == .done(4096))
        #expect(EpochChecker.checkOpen(store, commit).findings == [.superblockCopy(copy)])
        #expect(EpochChecker.check(store).findings == [])
        #expect(EpochChecker.check(store).invalidCopies == [copy])
        #expect(family.checkpoint() == 0)
        for round: UInt8 in 1...4 {
            #expect(family.fill(1, round, at: Int64(round) << 20, count: 4096) == .done(4096))
            #expect(family.flush() == 0)
        }
        #expect(EpochChecker.check(store).findings == [])
        var image = store.content
        let frame = family.journal.withLock { Int($0.ring.offset(of: $0.ring.first)) }
        image.flip(bit: 3, ofByte: Int(EpochFormat.offset(ofUnit: EpochFormat.journalStart)) + frame * 4096 + 70)
        let damaged = EpochChecker.check(RecordingStore(image)).findings
        #expect(damaged.count == 1)
        guard case .damaged(.journal) = damaged.first else { return #expect(Bool(false), "\(damaged)") }
        #expect(family.checkpoint() == 0)
        let end = family.units.end
        image = store.content
        image.truncate(to: Int(EpochFormat.offset(ofUnit: end - 1)))
        #expect(EpochChecker.check(RecordingStore(image)).findings.contains(.damaged(.truncated(unit: end - 1))))
    }
}
