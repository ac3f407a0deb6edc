internal import CPlatform

/// The kind of pages that the memory of an arena is made of.
///
/// What cannot be had is replaced, region by region: reserved huge pages by transparent ones, and these by standard
/// pages where the kernel has none. `BufferRegion.pages` says what it has become.
public enum PageChoice: String, Sendable, CaseIterable {
    /// Pages of the usual size.
    case standard
    /// Huge pages where the kernel finds some (transparent huge pages), which needs no set-up.
    case transparent
    /// Huge pages of 2 MiB that the system has reserved (hugetlb). They are taken before anybody is served
    /// (`BufferArena.reserve`), because zeroing them takes milliseconds, and kept: another process might take those
    /// that are given back, and their next use would end this one.
    case reserved
}

/// A range of memory that stays mapped at the same place as long as its arena lives, and from which leases are carved.
@safe public struct BufferRegion {
    /// Its number in the arena, from 0: `BufferLease.region` of every lease in it.
    public let index: Int
    /// Its size in bytes.
    public let length: Int
    /// The pages it is made of: those chosen, or those that the system had instead.
    public let pages: PageChoice
    let base: UnsafeMutableRawPointer

    /// The memory, for a port that registers it with its network adapter. It stays valid until `regionWillBeUnmapped`.
    public func withUnsafeMutableMemory<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(UnsafeMutableRawBufferPointer(start: base, count: length))
    }
}

/// A port that needs to know the memory of leases before they are used, to register it with its network adapter. Called
/// on the arena's thread.
public protocol BufferRegionObserver: AnyObject {
    /// Whether registered memory is pinned. The system cannot take back pinned pages behind the adapter's back, so the
    /// arena then gives back none.
    var pinsPages: Bool { get }
    /// The region is mapped, and leases of it will follow; false when it could not be registered. No lease is taken
    /// from it then, neither for this observer nor for others.
    func regionWasMapped(_ region: BufferRegion) -> Bool
    /// The arena ends: the registration must end before this returns.
    func regionWillBeUnmapped(_ region: BufferRegion)
}

/// The memory of a `BufferPool`: a few large regions, mapped one after the other as they are needed, never unmapped
/// before the arena ends, so that they can be registered for remote direct memory access (RDMA).
///
/// It belongs to the thread of its pool.
@safe public final class BufferArena {
    /// The size of a region, in bytes. An arena whose limit is no multiple of it has a smaller last one.
    public static let regionLength = 64 << 20
    /// The unit in which memory is given back, in bytes: the size of a huge page.
    public static let chunkLength = 2 << 20
    /// The most observers of an arena.
    public static let maximumObservers = 16

    /// The most bytes of all regions together.
    public let limit: Int
    /// The pages that regions are made of where the system has them.
    public let pages: PageChoice
    /// The regions mapped so far.
    public private(set) var regions: [BufferRegion] = []
    /// Whether an observer pins the memory of the regions, so that none is given back.
    public private(set) var isPinned = false
    /// The next regions, as far as reserved huge pages were taken for them.
    private var reserved: [BufferRegion] = []
    private let mapReserved: (Int) -> UnsafeMutableRawPointer?
    private var observers: [any BufferRegionObserver] = []
    /// The start of each region that is mapped, by its number. Safe: made in init, gone in deinit.
    let bases: UnsafeMutablePointer<UnsafeMutableRawPointer?>

    /// `mapReserved` maps reserved huge pages of that length; a test puts other memory in their place.
    init(
        limit: Int, pages: PageChoice,
        mapReserved: @escaping (Int) -> UnsafeMutableRawPointer? = { unsafe cplatform_map_huge_pages($0) }
    ) {
        self.limit = limit
        self.pages = pages
        unsafe self.mapReserved = mapReserved
        let count = (limit + Self.regionLength - 1) / Self.regionLength
        unsafe bases = .allocate(capacity: count)
        unsafe bases.initialize(repeating: nil, count: count)
    }

    deinit {
        for region in regions {
            for observer in observers { observer.regionWillBeUnmapped(region) }
            unsafe cplatform_unmap(region.base, region.length)
        }
        for region in reserved { unsafe cplatform_unmap(region.base, region.length) }
        unsafe bases.deallocate()
    }

    /// Takes reserved huge pages for one more region, which is mapped when it is needed; false when they are not
    /// chosen, the limit is reached or there are too few.
    ///
    /// It waits until 64 MiB are zeroed, so it is for the time before the arena's thread serves anybody. Regions for
    /// which it was not called, or failed, are made of other pages.
    public func reserve() -> Bool {
        let index = regions.count + reserved.count
        let length = lengthOfRegion(index)
        guard pages == .reserved, length > 0, length % Self.chunkLength == 0, let base = unsafe mapReserved(length)
        else { return false }
        unsafe reserved.append(BufferRegion(index: index, length: length, pages: .reserved, base: base))
        return true
    }

    /// The bytes of the region with that number; 0 beyond the limit.
    private func lengthOfRegion(_ index: Int) -> Int {
        max(0, min(Self.regionLength, limit - index * Self.regionLength))
    }

    /// Tells `observer` of all regions, those that are there at once. False, and nothing observed, when it cannot
    /// register one of them or `maximumObservers` are there; it is told that those it has registered end.
    public func addObserver(_ observer: any BufferRegionObserver) -> Bool {
        guard observers.count < Self.maximumObservers else { return false }
        for (index, region) in regions.enumerated() where !observer.regionWasMapped(region) {
            for registered in regions[..<index] { observer.regionWillBeUnmapped(registered) }
            return false
        }
        observers.append(observer)
        isPinned = isPinned || observer.pinsPages
        return true
    }

    /// Ends the observation; the observer has ended its registrations, or does so itself.
    public func removeObserver(_ observer: any BufferRegionObserver) {
        observers.removeAll { $0 === observer }
        isPinned = observers.contains { $0.pinsPages }
    }

    /// Maps the next region; its size in bytes, or nil when the limit is reached, there is no memory, or an observer
    /// refuses it.
    func grow() -> Int? {
        let length = lengthOfRegion(regions.count)
        guard length > 0, let region = map(length) else { return nil }
        for (index, observer) in observers.enumerated() where !observer.regionWasMapped(region) {
            for informed in observers[..<index] { informed.regionWillBeUnmapped(region) }
            if region.pages == .reserved {
                reserved.insert(region, at: 0)
            } else {
                unsafe cplatform_unmap(region.base, region.length)
            }
            return nil
        }
        unsafe bases[regions.count] = region.base
        regions.append(region)
        return length
    }

    /// Memory of standard pages, aligned to chunks; nil when there is none.
    static func mapped(_ length: Int) -> UnsafeMutableRawPointer? {
        unsafe cplatform_map_aligned(length, chunkLength)
    }

    private func map(_ length: Int) -> BufferRegion? {
        let index = regions.count
        if !reserved.isEmpty { return reserved.removeFirst() }
        guard let base = unsafe Self.mapped(length) else { return nil }
        let isAdvised = pages != .standard && (unsafe cplatform_advise_huge_pages(base, length) == 0)
        return unsafe BufferRegion(
            index: index, length: length, pages: isAdvised ? .transparent : .standard, base: base)
    }

    /// Whether the memory of a region can be given back, as far as it is not pinned.
    func isReturnable(region: Int) -> Bool { regions[region].pages != .reserved }

    /// Gives a range of a region back to the system: its pages read as zeros when they are used next. False when the
    /// system does not take it.
    func giveBack(region: Int, offset: Int, length: Int) -> Bool {
        // Safe: the range is in the region, and no lease is in the range.
        unsafe cplatform_give_back(regions[region].base + offset, length) == 0
    }
}
