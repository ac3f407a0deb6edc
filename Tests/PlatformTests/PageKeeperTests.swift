import Bytes
import Glibc
import TestSupport
import Testing

@testable import Platform

private let extent = FileWindow.extentLength
private let piece = 65536

/// Whether the process may lock as much memory as the tests keep.
private let mayLockMemory: Bool = {
    guard let lease = BufferPool(limit: 2 * extent).lease(capacity: 2 * extent) else { return false }
    // Safe: the lease's own memory, all of it; unmapping it ends the lock.
    return unsafe lease.withUnsafeMutableMemory { memory in unsafe mlock(memory.baseAddress, memory.count) == 0 }
}()

extension Trait where Self == ConditionTrait {
    /// The test needs pages that are kept.
    fileprivate static var locksMemory: Self {
        .enabled(if: mayLockMemory, "the process may not lock 4 MiB of memory (RLIMIT_MEMLOCK)")
    }
}

/// Expects that `condition` holds before ten seconds are over.
private func soon(at location: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool) rethrows {
    let deadline = MonotonicTime.current() + .seconds(10)
    while try !condition() {
        guard MonotonicTime.current() < deadline else {
            Issue.record("the wait was in vain", sourceLocation: location)
            return
        }
        sleepMilliseconds(1)
    }
}

/// Where reads of a piece begin that go over the extents once, by turns.
private func onePass(_ extents: Range<Int>) -> [Int] {
    stride(from: 0, to: extent, by: piece).flatMap { start in extents.map { $0 * extent + start } }
}

/// Bytes that repeat after a prime number of them, so that no two pages are the same.
private func pattern(_ length: Int, seed: UInt64 = 1) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    let period = random.bytes(4093)
    var bytes: [UInt8] = []
    while bytes.count < length { bytes += period }
    return Array(bytes.prefix(length))
}

/// A file of a pattern and what it should hold now.
private final class Sample {
    private let place = TemporaryPath()
    private let pool = BufferPool(limit: 1 << 20)
    let file: File
    var contents: [UInt8]

    init(length: Int, keeper: PageKeeper? = nil) throws {
        let made = try File.open(path: place.path, [.readWrite, .create, .exclusive])
        let bytes = pattern(length)
        #expect(made.write(bytes.rawSpan, fileOffset: 0) == .done(length))
        file = try File.open(path: place.path, .readWrite, writePieceLength: 8192, pageKeeper: keeper)
        contents = bytes
    }

    /// Reads from the page cache if that can be, as a device does.
    func read(_ offset: Int, _ count: Int) throws -> (result: FileResult, bytes: [UInt8]) {
        var lease = try pool.required(count)
        var result = file.readCached(into: &lease, at: 0, count: count, fileOffset: Int64(offset))
        if result == .wouldBlock {
            result = file.read(into: &lease, at: 0, count: count, fileOffset: Int64(offset))
        }
        return (result, lease.copyToArray())
    }

    /// Reads the extents twice over.
    func warm(_ extents: Range<Int>) throws {
        for offset in onePass(extents) + onePass(extents) { _ = try read(offset, piece) }
    }

    /// Expects that a read gives just what the file should hold there.
    func check(_ offset: Int, _ count: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let (result, bytes) = try read(offset, count)
        let isExpected = result == .done(count) && bytes == part(offset, count)
        #expect(isExpected, "\(count) bytes at \(offset): \(result)", sourceLocation: sourceLocation)
    }

    func part(_ offset: Int, _ count: Int) -> [UInt8] { Array(contents[offset..<offset + count]) }

    func write(_ bytes: [UInt8], at offset: Int) {
        #expect(file.write(bytes.rawSpan, fileOffset: Int64(offset)) == .done(bytes.count))
        contents.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
}

extension FileWindow {
    /// The bytes that are copied; nil when not all of them are kept.
    fileprivate func bytes(_ offset: Int, _ count: Int = piece) throws -> [UInt8]? {
        var lease = try BufferPool(limit: 1 << 20).required(count)
        let isCopied = unsafe lease.withUnsafeMutableMemory { memory in
            // Safe: the lease has room for `count` bytes.
            unsafe self.copy(count, at: Int64(offset), to: memory.baseAddress!)
        }
        guard isCopied else { return nil }
        lease.setCount(count)
        return lease.copyToArray()
    }

    /// Reads the extents twice over.
    fileprivate func warm(_ extents: Range<Int>) throws {
        for offset in onePass(extents) + onePass(extents) { _ = try bytes(offset) }
    }
}

/// Runs `body` with a keeper, a file that is opened without it, and a window onto that file.
private func withWindow(
    limit: Int = 4 * extent, idleDuration: Duration = .seconds(10), length: Int = 2 * extent,
    _ body: (PageKeeper, Sample, FileWindow) throws -> Void
) throws {
    let keeper = try PageKeeper(limit: limit, idleDuration: idleDuration)
    defer { keeper.stop() }
    let sample = try Sample(length: length)
    let descriptor = sample.file.fileDescriptor
    let window = try #require(FileWindow(fileDescriptor: descriptor, length: length, keeper: keeper))
    defer { window.close() }
    try body(keeper, sample, window)
}

/// A file of two extents, both kept, and its keeper, to be stopped at the end.
private func keptSample() throws -> (PageKeeper, Sample) {
    let keeper = try PageKeeper(limit: 4 * extent)
    let sample = try Sample(length: 2 * extent, keeper: keeper)
    try sample.warm(0..<2)
    soon { keeper.keptBytes == 2 * extent }
    return (keeper, sample)
}

/// One at a time: together they might lock more than the process may.
@Suite("Page keeper", .serialized)
struct PageKeeperTests {
    @Test("What was read twice over is kept and read as it is, also unaligned and across extents", .locksMemory)
    func reading() throws {
        let (keeper, sample) = try keptSample()
        defer { keeper.stop() }
        for offset in onePass(0..<2) { try sample.check(offset, piece) }
        try sample.check(extent - piece / 2, piece)
        try sample.check(extent - 777, 1555)
        try sample.check(4095, 4098)
        try sample.check(2 * extent - 1, 1)
        let (result, bytes) = try sample.read(2 * extent - 100, 200)
        #expect(result == .done(100))
        #expect(bytes == sample.part(2 * extent - 100, 100))
    }

    @Test("What is written or freed later is what reads give", .locksMemory)
    func writing() throws {
        let (keeper, sample) = try keptSample()
        defer { keeper.stop() }
        sample.write(pattern(5000, seed: 2), at: extent - 1234)
        try sample.check(extent - piece / 2, piece)
        // Longer than a piece of a write, in one extent and across two.
        sample.write(pattern(40000, seed: 5), at: 1 << 20)
        try sample.check((1 << 20) - 100, piece)
        sample.write(pattern(40000, seed: 6), at: extent - 20001)
        try sample.check(extent - piece / 2, piece)
        let status = sample.file.punchHole(at: 8192, length: 40960)
        #expect(status == 0)
        sample.contents.replaceSubrange(8192..<49152, with: [UInt8](repeating: 0, count: 40960))
        try sample.check(0, piece)
        sample.write(pattern(4096, seed: 3), at: 12288)
        try sample.check(0, piece)
        #expect(keeper.keptBytes == 2 * extent)
    }

    @Test("An extent is kept after it was read twice over, not before", .locksMemory)
    func asking() throws {
        try withWindow { keeper, sample, window in
            // Both once and the second again; the first lacks one piece.
            for offset in onePass(0..<2) + onePass(0..<1).dropLast() + onePass(1..<2) {
                let isKept = try window.bytes(offset) != nil
                #expect(!isKept, "at \(offset)")
            }
            // Requests are served in their order: the first extent, had it asked, would be kept before the second.
            soon { keeper.keptBytes == extent }
            let second = try window.bytes(extent)
            #expect(second == sample.part(extent, piece))
            let first = try window.bytes(0)
            #expect(first == nil)
            // That was the piece.
            soon { keeper.keptBytes == 2 * extent }
            let across = try window.bytes(extent - 100, 200)
            #expect(across == sample.part(extent - 100, 200))
        }
    }

    @Test("At the limit nothing more is kept, and what is kept stays", .locksMemory)
    func limit() throws {
        try withWindow(limit: extent) { keeper, sample, window in
            try window.warm(0..<1)
            soon { keeper.keptBytes == extent }
            #expect(keeper.hasRoom)
            try window.warm(1..<2)
            // The keeper has found no room.
            soon { !keeper.hasRoom }
            let (first, second) = (try window.bytes(0), try window.bytes(extent))
            #expect(first == sample.part(0, piece))
            #expect(second == nil)
            #expect(keeper.keptBytes == extent)
        }
    }

    @Test("An extent that nobody reads makes room for one that is read", .locksMemory)
    func idleness() throws {
        try withWindow(limit: extent, idleDuration: .milliseconds(20)) { keeper, sample, window in
            try window.warm(0..<1)
            soon { keeper.keptBytes == extent }
            var most = 0
            try soon {
                try window.warm(1..<2)
                most = max(most, keeper.keptBytes)
                return try window.bytes(extent) != nil
            }
            soon { keeper.keptBytes == extent }
            #expect(most <= extent)
            let (first, second) = (try window.bytes(0), try window.bytes(extent))
            #expect(first == nil)
            #expect(second == sample.part(extent, piece))
        }
    }

    @Test("An extent in use is not given up", .locksMemory)
    func use() throws {
        // Longer than this thread has to wait for a processor, and a third of the time for which the extent is in use.
        let idleDuration = Duration.milliseconds(500)
        try withWindow(limit: extent, idleDuration: idleDuration) { keeper, sample, window in
            try window.warm(0..<1)
            soon { keeper.keptBytes == extent }
            var (lost, gained) = (0, 0)
            let end = ContinuousClock.now + idleDuration * 3
            while ContinuousClock.now < end {
                for offset in onePass(1..<2) {
                    if try window.bytes(offset - extent, 4096) == nil { lost += 1 }
                    if try window.bytes(offset) != nil { gained += 1 }
                }
                #expect(keeper.keptBytes == extent)
                sleepMilliseconds(2)
            }
            #expect(lost == 0)
            #expect(gained == 0)
        }
    }

    @Test("A file that somebody cuts is read as far as it goes, and wholly when it has grown again", .locksMemory)
    func cutting() throws {
        let (keeper, sample) = try keptSample()
        defer { keeper.stop() }
        let other = try File.open(path: sample.file.path, .readWrite)
        #expect(other.truncate(to: Int64(extent)) == 0)
        try sample.check(extent - piece, piece)
        let (across, bytes) = try sample.read(extent - 4096, 8192)
        #expect(across == .done(4096))
        #expect(bytes == sample.part(extent - 4096, 4096))
        #expect(other.truncate(to: 0) == 0)
        for offset in [0, 4096, extent] {
            let beyond = try sample.read(offset, piece)
            #expect(beyond.result == .done(0))
        }
        sample.write(pattern(2 * extent, seed: 4), at: 0)
        for offset in onePass(0..<2) { try sample.check(offset, piece) }
    }

    @Test("An extent whose storage was freed is not kept until it is warm again", .locksMemory)
    func discarding() throws {
        try withWindow { keeper, sample, window in
            try window.warm(0..<2)
            soon { keeper.keptBytes == 2 * extent }
            window.discard(from: Int64(extent) + 4096, length: 1)
            let (first, second) = (try window.bytes(0), try window.bytes(extent))
            #expect(first == sample.part(0, piece))
            #expect(second == nil)
            try window.warm(1..<2)
            try soon { try window.bytes(extent) == sample.part(extent, piece) }
            #expect(keeper.keptBytes == 2 * extent)
            window.discard(from: 1, length: .max)
            for offset in onePass(0..<2) {
                let isKept = try window.bytes(offset) != nil
                #expect(!isKept, "at \(offset)")
            }
        }
    }

    @Test("The lock of a file goes with the file, whatever the keeper still has of it", .locksMemory)
    func lock() throws {
        let keeper = try PageKeeper(limit: 8 * extent)
        defer { keeper.stop() }
        let place = TemporaryPath()
        let made = try File.open(path: place.path, [.readWrite, .create, .exclusive])
        #expect(made.truncate(to: Int64(extent)) == 0)
        var file: File? = try File.open(path: place.path, .readWrite, pageKeeper: keeper)
        let isLocked = try file?.lock()
        #expect(isLocked == true)
        // A second mapping of the same opening stands for the one that the keeper's thread may have.
        let window = FileWindow(
            fileDescriptor: try #require(file?.fileDescriptor), length: extent, keeper: keeper)
        file = nil
        let again = try File.open(path: place.path, .readWrite)
        let isLockedAgain = try again.lock()
        #expect(isLockedAgain)
        window?.close()
    }

    @Test("Closing a file gives up what was kept of it and what it has asked for", .locksMemory)
    func closing() throws {
        let keeper = try PageKeeper(limit: 8 * extent)
        defer { keeper.stop() }
        var sample: Sample? = try Sample(length: 2 * extent, keeper: keeper)
        try sample?.warm(0..<2)
        soon { keeper.keptBytes == 2 * extent }
        sample = nil
        #expect(keeper.keptBytes == 0)
        // All four ask one after the other: the file closes before the keeper has come to each.
        sample = try Sample(length: 4 * extent, keeper: keeper)
        try sample?.warm(0..<4)
        sample = nil
        #expect(keeper.keptBytes == 0)
        // Requests are served in their order: when one more is, no earlier one is left.
        sample = try Sample(length: extent, keeper: keeper)
        try sample?.warm(0..<1)
        soon { keeper.keptBytes > 0 }
        sample = nil
        #expect(keeper.keptBytes == 0)
    }

    @Test("Beyond the limit of files, more are read without a window, until one closes")
    func files() throws {
        let keeper = try PageKeeper(limit: extent, idleDuration: .seconds(10), fileLimit: 2)
        defer { keeper.stop() }
        let sample = try Sample(length: extent)
        func window() -> FileWindow? {
            FileWindow(fileDescriptor: sample.file.fileDescriptor, length: extent, keeper: keeper)
        }
        var first = window()
        let second = window()
        #expect(first != nil && second != nil)
        #expect(window() == nil)
        first = nil
        #expect(window() != nil)
        second?.close()
    }

    @Test("A keeper that has stopped takes no requests, and reads are right")
    func stopping() throws {
        let keeper = try PageKeeper(limit: 4 * extent)
        let sample = try Sample(length: 2 * extent, keeper: keeper)
        keeper.stop()
        try sample.warm(0..<2)
        try sample.warm(0..<2)
        #expect(keeper.keptBytes == 0)
        for offset in onePass(0..<2) { try sample.check(offset, piece) }
    }

    @Test("A limit of nothing keeps nothing, and reads are right")
    func nothing() throws {
        let keeper = try PageKeeper(limit: 0)
        defer { keeper.stop() }
        let sample = try Sample(length: 2 * extent, keeper: keeper)
        try sample.warm(0..<2)
        // The keeper has found no room.
        soon { !keeper.hasRoom }
        #expect(keeper.keptBytes == 0)
        for offset in onePass(0..<2) { try sample.check(offset, piece) }
        try sample.check(extent - 777, 1555)
    }

    @Test("The last extent, shorter than others and no whole number of pages, is kept to its last byte", .locksMemory)
    func tail() throws {
        try withWindow(length: extent + 12345) { keeper, sample, window in
            try soon { try window.bytes(extent, 12345) == sample.part(extent, 12345) }
            let end = sample.contents.count
            let (last, beyond) = (try window.bytes(end - 1, 1), try window.bytes(end - 1, 2))
            #expect(last == sample.part(end - 1, 1))
            #expect(beyond == nil)
            try window.warm(0..<1)
            soon { keeper.keptBytes > extent }
            let across = try window.bytes(extent - 777, 13122)
            #expect(across == sample.part(extent - 777, 13122))
        }
    }
}
