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

    /// The frames of the journal from the first to replay on; none when it was closed.
    init(_ store: any ByteStore, _ superblock: EpochSuperblock) {
        self.store = store
        self.superblock = superblock
        seed = superblock.seed
        frameUnits = EpochFormat.frameUnits(journalUnits: superblock.journalUnits)
        survey = JournalSurvey(nextSequence: superblock.firstSequence, chain: superblock.firstChain)
        buffer = [UInt8](repeating: 0, count: Int(frameUnits) << EpochFormat.unitShift)
    }

    /// The unit of the ring at which the next frame would begin.
    private var offset: UInt32 {
        UInt32((UInt64(superblock.firstFrame) + survey.units) % UInt64(superblock.journalUnits))
    }

    /// The next frame; nil when there is none. `withBytes` gives its bytes until the next call.
    mutating func next() throws(EpochFault) -> JournalFrame? {
        guard !superblock.isClosed else { return nil }
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
        survey.confirmed = max(survey.confirmed, frame.confirmed)
        return frame
    }

    /// Calls `body` with the bytes of a frame that `next` has just given.
    func withBytes<Result>(of frame: JournalFrame, _ body: (RawSpan) -> Result) -> Result {
        body(buffer.rawSpan.extracting(0..<Int(frame.units) << EpochFormat.unitShift))
    }

    /// The frame that follows at a unit of the ring, in the buffer; nil when there is none that is whole.
    private mutating func frame(at offset: UInt32) throws(EpochFault) -> JournalFrame? {
        guard let frame = try header(at: offset), frame.sequence == survey.nextSequence,
            frame.chain == survey.chain
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

    /// Reads all frames, and then looks whether the one that is missing was there once. Throws that damage.
    static func survey(_ store: any ByteStore, _ superblock: EpochSuperblock) throws(EpochFault) -> JournalSurvey {
        var scan = JournalScan(store, superblock)
        while try scan.next() != nil {}
        guard !superblock.isClosed else { return scan.survey }
        let missing = scan.survey.nextSequence
        var budget = scan.lookUnits
        var offset: UInt32 = 0
        while offset < superblock.journalUnits {
            if let frame = try scan.header(at: offset), frame.sequence > missing, frame.confirmed >= missing,
                budget >= UInt64(frame.units)
            {
                budget -= UInt64(frame.units)
                if try scan.isWhole(frame, at: offset) {
                    throw .damaged(.journal(unit: scan.offset, sequence: missing))
                }
            }
            offset += 1
        }
        return scan.survey
    }

    private var lookUnits: UInt64 { UInt64(superblock.journalUnits) * Self.lookBudget }
}
