internal import Bytes
public import Platform
internal import Synchronization

/// Writing.
extension DiskFamily {
    /// Writes bytes of a head, whole sectors of 512 inside of it; durable after a `flush`. It may wait.
    ///
    /// Writes of up to `pieceLength` that do not go over a multiple of it are done as a whole or, when the host is
    /// full, not at all (ENOSPC); but for units that are overwritten in place when others fill the journal meanwhile.
    public func write(_ head: UInt32, _ bytes: RawSpan, at offset: Int64) -> FileResult {
        guard let live = liveHead(head) else { return .failed(Errno.noSuchFile) }
        let count = Int64(bytes.byteCount)
        guard Self.isInside(offset, count, capacity: live.capacity.load(ordering: .acquiring)) else {
            return .failed(Errno.invalidArgument)
        }
        var begin = offset
        while begin < offset + count {
            let end = min(offset + count, (begin / Self.pieceLength + 1) * Self.pieceLength)
            let piece = bytes.extracting(Int(begin - offset)..<Int(end - offset))
            do throws(EpochFault) {
                try writePiece(live, piece, at: UInt64(begin))
            } catch {
                return .failed(error.code)
            }
            begin = end
        }
        return .done(bytes.byteCount)
    }

    private func writePiece(_ head: LiveHead, _ bytes: RawSpan, at offset: UInt64) throws(EpochFault) {
        let piece = Piece(offset: offset, count: bytes.byteCount)
        let range = UnitGuards.Range(head: head.number, units: piece.units)
        if mayOverwriteFirst(piece), try overwrite(head, piece, bytes, range) { return }
        do throws(EpochFault) {
            try replace(head, piece, bytes, range)
        } catch {
            guard error.code == Errno.noSpace, try confirmAtLimit(piece) else { throw error }
            if try overwrite(head, piece, bytes, range) { return }
            try replace(head, piece, bytes, range)
        }
        maintainIfNeeded()
    }

    /// What was written for the first time a moment ago is overwritten in place once that is confirmed. False when the
    /// piece is not beyond a limit, or there is nothing to confirm.
    private func confirmAtLimit(_ piece: Piece) throws(EpochFault) -> Bool {
        // With checksums nothing is overwritten in place.
        guard checksums == nil, units.isLimited(UInt64(piece.units.count)),
            shared.withLock({ $0.records.hasUnconfirmed || !$0.records.open.records.isEmpty })
        else { return false }
        for _ in 0..<2 {
            let code = flush()
            if code != 0 { throw .device(code) }
        }
        return true
    }

    // MARK: In place

    /// Overwrites all of a piece in place, if that may be; false when not, and nothing is done.
    private func overwrite(
        _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan, _ range: UnitGuards.Range
    ) throws(EpochFault) -> Bool {
        guards.share(range)
        defer { guards.endSharing(range) }
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        try checkFailure()
        // A snapshot that is made from now on waits for this; one that was made before is seen here.
        let writing = writers.enter()
        defer { writers.leave(writing) }
        var places: [UInt64] = []
        for unit in piece.units {
            guard let entry = head.map.entry(unit), head.mayOverwrite(entry), !piece.isZero(unit, in: bytes) else {
                return false
            }
            places.append(entry.unit)
        }
        try put(places[...], piece, bytes, from: 0)
        return true
    }

    /// Writes the part of a piece that begins with its unit `first` into `places`, run by run.
    private func put(
        _ places: ArraySlice<UInt64>, _ piece: Piece, _ bytes: RawSpan, from first: Int
    ) throws(EpochFault) {
        var index = places.startIndex
        while index < places.endIndex {
            var end = index + 1
            while end < places.endIndex, places[end] == places[index] + UInt64(end - index) { end += 1 }
            let unit = first + index - places.startIndex
            let part = piece.part(unit..<unit + end - index)
            let inside = piece.offset(inUnit: unit)
            try put(bytes.extracting(part), at: EpochFormat.offset(ofUnit: places[index]) + Int64(inside))
            index = end
        }
    }

    func put(_ bytes: RawSpan, at place: Int64) throws(EpochFault) {
        switch store.write(bytes, offset: place) {
        case .done: return
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    func checkFailure() throws(EpochFault) {
        let code = failureCode
        if code != 0 { throw .device(code) }
        if isClosing.load(ordering: .sequentiallyConsistent) { throw .device(Errno.cancelled) }
    }

    // MARK: New versions

    /// What is to become of a unit.
    enum Plan: Equatable {
        /// It is overwritten in its place.
        case inPlace(UInt64)
        /// It gets new storage.
        case new
        /// It becomes nothing.
        case nothing
        /// It is nothing already.
        case none
    }

    /// Writes a piece whose units nobody else writes: in place what may be, all else as new versions.
    private func replace(
        _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan, _ range: UnitGuards.Range
    ) throws(EpochFault) {
        guards.exclude(range)
        defer { guards.endExcluding(range) }
        if let compression { return try replaceExtents(compression, head, piece, bytes) }
        var versions = NewVersions()
        do throws(EpochFault) {
            try checkFailure()
            try makeRoom(records: piece.units.count, isReserved: false)
            while true {
                let plans = try prepare(head, piece, bytes, &versions)
                // Between the plan and this a snapshot may have been made.
                if try overwrite(head, piece, bytes, plans) { break }
            }
            try commit(head, &versions)
        } catch {
            for run in versions.runs { units.giveBack(written: run) }
            throw error
        }
    }

    /// Makes new versions of units that need one and have none yet.
    func prepare(
        _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan, _ versions: inout NewVersions
    ) throws(EpochFault) -> [Plan] {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        var plans: [Plan] = []
        var former: [MapEntry] = []
        for unit in piece.units {
            let entry = try loadedEntry(head, unit)
            former.append(entry)
            if versions.has(unit) {
                plans.append(.none)
            } else if piece.isZero(unit, in: bytes) {
                plans.append(entry == .nothing ? .none : .nothing)
                if entry != .nothing { versions.removals.append(unit) }
            } else {
                plans.append(head.mayOverwrite(entry) ? .inPlace(entry.unit) : .new)
            }
        }
        var index = 0
        while index < plans.count {
            guard plans[index] == .new else {
                index += 1
                continue
            }
            var end = index + 1
            while end < plans.count, plans[end] == .new { end += 1 }
            let before = piece.units.lowerBound + UInt64(index)
            try makeVersions(index..<end, piece, bytes, former, place(behind: before, head), &versions)
            index = end
        }
        return plans
    }

    func loadedEntry(_ head: LiveHead, _ unit: UInt64) throws(EpochFault) -> MapEntry {
        while true {
            if let entry = head.map.entry(unit) { return entry }
            try load(head, unit / UInt64(EpochFormat.regionUnits))
        }
    }

    /// Allocates units for the units `indexes` of a piece, near what lies before them, and writes their data.
    private func makeVersions(
        _ indexes: Range<Int>, _ piece: Piece, _ bytes: RawSpan, _ former: [MapEntry], _ hint: UInt64,
        _ versions: inout NewVersions
    ) throws(EpochFault) {
        let old = former[indexes.lowerBound]
        var index = indexes.lowerBound
        var place = hint == .max && old.isData ? old.unit : hint
        var isFull = false
        while index < indexes.upperBound {
            let missing = UInt64(indexes.upperBound - index)
            guard let run = units.allocate(missing, near: place, anywhere: isFull) else {
                throw isFull ? .device(Errno.noSpace) : .limit(.physicalUnits)
            }
            versions.runs.append(run)
            place = run.upperBound
            let part = index..<index + run.count
            let checksum: UInt32
            do throws(EpochFault) {
                checksum = try putVersions(part, piece, bytes, former, at: run.lowerBound)
            } catch {
                guard !isFull, Self.isFull(error) else { throw error }
                // The file does not become longer, but what was freed in it may have storage.
                isFull = true
                versions.runs.removeLast()
                _ = units.giveBack(run)
                continue
            }
            versions.add(piece.units.lowerBound + UInt64(index), run, checksum)
            index = part.upperBound
        }
    }

    /// Whether there is no room for a longer file.
    static func isFull(_ fault: EpochFault) -> Bool {
        guard case .device(let code) = fault else { return false }
        return code == Errno.noSpace || code == Errno.quotaExceeded || code == Errno.fileTooBig
    }

    /// Writes units of a piece in succession, partial ones with what the old version has; their checksum.
    private func putVersions(
        _ indexes: Range<Int>, _ piece: Piece, _ bytes: RawSpan, _ former: [MapEntry], at unit: UInt64
    ) throws(EpochFault) -> UInt32 {
        var checksum: UInt32 = 0
        var index = indexes.lowerBound
        while index < indexes.upperBound {
            let place = EpochFormat.offset(ofUnit: unit + UInt64(index - indexes.lowerBound))
            if piece.isWhole(index) {
                var end = index + 1
                while end < indexes.upperBound, piece.isWhole(end) { end += 1 }
                let part = bytes.extracting(piece.part(index..<end))
                try put(part, at: place)
                try checksums?.put(part, at: unit + UInt64(index - indexes.lowerBound))
                checksum = CRC32C.checksum(part, previous: checksum)
                index = end
                continue
            }
            var content = try oldContent(former[index])
            content.modifyBytes { target in
                target.store(bytes.extracting(piece.part(index..<index + 1)), at: piece.offset(inUnit: index))
            }
            try put(content.rawSpan, at: place)
            try checksums?.put(content.rawSpan, at: unit + UInt64(index - indexes.lowerBound))
            checksum = CRC32C.checksum(content.rawSpan, previous: checksum)
            index += 1
        }
        return checksum
    }

    private func oldContent(_ entry: MapEntry) throws(EpochFault) -> [UInt8] {
        var content = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        if entry.isLost { throw .damaged(.lost) }
        precondition(!entry.isCompressed, "a compressed extent is written as a whole")
        guard entry.isData else { return content }
        let place = EpochFormat.offset(ofUnit: entry.unit)
        switch content.modifyBytes({ store.read(into: &$0, offset: place, mode: .blocking) }) {
        case .done(let count) where count == EpochFormat.unitLength:
            try checksums?.verify(content.rawSpan, at: entry.unit)
            return content
        case .done: throw .damaged(.truncated(unit: entry.unit))
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    /// Overwrites the units whose plan is that; false, and nothing is done, when a snapshot has come in between.
    func overwrite(
        _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan, _ plans: [Plan]
    ) throws(EpochFault) -> Bool {
        guard plans.contains(where: { if case .inPlace = $0 { true } else { false } }) else { return true }
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        let writing = writers.enter()
        defer { writers.leave(writing) }
        for (index, plan) in plans.enumerated() {
            guard case .inPlace(let unit) = plan else { continue }
            guard let entry = head.map.entry(piece.units.lowerBound + UInt64(index)), entry.unit == unit,
                head.mayOverwrite(entry)
            else { return false }
        }
        var index = 0
        while index < plans.count {
            var places: [UInt64] = []
            while index + places.count < plans.count, case .inPlace(let unit) = plans[index + places.count] {
                places.append(unit)
            }
            try put(places[...], piece, bytes, from: index)
            index += max(1, places.count)
        }
        return true
    }

    /// Makes the new versions those that count.
    func commit(_ head: LiveHead, _ versions: inout NewVersions) throws(EpochFault) {
        let records = versions.records(of: head.number)
        guard !records.isEmpty else { return }
        try append(records, to: head)
        versions = NewVersions()
    }
}

/// The units and bytes of a part of a write.
struct Piece {
    let offset: UInt64
    let count: Int

    private static let length = UInt64(EpochFormat.unitLength)

    /// The units that it touches.
    var units: Range<UInt64> {
        offset / Self.length..<(offset + UInt64(count) + Self.length - 1) / Self.length
    }

    /// The bytes of the write in the units with these indexes.
    func part(_ indexes: Range<Int>) -> Range<Int> {
        let start = Int(units.lowerBound * Self.length) - Int(offset)
        return max(
            0, start + indexes.lowerBound * EpochFormat.unitLength)..<min(
                count, start + indexes.upperBound * EpochFormat.unitLength)
    }

    /// Where in its unit the write begins.
    func offset(inUnit index: Int) -> Int { index == 0 ? Int(offset % Self.length) : 0 }

    /// Whether all bytes of a unit are written.
    func isWhole(_ index: Int) -> Bool { part(index..<index + 1).count == EpochFormat.unitLength }

    /// Whether a unit becomes all zeros.
    func isZero(_ unit: UInt64, in bytes: RawSpan) -> Bool {
        let index = Int(unit - units.lowerBound)
        return isWhole(index) && bytes.extracting(part(index..<index + 1)).isAllZero
    }
}

/// What a piece needs a record for.
struct NewVersions {
    private struct Version {
        let first: UInt64
        let unit: UInt64
        let count: UInt32
        let checksum: UInt32
        /// Whether these are the units of a compressed extent.
        var isExtent = false

        /// How many logical units are in them.
        var logicalCount: UInt64 { isExtent ? UInt64(EpochFormat.extentUnits) : UInt64(count) }
    }

    /// What was allocated.
    var runs: [Range<UInt64>] = []
    /// Units that become nothing.
    var removals: [UInt64] = []
    private var versions: [Version] = []

    mutating func add(_ first: UInt64, _ run: Range<UInt64>, _ checksum: UInt32) {
        versions.append(
            Version(first: first, unit: run.lowerBound, count: UInt32(clamping: run.count), checksum: checksum))
    }

    /// The extent that begins with the unit `first` is compressed.
    mutating func addExtent(_ first: UInt64, _ run: Range<UInt64>, _ checksum: UInt32) {
        versions.append(
            Version(
                first: first, unit: run.lowerBound, count: UInt32(clamping: run.count), checksum: checksum,
                isExtent: true))
    }

    /// Whether a unit needs nothing more.
    func has(_ unit: UInt64) -> Bool {
        removals.contains(unit)
            || versions.contains { unit >= $0.first && unit - $0.first < $0.logicalCount }
    }

    /// How many units of a range, from its first one on, still need something.
    func missing(_ units: Range<UInt64>) -> UInt64 {
        (units.first { has($0) } ?? units.upperBound) - units.lowerBound
    }

    func records(of head: UInt32) -> [JournalRecord] {
        var records: [JournalRecord] = versions.map {
            $0.isExtent
                ? .extent(head: head, first: $0.first, unit: $0.unit, count: $0.count, checksum: $0.checksum)
                : .data(head: head, first: $0.first, unit: $0.unit, count: $0.count, checksum: $0.checksum)
        }
        var gone = UnitRuns()
        for unit in removals { gone.append(unit) }
        for run in gone.runs {
            records.append(.nothing(head: head, first: run.lowerBound, count: UInt32(clamping: run.count)))
        }
        return records
    }
}
