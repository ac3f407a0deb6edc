internal import Bytes
internal import Platform
internal import Synchronization

/// A filter over the file of a family that keeps pages and drops data: units of data have a pattern, are not written,
/// and read as that pattern again. So a disk of which a terabyte is mapped takes the storage of its maps.
final class SparseStore: ByteStore {
    /// The byte that data consist of; no page begins with eight of them.
    static let pattern: UInt8 = 0xA5
    private static let unit: UInt64 = 4096
    private static let word = UInt64(pattern) * 0x0101_0101_0101_0101

    private let file: File
    /// Where units may be data, in bytes.
    private let poolStart: Int64
    private let length: Atomic<Int64>
    /// The units that were written as pages, which may be zeros.
    private let pages = Lock<Set<UInt64>>([])

    init(_ file: File, poolStart: Int64) throws {
        self.file = file
        self.poolStart = poolStart
        length = Atomic(try file.size())
    }

    private func isData(_ bytes: RawSpan, _ offset: Int64) -> Bool {
        offset >= poolStart && bytes.byteCount >= 8 && bytes.loadBE64(at: 0) == Self.word
    }

    func write(_ bytes: RawSpan, offset: Int64) -> FileResult {
        let end = offset + Int64(bytes.byteCount)
        guard isData(bytes, offset) else {
            let first = UInt64(offset) / Self.unit
            let units = first..<first + (UInt64(bytes.byteCount) + Self.unit - 1) / Self.unit
            if offset >= poolStart { pages.withLock { $0.formUnion(units) } }
            length.max(end, ordering: .relaxed)
            return file.write(bytes, offset: offset)
        }
        // A hole, within the file.
        if length.load(ordering: .relaxed) < end {
            length.max(end, ordering: .relaxed)
            let code = file.truncate(to: end)
            if code != 0 { return .failed(code) }
        }
        return .done(bytes.byteCount)
    }

    func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        guard header.byteCount == 0 else { return .failed(Errno.invalidArgument) }
        return write(lease.bytes.extracting(leaseOffset..<leaseOffset + count), offset: offset)
    }

    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        let result = file.read(into: &bytes, offset: offset, mode: mode)
        guard offset >= poolStart, case .done(let count) = result else { return result }
        let unit = Int(Self.unit)
        for place in stride(from: 0, to: count - count % unit, by: unit)
        where bytes.bytes.loadBE64(at: place) == 0 && bytes.bytes.extracting(place..<place + unit).isAllZero {
            let number = (UInt64(offset) + UInt64(place)) / Self.unit
            guard !pages.withLock({ $0.contains(number) }) else { continue }
            for index in place..<place + unit { bytes.store(byte: Self.pattern, at: index) }
        }
        return result
    }

    @_lifetime(header: copy header)
    func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int, offset: Int64,
        mode: ReadMode
    ) -> FileResult { .failed(Errno.notSupported) }

    func truncate(to length: Int64) -> Int32 {
        self.length.store(length, ordering: .relaxed)
        return file.truncate(to: length)
    }

    func synchronizeData() -> Int32 { file.synchronizeData() }
    func dropCached(from offset: Int64) { file.dropCached(from: offset) }
    var cacheProbeInterval: Int64 { file.cacheProbeInterval }
    func punchHole(at offset: Int64, length: Int64) -> Int32 { file.punchHole(at: offset, length: length) }
    func zeroRange(at offset: Int64, length: Int64) -> Int32 { file.zeroRange(at: offset, length: length) }
    func reserve(at offset: Int64, length: Int64) -> Int32 { file.reserve(at: offset, length: length) }
    func size() throws(SystemError) -> Int64 { try file.size() }
    func nextAllocated(from offset: Int64) -> Int64? { file.nextAllocated(from: offset) }
    func nextUnallocated(from offset: Int64) -> Int64? { file.nextUnallocated(from: offset) }
    var allocatedBytes: Int64? { file.allocatedBytes }
    func dropCache() { file.dropCache() }
}
