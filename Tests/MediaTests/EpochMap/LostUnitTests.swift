import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

/// A family in a store of which pages can be damaged.
private struct Damaged {
    static let capacity: Int64 = 1 << 30

    /// A head 1 with a snapshot 2 and a clone 3, each with some data of its own; closed. 2 MiB regions 0, 1 and 300.
    static func sample() throws -> SimulatedStore {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store, capacity: capacity)
        for (value, place) in [(1, 0), (2, 8192), (3, 2 << 20), (4, 600 << 20)] as [(UInt8, Int64)] {
            #expect(family.fill(1, value, at: place, count: 4096) == .done(4096))
        }
        _ = try family.snapshot([1], names: ["old"], time: FamilyFixture.time())
        #expect(family.fill(1, 5, at: 0, count: 4096) == .done(4096))
        #expect(family.checkpoint() == 0)
        _ = try family.clone(2, name: "clone", time: FamilyFixture.time())
        #expect(family.fill(3, 6, at: 4096, count: 4096) == .done(4096))
        #expect(family.close() == 0)
        return store
    }

    /// The pages of maps, with their levels and the nodes that have them.
    static func pages(_ store: SimulatedStore) throws -> [PageName: (level: Int, nodes: Set<UInt32>)] {
        let superblock = try #require(MapFamily.newest(store))
        let reader = PageReader(store, seed: superblock.seed, firstUnit: superblock.firstPoolUnit)
        var found: [PageName: (level: Int, nodes: Set<UInt32>)] = [:]
        func visit(_ pointer: UnitPointer, _ level: Int, _ node: UInt32) throws {
            guard pointer.kind == .page else { return }
            found[PageName(pointer), default: (level, [])].nodes.insert(node)
            guard level > 0 else { return }
            for next in try reader.page(pointer, level: level, isMap: true).pointers {
                try visit(next, level - 1, node)
            }
        }
        for record in try NodeTable.read(superblock, reader).records {
            try visit(record.map, record.levels, record.number)
        }
        return found
    }

    static func flip(_ store: SimulatedStore, _ unit: UInt64) -> SimulatedStore {
        var content = store.content
        content[Int(unit) * 4096 + 100] ^= 4
        return SimulatedStore(content)
    }

    static let places: [Int64] = [0, 4096, 8192, 2 << 20, 600 << 20, 900 << 20]

    /// What each node has at the places; nil what cannot be read.
    static func contents(_ family: DiskFamily) -> [UInt32: [UInt8?]] {
        var found: [UInt32: [UInt8?]] = [:]
        for node in family.nodes {
            found[node.number] = places.map { family.content(node.number, at: $0, count: 4096).first }
        }
        return found
    }
}

@Suite("What is lost of a disk with snapshots")
struct LostUnitTests {
    @Test("An entry and a pointer that say lost have one form each")
    func codec() {
        #expect(MapEntry(stored: 3 << 62) == .lost)
        #expect(MapEntry(stored: 3 << 62 | 1) == nil)
        #expect(!MapEntry.lost.isData && MapEntry.lost.isLost && MapEntry.lost.following(7) == .lost)
        var bytes = [UInt8](repeating: 0, count: 16)
        bytes.modifyBytes { $0.store(.lost, at: 0) }
        #expect(bytes[0] == 3)
        let pointer = bytes.rawSpan.loadPointer(at: 0)
        #expect(pointer == .lost)
        bytes[15] = 1
        let other = bytes.rawSpan.loadPointer(at: 0)
        #expect(other == nil)
    }

    @Test("A lost place at the end of a disk is pages up to there, and nothing behind")
    func partial() throws {
        // 300 regions and 5 units.
        let place = LostPlace(level: 2, number: 0, units: 300 * 512 + 5)
        #expect(place.isPartial)
        #expect(place.lostUnits == 0..<300 * 512 + 5)
        var pages: [[UInt8]] = []
        let pointer = try place.pointer { page in
            pages.append(page)
            return .page(UInt64(1000 + pages.count), birth: 1, checksum: 0)
        }
        #expect(pointer.unit == 1003 && pages.count == 3)
        func entry(_ index: Int) -> UInt64 {
            let bytes = pages[0]
            return bytes.rawSpan.loadBE64(at: index * 8)
        }
        func below(_ page: Int, _ index: Int) -> UnitPointer? {
            let bytes = pages[page]
            return bytes.rawSpan.loadPointer(at: index * 16)
        }
        #expect(entry(4) == 3 << 62)
        #expect(entry(5) == 0)
        #expect(below(1, 43) == .lost)
        #expect(below(1, 44)?.kind == .page)
        #expect(below(1, 45) == .nothing)
        #expect(below(2, 0) == .lost)
        #expect(below(2, 1)?.kind == .page)
        #expect(below(2, 2) == .nothing)
    }

    @Test("A damaged page of a map: its part is not read, all else is, and the image takes writes and snapshots")
    func damaged() throws {
        let sample = try Damaged.sample()
        let good = Damaged.contents(try DiskFamily.open(SimulatedStore(sample.content)))
        let pages = try Damaged.pages(sample)
        #expect(pages.count > 5)
        for (page, (level, nodes)) in pages {
            let store = Damaged.flip(sample, page.unit)
            let family = try DiskFamily.open(store)
            let found = Damaged.contents(family)
            for (node, values) in found {
                for (index, value) in values.enumerated() where value != good[node]?[index] {
                    #expect(value == nil && nodes.contains(node), "\(page) \(level) node \(node) place \(index)")
                }
                // A page of level 2 has the whole disk below it.
                if level < 2 { #expect(values.contains { $0 != nil }) }
            }
            // What does not need the page goes on.
            for place in Damaged.places.indices where found[3]?[place] != nil as UInt8?? {
                let offset = Damaged.places[place]
                let isRead = found[3]?[place] != .some(nil)
                let result = family.fill(3, 9, at: offset, count: 4096)
                #expect(isRead ? result == .done(4096) : result != .done(4096))
            }
            _ = try family.snapshot([1, 3], names: ["a", "b"], time: FamilyFixture.time())
            #expect(family.checkpoint() == 0)
            #expect(!family.check().isEmpty)
            #expect(family.close() == 0)
            #expect(throws: Never.self) { try DiskFamily.open(store) }
        }
    }

    @Test("A damaged page is repaired: what it had is lost, and nothing else")
    func repair() throws {
        let sample = try Damaged.sample()
        let good = Damaged.contents(try DiskFamily.open(SimulatedStore(sample.content)))
        for (page, (level, nodes)) in try Damaged.pages(sample) {
            let store = Damaged.flip(sample, page.unit)
            let report = try FamilyRepair.repair(store)
            #expect(report.unmended == [] && !report.mended.isEmpty, "\(report)")
            let checked = EpochChecker.check(store)
            #expect(checked.findings == [], "level \(level)")
            #expect(!checked.losses.isEmpty)
            #expect(try FamilyRepair.repair(store).isClean)
            let family = try DiskFamily.open(store)
            let found = Damaged.contents(family)
            for (node, values) in found {
                for (index, value) in values.enumerated() where value != good[node]?[index] {
                    #expect(value == nil && nodes.contains(node))
                }
            }
            #expect(found.values.contains { $0.contains(nil) })
            try exercise(family, found)
            #expect(family.checkpoint() == 0)
            while try family.mergeStep() {}
            // What was lost may have kept something in use.
            #expect(family.check().allSatisfy { if case .leaked = $0 { true } else { false } })
            #expect(family.close() == 0)
            #expect(try FamilyRepair.repair(store).unmended == [])
            #expect(EpochChecker.check(store).findings == [])
        }
    }

    /// Whole units that are lost are replaced and removed, parts of them are not; a snapshot keeps them lost.
    private func exercise(_ family: DiskFamily, _ found: [UInt32: [UInt8?]]) throws {
        for head: UInt32 in [1, 3] {
            for (index, value) in (found[head] ?? []).enumerated() where value == nil {
                let offset = Damaged.places[index]
                #expect(family.fill(head, 7, at: offset + 512, count: 512) == .failed(MediaFailure.corruptNumber))
                #expect(family.discard(head, at: offset, length: 512) == .failed(MediaFailure.corruptNumber))
                let snapshot = try family.snapshot([head], names: ["s"], time: FamilyFixture.time())[0]
                #expect(family.content(snapshot, at: offset, count: 4096) == [])
                if index % 2 == 0 {
                    #expect(family.fill(head, 7, at: offset, count: 4096) == .done(4096))
                    #expect(family.content(head, at: offset, count: 4096) == [UInt8](repeating: 7, count: 4096))
                } else {
                    #expect(family.discard(head, at: offset, length: 4096) == .done(0))
                    #expect(family.content(head, at: offset, count: 4096) == [UInt8](repeating: 0, count: 4096))
                }
                #expect(family.content(snapshot, at: offset, count: 4096) == [])
                #expect(family.checkpoint() == 0)
                #expect(family.content(snapshot, at: offset, count: 4096) == [])
                try family.delete(snapshot)
            }
        }
    }

    @Test("A replay goes on where a page of a map is damaged: what it says counts, the rest is lost")
    func replay() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store, capacity: Damaged.capacity)
        #expect(family.fill(1, 1, at: 0, count: 8 * 4096) == .done(8 * 4096))
        #expect(family.fill(1, 2, at: 4 << 20, count: 4096) == .done(4096))
        #expect(family.fill(1, 3, at: 600 << 20, count: 4096) == .done(4096))
        _ = try family.snapshot([1], names: ["s"], time: FamilyFixture.time())
        #expect(family.checkpoint() == 0)
        let pages = try Damaged.pages(store)
        #expect(family.fill(1, 4, at: 4096, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        #expect(family.fill(1, 5, at: 601 << 20, count: 4096) == .done(4096))
        #expect(family.fill(1, 6, at: 5 << 20, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        for (page, _) in pages {
            var content = store.durable
            content[Int(page.unit) * 4096 + 8] ^= 1
            let damaged = SimulatedStore(content)
            let opened = try DiskFamily.open(damaged)
            for (value, place) in [(1, 0), (4, 4096), (2, 4 << 20), (3, 600 << 20), (5, 601 << 20), (6, 5 << 20)]
                as [(UInt8, Int64)]
            {
                let found = opened.content(1, at: place, count: 4096).first
                #expect(found == nil || found == value, "\(page) \(place): \(String(describing: found))")
                if [4, 5, 6].contains(value) { #expect(found == value) }
            }
            #expect(opened.close() == 0)
            #expect(try FamilyRepair.repair(damaged).unmended == [])
            #expect(EpochChecker.check(damaged).findings == [])
        }
    }

    @Test("A commit that meets a damaged page above a region that changes goes on without what was beside it")
    func commit() throws {
        let sample = try Damaged.sample()
        for (page, (level, nodes)) in try Damaged.pages(sample) where level > 0 && nodes.contains(1) {
            let store = SimulatedStore(sample.content)
            let family = try DiskFamily.open(store)
            #expect(family.fill(1, 9, at: 4096, count: 4096) == .done(4096))
            #expect(family.fill(1, 9, at: 604 << 20, count: 4096) == .done(4096))
            // What was read is kept, so it is another opening's page that is damaged.
            var bytes = Array(store.content[Int(page.unit) * 4096..<Int(page.unit + 1) * 4096])
            bytes[9] ^= 1
            #expect(store.write(bytes.rawSpan, offset: EpochFormat.offset(ofUnit: page.unit)) == .done(4096))
            family.pages.forget()
            #expect(family.checkpoint() == 0)
            #expect(family.content(1, at: 4096, count: 4096).first == 9)
            #expect(family.close() == 0)
            let opened = try DiskFamily.open(store)
            #expect(opened.content(1, at: 4096, count: 4096).first == 9)
            #expect(opened.content(1, at: 604 << 20, count: 4096).first == 9)
            let old = opened.content(2, at: 0, count: 4096).first
            #expect(old == 1 || (old == nil && nodes.contains(2)))
            #expect(opened.close() == 0)
            #expect(try FamilyRepair.repair(store).unmended == [])
            #expect(EpochChecker.check(store).findings == [])
        }
    }
}
