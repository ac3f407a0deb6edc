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
        // Descriptors that are not whole, or beyond the data, do not count (clause 5.35.2).
        let length = min(Int(list.rawSpan.loadBE16(at: 2)), list.count - 8)
        let count = length / 16
        guard count <= Self.maximumUnmapDescriptors else { return task.failInvalidParameter(byte: 2) }
        var extents: [BlockExtent] = []
        for index in 0..<count {
            let offset = 8 + index * 16
            let extent = BlockExtent(
                first: list.rawSpan.loadBE64(at: offset), count: UInt64(list.rawSpan.loadBE32(at: offset + 8)))
            guard extent.isInside(blockCount) else {
                return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
            }
            if extent.count > 0 { extents.append(extent) }
        }
        return extents.isEmpty ? task.good() : deallocate(task, extents)
    }

    /// Frees the storage of all extents, which then read as zeros (LBPRZ one).
    private func deallocate(_ task: SCSITask, _ extents: [BlockExtent]) -> CommandProgress {
        let image = image
        let shift = blockShift
        let work: @Sendable () -> Int32 = {
            for extent in extents {
                let failure = image.unmap(at: Int64(extent.first << shift), length: Int64(extent.count << shift))
                if let failure { return failure.errorNumber }
            }
            return 0
        }
        return submit(task, .call(work), .deallocate)
    }

    func deallocated(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        if case .failed(let failure) = result { return failWrite(task, failure, block: nil) }
        return finishWrite(task)
    }

    // MARK: WRITE SAME(10) and (16) (SBC-4 clauses 5.50 and 5.51)

    /// The most blocks that one WRITE SAME fills: MAXIMUM WRITE SAME LENGTH.
    static let maximumWriteSameLength: UInt64 = 32768

    func beginWriteSame(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let extent = BlockExtent(block)
        // WSNZ: zero does not mean "to the end".
        guard extent.count > 0 else {
            return task.failInvalidField(byte: BlockExtent.lengthOffset(block.operationCode))
        }
        if let refusal = refusal(extent, limit: Self.maximumWriteSameLength, task) { return refusal }
        let hasNoData = block.operationCode == OperationCode.writeSame16 && block[1] & 0x01 != 0
        let length = hasNoData ? 0 : blockSize
        // One block is repeated; an initiator that offers more means another command or another block length.
        guard task.expectedDataOutLength <= length else {
            return task.fail(.illegalRequest, .invalidFieldInCommandInformationUnit)
        }
        return .awaitDataOut(length: length)
    }

    func writeSame(_ task: SCSITask) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        guard let data = task.dataOut.take() else { return deallocate(task, [extent]) }
        // Blocks of zeros need no storage, whether UNMAP asks for that or not; others are written even when it does,
        // because they must be read again (SBC-4 clause 4.7.3.4.4).
        if data.bytes.isAllZero { return deallocate(task, [extent]) }
        guard let chunk = leaseChunk(task, blocks: extent.count), var lease = task.fileRequest.lease.take() else {
            return task.end(.taskSetFull)
        }
        for _ in 0..<chunk { lease.append(data.bytes) }
        task.fileRequest.lease = consume lease
        return fillNext(task, extent, blocks: chunk)
    }

    private func fillNext(_ task: SCSITask, _ extent: BlockExtent, blocks: UInt64) -> CommandProgress {
        submitTransfer(
            task, .write, count: byteCount(blocks), offset: byteOffset(extent.first + UInt64(task.progressCount)), .fill
        )
    }

    func fillCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let extent = BlockExtent(task.commandDescriptorBlock)
        if case .failed(let failure) = result {
            task.fileRequest.lease = nil
            return failWrite(task, failure, block: extent.first + UInt64(task.progressCount))
        }
        let chunk = UInt64(task.fileRequest.count) >> blockShift
        task.progressCount += Int(chunk)
        let remaining = extent.count - UInt64(task.progressCount)
        if remaining > 0 { return fillNext(task, extent, blocks: min(chunk, remaining)) }
        task.fileRequest.lease = nil
        return finishWrite(task)
    }

    // MARK: GET LBA STATUS (SBC-4 clause 5.7)

    /// The most descriptors of one answer, which bounds the questions to the file system.
    static let maximumStatusDescriptors = 256

    func getLBAStatus(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        var next = block.bytes.loadBE64(at: 2)
        let allocationLength = Int(block.bytes.loadBE32(at: 10))
        let total = blockCount
        guard next < total else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        // One descriptor at least is made, also when the allocation length has no room for it.
        let limit = min(max((allocationLength - 8) / 16, 1), Self.maximumStatusDescriptors)
        var descriptors: [UInt8] = []
        var count = 0
        while next < total, count < limit {
            let provisioning = image.provisioning(at: byteOffset(next))
            let end = min(UInt64(provisioning.end) >> blockShift, total)
            let length = min(end - next, UInt64(UInt32.max))
            descriptors.appendBE64(next)
            descriptors.appendBE32(UInt32(length))
            // PROVISIONING STATUS: mapped (0h) or deallocated (1h).
            descriptors += [provisioning.isMapped ? 0 : 1, 0, 0, 0]
            next += length
            count += 1
        }
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(descriptors.count + 4))
        bytes.appendBE32(0)
        return task.answer(bytes + descriptors, allocationLength: allocationLength)
    }
}

extension MediaFailure {
    /// The error number that stands for the failure on its way through a file request.
    fileprivate var errorNumber: Int32 {
        switch self {
        case .hostFull: Errno.noSpace
        case .truncated, .corrupt: Errno.inputOutput
        case .device(let code): code
        }
    }
}
