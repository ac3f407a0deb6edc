internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// READ and PRE-FETCH.
extension DiskDeviceServer {
    /// READ(6), (10), (12) and (16) (SBC-4 clauses 5.15 to 5.18).
    func read(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let extent = BlockExtent(block)
        if let refusal = refusal(extent, limit: maximumTransferBlocks(protection(task)), task) { return refusal }
        guard extent.count > 0 else { return task.good() }
        if block.operationCode != OperationCode.read6, block.flags & 0x08 != 0 {
            // FUA: what is read is on the medium, so what only the cache holds goes there first (SBC-4 clause 4.15).
            return synchronizeBuffered(task, .synchronizeBeforeRead)
        }
        return read(task, extent)
    }

    func synchronizedBeforeRead(_ task: SCSITask) -> CommandProgress {
        if let failure = synchronizationFailure(task) { return failure }
        // After that: a synchronisation that has failed tells of earlier writes.
        if let sense = formerProtectionSense(task) { return task.fail(sense) }
        return read(task, BlockExtent(task.commandDescriptorBlock))
    }

    /// Reads at once what memory holds, and by the lane what it does not.
    private func read(_ task: SCSITask, _ extent: BlockExtent) -> CommandProgress {
        let count = transferLength(task, extent.count)
        guard var lease = task.lease(count) else { return .complete }
        let epoch = atomicWriteCount.load(ordering: .acquiring)
        // What the disk has now may be no protection information, and what the command wants is that of before.
        if count <= Self.inlineReadLimit, epoch % 2 == 0, protection(task) == nil,
            image.readCached(into: &lease, first: extent.first, blocks: extent.count) == .done,
            sawNoAtomicWrite(since: epoch)
        {
            task.dataIn.lease = consume lease
            return task.good()
        }
        task.fileRequest.payload.lease = consume lease
        if epoch % 2 == 1 { return readInGate(task) }
        task.fileRequest.context = Int(truncatingIfNeeded: epoch)
        return readNext(task, extent, .read) ?? .complete
    }

    // MARK: Beside atomic writes (SBC-4 clause 4.29)

    /// Whether what was read since `atomicWriteCount` was `epoch`, an even number, is of one state of the medium.
    private func sawNoAtomicWrite(since epoch: UInt64) -> Bool {
        atomicMemoryFence(ordering: .acquiring)
        return atomicWriteCount.load(ordering: .relaxed) == epoch
    }

    /// Reads again with all atomic writes kept out; the file request has its lease.
    func readInGate(_ task: SCSITask, isWoken: Bool = false) -> CommandProgress {
        if writeGate.enter(task, isWoken: isWoken) == .parked { return .pending }
        if let sense = senseBehindGate(task) {
            writeGate.leave()
            task.fileRequest.payload.lease = nil
            return task.fail(sense)
        }
        task.progressCount = 0
        task.step = DiskStep.readInGate.rawValue
        return readNext(task, BlockExtent(task.commandDescriptorBlock), .readInGate) ?? .complete
    }

    func readInGateCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        if result == .done {
            countPiece(task)
            let extent = BlockExtent(task.commandDescriptorBlock)
            if let progress = readNext(task, extent, .readInGate) { return progress }
        }
        writeGate.leave()
        guard result == .done else { return findBadBlock(task) }
        task.dataIn.lease = task.fileRequest.payload.lease.take()
        return task.good()
    }

    /// Reads the next piece of an extent into the file request's lease; nil when all of it is there.
    func readNext(_ task: SCSITask, _ extent: BlockExtent, _ step: DiskStep) -> CommandProgress? {
        guard let piece = nextPiece(task, extent) else { return nil }
        let done = UInt64(task.progressCount)
        return submitRead(
            task, at: readsProtection(task, step) ? transferLength(task, done) : byteCount(done), piece, step)
    }

    func readCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        guard result == .done else { return findBadBlock(task) }
        countPiece(task)
        if let progress = readNext(task, BlockExtent(task.commandDescriptorBlock), .read) { return progress }
        guard sawNoAtomicWrite(since: UInt64(bitPattern: Int64(task.fileRequest.context))) else {
            return readInGate(task)
        }
        task.dataIn.lease = task.fileRequest.payload.lease.take()
        return task.good()
    }

    // MARK: Blocks that cannot be read

    /// Ends a command whose read has failed: reads one block after another, from `progressCount` on, to find the
    /// first bad one. The file request still has its lease.
    func findBadBlock(_ task: SCSITask) -> CommandProgress {
        if let sense = protectionSense(task) ?? otherMediumSense(task) {
            task.fileRequest.payload.lease = nil
            return task.fail(sense)
        }
        let first = BlockExtent(task.commandDescriptorBlock).first + UInt64(task.progressCount)
        return submitRead(task, BlockExtent(first: first, count: 1), .findBadBlock)
    }

    func badBlockSearchCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        if result == .done, task.progressCount + 1 < Int(extent.count) {
            task.progressCount += 1
            return findBadBlock(task)
        }
        task.fileRequest.payload.lease = nil
        if let sense = protectionSense(task) ?? otherMediumSense(task) { return task.fail(sense) }
        // When each block alone can be read now, the first is as good as any.
        let bad = result == .done ? 0 : UInt64(task.progressCount)
        return task.fail(
            SenseData(
                .mediumError, result == .failed(.marked) ? .markedBadByApplicationClient : .unrecoveredReadError,
                information: Int64(bitPattern: extent.first + bad)))
    }

    // MARK: PRE-FETCH (SBC-4 clauses 5.10 and 5.11)

    /// The most bytes that one PRE-FETCH brings into the page cache: MAXIMUM PREFETCH LENGTH.
    static let maximumPrefetchLength = 64 << 20

    func prefetch(_ task: SCSITask) -> CommandProgress {
        guard BlockExtent(task.commandDescriptorBlock).isInside(blockCount) else {
            return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
        }
        return prefetchNext(task)
    }

    /// What to bring: a length of zero means all that follows (SBC-4 table 63).
    private func prefetchExtent(_ task: SCSITask) -> BlockExtent {
        let extent = BlockExtent(task.commandDescriptorBlock)
        return extent.count > 0 ? extent : extent.toEnd(blockCount)
    }

    private func prefetchNext(_ task: SCSITask) -> CommandProgress {
        let extent = prefetchExtent(task)
        let limit = min(extent.count, UInt64(Self.maximumPrefetchLength) >> blockShift)
        let done = UInt64(task.progressCount)
        guard done < limit else {
            // CONDITION MET: the cache has all of it.
            return limit == extent.count ? task.end(.conditionMet) : task.good()
        }
        guard let chunk = leaseChunk(task, blocks: limit - done) else { return task.end(.taskSetFull) }
        return submitRead(task, BlockExtent(first: extent.first + done, count: chunk), .prefetch)
    }

    func prefetchCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        task.fileRequest.payload.lease = nil
        // A block that cannot be read is no error of PRE-FETCH; the READ to come reports it.
        guard result == .done else { return task.good() }
        countPiece(task)
        return prefetchNext(task)
    }

    // MARK: Chunks

    /// The most bytes that a command moves at a time when it goes through a range that may be long.
    static let chunkLength = 1 << 20

    /// Gives the file request a lease for at most `blocks` blocks, in which each takes `length` bytes; how many, or nil
    /// when the pool is exhausted.
    func leaseChunk(_ task: SCSITask, blocks: UInt64, length: Int? = nil) -> UInt64? {
        let chunk = min(blocks, UInt64(Self.chunkLength) >> blockShift)
        task.fileRequest.payload.lease = task.reactor.pool.lease(
            capacity: length.map { Int(chunk) * $0 } ?? byteCount(chunk))
        let isLeased = task.fileRequest.payload.lease != nil
        return isLeased ? chunk : nil
    }
}
