internal import Bytes
internal import Initiator

/// Checks that a tape holds what its journal says it promised: every durable object, in order and intact, perhaps
/// followed by later ones of the same round, and then end of data, with nothing from an earlier round after it.
struct TapeVerifier {
    /// Reads the whole tape, journals what was found, and prints a line; throws when something is wrong.
    static func verify(_ journal: Journal, _ probe: LogicalUnitProbe) throws {
        let known = try TapeJournal(journal)
        guard let identity = known.identity, known.lastRound > 0 else { return print("tape: nothing is promised yet") }
        try probe.rewind()
        var segments = known.segments
        var position: UInt64 = 0
        var findings = Findings()
        reading: while findings.count == 0 {
            let object = try probe.readObject(limit: TapeJournal.maximumRecordLength)
            if case .endOfData = object { break reading }
            var defect = defect(of: object, at: position, segments, identity)
            if defect != nil, let before = known.segmentsBefore, position == segments.last?.position {
                // The last round promised nothing; it may not have begun to write.
                segments = before
                defect = self.defect(of: object, at: position, segments, identity)
            }
            if let defect { findings.add(defect) }
            position += 1
        }
        if findings.count == 0, position < known.durableLength {
            findings.add("the tape ends after \(position) objects, but \(known.durableLength) are promised")
        }
        print(
            "tape after round \(known.lastRound): \(position) objects checked, \(known.durableLength) promised, "
                + "\(findings.count) wrong")
        try findings.conclude()
        // What is at the end of the tape: with nothing of the last round there, the tape is as it was before.
        let last = position == 0 ? nil : TapeJournal.segment(at: position - 1, in: segments)
        let isAsBefore = known.segmentsBefore != nil && last?.round != known.lastRound
        try journal.append("found \(position) \(isAsBefore ? last?.round ?? 0 : known.lastRound)")
    }

    /// What is wrong with the object at `position`, or nil.
    private static func defect(
        of object: LogicalUnitProbe.ReadObject, at position: UInt64, _ segments: [TapeJournal.Segment],
        _ identity: UInt64
    ) -> String? {
        guard let segment = TapeJournal.segment(at: position, in: segments) else {
            return "object \(position) was never written"
        }
        let sequence = position - segment.position
        let expected = TapeJournal.object(identity: identity, round: segment.round, sequence: sequence)
        switch (object, expected) {
        case (.filemark, .filemark): return nil
        case (.filemark, .record): return "object \(position) is a filemark, but a record was written"
        case (.record(let data), .filemark):
            return "object \(position) is a record of \(data.count) bytes, but a filemark was written"
        case (.record(let data), .record(let length)):
            let block = DurableBlock(
                identity: identity, address: position, round: segment.round, writer: 0, sequence: sequence)
            if data.count == length, (try? DurableBlock.parse(data.rawSpan)) == block { return nil }
            return "object \(position) should be \(block.summary) with \(length) bytes, but is \(describe(data))"
        case (.endOfData, _): return "object \(position) is missing"
        }
    }

    private static func describe(_ data: [UInt8]) -> String {
        do throws(DurableBlock.Defect) {
            return "\(try DurableBlock.parse(data.rawSpan).summary) with \(data.count) bytes"
        } catch {
            switch error {
            case .noBlock: return "something foreign of \(data.count) bytes"
            case .torn(let block): return "torn; it starts as \(block.summary)"
            }
        }
    }
}
