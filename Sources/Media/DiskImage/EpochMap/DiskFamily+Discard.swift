internal import Bytes
public import Platform
internal import Synchronization

/// Giving units back.
extension DiskFamily {
    /// Units that are discarded at a time: eight regions, 16 MiB.
    static let discardUnits: UInt64 = 4096
    private static let zeros = [UInt8](repeating: 0, count: EpochFormat.extentLength)

    /// Makes bytes of a head, whole sectors of 512 inside of it, zeros that need no storage; durable after a `flush`.
    /// Of units that are discarded in part, the part is overwritten with zeros. It may wait.
    public func discard(_ head: UInt32, at offset: Int64, length: Int64) -> FileResult {
        guard let live = liveHead(head) else { return .failed(Errno.noSuchFile) }
        var capacity = live.capacity.load(ordering: .acquiring)
        guard Self.isInside(offset, length, capacity: capacity) else { return .failed(Errno.invalidArgument) }
        let unitLength = Int64(EpochFormat.unitLength)
        let end = offset + length
        var begin = offset
        while begin < end {
            let unitEnd = min((begin / unitLength + 1) * unitLength, end)
            let isWhole = begin % unitLength == 0 && (unitEnd % unitLength == 0 || unitEnd == Int64(capacity))
            if isWhole {
                let wholeEnd = end == Int64(capacity) ? end : end / unitLength * unitLength
                let units = UInt64(begin / unitLength)..<UInt64((wholeEnd + unitLength - 1) / unitLength)
                do throws(EpochFault) {
                    let isDone = try discard(live, units, capacity: capacity)
                    guard isDone else {
                        capacity = live.capacity.load(ordering: .acquiring)
                        continue
                    }
                } catch {
                    return .failed(error.code)
                }
                begin = wholeEnd
            } else {
                let part = Self.zeros.rawSpan.extracting(0..<Int(unitEnd - begin))
                do throws(EpochFault) {
                    if try !isNothing(live, UInt64(begin / unitLength)),
                        case .failed(let code) = write(head, part, at: begin)
                    {
                        return .failed(code)
                    }
                } catch {
                    return .failed(error.code)
                }
                begin = unitEnd
            }
        }
        return .done(0)
    }

    private func isNothing(_ head: LiveHead, _ unit: UInt64) throws(EpochFault) -> Bool {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        return try loadedEntry(head, unit) == .nothing
    }

    /// Discards units of a disk of that capacity; false, and perhaps not all is done, when it has grown and has more of
    /// the last unit now.
    private func discard(
        _ head: LiveHead, _ units: Range<UInt64>, capacity: UInt64
    ) throws(EpochFault) -> Bool {
        var first = units.lowerBound
        var isFull = false
        while first < units.upperBound {
            let end = endOfPiece(first, units.upperBound)
            switch try discardPiece(head, first..<end, capacity: capacity) {
            case .done: break
            case .grown: return false
            case .cutsExtent:
                let unitLength = EpochFormat.unitLength
                let part = Self.zeros.rawSpan.extracting(0..<Int(end - first) * unitLength)
                if case .failed(let code) = write(head.number, part, at: Int64(first) * Int64(unitLength)) {
                    // What is discarded as a whole needs no room.
                    guard code == Errno.noSpace else { throw .device(code) }
                    isFull = true
                }
            }
            first = end
        }
        maintainIfNeeded()
        if isFull { throw .device(Errno.noSpace) }
        return true
    }

    /// Where a piece ends that begins with a unit. Where extents may be compressed, parts of them are pieces of their
    /// own.
    private func endOfPiece(_ first: UInt64, _ limit: UInt64) -> UInt64 {
        let end = min(limit, (first / Self.discardUnits + 1) * Self.discardUnits)
        guard compression != nil else { return end }
        let length = UInt64(EpochFormat.extentUnits)
        let whole = EpochFormat.extentStart(end)
        return first % length == 0 && whole > first ? whole : min(end, EpochFormat.extentStart(first) + length)
    }

    /// How discarding a piece has ended.
    private enum Discarded {
        case done
        /// Nothing is done: the disk has grown.
        case grown
        /// Nothing is done: it is a part of a compressed extent, which is written as a whole.
        case cutsExtent
    }

    private func discardPiece(
        _ head: LiveHead, _ units: Range<UInt64>, capacity: UInt64
    ) throws(EpochFault) -> Discarded {
        try checkFailure()
        let range = UnitGuards.Range(head: head.number, units: units)
        guards.exclude(range)
        defer { guards.endExcluding(range) }
        // Nobody writes to what the disk has more of the last unit before the guards are given back.
        let isPartial = units.upperBound << UInt64(EpochFormat.unitShift) > capacity
        guard !isPartial || head.capacity.load(ordering: .acquiring) == capacity else { return .grown }
        if try cutsExtent(head, units) { return .cutsExtent }
        let runs = try mappedRuns(head, units)
        guard !runs.isEmpty else { return .done }
        try makeRoom(records: runs.count, isReserved: true)
        let records = runs.map { run in
            JournalRecord.nothing(head: head.number, first: run.lowerBound, count: UInt32(clamping: run.count))
        }
        try append(records, to: head, isReserved: true)
        return .done
    }

    /// The parts of `units`, region by region, that hold anything.
    private func mappedRuns(_ head: LiveHead, _ units: Range<UInt64>) throws(EpochFault) -> [Range<UInt64>] {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        var runs: [Range<UInt64>] = []
        var first = units.lowerBound
        while first < units.upperBound {
            let region = first / UInt64(EpochFormat.regionUnits)
            let end = min(units.upperBound, (region + 1) * UInt64(EpochFormat.regionUnits))
            defer { first = end }
            if head.map.region(region) == .notLoaded { try load(head, region) }
            if head.map.region(region) == .uniform(.nothing) { continue }
            var isMapped = false
            for unit in first..<end where head.map.entry(unit) != .nothing {
                isMapped = true
                break
            }
            guard isMapped else { continue }
            if let last = runs.last, last.upperBound == first {
                runs[runs.count - 1] = last.lowerBound..<end
            } else {
                runs.append(first..<end)
            }
        }
        return runs
    }
}
