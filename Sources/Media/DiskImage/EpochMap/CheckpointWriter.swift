internal import Bytes
internal import Platform

/// Writes a commit: maps, node table, free map, and then the superblock that makes them the state.
///
/// It begins when the allocator's commit has begun (`UnitAllocator.beginCommit`), under the same lock as the last
/// change before the cut, and ends that commit when it fails. From the cut on until its end no record is made that
/// leaves pages behind (`UnitAllocator.freePage`): the maps that are written may be those that have them.
struct CheckpointWriter: ~Copyable {
    /// Why there is no new commit.
    enum Failure: Error, Equatable, Sendable {
        /// The commit before is in the file, and nothing of this one: the units of its pages are free again, and what
        /// was to be written still is.
        case notWritten(EpochFault)
        /// The superblock may be in the file or not. Nothing may be written any more: an opening finds one of the two
        /// commits.
        case uncertain(EpochFault)
    }

    /// What a commit is of, besides pages.
    struct Content: Equatable, Sendable {
        /// The first frame to replay.
        var cut: JournalRing.Cut
        var epoch: UInt32
        var nextNode: UInt32
        /// Whether there are no frames from the cut on, and will be none before the next commit.
        var isClosed: Bool
        /// How many units the reserve should have.
        var reserveUnits: UInt64 = 0
    }

    private let reader: PageReader
    private let allocator: UnitAllocator
    private let former: EpochSuperblock
    private let birth: UInt32
    private var sink: PageSink
    private var hint: UInt64

    /// A commit behind that of `former`, whose pages of node table and free map are born in the epoch `birth`.
    init(_ reader: PageReader, _ allocator: UnitAllocator, former: EpochSuperblock, birth: UInt32) {
        self.reader = reader
        self.allocator = allocator
        self.former = former
        self.birth = birth
        sink = PageSink(reader.store)
        hint = former.freeMap.unit
    }

    /// Writes a new version of the map of a node. `body` puts the regions that have changed, in order. The pages have
    /// the epoch `birth`; those that they replace are dropped, but for those that `protection` keeps. After a failure
    /// the caller calls `abandon`.
    mutating func writeMap(
        _ root: UnitPointer, levels: Int, newLevels: Int, birth: UInt32, protection: Protection,
        units: UInt64 = .max,
        _ body: (inout PageTreeWriter, inout PageSink) throws(EpochFault) -> Void
    ) throws(EpochFault) -> UnitPointer {
        let tree = PageTree(reader: reader, root: root, levels: levels, isMap: true)
        var writer = PageTreeWriter(
            tree, levels: newLevels, birth: birth, protection: protection, allocator: allocator, hint: hint,
            units: units)
        try body(&writer, &sink)
        let root = try writer.finish(&sink)
        hint = writer.lastUnit
        // A map that is written next may be made of this one.
        try sink.flush()
        return root
    }

    /// Ends a commit that could not be written, before `finish`.
    consuming func abandon() { allocator.endCommit(isDurable: false) }

    /// Writes the rest. Gives the superblock of the commit, which is durable then; `tree` is its free map. The caller
    /// ends the allocator's commit when nobody reads pages any more that the commit does not have.
    ///
    /// The pages are durable before the superblock is written, and no other synchronisation of the file comes between
    /// the first of these and the last: `synchronizing` calls its body when it is the turn of this one, and gives its
    /// error number, or another one without calling it.
    consuming func finish(
        _ nodes: NodeTable, _ tree: inout FreeMapTree, _ content: Content,
        synchronizing: (() -> Int32) -> Int32 = { $0() }
    ) throws(Failure) -> EpochSuperblock {
        var newTree = tree
        let superblock: EpochSuperblock
        do throws(EpochFault) {
            superblock = try writePages(nodes, &newTree, content)
        } catch {
            allocator.endCommit(isDurable: false)
            throw .notWritten(error)
        }
        let store = reader.store
        let code = synchronizing {
            do throws(EpochFault) {
                try EpochSuperblock.synchronize(store)
                try superblock.write(to: store)
                return 0
            } catch {
                return error.code
            }
        }
        // A synchronisation that fails leaves nobody knowing what is in the file. The allocator's commit goes on, so
        // that no unit of either commit is ever given out.
        guard code == 0 else { throw .uncertain(.device(code)) }
        tree = newTree
        return superblock
    }

    private mutating func writePages(
        _ nodes: NodeTable, _ tree: inout FreeMapTree, _ content: Content
    ) throws(EpochFault) -> EpochSuperblock {
        guard former.commit < EpochSuperblock.commitLimit else { throw .limit(.commits) }
        var next = former
        next.commit += 1
        next.epoch = content.epoch
        next.nextNode = content.nextNode
        next.isClosed = content.isClosed
        next.firstOpening = former.opening
        next.firstFrame = UInt32(content.cut.position % UInt64(former.journalUnits))
        next.firstSequence = content.cut.sequence
        next.firstChain = content.cut.chain
        (next.nodeTable, next.nodeTableLevels) = try writeNodes(nodes)
        next.coveredUnits = try tree.write(
            covering: former.coveredUnits, allocator, birth: birth, seed: reader.seed, hint: hint, &sink)
        next.freeMap = tree.root
        next.freeMapLevels = tree.levels
        next.reserve = allocator.reserve(target: content.reserveUnits)
        // What cannot be read again is not written: a number has reached its limit.
        guard EpochSuperblock.decode(next.encoded().rawSpan) == .valid(next) else { throw .limit(.commits) }
        try sink.flush()
        return next
    }

    private mutating func writeNodes(_ nodes: NodeTable) throws(EpochFault) -> (UnitPointer, Int) {
        let levels = max(nodes.levels, former.nodeTableLevels)
        let isDamaged = dropDamagedTable()
        var writer = PageTreeWriter(
            PageTree(
                reader: reader, root: isDamaged ? .nothing : former.nodeTable, levels: former.nodeTableLevels,
                isMap: false),
            levels: levels, birth: birth, protection: nil, allocator: allocator, hint: hint)
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for leaf in isDamaged ? Array(0..<nodes.leafCount) : nodes.dirtyLeaves.sorted() {
            if page.modifyBytes({ nodes.encode(leaf: leaf, into: &$0) }) {
                try writer.put(UInt64(leaf), page: page.rawSpan, &sink)
            } else {
                try writer.put(UInt64(leaf), .nothing, &sink)
            }
        }
        let root = try writer.finish(&sink)
        hint = writer.lastUnit
        return (root, levels)
    }

    /// Whether a page above the leaves of the node table is damaged. All that the table has is in memory, so it is
    /// written anew then; the pages that are still known are dropped.
    private func dropDamagedTable() -> Bool {
        var known: [UnitPointer] = []
        var isDamaged = false
        func visit(_ pointer: UnitPointer, _ level: Int) {
            guard pointer.kind == .page else { return }
            known.append(pointer)
            guard level > 0 else { return }
            do throws(EpochFault) {
                for next in try reader.page(pointer, level: level, isMap: false).pointers { visit(next, level - 1) }
            } catch {
                if error.isDamagedPage { isDamaged = true }
            }
        }
        visit(former.nodeTable, former.nodeTableLevels)
        guard isDamaged else { return false }
        for pointer in known { _ = allocator.dropPage(pointer.unit) }
        return true
    }
}

extension EpochSuperblock {
    /// Writes all copies, one pair after the other, each of which is durable before the next one. Until the return the
    /// commit before is whole: whichever of both an opening finds, nothing is lost.
    func write(to store: any ByteStore) throws(EpochFault) {
        let bytes = encoded()
        for pair in pairs {
            for copy in pair {
                switch store.write(bytes.rawSpan, offset: EpochFormat.offset(ofUnit: Self.unit(ofCopy: copy))) {
                case .done(let count): guard count == bytes.count else { throw .device(Errno.inputOutput) }
                case .wouldBlock: throw .device(Errno.wouldBlock)
                case .failed(let code): throw .device(code)
                }
            }
            try Self.synchronize(store)
        }
    }

    static func synchronize(_ store: any ByteStore) throws(EpochFault) {
        let code = store.synchronizeData()
        guard code == 0 else { throw .device(code) }
    }

    /// What an opening writes before anything else: the same commit under the next number, to which frames follow.
    /// Frames before it begin with `survey`.
    func opened(_ survey: JournalSurvey) throws(EpochFault) -> EpochSuperblock {
        guard commit < Self.commitLimit, opening < Self.commitLimit else { throw .limit(.commits) }
        var next = self
        next.commit += 1
        next.opening += 1
        next.isClosed = false
        // No frame of before follows on the commit.
        if survey.units == 0 { next.firstOpening = next.opening }
        return next
    }

    /// What the first commit of a family follows: commit 0, which is never in a file.
    static func beforeFirst(uuid: [UInt8], journalUnits: UInt32) -> EpochSuperblock {
        let units = EpochFormat.journalStart + UInt64(journalUnits)
        return EpochSuperblock(
            uuid: uuid, commit: 0, coveredUnits: units, journalUnits: journalUnits, firstFrame: 0, firstSequence: 1,
            firstChain: 0, epoch: 1, nextNode: 1, isClosed: false, freeMapLevels: 1, nodeTableLevels: 1,
            freeMap: .nothing, nodeTable: .nothing)
    }

    /// Makes all copies of a file invalid, and durably so, before a family is made in it: what was there before might
    /// have a commit with a higher number. 0 or an error number.
    static func eraseCopies(_ store: any ByteStore) -> Int32 {
        let zeros = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for copy in 0..<EpochFormat.superblockCopies {
            switch store.write(zeros.rawSpan, offset: EpochFormat.offset(ofUnit: unit(ofCopy: copy))) {
            case .done: break
            case .wouldBlock: return Errno.wouldBlock
            case .failed(let code): return code
            }
        }
        return store.synchronizeData()
    }
}

extension NodeTable {
    /// The node table of a commit.
    static func read(_ superblock: EpochSuperblock, _ reader: PageReader) throws(EpochFault) -> NodeTable {
        let tree = PageTree(
            reader: reader, root: superblock.nodeTable, levels: superblock.nodeTableLevels, isMap: false)
        var table = NodeTable()
        var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        let leaves = 1 << (EpochFormat.fanOutShift * superblock.nodeTableLevels)
        for leaf in 0..<UInt64(leaves) {
            let pointer = try tree.pointer(toLeaf: leaf)
            guard pointer.kind == .page else { continue }
            var elements = bytes.mutableSpan
            var target = unsafe elements.mutableBytes
            try reader.read(pointer, level: 0, into: &target)
            try table.decode(leaf: Int(leaf), target.bytes)
        }
        try table.finishDecoding(epoch: superblock.epoch, nextNode: superblock.nextNode)
        return table
    }
}
