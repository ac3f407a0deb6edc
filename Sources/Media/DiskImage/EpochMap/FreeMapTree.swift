internal import Bytes

/// Where the pages of the free map of the last commit are: all of its pointers, 16 bytes for each 128 MiB of the file
/// and those above them.
struct FreeMapTree: Equatable, Sendable {
    /// The pointers to the pages of each level; those to leaves first, and at last the root alone.
    fileprivate(set) var pointers: [[UnitPointer]]

    /// Of a family that has no commit.
    init() { pointers = [[], [.nothing]] }

    var root: UnitPointer { pointers[pointers.count - 1][0] }
    var levels: Int { pointers.count - 1 }

    // MARK: Reading

    /// Reads the free map of a commit into `map`, which is empty.
    static func read(
        _ superblock: EpochSuperblock, _ reader: PageReader, into map: inout FreeMap
    ) throws(EpochFault) -> FreeMapTree {
        let leaves = Int(EpochFormat.freeMapLeaves(units: superblock.coveredUnits))
        var levels = [[superblock.freeMap]]
        var level = superblock.freeMapLevels
        while level > 0 {
            let above = levels[levels.count - 1]
            let count = (leaves - 1) >> (EpochFormat.fanOutShift * (level - 1)) + 1
            var below: [UnitPointer] = []
            below.reserveCapacity(above.count * EpochFormat.fanOut)
            for pointer in above {
                if pointer.kind == .page {
                    below += try reader.page(pointer, level: level, isMap: false).pointers
                } else {
                    below += repeatElement(.nothing, count: EpochFormat.fanOut)
                }
            }
            guard below.count >= count, below[count...].allSatisfy({ $0.kind == .nothing }) else {
                throw .damaged(.freeMap)
            }
            below.removeLast(below.count - count)
            levels.append(below)
            level -= 1
        }
        var tree = FreeMapTree()
        tree.pointers = levels.reversed()
        var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for (leaf, pointer) in tree.pointers[0].enumerated() where pointer.kind == .page {
            var elements = bytes.mutableSpan
            var target = unsafe elements.mutableBytes
            try reader.read(pointer, level: 0, into: &target)
            for word in 0..<FreeMap.pageWords {
                map.load(page: leaf, word: word, target.bytes.loadBE64(at: word * 8))
            }
        }
        guard map.cutEnd <= min(superblock.coveredUnits, map.limit), map.isAllUsed(0..<superblock.firstPoolUnit),
            map.hasFreeAreas
        else { throw .damaged(.freeMap) }
        return tree
    }

    // MARK: Writing

    /// Writes the free map of the commit that goes on: the leaves that have changed, those that change because pages of
    /// the free map are in them, and the pages above. It covers at least `units`; gives how many.
    mutating func write(
        covering units: UInt64, _ allocator: UnitAllocator, birth: UInt32, seed: UInt32, hint: UInt64,
        _ sink: inout PageSink
    ) throws(EpochFault) -> UInt64 {
        var plan = Plan(tree: self, hint: hint)
        try plan.complete(covering: units, allocator)
        pointers = plan.tree.pointers
        var words = [UInt64](repeating: 0, count: FreeMap.pageWords)
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for level in 0...levels {
            for (index, unit) in plan.units[level].sorted(by: { $0.key < $1.key }) {
                if level == 0 {
                    _ = allocator.copy(leaf: index, to: &words)
                    page.modifyBytes { target in
                        for word in 0..<FreeMap.pageWords { target.storeBE64(words[word], at: word * 8) }
                    }
                } else {
                    let below = pointers[level - 1]
                    page.modifyBytes { target in
                        for slot in 0..<EpochFormat.fanOut {
                            let child = index << EpochFormat.fanOutShift + slot
                            target.store(
                                child < below.count ? below[child] : .nothing, at: slot * UnitPointer.byteCount)
                        }
                    }
                }
                try sink.write(page.rawSpan, to: unit)
                pointers[level][index] = .page(
                    unit, birth: birth, checksum: CRC32C.checksum(page.rawSpan, previous: seed))
            }
        }
        return plan.coveredUnits
    }

    /// The units of the pages that are to be written, found before any is: each of them changes a bit of the map.
    private struct Plan {
        var tree: FreeMapTree
        var hint: UInt64
        /// Of each level, the new unit of each page.
        var units: [[Int: UInt64]] = []
        var coveredUnits: UInt64 = 0
        private let formerLevels: Int

        init(tree: FreeMapTree, hint: UInt64) {
            self.tree = tree
            self.hint = hint
            formerLevels = tree.levels
        }

        /// Adds pages until those that were added change no page that is not there. That ends: a page is added once.
        mutating func complete(covering units: UInt64, _ allocator: UnitAllocator) throws(EpochFault) {
            var isComplete = false
            while !isComplete {
                isComplete = true
                coveredUnits = max(units, allocator.committedEnd)
                grow(to: Int(EpochFormat.freeMapLeaves(units: coveredUnits)))
                // What was used and freed since the last commit behind all that is in use is covered by none.
                let leaves = tree.pointers[0].count
                for leaf in allocator.dirtyLeaves() where leaf < leaves {
                    for level in 0...tree.levels {
                        if try add(level, leaf >> (EpochFormat.fanOutShift * level), allocator) { isComplete = false }
                    }
                }
                // The root of before becomes the first page of its level.
                for level in formerLevels..<tree.levels {
                    if try add(level + 1, 0, allocator) { isComplete = false }
                }
            }
        }

        /// Adds a page; false when it is there.
        private mutating func add(
            _ level: Int, _ index: Int, _ allocator: UnitAllocator
        ) throws(EpochFault) -> Bool {
            guard units[level][index] == nil else { return false }
            guard let unit = allocator.allocatePage(near: hint) else { throw .limit(.physicalUnits) }
            hint = unit + 1
            let old = tree.pointers[level][index]
            if old.kind == .page { _ = allocator.dropPage(old.unit) }
            units[level][index] = unit
            return true
        }

        private mutating func grow(to leaves: Int) {
            let levels = EpochFormat.levels(leaves: UInt64(leaves))
            while tree.pointers.count <= levels { tree.pointers.append([]) }
            while units.count <= levels { units.append([:]) }
            for level in 0...tree.levels {
                let count = (max(leaves, 1) - 1) >> (EpochFormat.fanOutShift * level) + 1
                while tree.pointers[level].count < count { tree.pointers[level].append(.nothing) }
            }
        }
    }
}
