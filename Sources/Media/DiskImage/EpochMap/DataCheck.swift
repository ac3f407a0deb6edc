internal import Bytes
internal import Platform
internal import Synchronization

/// Reads all data of an image with checksums and proves them, beside everything else. What several nodes share is read
/// once, and said of the first of them. What is written meanwhile may be missing.
struct DataCheck: ~Copyable {
    /// Units of a node that cannot be read, or are not what was written.
    struct Bad: Equatable {
        let node: UInt32
        var units: Range<UInt64>
    }

    /// Units that are read at a time.
    private static let chunkUnits = 64

    /// The most that is kept.
    let limit: Int
    /// The epoch in which it begins. What is born in it or later may be in a unit that had something else when that was
    /// looked at, so it is looked at wherever it is met.
    let epoch: UInt32
    /// Whether the family has failed meanwhile, and nothing more is read.
    var isBrokenOff = false
    private(set) var found: [Bad] = []
    /// How many there are.
    private(set) var count = 0
    /// The bytes that were read.
    private(set) var readBytes: Int64 = 0
    /// Data, and pages of maps, that were looked at: a bit for each unit of the file.
    private var seen = FreeMap(limit: EpochFormat.physicalUnitLimit)
    private var buffer = [UInt8](repeating: 0, count: chunkUnits << EpochFormat.unitShift)
    private var last: Bad?
    /// The page of level 1 that is being walked, and which of its node's it is.
    private var page: (unit: UInt64, index: UInt64)?

    init(limit: Int, epoch: UInt32) {
        self.limit = limit
        self.epoch = epoch
    }

    /// Whether what a unit has, which is born in epoch `birth`, is to be looked at.
    mutating func isNew(_ unit: UInt64, birth: UInt32) -> Bool {
        seen.adopt(unit..<unit + 1) || birth >= epoch
    }

    /// Whether all that is below a page of level 1 was looked at.
    func isDone(_ page: UnitPointer) -> Bool { page.birth < epoch && seen.isUsed(page.unit) }

    /// A walk along a node begins or ends early, or the page that it is in does not say what the node has: that page is
    /// not done.
    mutating func leavePage() { page = nil }

    /// All that is below a page is looked at from now on.
    mutating func enter(page unit: UInt64, index: UInt64) { page = (unit, index) }

    /// The walk has come to the page with that index: what it was in before is done.
    mutating func come(toPage index: UInt64) {
        guard let page, page.index != index else { return }
        _ = seen.adopt(page.unit..<page.unit + 1)
        self.page = nil
    }

    /// Proves the units `places` of the file, which a node has from `unit` on.
    mutating func prove(
        _ places: Range<UInt64>, of node: UInt32, at unit: UInt64, _ checksums: DataChecksums, _ store: any ByteStore
    ) {
        var place = places.lowerBound
        while place < places.upperBound {
            let count = Int(min(places.upperBound - place, UInt64(Self.chunkUnits)))
            let logical = unit + (place - places.lowerBound)
            if isSound(place, count, checksums, store) {
                place += UInt64(count)
            } else if count == 1 {
                add(Bad(node: node, units: logical..<logical + 1))
                place += 1
            } else {
                for index in 0..<UInt64(count) where !isSound(place + index, 1, checksums, store) {
                    add(Bad(node: node, units: logical + index..<logical + index + 1))
                }
                place += UInt64(count)
            }
        }
    }

    private mutating func isSound(
        _ unit: UInt64, _ count: Int, _ checksums: DataChecksums, _ store: any ByteStore
    ) -> Bool {
        let length = count << EpochFormat.unitShift
        readBytes += Int64(length)
        return buffer.modifyBytes { bytes in
            var part = bytes._mutatingExtracting(0..<length)
            guard store.read(into: &part, offset: EpochFormat.offset(ofUnit: unit), mode: .blocking) == .done(length)
            else { return false }
            return checksums.compare(part.bytes, at: unit) == .right
        }
    }

    private mutating func add(_ bad: Bad) {
        if let last, last.node == bad.node, last.units.upperBound == bad.units.lowerBound {
            let joined = Bad(node: bad.node, units: last.units.lowerBound..<bad.units.upperBound)
            if found.last == last { found[found.count - 1] = joined }
            self.last = joined
            return
        }
        count += 1
        last = bad
        if found.count < limit { found.append(bad) }
    }
}

extension DiskFamily {
    /// Proves the data that a node has in a region. The next region to look at; nil behind the last one, and when the
    /// node is gone. It is not longer inside the grace than for that: who makes a commit waits for whoever is.
    func proveData(of number: UInt32, region: UInt64, _ check: inout DataCheck) throws(EpochFault) -> UInt64? {
        guard let checksums else { return nil }
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let page = region >> UInt64(EpochFormat.fanOutShift)
        guard let view = dataView(number, region) else {
            // Behind the last region, or the node is gone.
            if isPresent(number) { check.come(toPage: .max) } else { check.leavePage() }
            return nil
        }
        check.come(toPage: page)
        if view.isChanged {
            check.leavePage()
        } else {
            // A page that is shared is looked at once.
            if region % UInt64(EpochFormat.fanOut) == 0, view.isCommitted {
                let pointer = try pages.firstLevelPage(page, of: view.bottom).pointer
                if pointer.kind == .page {
                    if check.isDone(pointer) { return region + UInt64(EpochFormat.fanOut) }
                    check.enter(page: pointer.unit, index: page)
                }
            }
            if let end = try pages.nothingEnd(region, of: view.bottom) { return nextRegion(of: number, region..<end) }
        }
        if view.source.content == nil {
            let pointer = try pages.regionPointer(region, of: view.source.root)
            if pointer.kind == .page, !check.isNew(pointer.unit, birth: pointer.birth) { return region + 1 }
        }
        let content: RegionContent
        if let known = view.source.content {
            content = known
        } else {
            content = try pages.region(region, of: view.source.root)
        }
        let first = region * UInt64(EpochFormat.regionUnits)
        var index = 0
        while index < view.units {
            let entry = content[index]
            guard entry.ownsUnit, check.isNew(entry.unit, birth: entry.birth) else {
                index += 1
                continue
            }
            var end = index + 1
            while end < view.units, content[end].ownsUnit, content[end].unit == entry.unit + UInt64(end - index),
                check.isNew(content[end].unit, birth: content[end].birth)
            { end += 1 }
            check.prove(
                entry.unit..<entry.unit + UInt64(end - index), of: number, at: first + UInt64(index), checksums, store)
            index = end
        }
        return region + 1
    }

    /// What is known of a region of a node.
    private struct DataView {
        let units: Int
        let source: FamilyState.RegionSource
        /// The map that a commit has below all layers, and whether a layer has the region.
        let bottom: MapRoot
        let isChanged: Bool
        /// Whether a commit has all of the node.
        let isCommitted: Bool
    }

    private func dataView(_ number: UInt32, _ region: UInt64) -> DataView? {
        shared.withLock { shared in
            guard let node = shared.state.node(number), !node.record.isBeingDeleted else { return nil }
            let units = node.record.unitsInRegion(region)
            guard units > 0 else { return nil }
            return DataView(
                units: units, source: shared.state.source(node, region), bottom: node.layer.bottom,
                isChanged: node.layer.firstRegion(in: region..<region + 1) != nil,
                isCommitted: node.live == nil && node.layer.isCommitted)
        }
    }

    /// The epoch in which it is.
    fileprivate var epoch: UInt32 { shared.withLock { $0.state.epoch } }

    private func isPresent(_ number: UInt32) -> Bool {
        shared.withLock { $0.state.node(number).map { !$0.record.isBeingDeleted } ?? false }
    }

    /// The first of some regions that a layer of a node has, or the one behind them.
    private func nextRegion(of number: UInt32, _ regions: Range<UInt64>) -> UInt64 {
        shared.withLock { $0.state.node(number)?.layer.firstRegion(in: regions) } ?? regions.upperBound
    }
}

extension FamilyFile {
    /// Proves all data, when the image has checksums of them: a sentence for each run of blocks of a node that cannot
    /// be read or are not what was written, `findingLimit` at most. `observer` is told of the bytes that were read, and
    /// is false when the check is to end.
    func checkData(_ observer: (Int64) -> Bool) -> [String] {
        guard hasChecksums else { return [] }
        var check = DataCheck(limit: Self.findingLimit, epoch: withFamily { $0.epoch })
        var told: Int64 = 0
        let nodes = self.nodes.filter(\.isPresent)
        for node in nodes {
            check.leavePage()
            var region: UInt64? = 0
            while let next = region {
                // What a page does not say, the check of pages does.
                region = withFamily { family in
                    guard family.failureCode == 0 else {
                        check.isBrokenOff = true
                        return nil
                    }
                    do throws(EpochFault) {
                        return try family.proveData(of: node.number, region: next, &check)
                    } catch {
                        return next + 1
                    }
                }
                let count = check.readBytes - told
                told = check.readBytes
                guard observer(count) else { return [] }
            }
        }
        var sentences = check.found.map { bad in Self.sentence(bad, nodes.first { $0.number == bad.node }) }
        if check.count > sentences.count {
            sentences.append("and \(check.count - sentences.count) more runs of blocks")
        }
        if check.isBrokenOff { sentences.append("not all data were read, because the image has failed meanwhile") }
        return sentences
    }

    private static func sentence(_ bad: DataCheck.Bad, _ node: FamilyNode?) -> String {
        let blocks = UInt64(EpochFormat.unitLength / (node?.blockSize ?? EpochFormat.unitLength))
        let (first, last) = (bad.units.lowerBound * blocks, bad.units.upperBound * blocks - 1)
        let place = first == last ? "block \(first)" : "blocks \(first) to \(last)"
        return "\(place) of \(node?.kind == .snapshot ? "snapshot" : "disk") '\(node?.name ?? "")' (node \(bad.node)) "
            + "cannot be read, or do not match the checksum of when they were written"
    }
}
