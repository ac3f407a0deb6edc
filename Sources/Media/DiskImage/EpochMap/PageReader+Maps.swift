/// Maps, as a commit has them. Whoever reads is inside the grace, or keeps commits from going on: then no page is used
/// for anything else meanwhile.
extension PageReader {
    private func pointers(_ pointer: UnitPointer, level: Int) throws(EpochFault) -> [UnitPointer] {
        if pointer.kind == .lost { return [UnitPointer](repeating: .lost, count: EpochFormat.fanOut) }
        guard pointer.kind == .page else { return [] }
        return try page(pointer, level: level, isMap: true).pointers
    }

    /// The page of level `level` of a map with that number in its level; nothing when there is none.
    private func pointer(level: Int, _ number: UInt64, of root: MapRoot) throws(EpochFault) -> UnitPointer {
        var present = root.levels
        guard present >= level, number >> UInt64(EpochFormat.fanOutShift * (present - level)) == 0 else {
            return .nothing
        }
        var pointer = root.pointer
        while present > level, pointer.kind == .page {
            present -= 1
            let place = number >> UInt64(EpochFormat.fanOutShift * (present - level))
            pointer = try pointers(pointer, level: present + 1)[Int(place) & (EpochFormat.fanOut - 1)]
        }
        return pointer
    }

    /// A page of level 1 of a map.
    func firstLevelPage(_ index: UInt64, of root: MapRoot) throws(EpochFault) -> MergePages.Page {
        let pointer = try pointer(level: 1, index, of: root)
        return MergePages.Page(pointer: pointer, pointers: try pointers(pointer, level: 1))
    }

    /// What stands for a region in its page of level 1.
    func regionPointer(_ region: UInt64, of root: MapRoot) throws(EpochFault) -> UnitPointer {
        try pointer(level: 0, region, of: root)
    }

    /// The entries of a region.
    func region(_ region: UInt64, of root: MapRoot) throws(EpochFault) -> RegionContent {
        let pointer = try regionPointer(region, of: root)
        switch pointer.kind {
        case .nothing: return .uniform(.nothing)
        case .lost: return .uniform(.lost)
        case .run: return .uniform(.data(pointer.unit, birth: pointer.birth))
        case .page:
            var words = [UInt64](repeating: 0, count: EpochFormat.regionUnits)
            try self.region(pointer, into: &words)
            return .entries(words.map { MapEntry(rawValue: $0) })
        }
    }

    /// The region behind those from `region` on of which one pointer of a map says that they are nothing; nil when the
    /// region is anything else.
    func nothingEnd(_ region: UInt64, of root: MapRoot) throws(EpochFault) -> UInt64? {
        var level = root.levels
        // A disk that has grown since has nothing there.
        guard region >> UInt64(EpochFormat.fanOutShift * level) == 0 else {
            return EpochFormat.regions(capacity: EpochFormat.maximumCapacity)
        }
        var pointer = root.pointer
        while pointer.kind != .nothing {
            guard level > 0, pointer.kind == .page else { return nil }
            let place = region >> UInt64(EpochFormat.fanOutShift * (level - 1))
            pointer = try pointers(pointer, level: level)[Int(place) & (EpochFormat.fanOut - 1)]
            level -= 1
        }
        let span = UInt64(EpochFormat.fanOutShift * level)
        return (region >> span + 1) << span
    }

    /// The pages above level 1 of a map that another one has not in the same place.
    func upperPages(of root: MapRoot, not other: MapRoot) throws(EpochFault) -> [UnitPointer] {
        var found: [UnitPointer] = []
        try collect(root.pointer, root.levels, 0, other, &found)
        return found
    }

    private func collect(
        _ pointer: UnitPointer, _ level: Int, _ index: UInt64, _ other: MapRoot, _ found: inout [UnitPointer]
    ) throws(EpochFault) {
        guard level > 1, pointer.kind == .page else { return }
        let counterpart = try self.pointer(level: level, index, of: other)
        // Of what is lost nobody knows whether it was the same, and who below has it from there.
        guard counterpart != pointer, counterpart.kind != .lost else { return }
        found.append(pointer)
        for (place, child) in try pointers(pointer, level: level).enumerated() {
            try collect(child, level - 1, index << UInt64(EpochFormat.fanOutShift) + UInt64(place), other, &found)
        }
    }
}
