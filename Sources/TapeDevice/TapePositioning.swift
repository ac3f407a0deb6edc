internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// REWIND, SPACE and LOCATE (SSC-5 clauses 7.13, 6.15, 7.8, 7.3 and 7.4). None of them touches the file, so IMMED makes
/// no difference but for REWIND.
///
/// REWIND makes written data durable before it ends, unless IMMED is one. SPACE and LOCATE do not: what they leave
/// in the host's cache is there for every reader, and WRITE FILEMARKS is how clients ask for durability.
extension TapeDeviceServer {
    func rewind(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        withMedium(task) { cartridge in
            state.isReadingFenced = false
            cartridge.rewind()
            if task.commandDescriptorBlock[1] & 1 != 0 { return task.good() }
            return synchronize(task, nexus, cartridge, then: nil)
        }
    }

    // MARK: SPACE

    /// COUNT of SPACE(6), 24 bits in two's complement, or of SPACE(16), 64 bits.
    private func spaceCount(_ task: SCSITask) -> Int64 {
        let block = task.commandDescriptorBlock
        return block.operationCode == OperationCode.space6
            ? Int64(Int32(bitPattern: block.bytes.loadBE24(at: 2) << 8) >> 8)
            : Int64(bitPattern: block.bytes.loadBE64(at: 4))
    }

    func space(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            let count = spaceCount(task)
            let result: SpaceResult
            switch task.commandDescriptorBlock[1] & 0x0F {
            case 0: result = cartridge.space(blocks: count)
            case 1: result = cartridge.space(filemarks: count)
            case 2:
                guard cartridge.runs <= Self.inlineRunLimit else {
                    task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
                        offloaded.space = cartridge.space(sequentialFilemarks: count)
                        return 0
                    }
                    return submit(task, .space)
                }
                result = cartridge.space(sequentialFilemarks: count)
            case 3:
                cartridge.spaceToEndOfData()
                state.isReadingFenced = false
                return task.good()
            default: return task.failInvalidField(byte: 1, bit: 3)
            }
            return concludeSpace(task, result, count: count, cartridge)
        }
    }

    /// Continues when a worker has looked for sequential filemarks.
    func spaceCompleted(_ task: SCSITask, _ cartridge: Cartridge) -> CommandProgress {
        guard let result = offloaded.space else { return task.fail(.hardwareError, .internalTargetFailure) }
        return concludeSpace(task, result, count: spaceCount(task), cartridge)
    }

    private func concludeSpace(
        _ task: SCSITask, _ result: SpaceResult, count: Int64, _ cartridge: Cartridge
    ) -> CommandProgress {
        if count != 0 { state.isReadingFenced = false }
        return conclude(task, sense(result, count: count, cartridge))
    }

    /// The sense data of a SPACE that stopped early. The residue is what was asked for less what was passed, whatever
    /// the direction.
    private func sense(_ result: SpaceResult, count: Int64, _ cartridge: Cartridge) -> SenseData? {
        let residue = Int64(clamping: count.magnitude - result.traversed)
        switch result.stop {
        case .completed: return nil
        case .filemark:
            return SenseData(.noSense, .filemarkDetected, information: residue, isFilemark: true)
        case .endOfData:
            return SenseData(
                .blankCheck, .endOfDataDetected, information: residue,
                isEndOfMedium: isBeyondEarlyWarning(cartridge))
        case .beginningOfPartition:
            return SenseData(.noSense, .beginningOfPartitionDetected, information: residue, isEndOfMedium: true)
        }
    }

    // MARK: LOCATE

    /// LOCATE(10) goes to a logical object identifier. BT asks for a vendor-specific identifier, which here is the
    /// same.
    func locate10(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        if block[1] & 0x02 != 0, block[8] != 0 { return task.failInvalidField(byte: 8) }
        let object = UInt64(block.bytes.loadBE32(at: 3))
        return locate(task) { $0.locate(object: object) }
    }

    func locate16(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        if block[1] & 0x02 != 0, block[3] != 0 { return task.failInvalidField(byte: 3) }
        let identifier = block.bytes.loadBE64(at: 4)
        switch block[1] >> 3 & 0x07 {
        case 0: return locate(task) { $0.locate(object: identifier) }
        case 1: return locate(task) { $0.locate(logicalFile: identifier) }
        case 3:
            return locate(task) {
                $0.spaceToEndOfData()
                return true
            }
        default: return task.failInvalidField(byte: 1, bit: 5)
        }
    }

    private func locate(_ task: SCSITask, _ move: (Cartridge) -> Bool) -> CommandProgress {
        withMedium(task) { cartridge in
            state.isReadingFenced = false
            if move(cartridge) { return task.good() }
            return task.fail(
                SenseData(.blankCheck, .endOfDataDetected, isEndOfMedium: isBeyondEarlyWarning(cartridge)))
        }
    }
}
