internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// WRITE ATOMIC (SBC-4 clauses 4.29 and 5.48).
///
/// No command finds a part of an atomic write: it is alone inside the write gate, and a READ that met one is repeated.
/// No failure, abort or crash leaves a part of it either (`DiskImage.prepareAtomicWrite`), and it is durable when it
/// ends, whether FUA is one or not.
extension DiskDeviceServer {
    /// MAXIMUM ATOMIC TRANSFER LENGTH in blocks; zero where the host's medium has no place beside it, and then the
    /// command is not supported.
    var maximumAtomicBlocks: UInt64 { UInt64(image.maximumAtomicLength) >> blockShift }

    func beginWriteAtomic(_ task: SCSITask) -> CommandProgress {
        guard maximumAtomicBlocks > 0 else { return unknownCommand(.unknownOperationCode, task) }
        let block = task.commandDescriptorBlock
        let extent = BlockExtent(block)
        guard extent.isInside(blockCount) else {
            return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
        }
        // ATOMIC BOUNDARY: one operation for all blocks is what there is (MAXIMUM ATOMIC BOUNDARY SIZE zero).
        guard block.bytes.loadBE16(at: 10) == 0 else { return task.failInvalidField(byte: 10) }
        guard extent.count <= maximumAtomicBlocks else {
            return task.failInvalidField(byte: BlockExtent.lengthOffset(block.operationCode))
        }
        // All the data or none of them: fewer than the command names are refused.
        return .awaitDataOut(length: byteCount(extent.count))
    }

    func writeAtomic(_ task: SCSITask) -> CommandProgress {
        guard let data = task.dataOut.lease.take() else { return task.good() }
        let extent = writtenExtent(task, data)
        let request = task.fileRequest
        if let sense = beginWriting(task) { return task.fail(sense) }
        request.payload.lease = consume data
        image.prepareAtomicWrite(request, first: extent.first, blocks: extent.count)
        atomicWriteCount.add(1, ordering: .acquiringAndReleasing)
        let progress = submit(task, .writeAtomically)
        if progress == .complete { endAtomicWrite() }
        return progress
    }

    func writeAtomicallyCompleted(_ task: SCSITask, _ result: MediaResult) -> CommandProgress {
        endAtomicWrite()
        if case .failed(let failure) = result { return failWrite(task, failure, block: nil) }
        task.fileRequest.payload.lease = nil
        return task.good()
    }

    func endAtomicWrite() {
        atomicWriteCount.add(1, ordering: .acquiringAndReleasing)
    }
}
