public import Bytes
internal import CPlatform
internal import Synchronization

/// How a file is opened.
public struct FileOptions: OptionSet, Sendable {
    /// The bits.
    public let rawValue: Int32

    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// Reading only: no bit.
    public static let readOnly: FileOptions = []
    public static let readWrite = FileOptions(rawValue: 1)
    /// Creates the file when there is none.
    public static let create = FileOptions(rawValue: 2)
    /// With `create`: fails when the file exists. Without, of a block device: fails with `Errno.busy` while a file
    /// system or another exclusive opening has it, and keeps those away.
    public static let exclusive = FileOptions(rawValue: 4)
    /// Truncates the file to no bytes.
    public static let truncate = FileOptions(rawValue: 8)
    /// Every write is durable before it returns (O_DSYNC).
    public static let dataSynchronous = FileOptions(rawValue: 16)
    /// Fails unless the path is a directory (O_DIRECTORY).
    public static let directory = FileOptions(rawValue: 32)
    /// Fails with `Errno.isLink` when the path is a symbolic link (O_NOFOLLOW).
    public static let noFollow = FileOptions(rawValue: 64)
    /// Waits for nobody at the other end of a pipe (O_NONBLOCK); of a regular file it changes nothing.
    public static let nonBlocking = FileOptions(rawValue: 128)
    /// Makes a file without a name in the directory that the path is, to write (O_TMPFILE): `File.link` names it.
    /// Fails with EOPNOTSUPP, or EISDIR, where the file system has no such files.
    public static let unnamed = FileOptions(rawValue: 256)
}

/// The outcome of reading or writing a file: a value, for the data path.
public enum FileResult: Equatable, Sendable {
    /// The number of bytes; fewer than asked for only at the end of the file.
    case done(Int)
    /// The page cache does not hold all of it; nothing is promised about what was read.
    case wouldBlock
    /// The error number.
    case failed(Int32)
}

/// An open file or block device, with positional I/O; closed when it is released.
///
/// All methods may be called on any thread at the same time.
public final class File: Sendable {
    /// The path it was opened with.
    public let path: String
    let fileDescriptor: Int32
    /// Reading never waits for a device.
    let isInMemory: Bool
    /// Set once the file system has refused RWF_NOWAIT.
    private let lacksNoWait = Atomic<Bool>(false)
    /// Whether payload goes past the page cache; see `setDirect`.
    let isDirect = Atomic<Bool>(false)
    /// The file once more, opened for that; negative until then.
    let directDescriptor = Atomic<Int32>(-1)

    /// The most bytes of one system call of a plain write.
    private let writePieceLength: Int
    /// The parts of the file that are kept in memory.
    let window: FileWindow?

    private init(path: String, fileDescriptor: Int32, writePieceLength: Int, pageKeeper: PageKeeper?) {
        precondition(writePieceLength > 0, "a piece has bytes")
        self.path = path
        self.fileDescriptor = fileDescriptor
        self.writePieceLength = writePieceLength
        window = pageKeeper.flatMap { keeper in
            FileWindow(
                fileDescriptor: fileDescriptor, length: Int(cplatform_size(fileDescriptor)), keeper: keeper)
        }
        isInMemory = cplatform_is_in_memory(fileDescriptor) == 1
    }

    deinit {
        if let window {
            window.close()
            // The keeper may have the mapping for a moment longer, and that keeps the lock.
            _ = cplatform_unlock(fileDescriptor)
        }
        let direct = directDescriptor.load(ordering: .relaxed)
        if direct >= 0 { _ = cplatform_close(direct) }
        _ = cplatform_close(fileDescriptor)
    }

    /// Opens `path`; a file that is made gets `permissions` less the process's mask.
    ///
    /// `writePieceLength` bounds what one system call of a plain write hands to the kernel, in bytes. The page cache
    /// takes pages in units as large as the writes that first filled them, and ext4 (from Linux 6.16 on) walks through
    /// every block of such a unit at each later write to it: a file that is written at random later needs small pieces.
    /// Where `pageKeeper` keeps pages, they are there already, and writes go in one piece.
    ///
    /// `pageKeeper` keeps the hot parts of the file's present length in memory for `readCached`.
    public static func open(
        path: String, _ options: FileOptions = .readOnly, permissions: UInt32 = 0o600, writePieceLength: Int = .max,
        pageKeeper: PageKeeper? = nil
    ) throws(SystemError) -> File {
        let operation: StaticString = options.contains(.create) ? "create" : "open"
        let descriptor = try check(
            unsafe path.withCString { unsafe cplatform_open($0, options.rawValue, permissions) }, operation, path)
        return File(
            path: path, fileDescriptor: descriptor, writePieceLength: writePieceLength, pageKeeper: pageKeeper)
    }

    /// Makes the names in the directory `path` durable, after a file was made, renamed or removed there.
    public static func synchronizeDirectory(path: String) throws(SystemError) {
        let directory = try open(path: path, .directory)
        _ = try check(cplatform_synchronize(directory.fileDescriptor), "synchronize", path)
    }

    // MARK: Payload

    /// Reads `count` bytes from `fileOffset` on into `lease` at `offset` when the page cache holds them all; does not
    /// wait.
    ///
    /// `.done` with fewer bytes means the end of the file. The lease's `count` grows to cover what was read.
    public func readCached(into lease: inout BufferLease, at offset: Int, count: Int, fileOffset: Int64) -> FileResult {
        if isDirect.load(ordering: .relaxed) { return .wouldBlock }
        if let window, copy(from: window, into: &lease, at: offset, count: count, fileOffset: fileOffset) {
            return .done(count)
        }
        if isInMemory { return read(into: &lease, at: offset, count: count, fileOffset: fileOffset) }
        if lacksNoWait.load(ordering: .relaxed) { return .wouldBlock }
        return unsafe transfer(&lease, offset, count) { memory, done in
            let status = unsafe cplatform_read_cached(
                fileDescriptor, memory + done, count - done, fileOffset + Int64(done))
            if status == -Int(Errno.notSupported) {
                lacksNoWait.store(true, ordering: .relaxed)
                return -Int(Errno.wouldBlock)
            }
            return status
        }
    }

    /// Reads what the window has of the file; false when it has not all of it.
    private func copy(
        from window: FileWindow, into lease: inout BufferLease, at offset: Int, count: Int, fileOffset: Int64
    ) -> Bool {
        precondition(offset >= 0 && count >= 0 && offset + count <= lease.capacity, "a transfer fits its lease")
        let isCopied = unsafe lease.withUnsafeMutableMemory { memory in
            // Safe: the precondition keeps the transfer inside the lease.
            unsafe window.copy(count, at: fileOffset, to: memory.baseAddress! + offset)
        }
        if isCopied, offset + count > lease.count { lease.setCount(offset + count) }
        return isCopied
    }

    /// Reads `count` bytes from `fileOffset` on into `lease` at `offset`; may wait for the device.
    ///
    /// `.done` with fewer bytes means the end of the file. The lease's `count` grows to cover what was read.
    public func read(into lease: inout BufferLease, at offset: Int, count: Int, fileOffset: Int64) -> FileResult {
        unsafe transfer(&lease, offset, count) { memory, done in
            unsafe readDirectly(memory + done, count - done, fileOffset + Int64(done))
                ?? cplatform_read(fileDescriptor, memory + done, count - done, fileOffset + Int64(done))
        }
    }

    /// Fills `header` and then `count` bytes of `lease` at `offset` from `fileOffset` on, in one system call where the
    /// file system gives all at once. With `cached` it does not wait: `.wouldBlock` when the page cache lacks some of
    /// it.
    ///
    /// `.done` counts both; fewer bytes mean the end of the file. The lease's `count` grows to cover what was read.
    @_lifetime(header: copy header)
    public func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at offset: Int, count: Int, fileOffset: Int64,
        cached: Bool
    ) -> FileResult {
        let headerCount = header.byteCount
        let noWait = cached && !isInMemory
        if noWait, lacksNoWait.load(ordering: .relaxed) { return .wouldBlock }
        precondition(offset >= 0 && count >= 0 && offset + count <= lease.capacity, "a transfer fits its lease")
        let result = unsafe header.withUnsafeMutableBytes { first in
            unsafe lease.withUnsafeMutableMemory { second in
                Self.repeatUntilDone(headerCount + count) { done in
                    let headerDone = min(done, headerCount)
                    let payloadDone = done - headerDone
                    // Safe: both pieces stay inside their memory; a nil base goes with a length of 0.
                    let status = unsafe cplatform_read_pieces(
                        fileDescriptor, first.baseAddress.map { unsafe $0 + headerDone }, headerCount - headerDone,
                        second.baseAddress.map { unsafe $0 + offset + payloadDone }, count - payloadDone,
                        fileOffset + Int64(done), noWait ? 1 : 0)
                    return refusesNoWait(status, noWait) ? -Int(Errno.wouldBlock) : status
                }
            }
        }
        if case .done(let read) = result, read > headerCount, offset + read - headerCount > lease.count {
            lease.setCount(offset + read - headerCount)
        }
        return result
    }

    /// Whether the file system has just refused RWF_NOWAIT; remembers it.
    private func refusesNoWait(_ status: Int, _ noWait: Bool) -> Bool {
        guard noWait, status == -Int(Errno.notSupported) else { return false }
        lacksNoWait.store(true, ordering: .relaxed)
        return true
    }

    /// Repeats `step` with the lease's memory at `offset` until `count` bytes are done, the file ends or an error
    /// comes.
    private func transfer(
        _ lease: inout BufferLease, _ offset: Int, _ count: Int, _ step: (UnsafeMutableRawPointer, Int) -> Int
    ) -> FileResult {
        precondition(offset >= 0 && count >= 0 && offset + count <= lease.capacity, "a transfer fits its lease")
        let result = unsafe lease.withUnsafeMutableMemory { memory in
            // Safe: the precondition keeps the transfer inside the lease.
            let start = unsafe memory.baseAddress! + offset
            return Self.repeatUntilDone(count) { unsafe step(start, $0) }
        }
        if case .done(let read) = result, offset + read > lease.count { lease.setCount(offset + read) }
        return result
    }

    /// Writes `count` bytes of `lease` from `offset` on at `fileOffset`; may wait for the device.
    public func write(from lease: borrowing BufferLease, at offset: Int, count: Int, fileOffset: Int64) -> FileResult {
        write(lease.bytes.extracting(offset..<offset + count), fileOffset: fileOffset)
    }

    /// Writes `header` and then `count` bytes of `lease` from `offset` on, contiguously at `fileOffset`: one system
    /// call unless the file system takes less. `.done` counts both.
    public func write(
        header: RawSpan, from lease: borrowing BufferLease, at offset: Int, count: Int, fileOffset: Int64
    ) -> FileResult {
        let payload = lease.bytes.extracting(offset..<offset + count)
        let headerCount = header.byteCount
        return unsafe header.withUnsafeBytes { first in
            unsafe payload.withUnsafeBytes { second in
                Self.repeatUntilDone(headerCount + count) { done in
                    let headerDone = min(done, headerCount)
                    let payloadDone = done - headerDone
                    // Safe: both pieces stay inside their spans; a nil base goes with a length of 0.
                    return unsafe cplatform_write(
                        fileDescriptor, first.baseAddress.map { unsafe $0 + headerDone }, headerCount - headerDone,
                        second.baseAddress.map { unsafe $0 + payloadDone }, count - payloadDone,
                        fileOffset + Int64(done))
                }
            }
        }
    }

    // MARK: Spans

    /// Writes all of `bytes` at `fileOffset`; may wait for the device.
    public func write(_ bytes: RawSpan, fileOffset: Int64) -> FileResult {
        var pieceLength = writePieceLength
        if bytes.byteCount > pieceLength, let window, window.holds(bytes.byteCount, at: fileOffset) {
            pieceLength = .max
        }
        return unsafe bytes.withUnsafeBytes { buffer in
            Self.repeatUntilDone(buffer.count) { done in
                // Safe: the rest of the buffer from `done` on.
                let rest = unsafe buffer.baseAddress.map { unsafe $0 + done }
                return unsafe writeDirectly(rest, buffer.count - done, fileOffset + Int64(done))
                    ?? cplatform_write(
                        fileDescriptor, nil, 0, rest, min(buffer.count - done, pieceLength), fileOffset + Int64(done))
            }
        }
    }

    /// Fills `bytes` from `fileOffset` on; fewer only at the end of the file. May wait for the device.
    @_lifetime(bytes: copy bytes)
    public func read(into bytes: inout MutableRawSpan, fileOffset: Int64) -> FileResult {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            Self.repeatUntilDone(buffer.count) { done in
                guard let start = buffer.baseAddress else { return 0 }
                // Safe: the rest of the buffer from `done` on.
                return unsafe cplatform_read(
                    fileDescriptor, start + done, buffer.count - done, fileOffset + Int64(done))
            }
        }
    }

    /// Fills `bytes` from `fileOffset` on when the page cache holds them all; does not wait. Fewer only at the end of
    /// the file.
    @_lifetime(bytes: copy bytes)
    public func readCached(into bytes: inout MutableRawSpan, fileOffset: Int64) -> FileResult {
        if isInMemory { return read(into: &bytes, fileOffset: fileOffset) }
        if lacksNoWait.load(ordering: .relaxed) { return .wouldBlock }
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            Self.repeatUntilDone(buffer.count) { done in
                guard let start = buffer.baseAddress else { return 0 }
                // Safe: the rest of the buffer from `done` on.
                let status = unsafe cplatform_read_cached(
                    fileDescriptor, start + done, buffer.count - done, fileOffset + Int64(done))
                return refusesNoWait(status, true) ? -Int(Errno.wouldBlock) : status
            }
        }
    }

    /// Repeats `step` with the bytes done so far until `count` are done, it gives 0 (end of file) or an error.
    private static func repeatUntilDone(_ count: Int, _ step: (Int) -> Int) -> FileResult {
        var done = 0
        while done < count {
            let status = step(done)
            if status == 0 { break }
            if status < 0 {
                return status == -Int(Errno.wouldBlock) ? .wouldBlock : .failed(Int32(-status))
            }
            done += status
        }
        return .done(done)
    }

    // MARK: The file as a whole; each gives 0 or the error number

    /// Makes the data durable (fdatasync).
    public func synchronizeData() -> Int32 { -cplatform_synchronize_data(fileDescriptor) }

    /// Makes data and attributes durable (fsync).
    public func synchronize() -> Int32 { -cplatform_synchronize(fileDescriptor) }

    /// Drops what the page cache holds of the file from `offset` on and need not write back: the next read comes from
    /// the device. A hint, that file systems in memory ignore.
    public func dropCached(from offset: Int64) { _ = cplatform_drop_cached(fileDescriptor, offset) }

    /// Frees the storage of a range, which then reads as zeros; the length of the file stays. On a block device,
    /// discards.
    public func punchHole(at offset: Int64, length: Int64) -> Int32 {
        window?.discard(from: offset, length: length)
        return -cplatform_punch_hole(fileDescriptor, offset, length)
    }

    /// Makes a range read as zeros and keeps its storage; EOPNOTSUPP where the file system can't.
    public func zeroRange(at offset: Int64, length: Int64) -> Int32 {
        window?.discard(from: offset, length: length)
        return -cplatform_zero_range(fileDescriptor, offset, length)
    }

    /// As `zeroRange`, or as `allocate` where the file system has only that, as tmpfs.
    public func reserve(at offset: Int64, length: Int64) -> Int32 {
        let code = zeroRange(at: offset, length: length)
        return code == Errno.notSupported ? allocate(at: offset, length: length) : code
    }

    /// Reserves storage for a range.
    public func allocate(at offset: Int64, length: Int64) -> Int32 {
        -cplatform_allocate(fileDescriptor, offset, length)
    }

    /// Sets the length; what is added reads as zeros.
    public func truncate(to length: Int64) -> Int32 {
        window?.discard(from: length, length: .max)
        return -cplatform_truncate(fileDescriptor, length)
    }

    // MARK: Losses of written data

    /// What `noteLoss` has recorded with the file; nil when there is nothing, or the file system keeps nothing. Where
    /// that cannot be found out it is a loss, with the error number of the attempt.
    public var notedLoss: LossNote? {
        var seconds: Int64 = -1
        let errorNumber = unsafe cplatform_noted_loss(fileDescriptor, &seconds)
        guard errorNumber > 0 else { return nil }
        return LossNote(errorNumber: errorNumber, time: CalendarTime(seconds: seconds))
    }

    /// Records with the file, in an extended attribute, that written data were lost; nil removes the record. It waits
    /// for the device and gives 0 when that is durable, or when there is no record to remove; else the error number:
    /// EOPNOTSUPP where the file system keeps no attributes, EPERM for a block device.
    public func noteLoss(_ note: LossNote?) -> Int32 {
        -cplatform_note_loss(fileDescriptor, note?.errorNumber ?? 0, note?.time?.seconds ?? -1)
    }

    /// Asks the system to drop the file from its page cache. What is not written out, or kept by a page keeper, stays.
    public func dropCache() {
        window?.discard(from: 0, length: .max)
        cplatform_drop_cache(fileDescriptor)
    }

    // MARK: Questions

    /// The length in bytes of the file or block device.
    public func size() throws(SystemError) -> Int64 { try checked(cplatform_size(fileDescriptor), "get size of") }

    /// The bytes of storage that the file takes.
    public func allocatedSize() throws(SystemError) -> Int64 {
        try checked(cplatform_allocated_size(fileDescriptor), "get size of")
    }

    /// The free bytes of the file system that the file is on.
    public func freeSpace() throws(SystemError) -> Int64 {
        try checked(cplatform_free_space(fileDescriptor), "get free space of")
    }

    /// The first offset from `offset` on that has storage, whether it was written or only reserved; nil when none has.
    /// Where the file system cannot tell it may be anywhere.
    public func nextAllocated(from offset: Int64) -> Int64? {
        let found = cplatform_next_allocated(fileDescriptor, offset)
        if found == -Int64(Errno.noSuchAddress) { return nil }
        return found < 0 ? offset : found
    }

    /// The first offset from `offset` on that has no storage; the end of the file counts as such. Nil beyond the end.
    public func nextUnallocated(from offset: Int64) -> Int64? {
        let found = cplatform_next_unallocated(fileDescriptor, offset)
        return found < 0 ? nil : found
    }

    public var isBlockDevice: Bool { cplatform_is_block_device(fileDescriptor) == 1 }

    /// Locks the file for this opening of it, until it is closed; false when another opening, in this process or any,
    /// has a lock that excludes it. Needs `readWrite` when `exclusive`.
    public func lock(exclusive: Bool = true) throws(SystemError) -> Bool {
        let status = cplatform_lock(fileDescriptor, exclusive ? 1 : 0)
        if status == -Errno.wouldBlock { return false }
        _ = try check(status, "lock", path)
        return true
    }

    /// Gives the lock of this opening back before it is closed.
    public func unlock() { _ = cplatform_unlock(fileDescriptor) }

    private func checked(_ value: Int64, _ operation: StaticString) throws(SystemError) -> Int64 {
        if value < 0 { throw SystemError(code: Int32(-value), operation: operation, path: path) }
        return value
    }
}
