internal import Bytes
internal import Initiator
internal import Platform

/// Writes records and filemarks to a tape, sometimes at its end of data and sometimes over what is there, and journals
/// what was promised, until the connection ends or time is up.
struct TapeWriter {
    private let probe: LogicalUnitProbe
    private let journal: Journal
    private let identity: UInt64
    /// The tape is begun anew when a position would be beyond so many bytes from its start (about).
    private let span: Int
    private var round: UInt32
    /// How many objects the tape holds.
    private var length: UInt64
    private var bytesSinceStart = 0
    private var records = 0
    private var filemarks = 0
    private var flushes = 0
    private var rounds = 0

    /// Continues after the last round of the journal, which must have been verified.
    init(_ journal: Journal, _ probe: LogicalUnitProbe, span: Int) throws {
        let known = try TapeJournal(journal)
        guard let length = known.knownLength else { throw Complaint("verify the last round before another is written") }
        self.journal = journal
        self.probe = probe
        self.span = span
        self.length = length
        identity = known.identity ?? .random(in: 1 ... .max)
        round = known.lastRound
        if known.identity == nil { try journal.append("tape \(identity)") }
        for position in 0..<length {
            guard let segment = TapeJournal.segment(at: position, in: known.segments) else { continue }
            let sequence = position - segment.position
            if case .record(let length) = TapeJournal.object(
                identity: identity, round: segment.round, sequence: sequence)
            {
                bytesSinceStart += length
            }
        }
    }

    /// Writes for `seconds`; gives whether the connection ended before.
    mutating func run(seconds: Double) throws -> Bool {
        let deadline = MonotonicTime.current() + .seconds(seconds)
        var isLost = false
        do {
            while MonotonicTime.current() < deadline { try writeRound(until: deadline) }
        } catch let error as InitiatorError where error.isConnectionLoss {
            isLost = true
        }
        print(
            "tape round \(round): \(rounds) positions, \(records) records, \(filemarks) filemarks, "
                + "\(flushes) flushes without filemark")
        return isLost
    }

    /// Chooses a position and writes from there until the tape has grown enough or time is up.
    private mutating func writeRound(until deadline: MonotonicTime) throws {
        let position = try choosePosition()
        round += 1
        rounds += 1
        try journal.append("round \(round) \(position)")
        length = position
        var sequence: UInt64 = 0
        while MonotonicTime.current() < deadline, bytesSinceStart < span {
            let hasRoom: Bool
            let isDurable: Bool
            switch TapeJournal.object(identity: identity, round: round, sequence: sequence) {
            case .filemark:
                hasRoom = try probe.writeFilemarks(1)
                isDurable = true
                filemarks += 1
            case .record(let recordLength):
                let block = DurableBlock(
                    identity: identity, address: position + sequence, round: round, writer: 0, sequence: sequence)
                hasRoom = try probe.writeRecord(block.encoded(length: recordLength))
                isDurable = false
                bytesSinceStart += recordLength
                records += 1
            }
            // Near the end of the tape it is not worth telling what was written and what was not.
            guard hasRoom else { throw Complaint("the tape is too short for this check: choose a shorter --span") }
            sequence += 1
            if isDurable {
                try journal.append("through \(round) \(sequence)")
            } else if Int.random(in: 0..<64) == 0 {
                try flush(sequence)
            }
        }
        try flush(sequence)
        length = position + sequence
    }

    private mutating func flush(_ sequence: UInt64) throws {
        guard try probe.writeFilemarks(0) else { throw Complaint("the tape is too short for this check") }
        try journal.append("through \(round) \(sequence)")
        flushes += 1
    }

    /// Goes to where the next round begins.
    private mutating func choosePosition() throws -> UInt64 {
        let position: UInt64
        if length > 0, bytesSinceStart < span / 2, Bool.random() {
            try probe.spaceToEndOfData()
            position = length
        } else {
            // Anywhere, but in the first quarter of a long tape.
            position = .random(in: 0...(bytesSinceStart < span / 2 ? length : length / 4))
            bytesSinceStart = length == 0 ? 0 : Int(Double(bytesSinceStart) * Double(position) / Double(length))
            if position == 0 { try probe.rewind() } else { try probe.locate(position) }
        }
        let actual = try probe.position()
        guard actual == position else {
            throw Complaint("the tape should be at object \(position), but it is at \(actual)")
        }
        return position
    }
}
