internal import CPlatform

/// A bounded pool of page-aligned buffers that belongs to one thread.
///
/// A request is rounded up to pages, from 8 pages on by at most an eighth. Steady state makes no system call and no
/// allocation. The memory comes from a `BufferArena`; what describes it is kept elsewhere, so that nothing a peer or a
/// device writes into a buffer can harm the pool.
///
/// Memory that was not used for some time is given back to the system by `giveBackIdleMemory`, which the reactor calls
/// now and then while `hasIdleMemory`.
///
/// Every method, and the drop of every lease, runs on the thread that owns the pool.
@safe public final class BufferPool {
    /// What buffers are aligned to and measured in, in bytes.
    public static let pageLength = 4096
    /// The largest buffer a pool gives, in bytes.
    public static let maximumLeaseLength = 16 << 20
    /// The largest limit of a pool, in bytes.
    public static let maximumLimit = 1 << 40
    /// How much memory a pool keeps although it is idle, in bytes.
    public static let keptIdleLength = 4 << 20
    /// Memory is given back after so many calls of `giveBackIdleMemory` in which it was idle.
    public static let idleCalls: UInt32 = 5
    /// The most memory that one call gives back, in bytes: that takes less than a millisecond.
    public static let giveBackLength = 16 << 20

    /// The most bytes that all buffers together may take.
    public let limit: Int
    /// Where the memory comes from.
    public let arena: BufferArena
    /// The bytes of the regions mapped so far.
    public var mappedBytes: Int { unsafe state.pointee.mappedBytes }
    /// The bytes of the buffers that leases hold now.
    public var leasedBytes: Int { unsafe state.pointee.leasedBytes }
    /// An upper bound of the bytes of the regions that are memory, rather than address space that was not used or was
    /// given back.
    public var residentBytes: Int { unsafe state.pointee.residentChunks * BufferArena.chunkLength }
    /// Whether there may be memory to give back, now or later.
    public var hasIdleMemory: Bool { returnableBytes > Self.keptIdleLength && !arena.isPinned }
    /// What of `residentBytes` could be given back if it were idle.
    private var returnableBytes: Int { unsafe state.pointee.returnableChunks * BufferArena.chunkLength }

    private static let pageShift: Int32 = 12
    private static let chunkShift: Int32 = 9
    private static let regionShift: Int32 = 14
    private static let regionMask: Int32 = 1 << regionShift - 1
    static let regionPages = 1 << Int(regionShift)

    /// A piece of a region that is given back as a whole.
    private struct Chunk {
        /// Pages in it that leases hold.
        var usedPages: Int32 = 0
        /// The round in which it was used last.
        var lastUse: UInt32 = 0
        /// Its memory was used since it was mapped or given back.
        var isResident = false
        /// It is resident, and the system may take it back.
        var isReturnable = false
    }

    @unsafe private struct State {
        var map: PageMap
        var mappedBytes = 0
        var leasedBytes = 0
        var residentChunks = 0
        var returnableChunks = 0
        /// Counts the calls of `giveBackIdleMemory`.
        var round: UInt32 = 0
    }

    /// In memory of its own, because each access to a stored property of a class would call the runtime's exclusivity
    /// check. Safe: made in init, gone in deinit, used by the pool's thread alone and never by two accesses at a time.
    private let state: UnsafeMutablePointer<State>
    /// The chunks of all regions. Safe: as `state`.
    private let chunks: UnsafeMutablePointer<Chunk>

    /// A pool of at most `limit` bytes, at least a page. Its memory is made of `pages` where the system has them.
    public convenience init(limit: Int, pages: PageChoice = .standard) {
        self.init(limit: limit) { unsafe BufferArena(limit: $0, pages: pages) }
    }

    /// A pool whose arena `make` makes for so many bytes.
    init(limit: Int, arena make: (Int) -> BufferArena) {
        precondition((Self.pageLength...Self.maximumLimit).contains(limit), "a pool has at least a page")
        let pageCount = limit >> Int(Self.pageShift)
        guard let map = PageMap(pageCount: pageCount, regionPages: 1 << Self.regionShift) else {
            preconditionFailure("no address space for the description of a pool")
        }
        self.limit = limit
        arena = make(pageCount << Int(Self.pageShift))
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: State(map: map))
        let chunkCount = (pageCount >> Int(Self.chunkShift)) + 1
        unsafe chunks = .allocate(capacity: chunkCount)
        unsafe chunks.initialize(repeating: Chunk(), count: chunkCount)
    }

    deinit {
        unsafe state.pointee.map.destroy()
        unsafe state.deallocate()
        unsafe chunks.deallocate()
    }

    /// A buffer of at least `capacity` bytes with no data in it; nil when `capacity` is larger than the largest buffer,
    /// or the limit leaves no room for it in one piece.
    public func lease(capacity: Int) -> BufferLease? {
        guard capacity <= Self.maximumLeaseLength else { return nil }
        let pages = PageMap.roundedUp(Int32(max(1, (capacity + Self.pageLength - 1) >> Int(Self.pageShift))))
        guard let first = unsafe state.pointee.map.takeAside(pages) ?? take(pages) else { return nil }
        let length = Int(pages) << Int(Self.pageShift)
        unsafe state.pointee.leasedBytes += length
        // Safe: grow() has set the region's base before its pages could be taken.
        let base = unsafe arena.bases[Int(first >> Self.regionShift)]!
        let memory = unsafe base + Int(first & Self.regionMask) << Int(Self.pageShift)
        return unsafe BufferLease(memory: memory, capacity: length, pool: self, firstPage: first)
    }

    /// Takes a free run, joins what is aside when there is none, and maps a region when that does not help.
    private func take(_ pages: Int32) -> Int32? {
        var first = unsafe state.pointee.map.take(pages)
        if first == nil {
            joinAside()
            first = unsafe state.pointee.map.take(pages) ?? grow(pages)
        }
        guard let first else { return nil }
        countUse(first, pages, pages)
        return first
    }

    /// Takes a run of a new region.
    private func grow(_ pages: Int32) -> Int32? {
        let region = Int32(arena.regions.count)
        guard let length = arena.grow() else { return nil }
        unsafe state.pointee.mappedBytes += length
        unsafe state.pointee.map.add(region << Self.regionShift, count: Int32(length >> Int(Self.pageShift)))
        return unsafe state.pointee.map.take(pages)
    }

    /// Takes the memory of a dropped lease back.
    func takeBack(_ first: Int32) {
        let pages = unsafe state.pointee.map.setAside(first) ?? give(first)
        unsafe state.pointee.leasedBytes -= Int(pages) << Int(Self.pageShift)
    }

    /// Makes a run free, and returns its length.
    private func give(_ first: Int32) -> Int32 {
        let pages = unsafe state.pointee.map.give(first)
        countUse(first, pages, -pages)
        return pages
    }

    /// Makes the runs that are aside free.
    private func joinAside() {
        for pages in 1...PageMap.asideRunLimit {
            while let first = unsafe state.pointee.map.takeAside(pages) { _ = give(first) }
        }
    }

    /// Counts `pages` from `first` on as used (or, negative, no longer used) in their chunks.
    private func countUse(_ first: Int32, _ pages: Int32, _ change: Int32) {
        let lastChunk = (first + pages - 1) >> Self.chunkShift
        var chunk = first >> Self.chunkShift
        if chunk == lastChunk { return count(change, in: chunk) }
        let sign: Int32 = change < 0 ? -1 : 1
        var page = first
        while chunk <= lastChunk {
            let end = min((chunk + 1) << Self.chunkShift, first + pages)
            count(sign * (end - page), in: chunk)
            page = end
            chunk += 1
        }
    }

    private func count(_ change: Int32, in chunk: Int32) {
        unsafe chunks[Int(chunk)].usedPages += change
        unsafe chunks[Int(chunk)].lastUse = state.pointee.round
        if unsafe chunks[Int(chunk)].isResident { return }
        unsafe chunks[Int(chunk)].isResident = true
        unsafe state.pointee.residentChunks += 1
        guard arena.isReturnable(region: Int(chunk >> (Self.regionShift - Self.chunkShift))) else { return }
        unsafe chunks[Int(chunk)].isReturnable = true
        unsafe state.pointee.returnableChunks += 1
    }

    // MARK: Idle memory

    /// Gives memory back that no lease has used during the last `idleCalls` calls, at most `giveBackLength` bytes; all
    /// but `keptIdleLength`. Regions stay mapped: what was given back is zero-filled memory when it is used again.
    public func giveBackIdleMemory() {
        let round = unsafe state.pointee.round &+ 1
        unsafe state.pointee.round = round
        guard hasIdleMemory else { return }
        joinAside()
        var rest = Self.giveBackLength
        // From the end: memory is taken from the start of free runs.
        for region in arena.regions.reversed() where arena.isReturnable(region: region.index) {
            let chunksInRegion = (region.length + BufferArena.chunkLength - 1) / BufferArena.chunkLength
            for index in (0..<chunksInRegion).reversed() {
                guard rest > 0, returnableBytes > Self.keptIdleLength else { return }
                let chunk = region.index << Int(Self.regionShift - Self.chunkShift) + index
                guard unsafe isIdle(chunks[chunk], round) else { continue }
                let offset = index * BufferArena.chunkLength
                let length = min(BufferArena.chunkLength, region.length - offset)
                // What the system does not take now (because somebody has locked it) it is not asked to take again.
                unsafe chunks[chunk].isReturnable = false
                unsafe state.pointee.returnableChunks -= 1
                guard arena.giveBack(region: region.index, offset: offset, length: length) else { continue }
                unsafe chunks[chunk].isResident = false
                unsafe state.pointee.residentChunks -= 1
                rest -= length
            }
        }
    }

    private func isIdle(_ chunk: Chunk, _ round: UInt32) -> Bool {
        chunk.usedPages == 0 && chunk.isReturnable && round &- chunk.lastUse >= Self.idleCalls
    }
}
