internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// The fields of READ(6) and VERIFY(6) that decide how blocks are read.
struct ReadParameters {
    /// Blocks of a fixed length, or one block of any.
    let isFixed: Bool
    /// The length of a block when `isFixed`, in bytes.
    let blockLength: Int
    /// Blocks when `isFixed`, else bytes.
    let count: Int
    /// SILI.
    let suppressesIncorrectLength: Bool
    /// VERIFY: nothing goes to the initiator.
    let isVerify: Bool

    init(_ task: SCSITask, blockLength: Int) {
        let block = task.commandDescriptorBlock
        isFixed = block[1] & 0x01 != 0
        isVerify = block.operationCode == OperationCode.verify6
        suppressesIncorrectLength = !isVerify && block[1] & 0x02 != 0
        self.blockLength = blockLength
        count = Int(block.bytes.loadBE24(at: 2))
    }

    /// INFORMATION of a command that stopped after `done` blocks: blocks that are missing, or the requested length.
    func information(done: Int) -> Int64 { Int64(isFixed ? count - done : count) }
}

/// READ(6) and VERIFY(6) (SSC-5 clauses 6.4 and 6.18).
///
/// Both go block by block; VERIFY checks each block's checksum and discards the data. What was read before the command
/// stopped is in `task.dataIn.lease`, no byte more, and the position is behind the object that stopped it.
extension TapeDeviceServer {
    func read(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let parameters = ReadParameters(task, blockLength: blockLength(nexus))
        if parameters.isFixed {
            if parameters.suppressesIncorrectLength { return task.failInvalidField(byte: 1, bit: 1) }
            guard parameters.blockLength > 0 else { return task.failInvalidField(byte: 1, bit: 0) }
            guard parameters.count <= Self.maximumTransferLength / parameters.blockLength else {
                return task.failInvalidField(byte: 2)
            }
        }
        guard parameters.count > 0 else { return task.good() }
        if state.isReadingFenced {
            return task.fail(
                SenseData(
                    .mediumError, .blockSequenceError, information: parameters.information(done: 0)))
        }
        return withMedium(task) { cartridge in
            state.firstObjectOfRead = cartridge.position
            return readOn(task, parameters, cartridge)
        }
    }

    /// Reads until the command is complete or something stops it.
    private func readOn(_ task: SCSITask, _ parameters: ReadParameters, _ cartridge: Cartridge) -> CommandProgress {
        while true {
            let done = task.progressCount
            if done == (parameters.isFixed ? parameters.count : 1) {
                return finishRead(task, parameters, cartridge, nil)
            }
            switch cartridge.objectAtPosition {
            case .endOfData:
                state.isReadingFenced = true
                return finishRead(
                    task, parameters, cartridge,
                    SenseData(
                        .blankCheck, .endOfDataDetected, information: parameters.information(done: done),
                        isEndOfMedium: isBeyondEarlyWarning(cartridge)))
            case .filemark:
                _ = cartridge.space(filemarks: 1)
                return finishRead(
                    task, parameters, cartridge,
                    SenseData(
                        .noSense, .filemarkDetected, information: parameters.information(done: done),
                        isFilemark: true))
            case .block(let length, let available):
                if parameters.isFixed, length != parameters.blockLength {
                    // The block counts as passed, not as read, and nothing of it is transferred.
                    _ = cartridge.locate(object: cartridge.position + 1)
                    return finishRead(
                        task, parameters, cartridge,
                        SenseData(
                            .noSense, .noAdditionalSenseInformation,
                            information: parameters.information(done: done), isIncorrectLength: true))
                }
                let wanted = parameters.isFixed ? Int(min(UInt64(parameters.count - done), available)) : 1
                guard leaseForRead(task, parameters, cartridge, length: length) else { return .complete }
                switch readBlocks(task, cartridge, wanted, length: length) {
                case .pending: return .pending
                case .ended(let result):
                    if let progress = accept(result, task, parameters, cartridge) { return progress }
                }
            }
        }
    }

    /// Continues when a worker has read.
    func readCompleted(_ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge) -> CommandProgress {
        task.dataIn.lease = task.fileRequest.payload.lease.take()
        let parameters = ReadParameters(task, blockLength: blockLength(nexus))
        if let progress = accept(cartridge.offloadedReadResult, task, parameters, cartridge) { return progress }
        return readOn(task, parameters, cartridge)
    }

    private enum ReadOutcome {
        case pending
        case ended(BlockReadResult)
    }

    /// Reads on the reactor what is short and in the page cache, else by a worker and in pieces.
    private func readBlocks(
        _ task: SCSITask, _ cartridge: Cartridge, _ count: Int, length: Int
    ) -> ReadOutcome {
        guard var lease = task.dataIn.lease.take() else { preconditionFailure("a READ has leased its memory") }
        let offset = task.progressCount * length
        let recordLength = Cartridge.recordLength(ofBlock: length)
        // What the command has read so far counts too: a turn of the reactor is one command's, not one piece's.
        let records = task.progressCount + count
        if Int64(records) * recordLength <= Self.inlineReadLimit, records <= Self.recordLimit {
            let result = cartridge.readBlocks(count, into: &lease, at: offset, mode: .cached)
            guard result.count == 0, result.outcome == .wouldBlock else {
                task.dataIn.lease = consume lease
                return .ended(result)
            }
        }
        let piece = max(1, min(count, Self.recordLimit, Int(Self.readPieceLength / recordLength)))
        cartridge.prepareRead(task.fileRequest, blocks: piece, at: offset)
        task.fileRequest.payload.lease = consume lease
        _ = submit(task, .read)
        return .pending
    }

    /// Counts blocks that were read; the command's end when that is an error.
    private func accept(
        _ result: BlockReadResult, _ task: SCSITask, _ parameters: ReadParameters, _ cartridge: Cartridge
    ) -> CommandProgress? {
        task.progressCount += result.count
        guard case .failed = result.outcome else { return nil }
        state.isReadingFenced = true
        alerts.raise(.readFailure)
        return finishRead(
            task, parameters, cartridge,
            SenseData(
                .mediumError, .unrecoveredReadError,
                information: parameters.information(done: task.progressCount)))
    }

    /// Makes sure that there is memory for all that the command can still read. False when there is none.
    private func leaseForRead(
        _ task: SCSITask, _ parameters: ReadParameters, _ cartridge: Cartridge, length: Int
    ) -> Bool {
        guard task.progressCount == 0 else { return true }
        let isLeased = task.dataIn.lease != nil
        if isLeased { return true }
        // The whole block is read even when only its beginning was asked for: its checksum covers all of it.
        let blocks = parameters.isFixed ? min(UInt64(parameters.count), cartridge.endOfData - cartridge.position) : 1
        return task.leaseDataIn(max(length, Int(blocks) * length))
    }

    /// Ends the command with the data that there are, and `sense`, or what the length of a single block calls for.
    private func finishRead(
        _ task: SCSITask, _ parameters: ReadParameters, _ cartridge: Cartridge, _ sense: SenseData?
    ) -> CommandProgress {
        let done = task.progressCount
        var outcome = sense
        var length = done * parameters.blockLength
        if !parameters.isFixed {
            let actual = done == 0 ? 0 : task.dataIn.lease?.count ?? 0
            length = min(actual, parameters.count)
            if done == 1 { outcome = incorrectLengthSense(task, parameters, actual: actual) }
        }
        if outcome == nil, state.reportsEarlyWarningOnRead, isBeyondEarlyWarning(cartridge) {
            outcome = SenseData(
                .volumeOverflow, .endOfPartitionDetected, information: 0, isEndOfMedium: true)
        }
        if length == 0 || parameters.isVerify { task.dataIn.lease = nil } else { task.dataIn.lease?.setCount(length) }
        if !parameters.isVerify { state.counters.bytesRead += UInt64(length) }
        return conclude(task, outcome)
    }

    /// ILI for a single block whose length is not the requested one. A longer block is an error even with SILI, unless
    /// the nexus works with variable blocks (SSC-5 clause 6.4).
    private func incorrectLengthSense(
        _ task: SCSITask, _ parameters: ReadParameters, actual: Int
    ) -> SenseData? {
        if actual == parameters.count { return nil }
        if parameters.suppressesIncorrectLength, actual < parameters.count || parameters.blockLength == 0 {
            return nil
        }
        return SenseData(
            .noSense, .noAdditionalSenseInformation, information: Int64(parameters.count - actual),
            isIncorrectLength: true)
    }

    /// Ends a command with sense data, or with GOOD without.
    func conclude(_ task: SCSITask, _ sense: SenseData?) -> CommandProgress {
        guard let sense else { return task.good() }
        return task.fail(sense)
    }

    /// Whether the position is between early warning and the end of the partition.
    func isBeyondEarlyWarning(_ cartridge: Cartridge) -> Bool {
        hostSpace.isNearlyFull || cartridge.isBeyondEarlyWarning(zone: state.earlyWarningZone)
    }
}
