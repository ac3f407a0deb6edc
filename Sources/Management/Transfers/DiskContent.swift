import Bytes
import Platform
public import Resources

/// What is on a disk, in a snapshot or in an image, for those who copy it. All of it may wait.
public protocol DiskContent {
    /// In bytes: whole blocks.
    var capacity: Int64 { get }
    /// The first bytes from `offset` on, which is a whole number of blocks, that may hold something, in whole blocks;
    /// nil when none do. All others are zeros.
    func next(from offset: Int64) throws(ManagementError) -> Range<Int64>?
    /// Fills `bytes` from `offset` on; both are whole blocks. Nil, or why that was not possible.
    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, at offset: Int64) -> ManagementError?
}

/// What takes content: whole blocks, which begin at that byte.
public typealias ContentWriter = (_ bytes: [UInt8], _ offset: Int64) throws(ManagementError) -> Void

/// The content of a file: zeros follow it up to the capacity.
struct FileContent: DiskContent {
    let file: File
    let capacity: Int64
    /// In bytes, a power of two.
    let blockSize: Int
    /// What the file is, for sentences.
    let name: String

    func next(from offset: Int64) throws(ManagementError) -> Range<Int64>? {
        guard offset < capacity, let found = file.nextAllocated(from: offset), found < capacity else { return nil }
        // Files have any length, and file systems any unit of storage.
        let mask = Int64(blockSize) - 1
        let start = max(offset, found & ~mask)
        let end = min(file.nextUnallocated(from: max(found, offset)) ?? capacity, capacity)
        return start..<min(max((end + mask) & ~mask, start + Int64(blockSize)), capacity)
    }

    func read(into bytes: inout MutableRawSpan, at offset: Int64) -> ManagementError? {
        switch file.read(into: &bytes, fileOffset: offset) {
        case .done(let count):
            // Behind the end of the file.
            bytes.fill(at: count, count: bytes.byteCount - count)
            return nil
        case .failed(let code):
            return ManagementError(
                .system, "\(name) cannot be read: \(SystemError(code: code, operation: "read").reason)")
        case .wouldBlock: return ManagementError(.internal, "\(name) was read without waiting")
        }
    }
}

/// Copies of content, in pieces, between which a job hears how far they are, and may end them.
enum ContentCopy {
    /// How many bytes are read at a time.
    static let pieceLength = 1 << 20

    /// How many bytes of `content` may hold something, and have to be read.
    static func length(of content: any DiskContent, _ job: Job) throws(ManagementError) -> Int64 {
        var (length, offset): (Int64, Int64) = (0, 0)
        while let run = try nextRun(of: content, from: offset) {
            length += run.upperBound - run.lowerBound
            offset = run.upperBound
            try job.check()
        }
        return length
    }

    /// Gives `write` all of `content` but pieces of zeros, and tells `report`, or else `job`, of the bytes that were
    /// read.
    static func copy(
        _ content: any DiskContent, job: Job, report: ((_ done: Int, _ total: Int) -> Void)? = nil,
        to write: ContentWriter
    ) throws(ManagementError) {
        let report = report ?? { job.report(done: $0, of: $1) }
        var total = Int(try length(of: content, job))
        report(0, total)
        let piece = Int64(pieceLength)
        let zeros = [UInt8](repeating: 0, count: pieceLength)
        var (done, offset): (Int, Int64) = (0, 0)
        while let run = try nextRun(of: content, from: offset) {
            var start = run.lowerBound
            while start < run.upperBound {
                try job.check()
                // Pieces end at multiples of their length, wherever they begin.
                let end = min(run.upperBound, (start / piece + 1) * piece)
                var bytes = [UInt8](repeating: 0, count: Int(end - start))
                if let failure = bytes.modifyBytes({ content.read(into: &$0, at: start) }) { throw failure }
                if !isZero(bytes, zeros) { try write(bytes, start) }
                done += bytes.count
                start = end
                // What is written while it is read may make it more.
                total = max(total, done)
                report(done, total)
            }
            offset = run.upperBound
        }
    }

    /// What `content` has next; refused when that would not lead on, so that every copy ends.
    private static func nextRun(
        of content: any DiskContent, from offset: Int64
    ) throws(ManagementError) -> Range<Int64>? {
        guard let run = try content.next(from: offset) else { return nil }
        guard run.lowerBound >= offset, run.upperBound > run.lowerBound else {
            throw ManagementError(
                .internal, "content from byte \(offset) on has bytes \(run.lowerBound) to \(run.upperBound) next")
        }
        return run
    }

    private static func isZero(_ bytes: [UInt8], _ zeros: [UInt8]) -> Bool {
        guard bytes.first == 0, bytes.last == 0 else { return false }
        // Only what has the checksum of zeros may be zeros.
        let expected = CRC32C.checksum(zeros.rawSpan.extracting(..<bytes.count))
        return CRC32C.checksum(bytes.rawSpan) == expected && bytes.allSatisfy { $0 == 0 }
    }
}
