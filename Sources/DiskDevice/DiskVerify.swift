internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// VERIFY and WRITE AND VERIFY.
extension DiskDeviceServer {
    /// BYTCHK (SBC-4 table 111).
    private enum ByteCheck: UInt8 {
        /// The medium is read; no Data-Out.
        case mediumOnly = 0
        /// Every block is compared with its block of the Data-Out.
        case allBlocks = 1
        /// Every block is compared with the one block of the Data-Out.
        case sameBlock = 3
    }

    private func byteCheck(_ task: SCSITask) -> ByteCheck? {
        ByteCheck(rawValue: task.commandDescriptorBlock.flags >> 1 & 0x03)
    }

    /// Whether VERIFY or WRITE AND VERIFY compares what the medium has with its Data-Out.
    func comparesMedium(_ task: SCSITask) -> Bool { byteCheck(task) == .allBlocks || byteCheck(task) == .sameBlock }

    /// How many bytes a block takes that is verified.
    private func verifiedBlockLength(_ task: SCSITask) -> Int {
        readsProtection(task, .verify) ? transferLength(task, 1) : blockSize
    }

    // MARK: VERIFY(10), (12) and (16) (SBC-4 clauses 5.38 to 5.40)

    func beginVerify(_ task: SCSITask) -> CommandProgress {
        guard let byteCheck = byteCheck(task) else {
            return task.failInvalidField(byte: task.commandDescriptorBlock.isVariableLength ? 10 : 1, bit: 2)
        }
        let extent = BlockExtent(task.commandDescriptorBlock)
        // Without a block of data for each block the length does not matter: it goes by chunks.
        let limit = byteCheck == .allBlocks ? maximumTransferBlocks(protection(task)) : UInt64.max
        if let refusal = refusal(extent, limit: limit, task) { return refusal }
        guard extent.count > 0 else { return task.good() }
        switch byteCheck {
        case .mediumOnly: return verifyNext(task)
        case .allBlocks: return .awaitDataOut(length: transferLength(task, extent.count))
        case .sameBlock: return .awaitDataOut(length: transferLength(task, 1))
        }
    }

    func verify(_ task: SCSITask) -> CommandProgress { verifyNext(task) }

    /// Whether every block is compared with its own: VERIFY with such a BYTCHK, and every WRITE AND VERIFY, whose data
    /// are there.
    private func comparesAllBlocks(_ task: SCSITask) -> Bool {
        byteCheck(task) == .allBlocks || changesMedium(task.command)
    }

    /// The blocks to verify: those that there are data for, or, where no data belong to the command, all that it names.
    private func verifiedExtent(_ task: SCSITask) -> BlockExtent {
        let extent = BlockExtent(task.commandDescriptorBlock)
        guard comparesAllBlocks(task), let length = task.dataOut.lease?.count else { return extent }
        return BlockExtent(first: extent.first, count: blockCount(task, ofBytes: length))
    }

    /// Reads the next chunk, when `progressCount` blocks are done.
    private func verifyNext(_ task: SCSITask) -> CommandProgress {
        let extent = verifiedExtent(task)
        let done = UInt64(task.progressCount)
        guard done < extent.count else { return task.good() }
        let length = verifiedBlockLength(task)
        guard let chunk = leaseChunk(task, blocks: extent.count - done, length: length) else {
            return task.end(.taskSetFull)
        }
        return submitRead(task, BlockExtent(first: extent.first + done, count: chunk), .verify)
    }

    func verifyReadCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        guard result == .done, let found = task.fileRequest.payload.lease.take() else { return findBadBlock(task) }
        if let data = task.dataOut.lease.take() {
            let sense =
                readsProtection(task, .verify)
                ? protectedMiscompare(found, data, task, isSameBlock: byteCheck(task) == .sameBlock)
                : difference(found, data, task).map {
                    SenseData(.miscompare, .miscompareDuringVerify, information: Int64($0))
                }
            task.dataOut.lease = consume data
            if let sense { return task.fail(sense) }
        }
        task.progressCount += found.count / verifiedBlockLength(task)
        return verifyNext(task)
    }

    /// The offset in the Data-Out of the first byte that is not what the medium has.
    private func difference(
        _ found: borrowing BufferLease, _ data: borrowing BufferLease, _ task: SCSITask
    ) -> Int? {
        switch byteCheck(task) {
        case .allBlocks:
            let start = task.progressCount << Int(blockShift)
            let expected = data.bytes.extracting(start..<start + found.count)
            return expected.firstDifference(from: found.bytes).map { start + $0 }
        case .sameBlock:
            for start in stride(from: 0, to: found.count, by: blockSize) {
                let block = found.bytes.extracting(start..<start + blockSize)
                if let difference = data.bytes.firstDifference(from: block) { return difference }
            }
            return nil
        case .mediumOnly, nil: return nil
        }
    }

    // MARK: WRITE AND VERIFY(10), (12) and (16) (SBC-4 clauses 5.47 to 5.49)

    /// Writes to the medium, not to the cache alone, and reads it again.
    func writeAndVerify(_ task: SCSITask) -> CommandProgress {
        guard let data = task.dataOut.lease.take() else { return task.good() }
        let extent = writtenExtent(task, data)
        if let sense = beginWriting(task) { return task.fail(sense) }
        task.fileRequest.payload.lease = consume data
        return writeBeforeVerifyNext(task, extent) ?? task.good()
    }

    private func writeBeforeVerifyNext(_ task: SCSITask, _ extent: BlockExtent) -> CommandProgress? {
        guard let piece = nextPiece(task, extent) else { return nil }
        return submitWrite(task, at: transferLength(task, UInt64(task.progressCount)), piece, .writeBeforeVerify)
    }

    func writeBeforeVerifyCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let first = BlockExtent(task.commandDescriptorBlock).first
        if case .failed(let failure) = result {
            return failWrite(task, failure, block: first + UInt64(task.progressCount))
        }
        countPiece(task)
        let blocks = blockCount(task, ofBytes: task.fileRequest.payload.lease?.count ?? 0)
        if let progress = writeBeforeVerifyNext(task, BlockExtent(first: first, count: blocks)) { return progress }
        task.dataOut.lease = task.fileRequest.payload.lease.take()
        task.progressCount = 0
        return synchronizeWritten(task, .synchronizeBeforeVerify)
    }

    func synchronizedBeforeVerify(_ task: SCSITask) -> CommandProgress {
        synchronizationFailure(task) ?? verifyNext(task)
    }
}
