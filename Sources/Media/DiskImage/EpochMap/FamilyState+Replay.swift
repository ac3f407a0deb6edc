internal import Bytes
internal import Platform

/// Doing again what the journal says.
extension FamilyState {
    /// Does again all that counts of the journal.
    func replay(
        _ store: any ByteStore, _ superblock: EpochSuperblock, _ survey: JournalSurvey, _ reader: PageReader
    ) throws(EpochFault) {
        var scan = JournalScan(store, superblock)
        while let frame = try scan.next() {
            var records: [(JournalRecord, Int)] = []
            let bad = scan.withBytes(of: frame) { bytes in
                frame.forEachRecord(in: bytes) { record, slot in
                    records.append((record, slot))
                    return true
                }
            }
            if let bad { throw .damaged(.record(sequence: frame.sequence, slot: bad)) }
            for (record, slot) in records {
                if frame.sequence > survey.confirmed {
                    let counts = try Self.isWritten(record, store)
                    if !counts { continue }
                }
                let isDone = try replay(record, reader)
                if !isDone { throw .damaged(.record(sequence: frame.sequence, slot: slot)) }
            }
        }
    }

    /// Whether the data of a record are what it says; of records without data, yes.
    private static func isWritten(_ record: JournalRecord, _ store: any ByteStore) throws(EpochFault) -> Bool {
        guard case .data(_, _, let unit, let count, let checksum) = record else { return true }
        var value: UInt32 = 0
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for index in 0..<UInt64(count) {
            let offset = EpochFormat.offset(ofUnit: unit + index)
            switch page.modifyBytes({ store.read(into: &$0, offset: offset, mode: .blocking) }) {
            case .done(let length):
                if length < page.count { return false }
                value = CRC32C.checksum(page.rawSpan, previous: value)
            case .wouldBlock: throw .device(Errno.wouldBlock)
            case .failed(let code): throw .device(code)
            }
        }
        return value == checksum
    }

    /// Applies a record of the journal; false when the state does not allow it.
    func replay(_ record: JournalRecord, _ reader: PageReader) throws(EpochFault) -> Bool {
        switch record {
        case .merging(let number, let pages): return try replayMerging(number, pages, reader)
        case .removal(let number): return try replayRemoval(number, reader)
        default: break
        }
        while let missing = missingRegion(for: record) { try load(missing.head, missing.region, reader) }
        return isApplied(record)
    }

    private func isApplied(_ record: JournalRecord) -> Bool {
        do {
            try apply(record, frame: 0)
            return true
        } catch {
            return false
        }
    }

    private func load(_ head: LiveHead, _ region: UInt64, _ reader: PageReader) throws(EpochFault) {
        guard let node = node(head.number) else { preconditionFailure("a head that is written is a node") }
        let (leaf, root) = node.layer.resolve(region)
        if let leaf {
            head.map.load(region, .leaf(Leaf.make(memory) { leaf[$0] }))
            return
        }
        let content = try reader.region(region, of: root)
        head.map.load(region, content.region(memory, units: node.record.unitsInRegion(region)))
    }

    private func replayMerging(_ number: UInt32, _ end: UInt64, _ reader: PageReader) throws(EpochFault) -> Bool {
        guard let node = mergedNode(number) else { return false }
        guard end >= node.record.pagesDone, end <= node.record.firstLevelPages else { return false }
        var pages = replayPages(node)
        var needs = merge(node, to: end, pages, frame: 0)
        while !needs.isEmpty {
            try pages.read(needs, reader)
            needs = merge(node, to: end, pages, frame: 0)
        }
        return true
    }

    private func replayRemoval(_ number: UInt32, _ reader: PageReader) throws(EpochFault) -> Bool {
        guard let node = mergedNode(number) else { return false }
        guard node.record.pagesDone == node.record.firstLevelPages else { return false }
        let pages = replayPages(node)
        let upper = try reader.upperPages(of: pages.root, not: pages.childRoot)
        finishMerge(node, upper: upper)
        return true
    }

    /// A node that can be merged: what was merged was in a commit, though what its child has meanwhile may not be.
    private func mergedNode(_ number: UInt32) -> TreeNode? {
        guard let node = node(number), node.record.isBeingDeleted, node.children.count <= 1, node.layer.isCommitted,
            node.children.allSatisfy({ self.node($0)?.record.pagesDone == 0 })
        else { return nil }
        return node
    }

    private func replayPages(_ node: TreeNode) -> MergePages {
        let child = node.children.first.flatMap { self.node($0) }
        return MergePages(root: node.layer.root, childRoot: child?.layer.bottom ?? .nothing)
    }
}
