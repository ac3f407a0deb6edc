/// Which physical units are in use, in memory; it belongs to `UnitAllocator`.
///
/// Two planes of bits. *Used* is what the state of the family has, exactly: what a commit writes. *Busy* is what may
/// not be given to anybody, though nothing refers to it: allocated and not yet entered, or freed and still needed after
/// a crash. Bits are 64 to a word, the most significant first, as in the file.
///
/// The planes are in pages, as in the file; a page of which all bits are the same has no memory. While a commit goes on
/// a page that changes keeps its bits of the cut beside.
@safe struct FreeMap: ~Copyable {
    static let pageWords = EpochFormat.freeMapUnits / 64
    private static let pageBits = Int32(EpochFormat.freeMapUnits)
    /// Pages of memory that are kept for the next use.
    private static let spareLimit = 16

    /// Safe: the pointers are used by the map alone.
    @safe private struct Page {
        /// Nil when no bit is set, or all are, which the count tells.
        var used: UnsafeMutablePointer<UInt64>?
        /// Nil when no bit is set.
        var busy: UnsafeMutablePointer<UInt64>?
        /// The bits of `used` at the cut, once they differ.
        var cut: UnsafeMutablePointer<UInt64>?
        var usedCount: Int32 = 0
        var busyCount: Int32 = 0
        /// Whether the state has changed since the last cut.
        var isDirty = false
        /// Whether the page of the commit that goes on differs from the one before.
        var isCutDirty = false
    }

    private enum Plane {
        case used
        case busy
    }

    /// Safe: `pages` owns the memory of planes, each of `pageWords` words; `deinit` gives it back.
    private var pages: [Page] = []
    private var spare: [UnsafeMutablePointer<UInt64>] = unsafe []
    /// All units from here on are neither used nor busy.
    private(set) var end: UInt64 = 0
    /// Units from here on are never allocated.
    let limit: UInt64
    private(set) var usedCount: UInt64 = 0
    private(set) var busyCount: UInt64 = 0
    private(set) var isCapturing = false

    /// Units that are busy for ever, from where the map ends on.
    let areas: ChecksumAreas?
    /// Where the first of them begins that is not in the map.
    private var nextArea: UInt64

    /// A map in which nothing is used, of at most `limit` units, those of `areas` not among them.
    init(limit: UInt64, areas: ChecksumAreas? = nil) {
        self.limit = min(limit, EpochFormat.physicalUnitLimit)
        self.areas = areas
        nextArea = areas?.start ?? .max
    }

    deinit {
        for page in pages {
            unsafe page.used?.deallocate()
            unsafe page.busy?.deallocate()
            unsafe page.cut?.deallocate()
        }
        for index in unsafe spare.indices { unsafe spare[index].deallocate() }
    }

    /// How many units before the end are neither used nor busy.
    var freeCount: UInt64 { end - usedCount - busyCount }
    var pageCount: Int { pages.count }
    /// How many units from the end on may be allocated at once.
    var room: UInt64 { min(limit, nextArea) - end }

    /// Whether all units of a page are used or busy.
    func isFull(page: Int) -> Bool { pages[page].usedCount + pages[page].busyCount == Self.pageBits }

    // MARK: Memory

    private mutating func allocate(_ word: UInt64) -> UnsafeMutablePointer<UInt64> {
        let memory = unsafe spare.popLast() ?? .allocate(capacity: Self.pageWords)
        unsafe memory.initialize(repeating: word, count: Self.pageWords)
        return unsafe memory
    }

    private mutating func deallocate(_ memory: UnsafeMutablePointer<UInt64>?) {
        guard let memory = unsafe memory else { return }
        if unsafe spare.count < Self.spareLimit {
            unsafe spare.append(memory)
        } else {
            unsafe memory.deallocate()
        }
    }

    /// Has pages up to that many units.
    private mutating func grow(to units: UInt64) {
        extend(to: units)
        // It never ends where an area begins, so what is behind the end may be allocated.
        while nextArea <= end, nextArea < limit {
            let area = nextArea..<min(nextArea + ChecksumAreas.units, limit)
            nextArea += ChecksumAreas.groupUnits
            extend(to: area.upperBound)
            flip(.busy, area, to: true, isState: false)
        }
    }

    private mutating func extend(to units: UInt64) {
        let count = Int(EpochFormat.freeMapLeaves(units: units))
        while pages.count < count { pages.append(Page()) }
        end = max(end, units)
    }

    private func isInArea(_ run: Range<UInt64>) -> Bool { areas?.overlaps(run) ?? false }

    /// Whether no unit of an area is used.
    var hasFreeAreas: Bool {
        guard let areas else { return true }
        var first = areas.start
        while first < end {
            var isFree = true
            _ = forEachWord(first..<min(first + ChecksumAreas.units, end)) { page, word, mask in
                isFree = usedWord(page, word) & mask == 0
                return isFree
            }
            guard isFree else { return false }
            first += ChecksumAreas.groupUnits
        }
        return true
    }

    // MARK: Bits

    @inline(__always) private func usedWord(_ page: Int, _ word: Int) -> UInt64 {
        if let bits = unsafe pages[page].used { return unsafe bits[word] }
        return pages[page].usedCount == 0 ? 0 : .max
    }

    @inline(__always) func takenWord(_ page: Int, _ word: Int) -> UInt64 {
        let used = usedWord(page, word)
        if let bits = unsafe pages[page].busy { return unsafe used | bits[word] }
        return used
    }

    /// Calls `body` with page, word and mask of each word of a run before the end, until it is false.
    @inline(__always) private func forEachWord(
        _ run: Range<UInt64>, _ body: (_ page: Int, _ word: Int, _ mask: UInt64) -> Bool
    ) -> Bool {
        var unit = run.lowerBound
        while unit < run.upperBound {
            let offset = unit & 63
            let count = min(64 - offset, run.upperBound - unit)
            let mask = (UInt64.max << (64 - count)) >> offset
            let word = Int(unit >> 6)
            guard body(word / Self.pageWords, word % Self.pageWords, mask) else { return false }
            unit += count
        }
        return true
    }

    /// Whether all units of a run are before the end, and all of them used, or busy.
    private func isAll(_ run: Range<UInt64>, _ plane: Plane) -> Bool {
        guard run.upperBound <= end else { return false }
        return forEachWord(run) { page, word, mask in
            switch plane {
            case .used: return usedWord(page, word) & mask == mask
            case .busy: return (takenWord(page, word) & ~usedWord(page, word)) & mask == mask
            }
        }
    }

    func isUsed(_ unit: UInt64) -> Bool { unit < end && isAll(unit..<unit + 1, .used) }

    func isAllUsed(_ run: Range<UInt64>) -> Bool { isAll(run, .used) }

    /// Whether no unit of a run is used or busy.
    func isFree(_ run: Range<UInt64>) -> Bool {
        guard !isInArea(run) else { return false }
        guard run.lowerBound < end else { return true }
        return forEachWord(run.lowerBound..<min(run.upperBound, end)) { page, word, mask in
            takenWord(page, word) & mask == 0
        }
    }

    /// Sets or clears bits, all of which are the opposite, of one word of a plane.
    private mutating func flip(_ plane: Plane, _ page: Int, _ word: Int, _ mask: UInt64, to value: Bool) {
        let change = Int32(truncatingIfNeeded: value ? mask.nonzeroBitCount : -mask.nonzeroBitCount)
        switch plane {
        case .used:
            let bits = unsafe pages[page].used ?? allocate(pages[page].usedCount == 0 ? 0 : .max)
            unsafe bits[word] ^= mask
            pages[page].usedCount += change
            let count = pages[page].usedCount
            let isUniform = count == 0 || count == Self.pageBits
            unsafe pages[page].used = unsafe isUniform ? nil : bits
            if isUniform { unsafe deallocate(bits) }
            usedCount = UInt64(Int64(usedCount) + Int64(change))
        case .busy:
            let bits = unsafe pages[page].busy ?? allocate(0)
            unsafe bits[word] ^= mask
            unsafe pages[page].busy = unsafe bits
            pages[page].busyCount += change
            busyCount = UInt64(Int64(busyCount) + Int64(change))
        }
    }

    /// Before a page's state changes: the commit that goes on keeps what it was at its cut.
    private mutating func keepCut(_ page: Int) {
        pages[page].isDirty = true
        guard isCapturing, unsafe pages[page].cut == nil else { return }
        let copy = unsafe allocate(pages[page].usedCount == 0 ? 0 : .max)
        if let bits = unsafe pages[page].used { unsafe copy.update(from: bits, count: Self.pageWords) }
        unsafe pages[page].cut = unsafe copy
    }

    private mutating func flip(_ plane: Plane, _ run: Range<UInt64>, to value: Bool, isState: Bool) {
        var unit = run.lowerBound
        while unit < run.upperBound {
            let offset = unit & 63
            let count = min(64 - offset, run.upperBound - unit)
            let mask = (UInt64.max << (64 - count)) >> offset
            let index = Int(unit >> 6)
            let (page, word) = (index / Self.pageWords, index % Self.pageWords)
            if plane == .used {
                if isState {
                    keepCut(page)
                } else {
                    // A page of the commit itself: both states have it, or both do not.
                    pages[page].isCutDirty = true
                    if let cut = unsafe pages[page].cut {
                        unsafe cut[word] = value ? cut[word] | mask : cut[word] & ~mask
                    }
                }
            }
            flip(plane, page, word, mask, to: value)
            unit += count
        }
    }

    // MARK: Changes

    /// Makes free units busy. False, and nothing is changed, when one is not free or behind the limit.
    mutating func reserve(_ run: Range<UInt64>) -> Bool {
        guard run.upperBound <= limit, isFree(run) else { return false }
        grow(to: run.upperBound)
        flip(.busy, run, to: true, isState: false)
        return true
    }

    /// Makes busy units used; false when they are not busy.
    mutating func enter(_ run: Range<UInt64>) -> Bool {
        guard isAll(run, .busy) else { return false }
        flip(.busy, run, to: false, isState: false)
        flip(.used, run, to: true, isState: true)
        return true
    }

    /// Makes free units used; false when one is not free or behind the limit.
    mutating func adopt(_ run: Range<UInt64>) -> Bool {
        guard run.upperBound <= limit, isFree(run) else { return false }
        grow(to: run.upperBound)
        flip(.used, run, to: true, isState: true)
        return true
    }

    /// Makes units used that are free or busy; false, and nothing is changed, when one is used or behind the limit.
    mutating func adoptAny(_ run: Range<UInt64>) -> Bool {
        if adopt(run) { return true }
        guard run.upperBound <= limit, !isInArea(run) else { return false }
        for unit in run where isUsed(unit) { return false }
        for unit in run where !enter(unit..<unit + 1) { _ = adopt(unit..<unit + 1) }
        return true
    }

    /// Calls `body` with runs of busy units, without those of areas, in ascending order, none of which goes over a
    /// page.
    func forEachBusyRun(_ body: (Range<UInt64>) -> Void) {
        for page in pages.indices where pages[page].busyCount > 0 {
            let first = UInt64(page) << UInt64(EpochFormat.freeMapShift)
            var start: UInt64?
            for bit in 0..<UInt64(EpochFormat.freeMapUnits) {
                let word = Int(bit >> 6)
                let isBusy =
                    (takenWord(page, word) & ~usedWord(page, word)) & (1 << 63) >> (bit & 63) != 0
                    && !isInArea(first + bit..<first + bit + 1)
                if isBusy, start == nil { start = first + bit }
                if !isBusy, let run = start {
                    body(run..<first + bit)
                    start = nil
                }
            }
            if let start { body(start..<first + UInt64(EpochFormat.freeMapUnits)) }
        }
    }

    /// Makes used units busy; false when they are not used.
    mutating func leave(_ run: Range<UInt64>) -> Bool {
        guard isAll(run, .used) else { return false }
        flip(.used, run, to: false, isState: true)
        flip(.busy, run, to: true, isState: false)
        return true
    }

    /// Makes busy units free; false when they are not busy.
    mutating func release(_ run: Range<UInt64>) -> Bool {
        guard isAll(run, .busy) else { return false }
        flip(.busy, run, to: false, isState: false)
        return true
    }

    // MARK: Commits

    /// What is used now is what the commit writes, with its own pages.
    mutating func beginCapture() {
        isCapturing = true
        for page in pages.indices {
            pages[page].isCutDirty = pages[page].isDirty
            pages[page].isDirty = false
        }
    }

    /// Ends the commit; when it has failed, all that it would have written is still to be written.
    mutating func endCapture(isDurable: Bool) {
        isCapturing = false
        for page in pages.indices {
            if !isDurable, pages[page].isCutDirty { pages[page].isDirty = true }
            pages[page].isCutDirty = false
            unsafe deallocate(pages[page].cut)
            unsafe pages[page].cut = nil
            if pages[page].busyCount == 0 {
                unsafe deallocate(pages[page].busy)
                unsafe pages[page].busy = nil
            }
        }
    }

    /// A free unit becomes a page of the commit that goes on.
    mutating func takePage(_ unit: UInt64) -> Bool {
        guard unit < limit, isFree(unit..<unit + 1), !isUsedAtCut(unit) else { return false }
        grow(to: unit + 1)
        flip(.used, unit..<unit + 1, to: true, isState: false)
        return true
    }

    /// A used unit is no page of the commit that goes on, and busy; false when it was not used at the cut, or is not.
    mutating func dropPage(_ unit: UInt64) -> Bool {
        guard isUsed(unit), isUsedAtCut(unit) else { return false }
        flip(.used, unit..<unit + 1, to: false, isState: false)
        flip(.busy, unit..<unit + 1, to: true, isState: false)
        return true
    }

    /// Takes a `takePage` back.
    mutating func untakePage(_ unit: UInt64) {
        guard isUsed(unit) else { return }
        flip(.used, unit..<unit + 1, to: false, isState: false)
    }

    /// Takes a `dropPage` back.
    mutating func undropPage(_ unit: UInt64) {
        guard isAll(unit..<unit + 1, .busy) else { return }
        flip(.busy, unit..<unit + 1, to: false, isState: false)
        flip(.used, unit..<unit + 1, to: true, isState: false)
    }

    private func cutWord(_ page: Int, _ word: Int) -> UInt64 {
        if let bits = unsafe pages[page].cut { return unsafe bits[word] }
        return usedWord(page, word)
    }

    /// Whether the commit that goes on has the unit in use.
    func isUsedAtCut(_ unit: UInt64) -> Bool {
        let word = Int(unit >> 6)
        guard unit < end else { return false }
        return cutWord(word / Self.pageWords, word % Self.pageWords) & (1 << 63) >> (unit & 63) != 0
    }

    func isCutDirty(_ page: Int) -> Bool { page < pages.count && pages[page].isCutDirty }

    /// Calls `body` with a word of the page as the commit that goes on writes it, for each of them; false when all are
    /// zero.
    func forEachCutWord(_ page: Int, _ body: (_ word: Int, _ bits: UInt64) -> Void) -> Bool {
        var all: UInt64 = 0
        for word in 0..<Self.pageWords {
            let bits = page < pages.count ? cutWord(page, word) : 0
            all |= bits
            body(word, bits)
        }
        return all != 0
    }

    /// One more than the last unit that the commit that goes on has in use.
    var cutEnd: UInt64 {
        var page = pages.count
        while page > 0 {
            page -= 1
            if unsafe pages[page].cut == nil, pages[page].usedCount == 0 { continue }
            var word = Self.pageWords
            while word > 0 {
                word -= 1
                let bits = cutWord(page, word)
                guard bits != 0 else { continue }
                let last = UInt64(page * Self.pageWords + word) * 64 + UInt64(63 - bits.trailingZeroBitCount)
                return last + 1
            }
        }
        return 0
    }

    // MARK: Opening

    /// Puts a word of a page as it is in the file; the map was empty there. All words come in order.
    mutating func load(page: Int, word: Int, _ bits: UInt64) {
        guard bits != 0 else { return }
        let first = UInt64(page) << UInt64(EpochFormat.freeMapShift) + UInt64(word) * 64
        grow(to: first + UInt64(64 - bits.trailingZeroBitCount))
        flip(.used, page, word, bits, to: true)
    }
}
