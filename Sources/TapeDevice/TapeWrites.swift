internal import Bytes
internal import Media
internal import Platform
internal import Profiles
internal import SCSI
internal import TargetCore

/// The fields of WRITE(6).
private struct WriteParameters {
    /// Blocks of a fixed length, or one block.
    let isFixed: Bool
    /// The bytes of one block.
    let length: Int
    /// How many blocks.
    let blocks: Int

    init(_ task: SCSITask, blockLength: Int) {
        let block = task.commandDescriptorBlock
        let count = Int(block.bytes.loadBE24(at: 2))
        isFixed = block[1] & 0x01 != 0
        length = isFixed ? blockLength : count
        blocks = isFixed ? count : 1
    }

    /// INFORMATION of a command that wrote `done` blocks: blocks not written, or the length of the block.
    func information(done: Int) -> Int64 {
        isFixed ? Int64(blocks - done) : done == 1 ? 0 : Int64(length)
    }
}

/// WRITE(6), WRITE FILEMARKS(6) and ERASE(6) (SSC-5 clauses 6.20, 6.21 and 6.2).
extension TapeDeviceServer {
    // MARK: WRITE

    /// Checks a WRITE(6) before its data are fetched.
    func beginWrite(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let parameters = WriteParameters(task, blockLength: blockLength(nexus))
        if parameters.isFixed {
            guard parameters.length > 0 else { return task.failInvalidField(byte: 1, bit: 0) }
            guard parameters.blocks <= Self.maximumTransferLength / parameters.length else {
                return task.failInvalidField(byte: 2)
            }
        }
        guard parameters.length > 0, parameters.blocks > 0 else { return task.good() }
        guard isAllowed(blockLength: parameters.length) else { return task.failInvalidField(byte: 2) }
        return withMedium(task) { cartridge in
            if let refusal = appendRefusal(cartridge) { return task.fail(refusal) }
            return .awaitDataOut(length: parameters.length * parameters.blocks)
        }
    }

    /// Whether READ BLOCK LIMITS allows a block of that length.
    func isAllowed(blockLength: Int) -> Bool {
        let limits = profile.blockLimits
        return blockLength >= limits.minimum && blockLength <= limits.maximum
            && blockLength & ((1 << limits.granularity) - 1) == 0
    }

    /// Writes the blocks that have come.
    func write(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        withMedium(task) { cartridge in
            let parameters = WriteParameters(task, blockLength: blockLength(nexus))
            guard let lease = task.dataOut.take() else { preconditionFailure("a WRITE has its data") }
            if cartridge.needsOverwrite || parameters.length * parameters.blocks > Self.inlineWriteLimit {
                cartridge.prepareAppend(
                    task.fileRequest, at: 0, length: parameters.length, count: parameters.blocks)
                task.fileRequest.lease = consume lease
                if submit(task, .append) { return .pending }
                guard let lease = task.fileRequest.lease.take() else { preconditionFailure("a refused lease stays") }
                return finishWrite(
                    task, cartridge, parameters,
                    cartridge.appendBlocks(from: lease, at: 0, length: parameters.length, count: parameters.blocks))
            }
            return finishWrite(
                task, cartridge, parameters,
                cartridge.appendBlocks(from: lease, at: 0, length: parameters.length, count: parameters.blocks))
        }
    }

    /// Goes on when a worker has written.
    func appendCompleted(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, isAbandoned: Bool
    ) -> CommandProgress {
        let parameters = WriteParameters(task, blockLength: blockLength(nexus))
        return finishWrite(task, cartridge, parameters, cartridge.offloadedAppendResult, isAbandoned: isAbandoned)
    }

    private func finishWrite(
        _ task: SCSITask, _ cartridge: Cartridge, _ parameters: WriteParameters, _ result: AppendResult,
        isAbandoned: Bool = false
    ) -> CommandProgress {
        let written = result.count * parameters.length
        state.counters.bytesWritten += UInt64(written)
        let sense = senseAfterAppend(
            result, cartridge, bytes: written, information: parameters.information(done: result.count))
        if state.bufferedMode == 0, result.count > 0, !isAbandoned {
            return synchronize(task, cartridge, then: sense)
        }
        return conclude(task, sense)
    }

    // MARK: What writing leads to

    /// Why nothing can be written at the position.
    func appendRefusal(_ cartridge: Cartridge) -> SenseData? {
        if state.hasWriteFailed { return SenseData(.mediumError, .mediumFormatCorrupted) }
        // WORM media grow at their end only; filemarks there may be replaced (a file that is closed again).
        if cartridge.identity.isWORM, !cartridge.onlyFilemarksFollow {
            return SenseData(.dataProtect, .wormOverwriteAttempted)
        }
        return nil
    }

    /// The sense data of WRITE and WRITE FILEMARKS, nil for GOOD. `information` counts what is missing.
    private func senseAfterAppend(
        _ result: AppendResult, _ cartridge: Cartridge, bytes: Int, information: Int64
    ) -> SenseData? {
        state.isReadingFenced = false
        watchHostSpace(cartridge, written: bytes)
        switch result.outcome {
        case .done:
            // Written, but the end is near: every command says so (SSC-5 clause 4.2.5).
            guard isBeyondEarlyWarning(cartridge) else { return nil }
            return SenseData(.noSense, .endOfPartitionDetected, information: information, isEndOfMedium: true)
        case .endOfMedium:
            return SenseData(.volumeOverflow, .endOfPartitionDetected, information: information, isEndOfMedium: true)
        case .failed(.hostFull):
            // A full host is the end of the medium, whatever its capacity; room that is made there ends it.
            state.isHostNearlyFull = true
            return SenseData(.volumeOverflow, .endOfPartitionDetected, information: information, isEndOfMedium: true)
        case .failed:
            return writeFailure(information: information)
        }
    }

    /// A write or synchronisation that the host failed.
    private func writeFailure(information: Int64?) -> SenseData {
        state.hasWriteFailed = true
        raise(.writeFailure)
        return SenseData(.mediumError, .writeError, information: information)
    }

    /// Looks at the host's free space now and then, so that early warning comes before the host is full.
    private func watchHostSpace(_ cartridge: Cartridge, written: Int) {
        state.bytesToNextSpaceCheck -= Int64(written)
        guard state.bytesToNextSpaceCheck <= 0 || state.isHostNearlyFull else { return }
        state.bytesToNextSpaceCheck = Self.spaceCheckInterval
        state.isHostNearlyFull = cartridge.hostFreeBytes.map { $0 < Self.hostReserve } ?? false
    }

    // MARK: WRITE FILEMARKS

    func writeFilemarks(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            let block = task.commandDescriptorBlock
            let count = Int(block.bytes.loadBE24(at: 2))
            guard count > 0 else {
                return block[1] & 1 != 0 ? task.good() : synchronize(task, cartridge, then: nil)
            }
            if let refusal = appendRefusal(cartridge) { return task.fail(refusal) }
            if cartridge.needsOverwrite || count > Self.inlineFilemarkLimit {
                task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
                    offloaded.append = cartridge.writeFilemarks(count)
                    return 0
                }
                if submit(task, .appendFilemarks) { return .pending }
            }
            offloaded.append = cartridge.writeFilemarks(count)
            return filemarksCompleted(task, cartridge)
        }
    }

    /// Goes on when the filemarks are written: with IMMED zero they become durable before the command ends.
    func filemarksCompleted(_ task: SCSITask, _ cartridge: Cartridge) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard let result = offloaded.append.take() else { preconditionFailure("filemarks leave their result") }
        let missing = Int(block.bytes.loadBE24(at: 2)) - result.count
        let sense = senseAfterAppend(result, cartridge, bytes: 0, information: Int64(missing))
        if block[1] & 1 != 0 || result.count == 0 { return conclude(task, sense) }
        return synchronize(task, cartridge, then: sense)
    }

    // MARK: Durability

    /// Makes everything written durable, then ends the command with `outcome`, or GOOD.
    func synchronize(_ task: SCSITask, _ cartridge: Cartridge, then outcome: SenseData?) -> CommandProgress {
        if cartridge.isDurable { return conclude(task, outcome) }
        state.outcomeAfterSynchronize = outcome
        state.synchronizationPoint = cartridge.beginSynchronize()
        // Unowned, because the request keeps its last operation: it must not keep the cartridge open.
        task.fileRequest.operation = .call { [unowned cartridge] in cartridge.synchronizeData() }
        if submit(task, .synchronize) { return .pending }
        return synchronized(task, cartridge, errorNumber: cartridge.synchronizeData())
    }

    /// Goes on when the device has taken everything.
    func synchronized(_ task: SCSITask, _ cartridge: Cartridge, errorNumber: Int32) -> CommandProgress {
        guard let point = state.synchronizationPoint.take() else {
            preconditionFailure("a synchronisation ended that had not begun")
        }
        let outcome = state.outcomeAfterSynchronize.take()
        guard cartridge.completeSynchronize(point, errorNumber: errorNumber) != nil else {
            return conclude(task, outcome)
        }
        return task.fail(writeFailure(information: nil))
    }

    // MARK: ERASE

    /// Both a short and a long ERASE make the position the end of data, durably, and give the storage back to the host.
    func erase(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            if let refusal = appendRefusal(cartridge) { return task.fail(refusal) }
            guard !cartridge.identity.isWORM || cartridge.isAtEndOfData else {
                return task.fail(.dataProtect, .wormOverwriteAttempted)
            }
            state.isReadingFenced = false
            task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
                offloaded.failure = cartridge.erase()
                return 0
            }
            if submit(task, .erase) { return .pending }
            offloaded.failure = cartridge.erase()
            return eraseCompleted(task)
        }
    }

    /// Goes on when the rest is gone.
    func eraseCompleted(_ task: SCSITask) -> CommandProgress {
        guard offloaded.failure != nil else { return task.good() }
        raise(.writeFailure)
        return task.fail(.mediumError, .eraseFailure)
    }
}
