internal import Bytes
internal import Platform

/// The pointers of a page of level 1 or above, all of which are possible.
final class PointerPage: Sendable {
    let pointers: [UnitPointer]

    init(_ pointers: [UnitPointer]) { self.pointers = pointers }
}

/// Reads pages and proves them by the checksums of their pointers. Any thread may use it.
///
/// Pages of level 1 and above are kept, the last ones read. What is kept is named by unit and checksum, so a unit that
/// has become another page since is never taken for the old one.
final class PageReader: Sendable {
    /// The pages that are kept, each about 6 KiB.
    static let cacheLimit = 256

    private struct Cached {
        var unit: UInt64
        var checksum: UInt32
        /// Then it is a page of level 1 of a map, or its image is damaged.
        var hasRuns: Bool
        /// Then it is a page of a map, or its image is damaged.
        var hasLosses: Bool
        var page: PointerPage
    }

    let store: any ByteStore
    /// What checksums of pages begin with.
    let seed: UInt32
    /// The first unit to which a pointer may lead.
    let firstUnit: UInt64
    /// Whether extents may be compressed.
    let hasExtents: Bool
    private let cache: Lock<[Cached?]>

    /// A reader of the pages of the family that a superblock is of.
    convenience init(_ store: any ByteStore, _ superblock: EpochSuperblock) {
        self.init(
            store, seed: superblock.seed, firstUnit: superblock.firstPoolUnit,
            hasExtents: superblock.compressionLevel > 0)
    }

    /// A reader of a family's pages, which are at `firstUnit` or behind.
    init(_ store: any ByteStore, seed: UInt32, firstUnit: UInt64, hasExtents: Bool = false) {
        self.store = store
        self.seed = seed
        self.firstUnit = firstUnit
        self.hasExtents = hasExtents
        cache = Lock([Cached?](repeating: nil, count: Self.cacheLimit))
    }

    /// Gives up the pages that are kept.
    func forget() { cache.withLock { $0 = [Cached?](repeating: nil, count: Self.cacheLimit) } }

    /// Fills `bytes`, a unit, with the page of a pointer; level 0 is a leaf.
    @_lifetime(bytes: copy bytes)
    func read(_ pointer: UnitPointer, level: Int, into bytes: inout MutableRawSpan) throws(EpochFault) {
        switch store.read(into: &bytes, offset: EpochFormat.offset(ofUnit: pointer.unit), mode: .blocking) {
        case .done(let count):
            guard count == EpochFormat.unitLength else { throw .damaged(.truncated(unit: pointer.unit)) }
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
        guard CRC32C.checksum(bytes.bytes, previous: seed) == pointer.checksum else {
            throw .damaged(.page(unit: pointer.unit, level: level))
        }
    }

    /// The page of a pointer of kind `page`, of a level above 0; runs may be in it only at level 1 of a map.
    func page(_ pointer: UnitPointer, level: Int, isMap: Bool) throws(EpochFault) -> PointerPage {
        let slot = Int(pointer.unit % UInt64(Self.cacheLimit))
        let cached = cache.withLock { $0[slot] }
        if let cached, cached.unit == pointer.unit, cached.checksum == pointer.checksum,
            !cached.hasRuns || (isMap && level == 1), !cached.hasLosses || isMap
        {
            return cached.page
        }
        var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        var elements = bytes.mutableSpan
        var target = unsafe elements.mutableBytes
        try read(pointer, level: level, into: &target)
        let source = bytes.rawSpan
        var pointers: [UnitPointer] = []
        pointers.reserveCapacity(EpochFormat.fanOut)
        for index in 0..<EpochFormat.fanOut {
            guard let next = source.loadPointer(at: index * UnitPointer.byteCount),
                next.unitCount == 0 || next.unit >= firstUnit, next.kind != .run || (isMap && level == 1),
                next.kind != .lost || isMap
            else { throw .damaged(.pointer(unit: pointer.unit, index: index)) }
            pointers.append(next)
        }
        let page = PointerPage(pointers)
        let entry = Cached(
            unit: pointer.unit, checksum: pointer.checksum, hasRuns: pointers.contains { $0.kind == .run },
            hasLosses: pointers.contains { $0.kind == .lost }, page: page)
        cache.withLock { $0[slot] = entry }
        return page
    }

    /// Fills `words`, `EpochFormat.regionUnits` of them, with the entries of the region that a pointer in a page of
    /// level 1 of a map stands for.
    func region(_ pointer: UnitPointer, into words: inout [UInt64]) throws(EpochFault) {
        switch pointer.kind {
        case .nothing: for index in words.indices { words[index] = 0 }
        case .lost: for index in words.indices { words[index] = MapEntry.lost.rawValue }
        case .run:
            for index in words.indices {
                words[index] = MapEntry.data(pointer.unit + UInt64(index), birth: pointer.birth).rawValue
            }
        case .page:
            var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
            var elements = bytes.mutableSpan
            var target = unsafe elements.mutableBytes
            try read(pointer, level: 0, into: &target)
            let source = bytes.rawSpan
            for index in 0..<min(words.count, EpochFormat.regionUnits) {
                let word = source.loadBE64(at: index * EpochFormat.entryLength)
                guard let entry = MapEntry(stored: word), !entry.ownsUnit || entry.unit >= firstUnit else {
                    throw .damaged(.entry(unit: pointer.unit, index: index))
                }
                words[index] = word
            }
            if let index = firstBrokenExtent(words) { throw .damaged(.entry(unit: pointer.unit, index: index)) }
        }
    }
}

/// A tree of pages: where its leaves are.
struct PageTree: Sendable {
    let reader: PageReader
    var root: UnitPointer
    /// The levels of pages above the leaves.
    var levels: Int
    /// Whether it is the map of a node, in which there may be runs.
    var isMap: Bool

    /// The pointer to a leaf: nothing, a page, or a run of a map. Nothing behind what the tree can have.
    func pointer(toLeaf index: UInt64) throws(EpochFault) -> UnitPointer {
        var level = levels
        var pointer = root
        guard index >> UInt64(EpochFormat.fanOutShift * level) == 0 else { return .nothing }
        while level > 0 {
            guard pointer.kind == .page else { return pointer }
            let page = try reader.page(pointer, level: level, isMap: isMap)
            level -= 1
            pointer = page.pointers[Int(index >> UInt64(EpochFormat.fanOutShift * level)) & (EpochFormat.fanOut - 1)]
        }
        return pointer
    }
}
