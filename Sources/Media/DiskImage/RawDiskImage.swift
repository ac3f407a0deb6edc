public import Bytes
public import Platform

/// Why an image cannot be made, opened or resized: one sentence each.
public enum DiskImageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another opening of the image holds its lock.
    case inUse(path: String)
    /// There is a file of that name.
    case exists(path: String)
    /// There is no file of that name.
    case missing(path: String)
    /// The length is not a multiple of the block size, or not positive.
    case lengthMismatch(path: String, length: Int64, blockSize: Int)
    /// The file is shorter or longer than the disk that it should hold.
    case capacityMismatch(path: String, length: Int64, expected: Int64)
    /// A block device keeps its length.
    case fixedLength(path: String)
    /// A system call failed.
    case system(SystemError)

    /// The sentence.
    public var description: String {
        switch self {
        case .inUse(let path): "image \(path) is in use"
        case .exists(let path): "image \(path) exists already"
        case .missing(let path): "image \(path) does not exist"
        case .lengthMismatch(let path, let length, _) where length <= 0: "image \(path) is empty"
        case .lengthMismatch(let path, let length, let blockSize):
            "image \(path) is \(length) bytes long, not a multiple of \(blockSize)"
        case .capacityMismatch(let path, let length, let expected):
            "image \(path) is \(length) bytes long, but its disk has \(expected)"
        case .fixedLength(let path): "image \(path) is a block device and cannot be resized"
        case .system(let error): error.description
        }
    }

    init(_ error: SystemError, path: String) {
        switch error.code {
        case Errno.noSuchFile: self = .missing(path: path)
        case Errno.fileExists: self = .exists(path: path)
        default: self = .system(error)
        }
    }
}

/// A disk whose blocks lie one after another in a sparse file or on a block device, with no map.
///
/// Any thread may call any method at any time, except `resize`, which the owner does while no command runs. Ranges are
/// in bytes and must lie inside `capacity`: the device checks logical block addresses first (SBC-4 clause 4.5).
public final class RawDiskImage: Sendable {
    /// The block sizes that an image can have, in bytes.
    public static let blockSizes = [512, 4096]
    /// What one system call writes at most, in bytes, where no page keeper has the pages: it decides in which units the page
    /// cache holds the file. Measured on ext4: a 4 KiB write takes 1.3 µs into pages that were filled 4 KiB at a time, 1.6 at
    /// 8 KiB, 1.9 at 16 KiB, 4 at 64 KiB and 23 at 1 MiB. A later write of 64 KiB in one piece takes 7, 5.1 and 4.5 µs after
    /// pieces of 4, 8 and 16 KiB.
    static let writePieceLength = 8192

    /// The path of the file.
    public let path: String
    /// The bytes of a logical block.
    public let blockSize: Int
    /// For requests to the file engine; nil under test.
    public let file: File?
    private let store: any ByteStore
    private let length: AtomicLength

    init(store: any ByteStore, file: File?, path: String, blockSize: Int, capacity: Int64) {
        self.store = store
        self.file = file
        self.path = path
        self.blockSize = blockSize
        length = AtomicLength(capacity)
    }

    /// The bytes of the disk.
    public var capacity: Int64 { length.value }
    /// The number of logical blocks.
    public var blockCount: UInt64 { UInt64(capacity) / UInt64(blockSize) }

    // MARK: Opening

    /// Makes a sparse image of `capacity` bytes and opens it. Storage is not reserved: a full file system shows when
    /// blocks are written. The length and the name are durable on return.
    public static func create(path: String, capacity: Int64, blockSize: Int) throws(DiskImageError) -> RawDiskImage {
        try checkLength(path, capacity, blockSize)
        let file: File
        do throws(SystemError) {
            file = try File.open(
                path: path, [.readWrite, .create, .exclusive], writePieceLength: Self.writePieceLength)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
            for code in [file.truncate(to: capacity), file.synchronize()] where code != 0 {
                throw SystemError(code: code, operation: "resize", path: path)
            }
            try File.synchronizeDirectory(path: FilePath.directory(of: path))
        } catch {
            if error.code != Errno.fileExists { FilePath.remove(path) }
            throw DiskImageError(error, path: path)
        }
        return RawDiskImage(
            store: file, file: file, path: path, blockSize: blockSize, capacity: capacity)
    }

    /// Opens an image with an exclusive lock, which lasts as long as the object.
    ///
    /// With `expectedCapacity` the length must be just that; else the length is the capacity, if it is a whole number
    /// of blocks. With a `pageKeeper`, what is read most of the present length stays in memory.
    public static func open(
        path: String, blockSize: Int, expectedCapacity: Int64? = nil, pageKeeper: PageKeeper? = nil
    ) throws(DiskImageError) -> RawDiskImage {
        let file: File
        let length: Int64
        do throws(SystemError) {
            file = try File.open(
                path: path, .readWrite, writePieceLength: Self.writePieceLength, pageKeeper: pageKeeper)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
            length = try file.size()
        } catch {
            if error.code == Errno.wouldBlock { throw .inUse(path: path) }
            throw DiskImageError(error, path: path)
        }
        try checkLength(path, length, blockSize)
        if let expectedCapacity, expectedCapacity != length {
            throw .capacityMismatch(path: path, length: length, expected: expectedCapacity)
        }
        return RawDiskImage(
            store: file, file: file, path: path, blockSize: blockSize, capacity: length)
    }

    private static func checkLength(_ path: String, _ length: Int64, _ blockSize: Int) throws(DiskImageError) {
        precondition(blockSizes.contains(blockSize), "an image has blocks of 512 or 4096 bytes")
        guard length > 0, length % Int64(blockSize) == 0 else {
            throw .lengthMismatch(path: path, length: length, blockSize: blockSize)
        }
    }

    /// Makes the disk longer or shorter; what is added reads as zeros, what is cut off is gone.
    public func resize(to capacity: Int64) throws(DiskImageError) {
        if file?.isBlockDevice == true { throw .fixedLength(path: path) }
        try Self.checkLength(path, capacity, blockSize)
        // Readers must not reach beyond the file, so a smaller capacity holds before the file shrinks.
        let before = length.value
        if capacity < before { length.value = capacity }
        let truncation = store.truncate(to: capacity)
        if truncation != 0 {
            length.value = before
            throw .system(SystemError(code: truncation, operation: "resize", path: path))
        }
        let synchronization = store.synchronizeData()
        if synchronization != 0 {
            throw .system(SystemError(code: synchronization, operation: "synchronize", path: path))
        }
        length.value = capacity
    }

    // MARK: Data

    /// Reads `count` bytes at `offset` into `lease` at `leaseOffset`.
    ///
    /// A file that has become shorter than the disk gives `.truncated`: never zeros that nobody wrote.
    public func read(
        into lease: inout BufferLease, at leaseOffset: Int, count: Int, offset: Int64, mode: ReadMode
    ) -> MediaResult {
        checkRange(offset, Int64(count))
        var nothing = MutableRawSpan()
        return Self.result(
            store.read(header: &nothing, into: &lease, at: leaseOffset, count: count, offset: offset, mode: mode),
            count: count)
    }

    /// Writes `count` bytes of `lease` from `leaseOffset` on at `offset`. Durable only after `synchronize`.
    public func write(
        from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> MediaResult {
        checkRange(offset, Int64(count))
        return Self.result(
            store.write(lease.bytes.extracting(leaseOffset..<leaseOffset + count), offset: offset), count: count)
    }

    /// The outcome of a file request for `count` bytes that the device submitted itself.
    public static func result(_ result: FileResult, count: Int) -> MediaResult {
        switch result {
        case .done(let done): done == count ? .done : .failed(.truncated)
        case .wouldBlock: .wouldBlock
        case .failed(let code): .failed(MediaFailure(errorNumber: code))
        }
    }

    /// Frees the storage of a range, which then reads as zeros (UNMAP, SBC-4 clause 5.35).
    ///
    /// Where the file system cannot punch holes the range is written with zeros instead.
    public func unmap(at offset: Int64, length: Int64) -> MediaFailure? {
        checkRange(offset, length)
        let code = store.punchHole(at: offset, length: length)
        return code == Errno.notSupported ? fill(offset, length) : MediaFailure.of(code)
    }

    /// Makes a range read as zeros and keeps its storage reserved (WRITE SAME without UNMAP, SBC-4 clause 5.52).
    public func writeZeros(at offset: Int64, length: Int64) -> MediaFailure? {
        checkRange(offset, length)
        let code = store.zeroRange(at: offset, length: length)
        return code == Errno.notSupported ? fill(offset, length) : MediaFailure.of(code)
    }

    /// Makes all completed writes durable (SYNCHRONIZE CACHE, SBC-4 clause 5.25).
    public func synchronize() -> MediaFailure? { MediaFailure.of(store.synchronizeData()) }

    private static let zeros = [UInt8](repeating: 0, count: 65536)

    private func fill(_ offset: Int64, _ length: Int64) -> MediaFailure? {
        var done: Int64 = 0
        while done < length {
            let step = Int(min(length - done, Int64(Self.zeros.count)))
            let result = store.write(Self.zeros.rawSpan.extracting(0..<step), offset: offset + done)
            if case .failed(let code) = result { return MediaFailure(errorNumber: code) }
            done += Int64(step)
        }
        return nil
    }

    private func checkRange(_ offset: Int64, _ length: Int64) {
        let capacity = capacity
        precondition(
            offset >= 0 && length >= 0 && offset <= capacity && length <= capacity - offset,
            "a transfer lies inside the disk")
    }

    // MARK: Provisioning

    /// A range of bytes and whether it takes storage.
    public struct Provisioning: Equatable, Sendable {
        /// Whether the range is mapped; an unmapped one reads as zeros.
        public let isMapped: Bool
        /// The first byte after the range: a multiple of the block size, at most the capacity.
        public let end: Int64
    }

    /// The state of the block at `offset`, a multiple of the block size below the capacity, and how far the same state
    /// goes on at least (GET LBA STATUS, SBC-4 clause 5.7). A block with any data in it counts as mapped.
    public func provisioning(at offset: Int64) -> Provisioning {
        checkRange(offset, Int64(blockSize))
        let mask = Int64(blockSize) - 1
        let capacity = capacity
        let data = min(store.nextData(from: offset) ?? capacity, capacity) & ~mask
        if data > offset { return Provisioning(isMapped: false, end: data) }
        let hole = min(store.nextHole(from: offset) ?? capacity, capacity)
        // The block in which the data end is mapped as a whole; at least this one is.
        let end = max((hole + mask) & ~mask, offset + Int64(blockSize))
        return Provisioning(isMapped: true, end: min(end, capacity))
    }

    /// The bytes of storage that the image takes on the host; nil when the host does not say.
    public var allocatedBytes: Int64? {
        do { return try file?.allocatedSize() } catch { return nil }
    }
}
