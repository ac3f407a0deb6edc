import Bytes

/// The bytes of a file in memory, by pages, of which those that were never written take no memory. A copy costs little,
/// and pages that are equal are shared.
struct SparseImage: Sendable {
    /// The bytes of a page: what a file system allocates and frees.
    static let pageLength = 4096
    /// What a device writes whole or not at all.
    static let sectorLength = 512

    /// Each page whole, or empty: a hole.
    private var pages: [[UInt8]] = []
    private(set) var length = 0
    /// The pages that have storage.
    private(set) var allocatedPages = 0

    init() {}

    init(_ bytes: [UInt8]) {
        write(bytes, from: 0, to: bytes.count, at: 0)
    }

    /// All bytes, for images that are small.
    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.modifyBytes { span in _ = read(into: &span, at: 0) }
        return bytes
    }

    /// Fills `bytes` up to the end of the file; gives the number.
    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, at offset: Int) -> Int {
        let count = min(bytes.byteCount, max(0, length - offset))
        var done = 0
        while done < count {
            let page = (offset + done) / Self.pageLength
            let start = (offset + done) % Self.pageLength
            let piece = min(count - done, Self.pageLength - start)
            if page < pages.count, !pages[page].isEmpty {
                let source = pages[page]
                bytes.store(source.rawSpan.extracting(start..<start + piece), at: done)
            } else {
                bytes.fill(at: done, count: piece)
            }
            done += piece
        }
        return count
    }

    /// Puts the bytes `first` to `end` - 1 of `bytes`, which belong at `offset` as a whole, in their place.
    mutating func write(_ bytes: [UInt8], from first: Int, to end: Int, at offset: Int) {
        length = max(length, offset + end)
        var done = first
        while done < end {
            let page = (offset + done) / Self.pageLength
            let start = (offset + done) % Self.pageLength
            let piece = min(end - done, Self.pageLength - start)
            if page >= pages.count { pages += [[UInt8]](repeating: [], count: page + 1 - pages.count) }
            if pages[page].isEmpty {
                pages[page] = [UInt8](repeating: 0, count: Self.pageLength)
                allocatedPages += 1
            }
            pages[page].modifyBytes { target in
                target.store(bytes.rawSpan.extracting(done..<done + piece), at: start)
            }
            done += piece
        }
    }

    /// How many pages a write of `count` bytes at `offset` would need more.
    func newPages(at offset: Int, count: Int) -> Int {
        guard count > 0 else { return 0 }
        return (offset / Self.pageLength...(offset + count - 1) / Self.pageLength).reduce(0) { sum, page in
            sum + (page < pages.count && !pages[page].isEmpty ? 0 : 1)
        }
    }

    /// Makes a range zero, within the length, and whole pages of it holes.
    mutating func punch(at offset: Int, length count: Int) {
        var start = offset
        let end = min(offset + count, length)
        while start < end {
            let page = start / Self.pageLength
            let next = min(end, (page + 1) * Self.pageLength)
            if page < pages.count, !pages[page].isEmpty {
                if next - start == Self.pageLength {
                    pages[page] = []
                    allocatedPages -= 1
                } else {
                    pages[page].modifyBytes { bytes in
                        bytes.fill(at: start % Self.pageLength, count: next - start)
                    }
                }
            }
            start = next
        }
    }

    mutating func truncate(to newLength: Int) {
        if newLength < length {
            punch(at: newLength, length: length - newLength)
            let kept = (newLength + Self.pageLength - 1) / Self.pageLength
            for page in pages.indices.dropFirst(kept) where !pages[page].isEmpty { allocatedPages -= 1 }
            pages.removeLast(max(0, pages.count - kept))
        }
        length = newLength
    }

    /// The first offset from `offset` on that has storage, or has none; nil when there is none up to the end.
    func next(isAllocated: Bool, from offset: Int) -> Int? {
        guard offset < length else { return nil }
        var place = offset
        while place < length {
            let page = place / Self.pageLength
            if (page < pages.count && !pages[page].isEmpty) == isAllocated { return place }
            place = (page + 1) * Self.pageLength
        }
        return isAllocated ? nil : length
    }

    /// Turns over one bit.
    mutating func flip(bit: Int, ofByte offset: Int) {
        let page = offset / Self.pageLength
        var byte: [UInt8] = [0]
        byte.modifyBytes { span in _ = read(into: &span, at: offset) }
        byte[0] ^= 1 << UInt8(bit)
        guard page < pages.count || byte[0] != 0 else { return }
        write(byte, from: 0, to: 1, at: offset)
    }
}

/// A call that changes a file.
enum StoreChange: Sendable {
    case write(offset: Int, bytes: [UInt8])
    case truncate(Int)
    case punch(offset: Int, length: Int)

    /// Does all of it.
    func apply(to image: inout SparseImage) {
        switch self {
        case .write(let offset, let bytes): image.write(bytes, from: 0, to: bytes.count, at: offset)
        case .truncate(let length): image.truncate(to: length)
        case .punch(let offset, let length): image.punch(at: offset, length: length)
        }
    }

    /// Does it in the sectors that `keeps` says; the file may have become longer by all of a write, with zeros.
    func applyTorn(to image: inout SparseImage, growsWhole: Bool, keeps: () -> Bool) {
        switch self {
        case .write(let offset, let bytes):
            if growsWhole, image.length < offset + bytes.count { image.truncate(to: offset + bytes.count) }
            Self.forEachSector(offset, bytes.count) { start, end in
                if keeps() { image.write(bytes, from: start - offset, to: end - offset, at: offset) }
            }
        case .truncate(let length):
            if keeps() { image.truncate(to: length) }
        case .punch(let offset, let length):
            // Of holes whole pages are made, one by one.
            var start = offset
            while start < offset + length {
                let end = min(offset + length, (start / SparseImage.pageLength + 1) * SparseImage.pageLength)
                if keeps() { image.punch(at: start, length: end - start) }
                start = end
            }
        }
    }

    private static func forEachSector(_ offset: Int, _ count: Int, _ body: (Int, Int) -> Void) {
        var start = offset
        while start < offset + count {
            let end = min(offset + count, (start / SparseImage.sectorLength + 1) * SparseImage.sectorLength)
            body(start, end)
            start = end
        }
    }
}
