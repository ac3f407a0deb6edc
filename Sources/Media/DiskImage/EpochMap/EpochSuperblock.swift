internal import Bytes
internal import Platform

/// The root of a disk image with snapshots: what a commit made true. Four copies, which are written one pair after the
/// other.
struct EpochSuperblock: Equatable, Sendable {
    /// What reading a copy found.
    enum Copy: Equatable, Sendable {
        case valid(EpochSuperblock)
        /// A newer format.
        case newer(version: UInt32)
        /// Features without which nobody may open the image, and which this source code does not have.
        case unknownFeatures(UInt32)
        /// The host's storage failed with this error number.
        case unreadable(Int32)
        case invalid
    }

    /// No commit has a higher number, so that adding to one never overflows.
    static let commitLimit: UInt64 = 1 << 62
    private static let checksumOffset = EpochFormat.unitLength - 4
    private static let compressionOffset = 79
    private static let reserveOffset = 128

    /// The family's.
    var uuid: [UInt8]
    /// Increases with every commit.
    var commit: UInt64
    /// The physical units that the free map covers: all behind them are free.
    var coveredUnits: UInt64
    /// The units of the journal.
    var journalUnits: UInt32
    /// Where in the journal the first frame to replay begins, in units.
    var firstFrame: UInt32
    /// Its sequence number.
    var firstSequence: UInt64
    /// The chain value that it has.
    var firstChain: UInt32
    /// The present epoch.
    var epoch: UInt32
    /// The number that the next node gets.
    var nextNode: UInt32
    /// Whether there is nothing in the journal to replay, because the image was closed.
    var isClosed: Bool
    var freeMapLevels: Int
    var nodeTableLevels: Int
    var freeMap: UnitPointer
    var nodeTable: UnitPointer
    /// The number of the present opening, one more for each; frames that are written in it have it.
    var opening: UInt64 = 0
    /// The lowest one that the first frame to replay may have.
    var firstOpening: UInt64 = 0
    /// Free units that have storage, in ascending order: what a commit on a full host is written to.
    var reserve: [Range<UInt64>] = []
    /// Whether the image has checksums of data.
    var hasChecksums = false
    /// The level of zstd at which extents are compressed; 0 when they are not.
    var compressionLevel = 0

    /// The features without which nobody may open the image.
    var features: UInt32 {
        (hasChecksums ? EpochFormat.checksumFeature : 0)
            | (compressionLevel > 0 ? EpochFormat.compressionFeature : 0)
    }

    /// What checksums of pages and frames begin with.
    var seed: UInt32 { EpochFormat.seed(uuid: uuid) }

    /// The first unit that is neither superblock nor journal.
    var firstPoolUnit: UInt64 { EpochFormat.journalStart + UInt64(journalUnits) }

    /// Where checksums of data are; nil in an image without.
    var checksumAreas: ChecksumAreas? {
        hasChecksums ? ChecksumAreas(start: firstPoolUnit) : nil
    }

    /// Whether the units that a record gives a head are such as are given out: none of superblock, journal or
    /// checksums.
    func hasInPool(_ record: JournalRecord) -> Bool {
        guard let (units, _) = record.written else { return true }
        return units.lowerBound >= firstPoolUnit && checksumAreas?.overlaps(units) != true
    }

    // MARK: Bytes

    /// One copy: a unit.
    func encoded() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        bytes.modifyBytes { target in
            target.storeBE64(EpochFormat.superblockMagic, at: 0)
            target.storeBE32(EpochFormat.version, at: 8)
            target.storeBE32(features, at: 12)
            target.store(uuid.rawSpan, at: 16)
            target.storeBE64(commit, at: 32)
            target.storeBE64(coveredUnits, at: 40)
            target.storeBE32(journalUnits, at: 48)
            target.storeBE32(firstFrame, at: 52)
            target.storeBE64(firstSequence, at: 56)
            target.storeBE32(firstChain, at: 64)
            target.storeBE32(epoch, at: 68)
            target.storeBE32(nextNode, at: 72)
            target.store(byte: isClosed ? 1 : 0, at: 76)
            target.store(byte: UInt8(clamping: freeMapLevels), at: 77)
            target.store(byte: UInt8(clamping: nodeTableLevels), at: 78)
            target.store(byte: UInt8(clamping: compressionLevel), at: Self.compressionOffset)
            target.store(freeMap, at: 80)
            target.store(nodeTable, at: 96)
            target.storeBE64(opening, at: 112)
            target.storeBE64(firstOpening, at: 120)
            target.storeBE32(UInt32(clamping: reserve.count), at: Self.reserveOffset)
            for (index, run) in reserve.enumerated() {
                let offset = Self.reserveOffset + 8 + 16 * index
                target.storeBE64(run.lowerBound, at: offset)
                target.storeBE64(UInt64(run.count), at: offset + 8)
            }
            target.storeBE32(
                CRC32C.checksum(target.bytes.extracting(0..<Self.checksumOffset)), at: Self.checksumOffset)
        }
        return bytes
    }

    /// Reads a copy, a unit, of the superblock. Every field is checked, not only the checksum.
    static func decode(_ source: RawSpan) -> Copy {
        guard source.byteCount == EpochFormat.unitLength, source.loadBE64(at: 0) == EpochFormat.superblockMagic,
            source.loadBE32(at: checksumOffset) == CRC32C.checksum(source.extracting(0..<checksumOffset))
        else { return .invalid }
        let version = source.loadBE32(at: 8)
        guard version <= EpochFormat.version else { return .newer(version: version) }
        let unknown = source.loadBE32(at: 12) & ~EpochFormat.knownFeatures
        guard version > 0 else { return .invalid }
        guard unknown == 0 else { return .unknownFeatures(unknown) }
        guard let freeMap = source.loadPointer(at: 80), let nodeTable = source.loadPointer(at: 96),
            let reserve = decodeReserve(source)
        else { return .invalid }
        let block = EpochSuperblock(
            uuid: source.extracting(16..<32).copyToArray(), commit: source.loadBE64(at: 32),
            coveredUnits: source.loadBE64(at: 40), journalUnits: source.loadBE32(at: 48),
            firstFrame: source.loadBE32(at: 52), firstSequence: source.loadBE64(at: 56),
            firstChain: source.loadBE32(at: 64), epoch: source.loadBE32(at: 68), nextNode: source.loadBE32(at: 72),
            isClosed: source.byte(at: 76) & 1 != 0, freeMapLevels: Int(source.byte(at: 77)),
            nodeTableLevels: Int(source.byte(at: 78)), freeMap: freeMap, nodeTable: nodeTable,
            opening: source.loadBE64(at: 112), firstOpening: source.loadBE64(at: 120), reserve: reserve,
            hasChecksums: source.loadBE32(at: 12) & EpochFormat.checksumFeature != 0,
            compressionLevel: Int(source.byte(at: compressionOffset)))
        return block.isPossible && source.loadBE32(at: 12) == block.features ? .valid(block) : .invalid
    }

    /// The runs of the reserve, one behind the other; nil when they are not possible.
    private static func decodeReserve(_ source: RawSpan) -> [Range<UInt64>]? {
        let count = Int(source.loadBE32(at: reserveOffset))
        guard count <= EpochFormat.reserveRunLimit else { return nil }
        var runs: [Range<UInt64>] = []
        var (end, total) = (EpochFormat.journalStart, UInt64(0))
        for index in 0..<count {
            let offset = reserveOffset + 8 + 16 * index
            let (first, length) = (source.loadBE64(at: offset), source.loadBE64(at: offset + 8))
            guard first >= end, first < EpochFormat.physicalUnitLimit, length > 0,
                length <= EpochFormat.reserveLimit - total, length <= EpochFormat.physicalUnitLimit - first
            else { return nil }
            runs.append(first..<first + length)
            (end, total) = (first + length, total + length)
        }
        return runs
    }

    /// Whether all fields are in their ranges and agree with each other.
    private var isPossible: Bool {
        commit > 0 && commit <= Self.commitLimit
            && EpochFormat.journalLimits.contains(journalUnits) && firstFrame < journalUnits
            && firstSequence > 0 && firstSequence <= JournalFrame.sequenceLimit
            && opening <= Self.commitLimit && firstOpening <= opening
            && epoch > 0 && epoch <= EpochFormat.epochLimit && nextNode > 0
            && coveredUnits >= firstPoolUnit && coveredUnits <= EpochFormat.physicalUnitLimit
            && freeMapLevels == EpochFormat.levels(leaves: EpochFormat.freeMapLeaves(units: coveredUnits))
            && (1...2).contains(nodeTableLevels)
            && isPossible(freeMap) && isPossible(nodeTable)
            && reserve.allSatisfy { $0.lowerBound >= firstPoolUnit }
            && compressionLevel <= ZstdContext.levels.upperBound
    }

    private func isPossible(_ root: UnitPointer) -> Bool {
        root.kind == .page && root.unit >= firstPoolUnit && root.unit < coveredUnits && root.birth <= epoch
    }

    // MARK: Copies

    /// The copies, in the two pairs in which they are written. Which is the first one changes from commit to commit:
    /// so it never is the pair that alone has the commit before.
    var pairs: [Range<Int>] {
        let first = Int(commit & 1) * 2
        return [first..<first + 2, 2 - first..<4 - first]
    }

    /// The unit of copy number `copy`.
    static func unit(ofCopy copy: Int) -> UInt64 { UInt64(copy) * EpochFormat.superblockStride }

    /// What counts of the four copies: the valid one with the highest number, the first of those with the same. What
    /// this source code does not know wins over all, because it may be newer; a copy that cannot be read counts only
    /// when no other is valid.
    static func newest(of copies: [Copy]) -> Copy {
        var newest = Copy.invalid
        for copy in copies {
            switch (copy, newest) {
            case (.newer, _), (.unknownFeatures, _): return copy
            case (.valid(let one), .valid(let other)): if one.commit > other.commit { newest = copy }
            case (.valid, _): newest = copy
            case (.unreadable, .invalid): newest = copy
            case (.unreadable, _), (.invalid, _): break
            }
        }
        return newest
    }

    /// The four copies of a file.
    static func readCopies(_ store: any ByteStore) -> [Copy] {
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        return (0..<EpochFormat.superblockCopies).map { copy in
            let offset = EpochFormat.offset(ofUnit: unit(ofCopy: copy))
            switch page.modifyBytes({ store.read(into: &$0, offset: offset, mode: .blocking) }) {
            case .done(let count): return count == page.count ? decode(page.rawSpan) : .invalid
            case .wouldBlock: return .unreadable(Errno.wouldBlock)
            case .failed(let code): return .unreadable(code)
            }
        }
    }
}
