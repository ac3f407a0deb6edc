import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Repairs of disks with snapshots")
struct FamilyRepairTests {
    /// A sample whose journal is not empty, and what an opening of it shows.
    private func sample() throws -> (image: SparseImage, model: FamilyModel, layout: DiskLayout) {
        let sample = try DamageSample(isClosed: false)
        return (sample.image, sample.model, sample.model.layout)
    }

    private func open(_ image: SparseImage) throws -> RecordingStore { RecordingStore(image, keepsHistory: true) }

    @Test("What is whole is not changed by a repair, but for copies of the superblock that are older")
    func whole() throws {
        let (image, _, _) = try sample()
        let store = try open(image)
        let first = try FamilyRepair.repair(store)
        #expect(first.unmended == [] && EpochChecker.check(store).losses == [])
        #expect(try FamilyRepair.repair(store).isClean)
    }

    @Test("Copies of the superblock and pages of the free map are made anew, and nothing is lost")
    func tables() throws {
        let (image, model, layout) = try sample()
        let superblock = try #require(MapFamily.newest(RecordingStore(image)))
        let reader = PageReader(RecordingStore(image), seed: superblock.seed, firstUnit: superblock.firstPoolUnit)
        var map = FreeMap(limit: 1 << 37)
        let tree = try FreeMapTree.read(superblock, reader, into: &map)
        var units: [UInt64] = [0, 4, 8, 12]
        for level in tree.pointers { units += level.filter { $0.kind == .page }.map(\.unit) }
        #expect(units.count >= 6)
        for unit in units {
            var damaged = image
            damaged.flip(bit: 3, ofByte: Int(unit) * 4096 + 64)
            let store = try open(damaged)
            if unit > 12 {
                let error = #expect(throws: FamilyError.self) { try DiskFamily.open(store) }
                #expect("\(String(describing: error))".contains("--repair"))
            }
            let report = try FamilyRepair.repair(store)
            #expect(report.unmended == [] && !report.mended.isEmpty)
            let checked = EpochChecker.check(store)
            #expect(checked.findings == [] && checked.losses == [])
            let family = try DiskFamily.open(store)
            let found = FamilyInspection(family, layout)
            #expect(model.difference(from: found, isLive: false) == nil, "unit \(unit)")
            #expect(family.check() == [])
        }
    }

    @Test("A table of nodes that is damaged is not mended, and nothing is written")
    func nodeTable() throws {
        let (image, _, _) = try sample()
        let superblock = try #require(MapFamily.newest(RecordingStore(image)))
        var damaged = image
        damaged.flip(bit: 3, ofByte: Int(superblock.nodeTable.unit) * 4096 + 3)
        let store = try open(damaged)
        let report = try FamilyRepair.repair(store)
        #expect(!report.unmended.isEmpty && report.mended == [])
        #expect(store.entryCount == 0)
    }

    @Test("A file that was cut is not mended, and does not become longer")
    func cut() throws {
        let (image, _, _) = try sample()
        var refused = 0
        for pages in 1...60 {
            var damaged = image
            damaged.truncate(to: image.length - pages * 4096)
            damaged.flip(bit: 0, ofByte: 4 * 4096)
            let store = try open(damaged)
            if (try? DiskFamily.open(RecordingStore(damaged))) != nil { continue }
            let report = try FamilyRepair.repair(store)
            #expect(!report.unmended.isEmpty && report.mended == [])
            #expect(store.content.length == damaged.length)
            refused += 1
        }
        #expect(refused > 0)
    }

    @Test(
        "Any damaged page: after a repair all is right or is not read, and the check finds nothing",
        arguments: [false, true])
    func pages(checksums: Bool) throws {
        let sample = try DamageSample(isClosed: false, checksums: checksums)
        for page in sample.metadataPages {
            var damaged = sample.image
            damaged.flip(bit: 5, ofByte: page * 4096 + 40)
            let store = RecordingStore(damaged, keepsHistory: false)
            guard let report = try? FamilyRepair.repair(store), report.unmended.isEmpty else { continue }
            do {
                try sample.look(at: store.content)
            } catch {
                throw ProofFailure("unit \(page): \(error)")
            }
            #expect(EpochChecker.check(store).findings == [], "unit \(page)")
        }
    }

    @Test("A frame of the journal that is damaged is told of, with what the frames behind it have")
    func journal() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        for round in 0..<4 {
            #expect(family.fill(1, UInt8(round + 1), at: Int64(round) << 14, count: 4096) == .done(4096))
            #expect(family.flush() == 0)
        }
        _ = try family.snapshot([1], names: ["snap"], time: FamilyFixture.time())
        #expect(family.fill(1, 9, at: 0, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        let superblock = try #require(MapFamily.newest(store))
        var content = store.durable
        content[Int(EpochFormat.journalStart + UInt64(superblock.firstFrame) + 1) * 4096 + 70] ^= 1
        let damaged = SimulatedStore(content)
        #expect(throws: FamilyError.self) { try DiskFamily.open(damaged) }
        let report = try FamilyRepair.repair(damaged)
        let told = report.unmended.joined(separator: "; ")
        #expect(told.contains("frame 2 of the journal") && told.contains("snapshot 'snap' of 'disk'"), "\(told)")
        #expect(damaged.content == content)
    }

    @Test("A repair that is killed anywhere leaves what was there, and can be done again")
    func crashes() throws {
        let sample = try DamageSample(isClosed: false)
        var tried = 0
        for page in sample.metadataPages where page > 80 {
            var damaged = sample.image
            damaged.flip(bit: 5, ofByte: page * 4096 + 40)
            let store = RecordingStore(damaged, keepsHistory: true)
            guard let report = try? FamilyRepair.repair(store), !report.mended.isEmpty else { continue }
            tried += 1
            guard Effort.isFull || tried % 8 == 1 else { continue }
            let (base, entries) = store.record
            var cursor = CrashCursor(base: base, entries: entries)
            for count in 0...entries.count {
                cursor.advance(to: count)
                for choice in Effort.isFull
                    ? [CrashChoice.all, .none, .random(UInt64(count))] : [.random(UInt64(count))]
                {
                    let left = RecordingStore(cursor.image(choice), keepsHistory: false)
                    #expect(try FamilyRepair.repair(left).unmended == [], "unit \(page), \(count) of \(entries.count)")
                    try sample.look(at: left.content)
                    #expect(EpochChecker.check(left).findings == [])
                }
            }
        }
        #expect(tried > 3)
    }

    @Test("An image is repaired while its disks are in use")
    func online() throws {
        let store = SimulatedStore()
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 8, 1) == .done)
        #expect(try disk.write(8192, 8, 2) == .done)
        #expect(try file.snapshot([1], names: ["one"], time: FamilyFixture.time()) == [2])
        #expect(file.withFamily { $0.checkpoint() } == 0)
        let superblock = try #require(MapFamily.newest(store))
        let reader = PageReader(store, seed: superblock.seed, firstUnit: superblock.firstPoolUnit)
        let record = try #require(try NodeTable.read(superblock, reader)[1])
        let leaf = try reader.regionPointer(0, of: MapRoot(pointer: record.map, levels: record.levels))
        var bytes = Array(store.content[Int(leaf.unit) * 4096..<Int(leaf.unit + 1) * 4096])
        bytes[1] ^= 1
        #expect(store.write(bytes.rawSpan, offset: EpochFormat.offset(ofUnit: leaf.unit)) == .done(4096))
        #expect(file.check().contains { $0.contains("cannot be read") })
        let pool = SpacePool()
        file.join(pool)
        file.setSpaceLimit(0)
        let report = try file.repair()
        #expect(report.unmended == [] && !file.withFamily { $0.report().losses }.isEmpty)
        #expect(pool.usedBytes == file.usedBytes, "the new opening is counted, and nothing else")
        let refused = try disk.write(12288, 8, 4)
        #expect(refused == .failed(.hostFull), "and has the limit")
        file.setSpaceLimit(nil)
        #expect(try disk.read(0) == nil)
        #expect(try disk.read(8192) == 2)
        #expect(try disk.write(0, 8, 3) == .done)
        #expect(try disk.read(0) == 3)
        // Nothing is to be mended any more, so nobody waits for another opening.
        let opening = try FamilyRepair.newest(store).opening
        #expect(try file.repair().isClean)
        #expect(try FamilyRepair.newest(store).opening == opening)
        // But where a deletion does not go on, another opening tries it again.
        file.withFamily { $0.shared.withLock { $0.state.setStuck(7, .device(Errno.inputOutput)) } }
        #expect(try file.repair().isClean)
        #expect(try FamilyRepair.newest(store).opening == opening + 1)
        #expect(file.withFamily { $0.stuckDeletions }.isEmpty)
        #expect(file.loss == nil)
        #expect(disk.image.close() == nil)
        #expect(pool.usedBytes == 0)
    }
}
