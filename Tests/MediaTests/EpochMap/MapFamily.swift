import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

/// A family that only has maps: nodes, what they map, and commits, with a model of what each node has.
final class MapFamily {
    typealias Region = [UInt64]

    let store: SimulatedStore
    let reader: PageReader
    let allocator: UnitAllocator
    var superblock: EpochSuperblock
    var nodes = NodeTable()
    var tree = FreeMapTree()
    var epoch: UInt32 = 1
    var nextNode: UInt32 = 1
    var frame: UInt64 = 1
    /// What nodes have, without regions that are nothing.
    var model: [UInt32: [UInt64: Region]] = [:]
    /// The regions of heads that differ from their maps in the file.
    var dirty: [UInt32: Set<UInt64>] = [:]
    /// Snapshots that are in no commit, with the dirty regions of then.
    var pending: [(snapshot: UInt32, head: UInt32, regions: [UInt64: Region])] = []
    /// The levels of maps in the file, where they differ.
    private var formerLevels: [UInt32: Int] = [:]
    private static let uuid = [UInt8](20..<36)
    private static let time = CalendarTime(seconds: 1_700_000_000)

    init(limit: UInt64 = EpochFormat.physicalUnitLimit) throws {
        store = SimulatedStore([UInt8](repeating: 0, count: (16 + 64) * 4096))
        superblock = .beforeFirst(uuid: Self.uuid, journalUnits: 64)
        reader = PageReader(store, seed: superblock.seed, firstUnit: superblock.firstPoolUnit)
        var map = FreeMap(limit: limit)
        _ = map.adopt(0..<superblock.firstPoolUnit)
        allocator = UnitAllocator(map)
    }

    @discardableResult
    func addHead(below parent: UInt32 = 0, capacity: UInt64 = 0) throws -> UInt32 {
        let number = nextNode
        nextNode += 1
        let above = nodes[parent]
        var record = NodeRecord(
            number: number, parent: parent, epoch: above?.epoch ?? 0, kind: .head,
            capacity: above?.capacity ?? capacity, blockSize: 512, time: try #require(Self.time), uuid: Self.uuid,
            name: "head \(number)")
        if let above {
            record.map = above.map
            epoch += 1
        }
        try nodes.put(record)
        model[number] = model[parent] ?? [:]
        dirty[number] = []
        return number
    }

    /// Puts data, or nothing, at units of a region.
    func write(_ head: UInt32, _ region: UInt64, _ indices: Range<Int>, isData: Bool = true) throws {
        let record = try #require(nodes[head])
        var words = model[head]?[region] ?? Region(repeating: 0, count: 512)
        let last = words[indices.lowerBound]
        var unit = MapEntry(rawValue: last).isData ? MapEntry(rawValue: last).unit : 0
        var index = indices.lowerBound
        while index < indices.upperBound {
            var run: Range<UInt64> = 0..<UInt64(indices.upperBound - index)
            if isData {
                run = try #require(allocator.allocate(UInt64(indices.upperBound - index), near: unit))
                #expect(allocator.enter(run))
                unit = run.upperBound
            }
            for offset in run {
                let old = MapEntry(rawValue: words[index])
                if old.isData, old.birth > record.epoch {
                    #expect(allocator.free(old.unit..<old.unit + 1, frame: frame))
                }
                words[index] = isData ? MapEntry.data(offset, birth: epoch).rawValue : 0
                index += 1
            }
        }
        model[head]?[region] = words.allSatisfy { $0 == 0 } ? nil : words
        dirty[head]?.insert(region)
    }

    @discardableResult
    func snapshot(_ head: UInt32) throws -> UInt32 {
        var record = try #require(nodes[head])
        let number = nextNode
        nextNode += 1
        var snapshot = NodeRecord(
            number: number, parent: record.parent, epoch: epoch, kind: .snapshot, capacity: record.capacity,
            blockSize: 512, time: record.time, uuid: Self.uuid, name: "snapshot \(number)")
        snapshot.map = record.map
        record.parent = number
        record.epoch = epoch
        epoch += 1
        model[number] = model[head]
        var regions: [UInt64: Region] = [:]
        for region in dirty[head] ?? [] { regions[region] = model[head]?[region] ?? [] }
        pending.append((number, head, regions))
        dirty[head] = []
        try nodes.put(snapshot)
        try nodes.put(record)
        return number
    }

    /// Makes a disk larger.
    func grow(_ head: UInt32, to capacity: UInt64) throws {
        var record = try #require(nodes[head])
        formerLevels[head] = record.levels
        record.capacity = capacity
        record.levels = NodeRecord.levels(capacity: capacity)
        try nodes.put(record)
    }

    // MARK: Commits

    private func put(
        _ region: UInt64, _ words: Region, _ writer: inout PageTreeWriter, _ sink: inout PageSink
    ) throws(EpochFault) {
        if words.isEmpty { return try writer.put(region, .nothing, &sink) }
        let first = MapEntry(rawValue: words[0])
        let isRun = words.enumerated().allSatisfy {
            first.isData && $1 == MapEntry.data(first.unit + UInt64($0), birth: first.birth).rawValue
        }
        if isRun { return try writer.put(region, .run(first.unit, birth: first.birth), &sink) }
        var page = [UInt8](repeating: 0, count: 4096)
        page.modifyBytes { page in
            for (index, word) in words.enumerated() { page.storeBE64(word, at: index * 8) }
        }
        try writer.put(region, page: page.rawSpan, &sink)
    }

    private func writeMap(
        _ writer: inout CheckpointWriter, _ root: UnitPointer, _ record: NodeRecord, birth: UInt32,
        _ regions: [UInt64: Region]
    ) throws(EpochFault) -> UnitPointer {
        let parentEpoch = nodes[record.parent]?.epoch ?? 0
        return try writer.writeMap(
            root, levels: formerLevels[record.number] ?? record.levels, newLevels: record.levels, birth: birth,
            protection: Protection(epoch: parentEpoch)
        ) { (writer, sink) throws(EpochFault) in
            for region in regions.keys.sorted() { try self.put(region, regions[region] ?? [], &writer, &sink) }
        }
    }

    /// Writes a commit; nothing of the family changes when it fails.
    func commit(isClosed: Bool = false, during: () throws -> Void = {}) throws {
        allocator.release(frameDurable: frame)
        #expect(allocator.beginCommit(cut: frame))
        frame += 1
        var written = nodes
        var writer = CheckpointWriter(reader, allocator, former: superblock, birth: epoch)
        // What is written is set aside.
        let (pending, dirty) = (pending, dirty)
        // In order, so that the same operations make the same calls.
        let heads = dirty.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }.map { head, regions in
            (head, Dictionary(uniqueKeysWithValues: regions.map { ($0, model[head]?[$0] ?? []) }))
        }
        let content = CheckpointWriter.Content(
            cut: JournalRing.Cut(position: 0, sequence: frame, chain: 0), epoch: epoch, nextNode: nextNode,
            isClosed: isClosed)
        try during()
        do {
            for (number, head, regions) in pending {
                guard var snapshot = written[number], var record = written[head] else { continue }
                // The map of the head is that of the last snapshot before, or of the last commit.
                snapshot.map = try writeMap(&writer, record.map, snapshot, birth: snapshot.epoch, regions)
                record.map = snapshot.map
                try written.put(snapshot)
                try written.put(record)
            }
            for (head, regions) in heads {
                guard var record = written[head] else { continue }
                record.map = try writeMap(&writer, record.map, record, birth: content.epoch, regions)
                try written.put(record)
            }
        } catch {
            writer.abandon()
            throw error
        }
        superblock = try writer.finish(written, &tree, content)
        allocator.endCommit(isDurable: true)
        for record in written.records {
            guard var mine = nodes[record.number] else { continue }
            mine.map = record.map
            try nodes.put(mine)
        }
        nodes.setClean()
        formerLevels = [:]
        self.pending.removeFirst(pending.count)
        for (head, _) in heads { self.dirty[head]?.subtract(dirty[head] ?? []) }
    }

    // MARK: Merging

    /// Does the next page of level 1 of a node that is being deleted and has one child; false when all are done, and it
    /// is gone. Nothing waits for a commit then.
    func mergeStep(_ number: UInt32) throws -> Bool {
        var node = try #require(nodes[number])
        var child = try #require(nodes.records.first { $0.parent == number })
        let above = nodes[node.parent]
        func map(_ record: NodeRecord?) -> PageTree {
            PageTree(reader: reader, root: record?.map ?? .nothing, levels: record?.levels ?? 1, isMap: true)
        }
        node.isBeingDeleted = true
        if node.pagesDone == node.firstLevelPages {
            for level in 2...max(node.levels, 2) where level <= node.levels {
                let count = (node.firstLevelPages - 1) >> UInt64(8 * (level - 1)) + 1
                for index in 0..<count {
                    try freePage(map(node), map(above), map(child), level, index)
                }
            }
            child.parent = node.parent
            if child.kind == .head { child.epoch = above?.epoch ?? 0 }
            nodes.remove(number)
            try nodes.put(child)
            model[number] = nil
            return false
        }
        let page = node.pagesDone
        var (a, b, c) = (Region(repeating: 0, count: 512), Region(repeating: 0, count: 512), [UInt64]())
        c = a
        for leaf in page * 256..<min((page + 1) * 256, node.regions) {
            try reader.region(map(node).pointer(toLeaf: leaf), into: &a)
            try reader.region(map(above).pointer(toLeaf: leaf), into: &b)
            try reader.region(map(child).pointer(toLeaf: leaf), into: &c)
            for index in 0..<512 where a[index] != 0 && a[index] != b[index] && a[index] != c[index] {
                let unit = MapEntry(rawValue: a[index]).unit
                #expect(allocator.free(unit..<unit + 1, frame: frame))
            }
            try freePage(map(node), map(above), map(child), 0, leaf)
        }
        try freePage(map(node), map(above), map(child), 1, page)
        node.pagesDone += 1
        try nodes.put(node)
        return true
    }

    private func pointer(_ tree: PageTree, _ level: Int, _ index: UInt64) throws -> UnitPointer {
        var pointer = tree.root
        for above in stride(from: tree.levels, to: level, by: -1) {
            guard pointer.kind == .page else { return .nothing }
            let page = try reader.page(pointer, level: above, isMap: true)
            pointer = page.pointers[Int(index >> UInt64(8 * (above - 1 - level))) & 255]
        }
        return pointer
    }

    private func freePage(
        _ node: PageTree, _ above: PageTree, _ child: PageTree, _ level: Int, _ index: UInt64
    ) throws {
        let own = try pointer(node, level, index)
        let parents = above.root == .nothing ? UnitPointer.nothing : try pointer(above, level, index)
        guard own.kind == .page, own != parents, try own != pointer(child, level, index) else { return }
        #expect(allocator.freePage(own.unit))
    }

    // MARK: Reading

    /// Whether the nodes of a commit in `store` are what the model has.
    func verify(_ store: SimulatedStore) throws {
        let superblock = try #require(Self.newest(store))
        let reader = PageReader(store, seed: superblock.seed, firstUnit: superblock.firstPoolUnit)
        let table = try NodeTable.read(superblock, reader)
        #expect(table.records.map(\.number) == nodes.records.map(\.number))
        for record in table.records where !record.isBeingDeleted {
            let tree = PageTree(reader: reader, root: record.map, levels: record.levels, isMap: true)
            let regions = model[record.number] ?? [:]
            var words = Region(repeating: 0, count: 512)
            let some = Set(regions.keys).union([0, 1, 255, 256, record.regions - 1])
            for region in some {
                try reader.region(tree.pointer(toLeaf: region), into: &words)
                #expect(words == regions[region] ?? Region(repeating: 0, count: 512), "\(record.number) \(region)")
            }
        }
    }

    /// What a check finds, but for the length of the file: there are no data in it.
    static func check(_ store: any ByteStore) -> EpochReport {
        var report = EpochChecker.check(store)
        let count = report.findings.count
        report.findings.removeAll { if case .damaged(.truncated) = $0 { true } else { false } }
        report.findingCount -= count - report.findings.count
        return report
    }

    static func newest(_ store: any ByteStore) -> EpochSuperblock? {
        guard case .valid(let block) = EpochSuperblock.newest(of: EpochSuperblock.readCopies(store)) else { return nil }
        return block
    }
}
