internal import Bytes
internal import Platform

/// From the files of a cartridge to an open one: superblock, index, replay of what the index does not know.
struct CartridgeOpening {
    let store: any ByteStore
    let file: File?
    /// What messages call the data file.
    let path: String

    /// The superblock that counts, and which copy it is.
    func superblock() throws(CartridgeError) -> (superblock: Superblock, copy: Int) {
        var best: (superblock: Superblock, copy: Int)?
        for copy in 0..<2 {
            let page = try bytes(at: Int64(copy * Superblock.byteCount), Superblock.byteCount)
            switch Superblock.decode(page.rawSpan) {
            case .newer: throw .newerVersion(path: path)
            case .invalid: continue
            case .valid(let superblock):
                if superblock.generation > best?.superblock.generation ?? 0 { best = (superblock, copy) }
            }
        }
        guard let best else { throw .damaged(path: path, reason: "neither of its two superblocks is valid") }
        return best
    }

    /// Opens the cartridge. Without an `index` of this very cartridge all records are read.
    ///
    /// What was being written at a crash and is not whole is cut off. A gap in what was durable is never papered over:
    /// then the cartridge is damaged, and nothing is changed.
    func open(index: CartridgeIndex) throws(CartridgeError) -> Cartridge {
        let (superblock, copy) = try superblock()
        let contents = try contents(of: index, superblock)
        let table = contents.flatMap { Self.table($0, superblock) }
        let known = table?.endObject ?? 0
        let log = PartitionLog(store: store, superblock: superblock, validCopy: copy, table: table ?? ExtentTable())
        try checkEnd(log)
        try replay(log, trustsTail: table != nil)
        let writer = IndexWriter(index: index, store: store, uuid: superblock.identity.uuid)
        let cartridge = Cartridge(
            log: log, writer: writer, file: file, settings: contents?.settings ?? CartridgeSettings(),
            indexedObjects: known)
        if log.table.endObject > known || contents == nil || contents?.epoch != log.superblock.epoch.number {
            cartridge.submitBatch(endObject: log.table.endObject, synchronizesData: false)
        }
        return cartridge
    }

    // MARK: Index

    private func contents(
        of index: CartridgeIndex, _ superblock: Superblock
    ) throws(CartridgeError) -> CartridgeIndex.Contents? {
        do throws(CartridgeIndex.OpenError) {
            let contents = try index.contents(partition: superblock.partition)
            return contents?.uuid == superblock.identity.uuid ? contents : nil
        } catch {
            throw .damaged(path: path, reason: "its index cannot be read: \(error)")
        }
    }

    /// The objects that the index knows and that still count, or nil when its rows contradict themselves.
    static func table(_ contents: CartridgeIndex.Contents, _ superblock: Superblock) -> ExtentTable? {
        let limit = superblock.objectsValid(forIndexOf: contents.epoch)
        var table = ExtentTable()
        for row in contents.extents where row.firstObject < limit {
            guard row.firstObject == table.endObject, row.fileOffset == table.endOffset, row.count > 0,
                row.count < 1 << 48, row.storedLength == row.blockLength,
                row.blockLength <= Cartridge.maximumBlockLength, (row.kind == .block) == (row.blockLength > 0)
            else { return nil }
            table.append(
                kind: row.kind, blockLength: row.blockLength, storedLength: row.storedLength,
                count: min(row.count, limit - row.firstObject))
            guard table.endOffset < 1 << 62 else { return nil }
        }
        return table
    }

    /// The file must hold what the index says is durable, and the last record of that must be there.
    private func checkEnd(_ log: PartitionLog) throws(CartridgeError) {
        guard let last = log.table.extents.last else { return }
        let object = last.endObject - 1
        let start = last.offset(of: object)
        let end = start + Int64(RecordHeader.byteCount) + Int64(last.storedLength)
        let length: Int64
        do { length = try store.size() } catch { throw .system(error) }
        guard length >= end else {
            throw .damaged(path: path, reason: "it is \(length) bytes long, but its index knows of \(end)")
        }
        let found = try bytes(at: start, RecordHeader.byteCount)
        guard let header = RecordHeader(found.rawSpan, at: 0, seed: log.superblock.seed), header.object == object,
            header.kind == last.kind,
            header.storedLength == last.storedLength, log.superblock.owners(of: object).contains(header.epoch)
        else { throw .damaged(path: path, reason: "object \(object) at byte \(start) is not what the index says") }
    }

    // MARK: Replay

    /// Adds the records that the index does not know, and cuts off what is not whole.
    private func replay(_ log: PartitionLog, trustsTail: Bool) throws(CartridgeError) {
        let hasGap: Bool
        do throws(SystemError) {
            let first = log.table.endObject
            var replay = try LogReplay(
                store: store, superblock: log.superblock, object: first, offset: log.table.endOffset)
            let ending = try replay.adoptRecords(into: log)
            if replay.fileLength > replay.offset {
                // After a crash what was not synchronised may have holes. Without an index nothing says how much that
                // was, so then any record behind the first gap is a reason to stop.
                let distance = trustsTail ? LogReplay.tailLimit : RecordHeader.alignment
                hasGap = ending == .staleRecord ? false : try replay.hasLaterRecord(beyond: distance)
                // A new epoch, not just a shorter file: what is cut off must stay away even if the cut is lost.
                if !hasGap { try check(log.beginEpoch(at: log.table.endObject)) }
            } else {
                hasGap = false
                if log.table.endObject > first { try check(MediaFailure.of(log.store.synchronizeData())) }
            }
        } catch {
            throw .system(error)
        }
        if hasGap {
            throw .damaged(
                path: path,
                reason: "object \(log.table.endObject) at byte \(log.table.endOffset) is not whole, "
                    + "but later ones are")
        }
    }

    private func check(_ failure: MediaFailure?) throws(SystemError) {
        switch failure {
        case nil: return
        case .device(let code): throw SystemError(code: code, operation: "write", path: path)
        case .hostFull, .truncated, .corrupt: throw SystemError(code: Errno.noSpace, operation: "write", path: path)
        }
    }

    /// `count` bytes of the file; zeros where it ends before.
    private func bytes(at offset: Int64, _ count: Int) throws(CartridgeError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let store = store
        let result = bytes.modifyBytes { target in
            store.read(into: &target, offset: offset, mode: .blocking)
        }
        if case .failed(let code) = result { throw .system(SystemError(code: code, operation: "read", path: path)) }
        return bytes
    }
}
