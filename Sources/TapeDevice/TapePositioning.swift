internal import Bytes
internal import Media
internal import SCSI
internal import TargetCore

/// REWIND, SPACE and LOCATE (SSC-5 clauses 7.13, 6.15, 7.8, 7.3 and 7.4). None of them touches the file, so IMMED makes no
/// difference but for REWIND.
///
/// REWIND makes written data durable before it ends, unless IMMED is one. SPACE and LOCATE do not: what they leave
/// in the host's cache is there for every reader, and WRITE FILEMARKS is how clients ask for durability.
extension TapeDeviceServer {
    func rewind(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            state.isReadingFenced = false
            cartridge.rewind()
            if task.commandDescriptorBlock[1] & 1 != 0 { return task.good() }
            return synchronize(task, cartridge, then: nil)
        }
    }

    // MARK: SPACE

    func space6(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let count = Int32(bitPattern: block.bytes.loadBE24(at: 2) << 8) >> 8
        return space(task, code: block[1] & 0x0F, count: Int64(count))
    }

    func space16(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        return space(task, code: block[1] & 0x0F, count: Int64(bitPattern: block.bytes.loadBE64(at: 4)))
    }

    private func space(_ task: SCSITask, code: UInt8, count: Int64) -> CommandProgress {
        withMedium(task) { cartridge in
            let result: SpaceResult
            switch code {
            case 0: result = cartridge.space(blocks: count)
            case 1: result = cartridge.space(filemarks: count)
            case 2: result = cartridge.space(sequentialFilemarks: count)
            case 3:
                cartridge.spaceToEndOfData()
                state.isReadingFenced = false
                return task.good()
            default: return task.failInvalidField(byte: 1, bit: 3)
            }
            if count != 0 { state.isReadingFenced = false }
            return conclude(task, sense(result, count: count, cartridge))
        }
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

    /// LOCATE(10) goes to a logical object identifier. BT asks for a vendor-specific identifier, which here is the same.
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
