internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// Where a command with slow file operations is; kept in `SCSITask.step` while one is under way.
enum DiskStep: Int {
    /// READ with FUA makes cached data durable first.
    case synchronizeBeforeRead
    /// READ reads all its blocks.
    case read
    /// READ failed: looks for the first bad block.
    case findBadBlock
    /// A WRITE writes all its blocks.
    case write
    /// WRITE AND VERIFY writes, then makes durable, and then verifies.
    case writeBeforeVerify, synchronizeBeforeVerify
    /// VERIFY reads some of its blocks.
    case verify
    /// COMPARE AND WRITE and ORWRITE read all their blocks, and write them.
    case compare, or
    /// WRITE SAME writes some of its blocks.
    case fill
    /// UNMAP and WRITE SAME free storage.
    case deallocate
    /// The last step: everything written becomes durable.
    case synchronize
    /// START STOP UNIT makes everything durable before it stops.
    case synchronizeBeforeStop
    /// PRE-FETCH reads some of its blocks.
    case prefetch
}

/// What a nexus has been told about lost writes. Only the reactor of the nexus uses it.
final class LossRecord: Sendable {
    /// How many losses it knows of.
    let losses: Atomic<Int>

    init(losses: Int) {
        self.losses = Atomic(losses)
    }
}

/// The steps that handlers are made of.
extension DiskDeviceServer {
    /// MAXIMUM TRANSFER LENGTH in blocks.
    var maximumTransferBlocks: UInt64 { UInt64(Self.maximumTransferLength) >> blockShift }

    /// How many bytes so many blocks are.
    func byteCount(_ blocks: UInt64) -> Int { Int(blocks << blockShift) }

    /// Where a block is in the image.
    func byteOffset(_ block: UInt64) -> Int64 { Int64(block << blockShift) }

    /// Why an extent is refused, if it is: it leaves the medium, or it has more blocks than `limit`.
    func refusal(_ extent: BlockExtent, limit: UInt64, _ task: SCSITask) -> CommandProgress? {
        guard extent.isInside(blockCount) else {
            return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
        }
        guard extent.count <= limit else {
            return task.failInvalidField(
                byte: BlockExtent.lengthOffset(task.commandDescriptorBlock.operationCode))
        }
        return nil
    }

    /// Hands the task's file request to the engine; BUSY when its queue is full.
    func submit(_ task: SCSITask, _ operation: FileRequest.Operation, _ step: DiskStep) -> CommandProgress {
        let request = task.fileRequest
        request.operation = operation
        request.store = file
        task.step = step.rawValue
        guard task.reactor.fileEngine.submit(request, on: task.reactor) else {
            request.lease = nil
            return task.end(.busy)
        }
        return .pending
    }

    /// Hands a transfer of `count` bytes between the lease of the file request and the image to the engine.
    func submitTransfer(
        _ task: SCSITask, _ operation: FileRequest.Operation, leaseOffset: Int = 0, count: Int, offset: Int64,
        _ step: DiskStep
    ) -> CommandProgress {
        let request = task.fileRequest
        request.leaseOffset = leaseOffset
        request.count = count
        request.fileOffset = offset
        return submit(task, operation, step)
    }

    /// Goes on where the task's file operation leaves it.
    func fileStepCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard let step = DiskStep(rawValue: task.step) else { preconditionFailure("a step that no handler set") }
        let result = transferResult(task)
        switch step {
        case .synchronizeBeforeRead: return synchronizedBeforeRead(task)
        case .read: return readCompleted(task, result)
        case .findBadBlock: return badBlockSearchCompleted(task, result)
        case .write: return writeCompleted(task, result)
        case .writeBeforeVerify: return writeBeforeVerifyCompleted(task, result)
        case .synchronizeBeforeVerify: return synchronizedBeforeVerify(task)
        case .verify: return verifyReadCompleted(task, result)
        case .compare: return compareReadCompleted(task, result)
        case .or: return orReadCompleted(task, result)
        case .fill: return fillCompleted(task, result)
        case .deallocate: return deallocated(task, result)
        case .synchronize: return synchronized(task)
        case .synchronizeBeforeStop: return synchronizedBeforeStop(task)
        case .prefetch: return prefetchCompleted(task, result)
        }
    }

    /// The outcome of the task's transfer; other operations count as done when they succeeded.
    private func transferResult(_ task: SCSITask) -> MediaResult {
        let request = task.fileRequest
        switch request.operation {
        case .read, .write: return RawDiskImage.result(request.result, count: request.count)
        default: return RawDiskImage.result(request.result, count: 0)
        }
    }

    // MARK: Failures

    /// Ends a command that could not write all of what begins at `block`, where that is known. A full host is no medium
    /// error: it can end, and initiators that know thin provisioning wait for that (SBC-4 clause 4.7.3.6).
    func failWrite(_ task: SCSITask, _ failure: MediaFailure, block: UInt64?) -> CommandProgress {
        let information = block.map { Int64(bitPattern: $0) }
        if failure == .hostFull {
            return task.fail(SenseData(.dataProtect, .spaceAllocationFailed, information: information))
        }
        return task.fail(SenseData(.mediumError, .writeError, information: information))
    }

    // MARK: Durability

    /// Whether a write command must be durable before it ends: FUA is one (where the command has it), or there is no
    /// write cache.
    func mustBeDurable(_ task: SCSITask) -> Bool {
        let block = task.commandDescriptorBlock
        switch block.operationCode {
        case OperationCode.write6, OperationCode.unmap, OperationCode.writeSame10, OperationCode.writeSame16:
            return !isWriteCacheEnabled
        default: return block[1] & 0x08 != 0 || !isWriteCacheEnabled
        }
    }

    /// Ends a write command: at once, or when its data are durable.
    func finishWrite(_ task: SCSITask) -> CommandProgress {
        mustBeDurable(task) ? submit(task, .synchronizeData, .synchronize) : task.good()
    }

    /// Ends a command whose last step made everything durable.
    func synchronized(_ task: SCSITask) -> CommandProgress {
        synchronizationFailure(task) ?? task.good()
    }

    /// Why the file request did not make everything durable; nil when it did.
    ///
    /// The host tells a loss of written data once. So it is remembered, and every nexus hears of it: each may have
    /// been the one whose writes ended with GOOD.
    func synchronizationFailure(_ task: SCSITask) -> CommandProgress? {
        guard let nexus = task.nexus else { preconditionFailure("a running task has a nexus") }
        let reported = lossRecord(nexus)
        switch task.fileRequest.result {
        case .done: break
        case .failed(Errno.noSpace), .failed(Errno.quotaExceeded):
            reported.losses.store(lostWrites.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
            return task.fail(.dataProtect, .spaceAllocationFailed)
        case .failed, .wouldBlock:
            reported.losses.store(lostWrites.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
            return task.fail(.mediumError, .writeError)
        }
        let losses = lostWrites.load(ordering: .relaxed)
        guard reported.losses.exchange(losses, ordering: .relaxed) != losses else { return nil }
        return task.fail(.mediumError, .writeError)
    }

    /// What this nexus has been told about lost writes.
    func lossRecord(_ nexus: ITLNexus) -> LossRecord {
        nexus.state(orMake: { LossRecord(losses: lostWrites.load(ordering: .relaxed)) })
    }
}
