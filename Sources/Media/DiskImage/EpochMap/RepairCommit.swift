internal import Bytes
internal import Platform

/// A commit that says the same as the one before, but that what is on damaged pages of maps is lost, and with a free
/// map that is made of the maps. All of its pages are new, and behind the end of the file: until its superblock is
/// written the image is as it was.
struct RepairCommit: ~Copyable {
    private let store: any ByteStore
    private let former: EpochSuperblock
    private let reader: PageReader
    private let damaged: Set<PageName>
    private var sink: PageSink
    /// Where the next page goes.
    private var next: UInt64
    /// Where the last one ends at the latest.
    private let limit: UInt64
    /// Of pages of maps that were looked at: what stands in their place.
    private var known: [PageName: UnitPointer] = [:]

    /// Writes the commit and makes it durable.
    static func write(
        _ store: any ByteStore, _ former: EpochSuperblock, damaged: Set<PageName>
    ) throws(EpochFault) {
        var commit = try RepairCommit(store, former, damaged)
        try commit.write()
    }

    private init(
        _ store: any ByteStore, _ former: EpochSuperblock, _ damaged: Set<PageName>
    ) throws(EpochFault) {
        self.store = store
        self.former = former
        self.damaged = damaged
        reader = PageReader(store, former)
        sink = PageSink(store)
        let length: Int64
        do throws(SystemError) { length = try store.size() } catch { throw .device(error.code) }
        // A journal has no data behind the end of the file that count.
        let end = (UInt64(length) + UInt64(EpochFormat.unitLength) - 1) >> UInt64(EpochFormat.unitShift)
        let first = max(end, former.coveredUnits, former.reserve.last?.upperBound ?? 0)
        // Behind an area of checksums, so that there is room for all pages in a row before the next one.
        next = former.checksumAreas.map { $0.next(from: first) + ChecksumAreas.units } ?? first
        limit = min(former.checksumAreas?.next(from: next) ?? .max, EpochFormat.physicalUnitLimit)
    }

    private mutating func write() throws(EpochFault) {
        guard former.commit < EpochSuperblock.commitLimit else { throw .limit(.commits) }
        var superblock = former
        superblock.commit += 1
        var nodes = try NodeTable.read(former, reader)
        if !damaged.isEmpty {
            try mendMaps(&nodes)
            superblock.nodeTableLevels = max(nodes.levels, former.nodeTableLevels)
            superblock.nodeTable = try write(nodes, levels: superblock.nodeTableLevels)
        }
        try sink.flush()
        superblock.coveredUnits = next
        var map = FreeMap(limit: EpochFormat.physicalUnitLimit, areas: superblock.checksumAreas)
        let report = EpochChecker.owned(store, superblock, nodes, into: &map)
        // What was wrong was found before: the host's storage has failed since.
        guard report.findings.isEmpty else { throw .damaged(.freeMap) }
        superblock.reserve = former.reserve.filter { map.isFree($0) }
        try writeFreeMap(&map, &superblock)
        try sink.flush()
        guard EpochSuperblock.decode(superblock.encoded().rawSpan) == .valid(superblock) else {
            throw .limit(.physicalUnits)
        }
        try EpochSuperblock.synchronize(store)
        try superblock.write(to: store)
    }

    /// Writes a page behind the end.
    private mutating func write(_ page: [UInt8], birth: UInt32) throws(EpochFault) -> UnitPointer {
        guard next < limit else { throw .limit(.physicalUnits) }
        let unit = next
        next += 1
        try sink.write(page.rawSpan, to: unit)
        return .page(unit, birth: birth, checksum: CRC32C.checksum(page.rawSpan, previous: former.seed))
    }

    private mutating func write(_ pointers: [UnitPointer], birth: UInt32) throws(EpochFault) -> UnitPointer {
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        page.modifyBytes { target in
            for (index, pointer) in pointers.enumerated() { target.store(pointer, at: index * UnitPointer.byteCount) }
        }
        return try write(page, birth: birth)
    }

    // MARK: Maps

    private mutating func mendMaps(_ nodes: inout NodeTable) throws(EpochFault) {
        // The shortest disk first: what longer ones share with it ends where it ends.
        for record in nodes.records.sorted(by: { ($0.capacity, $0.number) < ($1.capacity, $1.number) }) {
            var mended = record
            mended.map = try mend(record.map, level: record.levels, number: 0, record)
            try nodes.put(mended)
        }
    }

    /// What stands in the place of a pointer: with the same birth, so that it has the same owner, and those who share
    /// the old page share the new one.
    private mutating func mend(
        _ pointer: UnitPointer, level: Int, number: UInt64, _ node: NodeRecord
    ) throws(EpochFault) -> UnitPointer {
        guard pointer.kind == .page else { return pointer }
        let name = PageName(pointer)
        if let found = known[name] { return found }
        if damaged.contains(name) {
            let place = LostPlace(
                level: level, number: number, units: EpochFormat.logicalUnits(capacity: node.capacity))
            let lost = try place.pointer { page throws(EpochFault) in try write(page, birth: pointer.birth) }
            known[name] = lost
            return lost
        }
        guard level > 0 else { return pointer }
        let page: PointerPage
        do throws(EpochFault) {
            page = try reader.page(pointer, level: level, isMap: true)
        } catch {
            // What is merged already is not there any more.
            guard level == 1, node.isBeingDeleted, number < node.pagesDone else { throw error }
            return pointer
        }
        var pointers: [UnitPointer] = []
        pointers.reserveCapacity(EpochFormat.fanOut)
        for (index, below) in page.pointers.enumerated() {
            let place = number << UInt64(EpochFormat.fanOutShift) + UInt64(index)
            pointers.append(try mend(below, level: level - 1, number: place, node))
        }
        let mended = pointers == page.pointers ? pointer : try write(pointers, birth: pointer.birth)
        known[name] = mended
        return mended
    }

    // MARK: Tables

    private mutating func write(_ nodes: NodeTable, levels: Int) throws(EpochFault) -> UnitPointer {
        var pointers: [UnitPointer] = []
        for leaf in 0..<nodes.leafCount {
            var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
            let isUsed = page.modifyBytes { nodes.encode(leaf: leaf, into: &$0) }
            pointers.append(isUsed ? try write(page, birth: former.epoch) : .nothing)
        }
        return try writeTree(over: pointers, levels: levels)
    }

    /// Writes the pages above those that pointers lead to; the root.
    private mutating func writeTree(over leaves: [UnitPointer], levels: Int) throws(EpochFault) -> UnitPointer {
        var pointers = leaves
        for _ in 0..<levels {
            var above: [UnitPointer] = []
            for first in stride(from: 0, to: pointers.count, by: EpochFormat.fanOut) {
                let below = Array(pointers[first..<min(pointers.count, first + EpochFormat.fanOut)])
                let isUsed = below.contains { $0.kind != .nothing }
                above.append(isUsed ? try write(below, birth: former.epoch) : .nothing)
            }
            pointers = above
        }
        return pointers[0]
    }

    /// Writes the free map, which has its own pages in use.
    private mutating func writeFreeMap(
        _ map: inout FreeMap, _ superblock: inout EpochSuperblock
    ) throws(EpochFault) {
        let first = next
        var end = first
        var isStable = false
        // As many pages as there may be; those that are not needed are left out.
        while !isStable {
            let leaves = EpochFormat.freeMapLeaves(units: end)
            var pages = leaves
            var level = leaves
            for _ in 0..<EpochFormat.levels(leaves: leaves) {
                level = (level + UInt64(EpochFormat.fanOut) - 1) >> UInt64(EpochFormat.fanOutShift)
                pages += level
            }
            isStable = first + pages <= end
            end = max(end, first + pages)
        }
        guard end <= limit else { throw .limit(.physicalUnits) }
        superblock.coveredUnits = end
        let leaves = Int(EpochFormat.freeMapLeaves(units: end))
        superblock.freeMapLevels = EpochFormat.levels(leaves: UInt64(leaves))
        // Its pages are written in this order, so it is known which units they have before any is written.
        var used = (0..<leaves).filter { leaf in
            let span = UInt64(leaf) << UInt64(EpochFormat.freeMapShift)
            return leaf < map.pageCount && !map.isFree(span..<span + UInt64(EpochFormat.freeMapUnits))
        }
        var count = 0
        while count != pageCount(used, superblock.freeMapLevels) {
            count = pageCount(used, superblock.freeMapLevels)
            let own =
                Int(
                    first >> UInt64(EpochFormat.freeMapShift))...Int(
                    (first + UInt64(count) - 1) >> UInt64(EpochFormat.freeMapShift))
            used = Array(Set(used).union(own)).sorted()
        }
        guard map.adopt(first..<first + UInt64(count)) else { throw .damaged(.freeMap) }
        var pointers = [UnitPointer](repeating: .nothing, count: leaves)
        for leaf in used {
            var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
            _ = map.forEachCutWord(leaf) { word, bits in
                page.modifyBytes { $0.storeBE64(bits, at: word * 8) }
            }
            pointers[leaf] = try write(page, birth: former.epoch)
        }
        superblock.freeMap = try writeTree(over: pointers, levels: superblock.freeMapLevels)
        precondition(next == first + UInt64(count), "the pages of the free map were counted")
    }

    /// The pages of a tree with those leaves.
    private func pageCount(_ leaves: [Int], _ levels: Int) -> Int {
        var count = leaves.count
        var numbers = leaves
        for _ in 0..<levels {
            numbers = Array(Set(numbers.map { $0 >> EpochFormat.fanOutShift }))
            count += numbers.count
        }
        return count
    }
}
