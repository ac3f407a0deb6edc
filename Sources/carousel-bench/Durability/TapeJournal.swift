internal import Initiator

/// What a tape must hold, as its journal tells.
///
/// A tape is written in rounds; a round begins at an object number (records and filemarks count) and gives up all that
/// was there from that number on. What object `sequence` of a round is follows from these numbers. Lines:
///
///     tape IDENTITY
///     round ROUND POSITION       the round is about to write its first object at this position
///     through ROUND COUNT        the first objects of the round, so many, are durable
///     found LENGTH ROUND         verification found so many objects, the last ones of this round
struct TapeJournal {
    /// Objects of a round.
    enum Object {
        case filemark
        case record(length: Int)
    }

    /// From `position` on the tape holds objects of `round`.
    struct Segment {
        let position: UInt64
        let round: UInt32
    }

    /// The longest record, in bytes.
    static let maximumRecordLength = 262_144

    /// Nil in a new journal.
    let identity: UInt64?
    /// The last round that was begun; 0 before the first.
    private(set) var lastRound: UInt32 = 0
    /// What the tape holds, by position.
    private(set) var segments: [Segment] = []
    /// What it held before the last round, as long as nothing of that round is durable: the round may not have written
    /// anything.
    private(set) var segmentsBefore: [Segment]?
    /// So many objects are durable.
    private(set) var durableLength: UInt64 = 0
    /// How many objects the tape holds, when it was verified after the last round.
    private(set) var knownLength: UInt64?

    init(_ journal: Journal) throws {
        guard let first = journal.lines.first else {
            identity = nil
            knownLength = 0
            return
        }
        guard first[0] == "tape" else { throw Complaint("the journal is about a \(first[0]), not a tape") }
        identity = try first.number(1)
        knownLength = 0
        for line in journal.lines.dropFirst() {
            switch line[0] {
            case "round": begin(round: try line.number(1), position: try line.number(2))
            case "through":
                durableLength = (segments.last?.position ?? 0) + (try line.number(2, as: UInt64.self))
                segmentsBefore = nil
            case "found":
                let round: UInt32 = try line.number(2)
                // Nothing of the last round is there: the tape is still as it was before.
                if let before = segmentsBefore, round != lastRound { segments = before }
                segmentsBefore = nil
                knownLength = try line.number(1)
            default: throw Complaint("the journal has a line \"\(line.joined(separator: " "))\"")
            }
        }
    }

    private mutating func begin(round: UInt32, position: UInt64) {
        segmentsBefore = segments
        segments = segments.filter { $0.position < position } + [Segment(position: position, round: round)]
        durableLength = min(durableLength, position)
        lastRound = round
        knownLength = nil
    }

    static func object(identity: UInt64, round: UInt32, sequence: UInt64) -> Object {
        var random = SplitMix64(seed: identity ^ UInt64(round) << 40 ^ sequence)
        switch random.next() % 16 {
        case 0: return .filemark
        case 1...4: return .record(length: Int.random(in: DurableBlock.minimumLength...1024, using: &random))
        case 5...12: return .record(length: Int.random(in: 1024...65_536, using: &random))
        default: return .record(length: Int.random(in: 65_536...maximumRecordLength, using: &random))
        }
    }

    /// The segment that holds the object at `position`.
    static func segment(at position: UInt64, in segments: [Segment]) -> Segment? {
        segments.last { $0.position <= position }
    }
}
