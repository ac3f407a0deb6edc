internal import Platform

/// What a check of a cartridge found.
public struct CartridgeReport: Equatable, Sendable {
    /// The most problems that are told in words.
    public static let problemLimit = 100

    /// What kind of problem it is.
    public enum ProblemKind: Sendable {
        /// Data were lost, and nobody has acknowledged that.
        case loss
        /// The data file contradicts what the cartridge is.
        case contradiction
        /// A block does not match its checksum; those behind it are there.
        case brokenBlock
        /// An object is not whole, and what is behind it cannot be reached.
        case gap
        /// What was being written at a crash, or was overwritten, is not cut off yet; the next load does that.
        case tail
        /// The index knows of objects that the data file does not have.
        case missingData
        /// The index is missing or wrong, and the data file has all that is needed to make it anew.
        case index
        /// The host does not let the index be read, which may be in order: its file system is read-only, say.
        case unreadIndex
        /// The index, which may be in order, is not read while the host's file system is full.
        case noRoom
    }

    /// One problem.
    public struct Problem: Equatable, Sendable {
        public let kind: ProblemKind
        /// What is wrong, as a part of a sentence.
        public let sentence: String
    }

    public let identity: CartridgeIdentity
    public internal(set) var blocks: UInt64 = 0
    public internal(set) var filemarks: UInt64 = 0
    /// The bytes up to end of data.
    public internal(set) var usedBytes: Int64 = 0
    /// How many problems there are; none when the cartridge is sound.
    public internal(set) var problemCount = 0
    /// The first of them.
    public internal(set) var problems: [Problem] = []
    /// Whether the index was made anew.
    public internal(set) var isIndexRebuilt = false
    private var kinds: Set<ProblemKind> = []

    /// Whether everything is as it should be.
    public var isSound: Bool { problemCount == 0 }

    /// Whether making the index anew would mend it and lose nothing: not where the old one is the only witness of what
    /// is missing in the data file.
    public var isIndexRepairable: Bool {
        kinds.contains(.index) && kinds.isSubset(of: [.index, .brokenBlock, .tail])
    }

    init(identity: CartridgeIdentity) {
        self.identity = identity
    }

    mutating func add(_ kind: ProblemKind, _ sentence: String) {
        problemCount += 1
        kinds.insert(kind)
        if problems.count < Self.problemLimit { problems.append(Problem(kind: kind, sentence: sentence)) }
    }
}

/// Reads cartridges that no drive has, from the first byte to the last.
public struct CartridgeChecker: Sendable {
    private let cartridges: CartridgeStore
    private let observer: (@Sendable (Int64) -> Bool)?

    /// A checker of the cartridges of `store`. `observer` is called at each read with the number of bytes; when it is
    /// false, the check ends with `CartridgeError.system` and `ECANCELED`, and has changed nothing.
    public init(_ store: CartridgeStore, observer: (@Sendable (Int64) -> Bool)? = nil) {
        cartridges = store
        self.observer = observer
    }

    /// Verifies every record and every checksum, and whether the index agrees. Changes nothing, unless with `repairing`
    /// an index that is `isIndexRepairable`, which it makes anew as `rebuildIndex` does.
    public func check(barcode: String, repairing: Bool = false) throws(CartridgeError) -> CartridgeReport {
        let file = try cartridges.lockedFile(barcode)
        let superblock = try superblock(of: barcode, file)
        var report = CartridgeReport(identity: superblock.identity)
        let table: ExtentTable
        do throws(SystemError) {
            table = try Self.scan(file, superblock, &report, observer)
            if try file.size() > superblock.endOfCapacity {
                report.add(.contradiction, "it is longer than its capacity")
            }
        } catch {
            throw .system(error)
        }
        try compare(barcode, superblock, table, &report)
        if repairing, report.isIndexRepairable {
            try writeIndex(of: barcode, superblock, table)
            report.isIndexRebuilt = true
        }
        return report
    }

    /// Makes `index.sqlite` anew from the data file. Attributes, write protection and load count are kept if the old
    /// index can still be read. Blocks whose payload is broken stay on the tape, and reading them is a medium error.
    public func rebuildIndex(barcode: String) throws(CartridgeError) -> CartridgeReport {
        let file = try cartridges.lockedFile(barcode)
        let superblock = try superblock(of: barcode, file)
        var report = CartridgeReport(identity: superblock.identity)
        let table: ExtentTable
        do throws(SystemError) {
            table = try Self.scan(file, superblock, &report, observer)
        } catch {
            throw .system(error)
        }
        try writeIndex(of: barcode, superblock, table)
        report.isIndexRebuilt = true
        return report
    }

    private func superblock(of barcode: String, _ file: File) throws(CartridgeError) -> Superblock {
        let path = cartridges.dataPath(of: barcode)
        return try CartridgeOpening(store: file, file: file, path: path).superblock().superblock
    }

    private func writeIndex(
        of barcode: String, _ superblock: Superblock, _ table: ExtentTable
    ) throws(CartridgeError) {
        let index = try cartridges.index(barcode, replacing: true)
        let writer = IndexWriter(index: index, durability: nil, uuid: superblock.identity.uuid)
        let batch = IndexWriter.Batch(
            partition: superblock.partition, epoch: superblock.epoch.number, firstObject: 0,
            rows: table.extents.map(CartridgeIndex.ExtentRow.init), endObject: table.endObject, synchronizesData: false)
        _ = writer.submit(batch)
        _ = writer.drain()
        if writer.takeFirstObjectMissing() != nil {
            throw .hostFailed(path: cartridges.indexPath(of: barcode), reason: "the host refuses; see its file system")
        }
    }

    /// All records from the first one on, as the device has them: what a failed write-back left in the page cache looks
    /// whole and is not. A broken payload counts as a problem and is passed over if more follows.
    static func scan(
        _ store: any ByteStore, _ superblock: Superblock, _ report: inout CartridgeReport,
        _ observer: (@Sendable (Int64) -> Bool)? = nil
    ) throws(SystemError) -> ExtentTable {
        let code = store.synchronizeData()
        if code != 0 { throw SystemError(code: code, operation: "synchronize") }
        store.dropCached(from: 0)
        var table = ExtentTable()
        let limit = superblock.loss?.durableObjects ?? .max
        if let loss = superblock.loss {
            let reason = MediaFailure(errorNumber: Int32(loss.errorNumber))
            report.add(.loss, "data behind object \(limit) are lost, which is not acknowledged: \(reason)")
        }
        var replay = try LogReplay(
            store: store, superblock: superblock, object: 0, offset: Superblock.dataOffset)
        replay.observer = observer
        scanning: while table.endObject < limit {
            guard table.extents.count <= Cartridge.runLimit else {
                report.add(.contradiction, "it has more than \(Cartridge.runLimit) runs of blocks of one length")
                break scanning
            }
            switch try replay.next(verifyingPayload: true) {
            case .record(let header):
                table.append(
                    kind: header.kind, blockLength: header.logicalLength, storedLength: header.storedLength)
            case .end(.brokenPayload):
                let sentence = "block \(replay.object) at byte \(replay.offset) does not match its checksum"
                guard let header = try replay.skipBrokenPayload(), replay.offset < replay.fileLength else {
                    // A load without an index would cut it off.
                    report.add(.gap, sentence)
                    break scanning
                }
                report.add(.brokenBlock, sentence)
                table.append(
                    kind: header.kind, blockLength: header.logicalLength, storedLength: header.storedLength)
            case .end(.endOfFile): break scanning
            case .end(.staleRecord):
                report.add(
                    .tail, "behind end of data, at byte \(replay.offset), overwritten objects wait to be cut off")
                break scanning
            case .end(.noRecord):
                let rest = replay.fileLength - replay.offset
                let follows = try replay.hasLaterRecord(beyond: RecordHeader.alignment)
                report.add(
                    follows ? .gap : .tail,
                    "object \(replay.object) at byte \(replay.offset) is not whole"
                        + (follows ? ", but later ones are" : "; \(rest) bytes wait to be cut off"))
                break scanning
            }
        }
        report.filemarks = table.filemarkCount
        report.blocks = table.endObject - table.filemarkCount
        report.usedBytes = table.endOffset - Superblock.dataOffset
        return table
    }

    private func compare(
        _ barcode: String, _ superblock: Superblock, _ table: ExtentTable, _ report: inout CartridgeReport
    ) throws(CartridgeError) {
        guard FilePath.exists(cartridges.indexPath(of: barcode)) else {
            report.add(.index, "there is no index")
            return
        }
        let path = cartridges.indexPath(of: barcode)
        do throws(CartridgeIndex.OpenError) {
            let index = try CartridgeIndex.openToRead(path: path)
            guard let contents = try index.contents(partition: superblock.partition) else {
                report.add(.index, "the index is empty")
                return
            }
            guard contents.uuid == superblock.identity.uuid else {
                report.add(
                    .contradiction,
                    "the index is of another cartridge; put \(path) out of the way")
                return
            }
            guard let known = CartridgeOpening.table(contents, superblock) else {
                report.add(.index, "the index contradicts itself")
                return
            }
            guard known.endObject <= table.endObject else {
                report.add(
                    .missingData,
                    "the index knows of \(known.endObject) objects, but the data file has only \(table.endObject)")
                return
            }
            var expected = table
            expected.truncate(to: known.endObject)
            if known.extents != expected.extents {
                report.add(.index, "the index does not agree with the data file")
            }
        } catch {
            switch error {
            case .newerVersion: throw error.cartridgeError(path: path)
            case .notADatabase(let reason), .unusable(let reason):
                report.add(.index, "the index cannot be read: \(reason)")
            case .hostFull: report.add(.noRoom, "the index cannot be read while the host's file system is full")
            case .hostFailed(let reason): report.add(.unreadIndex, "the index cannot be read: \(reason)")
            // It may mend itself, and is not made anew.
            case .storageFailed(let reason): report.add(.contradiction, "the index cannot be read: \(reason)")
            }
        }
    }
}
