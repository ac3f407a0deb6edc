import Bytes
import DeviceTestSupport
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Media

/// A disk of a family in memory, and what reactors do with it.
private struct ReactorDisk {
    let store: any ByteStore
    let file: FamilyFile
    let image: EpochDiskImage
    let pool = BufferPool(limit: 8 << 20)

    init(_ store: any ByteStore, clock: MonotonicClock = .system) throws {
        self.store = store
        file = FamilyFile(store: store, family: try FamilyFixture.create(on: store), path: "test")
        image = try #require(EpochDiskImage(file: file, node: 1, engine: SimulatedEngine(), clock: clock))
    }

    /// Writes `count` bytes `value` without waiting.
    func write(_ value: UInt8, at offset: Int, count: Int, _ request: FileRequest? = nil) throws -> MediaResult {
        let command = request ?? FileRequest()
        if request == nil { image.beginWriting(command) }
        let lease = try pool.required([UInt8](repeating: value, count: count))
        return image.writeCached(
            from: lease, at: 0, first: UInt64(offset / 512), blocks: UInt64(count / 512), for: command)
    }

    /// What is read without waiting; none when that is not possible.
    func read(at offset: Int, count: Int) throws -> [UInt8] {
        var lease = try pool.required([UInt8](repeating: 0xEE, count: count))
        let result = image.readCached(into: &lease, first: UInt64(offset / 512), blocks: UInt64(count / 512))
        return result == .done ? lease.copyToArray() : []
    }

    /// Everything that was written may be overwritten in place.
    func settle() {
        for _ in 0..<2 { #expect(file.flush() == 0) }
    }

    func snapshot(_ name: String) throws -> UInt32 {
        try file.snapshot([1], names: [name], time: FamilyFixture.time())[0]
    }

    func content(_ node: UInt32, at offset: Int, count: Int) -> [UInt8] {
        file.withFamily { $0.content(node, at: Int64(offset), count: count) }
    }

    var usedUnits: UInt64 { file.withFamily { $0.usedUnits } }
}

/// A clock that a test moves.
private final class MovedClock: Sendable {
    private let nanoseconds = Atomic<Int64>(1_000_000_000)

    var clock: MonotonicClock {
        MonotonicClock { [self] in MonotonicTime(nanoseconds: nanoseconds.load(ordering: .relaxed)) }
    }

    func move(by duration: Int64) { nanoseconds.add(duration, ordering: .relaxed) }
}

@Suite("A disk with snapshots, on reactors")
struct EpochReactorTests {
    private static func bytes(_ parts: (UInt8, Int)...) -> [UInt8] {
        parts.flatMap { [UInt8](repeating: $0.0, count: $0.1) }
    }

    @Test("What was written is read without waiting, from any place, and what was not is zeros")
    func reading() throws {
        let disk = try ReactorDisk(SimulatedStore())
        #expect(try disk.read(at: 0, count: 8192) == Self.bytes((0, 8192)))
        #expect(disk.file.withFamily { $0.fill(1, 1, at: 4096, count: 8192) } == .done(8192))
        #expect(disk.file.withFamily { $0.fill(1, 2, at: 8192, count: 512) } == .done(512))
        let expected = Self.bytes((0, 512), (1, 4096), (2, 512), (1, 3584), (0, 512))
        #expect(try disk.read(at: 3584, count: 9216) == expected)
        #expect(try disk.read(at: (8 << 20) - 512, count: 512) == Self.bytes((0, 512)))
    }

    @Test("First writes of whole units are new versions, and what is confirmed is overwritten in place")
    func writing() throws {
        let disk = try ReactorDisk(SimulatedStore())
        #expect(try disk.write(1, at: 8192, count: 8192) == .done)
        #expect(try disk.read(at: 4096, count: 16384) == Self.bytes((0, 4096), (1, 8192), (0, 4096)))
        let used = disk.usedUnits
        // Not in place yet, so not for a part of a unit.
        #expect(try disk.write(2, at: 8192, count: 512) == .wouldBlock)
        #expect(try disk.write(2, at: 8192, count: 4096) == .done)
        #expect(disk.usedUnits == used)
        disk.settle()
        #expect(try disk.write(3, at: 8704, count: 4096) == .done)
        let expected = Self.bytes((2, 512), (3, 4096), (1, 3584))
        #expect(try disk.read(at: 8192, count: 8192) == expected)
        #expect(disk.file.flush() == 0)
        #expect(disk.file.withFamily { $0.check() } == [])
        let opened = try DiskFamily.open(disk.store)
        #expect(opened.content(1, at: 8192, count: 8192) == expected)
    }

    @Test("A snapshot keeps what was written before, and what is written after it is a new version")
    func snapshots() throws {
        let disk = try ReactorDisk(SimulatedStore())
        #expect(try disk.write(1, at: 0, count: 16384) == .done)
        disk.settle()
        let first = try disk.snapshot("first")
        let used = disk.usedUnits
        #expect(try disk.write(2, at: 4096, count: 512) == .wouldBlock)
        #expect(try disk.write(2, at: 4096, count: 4096) == .done)
        #expect(disk.usedUnits == used + 1)
        disk.settle()
        #expect(try disk.write(3, at: 4096, count: 512) == .done)
        // In place and new at once is for the lane.
        #expect(try disk.write(4, at: 4096, count: 8192) == .wouldBlock)
        #expect(disk.content(first, at: 0, count: 16384) == Self.bytes((1, 16384)))
        #expect(try disk.read(at: 0, count: 12288) == Self.bytes((1, 4096), (3, 512), (2, 3584), (1, 4096)))
        #expect(disk.file.withFamily { $0.check() } == [])
    }

    @Test("Zeros need no storage, so the lane writes them")
    func zeros() throws {
        let disk = try ReactorDisk(SimulatedStore())
        #expect(try disk.write(0, at: 0, count: 4096) == .wouldBlock)
        #expect(try disk.write(1, at: 0, count: 4096) == .done)
        disk.settle()
        #expect(try disk.write(0, at: 0, count: 4096) == .wouldBlock)
        #expect(try disk.write(0, at: 0, count: 512) == .done)
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((0, 512), (1, 3584)))
    }

    @Test("A region that is not in memory, and a command that has many pieces, are for the lane")
    func refusals() throws {
        let store = SimulatedStore()
        let disk = try ReactorDisk(store)
        let units = DiskFamily.reactorPieces + 1
        for unit in 0..<units {
            #expect(try disk.write(UInt8(unit + 1), at: (units - 1 - unit) * 4096, count: 4096) == .done)
        }
        #expect(try disk.read(at: 0, count: (units - 1) * 4096).count == (units - 1) * 4096)
        #expect(try disk.read(at: 0, count: units * 4096) == [])
        #expect(disk.image.close() == nil)
        let file = FamilyFile(store: store, family: try DiskFamily.open(store), path: "test")
        let image = try #require(EpochDiskImage(file: file, node: 1, engine: SimulatedEngine()))
        var lease = try disk.pool.required([UInt8](repeating: 0, count: 4096))
        #expect(image.readCached(into: &lease, first: 0, blocks: 8) == .wouldBlock)
        #expect(file.withFamily { $0.content(1, at: 0, count: 512) } == Self.bytes((UInt8(units), 512)))
        #expect(image.readCached(into: &lease, first: 0, blocks: 8) == .done)
    }

    @Test("A write that has begun before a loss is refused, and after it is acknowledged others are done")
    func losses() throws {
        let store = SimulatedStore()
        let disk = try ReactorDisk(store)
        #expect(try disk.write(1, at: 0, count: 4096) == .done)
        disk.settle()
        let old = FileRequest()
        disk.image.beginWriting(old)
        store.failSynchronizations(Errno.inputOutput)
        #expect(try disk.write(2, at: 4096, count: 4096) == .done)
        #expect(disk.file.flush() == Errno.inputOutput)
        // The lane finds out what may be read.
        #expect(try disk.read(at: 4096, count: 4096) == [])
        let failed = MediaResult.failed(.device(Errno.inputOutput))
        #expect(try disk.write(3, at: 0, count: 4096, old) == failed)
        #expect(try disk.write(3, at: 0, count: 4096) == failed)
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((1, 4096)))
        store.failSynchronizations(0)
        #expect(disk.file.acknowledgeLoss() == nil)
        #expect(try disk.write(3, at: 0, count: 4096, old) == failed)
        // Another opening has taken the place of the former.
        #expect(disk.content(1, at: 0, count: 512) == Self.bytes((1, 512)))
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((1, 4096)))
        #expect(try disk.write(4, at: 0, count: 4096) == .done)
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((4, 4096)))
    }

    @Test("While the door is closed everything is for the lane")
    func door() throws {
        let disk = try ReactorDisk(SimulatedStore())
        disk.file.door.close()
        #expect(try disk.write(1, at: 0, count: 4096) == .wouldBlock)
        #expect(try disk.read(at: 0, count: 4096) == [])
        disk.file.door.open()
        #expect(try disk.write(1, at: 0, count: 4096) == .done)
    }

    @Test("While data go past the page cache everything is for the lane")
    func direct() throws {
        let folder = try TemporaryFolder()
        let disk = try ReactorDisk(try File.open(path: folder.file("disk"), [.readWrite, .create]))
        let clock = MonotonicClock.system
        disk.image.noteWrite(at: clock.now.nanoseconds)
        #expect(disk.file.withFamily { $0.fill(1, 1, at: 0, count: 4096) } == .done(4096))
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((1, 4096)))
        do throws(DiskImageError) {
            try disk.image.setDirect(true)
        } catch {
            // A file system without such a way.
            return
        }
        #expect(try disk.read(at: 0, count: 4096) == [])
        disk.image.noteWrite(at: clock.now.nanoseconds)
        #expect(try disk.write(2, at: 0, count: 4096) == .wouldBlock)
        try disk.image.setDirect(false)
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((1, 4096)))
        disk.image.noteWrite(at: clock.now.nanoseconds)
        #expect(try disk.write(2, at: 0, count: 4096) == .done)
    }

    @Test("A file system that has taken no write for some time gets the next one from the lane")
    func stalls() throws {
        let folder = try TemporaryFolder()
        let store = try File.open(path: folder.file("disk"), [.readWrite, .create])
        let clock = MovedClock()
        let disk = try ReactorDisk(store, clock: clock.clock)
        #expect(try disk.write(1, at: 0, count: 4096) == .wouldBlock)
        disk.image.noteWrite(at: clock.clock.now.nanoseconds)
        #expect(try disk.write(1, at: 0, count: 4096) == .done)
        clock.move(by: RawDiskImage.inlineWriteWindow + 1)
        #expect(try disk.write(1, at: 0, count: 4096) == .wouldBlock)
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((1, 4096)))
    }

    @Test("What writes on reactors make due is done in the background")
    func upkeep() throws {
        let disk = try ReactorDisk(SimulatedStore())
        // Each its own record, more than the journal has room for.
        for round in 0..<4 {
            for unit in 0..<2048 {
                let place = unit * 1021 % 2048 * 4096
                if try disk.write(UInt8(round + 1), at: place, count: 4096) == .done { continue }
                let result = disk.file.withFamily { $0.fill(1, UInt8(round + 1), at: Int64(place), count: 4096) }
                #expect(result == .done(4096))
            }
        }
        #expect(try disk.read(at: 0, count: 4096) == Self.bytes((4, 4096)))
        #expect(disk.file.flush() == 0)
        #expect(disk.file.withFamily { $0.check() } == [])
    }
}
