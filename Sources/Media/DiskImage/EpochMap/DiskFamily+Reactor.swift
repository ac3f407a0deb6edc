internal import Bytes
internal import Platform
internal import Synchronization

/// Commands on a reactor, inside of the grace: they do not wait. Reads and overwrites in place take no lock and no
/// memory. A first write takes two locks, for which it looks a bounded number of times; it takes memory for the leaf of
/// a region that changes for the first time since a snapshot or a commit, and now and then for the list of records.
extension DiskFamily {
    /// The most pieces of the file of one command: each is a system call.
    static let reactorPieces = 64
    /// How often it looks whether a lock is free: some microseconds.
    private static let lockTries = 256

    /// How a write on a reactor has ended.
    enum ReactorWrite {
        case done
        /// It is done, and `upkeep` is due.
        case doneAndDue
        /// It is to be done on a thread that may wait; any part may be written.
        case wouldBlock
    }

    /// The entries of a head's units, one region after the other.
    struct MapCursor {
        private var region = UInt64.max
        private var content = RegionMap.Region.notLoaded

        /// The entry of a unit; nil when its region is not in memory.
        @inline(__always)
        mutating func entry(_ unit: UInt64, of map: RegionMap) -> MapEntry? {
            let wanted = unit / UInt64(EpochFormat.regionUnits)
            if wanted != region {
                region = wanted
                content = map.region(wanted)
            }
            let index = Int(truncatingIfNeeded: unit & UInt64(EpochFormat.regionUnits - 1))
            switch content {
            case .notLoaded: return nil
            case .uniform(let first): return first.following(index)
            case .leaf(let leaf): return leaf[index]
            }
        }
    }

    // MARK: Reading

    /// Reads a head's bytes, whole sectors of 512, into the beginning of a lease: `.wouldBlock` when a part of them, or
    /// of the map, is not in memory, or anything is wrong, which a thread that may wait finds out.
    func readCached(_ number: UInt32, into lease: inout BufferLease, at offset: Int64, _ count: Int) -> FileResult {
        let result = heads.withHead(number) { head in readCached(head, &lease, offset, count) }
        return result ?? .wouldBlock
    }

    private func readCached(_ head: LiveHead, _ lease: inout BufferLease, _ offset: Int64, _ count: Int) -> FileResult {
        guard Self.isInside(offset, Int64(count), capacity: head.capacity.load(ordering: .acquiring)) else {
            return .wouldBlock
        }
        var cursor = MapCursor()
        var (done, pieces) = (0, 0)
        while done < count {
            let begin = UInt64(offset) + UInt64(done)
            guard pieces < Self.reactorPieces, let run = cachedRun(head, &cursor, from: begin, limit: count - done)
            else { return .wouldBlock }
            pieces += 1
            if let place = run.place {
                var nothing = MutableRawSpan()
                let result = store.read(
                    header: &nothing, into: &lease, at: done, count: run.count, offset: place, mode: .cached)
                guard result == .done(run.count),
                    checksums?.isProved(lease.bytes.extracting(done..<done + run.count), at: place) ?? true
                else { return .wouldBlock }
            } else {
                if lease.count < done + run.count { lease.setCount(done + run.count) }
                var bytes = lease.mutableBytes
                bytes.fill(at: done, count: run.count)
            }
            done += run.count
        }
        return .done(count)
    }

    /// The longest run from a byte of the disk on, at most `limit` bytes; nil when the map is not in memory, or what is
    /// there may not be read.
    @inline(__always)
    private func cachedRun(_ head: LiveHead, _ cursor: inout MapCursor, from begin: UInt64, limit: Int) -> Run? {
        let length = EpochFormat.unitLength
        let inside = Int(truncatingIfNeeded: begin & UInt64(length - 1))
        var unit = begin >> UInt64(EpochFormat.unitShift)
        guard let first = cursor.entry(unit, of: head.map), isReadable(first), !first.isCompressed else { return nil }
        var run = Run(
            place: first.isData ? EpochFormat.offset(ofUnit: first.unit) + Int64(inside) : nil,
            count: min(limit, length - inside))
        var expected = first
        while run.count < limit {
            unit += 1
            expected = expected.following(1)
            guard let entry = cursor.entry(unit, of: head.map), isReadable(entry), !entry.isCompressed else {
                return nil
            }
            guard entry.isData == first.isData, !entry.isData || entry.unit == expected.unit else { break }
            run.count = min(limit, run.count + length)
        }
        return run
    }

    /// Whether an entry says what may be read: after a loss the lane finds out.
    @inline(__always)
    private func isReadable(_ entry: MapEntry) -> Bool {
        !entry.isLost && (entry.isConfirmed || failure.load(ordering: .relaxed) == 0)
    }

    // MARK: Writing

    /// Writes bytes of a head, whole sectors of 512: in place, or whole units that are all to have new versions.
    func writeCached(_ number: UInt32, _ bytes: RawSpan, at offset: Int64) -> ReactorWrite {
        heads.withHead(number) { head in writeCached(head, bytes, offset) } ?? .wouldBlock
    }

    private func writeCached(_ head: LiveHead, _ bytes: RawSpan, _ offset: Int64) -> ReactorWrite {
        guard failure.load(ordering: .relaxed) == 0, !isClosing.load(ordering: .relaxed),
            punching.load(ordering: .relaxed) == 0,
            Self.isInside(offset, Int64(bytes.byteCount), capacity: head.capacity.load(ordering: .acquiring)),
            bytes.byteCount > 0
        else { return .wouldBlock }
        let piece = Piece(offset: UInt64(offset), count: bytes.byteCount)
        guard mayOverwriteFirst(piece) else { return .wouldBlock }
        let range = UnitGuards.Range(head: head.number, units: piece.units)
        guard guards.tryShare(range) else { return .wouldBlock }
        let result = overwriteCached(head, piece, bytes)
        guards.endSharing(range)
        if let result { return result }
        guard piece.isAligned, bytes.byteCount <= Int(Self.pieceLength), guards.tryExclude(range) else {
            return .wouldBlock
        }
        defer { guards.endExcluding(range) }
        return replaceCached(head, piece, bytes)
    }

    /// Overwrites all of a piece in place; nil when some unit needs a new version.
    @inline(__always)
    private func overwriteCached(_ head: LiveHead, _ piece: Piece, _ bytes: RawSpan) -> ReactorWrite? {
        // A snapshot that is made from now on waits for this; one that was made before is seen here.
        let writing = writers.enter()
        defer { writers.leave(writing) }
        var cursor = MapCursor()
        for unit in piece.units {
            guard let entry = cursor.entry(unit, of: head.map) else { return .wouldBlock }
            guard head.mayOverwrite(entry) else { return nil }
            // It is to become nothing.
            if piece.isZero(unit, in: bytes) { return .wouldBlock }
        }
        var (done, pieces) = (0, 0)
        while done < bytes.byteCount {
            guard pieces < Self.reactorPieces,
                let run = cachedRun(
                    head, &cursor, from: piece.offset + UInt64(done), limit: bytes.byteCount - done),
                let place = run.place
            else { return .wouldBlock }
            pieces += 1
            let part = bytes.extracting(done..<done + run.count)
            guard case .done = store.writeCached(part, offset: place) else { return .wouldBlock }
            done += run.count
        }
        return .done
    }

    // MARK: New versions

    /// Writes whole units that nobody else writes as new versions, in succession.
    private func replaceCached(_ head: LiveHead, _ piece: Piece, _ bytes: RawSpan) -> ReactorWrite {
        let logical = piece.units
        var cursor = MapCursor()
        for unit in logical {
            guard let entry = cursor.entry(unit, of: head.map), !head.mayOverwrite(entry), !entry.isCompressed,
                !piece.isZero(unit, in: bytes)
            else { return .wouldBlock }
        }
        let before = logical.lowerBound > 0 ? cursor.entry(logical.lowerBound - 1, of: head.map) : nil
        let hint = before.flatMap { $0.isData ? $0.unit + 1 : nil } ?? .max
        let count = UInt64(logical.count)
        guard let found = tried({ units.allocateIfAvailable(count, near: hint) }), let run = found else {
            return .wouldBlock
        }
        guard run.count == logical.count,
            case .done = store.writeCached(bytes, offset: EpochFormat.offset(ofUnit: run.lowerBound)),
            checksums?.putCached(bytes, at: run.lowerBound) ?? true
        else {
            _ = units.giveBack(run)
            return .wouldBlock
        }
        let record = JournalRecord.data(
            head: head.number, first: logical.lowerBound, unit: run.lowerBound, count: UInt32(logical.count),
            checksum: CRC32C.checksum(bytes))
        let added = tried {
            shared.withLockIfAvailable { shared in
                isClosing.load(ordering: .sequentiallyConsistent)
                    ? (.wouldBlock, false) : shared.addOnReactor(record, head, memory)
            }
        }
        guard let (result, isFirst) = added, result != .wouldBlock else {
            _ = units.giveBack(run)
            return .wouldBlock
        }
        // Once a frame it takes a lock and memory.
        if isFirst { noteFirstRecord() }
        return result
    }

    /// What `body` gives, when it gives something within `lockTries` calls.
    @inline(__always)
    private func tried<Value>(_ body: () -> Value?) -> Value? {
        for _ in 0..<Self.lockTries {
            if let value = body() { return value }
        }
        return nil
    }

    /// What has become due by commands on reactors; on a thread that may wait.
    func upkeep() {
        if shared.withLock({ $0.records.first != nil }) { writeFullFrames() }
        maintainIfNeeded()
    }
}

extension DiskFamily.Shared {
    /// Applies a record of a head to regions that are in memory, and collects it, where the journal has room.
    fileprivate mutating func addOnReactor(
        _ record: JournalRecord, _ head: LiveHead, _ memory: MapMemory
    ) -> (DiskFamily.ReactorWrite, isFirst: Bool) {
        guard state.head(head.number)?.live === head, state.missingRegion(for: record) == nil,
            hasRoom(slots: record.slots, isReserved: false, memory), add(record)
        else { return (.wouldBlock, false) }
        return (records.first != nil || isCheckpointDue(memory) ? .doneAndDue : .done, records.takeFirst())
    }
}

extension Piece {
    /// Whether it is whole units.
    var isAligned: Bool { (offset | UInt64(count)) & UInt64(EpochFormat.unitLength - 1) == 0 }
}
