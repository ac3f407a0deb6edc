internal import Platform
internal import Synchronization

/// What differs, and what holds data.
extension DiskFamily {
    /// Units in succession that all hold data, or all hold nothing.
    public struct UnitRun: Equatable, Sendable {
        /// Whether they hold data, or did: what is lost counts.
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
        guard limit > 0 else { return [] }
        var ranges: [Range<UInt64>] = []
        var unit = first
        do throws(EpochFault) {
            while ranges.count <= limit, let next = try addDifferences(a, b, from: unit, limit, &ranges) { unit = next }
        } catch .device(Errno.noSuchFile) {
            throw .noNode(nodes.contains { $0.number == a && !$0.isBeingDeleted } ? b : a)
        } catch {
            throw FamilyError(error)
        }
        return Array(ranges.prefix(limit))
    }

    /// Which units of a node hold data, from `first` on: at most `limit` runs that follow one another. The last one may
    /// go on behind its end: an answer comes after `regionsOfAnswer` regions.
    public func runs(_ node: UInt32, first: UInt64, limit: Int) throws(FamilyError) -> [UnitRun] {
        guard limit > 0 else { return [] }
        var runs: [UnitRun] = []
        var unit = first
        var looks = 0
        do throws(EpochFault) {
            while runs.count <= limit, looks < Self.regionsOfAnswer, let next = try addRuns(node, from: unit, &runs) {
                unit = next
                looks += 1
            }
        } catch .device(Errno.noSuchFile) {
            throw .noNode(node)
        } catch {
            throw FamilyError(error)
        }
        return Array(runs.prefix(limit))
    }

    /// The most regions that are read for an answer about runs, 128 GiB; what is nothing as a whole is not read.
    static let regionsOfAnswer = 65536
    private static let regionLength = UInt64(EpochFormat.regionUnits)

    private static func add(_ isMapped: Bool, to runs: inout [UnitRun], end: UInt64) {
        if let last = runs.last, last.isMapped == isMapped { runs.removeLast() }
        runs.append(UnitRun(isMapped: isMapped, end: end))
    }

    /// Adds the runs of the region of a unit, from that on, or of all regions from it on that one pointer says are
    /// nothing; the unit behind them, nil at the end of the disk. It is not longer inside the grace than for that: who
    /// makes a commit waits for whoever is.
    private func addRuns(
        _ number: UInt32, from unit: UInt64, _ runs: inout [UnitRun]
    ) throws(EpochFault) -> UInt64? {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let region = unit / Self.regionLength
        let view = try view(number, region..<region + 1)
        guard unit < view.units else { return nil }
        if !view.isChanged, let end = try pages.nothingEnd(region, of: view.root) {
            let next = try end > region + 1 ? self.view(number, region..<end).firstChanged : nil
            let end = min(view.units, (next ?? end) * Self.regionLength)
            Self.add(false, to: &runs, end: end)
            return end
        }
        let regionEnd = min(view.units, (region + 1) * Self.regionLength)
        let content = try content(of: region, in: number)
        if case .uniform(let entry) = content {
            Self.add(entry != .nothing, to: &runs, end: regionEnd)
        } else {
            for place in unit..<regionEnd {
                Self.add(content[Int(place % Self.regionLength)] != .nothing, to: &runs, end: place + 1)
            }
        }
        return regionEnd
    }

    // MARK: Comparing

    /// What a query knows of a node.
    private struct View {
        let number: UInt32
        let units: UInt64
        /// The map that a commit has below all layers.
        let root: MapRoot
        /// The first region in question of which no commit has everything.
        let firstChanged: UInt64?

        var isChanged: Bool { firstChanged != nil }
    }

    /// What counts of a node as long as the caller is inside the grace, with a question about some regions.
    private func view(_ number: UInt32, _ regions: Range<UInt64>) throws(EpochFault) -> View {
        let view = shared.withLock { shared -> View? in
            guard let node = shared.state.node(number), !node.record.isBeingDeleted else { return nil }
            return View(
                number: number, units: EpochFormat.logicalUnits(capacity: node.record.capacity),
                root: node.layer.bottom, firstChanged: node.layer.firstRegion(in: regions))
        }
        guard let view else { throw .device(Errno.noSuchFile) }
        return view
    }

    /// Adds what differs in the page of level 1 of a unit, from that on; the unit behind it, nil at the end of both.
    private func addDifferences(
        _ a: UInt32, _ b: UInt32, from first: UInt64, _ limit: Int, _ ranges: inout [Range<UInt64>]
    ) throws(EpochFault) -> UInt64? {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let page = first >> EpochFormat.firstLevelShift
        let regions = page << UInt64(EpochFormat.fanOutShift)..<(page + 1) << UInt64(EpochFormat.fanOutShift)
        let views = try (view(a, regions), view(b, regions))
        let end = max(views.0.units, views.1.units)
        guard first < end else { return nil }
        let pageEnd = min(end, (page + 1) << EpochFormat.firstLevelShift)
        let pointers = try (firstLevelPage(page, views.0), firstLevelPage(page, views.1))
        if let own = pointers.0, let other = pointers.1, own.pointer == other.pointer { return pageEnd }
        var unit = first
        while unit < pageEnd, ranges.count <= limit {
            let regionEnd = min(pageEnd, (unit / Self.regionLength + 1) * Self.regionLength)
            try differences(views, pointers, unit..<regionEnd, &ranges)
            unit = regionEnd
        }
        return unit
    }

    /// The page of level 1, if it says everything.
    private func firstLevelPage(_ page: UInt64, _ view: View) throws(EpochFault) -> MergePages.Page? {
        view.isChanged ? nil : try pages.firstLevelPage(page, of: view.root)
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
            let own = unit < views.0.units ? contents.0.version(index) : .nothing
            let other = unit < views.1.units ? contents.1.version(index) : .nothing
            guard own != other else { continue }
            if let last = ranges.last, last.upperBound == unit {
                ranges[ranges.count - 1] = last.lowerBound..<unit + 1
            } else {
                ranges.append(unit..<unit + 1)
            }
        }
    }
}
