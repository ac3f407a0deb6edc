internal import Bytes
internal import Platform

/// What the journal holds behind the cut of a commit.
struct JournalSurvey: Equatable, Sendable {
    /// The units that frames take, with those that were passed over at the end of the ring.
    var units: UInt64 = 0
    /// The number and the chain value of the frame that would follow.
    var nextSequence: UInt64
    var chain: UInt32
    /// Frames up to this number were durable once: their records count whatever the data are.
    var confirmed: UInt64 = 0
    /// The opening in which the last of the frames was written.
    var opening: UInt64
}

/// Reads the frames of a journal one after another.
struct JournalScan: ~Copyable {
    /// How often the bytes of the ring are looked at when a frame is missing.
    private static let lookBudget: UInt64 = 8

    private let store: any ByteStore
    private let superblock: EpochSuperblock
    private let seed: UInt32
    private let frameUnits: UInt32
    private(set) var survey: JournalSurvey
    private var buffer: [UInt8]

    /// The frames of the journal from the first to replay on. That it was closed is no reason not to look: a frame that
    /// follows on the commit was written behind it, and is the state.
    init(_ store: any ByteStore, _ superblock: EpochSuperblock) {
        self.store = store
        self.superblock = superblock
        seed = superblock.seed
        frameUnits = EpochFormat.frameUnits(journalUnits: superblock.journalUnits)
        survey = JournalSurvey(
            nextSequence: superblock.firstSequence, chain: superblock.firstChain, opening: superblock.firstOpening)
        buffer = [UInt8](repeating: 0, count: Int(frameUnits) << EpochFormat.unitShift)
    }

    /// The unit of the ring at which the next frame would begin.
    private var offset: UInt32 {
        UInt32((UInt64(superblock.firstFrame) + survey.units) % UInt64(superblock.journalUnits))
    }

    /// The next frame; nil when there is none. `withBytes` gives its bytes until the next call.
    mutating func next() throws(EpochFault) -> JournalFrame? {
        let offset = offset
        if let frame = try frame(at: offset) { return accept(frame, skipped: 0) }
        // One that had no room before the end of the ring is at its start.
        if offset > 0, let frame = try frame(at: 0), frame.units > superblock.journalUnits - offset {
            return accept(frame, skipped: superblock.journalUnits - offset)
        }
        return nil
    }

    private mutating func accept(_ frame: JournalFrame, skipped: UInt32) -> JournalFrame? {
        let units = UInt64(frame.units) + UInt64(skipped)
        guard survey.units + units <= UInt64(superblock.journalUnits), frame.sequence < JournalFrame.sequenceLimit
        else { return nil }
        survey.units += units
        survey.nextSequence = frame.sequence + 1
        survey.chain = frame.checksum
        survey.opening = frame.opening
        survey.confirmed = max(survey.confirmed, frame.confirmed)
        return frame
    }

    /// The unit of the ring at which a frame is that `next` has just given.
    func offset(of frame: JournalFrame) -> UInt32 {
        UInt32((UInt64(superblock.firstFrame) + survey.units - UInt64(frame.units)) % UInt64(superblock.journalUnits))
    }

    /// Calls `body` with the bytes of a frame that `next` has just given.
    func withBytes<Result>(of frame: JournalFrame, _ body: (RawSpan) -> Result) -> Result {
        body(buffer.rawSpan.extracting(0..<Int(frame.units) << EpochFormat.unitShift))
    }

    /// The frame that follows at a unit of the ring, in the buffer; nil when there is none that is whole.
    private mutating func frame(at offset: UInt32) throws(EpochFault) -> JournalFrame? {
        guard let frame = try header(at: offset), frame.sequence == survey.nextSequence,
            frame.chain == survey.chain, frame.opening >= survey.opening, frame.opening <= superblock.opening
        else { return nil }
        return try isWhole(frame, at: offset) ? frame : nil
    }

    private mutating func header(at offset: UInt32) throws(EpochFault) -> JournalFrame? {
        guard try read(offset, 1) else { return nil }
        return JournalFrame(header: buffer.rawSpan.extracting(0..<EpochFormat.unitLength))
    }

    private mutating func isWhole(_ frame: JournalFrame, at offset: UInt32) throws(EpochFault) -> Bool {
        guard frame.units <= frameUnits, frame.units <= superblock.journalUnits - offset,
            try read(offset, frame.units)
        else { return false }
        return frame.isWhole(buffer.rawSpan.extracting(0..<Int(frame.units) << EpochFormat.unitShift), seed: seed)
    }

    /// Fills the buffer with units of the ring; false when the file ends before.
    private mutating func read(_ offset: UInt32, _ units: UInt32) throws(EpochFault) -> Bool {
        let start = EpochFormat.offset(ofUnit: EpochFormat.journalStart + UInt64(offset))
        let length = Int(units) << EpochFormat.unitShift
        let store = store
        let result = buffer.modifyBytes { bytes in
            var part = bytes._mutatingExtracting(0..<length)
            return store.read(into: &part, offset: start, mode: .blocking)
        }
        switch result {
        case .done(let count): return count == length
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    /// Reads all frames, and then looks whether the one that is missing was there once, or a newer commit was. Throws
    /// that damage.
    static func survey(_ store: any ByteStore, _ superblock: EpochSuperblock) throws(EpochFault) -> JournalSurvey {
        var scan = JournalScan(store, superblock)
        while try scan.next() != nil {}
        // Where nothing was to follow, nothing is missing.
        guard !superblock.isClosed else { return scan.survey }
        let missing = scan.survey.nextSequence
        var budget = scan.lookUnits
        var offset: UInt32 = 0
        while offset < superblock.journalUnits {
            defer { offset += 1 }
            guard let frame = try scan.header(at: offset) else { continue }
            let isNewer = frame.commit > superblock.commit || frame.opening > superblock.opening
            // What a frame confirms that does not follow was durable all the same.
            let proves =
                frame.sequence > missing && frame.confirmed > scan.survey.confirmed
                && frame.opening >= scan.survey.opening
            guard isNewer || proves, budget >= UInt64(frame.units) else { continue }
            budget -= UInt64(frame.units)
            guard try scan.isWhole(frame, at: offset) else { continue }
            if isNewer { throw .damaged(.olderSuperblock(commit: superblock.commit)) }
            if frame.confirmed >= missing { throw .damaged(.journal(unit: scan.offset, sequence: missing)) }
            scan.survey.confirmed = frame.confirmed
        }
        return scan.survey
    }

    /// The whole frames with a higher number than `sequence` that may follow on those that are there, by their numbers.
    static func laterFrames(
        _ store: any ByteStore, _ superblock: EpochSuperblock, from sequence: UInt64
    ) throws(EpochFault) -> [JournalDamage.Frame] {
        var scan = JournalScan(store, superblock)
        while try scan.next() != nil {}
        var frames: [UInt64: JournalDamage.Frame] = [:]
        var budget = scan.lookUnits
        var offset: UInt32 = 0
        while offset < superblock.journalUnits {
            defer { offset += 1 }
            guard let frame = try scan.header(at: offset), frame.sequence > sequence,
                frame.opening >= scan.survey.opening, budget >= UInt64(frame.units)
            else { continue }
            budget -= UInt64(frame.units)
            guard try scan.isWhole(frame, at: offset) else { continue }
            var records: [JournalRecord] = []
            _ = scan.withBytes(of: frame) { bytes in
                frame.forEachRecord(in: bytes) { record, _ in
                    records.append(record)
                    return true
                }
            }
            frames[frame.sequence] = JournalDamage.Frame(sequence: frame.sequence, records: records)
        }
        return frames.values.sorted { $0.sequence < $1.sequence }
    }

    private var lookUnits: UInt64 { UInt64(superblock.journalUnits) * Self.lookBudget }
}
