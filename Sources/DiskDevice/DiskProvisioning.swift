internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// UNMAP, WRITE SAME and GET LBA STATUS.
extension DiskDeviceServer {
    // MARK: UNMAP (SBC-4 clause 5.35)

    /// MAXIMUM UNMAP LBA COUNT: no limit.
    static let maximumUnmapCount = UInt32.max
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
    static let maximumUnmapDescriptors = 256

    func beginUnmap(_ task: SCSITask) -> CommandProgress {
        .awaitDataOut(length: Int(task.commandDescriptorBlock.bytes.loadBE16(at: 7)))
    }

    func unmap(_ task: SCSITask) -> CommandProgress {
        let list = task.parameterList()
        // No parameter data is no error (SBC-4 table 87).
        if list.isEmpty { return task.good() }
        guard list.count >= 8 else { return task.fail(.illegalRequest, .parameterListLengthError) }
        let count = Self.unmapDescriptorCount(list.rawSpan)
        guard count <= Self.maximumUnmapDescriptors else { return task.failInvalidParameter(byte: 2) }
        for index in 0..<count where !Self.unmapExtent(list.rawSpan, index).isInside(blockCount) {
            return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
        }
        if let sense = beginWriting(task) {
            task.dataOut.lease = nil
            return task.fail(sense)
        }
        return deallocateNext(task)
    }

    /// How many descriptors a parameter list has: those that are not whole, or beyond the data, do not count (clause
    /// 5.35.2).
    private static func unmapDescriptorCount(_ list: RawSpan) -> Int {
        min(Int(list.loadBE16(at: 2)), list.byteCount - 8) / 16
    }

    /// The blocks that an UNMAP names.
    func unmappedExtents(_ task: SCSITask) -> [BlockExtent] {
        let list = task.parameterList()
        guard list.count >= 8 else { return [] }
        return (0..<Self.unmapDescriptorCount(list.rawSpan)).map { Self.unmapExtent(list.rawSpan, $0) }
    }

    private static func unmapExtent(_ list: RawSpan, _ index: Int) -> BlockExtent {
        let offset = 8 + index * 16
        return BlockExtent(first: list.loadBE64(at: offset), count: UInt64(list.loadBE32(at: offset + 8)))
    }

    // MARK: Freeing storage

    /// How far a command is that frees storage; `SCSITask.progressCount` holds it.
    private struct DeallocationProgress {
        /// Which of the command's extents.
        var index: Int
        /// How many blocks of it are done: an extent has fewer than 2³² blocks.
        var done: UInt64

        init(_ task: SCSITask) {
            index = task.progressCount >> 32
            done = UInt64(task.progressCount & 0xFFFF_FFFF)
        }

        func store(in task: SCSITask) {
            task.progressCount = index << 32 | Int(done)
        }
    }

    /// The extent of a command that frees storage; nil when it has no more.
    private func deallocatedExtent(_ task: SCSITask, _ index: Int) -> BlockExtent? {
        let block = task.commandDescriptorBlock
        guard block.operationCode == OperationCode.unmap else { return index == 0 ? writeSameExtent(task) : nil }
        guard let list = task.dataOut.lease.take() else { return nil }
        let extent = Self.unmapExtent(of: list, index)
        task.dataOut.lease = consume list
        return extent
    }

    private static func unmapExtent(of list: borrowing BufferLease, _ index: Int) -> BlockExtent? {
        index < unmapDescriptorCount(list.bytes) ? unmapExtent(list.bytes, index) : nil
    }

    /// Frees the next piece, which then reads as zeros (LBPRZ one). The host keeps writers out while it frees storage,
    /// so pieces are bounded; they end at multiples of their length, so that no part of a block of the host's is left.
    private func deallocateNext(_ task: SCSITask) -> CommandProgress {
        var progress = DeallocationProgress(task)
        while let extent = deallocatedExtent(task, progress.index) {
            if progress.done < extent.count {
                let first = extent.first + progress.done
                let limit = image.maximumDeallocation
                let count = min(extent.count - progress.done, limit - first % limit)
                progress.done += count
                progress.store(in: task)
                image.prepareDeallocate(task.fileRequest, first: first, blocks: count)
                return submit(task, .deallocate)
            }
            progress.index += 1
            progress.done = 0
        }
        return finishWrite(task)
    }

    func deallocated(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        if case .failed(let failure) = result { return failWrite(task, failure, block: nil) }
        return deallocateNext(task)
    }

    // MARK: WRITE SAME (SBC-4 clauses 5.50 to 5.52)

    /// MAXIMUM WRITE SAME LENGTH, in blocks: of 512 bytes, as much as one READ or WRITE transfers, which initiators
    /// take for granted. COMPARE AND WRITE waits for a WRITE SAME as long as that takes.
    static let maximumWriteSameLength: UInt64 = 32768

    /// The blocks that a WRITE SAME fills, once it has begun.
    func writeSameExtent(_ task: SCSITask) -> BlockExtent {
        BlockExtent(first: BlockExtent(task.commandDescriptorBlock).first, count: UInt64(task.totalCount))
    }

    func beginWriteSame(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        var extent = BlockExtent(block)
        if extent.count == 0 {
            // WSNZ is zero: to the last block that there is now.
            let blockCount = self.blockCount
            guard extent.first < blockCount else {
                return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
            }
            extent = BlockExtent(first: extent.first, count: blockCount - extent.first)
        }
        if let refusal = refusal(extent, limit: Self.maximumWriteSameLength, task) { return refusal }
        task.totalCount = Int(extent.count)
        let hasNoData = block.operationCode != OperationCode.writeSame10 && block.flags & 0x01 != 0
        let length = hasNoData ? 0 : transferLength(task, 1)
        if hasNoData, carriesProtection(task) {
            return task.failInvalidField(byte: block.isVariableLength ? 10 : 1, bit: 7)
        }
        // One block is repeated; an initiator that offers more means another command or another block length.
        guard task.expectedDataOutLength <= length else {
            return task.fail(.illegalRequest, .invalidFieldInCommandInformationUnit)
        }
        return .awaitDataOut(length: length)
    }

    func writeSame(_ task: SCSITask) -> CommandProgress {
        let extent = writeSameExtent(task)
        if let sense = beginWriting(task) {
            task.dataOut.lease = nil
            return task.fail(sense)
        }
        if carriesProtection(task) { return writeSameProtected(task) }
        guard let data = task.dataOut.lease.take() else { return writeSameZeros(task, isProtected: false) }
        if data.bytes.isAllZero { return writeSameZeros(task) }
        guard let chunk = leaseChunk(task, blocks: extent.count), var lease = task.fileRequest.payload.lease.take()
        else {
            return task.end(.taskSetFull)
        }
        for _ in 0..<chunk { lease.append(data.bytes) }
        task.fileRequest.payload.lease = consume lease
        return submitWrite(task, BlockExtent(first: extent.first, count: chunk), .fill)
    }

    /// With UNMAP zeros need no storage. Without it they are written: blocks that were mapped stay so, and those that
    /// were not become so (SBC-4 clause 4.7.3.4.4). Other blocks are written even with UNMAP, because they must be read
    /// again.
    /// The zeros get protection information, where blocks have it, unless `isProtected` is false.
    func writeSameZeros(_ task: SCSITask, isProtected: Bool = true) -> CommandProgress {
        if task.commandDescriptorBlock.flags & 0x08 != 0 { return deallocateNext(task) }
        task.fileRequest.context = isProtected ? 0 : 1
        return zeroNext(task)
    }

    func fillCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let extent = writeSameExtent(task)
        if case .failed(let failure) = result {
            return failWrite(task, failure, block: extent.first + UInt64(task.progressCount))
        }
        let chunk = UInt64(task.fileRequest.count) >> blockShift
        countPiece(task)
        let done = UInt64(task.progressCount)
        guard done < extent.count else {
            task.fileRequest.payload.lease = nil
            return finishWrite(task)
        }
        return submitWrite(
            task, BlockExtent(first: extent.first + done, count: min(chunk, extent.count - done)), .fill)
    }

    /// Writes zeros to the next piece.
    private func zeroNext(_ task: SCSITask) -> CommandProgress {
        let extent = writeSameExtent(task)
        let done = UInt64(task.progressCount)
        guard done < extent.count else { return finishWrite(task) }
        let (first, blocks) = (extent.first + done, min(image.maximumDeallocation, extent.count - done))
        if task.fileRequest.context == 0 {
            image.prepareZeros(task.fileRequest, first: first, blocks: blocks)
        } else {
            image.prepareUnprotectedZeros(task.fileRequest, first: first, blocks: blocks)
        }
        return submit(task, .zero)
    }

    func zeroed(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        if case .failed(let failure) = result { return failWrite(task, failure, block: nil) }
        countPiece(task)
        return zeroNext(task)
    }

    // MARK: REPORT PROVISIONING INITIALIZATION PATTERN (SBC-4 clause 5.28)

    /// What a block reads as that has no storage: a block of zeros (LBPRZ).
    func reportProvisioningPattern(_ task: SCSITask) -> CommandProgress {
        task.answer(
            [UInt8](repeating: 0, count: blockSize),
            allocationLength: Int(task.commandDescriptorBlock.bytes.loadBE32(at: 6)))
    }

    // MARK: GET LBA STATUS (SBC-4 clause 5.7)

    /// The most descriptors of one answer, which bounds the questions to the file system.
    static let maximumStatusDescriptors = 256

    func getLBAStatus(_ task: SCSITask) -> CommandProgress {
        let first = BlockExtent(task.commandDescriptorBlock).first
        guard first < blockCount else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        // One descriptor at least is made, also when the allocation length has no room for it.
        let limit = min(max((statusAllocationLength(task) - 8) / 16, 1), Self.maximumStatusDescriptors)
        image.prepareProvisioning(task.fileRequest, first: first, runs: limit)
        return submit(task, .provisioning)
    }

    private func statusAllocationLength(_ task: SCSITask) -> Int {
        let block = task.commandDescriptorBlock
        return Int(block.bytes.loadBE32(at: block.isVariableLength ? 28 : 10))
    }

    /// The first block that an answer says nothing of: SCAN LENGTH of the 32-byte command bounds it, zero does not
    /// (SBC-4 clause 5.9).
    private func statusEnd(_ task: SCSITask, _ first: UInt64) -> UInt64 {
        let block = task.commandDescriptorBlock
        guard block.isVariableLength else { return .max }
        let length = UInt64(block.bytes.loadBE32(at: 20))
        return length == 0 ? .max : first &+ length
    }

    func provisioningFound(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        var next = BlockExtent(task.commandDescriptorBlock).first
        let end = statusEnd(task, next)
        guard result == .done else {
            task.fileRequest.answer = nil
            return task.fail(
                SenseData(.mediumError, .unrecoveredReadError, information: Int64(bitPattern: next)))
        }
        let runs = image.provisioning(of: task.fileRequest)
        task.fileRequest.answer = nil
        var descriptors: [UInt8] = []
        for run in runs where next < end {
            // A descriptor counts 32 bits of blocks; the initiator asks on from where the list ends.
            let length = min(min(run.end, end) - next, UInt64(UInt32.max))
            descriptors.appendBE64(next)
            descriptors.appendBE32(UInt32(length))
            // PROVISIONING STATUS: mapped (0h) or deallocated (1h).
            descriptors += [run.isMapped ? 0 : 1, 0, 0, 0]
            next += length
            if next < run.end { break }
        }
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(descriptors.count + 4))
        bytes.appendBE32(0)
        return task.answer(bytes + descriptors, allocationLength: statusAllocationLength(task))
    }
}
