internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// Where a command with slow operations is; kept in `SCSITask.step` while one is under way.
enum DiskStep: Int {
    /// Nothing has been submitted yet.
    case none
    /// A command that changes the medium waits at the gate.
    case atGate
    /// READ with FUA makes cached data durable first.
    case synchronizeBeforeRead
    /// READ reads some of its blocks.
    case read
    /// READ reads its blocks again, inside the gate, because there was an atomic write meanwhile.
    case readInGate
    /// READ failed: looks for the first bad block.
    case findBadBlock
    /// A WRITE writes some of its blocks.
    case write
    /// WRITE ATOMIC writes all of its blocks.
    case writeAtomically
    /// WRITE AND VERIFY writes, then makes durable, and then verifies.
    case writeBeforeVerify, synchronizeBeforeVerify
    /// VERIFY reads some of its blocks.
    case verify
    /// COMPARE AND WRITE and ORWRITE read their blocks, and write them.
    case compare, or
    /// WRITE SAME writes some of its blocks, or zeros.
    case fill, zero
    /// UNMAP and WRITE SAME free some storage.
    case deallocate
    /// GET LBA STATUS asks.
    case provisioning
    /// The last step: everything written becomes durable.
    case synchronize
    /// START STOP UNIT makes everything durable before it stops.
    case synchronizeBeforeStop
    /// START STOP UNIT makes everything durable before the medium goes, and has that kept; or has kept that it is back.
    case synchronizeBeforeEject, keepEjected, keepLoaded
    /// PRE-FETCH reads some of its blocks.
    case prefetch
    /// SANITIZE and FORMAT UNIT have their operation kept with the image, so that it may begin.
    case keepOperation
    /// SANITIZE, EXIT FAILURE MODE has the kept failure removed.
    case exitFailureMode
    /// READ LONG reads its block.
    case longRead
    /// WRITE LONG has its block marked.
    case mark
    /// REASSIGN BLOCKS writes zeros to a block that was marked.
    case reassign
    /// The protection information of a Data-Out is checked.
    case checkDataOut
    /// A copy operation reads, writes, frees storage, or makes durable.
    case copyRead, copyWrite, copyZero, copySynchronize
}

/// The steps that handlers are made of.
extension DiskDeviceServer {
    /// The most bytes that one step reads or writes, so that other media come in between.
    static let pieceLength = 4 << 20

    /// How many bytes so many blocks are.
    func byteCount(_ blocks: UInt64) -> Int { Int(blocks << blockShift) }

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

    /// The blocks of `extent` that come next when `progressCount` of them are done; nil when all are.
    func nextPiece(_ task: SCSITask, _ extent: BlockExtent) -> BlockExtent? {
        let done = UInt64(task.progressCount)
        guard done < extent.count else { return nil }
        let limit = UInt64(Self.pieceLength) >> blockShift
        return BlockExtent(first: extent.first + done, count: min(limit, extent.count - done))
    }

    /// Counts the blocks of the step that has ended as done.
    func countPiece(_ task: SCSITask) {
        task.progressCount += task.fileRequest.count >> Int(blockShift)
    }

    /// Hands the task's prepared request to the image's lane. When it is the command's first step and the lane is full,
    /// the command ends with BUSY: nothing has changed yet.
    func submit(_ task: SCSITask, _ step: DiskStep) -> CommandProgress {
        guard task.step == DiskStep.none.rawValue else { return submitContinuation(task, step) }
        task.step = step.rawValue
        guard image.lane.submit(task.fileRequest, on: task.reactor) else {
            task.fileRequest.payload.lease = nil
            task.fileRequest.medium = nil
            return task.end(.busy)
        }
        return .pending
    }

    /// Hands the task's prepared request to the image's lane, which takes it however full it is: the command has begun.
    func submitContinuation(_ task: SCSITask, _ step: DiskStep) -> CommandProgress {
        task.step = step.rawValue
        image.lane.submitContinuation(task.fileRequest, on: task.reactor)
        return .pending
    }

    /// Reads blocks into the lease of the file request.
    func submitRead(
        _ task: SCSITask, at leaseOffset: Int = 0, _ piece: BlockExtent, _ step: DiskStep
    ) -> CommandProgress {
        if protection(task) == nil {
            image.prepareRead(task.fileRequest, at: leaseOffset, first: piece.first, blocks: piece.count)
        } else {
            prepareProtectedRead(task, at: leaseOffset, piece, step)
        }
        return submit(task, step)
    }

    /// Writes blocks from the lease of the file request.
    func submitWrite(
        _ task: SCSITask, at leaseOffset: Int = 0, _ piece: BlockExtent, _ step: DiskStep
    ) -> CommandProgress {
        prepareWrite(task, at: leaseOffset, piece)
        return submit(task, step)
    }

    /// Makes the file request write blocks from its lease.
    func prepareWrite(_ task: SCSITask, at leaseOffset: Int, _ piece: BlockExtent) {
        if protection(task) == nil {
            image.prepareWrite(task.fileRequest, at: leaseOffset, first: piece.first, blocks: piece.count)
        } else {
            prepareProtectedWrite(task, at: leaseOffset, piece)
        }
    }

    /// Goes on where the task's operation leaves it.
    func stepCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard let step = DiskStep(rawValue: task.step) else { preconditionFailure("a step that no handler set") }
        let result = image.outcome(of: task.fileRequest)
        // No other steps of commands with protection information go on while a format operation begins, but
        // `synchronizeBeforeRead`, which looks itself.
        switch step {
        case .read, .findBadBlock, .verify, .checkDataOut:
            guard let sense = formerProtectionSense(task) else { break }
            task.fileRequest.payload.lease = nil
            task.dataOut.lease = nil
            return task.fail(sense)
        default: break
        }
        switch step {
        case .none, .atGate: preconditionFailure("no operation was under way")
        case .synchronizeBeforeRead: return synchronizedBeforeRead(task)
        case .read: return readCompleted(task, result)
        case .readInGate: return readInGateCompleted(task, result)
        case .writeAtomically: return writeAtomicallyCompleted(task, result)
        case .findBadBlock: return badBlockSearchCompleted(task, result)
        case .write: return writeCompleted(task, result)
        case .writeBeforeVerify: return writeBeforeVerifyCompleted(task, result)
        case .synchronizeBeforeVerify: return synchronizedBeforeVerify(task)
        case .verify: return verifyReadCompleted(task, result)
        case .compare: return compareReadCompleted(task, result)
        case .or: return orReadCompleted(task, result)
        case .fill: return fillCompleted(task, result)
        case .zero: return zeroed(task, result)
        case .deallocate: return deallocated(task, result)
        case .provisioning: return provisioningFound(task, result)
        case .synchronize: return synchronized(task)
        case .synchronizeBeforeStop: return synchronizedBeforeStop(task)
        case .synchronizeBeforeEject: return synchronizedBeforeEject(task, nexus)
        case .keepEjected: return ejectionKept(task)
        case .keepLoaded: return loadKept(task)
        case .prefetch: return prefetchCompleted(task, result)
        case .keepOperation: return operationKept(task, result)
        case .exitFailureMode: return failureModeExited(task, result)
        case .longRead: return longReadCompleted(task, result)
        case .mark: return marked(task, result)
        case .reassign: return reassigned(task, result)
        case .checkDataOut: return dataOutChecked(task, nexus, result)
        case .copyRead, .copyWrite, .copyZero, .copySynchronize: return copyStepCompleted(task, step)
        }
    }

    // MARK: Failures

    /// The sense data of a write that failed, with the block where it did, where that is known. A full host is no
    /// medium error: it can end, and initiators that know thin provisioning wait for that (SBC-4 clause 4.7.3.6).
    static func writeFailure(_ failure: MediaFailure, block: UInt64?) -> SenseData {
        let information = block.map { Int64(bitPattern: $0) }
        return switch failure {
        case .hostFull: SenseData(.dataProtect, .spaceAllocationFailed, information: information)
        case .writeProtected: SenseData(.dataProtect, .writeProtected)
        case .replaced: SenseData(.unitAttention, .mediumMayHaveChanged)
        default: SenseData(.mediumError, .writeError, information: information)
        }
    }

    /// Ends a command that could not write all of what begins at `block`, where that is known.
    func failWrite(_ task: SCSITask, _ failure: MediaFailure, block: UInt64?) -> CommandProgress {
        task.fileRequest.payload.lease = nil
        return task.fail(Self.writeFailure(failure, block: block))
    }

    // MARK: Durability

    /// Whether a write command must be durable before it ends: FUA is one (where the command has it), or there is no
    /// write cache.
    func mustBeDurable(_ task: SCSITask) -> Bool {
        let block = task.commandDescriptorBlock
        switch block.operationCode {
        case OperationCode.write6, OperationCode.unmap, OperationCode.writeSame10, OperationCode.writeSame16:
            return !isWriteCacheEnabled
        case OperationCode.variableLength where block.variableLengthServiceAction == VariableLengthAction.writeSame32:
            return !isWriteCacheEnabled
        default: return block.flags & 0x08 != 0 || !isWriteCacheEnabled
        }
    }

    /// Ends a write command: when its data are durable, or at once.
    func finishWrite(_ task: SCSITask) -> CommandProgress {
        if mustBeDurable(task) { return synchronizeWritten(task, .synchronize) }
        // First the mark, then the question: a loss that comes in between finds this nexus, one that came before is
        // found.
        if let nexus = task.nexus, !nexus.hasBufferedWrites {
            nexus.hasBufferedWrites = true
            atomicMemoryFence(ordering: .sequentiallyConsistent)
        }
        if let failure = image.loss(since: task.fileRequest) { return failWrite(task, failure, block: nil) }
        return task.good()
    }

    /// Makes durable what the command itself has written, among everything else.
    func synchronizeWritten(_ task: SCSITask, _ step: DiskStep) -> CommandProgress {
        image.prepareSynchronize(task.fileRequest)
        return submitContinuation(task, step)
    }

    /// Makes durable what was written by earlier commands of any nexus.
    func synchronizeBuffered(_ task: SCSITask, _ step: DiskStep) -> CommandProgress {
        image.beginWriting(task.fileRequest)
        image.prepareSynchronize(task.fileRequest)
        guard let nexus = task.nexus else { return submit(task, step) }
        // Before it is handed over: a copy of another reactor may write, and mark the nexus, right after that. If the
        // command fails, that tells of all before.
        let hadBufferedWrites = nexus.hasBufferedWrites
        nexus.hasBufferedWrites = false
        let progress = submit(task, step)
        if progress != .pending, hadBufferedWrites { noteBufferedWrites(task, nexus) }
        return progress
    }

    /// Ends a command whose last step made everything durable.
    func synchronized(_ task: SCSITask) -> CommandProgress {
        synchronizationFailure(task) ?? task.good()
    }

    /// Why the file request did not make everything durable; nil when it did.
    func synchronizationFailure(_ task: SCSITask) -> CommandProgress? {
        guard case .failed(let failure) = image.outcome(of: task.fileRequest) else { return nil }
        return failWrite(task, failure, block: nil)
    }

    /// Marks a nexus again whose data the command did not make durable, and tells it of a loss that came meanwhile.
    private func noteBufferedWrites(_ task: SCSITask, _ nexus: ITLNexus) {
        nexus.hasBufferedWrites = true
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if let failure = image.loss(since: task.fileRequest) {
            nexus.establishDeferredError(Self.writeFailure(failure, block: nil))
        }
    }

    /// Notes what an aborted command would have reported: that earlier writes of its nexus are durable, or are not.
    func stepAbandoned(_ task: SCSITask, _ nexus: ITLNexus) {
        switch DiskStep(rawValue: task.step) {
        case .synchronizeBeforeEject:
            mediumMoveAbandoned(task)
            writeGate.leaveAlone()
        case .keepEjected, .keepLoaded: mediumMoveAbandoned(task)
        default: break
        }
        switch DiskStep(rawValue: task.step) {
        case .synchronize, .synchronizeBeforeRead, .synchronizeBeforeStop, .synchronizeBeforeEject:
            noteBufferedWrites(task, nexus)
        case .readInGate: writeGate.leave()
        case .writeAtomically: endAtomicWrite()
        case .keepOperation: operationAbandoned(task)
        case .exitFailureMode:
            endFailureMode(image.outcome(of: task.fileRequest), by: task.nexus?.iTNexus.initiatorPort.name)
        default: break
        }
    }
}
