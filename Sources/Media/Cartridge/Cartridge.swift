public import Bytes
public import Platform
internal import Synchronization

/// What the next read would meet.
public enum TapeObject: Equatable, Sendable {
    /// A logical block of `length` bytes; `count` blocks of that length, this one included, follow one after another
    /// and can be read together.
    case block(length: Int, count: UInt64)
    case filemark
    /// Nothing was written from here on.
    case endOfData
}

/// How many objects were written, and why not all.
public struct AppendResult: Equatable, Sendable {
    /// What stopped the writing.
    public enum Outcome: Equatable, Sendable {
        /// Nothing: all were written.
        case done
        /// The next object does not fit the partition's capacity.
        case endOfMedium
        /// It was refused, or the host failed; `.host(.hostFull)` when its file system has no room.
        case failed(WriteFailure)
    }

    /// The objects written; the position is after them.
    public let count: Int
    /// What stopped the writing.
    public let outcome: Outcome

    public init(count: Int, outcome: Outcome) {
        self.count = count
        self.outcome = outcome
    }
}

/// How many blocks were read, and why not all.
public struct BlockReadResult: Equatable, Sendable {
    /// The blocks read; the position is after them.
    public let count: Int
    /// `.done` when all were; otherwise what the first missing one met.
    public let outcome: MediaResult
}

/// An open cartridge: logical objects, a position between them, and the rules of sequential media (SSC-5 clause 4.2).
///
/// Object numbers count blocks and filemarks from 0 at the beginning of the partition, as LOCATE and READ POSITION do.
/// One thread at a time uses a cartridge: the drive's reactor, or a worker to which the drive has handed it for the
/// length of one operation. Only `synchronizeData` and `loss` may run beside other calls. Methods that wait for the
/// device say so.
public final class Cartridge: @unchecked Sendable {
    /// The longest logical block, in bytes.
    public static let maximumBlockLength: UInt32 = 16_777_215
    /// After so many bytes that were not synchronised the cartridge starts to synchronise them by itself, so that
    /// opening after a crash has little to replay.
    var checkpointInterval = LogReplay.tailLimit {
        didSet { checkpointOffset = log.table.endOffset + checkpointInterval }
    }

    public let identity: CartridgeIdentity
    let log: PartitionLog
    let writer: IndexWriter
    /// Kept open, and thereby locked, as long as the cartridge.
    let file: File?
    var settings: CartridgeSettings
    /// The object number of the position.
    public internal(set) var position: UInt64 = 0
    /// The index knows the objects before this, or will when the writer is done.
    var indexedObjects: UInt64
    /// The epoch that `indexedObjects` refers to.
    var indexEpoch: UInt32
    /// The bytes, and the runs, of the partition from which on the next checkpoint is due.
    var checkpointOffset: Int64
    var checkpointRuns: Int
    /// The most runs that are taken; tests lower it.
    var runLimit = Cartridge.runLimit
    /// Whether the objects that a loss has taken are out of the table.
    var hasWithdrawnLost = false
    var offloadedRead = BlockReadResult(count: 0, outcome: .done)
    var offloadedAppend = AppendResult(count: 0, outcome: .done)

    init(log: PartitionLog, writer: IndexWriter, file: File?, settings: CartridgeSettings, indexedObjects: UInt64) {
        self.log = log
        self.writer = writer
        self.file = file
        self.settings = settings
        self.indexedObjects = indexedObjects
        identity = log.superblock.identity
        indexEpoch = log.superblock.epoch.number
        checkpointOffset = log.table.endOffset + checkpointInterval
        checkpointRuns = log.table.extents.count + Self.checkpointRunInterval
    }

    /// The most runs of objects of the same kind and length on a partition: the table of runs takes 48 bytes for each,
    /// 192 MiB in all, whatever initiators write. The run after the last one meets the end of the medium.
    public static let runLimit = 1 << 22
    /// Early warning begins when fewer runs than this are left.
    static let runReserve = 1 << 12
    /// After so many new runs the index is brought up to date.
    static let checkpointRunInterval = 1 << 16

    // MARK: Where things are

    /// The number of objects on the partition: the object number of end of data.
    public var endOfData: UInt64 { log.table.endObject }
    /// Whether the position is the beginning of the partition.
    public var isAtBeginning: Bool { position == 0 }
    /// Whether nothing was written behind the position.
    public var isAtEndOfData: Bool { position == endOfData }
    /// The runs of objects of the same kind and length on the partition.
    public var runs: Int { log.table.extents.count }
    /// The filemarks on the partition.
    public var filemarkCount: UInt64 { log.table.filemarkCount }
    /// The filemarks between the beginning of the partition and the position: the logical file identifier.
    public var filemarksBeforePosition: UInt64 { log.table.filemarks(before: position) }
    /// Whether only filemarks, or nothing, were written behind the position: where WORM media can be appended to.
    public var onlyFilemarksFollow: Bool {
        filemarkCount - filemarksBeforePosition == endOfData - position
    }

    public var objectAtPosition: TapeObject {
        guard let run = log.run(at: position) else { return .endOfData }
        return run.kind == .filemark ? .filemark : .block(length: run.length, count: run.count)
    }

    // MARK: Capacity

    /// What an object of that length takes of the capacity: payload, a 32-byte header, and padding to 8 bytes.
    /// Filemarks have length 0.
    public static func recordLength(ofBlock length: Int) -> Int64 {
        RecordHeader.stride(storedLength: UInt32(clamping: length))
    }

    /// The bytes that the partition can hold.
    public var capacity: Int64 { identity.capacity }
    /// The bytes from the beginning of the partition to end of data.
    public var usedBytes: Int64 { log.table.endOffset - Superblock.dataOffset }
    /// The bytes from the beginning of the partition to the position.
    public var bytesBeforePosition: Int64 { log.table.offset(of: position) - Superblock.dataOffset }
    /// The bytes from the position to the end of the partition; writing here makes them free.
    public var remainingBytes: Int64 { max(0, capacity - bytesBeforePosition) }
    /// Whether a block of that length, or a filemark when it is 0, fits between the position and the end.
    public func fits(blockLength: Int) -> Bool { Self.recordLength(ofBlock: blockLength) <= remainingBytes }
    /// Whether the position is among the last `zone` bytes before the end of the partition: beyond early warning, or
    /// beyond programmable early warning with the larger zone of that.
    public func isBeyondEarlyWarning(zone: Int64) -> Bool {
        if remainingBytes <= zone { return true }
        let runs = runLimit - Self.runReserve
        return log.table.extents.count > runs && log.table.runCount(before: position) > runs
    }

    // MARK: Writing

    /// Why nothing may be written at the position, whoever asks; nil when it may. `append…`, `writeFilemarks`,
    /// `erase` and `prepareOverwrite` ask it themselves.
    public var writeRefusal: WriteFailure? {
        if let loss { return .dataLost(loss) }
        if settings.isWriteProtected { return .writeProtected }
        // WORM media grow at their end only; filemarks there may be replaced (a file that is closed again).
        if identity.isWORM, !onlyFilemarksFollow { return .wormOverwrite }
        return nil
    }

    /// Whether writing at the position must make it the end of data first.
    var needsOverwrite: Bool { log.needsEpoch(at: position) }

    /// Whether writing at the position waits for the device, because it must make the position the end of data first:
    /// a drive then appends on a worker.
    public var appendingWaits: Bool { needsOverwrite || log.hasLeftOver }

    /// Whether a failed write has left something behind the end of data that `cutLeftOver` should take away now.
    public var hasLeftOver: Bool { log.hasLeftOver }

    /// Takes away what a failed write has left behind the end of data. May take long.
    public func cutLeftOver() { log.cutLeftOver() }

    /// Makes the position the end of data, durably: what followed never comes back, whatever happens. Waits for the
    /// device.
    ///
    /// On failure the objects may be there or not after reopening; until then they are, unless `loss` says otherwise.
    public func prepareOverwrite() -> WriteFailure? {
        withdrawLost()
        absorbReport()
        if let writeRefusal { return writeRefusal }
        log.cutLeftOver()
        guard needsOverwrite else { return nil }
        if let failure = log.beginEpoch(at: position) {
            withdrawLost()
            return loss == nil ? .host(failure) : .dataLost(failure)
        }
        indexedObjects = min(indexedObjects, position)
        checkpointOffset = log.table.endOffset + checkpointInterval
        submitBatch(endObject: position, synchronizesData: false)
        return nil
    }

    /// Makes the position the end of data as `prepareOverwrite` does, and gives the storage of what followed back at
    /// once (ERASE, SSC-5 clause 7.2). Waits for the device.
    public func erase() -> WriteFailure? {
        if identity.isWORM, !isAtEndOfData { return .wormOverwrite }
        let failure = prepareOverwrite()
        if failure == nil { log.trimTail() }
        return failure
    }

    /// Writes `count` blocks of `length` bytes each, which lie one after another in `lease` from `leaseOffset` on.
    ///
    /// Data are in the host's page cache afterwards, not durable. Blocks are at most `maximumBlockLength` bytes.
    public func appendBlocks(
        from lease: borrowing BufferLease, at leaseOffset: Int, length: Int, count: Int
    ) -> AppendResult {
        precondition(
            length > 0 && length <= Int(Self.maximumBlockLength) && count >= 0, "a block has 1 to 16777215 bytes")
        let (fitting, refusal) = prepareAppend(kind: .block, length: length, count: count)
        if let refusal { return AppendResult(count: 0, outcome: refusal) }
        let (appended, failure) = log.appendBlocks(
            from: lease, at: leaseOffset, length: UInt32(length), count: fitting)
        return finishAppend(appended, failure, of: count)
    }

    /// Writes one block: `length` bytes of `lease` from `leaseOffset` on.
    public func appendBlock(from lease: borrowing BufferLease, at leaseOffset: Int, length: Int) -> AppendResult {
        appendBlocks(from: lease, at: leaseOffset, length: length, count: 1)
    }

    /// Writes `count` filemarks; `synchronize` makes them and all before them durable.
    public func writeFilemarks(_ count: Int) -> AppendResult {
        precondition(count >= 0, "a count of filemarks is not negative")
        let (fitting, refusal) = prepareAppend(kind: .filemark, length: 0, count: count)
        if let refusal { return AppendResult(count: 0, outcome: refusal) }
        let (appended, failure) = log.appendFilemarks(fitting)
        return finishAppend(appended, failure, of: count)
    }

    /// How many objects of that length may be written now, up to `count`; or why none.
    private func prepareAppend(
        kind: TapeObjectKind, length: Int, count: Int
    ) -> (fitting: Int, refusal: AppendResult.Outcome?) {
        // Who writes has noted it before: either this finds a loss that happens now, or whoever tells of the loss finds
        // the note.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if let writeRefusal { return (0, .failed(writeRefusal)) }
        if count == 0 { return (0, .done) }
        let room = remainingBytes / Self.recordLength(ofBlock: length)
        // A block that does not fit leaves what is behind the position alone.
        if room == 0 || !hasRoomForRun(kind, length) { return (0, .endOfMedium) }
        if appendingWaits, let failure = prepareOverwrite() { return (0, .failed(failure)) }
        return (Int(min(room, Int64(count))), nil)
    }

    /// Whether the table may take an object of that kind and length at the position.
    private func hasRoomForRun(_ kind: TapeObjectKind, _ length: Int) -> Bool {
        let table = log.table
        guard table.extents.count >= runLimit, table.runCount(before: position) >= runLimit else { return true }
        let last = table.extents[table.index(holding: position - 1)]
        return last.kind == kind && Int(last.blockLength) == length
    }

    private func finishAppend(_ appended: Int, _ failure: MediaFailure?, of count: Int) -> AppendResult {
        position += UInt64(appended)
        if log.table.endOffset >= checkpointOffset || log.table.extents.count >= checkpointRuns { checkpoint() }
        if let failure { return AppendResult(count: appended, outcome: .failed(.host(failure))) }
        return AppendResult(count: appended, outcome: appended < count ? .endOfMedium : .done)
    }

    // MARK: Reading

    /// Reads up to `count` blocks of one length from the position on into `lease`, one after another from `leaseOffset`
    /// on; at most as many as `objectAtPosition` says. The lease has room for them. Checks each block's checksum.
    public func readBlocks(
        _ count: Int, into lease: inout BufferLease, at leaseOffset: Int, mode: ReadMode
    ) -> BlockReadResult {
        let (read, outcome) = log.readBlocks(
            from: position, count: count, into: &lease, at: leaseOffset, mode: mode)
        position += UInt64(read)
        return BlockReadResult(count: read, outcome: outcome)
    }

    /// Reads the block at the position into `lease` at `leaseOffset`, all of it: the lease has room for it.
    public func readBlock(into lease: inout BufferLease, at leaseOffset: Int, mode: ReadMode) -> BlockReadResult {
        readBlocks(1, into: &lease, at: leaseOffset, mode: mode)
    }
}
