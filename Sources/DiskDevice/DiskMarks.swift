internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// WRITE LONG, READ LONG and REASSIGN BLOCKS: blocks that an application client makes unreadable (pseudo unrecovered
/// errors, SBC-4 clause 4.18.2). They stay so over restarts, until they are written, reassigned or given back.
extension DiskDeviceServer {
    // MARK: WRITE LONG(10) and (16) (SBC-4 clauses 5.53 and 5.54)

    /// COR_DIS decides how hard a device tries to read such a block, and WR_UNCOR that there is one. To write a block
    /// with errors of its own choice (WR_UNCOR zero) an initiator would need a code of the device's, which a file has
    /// not.
    func writeLong(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let isLong = block.operationCode == OperationCode.serviceActionOut16
        let first = isLong ? block.bytes.loadBE64(at: 2) : UInt64(block.bytes.loadBE32(at: 2))
        guard first < blockCount else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        guard block[1] & 0x40 != 0 else { return task.failInvalidField(byte: 1, bit: 6) }
        // BYTE TRANSFER LENGTH: no data belong to a pseudo unrecovered error.
        guard block.bytes.loadBE16(at: isLong ? 12 : 7) == 0 else {
            return task.failInvalidField(byte: isLong ? 12 : 7)
        }
        image.prepareMarking(task.fileRequest, first: first)
        if let sense = otherMediumSense(task) {
            task.fileRequest.medium = nil
            return task.fail(sense)
        }
        return submit(task, .mark)
    }

    func marked(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        switch result {
        case .failed(.hostFull): task.fail(.illegalRequest, .insufficientResources)
        case .failed(let failure): failWrite(task, failure, block: nil)
        case .done, .wouldBlock: task.good()
        }
    }

    // MARK: READ LONG(10) and (16) (SBC-3 clauses 5.17 and 5.18)

    /// Reads a block, marked or not. It has no more bytes than other reads give, so that is the only length.
    func readLong(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let isLong = block.operationCode == OperationCode.serviceActionIn16
        let first = isLong ? block.bytes.loadBE64(at: 2) : UInt64(block.bytes.loadBE32(at: 2))
        guard first < blockCount else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        let length = Int(block.bytes.loadBE16(at: isLong ? 12 : 7))
        guard length > 0 else { return task.good() }
        guard length == blockSize else {
            // INFORMATION: by how much the requested length is more than the actual one.
            var sense = SenseData.invalidField(byte: isLong ? 12 : 7)
            sense.isIncorrectLength = true
            sense.information = Int64(length - blockSize)
            return task.fail(sense)
        }
        guard let lease = task.lease(length) else { return .complete }
        task.fileRequest.payload.lease = consume lease
        image.prepareLongRead(task.fileRequest, first: first)
        return submit(task, .longRead)
    }

    func longReadCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard result == .done else {
            task.fileRequest.payload.lease = nil
            let first =
                block.operationCode == OperationCode.serviceActionIn16
                ? block.bytes.loadBE64(at: 2) : UInt64(block.bytes.loadBE32(at: 2))
            return task.fail(
                SenseData(.mediumError, .unrecoveredReadError, information: Int64(bitPattern: first)))
        }
        task.dataIn.lease = task.fileRequest.payload.lease.take()
        return task.good()
    }

    // MARK: REASSIGN BLOCKS (SBC-4 clause 5.27)

    /// The most bytes of a parameter list.
    private static let maximumReassignListLength = 65536

    /// The command does not say how long its parameter list is, only the list does: what the initiator has is taken.
    func beginReassign(_ task: SCSITask) -> CommandProgress {
        guard task.expectedDataOutLength >= 4 else { return task.fail(.illegalRequest, .parameterListLengthError) }
        return .awaitDataOut(length: min(task.expectedDataOutLength, Self.maximumReassignListLength))
    }

    /// The addresses of a defective LBA list, from short (4 bytes) or long (8 bytes) ones; nil when it is not whole.
    private func reassignedBlocks(_ task: SCSITask) -> [UInt64]? {
        let flags = task.commandDescriptorBlock[1]
        let list = task.parameterList()
        guard list.count >= 4 else { return nil }
        // LONGLIST; LONGLBA.
        let length = flags & 0x01 != 0 ? Int(list.rawSpan.loadBE32(at: 0)) : Int(list.rawSpan.loadBE16(at: 2))
        let size = flags & 0x02 != 0 ? 8 : 4
        guard length <= list.count - 4, length % size == 0 else { return nil }
        return stride(from: 4, to: 4 + length, by: size).map { offset in
            size == 8 ? list.rawSpan.loadBE64(at: offset) : UInt64(list.rawSpan.loadBE32(at: offset))
        }
    }

    /// The blocks that REASSIGN BLOCKS changes: those of its list that are marked.
    func reassignedExtents(_ task: SCSITask) -> [BlockExtent] {
        guard image.hasMarks else { return [] }
        return (reassignedBlocks(task) ?? []).filter { image.isMarked($0) }.map { BlockExtent(first: $0, count: 1) }
    }

    /// A file has other places for blocks by itself. So all blocks of the list are reassigned with their data; of those
    /// that are marked, whose data cannot be read, zeros are written.
    func reassign(_ task: SCSITask) -> CommandProgress {
        let list = task.parameterList()
        // Reserved bytes of the short header.
        let isShort = task.commandDescriptorBlock[1] & 0x01 == 0
        if isShort, list.count >= 4, let byte = (0...1).first(where: { list[$0] != 0 }) {
            return task.failInvalidParameter(byte: byte)
        }
        guard let blocks = reassignedBlocks(task) else { return task.fail(.illegalRequest, .parameterListLengthError) }
        if let wrong = blocks.first(where: { $0 >= blockCount }) {
            var sense = SenseData(.illegalRequest, .logicalBlockAddressOutOfRange)
            // The first address that is not reassigned: none is, when one is wrong.
            sense.commandSpecificInformation = blocks.first ?? wrong
            return task.fail(sense)
        }
        guard image.hasMarks else { return task.good() }
        if let sense = beginWriting(task) { return task.fail(sense) }
        return reassignNext(task, blocks)
    }

    private func reassignNext(_ task: SCSITask, _ blocks: [UInt64]) -> CommandProgress {
        while task.progressCount < blocks.count {
            let block = blocks[task.progressCount]
            task.progressCount += 1
            guard image.isMarked(block) else { continue }
            image.prepareZeros(task.fileRequest, first: block, blocks: 1)
            return submit(task, .reassign)
        }
        return task.step == DiskStep.none.rawValue ? task.good() : synchronizeWritten(task, .synchronize)
    }

    func reassigned(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        let blocks = reassignedBlocks(task) ?? []
        if case .failed(let failure) = result {
            return failWrite(task, failure, block: blocks[task.progressCount - 1])
        }
        return reassignNext(task, blocks)
    }
}
