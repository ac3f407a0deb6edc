internal import Bytes
internal import Platform

/// What a replay has done.
struct Replayed {
    /// The frames that count; `confirmed` is what the last one says.
    private(set) var survey: JournalSurvey
    /// Those of them that no frame confirms.
    private(set) var unconfirmed: [RecordCollection.Frame] = []
    /// The unit of the first frame that does not count, and is not to be found again.
    var lostFrame: UInt64?

    init(survey: JournalSurvey) { self.survey = survey }

    mutating func add(
        _ frame: JournalFrame, _ records: [JournalRecord], _ survey: JournalSurvey, isConfirmed: Bool
    ) {
        self.survey = survey
        guard !isConfirmed else { return }
        unconfirmed.append(RecordCollection.Frame(sequence: frame.sequence, records: records))
    }
}

/// Doing again what the journal says.
extension FamilyState {
    /// Does again all that counts of the journal: all frames up to the first one that may not have been durable, and of
    /// which data are not what it says.
    func replay(
        _ store: any ByteStore, _ superblock: EpochSuperblock, _ survey: JournalSurvey, _ reader: PageReader
    ) throws(EpochFault) -> Replayed {
        var scan = JournalScan(store, superblock)
        var replayed = Replayed(survey: scan.survey)
        let checksums = DataChecksums(store, superblock)
        while let frame = try scan.next() {
            let records = try Self.records(of: frame, scan)
            // Before anything is read there: units of the pool only have a checksum.
            for (record, slot) in records where !superblock.hasInPool(record) {
                throw .damaged(.record(sequence: frame.sequence, slot: slot))
            }
            let isConfirmed = frame.sequence <= survey.confirmed
            if !isConfirmed {
                var isWritten = true
                for (record, _) in records where isWritten { isWritten = try Self.isWritten(record, store) }
                if isWritten, let checksums { isWritten = try checksums.settle(records) }
                guard isWritten else {
                    replayed.lostFrame = EpochFormat.journalStart + UInt64(scan.offset(of: frame))
                    return replayed
                }
            }
            for (record, slot) in records {
                let isDone = try replay(record, reader)
                if !isDone { throw .damaged(.record(sequence: frame.sequence, slot: slot)) }
            }
            // The records of a command are in one frame, and leave whole extents.
            for (record, slot) in records where !hasWholeExtents(around: record) {
                throw .damaged(.record(sequence: frame.sequence, slot: slot))
            }
            replayed.add(frame, records.map(\.0), scan.survey, isConfirmed: isConfirmed)
            if isConfirmed {
                for (record, _) in records { confirm(record) }
            }
        }
        return replayed
    }

    private static func records(
        of frame: JournalFrame, _ scan: borrowing JournalScan
    ) throws(EpochFault) -> [(JournalRecord, Int)] {
        var records: [(JournalRecord, Int)] = []
        let bad = scan.withBytes(of: frame) { bytes in
            frame.forEachRecord(in: bytes) { record, slot in
                records.append((record, slot))
                return true
            }
        }
        if let bad { throw .damaged(.record(sequence: frame.sequence, slot: bad)) }
        return records
    }

    /// Whether the data of a record are what it says; of records without data, yes.
    private static func isWritten(_ record: JournalRecord, _ store: any ByteStore) throws(EpochFault) -> Bool {
        guard let (units, checksum) = record.written else { return true }
        var value: UInt32 = 0
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for unit in units {
            let offset = EpochFormat.offset(ofUnit: unit)
            switch page.modifyBytes({ store.read(into: &$0, offset: offset, mode: .blocking) }) {
            case .done(let length):
                if length < page.count { return false }
                value = CRC32C.checksum(page.rawSpan, previous: value)
            case .wouldBlock: throw .device(Errno.wouldBlock)
            case .failed(let code):
                // After a power failure a device may not be able to read what it was writing. That is a block that
                // cannot be read, and no reason to lose all others.
                guard code == Errno.inputOutput else { throw .device(code) }
                return true
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
        var content = RegionContent.uniform(.lost)
        do throws(EpochFault) {
            content = try reader.region(region, of: root)
        } catch {
            // The record counts, and what else was there is lost: nobody knows which units it had.
            guard error.isDamagedPage else { throw error }
            noteLoss()
        }
        head.map.load(region, content.region(memory, units: node.record.unitsInRegion(region)))
    }

    private func replayMerging(_ number: UInt32, _ end: UInt64, _ reader: PageReader) throws(EpochFault) -> Bool {
        guard let node = mergedNode(number) else { return false }
        guard end >= node.record.pagesDone, end <= node.record.firstLevelPages else { return false }
        var pages = replayPages(node)
        var needs = merge(node, to: end, pages, frame: 0)
        while !needs.isEmpty {
            try pages.read(needs, reader, takesLosses: true)
            needs = merge(node, to: end, pages, frame: 0)
        }
        if pages.hasLosses { noteLoss() }
        return true
    }

    private func replayRemoval(_ number: UInt32, _ reader: PageReader) throws(EpochFault) -> Bool {
        guard let node = mergedNode(number) else { return false }
        guard node.record.pagesDone == node.record.firstLevelPages else { return false }
        let pages = replayPages(node)
        var upper: [UnitPointer] = []
        do throws(EpochFault) {
            upper = try reader.upperPages(of: pages.root, not: pages.childRoot)
        } catch {
            guard error.isDamagedPage else { throw error }
            noteLoss()
        }
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
