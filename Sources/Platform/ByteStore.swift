public import Bytes

/// Whether an operation may wait for the device.
public enum ReadMode: Sendable {
    /// Only what the page cache holds: answers at once, with `.wouldBlock` if something is missing.
    case cached
    /// Waits for the device; for worker threads and the control plane.
    case blocking
}

/// The bytes under a medium: what the formats of media need from a file, and no more.
///
/// `File` is the real one. Tests put a store in its place that fails at the n-th call or forgets what was
/// not synchronised. All methods may be called on any thread. Calls that give a number give 0 or an error number.
public protocol ByteStore: AnyObject, Sendable {
    /// Fills `header` and then `count` bytes of `lease` at `leaseOffset`; `.done` with fewer bytes means the end.
    @_lifetime(header: copy header)
    func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult
    /// Fills `bytes`; `.done` with fewer bytes means the end.
    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult
    /// Writes `header` and then `count` bytes of `lease` from `leaseOffset` on.
    func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult
    func write(_ bytes: RawSpan, offset: Int64) -> FileResult
    /// Writes all of `bytes` where that does not wait for the device; else `.wouldBlock`, and any part of them is
    /// written.
    func writeCached(_ bytes: RawSpan, offset: Int64) -> FileResult
    /// Makes everything that was written before the call durable.
    func synchronizeData() -> Int32
    /// The same with what `setNote` has recorded or removed.
    func synchronize() -> Int32
    /// Makes reads from `offset` on come from the device, as far as the host can.
    func dropCached(from offset: Int64)
    /// The distance between two questions whether a range is cached, in bytes; asking more often costs more than it
    /// saves.
    var cacheProbeInterval: Int64 { get }
    /// Sets the length.
    func truncate(to length: Int64) -> Int32
    /// Frees the storage of a range, which then reads as zeros.
    func punchHole(at offset: Int64, length: Int64) -> Int32
    /// Makes a range read as zeros and keeps its storage.
    func zeroRange(at offset: Int64, length: Int64) -> Int32
    /// Gives a range that has no content storage, where the file system can; it may be written without more then.
    func reserve(at offset: Int64, length: Int64) -> Int32
    /// The present length in bytes.
    func size() throws(SystemError) -> Int64
    /// The first offset from `offset` on that has storage; nil when none has.
    func nextAllocated(from offset: Int64) -> Int64?
    /// The first offset from `offset` on that has no storage; the end counts as such. Nil beyond the end.
    func nextUnallocated(from offset: Int64) -> Int64?
    /// The bytes of storage that the store takes; nil when that is not known.
    var allocatedBytes: Int64? { get }
    /// Whether the length cannot be changed.
    var hasFixedLength: Bool { get }
    /// Whether a write to what memory holds may wait all the same, because the file system does not take any for some
    /// time: while it is frozen, or its device or server does not answer.
    var canStall: Bool { get }
    /// What `noteLoss` has recorded; nil when there is nothing. That it cannot be found out is a loss too.
    var notedLoss: LossNote? { get }
    /// Records, for the next opening, that written data were lost; nil removes the record, and succeeds where there is
    /// none. Durable when it gives 0.
    func noteLoss(_ note: LossNote?) -> Int32
    /// What `setNote` has recorded under that key; nil when there is nothing, or the store keeps nothing.
    func note(_ key: StoreNoteKey) throws(SystemError) -> [UInt8]?
    /// Records `bytes` under that key beside the store, or removes what is there (nil), which succeeds where there is
    /// nothing. Durable after `synchronize`.
    func setNote(_ key: StoreNoteKey, _ bytes: [UInt8]?) -> Int32
    /// Has transfers that may wait go past the page cache, as far as that is possible, and no others take place; or
    /// ends that. Gives EINVAL or EOPNOTSUPP where there is no such way.
    func setDirect(_ isOn: Bool) -> Int32
    /// Gives up what memory holds of the bytes, so that the device is read again, as far as the system can do that.
    func dropCache()
}

/// Defaults, for stores in memory.
extension ByteStore {
    /// As `write`: memory does not wait.
    public func writeCached(_ bytes: RawSpan, offset: Int64) -> FileResult { write(bytes, offset: offset) }
    public func synchronize() -> Int32 { synchronizeData() }
    public func reserve(at offset: Int64, length: Int64) -> Int32 { zeroRange(at: offset, length: length) }
    public var allocatedBytes: Int64? { nil }
    public var hasFixedLength: Bool { false }
    public var canStall: Bool { false }
    public var notedLoss: LossNote? { nil }
    public func noteLoss(_ note: LossNote?) -> Int32 { 0 }
    public func note(_ key: StoreNoteKey) throws(SystemError) -> [UInt8]? { nil }
    public func setNote(_ key: StoreNoteKey, _ bytes: [UInt8]?) -> Int32 { bytes == nil ? 0 : Errno.notSupported }
    public func dropCache() {}
    public func setDirect(_ isOn: Bool) -> Int32 { isOn ? Errno.notSupported : 0 }
}

extension File: ByteStore {
    /// As `read(into:at:count:fileOffset:)`, `readCached(into:at:count:fileOffset:)` or
    /// `read(header:into:at:count:fileOffset:cached:)` do.
    @_lifetime(header: copy header)
    public func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
        if header.byteCount == 0 {
            return mode == .cached
                ? readCached(into: &lease, at: leaseOffset, count: count, fileOffset: offset)
                : read(into: &lease, at: leaseOffset, count: count, fileOffset: offset)
        }
        return read(
            header: &header, into: &lease, at: leaseOffset, count: count, fileOffset: offset, cached: mode == .cached)
    }

    /// As `read(into:fileOffset:)` or `readCached(into:fileOffset:)` do.
    @_lifetime(bytes: copy bytes)
    public func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        mode == .cached ? readCached(into: &bytes, fileOffset: offset) : read(into: &bytes, fileOffset: offset)
    }

    /// As `write(header:from:at:count:fileOffset:)` does.
    public func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        write(header: header, from: lease, at: leaseOffset, count: count, fileOffset: offset)
    }

    /// As `write(_:fileOffset:)` does.
    public func write(_ bytes: RawSpan, offset: Int64) -> FileResult { write(bytes, fileOffset: offset) }

    /// The bytes of storage; nil when the system does not say, as of block devices.
    public var allocatedBytes: Int64? {
        guard !isBlockDevice else { return nil }
        do { return try allocatedSize() } catch { return nil }
    }

    /// Whether it is a block device.
    public var hasFixedLength: Bool { isBlockDevice }

    /// Whether it is anything but a file in memory.
    public var canStall: Bool { !isInMemory }

    /// 16 MiB: a question costs a system call.
    public var cacheProbeInterval: Int64 { 16 << 20 }
}
