internal import Bytes
internal import Platform

/// The data file of one partition: an append-only log of records behind two superblocks.
///
/// It knows where objects are and reads, appends and cuts them; position and capacity are the cartridge's. What is in
/// memory changes only after the file has, so a failed call leaves the log as it was.
final class PartitionLog {
    /// Blocks up to this stride are gathered, so that many small ones cost one system call.
    static let gatheredStride: Int64 = 16384
    private static let stagingLength = 262_144

    let store: any ByteStore
    let durability: PartitionDurability
    /// As of the epoch that writes now.
    private(set) var superblock: Superblock
    private(set) var table: ExtentTable
    /// Nothing may be appended before a new epoch has begun: the file may hold more than the log knows.
    private(set) var isTailUncertain = false
    /// A failed write may have left something behind the end, which `cutLeftOver` takes away.
    private(set) var hasLeftOver = false
    /// The file is longer than the log: an overwrite kept cached pages of the old tail.
    private var hasOldTail = false
    private let seed: UInt32
    private var staging: [UInt8] = []

    init(store: any ByteStore, durability: PartitionDurability, superblock: Superblock, table: ExtentTable) {
        self.store = store
        self.durability = durability
        self.superblock = superblock
        self.table = table
        seed = superblock.seed
    }

    // MARK: Epochs

    /// Whether appending at `object` needs `beginEpoch` first.
    func needsEpoch(at object: UInt64) -> Bool { object < table.endObject || isTailUncertain }

    /// Forgets `object` and all that follow, durably: the new epoch is on the medium before anything is cut off. Waits
    /// for the device.
    func beginEpoch(at object: UInt64) -> MediaFailure? {
        precondition(object <= table.endObject, "an epoch begins on the tape")
        let end = table.offset(of: object)
        // Until the superblock is durable nobody can say which epoch a reader would find.
        isTailUncertain = true
        switch durability.beginEpoch(at: object, fileOffset: end) {
        case .failure(let failure): return failure
        case .success(let superblock):
            enter(superblock, at: object, end)
            return nil
        }
    }

    private func enter(_ superblock: Superblock, at object: UInt64, _ end: Int64) {
        self.superblock = superblock
        table.truncate(to: object)
        isTailUncertain = false
        hasLeftOver = false
        cutTail(after: end)
    }

    // MARK: Loss

    /// Takes objects that a loss may have taken out of the table; the file stays as it is until the loss is
    /// acknowledged.
    func forget(from object: UInt64) {
        table.truncate(to: object)
    }

    /// Begins an epoch at the end, durably, after a loss. Waits for the device.
    func acknowledgeLoss() -> MediaFailure? {
        let end = table.endOffset
        switch durability.acknowledgeLoss(fileOffset: end) {
        case .failure(let failure): return failure
        case .success(let superblock):
            enter(superblock, at: table.endObject, end)
            return nil
        }
    }

    // MARK: The tail

    /// The most of an old tail that stays for reuse, in bytes. Opening after a crash may have to look through what is
    /// longer than `LogReplay.tailLimit`, which takes about a second.
    static let reusedTailLimit: Int64 = 4 << 30

    /// Cuts off what follows `end`, except as much of it as the page cache holds: writing into cached pages is several
    /// times faster than into new ones. (Into pages that are not cached it would be slower: each edge of a record that
    /// is no page boundary would be read first.) What stays is of an old epoch, so it never comes back; `trimTail`
    /// takes it away.
    private func cutTail(after end: Int64) {
        var kept = end
        var probe = InlineArray<1, UInt8>(repeating: 0)
        while kept - end < Self.reusedTailLimit {
            let place = kept + store.cacheProbeInterval
            let store = store
            let result = probe.modifyBytes { store.read(into: &$0, offset: place - 1, mode: .cached) }
            guard case .done(1) = result else { break }
            kept = place
        }
        _ = store.truncate(to: kept)
        hasOldTail = kept > end
    }

    /// Takes away what an overwrite has left behind the end.
    func trimTail() {
        guard hasOldTail, store.truncate(to: table.endOffset) == 0 else { return }
        hasOldTail = false
    }

    /// Cuts off what a failed write has left behind the end, with what an overwrite has left there. May take long.
    func cutLeftOver() {
        guard hasLeftOver else { return }
        hasLeftOver = false
        if store.truncate(to: table.endOffset) == 0 { hasOldTail = false } else { isTailUncertain = true }
    }

    // MARK: Appending

    /// Appends `count` blocks of `length` bytes each, from `lease` at `leaseOffset` on. Gives how many were appended.
    func appendBlocks(
        from lease: borrowing BufferLease, at leaseOffset: Int, length: UInt32, count: Int
    ) -> (appended: Int, failure: MediaFailure?) {
        var done = 0
        let size = Int(length)
        let stride = RecordHeader.stride(storedLength: length)
        if count > 1, stride <= Self.gatheredStride {
            return gather(kind: .block, length: length, count: count) { target, offset, index in
                let start = leaseOffset + index * size
                let payload = lease.bytes.extracting(start..<start + size)
                target.store(payload, at: offset)
                return CRC32C.checksum(payload)
            }
        }
        var header = InlineArray<32, UInt8>(repeating: 0)
        while done < count {
            let start = leaseOffset + done * size
            let record = RecordHeader(
                kind: .block, epoch: superblock.epoch.number, object: table.endObject, length: length,
                payloadChecksum: CRC32C.checksum(lease.bytes.extracting(start..<start + size)))
            header.modifyBytes { record.encode(into: &$0, at: 0, seed: seed) }
            let result = store.write(
                header: header.rawSpan, from: lease, at: start, count: size, offset: table.endOffset)
            if let failure = appendFailure(result) { return (done, failure) }
            table.append(kind: .block, blockLength: length, storedLength: length)
            done += 1
        }
        return (done, nil)
    }

    /// Appends `count` filemarks. Gives how many were appended.
    func appendFilemarks(_ count: Int) -> (appended: Int, failure: MediaFailure?) {
        gather(kind: .filemark, length: 0, count: count) { _, _, _ in 0 }
    }

    /// Appends `count` small records in as few writes as the staging memory allows. `fill` stores the payload of one
    /// and gives its checksum.
    private func gather(
        kind: TapeObjectKind, length: UInt32, count: Int,
        _ fill: (inout MutableRawSpan, _ offset: Int, _ index: Int) -> UInt32
    ) -> (appended: Int, failure: MediaFailure?) {
        prepareStaging()
        let stride = Int(RecordHeader.stride(storedLength: length))
        let perWrite = Self.stagingLength / stride
        let epoch = superblock.epoch.number
        var done = 0
        while done < count {
            let step = min(count - done, perWrite)
            let first = table.endObject
            staging.modifyBytes { target in
                for index in 0..<step {
                    let offset = index * stride
                    // The padding after the last payload byte must not carry what the memory held before.
                    target.fill(at: offset + stride - 8, count: 8)
                    let checksum = fill(&target, offset + RecordHeader.byteCount, done + index)
                    RecordHeader(
                        kind: kind, epoch: epoch, object: first + UInt64(index), length: length,
                        payloadChecksum: checksum
                    ).encode(into: &target, at: offset, seed: seed)
                }
            }
            let result = store.write(staging.rawSpan.extracting(0..<step * stride), offset: table.endOffset)
            if let failure = appendFailure(result) { return (done, failure) }
            table.append(kind: kind, blockLength: length, storedLength: length, count: UInt64(step))
            done += step
        }
        return (done, nil)
    }

    /// The failure of a write at the end of the log. Part of the record may be in the file, and must not meet the
    /// reader again behind a shorter record; cutting it off may take long, and so is not done here.
    private func appendFailure(_ result: FileResult) -> MediaFailure? {
        let code: Int32
        switch result {
        case .done: return nil
        case .wouldBlock: code = Errno.wouldBlock
        case .failed(let number): code = number
        }
        hasLeftOver = true
        return MediaFailure(errorNumber: code)
    }

    private func prepareStaging() {
        if staging.isEmpty { staging = [UInt8](repeating: 0, count: Self.stagingLength) }
    }

    // MARK: Reading

    /// The kind of `object`, its length, and how many of the same follow from it on, itself included.
    func run(at object: UInt64) -> (kind: TapeObjectKind, length: Int, count: UInt64)? {
        guard object < table.endObject else { return nil }
        let extent = table.extent(holding: object)
        return (extent.kind, Int(extent.blockLength), extent.endObject - object)
    }

    /// Where the payload of a block is in the file.
    func payloadOffset(of object: UInt64) -> Int64 {
        table.extent(holding: object).offset(of: object) + Int64(RecordHeader.byteCount)
    }

    /// Reads `count` blocks of one extent from `object` on into `lease`, one after another from `leaseOffset` on.
    ///
    /// Gives how many are whole and right before the first that is not.
    func readBlocks(
        from object: UInt64, count: Int, into lease: inout BufferLease, at leaseOffset: Int, mode: ReadMode
    ) -> (read: Int, outcome: MediaResult) {
        let extent = table.extent(holding: object)
        precondition(
            extent.kind == .block && UInt64(count) <= extent.endObject - object,
            "blocks of one extent are read together")
        if count > 1, extent.stride <= Self.gatheredStride {
            return readGathered(extent, object, count, &lease, leaseOffset, mode)
        }
        let size = Int(extent.storedLength)
        for index in 0..<count {
            let outcome = readOne(extent, object + UInt64(index), &lease, leaseOffset + index * size, mode)
            if outcome != .done { return (index, outcome) }
        }
        return (count, .done)
    }

    private func readOne(
        _ extent: Extent, _ object: UInt64, _ lease: inout BufferLease, _ leaseOffset: Int, _ mode: ReadMode
    ) -> MediaResult {
        let size = Int(extent.storedLength)
        var memory = InlineArray<32, UInt8>(repeating: 0)
        let offset = extent.offset(of: object)
        let store = store
        let result = memory.modifyBytes { header in
            store.read(header: &header, into: &lease, at: leaseOffset, count: size, offset: offset, mode: mode)
        }
        switch result {
        case .done(RecordHeader.byteCount + size): break
        case .done: return .failed(.truncated)
        case .wouldBlock: return .wouldBlock
        case .failed(let code): return .failed(MediaFailure(errorNumber: code))
        }
        let payload = lease.bytes.extracting(leaseOffset..<leaseOffset + size)
        return matches(memory.rawSpan, 0, payload, extent, object) ? .done : .failed(.corrupt)
    }

    private func readGathered(
        _ extent: Extent, _ object: UInt64, _ count: Int, _ lease: inout BufferLease, _ leaseOffset: Int,
        _ mode: ReadMode
    ) -> (read: Int, outcome: MediaResult) {
        prepareStaging()
        // Held here while it is in use: a span into a property of an object has no lifetime to depend on.
        var memory: [UInt8] = []
        swap(&memory, &staging)
        defer { swap(&memory, &staging) }
        let stride = Int(extent.stride)
        let size = Int(extent.storedLength)
        let perRead = Self.stagingLength / stride
        let store = store
        var done = 0
        while done < count {
            let step = min(count - done, perRead)
            // Without the padding of the last record, which the end of the file may lack.
            let wanted = (step - 1) * stride + RecordHeader.byteCount + size
            let offset = extent.offset(of: object + UInt64(done))
            let result = memory.modifyBytes { bytes in
                var part = bytes._mutatingExtracting(0..<wanted)
                return store.read(into: &part, offset: offset, mode: mode)
            }
            switch result {
            case .done(wanted): break
            case .done: return (done, .failed(.truncated))
            case .wouldBlock: return (done, .wouldBlock)
            case .failed(let code): return (done, .failed(MediaFailure(errorNumber: code)))
            }
            let bytes = memory.rawSpan
            for index in 0..<step {
                let start = index * stride + RecordHeader.byteCount
                let payload = bytes.extracting(start..<start + size)
                let number = object + UInt64(done + index)
                guard matches(bytes, index * stride, payload, extent, number) else {
                    return (done + index, .failed(.corrupt))
                }
                let place = leaseOffset + (done + index) * size
                var target = lease.mutableBytes
                target.store(payload, at: place)
                if place + size > lease.count { lease.setCount(place + size) }
            }
            done += step
        }
        return (done, .done)
    }

    /// Whether a record is the one that the table says, and whole.
    private func matches(
        _ bytes: RawSpan, _ offset: Int, _ payload: RawSpan, _ extent: Extent, _ object: UInt64
    ) -> Bool {
        guard let header = RecordHeader(bytes, at: offset, seed: seed) else { return false }
        return header.kind == extent.kind && header.object == object && header.storedLength == extent.storedLength
            && header.epoch <= superblock.epoch.number && header.payloadChecksum == CRC32C.checksum(payload)
    }

    // MARK: Opening

    /// Adds a record that replay found; see `LogReplay`.
    func adopt(_ header: RecordHeader) {
        table.append(kind: header.kind, blockLength: header.logicalLength, storedLength: header.storedLength)
    }
}
