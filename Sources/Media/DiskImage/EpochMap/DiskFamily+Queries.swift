internal import Platform
internal import Synchronization

/// What differs, and what holds data.
extension DiskFamily {
    /// Units in succession that all hold data, or all hold nothing.
    public struct UnitRun: Equatable, Sendable {
        /// Whether they hold data.
        public let isMapped: Bool
        /// The unit behind the last one.
        public let end: UInt64

        public init(isMapped: Bool, end: UInt64) {
            self.isMapped = isMapped
            self.end = end
        }
    }

    /// The logical units from `first` on that node `b` has in another version than node `a`, at most `limit` ranges in
    /// ascending order; fewer mean that there are no more. What one disk has behind the end of the other differs when
    /// it holds data.
    ///
    /// What is overwritten in place while this goes on may be missing. Parts that share their pages are not read.
    public func differences(
        from a: UInt32, to b: UInt32, first: UInt64, limit: Int
    ) throws(FamilyError) -> [Range<UInt64>] {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let views = try (view(a), view(b))
        var ranges: [Range<UInt64>] = []
        let end = max(views.0.units, views.1.units)
        var unit = first
        do throws(EpochFault) {
            while unit < end, ranges.count <= limit {
                let page = unit >> EpochFormat.firstLevelShift
                let pageEnd = min(end, (page + 1) << EpochFormat.firstLevelShift)
                let pointers = try (firstLevelPage(page, views.0), firstLevelPage(page, views.1))
                if let own = pointers.0, let other = pointers.1, own.pointer == other.pointer {
                    unit = pageEnd
                    continue
                }
                while unit < pageEnd, ranges.count <= limit {
                    let regionEnd = min(pageEnd, (unit / Self.regionLength + 1) * Self.regionLength)
                    try differences(views, pointers, unit..<regionEnd, &ranges)
                    unit = regionEnd
                }
            }
        } catch {
            throw FamilyError(error)
        }
        return Array(ranges.prefix(limit))
    }

    /// Which units of a node hold data, from `first` on: at most `limit` runs that follow one another.
    public func runs(_ node: UInt32, first: UInt64, limit: Int) throws(FamilyError) -> [UnitRun] {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let view = try view(node)
        var runs: [UnitRun] = []
        var unit = first
        do throws(EpochFault) {
            while unit < view.units, runs.count <= limit {
                let regionEnd = min(view.units, (unit / Self.regionLength + 1) * Self.regionLength)
                let content = try content(of: unit / Self.regionLength, in: node)
                if case .uniform(let entry) = content {
                    Self.add(entry.isData, to: &runs, end: regionEnd)
                } else {
                    for place in unit..<regionEnd {
                        Self.add(content[Int(place % Self.regionLength)].isData, to: &runs, end: place + 1)
                    }
                }
                unit = regionEnd
            }
        } catch {
            throw FamilyError(error)
        }
        return Array(runs.prefix(limit))
    }

    private static let regionLength = UInt64(EpochFormat.regionUnits)

    private static func add(_ isMapped: Bool, to runs: inout [UnitRun], end: UInt64) {
        if let last = runs.last, last.isMapped == isMapped { runs.removeLast() }
        runs.append(UnitRun(isMapped: isMapped, end: end))
    }

    // MARK: Comparing

    /// What a comparison knows of a node.
    private struct View {
        let number: UInt32
        let units: UInt64
        /// The map that a commit has below all layers.
        let root: MapRoot
        /// Pages of level 1 of which no commit has everything.
        let changedPages: Set<UInt64>
    }

    private func view(_ number: UInt32) throws(FamilyError) -> View {
        let view = shared.withLock { shared -> View? in
            guard let node = shared.state.node(number), !node.record.isBeingDeleted else { return nil }
            var changed: Set<UInt64> = []
            var layer = node.layer
            while true {
                for region in layer.regions.keys { changed.insert(region >> UInt64(EpochFormat.fanOutShift)) }
                guard let below = layer.below else { break }
                layer = below
            }
            return View(
                number: number, units: EpochFormat.logicalUnits(capacity: node.record.capacity), root: layer.root,
                changedPages: changed)
        }
        guard let view else { throw .noNode(number) }
        return view
    }

    /// The page of level 1, if it says everything.
    private func firstLevelPage(_ page: UInt64, _ view: View) throws(EpochFault) -> MergePages.Page? {
        view.changedPages.contains(page) ? nil : try pages.firstLevelPage(page, of: view.root)
    }

    private func differences(
        _ views: (View, View), _ pages: (MergePages.Page?, MergePages.Page?), _ units: Range<UInt64>,
        _ ranges: inout [Range<UInt64>]
    ) throws(EpochFault) {
        let region = units.lowerBound / Self.regionLength
        let place = Int(region % UInt64(EpochFormat.fanOut))
        if let own = pages.0, let other = pages.1, own[place] == other[place] { return }
        let contents = try (
            content(of: region, in: views.0.number), content(of: region, in: views.1.number)
        )
        for unit in units {
            let index = Int(unit % Self.regionLength)
            let own = unit < views.0.units ? contents.0[index].confirmed : .nothing
            let other = unit < views.1.units ? contents.1[index].confirmed : .nothing
            guard own != other else { continue }
            if let last = ranges.last, last.upperBound == unit {
                ranges[ranges.count - 1] = last.lowerBound..<unit + 1
            } else {
                ranges.append(unit..<unit + 1)
            }
        }
    }
}
