internal import Bytes
internal import Platform

/// Writes pages of a commit to new units, those in consecutive units together.
struct PageSink: ~Copyable {
    /// The most pages that are written at a time: 256 KiB.
    static let pageLimit = 64

    private let store: any ByteStore
    private var buffer: [UInt8]
    private var first: UInt64 = 0
    private var count = 0

    init(_ store: any ByteStore) {
        self.store = store
        buffer = [UInt8](repeating: 0, count: Self.pageLimit * EpochFormat.unitLength)
    }

    /// Takes a page, a unit, which is written at the latest by `flush`.
    mutating func write(_ page: RawSpan, to unit: UInt64) throws(EpochFault) {
        if count == Self.pageLimit || (count > 0 && unit != first + UInt64(count)) { try flush() }
        if count == 0 { first = unit }
        let offset = count << EpochFormat.unitShift
        buffer.modifyBytes { $0.store(page, at: offset) }
        count += 1
    }

    mutating func flush() throws(EpochFault) {
        guard count > 0 else { return }
        let length = count << EpochFormat.unitShift
        let result = store.write(
            buffer.rawSpan.extracting(0..<length), offset: EpochFormat.offset(ofUnit: first))
        count = 0
        switch result {
        case .done(let written): guard written == length else { throw .device(Errno.inputOutput) }
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }
}

/// Makes a new version of a tree: the leaves that are put, in the order of their numbers, and the pages above them, all
/// in new units. The pages that they replace are dropped, but for those that somebody else may see.
struct PageTreeWriter: ~Copyable {
    private struct OpenPage {
        /// The number of the page in its level.
        var number: UInt64
        var pointers: [UnitPointer]
        var old: UnitPointer
        var isChanged: Bool
    }

    private let reader: PageReader
    private let allocator: UnitAllocator
    private let isMap: Bool
    /// The epoch of birth of new pages.
    private let birth: UInt32
    /// Which replaced pages stay, because somebody else may see them; nil when none do.
    private let protection: Protection?
    private let levels: Int
    private var root: UnitPointer
    /// The page of each level, from 1 on, on the way to the last leaf that was put.
    private var open: [OpenPage?]
    private var nextLeaf: UInt64 = 0
    /// Where the next page is sought.
    private var hint: UInt64
    private let seed: UInt32
    /// The logical units of the disk, of a map.
    private let units: UInt64

    /// A new version of `tree` with at least its levels.
    init(
        _ tree: PageTree, levels: Int, birth: UInt32, protection: Protection?, allocator: UnitAllocator, hint: UInt64,
        units: UInt64 = .max
    ) {
        self.units = units
        reader = tree.reader
        seed = tree.reader.seed
        isMap = tree.isMap
        root = tree.root
        self.levels = max(levels, tree.levels)
        self.birth = birth
        self.protection = protection
        self.allocator = allocator
        self.hint = hint
        open = [OpenPage?](repeating: nil, count: self.levels + 1)
        guard tree.levels < self.levels, root.kind != .nothing else { return }
        // The pages above what was the root are new, and it is their first.
        for level in tree.levels + 1...self.levels {
            var pointers = [UnitPointer](repeating: .nothing, count: EpochFormat.fanOut)
            if level == tree.levels + 1 { pointers[0] = root }
            open[level] = OpenPage(number: 0, pointers: pointers, old: .nothing, isChanged: true)
        }
        root = .nothing
    }

    /// Puts a leaf, a unit.
    mutating func put(_ leaf: UInt64, page: RawSpan, _ sink: inout PageSink) throws(EpochFault) {
        try reach(leaf, &sink)
        let pointer = try write(page, &sink)
        set(leaf, pointer)
    }

    /// Puts nothing, or a run of a map, in place of a leaf.
    mutating func put(_ leaf: UInt64, _ pointer: UnitPointer, _ sink: inout PageSink) throws(EpochFault) {
        try reach(leaf, &sink)
        set(leaf, pointer)
    }

    /// Writes the pages above the leaves, and gives the root. The pages are in the file when the sink is flushed.
    mutating func finish(_ sink: inout PageSink) throws(EpochFault) -> UnitPointer {
        try close(upTo: levels, &sink)
        return root
    }

    /// Where the last page was written.
    var lastUnit: UInt64 { hint }

    private mutating func set(_ leaf: UInt64, _ pointer: UnitPointer) {
        let index = Int(leaf) & (EpochFormat.fanOut - 1)
        guard let old = open[1]?.pointers[index], old != pointer else { return }
        drop(old, level: 0, leaf)
        open[1]?.pointers[index] = pointer
        open[1]?.isChanged = true
    }

    /// A page that was replaced; data are dropped by whoever changes the map.
    private func drop(_ pointer: UnitPointer, level: Int, _ number: UInt64) {
        guard pointer.kind == .page else { return }
        if let protection, pointer.birth <= protection.boundary(level: level, number) { return }
        // False when the free map does not have the page in use: the image is damaged, and its check says so.
        _ = allocator.dropPage(pointer.unit)
    }

    /// Opens the pages above a leaf.
    private mutating func reach(_ leaf: UInt64, _ sink: inout PageSink) throws(EpochFault) {
        precondition(leaf >= nextLeaf, "leaves come in order")
        guard leaf >> UInt64(EpochFormat.fanOutShift * levels) == 0 else { throw .limit(.physicalUnits) }
        nextLeaf = leaf + 1
        var level = levels
        while level > 0 {
            let number = leaf >> UInt64(EpochFormat.fanOutShift * level)
            if open[level]?.number != number {
                try close(upTo: level, &sink)
                let index = Int(number) & (EpochFormat.fanOut - 1)
                let old = level == levels ? root : open[level + 1]?.pointers[index] ?? .nothing
                let pointers = try oldPointers(old, level: level, number: number, &sink)
                open[level] = OpenPage(number: number, pointers: pointers, old: old, isChanged: false)
            }
            level -= 1
        }
    }

    /// What the page that is replaced has. One of a map that is damaged has been lost, and all below it: the commit
    /// goes on with what is known.
    private mutating func oldPointers(
        _ old: UnitPointer, level: Int, number: UInt64, _ sink: inout PageSink
    ) throws(EpochFault) -> [UnitPointer] {
        switch old.kind {
        case .nothing, .run: return [UnitPointer](repeating: .nothing, count: EpochFormat.fanOut)
        case .lost: break
        case .page:
            do throws(EpochFault) {
                return try reader.page(old, level: level, isMap: isMap).pointers
            } catch {
                guard isMap, error.isDamagedPage else { throw error }
            }
        }
        let lost = LostPlace(level: level, number: number, units: units)
        return try lost.pointers { bytes throws(EpochFault) in try write(bytes.rawSpan, &sink) }
    }

    /// Writes the open pages of levels up to `top` that have changed, from below.
    private mutating func close(upTo top: Int, _ sink: inout PageSink) throws(EpochFault) {
        for level in 1...top {
            guard let closed = open[level] else { continue }
            open[level] = nil
            guard closed.isChanged else { continue }
            var pointer = UnitPointer.nothing
            if closed.pointers.contains(where: { $0.kind != .nothing }) {
                var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
                bytes.modifyBytes { target in
                    for (index, pointer) in closed.pointers.enumerated() {
                        target.store(pointer, at: index * UnitPointer.byteCount)
                    }
                }
                pointer = try write(bytes.rawSpan, &sink)
            }
            drop(closed.old, level: level, closed.number)
            if level == levels {
                root = pointer
            } else {
                let index = Int(closed.number) & (EpochFormat.fanOut - 1)
                open[level + 1]?.pointers[index] = pointer
                open[level + 1]?.isChanged = true
            }
        }
    }

    private mutating func write(_ page: RawSpan, _ sink: inout PageSink) throws(EpochFault) -> UnitPointer {
        guard let unit = allocator.allocatePage(near: hint) else { throw .limit(.physicalUnits) }
        hint = unit + 1
        try sink.write(page, to: unit)
        return .page(unit, birth: birth, checksum: CRC32C.checksum(page, previous: seed))
    }
}
