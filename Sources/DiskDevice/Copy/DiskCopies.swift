internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// How copy operations run: piece after piece is read from the source and written to the destination.
///
/// A piece waits in the lanes of both disks as a READ and a WRITE do, and passes the destination's write gate, so that
/// COMPARE AND WRITE stays atomic there. Before each piece it is asked again whether the initiator reaches the disks,
/// and whether they may be read and written.
extension DiskDeviceServer {
    /// The bytes of a copy's buffer: a piece, and what blocks at its ends have beside it.
    private static let copyBufferLength = CopyLimit.bufferLength + 2 * 4096

    // MARK: Beginning

    /// Begins an operation of `task`.
    func beginCopy(_ task: SCSITask, _ operation: CopyOperation, identifierOffset: Int?) -> CommandProgress {
        task.dataOut.lease = nil
        switch copyManager.begin(operation, of: task) {
        case nil: break
        case .limit: return task.end(.busy)
        case .duplicate(let serviceAction):
            // The two forms of EXTENDED COPY do not share a list identifier (SPC-5 clause 6.4.3.2).
            let areForms = serviceAction <= 1 && operation.serviceAction <= 1
            if areForms, serviceAction != operation.serviceAction, let identifierOffset {
                return task.failInvalidParameter(byte: identifierOffset)
            }
            return task.fail(.illegalRequest, .operationInProgress)
        }
        if case .populate = operation.work { return populate(task, operation) }
        guard let lease = task.reactor.pool.lease(capacity: Self.copyBufferLength) else {
            copyManager.withdraw(task)
            return task.end(.taskSetFull)
        }
        task.fileRequest.payload.lease = consume lease
        return continueCopy(task, operation)
    }

    // MARK: Pieces

    /// Begins the next piece, or what comes when there is none.
    private func continueCopy(_ task: SCSITask, _ operation: CopyOperation) -> CommandProgress {
        while true {
            if operation.isToEnd { return endCopy(task, operation, failure(.commandsClearedByDeviceServer, operation)) }
            guard let transfer = operation.transfer else {
                guard case .segments(let list) = operation.work, operation.nextSegment < list.segments.count else {
                    return endCopy(task, operation, nil)
                }
                operation.nextSegment += 1
                switch copyTransfer(list, operation) {
                case .failure(let sense): return endCopy(task, operation, .aborted(sense))
                case .success(let transfer): startTransfer(task, operation, transfer)
                }
                continue
            }
            guard let piece = transfer.piece(after: operation.done) else {
                if let progress = endTransfer(task, operation, transfer) { return progress }
                continue
            }
            if let refusal = refusal(of: transfer, operation) { return endCopy(task, operation, refusal) }
            operation.piece = piece
            (operation.read, operation.skew) = (0, 0)
            return transfer.source == nil
                ? enterGate(task, operation, transfer) : readPiece(task, operation, transfer, piece)
        }
    }

    /// Makes a transfer the one that is under way.
    func startTransfer(_ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer) {
        operation.transfer = transfer
        operation.done = 0
        transfer.destination.disk.image.beginWriting(task.fileRequest)
    }

    /// Reads what is missing of a piece, or writes it.
    private func readPiece(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer, _ piece: CopyTransfer.Piece
    ) -> CommandProgress {
        guard let source = transfer.source, let reading = transfer.reading(piece, after: operation.read) else {
            if let lease = task.fileRequest.payload.lease.take() {
                task.fileRequest.payload.lease = Self.padded(
                    lease, from: operation.skew + operation.read, to: operation.skew + piece.count)
            }
            return enterGate(task, operation, transfer)
        }
        // Only the first block of a piece can begin before it.
        if operation.read == 0 { operation.skew = reading.skew }
        return enterSource(task, operation, source.disk, reading)
    }

    /// Reads in the gate of the source: a command that changes it alone is not seen in its middle.
    private func enterSource(
        _ task: SCSITask, _ operation: CopyOperation, _ disk: DiskDeviceServer, _ reading: CopyTransfer.Reading,
        isWoken: Bool = false
    ) -> CommandProgress {
        operation.gate = .read(disk)
        guard disk.writeGate.enter(task, isWoken: isWoken) != .parked else { return .pending }
        return submitReading(task, operation, disk, reading)
    }

    private func submitReading(
        _ task: SCSITask, _ operation: CopyOperation, _ disk: DiskDeviceServer, _ reading: CopyTransfer.Reading
    ) -> CommandProgress {
        // It may have been parked for some time.
        if let transfer = operation.transfer, let refusal = refusal(of: transfer, operation) {
            return endCopy(task, operation, refusal)
        }
        disk.image.prepareRead(
            task.fileRequest, at: operation.read == 0 ? 0 : operation.skew + operation.read,
            first: reading.blocks.first, blocks: reading.blocks.count)
        return submitCopy(task, operation, to: disk, .copyRead)
    }

    /// A buffer whose bytes from `start` to `end` are zero, and data.
    private static func padded(
        _ lease: consuming BufferLease, from start: Int, to end: Int
    ) -> BufferLease {
        if start < end {
            var target = lease.mutableBytes
            target.fill(at: start, count: end - start)
        }
        lease.setCount(max(lease.count, end))
        return lease
    }

    /// Hands the prepared request to the lane of `disk`. While nothing has begun, a full lane ends the command with
    /// BUSY.
    private func submitCopy(
        _ task: SCSITask, _ operation: CopyOperation, to disk: DiskDeviceServer, _ step: DiskStep
    ) -> CommandProgress {
        task.step = step.rawValue
        guard !operation.hasBegun else {
            disk.image.lane.submitContinuation(task.fileRequest, on: task.reactor)
            return .pending
        }
        guard disk.image.lane.submit(task.fileRequest, on: task.reactor) else {
            task.fileRequest.medium = nil
            return withdrawCopy(task, operation)
        }
        operation.hasBegun = true
        return .pending
    }

    /// Ends a command with BUSY that has changed nothing.
    private func withdrawCopy(_ task: SCSITask, _ operation: CopyOperation) -> CommandProgress {
        leaveCopyGate(operation)
        releaseCopy(task, operation, hasFailed: true)
        copyManager.withdraw(task)
        return task.end(.busy)
    }

    // MARK: The write gate

    private func enterGate(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer, isWoken: Bool = false
    ) -> CommandProgress {
        let disk = transfer.destination.disk
        operation.gate = .write(disk)
        switch disk.writeGate.enter(task, isWoken: isWoken) {
        case .parked: return .pending
        case .entered: break
        case .enteredWatched: sayCopyChange(operation, disk)
        }
        return writePiece(task, operation, transfer)
    }

    private func sayCopyChange(_ operation: CopyOperation, _ disk: DiskDeviceServer) {
        guard let piece = operation.piece else { return }
        disk.representedBlocks.willChange([piece.destination], copyManager.tokens.now)
    }

    /// A copy operation that was parked at a gate is inside, or tries again.
    func copyPassesGate(_ task: SCSITask) -> CommandProgress {
        guard let operation = copyManager.operation(of: task) else {
            return task.fail(.hardwareError, .internalTargetFailure)
        }
        let isInside = isInsideGate(task)
        switch operation.gate {
        case .alone: return isInside ? populateAlone(task, operation) : populate(task, operation, isWoken: true)
        case .read(let disk):
            guard let transfer = operation.transfer, let piece = operation.piece,
                let reading = transfer.reading(piece, after: operation.read)
            else { return endCopy(task, operation, nil) }
            return isInside
                ? submitReading(task, operation, disk, reading)
                : enterSource(task, operation, disk, reading, isWoken: true)
        case .write(let disk):
            guard let transfer = operation.transfer else { return endCopy(task, operation, nil) }
            guard isInside else { return enterGate(task, operation, transfer, isWoken: true) }
            if disk.writeGate.isWatched { sayCopyChange(operation, disk) }
            return writePiece(task, operation, transfer)
        case nil: return endCopy(task, operation, nil)
        }
    }

    private func leaveCopyGate(_ operation: CopyOperation) {
        switch operation.gate {
        case .read(let disk), .write(let disk): disk.writeGate.leave()
        case .alone: writeGate.leaveAlone()
        case nil: break
        }
        operation.gate = nil
    }

    /// Writes the piece in the buffer, in the gate.
    private func writePiece(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer
    ) -> CommandProgress {
        guard let piece = operation.piece else { return endCopy(task, operation, nil) }
        // It may have been parked for some time.
        if let refusal = refusal(of: transfer, operation) { return endCopy(task, operation, refusal) }
        let (disk, request) = (transfer.destination.disk, task.fileRequest)
        guard transfer.source != nil else {
            disk.image.prepareDeallocate(request, first: piece.destination.first, blocks: piece.destination.count)
            return submitCopy(task, operation, to: disk, .copyZero)
        }
        disk.image.prepareWrite(
            request, at: operation.skew, first: piece.destination.first, blocks: piece.destination.count)
        return submitCopy(task, operation, to: disk, .copyWrite)
    }

    // MARK: Completed steps

    func copyStepCompleted(_ task: SCSITask, _ step: DiskStep) -> CommandProgress {
        guard let operation = copyManager.operation(of: task), let transfer = operation.transfer else {
            return task.fail(.hardwareError, .internalTargetFailure)
        }
        switch step {
        case .copyRead: return copyReadCompleted(task, operation, transfer)
        case .copySynchronize: return copySynchronized(task, operation, transfer)
        default: return copyWriteCompleted(task, operation, transfer)
        }
    }

    private func copyReadCompleted(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer
    ) -> CommandProgress {
        leaveCopyGate(operation)
        guard let source = transfer.source, let piece = operation.piece else { return endCopy(task, operation, nil) }
        if case .failed(let failed) = source.disk.image.outcome(of: task.fileRequest) {
            let code: AdditionalSenseCode = failed == .marked ? .markedBadByApplicationClient : .unrecoveredReadError
            let sense = source.disk.protectionSense(task) ?? SenseData(.mediumError, code)
            return endCopy(
                task, operation, failure(of: source, isDestination: false, (.checkCondition, sense), operation))
        }
        operation.operations &+= 1
        operation.read += transfer.reading(piece, after: operation.read)?.count ?? 0
        return readPiece(task, operation, transfer, piece)
    }

    private func copyWriteCompleted(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer
    ) -> CommandProgress {
        leaveCopyGate(operation)
        guard let piece = operation.piece.take() else { return endCopy(task, operation, nil) }
        let destination = transfer.destination
        if case .failed(let failed) = destination.disk.image.outcome(of: task.fileRequest) {
            let sense = Self.writeFailure(failed, block: piece.destination.first)
            return endCopy(
                task, operation, failure(of: destination, isDestination: true, (.checkCondition, sense), operation))
        }
        operation.operations &+= 1
        operation.done += piece.count
        operation.written += piece.count
        return continueCopy(task, operation)
    }

    /// All of a transfer is written. It is over at once, or when it is durable, where the destination has no write
    /// cache; nil when what comes next may begin.
    private func endTransfer(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer
    ) -> CommandProgress? {
        let destination = transfer.destination
        guard transfer.length > 0 else {
            if case .transfer = operation.work { return endCopy(task, operation, nil) }
            operation.transfer = nil
            return nil
        }
        if !destination.disk.isWriteCacheEnabled {
            destination.disk.image.prepareSynchronize(task.fileRequest)
            return submitCopy(task, operation, to: destination.disk, .copySynchronize)
        }
        // First the mark, then the question, as a WRITE does.
        destination.nexus?.hasBufferedWrites = true
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return concludeTransfer(task, operation, transfer, destination.disk.image.loss(since: task.fileRequest))
    }

    private func copySynchronized(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer
    ) -> CommandProgress {
        var failed: MediaFailure?
        if case .failed(let failure) = transfer.destination.disk.image.outcome(of: task.fileRequest) {
            failed = failure
        }
        return concludeTransfer(task, operation, transfer, failed) ?? continueCopy(task, operation)
    }

    private func concludeTransfer(
        _ task: SCSITask, _ operation: CopyOperation, _ transfer: CopyTransfer, _ failed: MediaFailure?
    ) -> CommandProgress? {
        if let failed {
            let sense = Self.writeFailure(failed, block: nil)
            return endCopy(
                task, operation,
                failure(of: transfer.destination, isDestination: true, (.checkCondition, sense), operation))
        }
        if case .transfer = operation.work { return endCopy(task, operation, nil) }
        operation.transfer = nil
        return nil
    }

    // MARK: Failures

    /// Why a transfer cannot go on; nil when it can.
    private func refusal(of transfer: CopyTransfer, _ operation: CopyOperation) -> CopyFailure? {
        if let token = transfer.token, !token.isValid {
            let error: RODTokenError = token.state(at: copyManager.tokens.now) == .deleted ? .deleted : .cancelled
            return .sense(error.sense)
        }
        if let source = transfer.source {
            guard source.isReachable else { return unreachable(source, operation) }
            if let refusal = source.readRefusal {
                return failure(of: source, isDestination: false, refusal, operation)
            }
        }
        guard transfer.destination.isReachable else { return unreachable(transfer.destination, operation) }
        return transfer.destination.writeRefusal.map {
            failure(of: transfer.destination, isDestination: true, $0, operation)
        }
    }

    private func unreachable(_ party: CopyParty, _ operation: CopyOperation) -> CopyFailure {
        failure(.copyTargetDeviceNotReachable, operation, party.descriptorOffset.map { .list($0) })
    }

    /// What a status of the source or the destination makes of the operation: a CSCD command failure (SPC-5 clause
    /// 5.17.7.4). WRITE USING TOKEN ends as a WRITE would when it is its own logical unit that fails.
    private func failure(
        of party: CopyParty, isDestination: Bool, _ answer: (status: SCSIStatus, sense: SenseData?),
        _ operation: CopyOperation
    ) -> CopyFailure {
        if case .transfer = operation.work, isDestination, let sense = answer.sense { return .sense(sense) }
        return failure(
            .thirdPartyDeviceFailure, operation, party.descriptorOffset.map { .list($0) },
            CopySense.Answer(isDestination: isDestination, status: answer.status, sense: answer.sense))
    }

    private func failure(
        _ code: AdditionalSenseCode, _ operation: CopyOperation, _ pointer: CopySense.Pointer? = nil,
        _ answer: CopySense.Answer? = nil
    ) -> CopyFailure {
        .aborted(
            CopySense(
                code, segment: operation.segment, pointer: pointer, answer: answer, residual: residual(operation)))
    }

    /// The blocks of the segment that are not written, when some are. Those that went first in descending order do not
    /// count: they are not contiguous with the start of the segment.
    private func residual(_ operation: CopyOperation) -> Int? {
        guard let transfer = operation.transfer, operation.done > 0 else { return nil }
        let counted = transfer.isDescending && operation.done < transfer.length ? 0 : operation.done
        return (transfer.length - counted) >> Int(transfer.destination.disk.blockShift)
    }

    // MARK: The end

    /// Ends an operation and its command.
    func endCopy(_ task: SCSITask, _ operation: CopyOperation, _ failure: CopyFailure?) -> CommandProgress {
        leaveCopyGate(operation)
        releaseCopy(task, operation, hasFailed: failure != nil)
        let sense = failure.map { $0.encoded(isDescriptorFormat: task.nexus?.logicalUnit.usesDescriptorSense ?? false) }
        var result = copyResult(of: operation)
        result.completion = sense == nil ? .good : .checkCondition
        result.sense = sense ?? []
        result.status = sense != nil ? .failed : result.blocks == operation.wantedBlocks ? .completed : .partial
        copyManager.end(task, result)
        switch failure {
        case nil: return task.good()
        case .sense(let sense): return task.fail(sense)
        case .aborted: return task.failVerbatim(sense ?? [])
        }
    }

    /// Lets go of the buffer and the token.
    private func releaseCopy(_ task: SCSITask, _ operation: CopyOperation, hasFailed: Bool) {
        task.fileRequest.payload.lease = nil
        operation.isOver = true
        if let token = operation.transfer?.token {
            copyManager.tokens.endUse(token, deletes: operation.deletesToken && !hasFailed)
        }
    }

    /// The task of a copy operation was aborted, and has come back from the medium or from a gate.
    func copyAbandoned(_ task: SCSITask) {
        guard let operation = copyManager.operation(of: task) else { return }
        if task.step == DiskStep.atGate.rawValue, !isInsideGate(task) {
            switch operation.gate {
            case .read(let disk), .write(let disk): disk.writeGate.wakeNext()
            case .alone: writeGate.wakeNext()
            case nil: break
            }
            operation.gate = nil
        }
        leaveCopyGate(operation)
        releaseCopy(task, operation, hasFailed: true)
        var result = copyResult(of: operation)
        result.status = .terminated
        result.completion = .taskAborted
        copyManager.end(task, result)
    }

    /// What is told of an operation that is under way.
    func copyResult(of operation: CopyOperation) -> CopyResult {
        var blocks = 0
        switch operation.work {
        case .segments: break
        case .transfer: blocks = operation.written >> Int(blockShift)
        case .populate: blocks = operation.token == nil ? 0 : operation.wantedBlocks
        }
        return CopyResult(
            serviceAction: operation.serviceAction, status: .inForeground, completion: .good, sense: [],
            operations: operation.operations, segments: operation.segmentsProcessed, written: operation.written,
            blocks: blocks, token: operation.token?.bytes)
    }

    // MARK: What other commands change

    /// The blocks that a command of this disk changes; nil when they may be any.
    func changedExtents(_ task: SCSITask) -> [BlockExtent]? {
        switch task.commandDescriptorBlock.operationCode {
        case OperationCode.write6, OperationCode.write10, OperationCode.write12, OperationCode.write16,
            OperationCode.writeAndVerify10, OperationCode.writeAndVerify12, OperationCode.writeAndVerify16,
            OperationCode.orWrite16, OperationCode.compareAndWrite, OperationCode.writeAtomic16:
            [BlockExtent(task.commandDescriptorBlock)]
        case OperationCode.writeSame10, OperationCode.writeSame16: [writeSameExtent(task)]
        // WRITE(32), WRITE AND VERIFY(32) and WRITE SAME(32): the others change nothing.
        case OperationCode.variableLength:
            [isWriteSame32(task) ? writeSameExtent(task) : BlockExtent(task.commandDescriptorBlock)]
        // WRITE LONG, whose length is one of bytes.
        case OperationCode.writeLong10, OperationCode.serviceActionOut16:
            [BlockExtent(first: BlockExtent(task.commandDescriptorBlock).first, count: 1)]
        case OperationCode.reassignBlocks: reassignedExtents(task)
        case OperationCode.unmap: unmappedExtents(task)
        default: nil
        }
    }
}
