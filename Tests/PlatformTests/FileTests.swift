import Bytes
import Platform
import Synchronization
import TestSupport
import Testing

/// A file in a temporary place that is removed at the end.
struct TemporaryFile: ~Copyable {
    private let place = TemporaryPath()
    let file: File

    init(_ contents: [UInt8] = []) throws {
        file = try File.open(path: place.path, [.readWrite, .create, .exclusive])
        if !contents.isEmpty { #expect(file.write(contents.rawSpan, fileOffset: 0) == .done(contents.count)) }
    }
}

/// setxattr(2), which the Glibc module lacks.
@_silgen_name("setxattr")
private func setAttribute(
    _ path: UnsafePointer<CChar>, _ name: UnsafePointer<CChar>, _ value: UnsafeRawPointer, _ length: Int,
    _ flags: Int32
) -> Int32

@Suite("Calendar time")
struct CalendarTimeTests {
    @Test("It is a second from 1970 to 9999, and the clock's is one of them")
    func range() {
        #expect(CalendarTime(seconds: -1) == nil)
        #expect(CalendarTime(seconds: 0) != nil)
        #expect(CalendarTime(seconds: CalendarTime.limit) != nil)
        #expect(CalendarTime(seconds: CalendarTime.limit + 1) == nil)
        let time = CalendarTime.current()
        #expect(CalendarTime(seconds: time.seconds) == time)
        #expect(time.seconds > 1_700_000_000 && time <= .current())
    }
}

@Suite("File")
struct FileTests {
    @Test("Errors name the operation, the file and the reason")
    func errors() {
        let error = #expect(throws: SystemError.self) { _ = try File.open(path: "/nonexistent/file") }
        #expect(error?.description == "open /nonexistent/file: No such file or directory")
    }

    @Test("Reads end at the end of the file; the lease covers what was read")
    func shortReads() throws {
        let temporary = try TemporaryFile(Array(0..<100))
        let pool = BufferPool(limit: 1 << 20)
        var lease = try pool.required(4096)
        let whole = temporary.file.read(into: &lease, at: 8, count: 200, fileOffset: 90)
        #expect(whole == .done(10))
        #expect(lease.count == 18)
        let bytes = lease.bytes.extracting(8..<18).copyToArray()
        #expect(bytes == Array(90..<100))
        let beyond = temporary.file.read(into: &lease, at: 0, count: 10, fileOffset: 1000)
        #expect(beyond == .done(0))
    }

    @Test("Just written data is read without waiting, also across the end of the file")
    func cachedReads() throws {
        let temporary = try TemporaryFile([UInt8](repeating: 5, count: 10000))
        let pool = BufferPool(limit: 1 << 20)
        var lease = try pool.required(65536)
        let result = temporary.file.readCached(into: &lease, at: 0, count: 16384, fileOffset: 0)
        // A file system without RWF_NOWAIT may say that it would block; it must not say anything else.
        #expect(result == .done(10000) || result == .wouldBlock)
        if result == .done(10000) { #expect(lease.count == 10000) }
    }

    @Test("Header and payload are written contiguously")
    func headerAndPayload() throws {
        let temporary = try TemporaryFile()
        let pool = BufferPool(limit: 1 << 20)
        var lease = try pool.required(16)
        lease.assign([1, 2, 3, 4])
        let written = temporary.file.write(
            header: [9, 8].rawSpan, from: lease, at: 1, count: 3, fileOffset: 5)
        #expect(written == .done(5))
        var contents = [UInt8](repeating: 0xFF, count: 10)
        let read = contents.modifyBytes { temporary.file.read(into: &$0, fileOffset: 0) }
        #expect(read == .done(10))
        #expect(contents == [0, 0, 0, 0, 0, 9, 8, 2, 3, 4])
        let size = try temporary.file.size()
        #expect(size == 10)
    }

    @Test("A punched hole reads as zeros and frees storage; the length stays")
    func holes() throws {
        let temporary = try TemporaryFile([UInt8](repeating: 1, count: 1 << 20))
        let file = temporary.file
        #expect(file.synchronizeData() == 0)
        let before = try file.allocatedSize()
        let status = file.punchHole(at: 0, length: 1 << 19)
        #expect(status == 0)
        let after = try file.allocatedSize()
        let size = try file.size()
        #expect(after < before)
        #expect(size == 1 << 20)
        #expect(file.nextAllocated(from: 0) == 1 << 19)
        #expect(file.nextUnallocated(from: 1 << 19) == 1 << 20)
        #expect(file.truncate(to: 100) == 0)
        let free = try file.freeSpace()
        #expect(free > 0)
        #expect(!file.isBlockDevice)
    }

    @Test("Where a file system keeps no marks there is none, none can be set, and there is none to remove")
    func lossesWithoutAttributes() throws {
        // A device, as block devices are, and a file system without attributes.
        for path in ["/dev/null", "/proc/self/status"] {
            let file = try File.open(path: path)
            #expect(file.notedLoss == nil)
            #expect(file.noteLoss(LossNote(errorNumber: Errno.inputOutput, time: nil)) != 0)
            #expect(file.noteLoss(nil) == 0, "\(path)")
        }
    }

    @Test("A mark of a loss that cannot be read is a loss")
    func unreadableLoss() throws {
        let temporary = try TemporaryFile()
        let file = temporary.file
        #expect(file.notedLoss == nil && file.noteLoss(nil) == 0)
        let note = LossNote(errorNumber: Errno.noSpace, time: CalendarTime.current())
        #expect(file.noteLoss(note) == 0 && file.notedLoss == note)
        // Longer than any of ours.
        let value = [UInt8](repeating: 7, count: 64)
        try #require(unsafe setAttribute(file.path, "user.carousel.loss", value, value.count, 0) == 0)
        #expect(file.notedLoss == LossNote(errorNumber: Errno.inputOutput, time: nil))
        #expect(file.noteLoss(nil) == 0 && file.notedLoss == nil)
    }

    @Test("A second opening of the file cannot take its lock")
    func locks() throws {
        let temporary = try TemporaryFile()
        let second = try File.open(path: temporary.file.path, .readWrite)
        let (first, refused) = (try temporary.file.lock(), try second.lock())
        #expect(first)
        #expect(!refused)
    }
}
