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
            guard let lease = task.dataOut.lease.take() else { preconditionFailure("a WRITE has its data") }
            noteBufferedWrite(nexus)
            let fileBytes = Cartridge.recordLength(ofBlock: parameters.length) * Int64(parameters.blocks)
            guard !cartridge.appendingWaits, fileBytes <= Self.inlineWriteLimit else {
                cartridge.prepareAppend(
                    task.fileRequest, at: 0, length: parameters.length, count: parameters.blocks)
                task.fileRequest.payload.lease = consume lease
                return submit(task, .append)
            }
            return finishWrite(
                task, nexus, cartridge, parameters,
                cartridge.appendBlocks(from: lease, at: 0, length: parameters.length, count: parameters.blocks))
        }
    }

    /// Continues when a worker has written.
    func appendCompleted(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, isAbandoned: Bool
    ) -> CommandProgress {
        let parameters = WriteParameters(task, blockLength: blockLength(nexus))
        return finishWrite(
            task, nexus, cartridge, parameters, cartridge.offloadedAppendResult, isAbandoned: isAbandoned)
    }

    private func finishWrite(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, _ parameters: WriteParameters,
        _ result: AppendResult, isAbandoned: Bool = false
    ) -> CommandProgress {
        let written = result.count * parameters.length
        state.counters.bytesWritten += UInt64(written)
        watchHostSpace(cartridge, written: written)
        if isAbandoned { return .complete }
        let sense = senseAfterAppend(result, cartridge, nexus, information: parameters.information(done: result.count))
        return cutLeftOver(
            task, nexus, cartridge, isDurable: state.bufferedMode == 0 && result.count > 0, then: sense)
    }

    // MARK: What writing leads to

    /// Why nothing can be written at the position.
    func appendRefusal(_ cartridge: Cartridge) -> SenseData? {
        if state.hasWriteFailed { return SenseData(.mediumError, .mediumFormatCorrupted) }
        switch cartridge.writeRefusal {
        case nil: return nil
        // The failure was told; what there is of the tape now ends where durability ended.
        case .dataLost: return SenseData(.mediumError, .mediumFormatCorrupted)
        case .some(let refusal): return sense(of: refusal)
        }
    }

    /// The sense data of WRITE and WRITE FILEMARKS, nil for GOOD. `information` counts what is missing.
    private func senseAfterAppend(
        _ result: AppendResult, _ cartridge: Cartridge, _ nexus: ITLNexus, information: Int64
    ) -> SenseData? {
        state.isReadingFenced = false
        switch result.outcome {
        case .done:
            // Written, but the end is near: every command says so (SSC-5 clause 4.2.5).
            guard isBeyondEarlyWarning(cartridge) else { return nil }
            return SenseData(.noSense, .endOfPartitionDetected, information: information, isEndOfMedium: true)
        case .endOfMedium:
            return SenseData(.volumeOverflow, .endOfPartitionDetected, information: information, isEndOfMedium: true)
        case .failed(.host(.hostFull)):
            // A full host is the end of the medium, whatever its capacity; room that is made there ends it.
            hostSpace.foundFull()
            return SenseData(.volumeOverflow, .endOfPartitionDetected, information: information, isEndOfMedium: true)
        case .failed(.dataLost(let loss)):
            // What this command was to write is not lost; what is was written before, by whomever.
            return nexus.takeDeferredError() ?? sense(of: .dataLost(loss), information: information)
        case .failed(let failure):
            if case .host = failure { state.hasWriteFailed = true }
            return sense(of: failure, information: information)
        }
    }

    /// Continues after appending: first what a failed write has left behind the end of data is cut off. That may take
    /// long, and must not wait for a later command.
    private func cutLeftOver(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, isDurable: Bool, then outcome: SenseData?
    ) -> CommandProgress {
        guard cartridge.hasLeftOver else {
            return isDurable ? synchronize(task, nexus, cartridge, then: outcome) : conclude(task, outcome)
        }
        state.outcomeAfterSynchronize = outcome
        task.fileRequest.operation = .call { [unowned cartridge] in
            cartridge.cutLeftOver()
            return 0
        }
        return submit(task, .cutLeftOver)
    }

    /// Continues when it is cut off. Without buffering what the command has written becomes durable although it has
    /// failed.
    func leftOverCut(_ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let outcome = state.outcomeAfterSynchronize.take()
        let isBuffered = block.operationCode == OperationCode.write6 ? state.bufferedMode != 0 : block[1] & 1 != 0
        return isBuffered ? conclude(task, outcome) : synchronize(task, nexus, cartridge, then: outcome)
    }

    // MARK: WRITE FILEMARKS

    func writeFilemarks(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        withMedium(task) { cartridge in
            let block = task.commandDescriptorBlock
            let count = Int(block.bytes.loadBE24(at: 2))
            guard count > 0 else {
                return block[1] & 1 != 0 ? task.good() : synchronize(task, nexus, cartridge, then: nil)
            }
            if let refusal = appendRefusal(cartridge) { return task.fail(refusal) }
            noteBufferedWrite(nexus)
            guard !cartridge.appendingWaits, count <= Self.inlineFilemarkLimit else {
                task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
                    offloaded.append = cartridge.writeFilemarks(count)
                    cartridge.cutLeftOver()
                    return 0
                }
                return submit(task, .appendFilemarks)
            }
            offloaded.append = cartridge.writeFilemarks(count)
            return filemarksCompleted(task, nexus, cartridge)
        }
    }

    /// Continues when the filemarks are written: with IMMED zero they become durable before the command ends.
    func filemarksCompleted(_ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let result = offloaded.append
        let missing = Int(block.bytes.loadBE24(at: 2)) - result.count
        watchHostSpace(cartridge, written: result.count * Int(Cartridge.recordLength(ofBlock: 0)))
        let sense = senseAfterAppend(result, cartridge, nexus, information: Int64(missing))
        return cutLeftOver(
            task, nexus, cartridge, isDurable: block[1] & 1 == 0 && result.count > 0, then: sense)
    }

    // MARK: Durability

    /// Makes everything written durable, then ends the command with `outcome`, or GOOD.
    func synchronize(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, then outcome: SenseData?
    ) -> CommandProgress {
        if cartridge.isDurable {
            forgetBufferedWrites()
            return conclude(task, outcome)
        }
        if let loss = cartridge.loss { return fail(task, nexus, .dataLost(loss)) }
        state.outcomeAfterSynchronize = outcome
        let point = cartridge.beginSynchronize()
        // Unowned, because the request keeps its last operation: it must not keep the cartridge open.
        task.fileRequest.operation = .call { [unowned cartridge] in cartridge.synchronizeData(point) }
        return submit(task, .synchronize)
    }

    /// Continues when the device has taken everything, or has not.
    func synchronized(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, isAbandoned: Bool
    ) -> CommandProgress {
        let outcome = state.outcomeAfterSynchronize.take()
        if let failure = cartridge.completeSynchronize() {
            return isAbandoned ? .complete : fail(task, nexus, failure)
        }
        // An engine that has stopped has synchronised nothing.
        guard case .done = task.fileRequest.result else { return task.fail(.hardwareError, .internalTargetFailure) }
        if cartridge.isDurable { forgetBufferedWrites() }
        return conclude(task, outcome)
    }

    // MARK: ERASE

    /// Both a short and a long ERASE make the position the end of data, durably, and give the storage back to the host.
    func erase(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        withMedium(task) { cartridge in
            if let refusal = appendRefusal(cartridge) { return task.fail(refusal) }
            state.isReadingFenced = false
            task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
                offloaded.failure = cartridge.erase()
                return 0
            }
            return submit(task, .erase)
        }
    }

    /// Continues when the rest is gone.
    func eraseCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        switch offloaded.failure {
        case nil: return task.good()
        case .host:
            alerts.raise(.writeFailure)
            return task.fail(.mediumError, .eraseFailure)
        case .some(let failure): return fail(task, nexus, failure)
        }
    }
}
