import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Checksums of data of disks with snapshots")
struct ChecksumTests {
    private static let unit = 4096

    /// A family with checksums over `store`.
    private func create(_ store: any ByteStore, capacity: Int64 = 8 << 20) throws -> DiskFamily {
        try DiskFamily.create(
            on: store, capacity: capacity, blockSize: 512, name: "disk", time: FamilyFixture.time(),
            uuid: FamilyFixture.uuid, checksums: true)
    }

    /// Where a unit of a head is in the file.
    private func place(_ family: DiskFamily, _ head: UInt32, _ unit: UInt64) throws -> Int64 {
        let entry = try #require(family.liveHead(head)?.map.entry(unit))
        try #require(entry.isData)
        return EpochFormat.offset(ofUnit: entry.unit)
    }

    /// Turns a bit of a byte of the file over.
    private func flip(_ store: any ByteStore, _ offset: Int64, bit: UInt8 = 0) {
        var byte: [UInt8] = [0]
        _ = byte.modifyBytes { store.read(into: &$0, offset: offset, mode: .blocking) }
        byte[0] ^= 1 << bit
        _ = store.write(byte.rawSpan, offset: offset)
    }

    private func read(_ family: DiskFamily, _ node: UInt32, _ offset: Int64, _ count: Int) -> FileResult {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        return bytes.modifyBytes { family.read(node, into: &$0, at: offset) }
    }

    @Test("A flipped bit fails the reads that need its unit, all of it and parts, and no others")
    func reading() throws {
        let store = SimulatedStore()
        let family = try create(store)
        #expect(family.fill(1, 7, at: 0, count: 64 << 10) == .done(64 << 10))
        let bad = FileResult.failed(MediaFailure.corruptNumber)
        for (byte, bit) in [(0, 0), (511, 7), (4095, 3)] as [(Int64, UInt8)] {
            let place = try place(family, 1, 5)
            flip(store, place + byte, bit: bit)
            #expect(read(family, 1, 5 * 4096, 4096) == bad)
            #expect(read(family, 1, 5 * 4096 + 512, 512) == bad)
            #expect(read(family, 1, 0, 64 << 10) == bad)
            #expect(read(family, 1, 4 * 4096 + 1024, 4096) == bad)
            #expect(family.content(1, at: 0, count: 5 * 4096) == [UInt8](repeating: 7, count: 5 * 4096))
            #expect(family.content(1, at: 6 * 4096, count: 512) == [UInt8](repeating: 7, count: 512))
            flip(store, place + byte, bit: bit)
            #expect(family.content(1, at: 5 * 4096, count: 4096) == [UInt8](repeating: 7, count: 4096))
        }
    }

    @Test("A flipped bit of a checksum fails the reads of its unit, and no others")
    func words() throws {
        let store = SimulatedStore()
        let family = try create(store)
        #expect(family.fill(1, 7, at: 0, count: 64 << 10) == .done(64 << 10))
        let unit = UInt64(try place(family, 1, 5)) / 4096
        flip(store, try #require(family.checksums).areas.place(ofWord: unit) + 2)
        #expect(read(family, 1, 5 * 4096, 4096) == .failed(MediaFailure.corruptNumber))
        #expect(family.content(1, at: 6 * 4096, count: 4096) == [UInt8](repeating: 7, count: 4096))
    }

    @Test("Data of another unit, and zeros, in the place of a unit are found")
    func misdirected() throws {
        let store = SimulatedStore()
        let family = try create(store)
        for unit in 0..<4 as Range<Int64> {
            #expect(family.fill(1, UInt8(unit + 1), at: unit * 4096, count: 4096) == .done(4096))
        }
        let other = [UInt8](repeating: 3, count: 4096)
        _ = store.write(other.rawSpan, offset: try place(family, 1, 1))
        _ = store.write([UInt8](repeating: 0, count: 4096).rawSpan, offset: try place(family, 1, 0))
        #expect(read(family, 1, 4096, 4096) == .failed(MediaFailure.corruptNumber))
        #expect(read(family, 1, 0, 512) == .failed(MediaFailure.corruptNumber))
        // A page of checksums that was written to the place of another one: the same data have other words elsewhere.
        let checksums = try #require(family.checksums)
        #expect(checksums.word(of: 500, other.rawSpan) != checksums.word(of: 501, other.rawSpan))
    }

    @Test("A write of a part of a bad unit fails and changes nothing, a write of all of it heals it")
    func healing() throws {
        let store = SimulatedStore()
        let family = try create(store)
        #expect(family.fill(1, 7, at: 0, count: 32 << 10) == .done(32 << 10))
        let snapshot = try family.snapshot([1], names: ["s"], time: FamilyFixture.time())[0]
        let clone = try family.clone(snapshot, name: "c", time: FamilyFixture.time())
        flip(store, try place(family, 1, 2) + 100)
        let bad = FileResult.failed(MediaFailure.corruptNumber)
        let block = [UInt8](repeating: 9, count: 512)
        for node in [1, clone] {
            #expect(family.write(node, block.rawSpan, at: 2 * 4096 + 1024) == bad)
            #expect(family.writeAtomically(node, block.rawSpan, at: 2 * 4096 + 1024) == bad)
            #expect(family.discard(node, at: 2 * 4096, length: 512) == bad)
            // The units beside it are written or not, as a whole.
            #expect(family.write(node, [UInt8](repeating: 9, count: 8192).rawSpan, at: 8192 + 512) == bad)
            #expect(family.content(node, at: 3 * 4096, count: 4096) == [UInt8](repeating: 7, count: 4096))
        }
        for node in [1, clone, snapshot] { #expect(read(family, node, 2 * 4096, 4096) == bad) }
        #expect(family.fill(1, 8, at: 2 * 4096, count: 4096) == .done(4096))
        #expect(family.content(1, at: 0, count: 32 << 10).filter { $0 == 8 }.count == 4096)
        #expect(family.discard(clone, at: 2 * 4096, length: 4096) == .done(0))
        #expect(family.content(clone, at: 2 * 4096, count: 512) == [UInt8](repeating: 0, count: 512))
        #expect(read(family, snapshot, 2 * 4096, 512) == bad)
        #expect(family.check() == [])
    }

    @Test("A check names disk, snapshot and blocks, once for what they share, and no more than its limit of lines")
    func check() throws {
        let store = SimulatedStore()
        let family = try create(store)
        #expect(family.fill(1, 7, at: 0, count: 1 << 20) == .done(1 << 20))
        let first = try family.snapshot([1], names: ["first"], time: FamilyFixture.time())[0]
        #expect(family.fill(1, 8, at: 40 * 4096, count: 8192) == .done(8192))
        let file = FamilyFile(store: store, family: family, path: "test")
        var bytes: Int64 = 0
        let all = file.check { count in
            bytes += count
            return true
        }
        #expect(all == [])
        #expect(bytes == 1 << 20 + 8192)
        flip(store, try place(family, 1, 40) + 7)
        flip(store, try place(family, 1, 41) + 7)
        flip(store, try place(family, 1, 3))
        let found = file.check()
        #expect(found.count == 2)
        #expect(found.contains { $0.hasPrefix("blocks 24 to 31 of ") })
        #expect(found.contains { $0.hasPrefix("blocks 320 to 335 of disk 'disk' (node 1) ") })
        #expect(file.check { _ in false } == [])
        for unit in stride(from: 64, to: 256, by: 2) as StrideTo<UInt64> { flip(store, try place(family, 1, unit)) }
        #expect(file.check().count == FamilyFile.findingLimit + 1)
        try family.delete(first)
        #expect(file.check().count == FamilyFile.findingLimit + 1)
        family.fail(Errno.inputOutput)
        #expect(file.check().contains { $0.contains("not all data were read") })
    }

    @Test("A check looks once at what has been there since before it, and always at what may have come since")
    func units() {
        var check = DataCheck(limit: 1, epoch: 5)
        var found: [Bool] = []
        for birth: UInt32 in [4, 4, 5, 5, 4] { found.append(check.isNew(1, birth: birth)) }
        #expect(found == [true, false, true, true, false])
        var done: [Bool] = []
        func look(_ unit: UInt64, birth: UInt32, _ check: borrowing DataCheck) {
            done.append(check.isDone(.page(unit, birth: birth, checksum: 0)))
        }
        look(2, birth: 4, check)
        check.enter(page: 2, index: 0)
        check.come(toPage: 0)
        look(2, birth: 4, check)
        // The walk has left it behind it.
        check.come(toPage: 1)
        look(2, birth: 4, check)
        look(2, birth: 5, check)
        // The walk did not come to its end.
        check.enter(page: 3, index: 1)
        check.leavePage()
        check.come(toPage: 2)
        look(3, birth: 4, check)
        #expect(done == [false, false, true, false, false])
    }

    @Test("A disk tells of it as of data that do not match, and of what is right beside it nothing")
    func image() throws {
        let store = SimulatedStore()
        let family = try create(store)
        let file = FamilyFile(store: store, family: family, path: "test")
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 64, 5) == .done)
        flip(store, try place(family, 1, 1) + 600)
        let runner = try disk.request(lease: [UInt8](repeating: 0, count: 4096)) {
            disk.image.prepareRead($0, at: 0, first: 8, blocks: 8)
        }
        #expect(disk.outcome(runner) == .failed(.corrupt))
        #expect(try disk.read(7) == 5)
        #expect(try disk.write(9, 1, 6) == .failed(.corrupt))
        #expect(file.loss == nil)
        #expect(try disk.write(8, 8, 6) == .done)
        #expect(try disk.read(9) == 6)
        #expect(disk.image.close() == nil)
    }

    @Test("A record of the journal that gives a disk a unit of superblock, journal or checksums is damage, and no trap")
    func forgedRecord() throws {
        for number in 0..<5 {
            for isConfirmed in [false, true] {
                let store = SimulatedStore()
                let family = try create(store)
                #expect(family.fill(1, 7, at: 0, count: 64 << 10) == .done(64 << 10))
                #expect(family.flush() == 0)
                let found = EpochSuperblock.newest(of: EpochSuperblock.readCopies(store))
                guard case .valid(let superblock) = found else { throw ProofFailure("\(found)") }
                let areas = try #require(superblock.checksumAreas)
                let (unit, count): (UInt64, UInt32) = [
                    (0, 1), (superblock.firstPoolUnit - 1, 1), (areas.start, 1), (areas.start + 255, 2),
                    (areas.next(from: areas.start + 1) - 1, 2),
                ][number]
                var scan = JournalScan(store, superblock)
                while try scan.next() != nil {}
                let survey = scan.survey
                var builder = JournalFrame.Builder(unitLimit: 1)
                let isAdded = builder.append(.data(head: 1, first: 0, unit: unit, count: count, checksum: 0))
                #expect(isAdded)
                let offset = (UInt64(superblock.firstFrame) + survey.units) % UInt64(superblock.journalUnits)
                let place = EpochFormat.offset(ofUnit: EpochFormat.journalStart + offset)
                builder.finish(
                    sequence: survey.nextSequence, confirmed: survey.confirmed, chain: survey.chain,
                    seed: superblock.seed, opening: survey.opening
                ) { _, bytes in
                    _ = store.write(bytes, offset: place)
                }
                if isConfirmed {
                    // Another frame says that it was durable.
                    var builder = JournalFrame.Builder(unitLimit: 1)
                    let isAdded = builder.append(.nothing(head: 1, first: 0, count: 1))
                    #expect(isAdded)
                    let chain = try scan.next()?.checksum
                    builder.finish(
                        sequence: survey.nextSequence + 1, confirmed: survey.nextSequence,
                        chain: try #require(chain), seed: superblock.seed, opening: survey.opening
                    ) { _, bytes in
                        _ = store.write(bytes, offset: place + 4096)
                    }
                }
                #expect(throws: FamilyError.self, "unit \(unit), confirmed \(isConfirmed)") {
                    try DiskFamily.open(store)
                }
            }
        }
    }

    @Test("On a reactor whole units are written and proved, and what is not right is left to the lane")
    func reactor() throws {
        let store = SimulatedStore()
        let family = try create(store)
        let pass = family.memory.grace.enter()
        defer { family.memory.grace.leave(pass) }
        let bytes = [UInt8](repeating: 6, count: 8192)
        #expect(family.writeCached(1, bytes.rawSpan, at: 4096) != .wouldBlock)
        // In the same place too: nothing is overwritten in place.
        let before = try place(family, 1, 1)
        #expect(family.writeCached(1, bytes.rawSpan, at: 4096) != .wouldBlock)
        #expect(try place(family, 1, 1) != before)
        #expect(family.content(1, at: 4096, count: 8192) == bytes)
        var lease = try BufferPool(limit: 1 << 20).required([UInt8](repeating: 0, count: 8192))
        #expect(family.readCached(1, into: &lease, at: 4096, 8192) == .done(8192))
        #expect(lease.copyToArray() == bytes)
        #expect(family.readCached(1, into: &lease, at: 4096 + 512, 512) == .wouldBlock)
        #expect(family.writeCached(1, bytes.rawSpan.extracting(0..<512), at: 4096) == .wouldBlock)
        flip(store, try place(family, 1, 2) + 9)
        #expect(family.readCached(1, into: &lease, at: 4096, 8192) == .wouldBlock)
        #expect(family.readCached(1, into: &lease, at: 4096, 4096) == .done(4096))
    }

    @Test("An image without checksums has none after an opening, one with them has them")
    func feature() throws {
        for checksums in [false, true] {
            let store = SimulatedStore()
            let family = try DiskFamily.create(
                on: store, capacity: 1 << 20, blockSize: 512, name: "disk", time: FamilyFixture.time(),
                uuid: FamilyFixture.uuid, checksums: checksums)
            #expect(family.fill(1, 7, at: 4096, count: 4096) == .done(4096))
            #expect(family.close() == 0)
            let opened = try DiskFamily.open(store)
            #expect((opened.checksums != nil) == checksums)
            let found = EpochSuperblock.newest(of: EpochSuperblock.readCopies(store))
            guard case .valid(let superblock) = found else { throw ProofFailure("\(found)") }
            #expect(superblock.features == (checksums ? 1 : 0))
            #expect(opened.content(1, at: 4096, count: 4096) == [UInt8](repeating: 7, count: 4096))
            #expect(EpochChecker.check(store).findings == [])
        }
    }

    @Test("Data go on behind the areas of the next groups, and are proved there")
    func groups() throws {
        let store = RecordingStore(keepsHistory: false)
        var family = try create(store)
        let areas = try #require(family.checksums).areas
        // All but some units of two groups are somebody's.
        for _ in 0..<2 {
            while true {
                let end = family.units.end
                let room = areas.next(from: end) - end
                guard room > 10 else { break }
                _ = try #require(family.units.allocate(room - 5, near: .max))
            }
            #expect(family.fill(1, 9, at: 0, count: 1 << 20) == .done(1 << 20))
            #expect(family.flush() == 0)
        }
        #expect(family.units.end > areas.start + 2 * ChecksumAreas.groupUnits)
        let places = try (0..<256 as Range<UInt64>).map { UInt64(try place(family, 1, $0)) / 4096 }
        #expect(places.allSatisfy { !areas.contains($0) })
        #expect(Set(places.map { ($0 - areas.start) >> ChecksumAreas.groupShift }) == [1, 2])
        #expect(family.content(1, at: 0, count: 1 << 20) == [UInt8](repeating: 9, count: 1 << 20))
        #expect(family.check() == [])
        family = try DiskFamily.open(store)
        #expect(family.content(1, at: 0, count: 1 << 20) == [UInt8](repeating: 9, count: 1 << 20))
        #expect(FamilyFile(store: store, family: family, path: "test").check() == [])
    }

    @Test("Where a host is full a write that needs a page of checksums fails as a whole")
    func fullHost() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try create(store)
        store.limit(to: 1)
        #expect(family.fill(1, 7, at: 0, count: 4096) == .failed(Errno.noSpace))
        #expect(family.content(1, at: 0, count: 4096) == [UInt8](repeating: 0, count: 4096))
        store.limit(to: 2)
        #expect(family.fill(1, 7, at: 0, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        store.limit(to: 1)
        #expect(family.fill(1, 7, at: 4096, count: 4096) == .done(4096))
        store.limit(to: 0)
        // What was freed has storage perhaps, but not for ever.
        let results = (0..<8).map { _ in family.fill(1, 7, at: 4096, count: 4096) }
        #expect(results.last == .failed(Errno.noSpace))
        #expect(family.content(1, at: 0, count: 8192) == [UInt8](repeating: 7, count: 8192))
        #expect(family.discard(1, at: 0, length: 8192) == .done(0))
        #expect(family.checkpoint() == 0)
        #expect(family.check() == [])
    }

    @Test("Any bit of data or of a checksum is turned over: what is read is right or fails, and the check finds it")
    func bits() throws {
        for isClosed in [true, false] {
            let sample = try DamageSample(isClosed: isClosed, checksums: true)
            var random = SeededRandom(seed: 3)
            let area = Int(EpochFormat.journalStart) + 64
            let pages = sample.pages(areData: true) + [area]
            #expect(pages.count > 50)
            for (number, page) in pages.enumerated() where Effort.isFull || number % 3 == 0 || page == area {
                for _ in 0..<(Effort.isFull ? 16 : page == area ? 12 : 1) {
                    var damaged = sample.image
                    let byte = Int.random(in: 0..<(page == area ? 2048 : SparseImage.pageLength), using: &random)
                    damaged.flip(bit: Int.random(in: 0..<8, using: &random), ofByte: page * 4096 + byte)
                    do {
                        try sample.look(at: damaged)
                    } catch {
                        throw ProofFailure("byte \(byte) of unit \(page): \(error)")
                    }
                }
            }
        }
    }
}
