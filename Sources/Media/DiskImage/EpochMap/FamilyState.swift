internal import Platform
internal import Synchronization

/// The state of a family: tree, maps and units in use. Under the family's lock.
///
/// The journal is a log of operations on it. Whether they are done for a command or by a replay, they go through
/// `apply`, in the same order, so that both come to the same state.
final class FamilyState: @unchecked Sendable {
    /// Closed layers above which a checkpoint begins: so deep a lookup in a snapshot goes that no commit has.
    static let closedLayerLimit = 256

    let memory: MapMemory
    /// Those of the nodes that are written.
    let heads: LiveHeads
    let units: UnitAllocator
    /// Whether heads overwrite nothing in place.
    private let isCopied: Bool
    /// Whether records come from the journal.
    private(set) var isReplaying: Bool
    /// Whether extents may be compressed.
    var hasExtents = false
    private(set) var nodes: [UInt32: TreeNode] = [:]
    /// The numbers of the nodes of each name that is not gone.
    private var numbers: [String: [UInt32]] = [:]
    /// What a commit writes of the nodes.
    private(set) var table = NodeTable()
    /// What is allocated now is born in it.
    private(set) var epoch: UInt32
    /// The number that the next node gets.
    private(set) var nextNode: UInt32
    private var lastLayer: UInt64 = 0
    /// Nodes that are being deleted, or go when one child is left.
    private(set) var unwanted: Set<UInt32> = []
    /// Those of them that may have a step to do: whoever else becomes one that has is added.
    private var work = MergeWork()
    /// Of nodes that cannot be merged, because pages cannot be read, why.
    private var stuck: [UInt32: EpochFault] = [:]
    /// The most bytes that a head has had.
    private(set) var largestCapacity: UInt64 = 0
    /// Whether a replay has met something that is lost: units that it had may be in use and nobody's, and be used again
    /// by later records.
    private(set) var hasLosses = false
    /// Layers that were closed since the last commit began.
    private(set) var closedLayers = 0

    init(
        memory: MapMemory, heads: LiveHeads, units: UnitAllocator, epoch: UInt32, nextNode: UInt32,
        isCopied: Bool = false
    ) {
        self.isCopied = isCopied
        isReplaying = true
        self.memory = memory
        self.heads = heads
        self.units = units
        self.epoch = epoch
        self.nextNode = nextNode
    }

    // MARK: Nodes

    /// The node; nil when there is none.
    func node(_ number: UInt32) -> TreeNode? { nodes[number] }

    /// The nodes of a name, in the order in which they got it.
    func nodes(named name: String) -> [TreeNode] { (numbers[name] ?? []).compactMap { nodes[$0] } }

    private func setName(_ name: String, of number: UInt32, insteadOf former: String) {
        guard name != former else { return }
        if !former.isEmpty {
            numbers[former]?.removeAll { $0 == number }
            if numbers[former]?.isEmpty == true { numbers[former] = nil }
        }
        if !name.isEmpty { numbers[name, default: []].append(number) }
    }

    /// A head that is written; nil when the node is none.
    func head(_ number: UInt32) -> TreeNode? {
        guard let node = nodes[number], node.isWritable else { return nil }
        return node
    }

    /// Adds what a node table has, parents first or not.
    func load(_ table: NodeTable) {
        self.table = table
        for record in table.records {
            let layer = MapLayer(
                number: newLayerNumber(), root: MapRoot(pointer: record.map, levels: record.levels),
                owner: record.number, capacity: record.capacity, memory: memory)
            let node = TreeNode(record, layer: layer)
            nodes[record.number] = node
            setName(record.name, of: record.number, insteadOf: "")
            if record.kind == .head, !record.isBeingDeleted { open(node, isNew: false) }
        }
        for record in table.records {
            nodes[record.parent]?.children.append(record.number)
        }
        for record in table.records where record.isBeingDeleted || record.isNameless {
            unwanted.insert(record.number)
            if let node = nodes[record.number] { work.add(node) }
        }
    }

    /// Adds the first head, of which all is nothing.
    func addFirst(_ record: NodeRecord) throws(EpochFault) {
        try table.put(record)
        setName(record.name, of: record.number, insteadOf: "")
        let layer = MapLayer(
            number: newLayerNumber(), root: MapRoot(pointer: record.map, levels: record.levels),
            owner: record.number, capacity: record.capacity, memory: memory)
        let node = TreeNode(record, layer: layer)
        nodes[record.number] = node
        open(node, isNew: true)
    }

    /// A layer of its own on that of `node`, and a live map: from now on it is written.
    private func open(_ node: TreeNode, isNew: Bool) {
        let map = RegionMap(regions: node.record.regions, isNew: isNew, memory: memory)
        largestCapacity = max(largestCapacity, node.record.capacity)
        let live = LiveHead(
            number: node.number, map: map, capacity: node.record.capacity, protectedEpoch: node.record.epoch,
            isCopied: isCopied)
        node.live = live
        heads[node.number] = live
        node.layer = newLayer(on: node.layer, of: node)
    }

    /// From now on it is not written.
    private func close(_ node: TreeNode, _ live: LiveHead) {
        node.live = nil
        heads[node.number] = nil
        live.protectedEpoch.store(LiveHead.closed, ordering: .sequentiallyConsistent)
    }

    /// A topmost layer for a head.
    private func newLayer(on below: MapLayer, of head: TreeNode) -> MapLayer {
        MapLayer(number: newLayerNumber(), on: below, owner: head.number, map: head.live?.map)
    }

    private func newLayerNumber() -> UInt64 {
        lastLayer += 1
        return lastLayer
    }

    /// Closes the layer that collects the changes of a head, if there are any; what has the head's map now.
    @discardableResult
    func closeLayer(of head: TreeNode) -> MapLayer {
        let top = head.layer
        guard head.isWritable else { return top }
        if !top.isChanged, let below = top.below { return below }
        top.close(epoch: epoch)
        closedLayers += 1
        head.layer = newLayer(on: top, of: head)
        return top
    }

    /// Puts the record of a node into the table again.
    func update(_ node: TreeNode) { put(node) }

    /// The regions that no commit has.
    var changedRegions: Int { memory.changedCount }

    /// What is changed from now on belongs to the next commit.
    func beginCommit() {
        table.setClean()
        closedLayers = 0
    }

    /// What a failed commit has not written is to be written.
    func setTableDirty(_ leaves: Set<Int>) { table.setDirty(leaves) }

    /// The next node that can be merged, or else one whose deletion can begin.
    func nextUnwanted(
        merging mayMerge: (TreeNode) -> Bool, beginning mayBegin: (TreeNode) -> Bool
    ) -> (node: TreeNode, isMerged: Bool)? {
        let nodes = nodes
        if let number = work.nextToMerge({ nodes[$0].map(mayMerge) ?? false }), let node = nodes[number] {
            return (node, true)
        }
        let number = work.nextToBegin { nodes[$0].map(mayBegin) ?? false }
        return number.flatMap { nodes[$0] }.map { ($0, false) }
    }

    /// A node that is being deleted cannot be merged as long as the image is open.
    func setStuck(_ number: UInt32, _ fault: EpochFault) { stuck[number] = fault }

    /// Whether so many partly merged nodes in a row are above one that its own deletion has to wait: a check compares
    /// each page with all of them.
    func hasLongRow(above number: UInt32) -> Bool {
        var done = UInt64.max
        var count = 0
        var parent = nodes[nodes[number]?.record.parent ?? 0]
        while let node = parent, node.record.isBeingDeleted, done > 0 {
            if node.record.pagesDone < done {
                done = node.record.pagesDone
                count += 1
            }
            parent = nodes[node.record.parent]
        }
        // Its children are compared with it and with one that is not being deleted.
        return count > EpochChecker.ancestorLimit - 3
    }

    func isStuck(_ number: UInt32) -> Bool { stuck[number] != nil }

    /// All of them, by their numbers.
    var stuckNodes: [(node: UInt32, reason: EpochFault)] {
        stuck.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Why the first of them cannot be merged.
    var firstStuck: EpochFault? { stuck.min { $0.key < $1.key }?.value }

    // MARK: Who may see what

    /// The last epoch of which somebody above `node` may see data of the page of level 1 with that index.
    ///
    /// Where a parent that is being deleted has been merged already, it is what the parent's parent sees.
    func boundary(_ node: TreeNode, page: UInt64) -> UInt32 {
        var node = node
        while let parent = nodes[node.record.parent] {
            guard parent.record.isBeingDeleted, page < parent.record.pagesDone else { return parent.record.epoch }
            node = parent
        }
        return 0
    }

    /// The last epoch of which somebody above `node` may see anything.
    func boundary(_ node: TreeNode) -> UInt32 { nodes[node.record.parent]?.record.epoch ?? 0 }

    // MARK: Operations

    /// Does what a record says. Throws, and changes nothing, when the state does not allow it. Regions that it changes
    /// are in memory.
    func apply(_ record: JournalRecord, frame: UInt64) throws(RefusedRecord) {
        switch record {
        case .data(let head, let first, let unit, let count, _):
            try applyData(head, first, unit, UInt64(count), frame)
        case .nothing(let head, let first, let count): try applyNothing(head, first, UInt64(count), frame)
        case .extent(let head, let first, let unit, let count, _):
            try applyExtent(head, first, unit, UInt64(count), frame)
        case .snapshot(let head, let number, let time, let uuid, let name):
            try applySnapshot(head, number, time, uuid, name)
        case .head(let snapshot, let number, let time, let uuid, let name):
            try applyHead(snapshot, number, time, uuid, name)
        case .turn(let head, let number, let below, let time, let uuid, let name):
            try applyTurn(head, number, below, time, uuid, name)
        case .deletion(let number): try applyDeletion(number)
        case .merging, .removal: preconditionFailure("merging needs pages: MergeStep")
        case .capacity(let head, let bytes): try applyCapacity(head, bytes)
        case .name(let number, let name): try applyName(number, name)
        case .lock(let number, let time): try applyLock(number, time)
        }
    }

    private func applyData(
        _ number: UInt32, _ first: UInt64, _ unit: UInt64, _ count: UInt64, _ frame: UInt64
    ) throws(RefusedRecord) {
        guard let head = head(number), let live = head.live, isInside(head, first, count),
            isReplaying ? adopt(unit..<unit + count) : units.enter(unit..<unit + count)
        else { throw RefusedRecord() }
        var dropped = UnitRuns()
        change(head, live, first, count) { index, entry, boundary in
            if entry.ownsUnit, entry.birth > boundary { dropped.append(entry.unit) }
            return MapEntry.data(unit + index, birth: epoch).unconfirmed
        }
        free(dropped, frame: frame)
    }

    private func applyNothing(
        _ number: UInt32, _ first: UInt64, _ count: UInt64, _ frame: UInt64
    ) throws(RefusedRecord) {
        guard let head = head(number), let live = head.live, isInside(head, first, count) else {
            throw RefusedRecord()
        }
        var dropped = UnitRuns()
        change(head, live, first, count) { _, entry, boundary in
            // What a head no longer has and nobody above it sees.
            if entry.ownsUnit, entry.birth > boundary { dropped.append(entry.unit) }
            return .nothing
        }
        free(dropped, frame: frame)
    }

    func isInside(_ head: TreeNode, _ first: UInt64, _ count: UInt64) -> Bool {
        let end = EpochFormat.logicalUnits(capacity: head.record.capacity)
        return count > 0 && first < end && count <= end - first
    }

    /// Units are nobody's any more. Those that are not in use are an image's that gives them to two; `check` tells.
    func free(_ units: UnitRuns, frame: UInt64) {
        for run in units.runs { _ = self.units.free(run, frame: frame) }
    }

    /// Something is lost, and what it had in use is not freed.
    func noteLoss() { hasLosses = true }

    /// Makes units used that a record of the journal has. What a damaged page had in use, it may have freed before.
    func adopt(_ run: Range<UInt64>) -> Bool {
        if units.adopt(run) { return true }
        return hasLosses && run.allSatisfy { units.isUsed($0) || units.adopt($0..<$0 + 1) }
    }

    /// The journal was replayed; records come from commands now.
    func endReplay() { isReplaying = false }

    /// Changes entries, region by region; what is nothing and stays so costs nothing.
    func change(
        _ head: TreeNode, _ live: LiveHead, _ first: UInt64, _ count: UInt64,
        _ body: (_ index: UInt64, MapEntry, _ boundary: UInt32) -> MapEntry
    ) {
        let length = UInt64(EpochFormat.regionUnits)
        var unit = first
        while unit < first + count {
            let region = unit / length
            let end = min(first + count, (region + 1) * length)
            defer { unit = end }
            if live.map.region(region) == .uniform(.nothing), body(unit - first, .nothing, 0) == .nothing { continue }
            let boundary = boundary(head, page: unit >> EpochFormat.firstLevelShift)
            let leaf = live.map.change(region, in: head.layer)
            for place in unit..<end {
                let index = Int(place % length)
                leaf[index] = body(place - first, leaf[index], boundary)
            }
        }
    }

    /// Whether a region has to be in memory before `record` is applied; nil when none has. The first one that is not.
    func missingRegion(for record: JournalRecord) -> (head: LiveHead, region: UInt64)? {
        let (number, first, count): (UInt32, UInt64, UInt64)
        switch record {
        case .capacity(let head, _):
            guard let node = self.head(head), node.record.capacity > 0 else { return nil }
            (number, first, count) = (head, EpochFormat.logicalUnits(capacity: node.record.capacity) - 1, 1)
        default:
            guard let changed = record.changed else { return nil }
            (number, first, count) = changed
        }
        guard let head = head(number), let live = head.live, isInside(head, first, count) else { return nil }
        let length = UInt64(EpochFormat.regionUnits)
        for region in first / length...(first + count - 1) / length where live.map.region(region) == .notLoaded {
            return (live, region)
        }
        return nil
    }

    // MARK: Operations on the tree

    private func applySnapshot(
        _ number: UInt32, _ new: UInt32, _ time: CalendarTime, _ uuid: [UInt8], _ name: String
    ) throws(RefusedRecord) {
        guard let head = head(number), let live = head.live else { throw RefusedRecord() }
        try checkNew(new)
        let record = NodeRecord(
            number: new, parent: head.record.parent, epoch: epoch, kind: .snapshot, capacity: head.record.capacity,
            blockSize: head.record.blockSize, time: time, uuid: uuid, name: name)
        let layer = closeLayer(of: head)
        layer.give(to: new, from: number)
        let node = add(record, layer)
        if let parent = nodes[record.parent] {
            parent.children.removeAll { $0 == number }
            parent.children.append(new)
        }
        node.children = [number]
        head.record.parent = new
        head.record.epoch = epoch
        put(head)
        live.protectedEpoch.store(epoch, ordering: .sequentiallyConsistent)
        epoch += 1
    }

    private func applyHead(
        _ snapshot: UInt32, _ new: UInt32, _ time: CalendarTime, _ uuid: [UInt8], _ name: String
    ) throws(RefusedRecord) {
        guard let parent = nodes[snapshot], parent.record.kind == .snapshot, !parent.record.isBeingDeleted else {
            throw RefusedRecord()
        }
        try checkNew(new)
        addHead(new, below: parent, time, uuid, name)
        epoch += 1
    }

    private func addHead(
        _ new: UInt32, below parent: TreeNode, _ time: CalendarTime, _ uuid: [UInt8], _ name: String
    ) {
        let record = NodeRecord(
            number: new, parent: parent.number, epoch: parent.record.epoch, kind: .head,
            capacity: parent.record.capacity, blockSize: parent.record.blockSize, time: time, uuid: uuid, name: name)
        let node = add(record, parent.layer)
        parent.children.append(new)
        open(node, isNew: false)
    }

    private func applyTurn(
        _ number: UInt32, _ new: UInt32, _ below: UInt32, _ time: CalendarTime, _ uuid: [UInt8], _ name: String
    ) throws(RefusedRecord) {
        guard let head = head(number), let live = head.live, let parent = nodes[below],
            parent.record.kind == .snapshot, !parent.record.isBeingDeleted
        else { throw RefusedRecord() }
        try checkNew(new)
        let formerName = head.record.name
        let layer = closeLayer(of: head)
        head.layer = layer
        close(head, live)
        head.record.kind = .snapshot
        head.record.epoch = epoch
        head.record.time = time
        head.record.name = name
        put(head)
        addHead(new, below: parent, time, uuid, formerName)
        epoch += 1
    }

    private func applyDeletion(_ number: UInt32) throws(RefusedRecord) {
        guard let node = nodes[number], !node.record.isBeingDeleted, node.children.count <= 1 else {
            throw RefusedRecord()
        }
        node.record.isBeingDeleted = true
        node.record.pagesDone = 0
        if let live = node.live {
            node.layer = closeLayer(of: node)
            close(node, live)
        }
        put(node)
    }

    /// Pages of level 1 up to `pages` of a node that is being deleted are done.
    func setDone(_ node: TreeNode, pages: UInt64) {
        node.record.pagesDone = pages
        put(node)
    }

    /// A node that is being deleted is gone; its child takes its place.
    func remove(_ node: TreeNode) {
        let parent = nodes[node.record.parent]
        parent?.children.removeAll { $0 == node.number }
        for number in node.children {
            guard let child = nodes[number] else { continue }
            child.record.parent = node.record.parent
            parent?.children.append(number)
            // Its deletion may have waited for that.
            work.add(child)
            if child.record.kind == .head {
                child.record.epoch = parent?.record.epoch ?? 0
                // Unless it is closed.
                if let live = child.live {
                    live.protectedEpoch.store(child.record.epoch, ordering: .sequentiallyConsistent)
                }
            }
            put(child)
        }
        nodes[node.number] = nil
        unwanted.remove(node.number)
        setName("", of: node.number, insteadOf: node.record.name)
        table.remove(node.number)
        // It may have been the one that it waited for.
        if let parent { work.add(parent) }
    }

    private func applyCapacity(_ number: UInt32, _ bytes: UInt64) throws(RefusedRecord) {
        guard let head = head(number), let live = head.live, bytes >= head.record.capacity,
            bytes <= EpochFormat.maximumCapacity, bytes % UInt64(head.record.blockSize) == 0
        else { throw RefusedRecord() }
        // The last region may say of what was behind the end anything; from now on it counts.
        let units = EpochFormat.logicalUnits(capacity: head.record.capacity)
        let region = (units - 1) / UInt64(EpochFormat.regionUnits)
        if units % UInt64(EpochFormat.regionUnits) != 0, live.map.region(region) != .uniform(.nothing) {
            _ = live.map.change(region, in: head.layer)
        }
        head.record.capacity = bytes
        largestCapacity = max(largestCapacity, bytes)
        head.record.levels = NodeRecord.levels(capacity: bytes)
        head.layer.resize(bytes)
        live.map.grow(toRegions: head.record.regions)
        live.capacity.store(bytes, ordering: .sequentiallyConsistent)
        put(head)
    }

    private func applyName(_ number: UInt32, _ name: String?) throws(RefusedRecord) {
        guard let node = nodes[number] else { throw RefusedRecord() }
        node.record.name = name ?? ""
        node.record.isNameless = name == nil
        put(node)
    }

    private func applyLock(_ number: UInt32, _ time: CalendarTime) throws(RefusedRecord) {
        guard let node = nodes[number], node.record.kind == .snapshot, !node.record.isBeingDeleted,
            node.record.lockedUntil.map({ $0 < time }) ?? true
        else { throw RefusedRecord() }
        node.record.lockedUntil = time
        put(node)
    }

    private func checkNew(_ number: UInt32) throws(RefusedRecord) {
        guard number >= nextNode, number < UInt32.max, nodes[number] == nil,
            nodes.count < EpochFormat.nodeLimit, epoch < EpochFormat.epochLimit
        else { throw RefusedRecord() }
    }

    private func add(_ record: NodeRecord, _ layer: MapLayer) -> TreeNode {
        let node = TreeNode(record, layer: layer)
        // The next commit says where a map is that none has yet.
        node.record.map = layer.isCommitted ? layer.root.pointer : .nothing
        nodes[record.number] = node
        nextNode = record.number + 1
        put(node)
        return node
    }

    private func put(_ node: TreeNode) {
        if node.record.isBeingDeleted || node.record.isNameless {
            unwanted.insert(node.number)
            work.add(node)
        }
        setName(node.record.name, of: node.number, insteadOf: table[node.number]?.name ?? "")
        do { try table.put(node.record) } catch { preconditionFailure("the number of nodes was checked: \(error)") }
    }
}

/// A record does not fit the state: the journal is damaged, or its maker did not look.
struct RefusedRecord: Error {}

/// Physical units, in runs in the order in which they come.
struct UnitRuns {
    private(set) var runs: [Range<UInt64>] = []

    mutating func append(_ unit: UInt64) {
        if let last = runs.last, last.upperBound == unit {
            runs[runs.count - 1] = last.lowerBound..<unit + 1
        } else {
            runs.append(unit..<unit + 1)
        }
    }
}
