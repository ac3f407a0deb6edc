internal import Bytes

/// The nodes of a family, each in a slot of the table that it keeps.
///
/// A copy is what a commit sets aside.
struct NodeTable: Sendable {
    /// The records of a leaf.
    static let leafRecords = EpochFormat.unitLength / NodeRecord.byteCount

    private var slots: [NodeRecord?] = []
    private var places: [UInt32: Int] = [:]
    private var free: [Int] = []
    /// The leaves in which something has changed since `setClean`.
    private(set) var dirtyLeaves: Set<Int> = []

    /// No nodes.
    init() {}

    var count: Int { places.count }
    /// The leaves up to the last slot that was ever used, at least one.
    var leafCount: Int { max(1, (slots.count + Self.leafRecords - 1) / Self.leafRecords) }
    /// The levels of pages above the leaves.
    var levels: Int { EpochFormat.levels(leaves: UInt64(leafCount)) }
    /// All nodes, by their numbers.
    var records: [NodeRecord] { slots.compactMap { $0 }.sorted { $0.number < $1.number } }

    subscript(number: UInt32) -> NodeRecord? {
        places[number].flatMap { slots[$0] }
    }

    /// Adds a node, or puts it in the place of the one with its number.
    mutating func put(_ record: NodeRecord) throws(EpochFault) {
        if let slot = places[record.number] {
            guard slots[slot] != record else { return }
            slots[slot] = record
            dirtyLeaves.insert(slot / Self.leafRecords)
            return
        }
        guard count < EpochFormat.nodeLimit else { throw .limit(.nodes) }
        let slot: Int
        if let last = free.popLast() {
            slot = last
            slots[slot] = record
        } else {
            slot = slots.count
            slots.append(record)
        }
        places[record.number] = slot
        dirtyLeaves.insert(slot / Self.leafRecords)
    }

    /// Takes a node out.
    mutating func remove(_ number: UInt32) {
        guard let slot = places.removeValue(forKey: number) else { return }
        slots[slot] = nil
        free.append(slot)
        dirtyLeaves.insert(slot / Self.leafRecords)
    }

    /// What is there is in the file.
    mutating func setClean() { dirtyLeaves = [] }

    /// What an unfinished commit has not written is dirty again.
    mutating func setDirty(_ leaves: Set<Int>) { dirtyLeaves.formUnion(leaves) }

    // MARK: Bytes

    /// Writes a leaf to `target`, a unit; false when no node is in it.
    @_lifetime(target: copy target)
    func encode(leaf: Int, into target: inout MutableRawSpan) -> Bool {
        target.fill(at: 0, count: EpochFormat.unitLength)
        var isUsed = false
        for index in 0..<Self.leafRecords {
            let slot = leaf * Self.leafRecords + index
            guard slot < slots.count, let record = slots[slot] else { continue }
            record.encode(into: &target, at: index * NodeRecord.byteCount)
            isUsed = true
        }
        return isUsed
    }

    /// Adds the nodes of a leaf; leaves come in order. One that is all zero may be left out.
    mutating func decode(leaf: Int, _ source: RawSpan) throws(EpochFault) {
        guard source.byteCount == EpochFormat.unitLength, leaf >= 0,
            leaf < EpochFormat.nodeLimit / Self.leafRecords, leaf * Self.leafRecords >= slots.count
        else { throw .damaged(.nodeTable) }
        while slots.count < (leaf + 1) * Self.leafRecords { slots.append(nil) }
        for index in 0..<Self.leafRecords {
            let offset = index * NodeRecord.byteCount
            let number = source.loadBE32(at: offset)
            if number == 0 { continue }
            guard places[number] == nil, let record = NodeRecord(source, at: offset) else {
                throw .damaged(.node(number))
            }
            let slot = leaf * Self.leafRecords + index
            slots[slot] = record
            places[number] = slot
        }
    }

    /// Ends the reading of leaves: checks that the nodes agree with each other and with the superblock. Then parents
    /// exist, are snapshots and have lower epochs, so nobody is their own ancestor.
    mutating func finishDecoding(epoch: UInt32, nextNode: UInt32) throws(EpochFault) {
        free = slots.indices.filter { slots[$0] == nil }.reversed()
        for case .some(let record) in slots {
            guard record.number < nextNode, record.map.birth <= epoch else { throw .damaged(.node(record.number)) }
            var parentEpoch: UInt32 = 0
            if record.parent != 0 {
                guard let parent = self[record.parent], parent.kind == .snapshot else {
                    throw .damaged(.node(record.number))
                }
                parentEpoch = parent.epoch
            }
            switch record.kind {
            case .head: guard record.epoch == parentEpoch else { throw .damaged(.node(record.number)) }
            case .snapshot:
                guard record.epoch > parentEpoch, record.epoch < epoch else { throw .damaged(.node(record.number)) }
            }
        }
    }
}
