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
        guard superblock.partition == 0 else { throw .damaged(path: path, reason: "it is of another partition") }
        try checkLength(superblock)
        let contents = try contents(of: index, superblock)
        let table = contents.flatMap { Self.table($0, superblock) }
        let known = table?.endObject ?? 0
        let durability = PartitionDurability(store: store, superblock: superblock, validCopy: copy)
        let log = PartitionLog(
            store: store, durability: durability, superblock: superblock, table: table ?? ExtentTable())
        try checkEnd(log)
        if let loss = superblock.loss {
            try replayDurable(log, loss.durableObjects)
        } else {
            try replay(log, trustsTail: table != nil)
            durability.found(objects: log.table.endObject)
        }
        let writer = IndexWriter(index: index, durability: durability, uuid: superblock.identity.uuid)
        let cartridge = Cartridge(
            log: log, writer: writer, file: file, settings: contents?.settings ?? CartridgeSettings(),
            indexedObjects: known)
        if log.table.endObject > known || contents == nil || contents?.epoch != log.superblock.epoch.number {
            cartridge.submitBatch(endObject: log.table.endObject, synchronizesData: false)
        }
        return cartridge
    }

    /// A file that is longer than its capacity allows was not written by this program.
    private func checkLength(_ superblock: Superblock) throws(CartridgeError) {
        let length = try host { () throws(SystemError) in try store.size() }
        guard length <= superblock.endOfCapacity else {
            throw .damaged(
                path: path, reason: "it is \(length) bytes long, but its capacity ends at \(superblock.endOfCapacity)")
        }
    }

    // MARK: Index

    private func contents(
        of index: CartridgeIndex, _ superblock: Superblock
    ) throws(CartridgeError) -> CartridgeIndex.Contents? {
        do throws(CartridgeIndex.OpenError) {
            let contents = try index.contents(partition: superblock.partition)
            return contents?.uuid == superblock.identity.uuid ? contents : nil
        } catch {
            switch error.cartridgeError(path: path) {
            case .damaged(let path, let reason):
                throw .damaged(path: path, reason: "its index cannot be read: \(reason)")
            case let error: throw error
            }
        }
    }

    /// The objects that the index knows and that still count, or nil when its rows contradict themselves.
    static func table(_ contents: CartridgeIndex.Contents, _ superblock: Superblock) -> ExtentTable? {
        let limit = min(
            superblock.objectsValid(forIndexOf: contents.epoch), superblock.loss?.durableObjects ?? .max)
        var table = ExtentTable()
        for row in contents.extents where row.firstObject < limit {
            guard row.firstObject == table.endObject, row.fileOffset == table.endOffset, row.count > 0,
                row.count < 1 << 48, row.storedLength == row.blockLength,
                row.blockLength <= Cartridge.maximumBlockLength, (row.kind == .block) == (row.blockLength > 0)
            else { return nil }
            let count = min(row.count, limit - row.firstObject)
            guard !table.exceeds(superblock.endOfCapacity, storedLength: row.storedLength, count: count) else {
                return nil
            }
            table.append(
                kind: row.kind, blockLength: row.blockLength, storedLength: row.storedLength, count: count)
        }
        return table
    }

    /// The file must hold what the index says is durable, and the last record of that must be there.
    private func checkEnd(_ log: PartitionLog) throws(CartridgeError) {
        guard let last = log.table.extents.last else { return }
        let object = last.endObject - 1
        let start = last.offset(of: object)
        let end = start + Int64(RecordHeader.byteCount) + Int64(last.storedLength)
        let length = try host { () throws(SystemError) in try store.size() }
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

    /// Adds the records that the index does not know and that were durable before a loss. The file stays as it is: what
    /// was lost may be examined with other tools until the loss is acknowledged.
    private func replayDurable(_ log: PartitionLog, _ durableObjects: UInt64) throws(CartridgeError) {
        try host { () throws(SystemError) in
            var replay = try LogReplay(store: store, log: log)
            _ = try replay.adoptRecords(into: log, until: durableObjects)
        }
        try checkRuns(log)
        guard log.table.endObject == durableObjects else {
            throw .damaged(
                path: path,
                reason: "object \(log.table.endObject) at byte \(log.table.endOffset) was durable, but is not whole")
        }
    }

    /// Adds the records that the index does not know, and cuts off what is not whole.
    private func replay(_ log: PartitionLog, trustsTail: Bool) throws(CartridgeError) {
        var replay = try host { () throws(SystemError) in try LogReplay(store: store, log: log) }
        guard replay.fileLength > replay.offset else { return }
        // Somebody who failed to write these records back may have left them in the page cache, where they look whole
        // and durable. What the device has is what counts.
        try check(MediaFailure.of(store.synchronizeData()))
        store.dropCached(from: replay.offset)
        let ending = try host { () throws(SystemError) in try replay.adoptRecords(into: log) }
        try checkRuns(log)
        guard replay.fileLength > replay.offset else { return }
        // After a crash what was not synchronised may have holes. Without an index nothing says how much that was, so
        // then any record behind the first gap is a reason to stop.
        let distance = trustsTail ? LogReplay.tailLimit : RecordHeader.alignment
        let hasGap = try host { () throws(SystemError) in
            ending == .staleRecord ? false : try replay.hasLaterRecord(beyond: distance)
        }
        guard !hasGap else {
            throw .damaged(
                path: path,
                reason: "object \(log.table.endObject) at byte \(log.table.endOffset) is not whole, "
                    + "but later ones are")
        }
        // A new epoch, not just a shorter file: what is cut off must stay away even if the cut is lost.
        try check(log.beginEpoch(at: log.table.endObject))
    }

    private func checkRuns(_ log: PartitionLog) throws(CartridgeError) {
        guard log.table.extents.count > Cartridge.runLimit else { return }
        throw .damaged(path: path, reason: "it has more than \(Cartridge.runLimit) runs of blocks of one length")
    }

    /// What `body` gives; an error of the host is one of the cartridge.
    private func host<Value>(_ body: () throws(SystemError) -> Value) throws(CartridgeError) -> Value {
        do throws(SystemError) { return try body() } catch { throw .system(error) }
    }

    private func check(_ failure: MediaFailure?) throws(CartridgeError) {
        switch failure {
        case nil: return
        case .device(let code): throw .system(SystemError(code: code, operation: "write", path: path))
        case .hostFull: throw .system(SystemError(code: Errno.noSpace, operation: "write", path: path))
        case .truncated, .corrupt, .marked, .protection, .writeProtected, .replaced:
            throw .damaged(path: path, reason: "its epochs have run out of numbers")
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
