internal import Bytes
internal import Platform
internal import Synchronization

/// Compressed extents.
///
/// Who looks one up takes the family's lock, under which all of its entries change. Who writes a part of one has its
/// guard for itself: it is read, and written again as a whole.
extension DiskFamily {
    /// The level of zstd at which extents are compressed; nil when they are not.
    public var compressionLevel: Int? { compression.map { Int($0.level) } }

    /// Whether a part of a head's extents may be overwritten before anything else is tried: an extent that is written
    /// as a whole is compressed, if that saves, whatever it was.
    func mayOverwriteFirst(_ piece: Piece) -> Bool { compression == nil || !piece.hasWholeExtent }

    // MARK: Reading

    /// Reads bytes of one extent; the number of them, 0 when the extent is not compressed any more.
    @_lifetime(bytes: copy bytes)
    func readExtent(
        _ source: Source, from begin: UInt64, into bytes: inout MutableRawSpan, at start: Int, count: Int
    ) throws(EpochFault) -> Int {
        guard let place = try extentPlace(source, begin >> UInt64(EpochFormat.unitShift)) else { return 0 }
        try checkReadable(place.entry)
        let inside = Int(begin % UInt64(EpochFormat.extentLength))
        guard let codec = compression else { throw .damaged(.extent(unit: place.units.lowerBound)) }
        var target = bytes._mutatingExtracting(start..<start + count)
        let isDone = try ExtentScratch.use { scratch throws(EpochFault) in
            try load(place.units, scratch)
            if count == EpochFormat.extentLength { return codec.decode(scratch, units: place.units, into: &target) }
            let isSound = scratch.content.modifyBytes { codec.decode(scratch, units: place.units, into: &$0) }
            // Held, not copied.
            let content = scratch.content
            if isSound { target.store(content.rawSpan.extracting(inside..<inside + count), at: 0) }
            return isSound
        }
        guard let isDone else { throw .device(Errno.noMemory) }
        guard isDone else { throw .damaged(.extent(unit: place.units.lowerBound)) }
        return count
    }

    private func load(_ units: Range<UInt64>, _ scratch: ExtentScratch) throws(EpochFault) {
        let length = units.count * EpochFormat.unitLength
        let result = scratch.stored.modifyBytes { target in
            var part = target._mutatingExtracting(0..<length)
            return store.read(into: &part, offset: EpochFormat.offset(ofUnit: units.lowerBound), mode: .blocking)
        }
        switch result {
        case .done(let count) where count == length: return
        case .done: throw .damaged(.truncated(unit: units.lowerBound))
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    /// Where the extent of a unit is stored; nil when it is not compressed. Whoever is inside the grace.
    private func extentPlace(_ source: Source, _ unit: UInt64) throws(EpochFault) -> ExtentPlace? {
        let start = EpochFormat.extentStart(unit)
        let shape: ExtentShape
        let first: MapEntry
        switch source {
        case .live(let head):
            shape = try extent(head, unit)
            first = head.map.entry(start) ?? .nothing
        case .layer(let number, let reader):
            var entries: [MapEntry] = []
            for index in 0..<UInt64(EpochFormat.extentUnits) {
                entries.append(try reader.entry(start + index, of: number, in: self))
            }
            shape = ExtentShape { entries[$0] }
            first = entries[0]
        }
        switch shape {
        case .plain: return nil
        case .compressed(let place): return place
        case .broken: throw .damaged(.extent(unit: first.unit))
        }
    }

    /// What an extent of a head is; whoever is inside the grace.
    private func extent(_ head: LiveHead, _ unit: UInt64) throws(EpochFault) -> ExtentShape {
        while true {
            if let shape = shared.withLock({ _ in head.map.extent(of: unit) }) { return shape }
            try load(head, unit / UInt64(EpochFormat.regionUnits))
        }
    }

    /// Whether a unit of a head is a part of a compressed extent.
    private func isCompressed(_ head: LiveHead, _ unit: UInt64) throws(EpochFault) -> Bool {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        return try loadedEntry(head, unit).isCompressed
    }

    /// Whether units whose guards the caller has for itself are only a part of a compressed extent.
    func cutsExtent(_ head: LiveHead, _ units: Range<UInt64>) throws(EpochFault) -> Bool {
        guard compression != nil else { return false }
        let length = UInt64(EpochFormat.extentUnits)
        if units.lowerBound % length != 0, try isCompressed(head, units.lowerBound) { return true }
        guard units.upperBound % length != 0 else { return false }
        return try isCompressed(head, units.upperBound - 1)
    }

    // MARK: Writing

    /// A part of a write, with the bytes of a compressed extent around it or those of the write.
    private struct Segment {
        let piece: Piece
        /// Of all bytes of the piece; nil: those of the write from `start` on.
        var content: [UInt8]?
        var start = 0

        func withBytes<Result>(
            _ bytes: RawSpan, _ body: (RawSpan) throws(EpochFault) -> Result
        ) throws(EpochFault) -> Result {
            if let content { return try body(content.rawSpan) }
            return try body(bytes.extracting(start..<start + piece.count))
        }
    }

    /// Writes a piece whose guards the caller has for itself: extents that are written as a whole, or of which a part
    /// was compressed, are compressed where that saves; all else as `replace` does it.
    func replaceExtents(
        _ codec: ExtentCodec, _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan
    ) throws(EpochFault) {
        var versions = NewVersions()
        do throws(EpochFault) {
            try checkFailure()
            try makeRoom(records: piece.units.count + 2 * EpochFormat.extentUnits, isReserved: false)
            let segments = try segments(head, piece, bytes)
            for segment in segments {
                try segment.withBytes(bytes) { bytes throws(EpochFault) in
                    try compress(codec, head, segment.piece, bytes, keepsZeros: false, &versions)
                }
            }
            for segment in segments {
                try segment.withBytes(bytes) { bytes throws(EpochFault) in
                    while true {
                        let plans = try prepare(head, segment.piece, bytes, &versions)
                        // Between the plan and this a snapshot may have been made.
                        if try overwrite(head, segment.piece, bytes, plans) { break }
                    }
                }
            }
            try commit(head, &versions)
        } catch {
            for run in versions.runs { units.giveBack(written: run) }
            throw error
        }
    }

    /// A piece in parts: its first and its last extent with all of their bytes, when they are compressed and written in
    /// part, and what is between them.
    private func segments(
        _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan
    ) throws(EpochFault) -> [Segment] {
        let length = UInt64(EpochFormat.extentLength)
        var (begin, end) = (piece.offset, piece.offset + UInt64(piece.count))
        var segments: [Segment] = []
        var last: Segment?
        if begin % length != 0 || end - begin < length, try isCompressed(head, begin >> UInt64(EpochFormat.unitShift)) {
            let next = min(end, (begin / length + 1) * length)
            segments.append(try segment(head, bytes.extracting(0..<Int(next - begin)), at: begin))
            begin = next
        }
        if begin < end, end % length != 0, try isCompressed(head, (end - 1) >> UInt64(EpochFormat.unitShift)) {
            let start = max(begin, end / length * length)
            last = try segment(
                head, bytes.extracting(Int(start - piece.offset)..<piece.count), at: start)
            end = start
        }
        if begin < end {
            segments.append(
                Segment(piece: Piece(offset: begin, count: Int(end - begin)), start: Int(begin - piece.offset)))
        }
        return last.map { segments + [$0] } ?? segments
    }

    /// An extent that is compressed, as it becomes when bytes are written to a part of it.
    private func segment(_ head: LiveHead, _ bytes: RawSpan, at begin: UInt64) throws(EpochFault) -> Segment {
        let start = begin / UInt64(EpochFormat.extentLength) * UInt64(EpochFormat.extentLength)
        let piece = Piece(offset: start, count: EpochFormat.extentLength)
        return Segment(piece: piece, content: try content(head, piece, with: bytes, at: begin))
    }

    /// What bytes of a head, from a unit on, become when `bytes` are written at `begin`, which is in them; zeros to the
    /// end of the last unit.
    private func content(
        _ head: LiveHead, _ piece: Piece, with bytes: RawSpan, at begin: UInt64
    ) throws(EpochFault) -> [UInt8] {
        var content = [UInt8](repeating: 0, count: piece.units.count * EpochFormat.unitLength)
        let result = content.modifyBytes { target in
            var part = target._mutatingExtracting(0..<piece.count)
            return read(head.number, into: &part, at: Int64(piece.offset))
        }
        switch result {
        case .done: break
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
        content.modifyBytes { $0.store(bytes, at: Int(begin - piece.offset)) }
        return content
    }

    /// Makes new versions of the extents of a piece that are written as a whole, where that takes fewer units than
    /// data. Zeros take none, unless `keepsZeros`.
    private func compress(
        _ codec: ExtentCodec, _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan, keepsZeros: Bool,
        _ versions: inout NewVersions
    ) throws(EpochFault) {
        let length = EpochFormat.extentLength
        var start = piece.bytesToExtent
        guard start + length <= piece.count else { return }
        let capacity = head.capacity.load(ordering: .acquiring)
        var hint = place(behind: piece.units.lowerBound, head)
        while start + length <= piece.count {
            let content = bytes.extracting(start..<start + length)
            let first = (piece.offset + UInt64(start)) >> UInt64(EpochFormat.unitShift)
            start += length
            // What is behind the end of the disk is not written, and the last extent not compressed then.
            guard (first << UInt64(EpochFormat.unitShift)) + UInt64(length) <= capacity else { continue }
            let limit = keepsZeros ? ExtentCodec.unitLimit : Self.unitsOfData(content) - 1
            _ = try ExtentScratch.use { scratch throws(EpochFault) in
                guard let count = codec.encode(content, limit: limit, scratch) else { return }
                try putExtent(codec, scratch, count, first, &hint, &versions)
            }
        }
    }

    /// Writes what `scratch` has stored of an extent, where there is a run of free units for it; else it is not
    /// compressed.
    private func putExtent(
        _ codec: ExtentCodec, _ scratch: ExtentScratch, _ count: Int, _ first: UInt64, _ hint: inout UInt64,
        _ versions: inout NewVersions
    ) throws(EpochFault) {
        for isFull in [false, true] {
            guard let run = units.allocate(UInt64(count), near: hint, anywhere: isFull) else { return }
            guard run.count == count else {
                _ = units.giveBack(run)
                return
            }
            versions.runs.append(run)
            codec.seal(scratch, unit: run.lowerBound)
            do throws(EpochFault) {
                let checksum = try putStored(scratch.stored, run)
                versions.addExtent(first, run, checksum)
            } catch {
                guard Self.isFull(error) else { throw error }
                // The file does not become longer, but what was freed in it may have storage.
                versions.runs.removeLast()
                _ = units.giveBack(run)
                continue
            }
            hint = run.upperBound
            return
        }
    }

    /// Writes what is stored of an extent; its checksum.
    private func putStored(_ stored: [UInt8], _ run: Range<UInt64>) throws(EpochFault) -> UInt32 {
        let bytes = stored.rawSpan.extracting(0..<run.count * EpochFormat.unitLength)
        try put(bytes, at: EpochFormat.offset(ofUnit: run.lowerBound))
        try checksums?.put(bytes, at: run.lowerBound)
        return CRC32C.checksum(bytes)
    }

    /// How many units of an extent are not zeros.
    private static func unitsOfData(_ content: RawSpan) -> Int {
        stride(from: 0, to: EpochFormat.extentLength, by: EpochFormat.unitLength).count { start in
            !content.extracting(start..<start + EpochFormat.unitLength).isAllZero
        }
    }

    /// Behind what a head has before a unit: where in the file its data go best. `.max`: anywhere.
    func place(behind unit: UInt64, _ head: LiveHead) -> UInt64 {
        let pass = memory.grace.enter()
        defer { memory.grace.leave(pass) }
        guard unit > 0, let before = head.map.entry(unit - 1) else { return .max }
        guard before.isCompressed, !before.ownsUnit else { return before.ownsUnit ? before.unit + 1 : .max }
        let first = head.map.entry(EpochFormat.extentStart(unit - 1)) ?? .nothing
        return first.ownsUnit ? first.unit + 1 : .max
    }

    // MARK: As a whole or not at all

    /// The bytes of an atomic write in whole units, and with the compressed extents at its ends in whole extents.
    func wholeExtents(
        _ head: LiveHead, _ piece: Piece, _ bytes: RawSpan
    ) throws(EpochFault) -> (piece: Piece, content: [UInt8])? {
        let units = piece.units
        guard try cutsExtent(head, units) else { return nil }
        let length = UInt64(EpochFormat.extentLength)
        var (begin, end) = (piece.offset, piece.offset + UInt64(piece.count))
        // What is not compressed there is written again: that is right too.
        begin = begin / length * length
        end = min((end + length - 1) / length * length, head.capacity.load(ordering: .acquiring))
        let outer = Piece(offset: begin, count: Int(end - begin))
        return (outer, try content(head, outer, with: bytes, at: piece.offset))
    }

    /// Makes new versions of what compression saves of an atomic write.
    func compressAtomically(
        _ head: LiveHead, _ piece: Piece, _ content: [UInt8], _ versions: inout NewVersions
    ) throws(EpochFault) {
        guard let compression else { return }
        // The content begins with a unit.
        let whole = Piece(offset: piece.units.lowerBound << UInt64(EpochFormat.unitShift), count: content.count)
        try compress(compression, head, whole, content.rawSpan, keepsZeros: true, &versions)
    }
}

extension Piece {
    /// Bytes before its first extent begins.
    fileprivate var bytesToExtent: Int {
        let length = UInt64(EpochFormat.extentLength)
        return Int((length - offset % length) % length)
    }

    /// Whether an extent is written as a whole.
    var hasWholeExtent: Bool { bytesToExtent + EpochFormat.extentLength <= count }
}
