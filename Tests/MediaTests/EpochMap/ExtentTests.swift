import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

/// Content for disks with compressed extents.
enum ExtentContent {
    static let extent = 64 << 10

    /// Text of words.
    static func text(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        let words = ["the ", "disk ", "of a ", "family ", "holds ", "what ", "nobody ", "else ", "has ", "written; "]
        var random = SeededRandom(seed: seed)
        var bytes: [UInt8] = []
        while bytes.count < count {
            bytes += Array(words[Int.random(in: 0..<words.count, using: &random)].utf8)
            bytes += Array("\(UInt16.random(in: 0...9999, using: &random)) ".utf8)
        }
        return Array(bytes.prefix(count))
    }

    static func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    }
}

extension DiskFamily {
    /// Writes bytes to a head.
    fileprivate func put(_ bytes: [UInt8], at offset: Int, head: UInt32 = 1) -> FileResult {
        write(head, bytes.rawSpan, at: Int64(offset))
    }

    fileprivate func putAtomically(_ bytes: [UInt8], at offset: Int) -> FileResult {
        writeAtomically(1, bytes.rawSpan, at: Int64(offset))
    }

    /// Whether a node has these bytes from an offset on; without showing them.
    fileprivate func has(_ bytes: [UInt8], at offset: Int = 0, node: UInt32 = 1) -> Bool {
        content(node, at: Int64(offset), count: bytes.count) == bytes
    }

    fileprivate func entry(_ unit: UInt64) -> MapEntry {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        return liveHead(1)?.map.entry(unit) ?? .nothing
    }
}

@Suite("Compressed extents")
struct ExtentTests {
    private static let extent = ExtentContent.extent

    private func family(
        _ store: any ByteStore = SimulatedStore(), capacity: Int64 = 8 << 20, level: Int = 3
    ) throws -> DiskFamily {
        try FamilyFixture.create(on: store, capacity: capacity, compression: level)
    }

    @Test(
        "Text takes less, noise takes what it is, and both are read, before and after an opening",
        arguments: [1, 3, 19])
    func ratio(level: Int) throws {
        let store = SimulatedStore()
        var family = try family(store, level: level)
        #expect(family.compressionLevel == level)
        let empty = family.usedUnits
        let text = ExtentContent.text(1 << 20)
        #expect(family.put(text, at: 0) == .done(1 << 20))
        let ofText = family.usedUnits - empty
        #expect(ofText < 256 / 2, "\(ofText) of 256 units")
        let noise = ExtentContent.noise(1 << 20)
        #expect(family.put(noise, at: 1 << 20) == .done(1 << 20))
        #expect(family.usedUnits - empty - ofText == 256)
        #expect(family.entry(0).isCompressed)
        #expect(family.entry(256).isData)
        for _ in 0..<2 {
            #expect(family.has(text + noise))
            #expect(family.has(Array(text[70_144..<71_168]), at: 70_144))
            #expect(family.close() == 0)
            family = try DiskFamily.open(store)
            #expect(family.compressionLevel == level)
        }
        #expect(family.check() == [])
    }

    @Test("A level that zstd has not is refused")
    func levels() {
        for level in [-1, 0, 20] {
            #expect(throws: FamilyError.invalidCompression(level)) { _ = try family(level: level) }
        }
    }

    @Test("Writes and discards of parts of an extent leave the rest, and give back what they can")
    func parts() throws {
        let store = SimulatedStore()
        var family = try family(store)
        #expect(family.checkpoint() == 0)
        let empty = family.usedUnits
        var model = ExtentContent.text(4 * Self.extent)
        #expect(family.put(model, at: 0) == .done(model.count))
        func write(_ bytes: [UInt8], at offset: Int) {
            #expect(family.put(bytes, at: offset) == .done(bytes.count))
            model.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            #expect(family.has(model))
        }
        func discard(_ offset: Int, _ count: Int) {
            #expect(family.discard(1, at: Int64(offset), length: Int64(count)) == .done(0))
            model.replaceSubrange(offset..<offset + count, with: [UInt8](repeating: 0, count: count))
            #expect(family.has(model))
        }
        write(ExtentContent.text(512, seed: 2), at: 1024)
        #expect(family.entry(0).isCompressed)
        write(ExtentContent.noise(4096, seed: 3), at: 8192)
        #expect(family.entry(15).isCompressed)
        // Over the end of one and the beginning of the next one, neither whole.
        write(ExtentContent.text(20_480, seed: 4), at: Self.extent - 10_240)
        // Noise in most of it: it is stored plain, and its parts are written in place from then on.
        write(ExtentContent.noise(61_440, seed: 5), at: 2 * Self.extent)
        #expect((32..<48).allSatisfy { family.entry($0).isData })
        for _ in 0..<2 { #expect(family.flush() == 0) }
        let place = family.entry(33).unit
        write(ExtentContent.noise(4096, seed: 6), at: 2 * Self.extent + 4096)
        #expect(family.entry(33).unit == place)
        // As a whole it is compressed again where that saves.
        write(ExtentContent.text(Self.extent, seed: 7), at: 2 * Self.extent)
        #expect(family.entry(32).isCompressed)
        discard(Self.extent + 5 * 4096, 3 * 4096)
        #expect(family.entry(16).isCompressed)
        discard(Self.extent + 1536, 5120)
        discard(3 * Self.extent + 4096, 15 * 4096)
        discard(3 * Self.extent, 4096)
        #expect((48..<64).allSatisfy { family.entry($0) == .nothing })
        discard(10_240, 2 * Self.extent)
        #expect(family.close() == 0)
        family = try DiskFamily.open(store)
        #expect(family.has(model))
        discard(0, 4 * Self.extent)
        for _ in 0..<3 { #expect(family.flush() == 0) }
        #expect(family.checkpoint() == 0)
        #expect(family.usedUnits == empty)
        #expect(family.check() == [])
    }

    @Test("Zeros take nothing, as a whole and among others")
    func zeros() throws {
        let family = try family()
        let empty = family.usedUnits
        #expect(family.put([UInt8](repeating: 0, count: Self.extent), at: 0) == .done(Self.extent))
        #expect(family.usedUnits == empty)
        // One unit that is not: one unit of data is no more than one that is compressed.
        var bytes = [UInt8](repeating: 0, count: Self.extent)
        bytes[9000] = 1
        #expect(family.put(bytes, at: 0) == .done(Self.extent))
        #expect(family.entry(2).isData)
        #expect(family.usedUnits == empty + 1)
        #expect(family.put(ExtentContent.text(Self.extent), at: 0) == .done(Self.extent))
        #expect(family.put([UInt8](repeating: 0, count: Self.extent), at: 0) == .done(Self.extent))
        #expect(family.usedUnits == empty)
    }

    @Test("The last extent of a disk is not compressed when it is a part, and is when the disk has grown")
    func ends() throws {
        let store = SimulatedStore()
        let family = try family(store, capacity: Int64(2 * Self.extent - 512))
        let text = ExtentContent.text(2 * Self.extent)
        #expect(family.put(Array(text.dropLast(512)), at: 0) == .done(2 * Self.extent - 512))
        #expect(family.entry(0).isCompressed)
        #expect((16..<32).allSatisfy { family.entry($0).isData })
        #expect(family.putAtomically(Array(text[0..<65_536]), at: 65_024) == .done(65_536))
        #expect((16..<32).allSatisfy { family.entry($0).isData })
        try family.resize(1, to: Int64(2 * Self.extent))
        #expect(family.put(Array(text[Self.extent...]), at: Self.extent) == .done(Self.extent))
        #expect(family.entry(16).isCompressed)
        #expect(family.has(Array(text[Self.extent...]), at: Self.extent))
        #expect(family.flush() == 0)
        #expect(
            try DiskFamily.open(store).has(Array(text[Self.extent...]), at: Self.extent))
    }

    @Test("Atomic writes of parts of extents, and of whole ones")
    func atomic() throws {
        let store = SimulatedStore()
        let family = try family(store)
        var model = ExtentContent.text(6 * Self.extent)
        #expect(family.put(model, at: 0) == .done(model.count))
        for (seed, (offset, count)) in [
            (4096, 4096), (512, 1024), (60_416, 10_240), (Self.extent, Self.extent), (100_352, 3 * Self.extent),
            (0, 6 * Self.extent),
        ].enumerated() {
            let bytes =
                seed % 2 == 0
                ? ExtentContent.text(count, seed: UInt64(seed + 2)) : ExtentContent.noise(count, seed: UInt64(seed + 2))
            #expect(family.putAtomically(bytes, at: offset) == .done(count))
            model.replaceSubrange(offset..<offset + count, with: bytes)
            #expect(family.has(model))
            #expect(try DiskFamily.open(store).has(model))
        }
        #expect(family.entry(0).isData, "noise")
    }

    @Test("Snapshots and clones keep their extents, and what deletion gives back is exact")
    func sharing() throws {
        let store = SimulatedStore()
        var family = try family(store)
        let texts = (0..<4).map { ExtentContent.text(4 * Self.extent, seed: UInt64($0 + 10)) }
        #expect(family.put(texts[0], at: 0) == .done(4 * Self.extent))
        #expect(family.checkpoint() == 0)
        let alone = family.usedUnits
        let first = try family.snapshot([1], names: ["a"], time: FamilyFixture.time())[0]
        #expect(family.put(texts[1], at: 0) == .done(4 * Self.extent))
        let second = try family.snapshot([1], names: ["b"], time: FamilyFixture.time())[0]
        #expect(family.put(Array(texts[2][0..<4096]), at: 8192) == .done(4096))
        #expect(family.discard(1, at: Int64(Self.extent + 4096), length: 4096) == .done(0))
        let clone = try family.clone(first, name: "c", time: FamilyFixture.time())
        #expect(family.put(texts[3], at: 0, head: clone) == .done(4 * Self.extent))
        var present = texts[1]
        present.replaceSubrange(8192..<12_288, with: texts[2][0..<4096])
        present.replaceSubrange(
            Self.extent + 4096..<Self.extent + 8192, with: [UInt8](repeating: 0, count: 4096))
        for _ in 0..<2 {
            #expect(family.has(texts[0], node: first))
            #expect(family.has(texts[1], node: second))
            #expect(family.has(present))
            #expect(family.has(texts[3], node: clone))
            #expect(family.checkpoint() == 0)
            #expect(family.check() == [])
            family = try DiskFamily.open(store)
        }
        let space = try #require(try family.space(of: second))
        // Two extents of the snapshot are the head's too.
        #expect(space.unique > 0 && space.unique < space.mapped)
        let unique = try #require(try family.space(of: clone)).unique
        let before = family.usedUnits
        try family.delete(clone)
        while try family.mergeStep() {}
        #expect(family.checkpoint() == 0)
        #expect(before - family.usedUnits >= unique)
        try family.delete(second)
        try family.delete(first)
        while try family.mergeStep() {}
        #expect(family.put(texts[0], at: 0) == .done(4 * Self.extent))
        for _ in 0..<3 { #expect(family.flush() == 0) }
        for _ in 0..<2 { #expect(family.checkpoint() == 0) }
        #expect(family.usedUnits == alone)
        #expect(family.check() == [])
    }

    @Test("Two clones that have changed an extent differ in all of it, and all of it holds data")
    func queries() throws {
        let family = try family()
        #expect(family.put(ExtentContent.text(2 * Self.extent), at: 0) == .done(2 * Self.extent))
        let snapshot = try family.snapshot([1], names: ["a"], time: FamilyFixture.time())[0]
        let clones = try ["b", "c"].map { try family.clone(snapshot, name: $0, time: FamilyFixture.time()) }
        for clone in clones { #expect(family.fill(clone, 7, at: 4096, count: 512) == .done(512)) }
        #expect(try family.differences(from: clones[0], to: clones[1], first: 0, limit: 9) == [0..<16])
        #expect(try family.differences(from: snapshot, to: 1, first: 0, limit: 9) == [])
        #expect(try family.runs(1, first: 0, limit: 1).first?.isMapped == true)
        #expect(try family.runs(1, first: 0, limit: 1).first?.end == 32)
    }

    @Test("Any bit of what is stored: what is read is right, or fails")
    func bits() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store, compression: 3)
        let text = ExtentContent.text(Self.extent)
        #expect(family.put(text, at: 0) == .done(Self.extent))
        #expect(family.checkpoint() == 0)
        let units = (0..<16).map { family.entry($0) }.filter(\.ownsUnit).map { Int($0.unit) }
        #expect(units.count > 2 && units.count < 14)
        var random = SeededRandom(seed: 1)
        var failures = 0
        for unit in units {
            for byte in stride(from: 0, to: 4096, by: Effort.isFull ? 1 : 37) {
                var damaged = store.content
                damaged.flip(bit: Int.random(in: 0..<8, using: &random), ofByte: unit * 4096 + byte)
                let opened = try DiskFamily.open(RecordingStore(damaged, keepsHistory: false))
                let found = opened.content(1, at: 0, count: Self.extent)
                let isSound = found.isEmpty || found == text
                #expect(isSound)
                if found.isEmpty { failures += 1 }
            }
        }
        #expect(failures > 100)
        // A part of it is not to be had either, and not to be written; all of it is.
        var damaged = store.content
        damaged.flip(bit: 0, ofByte: units[1] * 4096 + 5)
        let opened = try DiskFamily.open(RecordingStore(damaged, keepsHistory: false))
        #expect(opened.content(1, at: 512, count: 512).isEmpty)
        var sector = [UInt8](repeating: 0, count: 512)
        let result = sector.modifyBytes { opened.read(1, into: &$0, at: 512) }
        #expect(result == .failed(MediaFailure.corruptNumber))
        #expect(opened.fill(1, 1, at: 4096, count: 512) == .failed(MediaFailure.corruptNumber))
        #expect(opened.discard(1, at: 4096, length: 512) == .failed(MediaFailure.corruptNumber))
        #expect(opened.put(text, at: 0) == .done(Self.extent))
        #expect(opened.has(text))
    }

    @Test("Another extent in its place is found")
    func misplaced() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store, compression: 3)
        #expect(family.put(ExtentContent.text(Self.extent), at: 0) == .done(Self.extent))
        #expect(family.put(ExtentContent.text(Self.extent, seed: 1), at: Self.extent) == .done(Self.extent))
        #expect(family.checkpoint() == 0)
        var image = store.content
        let (from, to) = (Int(family.entry(16).unit), Int(family.entry(0).unit))
        let count = (0..<16).count { family.entry(UInt64($0)).ownsUnit }
        for unit in 0..<count {
            var bytes = [UInt8](repeating: 0, count: 4096)
            bytes.modifyBytes { span in _ = store.content.read(into: &span, at: (from + unit) * 4096) }
            image.write(bytes, from: 0, to: 4096, at: (to + unit) * 4096)
        }
        let opened = try DiskFamily.open(RecordingStore(image, keepsHistory: false))
        #expect(opened.content(1, at: 0, count: Self.extent).isEmpty)
        #expect(!opened.content(1, at: Int64(Self.extent), count: Self.extent).isEmpty)
    }

    @Test("Reactors read and overwrite what is plain, and leave the rest to the lane")
    func reactors() throws {
        let family = try family()
        let pool = BufferPool(limit: 8 << 20)
        #expect(family.put(ExtentContent.text(Self.extent), at: 0) == .done(Self.extent))
        #expect(family.put(ExtentContent.noise(Self.extent), at: Self.extent) == .done(Self.extent))
        for _ in 0..<2 { #expect(family.flush() == 0) }
        func read(at offset: Int, _ count: Int = 4096) throws -> FileResult {
            let pass = family.memory.grace.enter()
            defer { family.memory.grace.leave(pass) }
            var lease = try pool.required([UInt8](repeating: 0, count: count))
            return family.readCached(1, into: &lease, at: Int64(offset), count)
        }
        func write(at offset: Int, _ count: Int = 4096) -> DiskFamily.ReactorWrite {
            let pass = family.memory.grace.enter()
            defer { family.memory.grace.leave(pass) }
            return family.writeCached(1, ExtentContent.noise(count, seed: 9).rawSpan, at: Int64(offset))
        }
        #expect(try read(at: 0) == .wouldBlock)
        #expect(try read(at: 15 * 4096) == .wouldBlock, "a part that owns no unit")
        #expect(try read(at: Self.extent - 4096, 8192) == .wouldBlock)
        #expect(try read(at: 2 * Self.extent - 4096, 8192) == .done(8192))
        #expect(write(at: 4096) == .wouldBlock)
        #expect(write(at: Self.extent + 4096) == .done)
        #expect(write(at: Self.extent, Self.extent) == .wouldBlock)
        #expect(write(at: 2 * Self.extent + 4096) == .done)
        #expect(family.has(ExtentContent.noise(4096, seed: 9), at: Self.extent + 4096))
        #expect(family.has(ExtentContent.noise(4096, seed: 9), at: 2 * Self.extent + 4096))
    }

    @Test("Many threads write parts of the same extents, each its own units")
    func threads() throws {
        let store = SimulatedStore()
        let family = try family(store)
        let text = ExtentContent.text(2 * Self.extent)
        #expect(family.put(text, at: 0) == .done(2 * Self.extent))
        let wrong = Lock<[String]>([])
        try withThreads { start in
            for thread in 0..<4 {
                try start {
                    var random = SeededRandom(seed: UInt64(thread))
                    for round in 0..<60 {
                        let unit = thread + 4 * Int.random(in: 0..<8, using: &random)
                        let value = UInt8(1 + (round + 50 * thread) % 250)
                        if family.fill(1, value, at: Int64(unit) * 4096, count: 4096) != .done(4096) {
                            wrong.withLock { $0.append("write") }
                        }
                        let found = family.content(1, at: Int64(unit) * 4096, count: 4096)
                        if found != [UInt8](repeating: value, count: 4096) {
                            wrong.withLock { $0.append("thread \(thread), round \(round), unit \(unit)") }
                        }
                    }
                }
            }
            for _ in 0..<20 { if family.flush() != 0 { wrong.withLock { $0.append("flush") } } }
        }
        #expect(wrong.withLock { $0 } == [])
        #expect(family.checkpoint() == 0)
        #expect(family.check() == [])
        #expect(
            try DiskFamily.open(store).has(family.content(1, at: 0, count: 2 * Self.extent)))
    }
}

@Suite("What is stored of an extent")
struct ExtentCodecTests {
    private func superblock(level: Int) -> EpochSuperblock {
        var block = EpochSuperblock.beforeFirst(uuid: FamilyFixture.uuid, journalUnits: 64)
        block.compressionLevel = level
        return block
    }

    /// Puts a frame where `encode` puts it, with a right header, and decodes it.
    private func decode(_ frame: [UInt8], units: Int = 1, unit: UInt64 = 100) throws -> [UInt8]? {
        let codec = try #require(ExtentCodec(superblock(level: 3)))
        return try ExtentScratch.use { scratch throws(EpochFault) -> [UInt8]? in
            scratch.stored.modifyBytes { target in
                target.storeBE32(UInt32(frame.count), at: 0)
                target.store(frame.rawSpan, at: 8)
            }
            codec.seal(scratch, unit: unit)
            var content = [UInt8](repeating: 0xEE, count: ExtentContent.extent + 64)
            let isSound = content.modifyBytes { target in
                var part = target._mutatingExtracting(0..<ExtentContent.extent)
                return codec.decode(scratch, units: unit..<unit + UInt64(units), into: &part)
            }
            // Nothing is written behind its end.
            guard content[ExtentContent.extent...].allSatisfy({ $0 == 0xEE }) else { return [] }
            return isSound ? Array(content[..<ExtentContent.extent]) : nil
        } ?? []
    }

    /// The frame of `content`.
    private func frame(_ content: [UInt8], level: Int32 = 3) throws -> [UInt8] {
        let context = try #require(ZstdContext())
        var target = [UInt8](repeating: 0, count: content.count + 1024)
        let length = target.modifyBytes { context.compress(content.rawSpan, into: &$0, level: level) }
        return Array(target[..<(try #require(length))])
    }

    @Test("A frame of another length, of several, cut, with more behind, or of another kind is refused")
    func hostile() throws {
        let content = [UInt8](repeating: 7, count: ExtentContent.extent)
        let right = try frame(content)
        #expect(try decode(right) == content)
        for count in [0, 1, 4096, ExtentContent.extent - 1, ExtentContent.extent + 1, 16 << 20] {
            #expect(try decode(try frame([UInt8](repeating: 7, count: count))) == nil, "\(count) bytes")
        }
        #expect(try decode(right + right) == nil)
        #expect(try decode(right + [0]) == nil)
        #expect(try decode(Array(right.dropLast())) == nil)
        #expect(try decode([]) == nil)
        #expect(try decode([0x28, 0xB5, 0x2F, 0xFD]) == nil)
        // A frame to be skipped, then the right one; and the magic number of an older version.
        #expect(try decode([0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0] + right) == nil)
        #expect(try decode([0x27] + right.dropFirst()) == nil)
        // The right frame in more units than it needs.
        #expect(try decode(right, units: 2) == nil)
        var random = SeededRandom(seed: 3)
        for _ in 0..<(Effort.isFull ? 20_000 : 500) {
            var bytes = right
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 4..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let found = try decode(bytes)
            #expect(found == nil || found?.count == ExtentContent.extent)
        }
    }

    @Test("A length behind the units is refused")
    func lengths() throws {
        let codec = try #require(ExtentCodec(superblock(level: 3)))
        for length in [4089, 65_536, UInt32.max] as [UInt32] {
            _ = try ExtentScratch.use { scratch throws(EpochFault) in
                scratch.stored.modifyBytes { $0.storeBE32(length, at: 0) }
                var content = [UInt8](repeating: 0, count: ExtentContent.extent)
                #expect(!content.modifyBytes { codec.decode(scratch, units: 9..<10, into: &$0) })
            }
        }
    }

    @Test("Entries of an extent agree, or the page is damaged")
    func shapes() {
        func shape(_ entries: [MapEntry]) -> ExtentShape { ExtentShape { entries[$0] } }
        let rest = [MapEntry](repeating: .continuation(birth: 5), count: 13)
        let right = (0..<3).map { MapEntry.compressed(100 + $0, birth: 5) } + rest
        #expect(shape(right) == .compressed(ExtentPlace(units: 100..<103, entry: .compressed(100, birth: 5))))
        #expect(shape([MapEntry](repeating: .nothing, count: 16)) == .plain)
        #expect(shape((0..<16).map { MapEntry.data(100 + $0, birth: 1) }) == .plain)
        let wrong: [[MapEntry]] = [
            [MapEntry](repeating: .continuation(birth: 5), count: 16),
            (0..<16).map { MapEntry.compressed(100 + $0, birth: 5) },
            [.data(9, birth: 5)] + right.dropFirst(),
            Array(right.dropLast()) + [.nothing],
            Array(right.dropLast()) + [.continuation(birth: 6)],
            Array(right.dropLast()) + [.compressed(103, birth: 5)],
            [right[0], .compressed(102, birth: 5)] + right.dropFirst(2),
            [right[0], .compressed(101, birth: 4)] + right.dropFirst(2),
        ]
        for (number, entries) in wrong.enumerated() { #expect(shape(entries) == .broken, "case \(number)") }
        let words = (right + [MapEntry](repeating: .nothing, count: 496)).map(\.rawValue)
        let store = SimulatedStore()
        #expect(PageReader(store, superblock(level: 1)).firstBrokenExtent(words) == nil)
        #expect(PageReader(store, superblock(level: 0)).firstBrokenExtent(words) == 0, "without the feature")
        #expect(MapEntry(stored: right[0].rawValue) == right[0])
        #expect(MapEntry(stored: right[0].unconfirmed.rawValue) == nil)
        #expect(MapEntry(stored: 3 << 62 | 1) == nil)
    }

    @Test("The feature and the level of a superblock agree")
    func superblocks() throws {
        var block = superblock(level: 19)
        block.commit = 1
        block.nextNode = 2
        block.freeMap = .page(80, birth: 1, checksum: 1)
        block.nodeTable = .page(81, birth: 1, checksum: 1)
        block.coveredUnits = 100
        let encoded = block.encoded()
        #expect(EpochSuperblock.decode(encoded.rawSpan) == .valid(block))
        #expect(encoded[12..<16] == [0, 0, 0, 2])
        func changed(_ offset: Int, _ value: UInt8) -> EpochSuperblock.Copy {
            var bytes = block.encoded()
            bytes[offset] = value
            let checksum = CRC32C.checksum(bytes.rawSpan.extracting(0..<4092))
            bytes.modifyBytes { $0.storeBE32(checksum, at: 4092) }
            return EpochSuperblock.decode(bytes.rawSpan)
        }
        #expect(changed(15, 0) == .invalid)
        #expect(changed(79, 0) == .invalid)
        #expect(changed(79, 20) == .invalid)
        #expect(changed(15, 6) == .unknownFeatures(4))
    }

    @Test("A record of an extent is read as it was written, and only when it can be one")
    func records() {
        let record = JournalRecord.extent(head: 3, first: 0x320, unit: 0xC0D, count: 15, checksum: 7)
        var bytes = [UInt8](repeating: 0, count: 32)
        bytes.modifyBytes { record.encode(into: &$0, at: 0) }
        #expect(bytes[0] == 12)
        #expect(JournalRecord(bytes.rawSpan, at: 0, end: 32) == record)
        func changed(_ offset: Int, _ value: UInt8) -> JournalRecord? {
            var other = bytes
            other[offset] = value
            return JournalRecord(other.rawSpan, at: 0, end: 32)
        }
        #expect(changed(15, 0x21) == nil, "it does not begin with an extent")
        #expect(changed(27, 16) == nil)
        #expect(changed(27, 0) == nil)
        #expect(changed(8, 1) == nil)
        #expect(changed(16, 1) == nil)
    }
}
