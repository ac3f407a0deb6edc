internal import Bytes
internal import Platform

/// The checksums of the data of an image, by physical unit: in the file, with nothing of them in memory. Any thread may
/// use it.
///
/// The words are written right after the data that they are of, to the page cache, and before anybody knows of the
/// data: so whatever makes the data durable makes the words durable. In an image with checksums a unit is written once
/// between its allocation and its freeing, and so is its word.
struct DataChecksums: Sendable {
    /// The most units of a call of the store: those of a megabyte.
    private static let chunkUnits = 256
    private typealias Chunk = InlineArray<1024, UInt8>

    /// What a comparison has found.
    enum Finding: Equatable {
        case right
        /// The first unit that does not have what was written to it.
        case wrong(UInt64)
        /// The words cannot be read.
        case failed(Int32)
        case wouldBlock
    }

    let areas: ChecksumAreas
    private let store: any ByteStore
    private let seed: UInt32

    /// Those of an image; nil when it has none.
    init?(_ store: any ByteStore, _ superblock: EpochSuperblock) {
        guard let areas = superblock.checksumAreas else { return nil }
        self.areas = areas
        self.store = store
        seed = superblock.seed
    }

    /// The word of a unit with these bytes.
    func word(of unit: UInt64, _ bytes: RawSpan) -> UInt32 {
        var number = InlineArray<8, UInt8>(repeating: 0)
        number.modifyBytes { $0.storeBE64(unit, at: 0) }
        return CRC32C.checksum(bytes, previous: CRC32C.checksum(number.rawSpan, previous: seed))
    }

    private static func count(_ bytes: RawSpan) -> Int { bytes.byteCount >> EpochFormat.unitShift }

    /// Where the unit with that index is in the bytes of several.
    private static func range(_ index: Int) -> Range<Int> {
        index << EpochFormat.unitShift..<(index + 1) << EpochFormat.unitShift
    }

    // MARK: Writing

    /// Writes the words of units in succession, whose data `bytes` are written.
    func put(_ bytes: RawSpan, at unit: UInt64) throws(EpochFault) {
        let result = put(bytes, at: unit) { store.write($0, offset: $1) }
        switch result {
        case .done: return
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    /// The same where it does not wait; false when it would, or has failed. A part of a page that is not in memory is
    /// not written: the host would read the page first.
    func putCached(_ bytes: RawSpan, at unit: UInt64) -> Bool {
        let result = put(bytes, at: unit) { words, offset in
            var present = Chunk(repeating: 0)
            let found = present.modifyBytes { target in
                var part = target._mutatingExtracting(0..<words.byteCount)
                return store.read(into: &part, offset: offset, mode: .cached)
            }
            guard case .done = found else { return .wouldBlock }
            return store.writeCached(words, offset: offset)
        }
        return if case .done = result { true } else { false }
    }

    private func put(
        _ bytes: RawSpan, at unit: UInt64, _ write: (RawSpan, _ offset: Int64) -> FileResult
    ) -> FileResult {
        let count = Self.count(bytes)
        var done = 0
        while done < count {
            let units = min(count - done, Self.chunkUnits)
            var words = Chunk(repeating: 0)
            let first = unit + UInt64(done)
            words.modifyBytes { target in
                for index in 0..<units {
                    let word = word(of: first + UInt64(index), bytes.extracting(Self.range(done + index)))
                    target.storeBE32(word, at: index * ChecksumAreas.wordLength)
                }
            }
            let part = words.rawSpan.extracting(0..<units * ChecksumAreas.wordLength)
            let result = write(part, areas.place(ofWord: first))
            guard case .done = result else { return result }
            done += units
        }
        return .done(count)
    }

    // MARK: Comparing

    /// Compares units in succession, as they were read, with their words.
    func compare(_ bytes: RawSpan, at unit: UInt64, mode: ReadMode = .blocking) -> Finding {
        let count = Self.count(bytes)
        var done = 0
        while done < count {
            let units = min(count - done, Self.chunkUnits)
            // What is behind the end of the file is no word of data.
            var words = Chunk(repeating: 0)
            let first = unit + UInt64(done)
            let result = words.modifyBytes { target in
                var part = target._mutatingExtracting(0..<units * ChecksumAreas.wordLength)
                return store.read(into: &part, offset: areas.place(ofWord: first), mode: mode)
            }
            switch result {
            case .done: break
            case .wouldBlock: return .wouldBlock
            case .failed(let code): return .failed(code)
            }
            let source = words.rawSpan
            for index in 0..<units {
                let word = word(of: first + UInt64(index), bytes.extracting(Self.range(done + index)))
                guard source.loadBE32(at: index * ChecksumAreas.wordLength) == word else {
                    return .wrong(first + UInt64(index))
                }
            }
            done += units
        }
        return .right
    }

    /// Whether bytes that were read from a place of the file are whole units, and what was written, as far as that is
    /// known without waiting.
    func isProved(_ bytes: RawSpan, at place: Int64) -> Bool {
        let mask = EpochFormat.unitLength - 1
        guard (Int(truncatingIfNeeded: place) | bytes.byteCount) & mask == 0 else { return false }
        return compare(bytes, at: UInt64(place) >> UInt64(EpochFormat.unitShift), mode: .cached) == .right
    }

    /// Throws when one of the units in succession that were read does not have what was written to it.
    func verify(_ bytes: RawSpan, at unit: UInt64) throws(EpochFault) {
        switch compare(bytes, at: unit) {
        case .right: return
        case .wrong(let bad): throw .damaged(.data(unit: bad))
        case .failed(let code): throw .device(code)
        case .wouldBlock: throw .device(Errno.wouldBlock)
        }
    }

    // MARK: Replays

    /// Sets the words of units that a record has found to hold what it says, where a crash has left others. False when
    /// the host has no room for one. When a unit cannot be read, nothing says what the others hold, and nothing is
    /// done.
    func settle(_ units: Range<UInt64>) throws(EpochFault) -> Bool {
        var wrong: [(unit: UInt64, word: UInt32)] = []
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for unit in units {
            let offset = EpochFormat.offset(ofUnit: unit)
            switch page.modifyBytes({ store.read(into: &$0, offset: offset, mode: .blocking) }) {
            case .done: break
            case .wouldBlock: throw .device(Errno.wouldBlock)
            case .failed(Errno.inputOutput): return true
            case .failed(let code): throw .device(code)
            }
            switch compare(page.rawSpan, at: unit) {
            case .right: break
            // What cannot be read can be written perhaps.
            case .wrong, .failed(Errno.inputOutput): wrong.append((unit, word(of: unit, page.rawSpan)))
            case .failed(let code): throw .device(code)
            case .wouldBlock: throw .device(Errno.wouldBlock)
            }
        }
        for (unit, word) in wrong {
            var bytes = InlineArray<4, UInt8>(repeating: 0)
            bytes.modifyBytes { $0.storeBE32(word, at: 0) }
            switch store.write(bytes.rawSpan, offset: areas.place(ofWord: unit)) {
            // Whoever reads a unit whose word cannot be written is told so.
            case .done, .failed(Errno.inputOutput): break
            case .failed(Errno.noSpace), .failed(Errno.quotaExceeded): return false
            case .failed(let code): throw .device(code)
            case .wouldBlock: throw .device(Errno.wouldBlock)
            }
        }
        return true
    }

    /// The same for the records of a frame.
    func settle(_ records: [(JournalRecord, Int)]) throws(EpochFault) -> Bool {
        for (record, _) in records {
            guard let (units, _) = record.written else { continue }
            guard try settle(units) else { return false }
        }
        return true
    }
}
