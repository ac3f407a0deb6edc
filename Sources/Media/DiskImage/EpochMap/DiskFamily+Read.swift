internal import Bytes
public import Platform
internal import Synchronization

/// Reading.
extension DiskFamily {
    /// Reads a node's bytes, whole sectors of 512 inside of it; it may wait. What holds nothing reads as zeros.
    ///
    /// A reader is inside the grace from the lookup to the end of its reading, so no unit that it reads is used for
    /// anything else meanwhile.
    public func read(_ node: UInt32, into bytes: inout MutableRawSpan, at offset: Int64) -> FileResult {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let count = bytes.byteCount
        do throws(EpochFault) {
            guard !isRetired.load(ordering: .sequentiallyConsistent) else { throw .device(failureCode) }
            let source = try source(of: node, offset, count)
            var done = 0
            while done < count {
                let begin = UInt64(offset) + UInt64(done)
                let run = try run(source, from: begin, limit: count - done)
                if run.isCompressed {
                    done += try readExtent(source, from: begin, into: &bytes, at: done, count: run.count)
                } else {
                    try readRun(run, into: &bytes, at: done)
                    done += run.count
                }
            }
            return .done(count)
        } catch {
            return .failed(error.code)
        }
    }

    /// From what a node is read: a live map, or what a layer says.
    enum Source {
        case live(LiveHead)
        case layer(UInt32, RegionReader)
    }

    /// Bytes in succession that lie in succession, or hold nothing.
    struct Run {
        /// Where in the file.
        var place: Int64?
        var count: Int
        /// Whether it is a part of a compressed extent.
        var isCompressed = false
    }

    private func source(of number: UInt32, _ offset: Int64, _ count: Int) throws(EpochFault) -> Source {
        if let head = liveHead(number) {
            let capacity = head.capacity.load(ordering: .acquiring)
            guard Self.isInside(offset, Int64(count), capacity: capacity) else {
                throw .device(Errno.invalidArgument)
            }
            return .live(head)
        }
        let capacity = shared.withLock { shared -> UInt64? in
            guard let node = shared.state.node(number), !node.record.isBeingDeleted else { return nil }
            return node.record.capacity
        }
        guard let capacity else { throw .device(Errno.noSuchFile) }
        guard Self.isInside(offset, Int64(count), capacity: capacity) else { throw .device(Errno.invalidArgument) }
        return .layer(number, RegionReader())
    }

    /// The longest run from a byte of the disk on, at most `limit` bytes.
    private func run(_ source: Source, from begin: UInt64, limit: Int) throws(EpochFault) -> Run {
        let length = UInt64(EpochFormat.unitLength)
        let inside = Int(begin % length)
        let first = try entry(source, begin / length)
        if first.isCompressed {
            let extent = EpochFormat.extentLength
            return Run(count: min(limit, extent - Int(begin % UInt64(extent))), isCompressed: true)
        }
        var run = Run(
            place: first.isData ? EpochFormat.offset(ofUnit: first.unit) + Int64(inside) : nil,
            count: min(limit, Int(length) - inside))
        var index: UInt64 = 1
        while run.count < limit {
            let entry = try entry(source, begin / length + index)
            guard entry.isData == first.isData, !entry.isCompressed,
                !entry.isData || entry.unit == first.unit + index
            else { break }
            run.count = min(limit, run.count + Int(length))
            index += 1
        }
        return run
    }

    private func entry(_ source: Source, _ unit: UInt64) throws(EpochFault) -> MapEntry {
        switch source {
        case .live(let head):
            while true {
                if let entry = head.map.entry(unit) {
                    try checkReadable(entry)
                    return entry
                }
                try load(head, unit / UInt64(EpochFormat.regionUnits))
            }
        case .layer(let number, let reader):
            let entry = try reader.entry(unit, of: number, in: self)
            try checkReadable(entry)
            return entry
        }
    }

    /// What is lost is never read. After a loss of written data nobody knows whether data are on the device that no
    /// durable frame confirms: what is read in their place may be what somebody else had there before.
    func checkReadable(_ entry: MapEntry) throws(EpochFault) {
        if entry.isLost { throw .damaged(.lost) }
        guard !entry.isConfirmed else { return }
        let code = failureCode
        if code != 0 { throw .device(code) }
    }

    private func readRun(_ run: Run, into bytes: inout MutableRawSpan, at start: Int) throws(EpochFault) {
        guard let place = run.place else {
            bytes.fill(at: start, count: run.count)
            return
        }
        if let checksums { return try readProved(checksums, from: place, into: &bytes, at: start, run.count) }
        var target = bytes._mutatingExtracting(start..<start + run.count)
        switch store.read(into: &target, offset: place, mode: .blocking) {
        case .done(let count) where count == run.count: return
        case .done: throw .damaged(.truncated(unit: UInt64(place) >> UInt64(EpochFormat.unitShift)))
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    // MARK: Regions

    /// Brings a region of a live map into memory; whoever is inside the grace.
    func load(_ head: LiveHead, _ region: UInt64) throws(EpochFault) {
        if memory.leafCount > MapMemory.leafLimit { giveUpLeaves() }
        while true {
            let (found, isGone) = shared.withLock { shared -> (MapRoot?, Bool) in
                guard head.map.region(region) == .notLoaded else { return (nil, false) }
                guard let node = shared.state.nodes[head.number] else { return (nil, true) }
                let (leaf, root) = node.layer.resolve(region)
                guard let leaf else { return (root, false) }
                head.map.load(region, .leaf(Leaf.make(memory) { leaf[$0].confirmed }))
                return (nil, false)
            }
            // Whoever still reads it is told: nobody knows any more what was there.
            if isGone { throw .device(Errno.noSuchFile) }
            guard let found else { return }
            let content = try pages.region(region, of: found)
            let isDone = shared.withLock { shared in
                guard head.map.region(region) == .notLoaded else { return true }
                guard let node = shared.state.nodes[head.number] else { return false }
                // Unless a commit has come meanwhile.
                let (leaf, root) = node.layer.resolve(region)
                guard leaf == nil, root == found else { return false }
                head.map.load(region, content.region(memory, units: node.record.unitsInRegion(region)))
                return true
            }
            if isDone { return }
        }
    }
}

/// Looks up units of a node that has no live map, one region after the other.
final class RegionReader {
    private var region: UInt64?
    private var content = RegionContent.uniform(.nothing)

    /// The entry of a unit; whoever is inside the grace.
    func entry(_ unit: UInt64, of node: UInt32, in family: DiskFamily) throws(EpochFault) -> MapEntry {
        let wanted = unit / UInt64(EpochFormat.regionUnits)
        if region != wanted {
            content = try family.content(of: wanted, in: node)
            region = wanted
        }
        return content[Int(unit % UInt64(EpochFormat.regionUnits))]
    }
}

/// The entries of a region.
enum RegionContent: Sendable {
    /// Nothing, or a run.
    case uniform(MapEntry)
    case entries([MapEntry])

    subscript(_ index: Int) -> MapEntry {
        switch self {
        case .uniform(let first): first.following(index)
        case .entries(let entries): entries[index]
        }
    }

    /// What a live map has of it: units behind the end of the disk are nothing there.
    func region(_ memory: MapMemory, units: Int) -> RegionMap.Region {
        switch self {
        case .uniform(.nothing): .uniform(.nothing)
        case .uniform(let first) where units == Leaf.length: .uniform(first)
        default: .leaf(Leaf.make(memory) { $0 < units ? self[$0] : .nothing })
        }
    }
}

extension NodeRecord {
    /// How many units of a region lie within the disk.
    func unitsInRegion(_ region: UInt64) -> Int {
        let units = EpochFormat.logicalUnits(capacity: capacity)
        let first = region * UInt64(EpochFormat.regionUnits)
        return first >= units ? 0 : Int(min(UInt64(EpochFormat.regionUnits), units - first))
    }
}

extension DiskFamily {
    /// A region of any node, the head's that is written as well; whoever is inside the grace.
    func content(of region: UInt64, in number: UInt32) throws(EpochFault) -> RegionContent {
        let found = shared.withLock { shared -> (RegionContent?, MapRoot)? in
            guard let node = shared.state.nodes[number] else { return nil }
            // Of two nodes that are compared one may be longer.
            guard region < node.record.regions else { return (.uniform(.nothing), .nothing) }
            let source = shared.state.source(node, region)
            return (source.content, source.root)
        }
        guard let (content, root) = found else { throw .device(Errno.noSuchFile) }
        if let content { return content }
        return try pages.region(region, of: root)
    }
}

extension Leaf {
    /// A copy.
    var content: RegionContent { .entries((0..<Leaf.length).map { self[$0].confirmed }) }
}
