/// Where frames of the journal go: a ring of units, in which what a replay of the last commit needs is not overwritten.
struct JournalRing: Equatable, Sendable {
    /// A point between two frames.
    struct Cut: Equatable, Sendable {
        /// Counted on over the end of the ring; what was passed over there counts.
        var position: UInt64
        /// The number and the chain value of the frame that follows.
        var sequence: UInt64
        var chain: UInt32
    }

    /// Where a frame goes, and what its header says.
    struct Place: Equatable, Sendable {
        /// Its first unit in the file.
        var unit: UInt64
        var sequence: UInt64
        var chain: UInt32
    }

    /// The units of the ring.
    let units: UInt32
    /// The most units of a frame.
    let frameUnits: UInt32
    /// The first frame that a replay needs.
    private(set) var first: Cut
    /// The end of the last frame.
    private(set) var end: Cut

    /// The empty ring behind the commit of a superblock.
    init(_ superblock: EpochSuperblock) {
        units = superblock.journalUnits
        frameUnits = EpochFormat.frameUnits(journalUnits: units)
        first = Cut(
            position: UInt64(superblock.firstFrame), sequence: superblock.firstSequence,
            chain: superblock.firstChain)
        end = first
    }

    /// The ring of a superblock with the frames that a replay has found, which are needed until the next commit.
    init(_ superblock: EpochSuperblock, _ survey: JournalSurvey) {
        self.init(superblock)
        end = Cut(
            position: first.position + survey.units, sequence: survey.nextSequence, chain: survey.chain)
    }

    /// The units from the first needed frame to the end.
    var usedUnits: UInt64 { end.position - first.position }

    /// Whether so much is used that a commit should begin.
    var wantsCommit: Bool { usedUnits >= UInt64(units) / 2 }

    /// The unit of the ring at which a cut is.
    func offset(of cut: Cut) -> UInt32 { UInt32(cut.position % UInt64(units)) }

    /// How many units a frame of that many takes: with those before the end of the ring, where it does not fit.
    private func taken(_ count: UInt32) -> UInt64 {
        let offset = offset(of: end)
        return UInt64(count) + (count > units - offset ? UInt64(units - offset) : 0)
    }

    /// Whether a frame of that many units has room. Frames leave so much of it that the last one before a commit, which
    /// makes room again, always fits (`isLast`).
    func hasRoom(for count: UInt32, isLast: Bool) -> Bool {
        guard count > 0, count <= frameUnits, end.sequence < JournalFrame.sequenceLimit else { return false }
        let reserve = isLast ? 0 : UInt64(frameUnits) * 2
        return usedUnits + taken(count) + reserve <= UInt64(units)
    }

    /// The place of the next frame; nil when it has no room before a commit.
    func place(for count: UInt32, isLast: Bool) -> Place? {
        guard hasRoom(for: count, isLast: isLast) else { return nil }
        let offset = offset(of: end)
        let start = count > units - offset ? 0 : offset
        return Place(
            unit: EpochFormat.journalStart + UInt64(start), sequence: end.sequence, chain: end.chain)
    }

    /// The frame that has the place of before is written.
    mutating func append(_ frame: JournalFrame) {
        end = Cut(position: end.position + taken(frame.units), sequence: frame.sequence + 1, chain: frame.checksum)
    }

    /// A commit with that cut, which is one that `end` has been, is durable.
    mutating func release(to cut: Cut) {
        guard cut.position >= first.position, cut.position <= end.position else { return }
        first = cut
    }
}
