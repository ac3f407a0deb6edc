internal import CPlatform

/// Which pages of an arena are free: two-level segregated fit (TLSF) over runs of pages.
///
/// Everything that describes a run stands in an array beside the memory, so that nobody who can write to the memory (a
/// peer's late RDMA WRITE) reaches it. Free runs are on lists by size class, eight classes to a power of two; a request
/// is rounded up to its class, so any run of that class or a larger one fits. Taking and giving take constant time, and
/// a run that is given back is joined with its free neighbours at once.
///
/// Pages are numbered over all regions; a run never crosses the end of a region.
@safe struct PageMap {
    /// A region begins at each multiple of so many pages.
    let regionPages: Int32

    /// One for each page; `start` is meaningful for the last page of a run, the others for the first.
    private struct Entry {
        /// The pages of the run.
        var length: Int32
        /// Where the run begins.
        var start: Int32
        /// The run before this one on its free list, `none` for the list's first, or `inUse`.
        var previous: Int32
        /// The run after this one on its free list, or `none`.
        var next: Int32
    }

    private static let none: Int32 = -1
    private static let inUse: Int32 = -2
    /// Size classes of runs up to 2^15 pages, in two words of bits.
    private static let classCount = 128
    /// Bits of a length below its highest one that distinguish classes.
    private static let fractionBits: Int32 = 3

    private let entries: UnsafeMutablePointer<Entry>
    private let pageCount: Int
    /// The first run of each free list, or `none`.
    private var heads: InlineArray<128, Int32>
    /// Which lists have runs.
    private var occupied: InlineArray<2, UInt64>
    /// Of each small size, the run that was set aside last.
    private var aside: InlineArray<17, Int32>
    private var pagesAside: Int32 = 0

    /// The largest runs that are set aside, in pages.
    static let asideRunLimit: Int32 = 16
    /// The most pages that are set aside at a time.
    private static let asideLimit: Int32 = 512

    /// A map for `pageCount` pages in regions of `regionPages` pages, a power of two of at most 2^15; none is free
    /// before `add`. Nil when there is no memory for it.
    init?(pageCount: Int, regionPages: Int32) {
        // One more entry, which never is free, ends the last region.
        let length = (pageCount + 1) * MemoryLayout<Entry>.stride
        guard let memory = unsafe cplatform_map(length) else { return nil }
        unsafe entries = memory.bindMemory(to: Entry.self, capacity: pageCount + 1)
        self.pageCount = pageCount
        self.regionPages = regionPages
        heads = InlineArray(repeating: Self.none)
        occupied = InlineArray(repeating: 0)
        aside = InlineArray(repeating: Self.none)
        unsafe entries[pageCount].previous = Self.inUse
    }

    /// Unmaps the array. Once, and the map is not used after it.
    func destroy() {
        unsafe cplatform_unmap(entries, (pageCount + 1) * MemoryLayout<Entry>.stride)
    }

    /// The smallest size of a class that holds `count` pages (at least 1): at most an eighth more.
    static func roundedUp(_ count: Int32) -> Int32 {
        let step = max(1, Int32(1) << (exponent(count) - fractionBits))
        return (count + step - 1) & -step
    }

    /// The exponent of the highest power of two in `count`.
    private static func exponent(_ count: Int32) -> Int32 {
        Int32(truncatingIfNeeded: Int32.bitWidth - 1 - count.leadingZeroBitCount)
    }

    /// The class of a run of `count` pages. Runs of a class are at least as long as its size.
    private static func sizeClass(_ count: Int32) -> Int {
        let exponent = exponent(count)
        guard exponent >= fractionBits else { return Int(count) }
        // The fraction keeps its highest bit, which makes room for the classes of lengths below 2^fractionBits.
        let fraction = count >> (exponent - fractionBits)
        return Int((exponent - fractionBits) << fractionBits + fraction)
    }

    /// Makes `count` pages from `first` on free; they are a whole region.
    mutating func add(_ first: Int32, count: Int32) {
        insert(first, count)
    }

    /// Takes `count` pages, a size of `roundedUp`; their number, or nil when no free run is as long.
    mutating func take(_ count: Int32) -> Int32? {
        guard let found = firstList(from: Self.sizeClass(count)) else { return nil }
        let first = heads[found]
        let length = unsafe entries[Int(first)].length
        remove(first, from: found)
        if length > count { insert(first + count, length - count) }
        setRun(first, count)
        unsafe entries[Int(first)].previous = Self.inUse
        return first
    }

    /// Gives the run that begins at `first` back, and returns its length.
    mutating func give(_ first: Int32) -> Int32 {
        let count = unsafe entries[Int(first)].length
        precondition(unsafe entries[Int(first)].previous == Self.inUse, "only what was taken is given back")
        var start = first
        var end = first + count
        let isAtStart = first & (regionPages - 1) == 0
        if !isAtStart {
            let before = unsafe entries[Int(first) - 1].start
            if isFree(before) {
                remove(before)
                start = before
            }
        }
        let isAtEnd = end & (regionPages - 1) == 0
        if !isAtEnd, isFree(end) {
            let after = end
            end += unsafe entries[Int(after)].length
            remove(after)
        }
        insert(start, end - start)
        return count
    }

    // MARK: Runs aside

    /// Sets a run that was taken aside for the next request of its size, neither joined nor split: most requests of a
    /// busy pool have the same few sizes. Its length; nil, and nothing done, when it is large or `asideLimit` pages are
    /// set aside.
    mutating func setAside(_ first: Int32) -> Int32? {
        let count = unsafe entries[Int(first)].length
        guard count <= Self.asideRunLimit, pagesAside + count <= Self.asideLimit else { return nil }
        unsafe entries[Int(first)].next = aside[Int(count)]
        aside[Int(count)] = first
        pagesAside += count
        return count
    }

    /// Takes the run of `count` pages that was set aside last.
    mutating func takeAside(_ count: Int32) -> Int32? {
        guard count <= Self.asideRunLimit, aside[Int(count)] != Self.none else { return nil }
        let first = aside[Int(count)]
        aside[Int(count)] = unsafe entries[Int(first)].next
        pagesAside -= count
        return first
    }

    // MARK: Lists

    private func isFree(_ first: Int32) -> Bool { unsafe entries[Int(first)].previous != Self.inUse }

    private func setRun(_ first: Int32, _ count: Int32) {
        unsafe entries[Int(first)].length = count
        unsafe entries[Int(first + count - 1)].start = first
    }

    private mutating func insert(_ first: Int32, _ count: Int32) {
        let list = Self.sizeClass(count)
        let next = heads[list]
        setRun(first, count)
        unsafe entries[Int(first)].previous = Self.none
        unsafe entries[Int(first)].next = next
        if next != Self.none { unsafe entries[Int(next)].previous = first }
        heads[list] = first
        occupied[list >> 6] |= 1 << UInt64(list & 63)
    }

    private mutating func remove(_ first: Int32) {
        remove(first, from: Self.sizeClass(unsafe entries[Int(first)].length))
    }

    private mutating func remove(_ first: Int32, from list: Int) {
        let entry = unsafe entries[Int(first)]
        if entry.next != Self.none { unsafe entries[Int(entry.next)].previous = entry.previous }
        if entry.previous != Self.none {
            unsafe entries[Int(entry.previous)].next = entry.next
            return
        }
        heads[list] = entry.next
        if entry.next == Self.none { occupied[list >> 6] &= ~(1 << UInt64(list & 63)) }
    }

    /// The first list from `list` on that has runs.
    private func firstList(from list: Int) -> Int? {
        var word = list >> 6
        var bits = occupied[word] & (~0 << UInt64(list & 63))
        while bits == 0 {
            word += 1
            guard word < Self.classCount >> 6 else { return nil }
            bits = occupied[word]
        }
        return word << 6 + bits.trailingZeroBitCount
    }
}
