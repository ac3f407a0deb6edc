/// Looking for room.
extension FreeMap {
    /// The first run of `count` free units from `start` on and before `stop`; or the longest one before `steps` words
    /// were looked at; empty when there is none. With where the look ended.
    func findRun(
        from start: UInt64, to stop: UInt64, count: UInt64, steps: Int
    ) -> (run: Range<UInt64>, end: UInt64) {
        let stop = min(stop, end)
        var unit = start
        var best = start..<start
        var first = start
        var steps = steps
        // The present run is `first..<unit`.
        while unit < stop, steps > 0 {
            steps -= 1
            let index = Int(unit >> 6)
            let page = index / Self.pageWords
            if isFull(page: page) {
                if unit - first > UInt64(best.count) { best = first..<unit }
                unit = min(UInt64(page + 1) << UInt64(EpochFormat.freeMapShift), stop)
                first = unit
                continue
            }
            let free = ~takenWord(page, index % Self.pageWords)
            let offset = unit & 63
            let rest = free << offset
            if rest >> 63 == 0 {
                if unit - first > UInt64(best.count) { best = first..<unit }
                unit = min(unit + min(UInt64(rest.leadingZeroBitCount), 64 - offset), stop)
                first = unit
                continue
            }
            let ones = min(UInt64((~rest).leadingZeroBitCount), 64 - offset)
            unit = min(unit + ones, stop)
            if unit - first >= count { return (first..<first + count, first + count) }
        }
        if unit - first > UInt64(best.count) { best = first..<unit }
        return (best, unit)
    }

    /// The first run of free units from `start` on and before `stop`, with where the look ended: after `steps` words,
    /// or at the end of the run. The run is empty when none was found.
    func firstFreeRun(from start: UInt64, to stop: UInt64, steps: Int) -> (run: Range<UInt64>, end: UInt64) {
        let stop = min(stop, end)
        var unit = start
        var first: UInt64?
        var steps = steps
        while unit < stop, steps > 0 {
            steps -= 1
            let index = Int(unit >> 6)
            let page = index / Self.pageWords
            if first == nil, isFull(page: page) {
                unit = min(UInt64(page + 1) << UInt64(EpochFormat.freeMapShift), stop)
                continue
            }
            let offset = unit & 63
            let rest = ~takenWord(page, index % Self.pageWords) << offset
            if first == nil {
                let taken = min(UInt64(rest.leadingZeroBitCount), 64 - offset)
                unit = min(unit + taken, stop)
                if taken < 64 - offset, unit < stop { first = unit }
                continue
            }
            let free = min(UInt64((~rest).leadingZeroBitCount), 64 - offset)
            unit = min(unit + free, stop)
            if free < 64 - offset { break }
        }
        return (first.map { $0..<unit } ?? start..<start, max(unit, start))
    }
}
