internal import Platform

/// What a check of a cartridge found.
public struct CartridgeReport: Equatable, Sendable {
    /// The most problems that are told in words.
    public static let problemLimit = 100

    public let identity: CartridgeIdentity
    public internal(set) var blocks: UInt64 = 0
    public internal(set) var filemarks: UInt64 = 0
    /// The bytes up to end of data.
    public internal(set) var usedBytes: Int64 = 0
    /// How many problems there are; none when the cartridge is sound.
    public internal(set) var problemCount = 0
    /// The first of them, one sentence each.
    public internal(set) var problems: [String] = []

    /// Whether everything is as it should be.
    public var isSound: Bool { problemCount == 0 }

    init(identity: CartridgeIdentity) {
        self.identity = identity
    }

    mutating func add(problem: String) {
        problemCount += 1
        if problems.count < Self.problemLimit { problems.append(problem) }
    }
}

/// Reads cartridges that no drive has, from the first byte to the last.
public struct CartridgeChecker: Sendable {
    private let cartridges: CartridgeStore

    public init(_ store: CartridgeStore) {
        cartridges = store
    }

    /// Verifies every record and every checksum, and whether the index agrees. Changes nothing.
    public func check(barcode: String) throws(CartridgeError) -> CartridgeReport {
        let file = try cartridges.lockedFile(barcode)
        let path = cartridges.dataPath(of: barcode)
        let store = file
        let superblock = try CartridgeOpening(store: store, file: file, path: path).superblock().superblock
        var report = CartridgeReport(identity: superblock.identity)
        let table: ExtentTable
        do throws(SystemError) {
            table = try Self.scan(store, superblock, &report)
            if try store.size() > superblock.endOfCapacity { report.add(problem: "it is longer than its capacity") }
        } catch {
            throw .system(error)
        }
        try compare(barcode, superblock, table, &report)
        return report
    }

    /// Makes `index.sqlite` anew from the data file. Attributes, write protection and load count are kept if the old
    /// index can still be read. Blocks whose payload is broken stay on the tape, and reading them is a medium error.
    public func rebuildIndex(barcode: String) throws(CartridgeError) -> CartridgeReport {
        let file = try cartridges.lockedFile(barcode)
        let path = cartridges.dataPath(of: barcode)
        let store = file
        let superblock = try CartridgeOpening(store: store, file: file, path: path).superblock().superblock
        var report = CartridgeReport(identity: superblock.identity)
        let table: ExtentTable
        do throws(SystemError) {
            table = try Self.scan(store, superblock, &report)
        } catch {
            throw .system(error)
        }
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
        return report
    }

    /// All records from the first one on, as the device has them: what a failed write-back left in the page cache looks
    /// whole and is not. A broken payload counts as a problem and is passed over if more follows.
    static func scan(
        _ store: any ByteStore, _ superblock: Superblock, _ report: inout CartridgeReport
    ) throws(SystemError) -> ExtentTable {
        let code = store.synchronizeData()
        if code != 0 { throw SystemError(code: code, operation: "synchronize") }
        store.dropCached(from: 0)
        var table = ExtentTable()
        let limit = superblock.loss?.durableObjects ?? .max
        if let loss = superblock.loss {
            let reason = MediaFailure(errorNumber: Int32(loss.errorNumber))
            report.add(problem: "data behind object \(limit) are lost, which is not acknowledged: \(reason)")
        }
        var replay = try LogReplay(
            store: store, superblock: superblock, object: 0, offset: Superblock.dataOffset)
        scanning: while table.endObject < limit {
            guard table.extents.count <= Cartridge.runLimit else {
                report.add(problem: "it has more than \(Cartridge.runLimit) runs of blocks of one length")
                break scanning
            }
            switch try replay.next(verifyingPayload: true) {
            case .record(let header):
                table.append(
                    kind: header.kind, blockLength: header.logicalLength, storedLength: header.storedLength)
            case .end(.brokenPayload):
                let object = replay.object
                report.add(problem: "block \(object) at byte \(replay.offset) does not match its checksum")
                guard let header = try replay.skipBrokenPayload(), replay.offset < replay.fileLength else {
                    break scanning
                }
                table.append(
                    kind: header.kind, blockLength: header.logicalLength, storedLength: header.storedLength)
            case .end(.endOfFile): break scanning
            case .end(.staleRecord):
                report.add(
                    problem: "behind end of data, at byte \(replay.offset), overwritten objects wait to be cut off")
                break scanning
            case .end(.noRecord):
                let rest = replay.fileLength - replay.offset
                let follows = try replay.hasLaterRecord(beyond: RecordHeader.alignment)
                report.add(
                    problem: "object \(replay.object) at byte \(replay.offset) is not whole"
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
            report.add(problem: "there is no index")
            return
        }
        let index = try cartridges.index(barcode, replacing: false)
        do throws(CartridgeIndex.OpenError) {
            guard let contents = try index.contents(partition: superblock.partition),
                contents.uuid == superblock.identity.uuid
            else {
                report.add(problem: "the index is of another cartridge")
                return
            }
            guard let known = CartridgeOpening.table(contents, superblock) else {
                report.add(problem: "the index contradicts itself")
                return
            }
            var expected = table
            expected.truncate(to: known.endObject)
            if known.extents != expected.extents {
                report.add(problem: "the index does not agree with the data file")
            }
        } catch {
            report.add(problem: "the index cannot be read: \(error)")
        }
    }
}
