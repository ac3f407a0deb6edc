internal import Bytes
public import Platform
internal import Synchronization

/// Writing as a whole or not at all.
extension DiskFamily {
    /// The most bytes that are written as a whole: all their records have room in one frame.
    static let atomicLength = 1 << 20

    /// Writes bytes of a head, whole sectors of 512 inside of it, at most `atomicLength`: durable when it is done, and
    /// all of them or none after a crash. It may wait.
    ///
    /// All units get new versions. These are durable before the one frame is written that has their records: so a
    /// replay, which compares data, takes all of the records when it takes the frame.
    public func writeAtomically(_ head: UInt32, _ bytes: RawSpan, at offset: Int64) -> FileResult {
        guard let live = liveHead(head) else { return .failed(Errno.noSuchFile) }
        let count = bytes.byteCount
        guard count > 0, count <= Self.atomicLength,
            Self.isInside(offset, Int64(count), capacity: live.capacity.load(ordering: .acquiring))
        else { return .failed(Errno.invalidArgument) }
        do throws(EpochFault) {
            try replaceAtomically(live, Piece(offset: UInt64(offset), count: count), bytes)
            let code = flush()
            guard code == 0 else { throw .device(code) }
        } catch {
            return .failed(error.code)
        }
        maintainIfNeeded()
        return .done(count)
    }

    private func replaceAtomically(_ head: LiveHead, _ piece: Piece, _ bytes: RawSpan) throws(EpochFault) {
        let range = UnitGuards.Range(head: head.number, units: piece.units)
        guards.exclude(range)
        defer { guards.endExcluding(range) }
        try checkFailure()
        try makeRoom(records: piece.units.count + 2 * EpochFormat.extentUnits, isReserved: false)
        var (piece, content) = (piece, [UInt8]())
        if let whole = try wholeExtents(head, piece, bytes) {
            (piece, content) = whole
        } else {
            content = try wholeUnits(head, piece, bytes)
        }
        var versions = NewVersions()
        do throws(EpochFault) {
            try compressAtomically(head, piece, content, &versions)
            let logical = piece.units
            var done = 0
            var hint = UInt64.max
            while done < logical.count {
                let missing = versions.missing(logical.lowerBound + UInt64(done)..<logical.upperBound)
                guard missing > 0 else {
                    done += 1
                    continue
                }
                guard let run = units.allocate(missing, near: hint) else { throw .limit(.physicalUnits) }
                versions.runs.append(run)
                let start = done * EpochFormat.unitLength
                let part = content.rawSpan.extracting(start..<start + run.count * EpochFormat.unitLength)
                switch store.write(part, offset: EpochFormat.offset(ofUnit: run.lowerBound)) {
                case .done: break
                case .wouldBlock: throw .device(Errno.wouldBlock)
                case .failed(let code): throw .device(code)
                }
                try checksums?.put(part, at: run.lowerBound)
                versions.add(logical.lowerBound + UInt64(done), run, CRC32C.checksum(part))
                done += run.count
                hint = run.upperBound
            }
            let code = flush()
            guard code == 0 else { throw .device(code) }
            try append(versions.records(of: head.number), to: head)
        } catch {
            for run in versions.runs { _ = units.giveBack(run) }
            throw error
        }
    }

    /// The units of a piece as they become: the first and the last one may be written in part.
    private func wholeUnits(_ head: LiveHead, _ piece: Piece, _ bytes: RawSpan) throws(EpochFault) -> [UInt8] {
        let length = EpochFormat.unitLength
        let last = piece.units.count - 1
        var content = [UInt8](repeating: 0, count: piece.units.count * length)
        for index in last > 0 ? [0, last] : [0] where !piece.isWhole(index) {
            let place = (piece.units.lowerBound + UInt64(index)) * UInt64(length)
            // The last unit of the disk may lie only in part before its end.
            let count = Int(min(UInt64(length), head.capacity.load(ordering: .acquiring) - place))
            let result = content.modifyBytes { target in
                var unit = target._mutatingExtracting(index * length..<index * length + count)
                return read(head.number, into: &unit, at: Int64(place))
            }
            switch result {
            case .done: break
            case .wouldBlock: throw .device(Errno.wouldBlock)
            case .failed(let code): throw .device(code)
            }
        }
        content.modifyBytes { $0.store(bytes, at: piece.offset(inUnit: 0)) }
        return content
    }
}
