internal import Bytes
public import Platform

/// A file in memory without a name, with its notes in memory too: all of it ends with the last reference. Nothing is
/// durable, so nothing waits for a device.
final class MemoryStore: ByteStore {
    private let file: File
    private let notes = Lock<[StoreNoteKey: [UInt8]]>([:])

    /// Over a file in memory.
    init(_ file: File) { self.file = file }

    // MARK: Payload

    @_lifetime(header: copy header)
    func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
        file.read(header: &header, into: &lease, at: leaseOffset, count: count, offset: offset, mode: mode)
    }

    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        file.read(into: &bytes, offset: offset, mode: mode)
    }

    func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        file.write(header: header, from: lease, at: leaseOffset, count: count, offset: offset)
    }

    func write(_ bytes: RawSpan, offset: Int64) -> FileResult { file.write(bytes, offset: offset) }

    func writeCached(_ bytes: RawSpan, offset: Int64) -> FileResult { file.writeCached(bytes, offset: offset) }

    // MARK: Storage

    func truncate(to length: Int64) -> Int32 { file.truncate(to: length) }
    func punchHole(at offset: Int64, length: Int64) -> Int32 { file.punchHole(at: offset, length: length) }
    func zeroRange(at offset: Int64, length: Int64) -> Int32 { file.zeroRange(at: offset, length: length) }
    func reserve(at offset: Int64, length: Int64) -> Int32 { file.reserve(at: offset, length: length) }
    func size() throws(SystemError) -> Int64 { try file.size() }
    func nextAllocated(from offset: Int64) -> Int64? { file.nextAllocated(from: offset) }
    func nextUnallocated(from offset: Int64) -> Int64? { file.nextUnallocated(from: offset) }
    var allocatedBytes: Int64? { file.allocatedBytes }
    var cacheProbeInterval: Int64 { file.cacheProbeInterval }

    // MARK: What there is no device for

    func synchronizeData() -> Int32 { 0 }
    func dropCached(from offset: Int64) {}

    // MARK: Notes

    func note(_ key: StoreNoteKey) throws(SystemError) -> [UInt8]? { notes.withLock { $0[key] } }

    func setNote(_ key: StoreNoteKey, _ bytes: [UInt8]?) -> Int32 {
        notes.withLock { $0[key] = bytes }
        return 0
    }

    /// What it was when it was written last.
    var status: FileStatus? { try? file.status() }
}

extension RawDiskImage {
    /// Where files in memory are made: the host's memory, as far as this file system may take it.
    public static let memoryFolder = "/dev/shm"

    /// Makes a disk of zeros whose content is in the host's memory only, and ends with the object; `name` is for
    /// messages. There is neither a journal for atomic writes nor protection information. Throws where `folder` has no
    /// files in memory without a name.
    public static func createInMemory(
        name: String, capacity: Int64, blockSize: Int, engine: any MediumEngine, folder: String = memoryFolder
    ) throws(DiskImageError) -> RawDiskImage {
        try checkLength(name, capacity, blockSize)
        let file: File
        do throws(SystemError) {
            file = try File.open(path: folder, [.readWrite, .unnamed], writePieceLength: writePieceLength)
            guard !file.canStall else {
                throw SystemError(code: Errno.notSupported, operation: "keep a disk in memory in", path: folder)
            }
            let code = file.truncate(to: capacity)
            guard code == 0 else { throw SystemError(code: code, operation: "make a disk in memory in", path: folder) }
        } catch {
            throw .system(error)
        }
        return RawDiskImage(
            store: MemoryStore(file), engine: engine, path: name, blockSize: blockSize, capacity: capacity)
    }

    /// Of a disk in memory, what changes with each write; nil of others.
    public var memoryStatus: FileStatus? { (store as? MemoryStore)?.status }
}
