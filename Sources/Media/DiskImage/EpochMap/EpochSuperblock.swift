internal import Bytes
internal import Platform

/// The root of a disk image with snapshots: what a commit made true. Two copies for each of the last two commits.
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

    /// What checksums of pages and frames begin with.
    var seed: UInt32 { EpochFormat.seed(uuid: uuid) }

    /// The first unit that is neither superblock nor journal.
    var firstPoolUnit: UInt64 { EpochFormat.journalStart + UInt64(journalUnits) }

    // MARK: Bytes

    /// One copy: a unit.
    func encoded() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        bytes.modifyBytes { target in
            target.storeBE64(EpochFormat.superblockMagic, at: 0)
            target.storeBE32(EpochFormat.version, at: 8)
            target.storeBE32(EpochFormat.knownFeatures, at: 12)
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
            target.store(freeMap, at: 80)
            target.store(nodeTable, at: 96)
            target.storeBE32(
                CRC32C.checksum(target.bytes.extracting(0..<Self.checksumOffset)), at: Self.checksumOffset)
        }
        return bytes
    }

    /// Reads copy number `copy`, a unit, of the superblock. Every field is checked, not only the checksum; a copy that
    /// is not where its commit puts it is invalid.
    static func decode(_ source: RawSpan, copy: Int) -> Copy {
        guard source.byteCount == EpochFormat.unitLength, source.loadBE64(at: 0) == EpochFormat.superblockMagic,
            source.loadBE32(at: checksumOffset) == CRC32C.checksum(source.extracting(0..<checksumOffset))
        else { return .invalid }
        let version = source.loadBE32(at: 8)
        guard version <= EpochFormat.version else { return .newer(version: version) }
        let unknown = source.loadBE32(at: 12) & ~EpochFormat.knownFeatures
        guard version > 0 else { return .invalid }
        guard unknown == 0 else { return .unknownFeatures(unknown) }
        guard let freeMap = source.loadPointer(at: 80), let nodeTable = source.loadPointer(at: 96) else {
            return .invalid
        }
        let block = EpochSuperblock(
            uuid: source.extracting(16..<32).copyToArray(), commit: source.loadBE64(at: 32),
            coveredUnits: source.loadBE64(at: 40), journalUnits: source.loadBE32(at: 48),
            firstFrame: source.loadBE32(at: 52), firstSequence: source.loadBE64(at: 56),
            firstChain: source.loadBE32(at: 64), epoch: source.loadBE32(at: 68), nextNode: source.loadBE32(at: 72),
            isClosed: source.byte(at: 76) & 1 != 0, freeMapLevels: Int(source.byte(at: 77)),
            nodeTableLevels: Int(source.byte(at: 78)), freeMap: freeMap, nodeTable: nodeTable)
        return block.isPossible && block.copies.contains(copy) ? .valid(block) : .invalid
    }

    /// Whether all fields are in their ranges and agree with each other.
    private var isPossible: Bool {
        commit > 0 && commit <= Self.commitLimit
            && EpochFormat.journalLimits.contains(journalUnits) && firstFrame < journalUnits
            && firstSequence > 0 && firstSequence <= JournalFrame.sequenceLimit
            && epoch > 0 && epoch <= EpochFormat.epochLimit && nextNode > 0
            && coveredUnits >= firstPoolUnit && coveredUnits <= EpochFormat.physicalUnitLimit
            && freeMapLevels == EpochFormat.levels(leaves: EpochFormat.freeMapLeaves(units: coveredUnits))
            && (1...2).contains(nodeTableLevels)
            && isPossible(freeMap) && isPossible(nodeTable)
    }

    private func isPossible(_ root: UnitPointer) -> Bool {
        root.kind == .page && root.unit >= firstPoolUnit && root.unit < coveredUnits && root.birth <= epoch
    }

    // MARK: Copies

    /// The two copies that this commit is written to.
    var copies: Range<Int> {
        let first = Int(commit & 1) * 2
        return first..<first + 2
    }

    /// The unit of copy number `copy`.
    static func unit(ofCopy copy: Int) -> UInt64 { UInt64(copy) * EpochFormat.superblockStride }

    /// What counts of the four copies: the valid one with the highest number, and the first of two with the same. What
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
            case .done(let count): return count == page.count ? decode(page.rawSpan, copy: copy) : .invalid
            case .wouldBlock: return .unreadable(Errno.wouldBlock)
            case .failed(let code): return .unreadable(code)
            }
        }
    }
}
