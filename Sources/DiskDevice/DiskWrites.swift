internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// WRITE, COMPARE AND WRITE and ORWRITE.
extension DiskDeviceServer {
    /// Checks a command whose Data-Out is its blocks, and asks for them. When the initiator has fewer whole blocks than
    /// the command names, these are written.
    func beginWrite(_ task: SCSITask) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        if let refusal = refusal(extent, limit: maximumTransferBlocks(protection(task)), task) { return refusal }
        return .awaitDataOut(
            length: transferLength(task, extent.count), blockLength: transferLength(task, 1))
    }

    /// The blocks that a command has data for.
    func writtenExtent(_ task: SCSITask, _ data: borrowing BufferLease) -> BlockExtent {
        let first = BlockExtent(task.commandDescriptorBlock).first
        return BlockExtent(first: first, count: blockCount(task, ofBytes: data.count))
    }

    /// WRITE(6), (10), (12) and (16) (SBC-4 clauses 5.43 to 5.46).
    func write(_ task: SCSITask) -> CommandProgress {
        guard let data = task.dataOut.lease.take() else { return task.good() }
        let extent = writtenExtent(task, data)
        return write(task, data, leaseOffset: 0, extent)
    }

    /// Writes the blocks in `lease` from `leaseOffset` on: few at once to the page cache, many by the lane.
    private func write(
        _ task: SCSITask, _ lease: consuming BufferLease, leaseOffset: Int, _ extent: BlockExtent
    ) -> CommandProgress {
        let request = task.fileRequest
        if let sense = beginWriting(task) { return task.fail(sense) }
        let isShort = byteCount(extent.count) <= Self.inlineWriteLimit && protection(task) == nil
        if isShort {
            switch image.writeCached(
                from: lease, at: leaseOffset, first: extent.first, blocks: extent.count, for: request)
            {
            case .done: return finishWrite(task)
            case .failed(let failure): return failWrite(task, failure, block: extent.first)
            case .wouldBlock: break
            }
        }
        request.payload.lease = consume lease
        task.progressCount = 0
        guard let piece = nextPiece(task, extent) else { return finishWrite(task) }
        prepareWrite(task, at: leaseOffset, piece)
        // A part of a short one may be written already.
        return isShort ? submitContinuation(task, .write) : submit(task, .write)
    }

    func writeCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let first = BlockExtent(task.commandDescriptorBlock).first
        if case .failed(let failure) = result {
            return failWrite(task, failure, block: first + UInt64(task.progressCount))
        }
        countPiece(task)
        let start = writtenDataOffset(task)
        let length = task.fileRequest.payload.lease?.count ?? 0
        let extent = BlockExtent(first: first, count: blockCount(task, ofBytes: length - start))
        if let piece = nextPiece(task, extent) {
            return submitWrite(task, at: start + transferLength(task, UInt64(task.progressCount)), piece, .write)
        }
        task.fileRequest.payload.lease = nil
        return finishWrite(task)
    }

    /// Where in its Data-Out a command has the blocks that it writes: those of COMPARE AND WRITE come second.
    private func writtenDataOffset(_ task: SCSITask) -> Int {
        let block = task.commandDescriptorBlock
        return block.operationCode == OperationCode.compareAndWrite
            ? transferLength(task, BlockExtent(block).count) : 0
    }

    // MARK: COMPARE AND WRITE (SBC-4 clause 5.4)

    /// MAXIMUM COMPARE AND WRITE LENGTH, in blocks: all that the command can say.
    static let maximumCompareAndWriteLength: UInt8 = 255

    func beginCompareAndWrite(_ task: SCSITask) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        if let refusal = refusal(extent, limit: UInt64(Self.maximumCompareAndWriteLength), task) { return refusal }
        // What the blocks should be, then what they become.
        let length = 2 * transferLength(task, extent.count)
        // GOOD means that the initiator owns what the blocks guard. So the length must be what it meant: one byte holds
        // no more than 255 blocks.
        guard task.expectedDataOutLength <= length else {
            return task.failInvalidField(byte: BlockExtent.lengthOffset(OperationCode.compareAndWrite))
        }
        return .awaitDataOut(length: length)
    }

    func compareAndWrite(_ task: SCSITask) -> CommandProgress { readToChange(task, .compare) }

    func compareReadCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        guard result == .done else { return findBadBlock(task) }
        countPiece(task)
        if let progress = readNext(task, BlockExtent(task.commandDescriptorBlock), .compare) { return progress }
        guard let found = task.fileRequest.payload.lease.take(), let data = task.dataOut.lease.take() else {
            return task.good()
        }
        let extent = BlockExtent(task.commandDescriptorBlock)
        let difference =
            carriesProtection(task)
            ? firstDifference(found, fromInterleaved: data) : found.firstDifference(fromStartOf: data)
        if let difference {
            return task.fail(
                SenseData(.miscompare, .miscompareDuringVerify, information: Int64(difference)))
        }
        return write(task, data, leaseOffset: writtenDataOffset(task), extent)
    }

    // MARK: ORWRITE (SBC-4 clause 5.23)

    func beginOrWrite(_ task: SCSITask) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        if let refusal = refusal(extent, limit: maximumTransferBlocks(protection(task)), task) { return refusal }
        return .awaitDataOut(length: transferLength(task, extent.count))
    }

    func orWrite(_ task: SCSITask) -> CommandProgress { readToChange(task, .or) }

    func orReadCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        guard result == .done else { return findBadBlock(task) }
        countPiece(task)
        if let progress = readNext(task, BlockExtent(task.commandDescriptorBlock), .or) { return progress }
        guard let found = task.fileRequest.payload.lease.take(), var data = task.dataOut.lease.take() else {
            return task.good()
        }
        if carriesProtection(task) { formOr(&data, interleavedWith: found) } else { data.formOr(found.bytes) }
        return write(task, data, leaseOffset: 0, BlockExtent(task.commandDescriptorBlock))
    }

    /// Reads the blocks that a command changes by what they are; it has the medium for itself.
    private func readToChange(_ task: SCSITask, _ step: DiskStep) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        guard extent.count > 0 else { return task.good() }
        let count = byteCount(extent.count)
        guard let lease = task.reactor.pool.lease(capacity: count) else { return task.end(.taskSetFull) }
        task.fileRequest.payload.lease = consume lease
        return readNext(task, extent, step) ?? task.good()
    }
}

extension BufferLease {
    /// The offset of the first byte that differs from `other`, which is at least as long.
    fileprivate borrowing func firstDifference(fromStartOf other: borrowing BufferLease) -> Int? {
        bytes.firstDifference(from: other.bytes.extracting(0..<count))
    }

    /// Sets every bit that is set in `other`, which is as long as the data.
    fileprivate mutating func formOr(_ other: RawSpan) {
        let count = self.count
        precondition(other.byteCount == count && count % 8 == 0, "blocks are whole words")
        // Bit by bit the byte order does not matter; the word is the unit only for speed.
        for offset in stride(from: 0, to: count, by: 8) {
            let word = bytes.loadBE64(at: offset) | other.loadBE64(at: offset)
            var target = mutableBytes
            target.storeBE64(word, at: offset)
        }
    }
}
