internal import Bytes
internal import SCSI
internal import TargetCore

/// Capacity, cache and defects.
extension DiskDeviceServer {
    // MARK: READ CAPACITY

    /// READ CAPACITY(10) (SBC-4 clause 5.20).
    func readCapacity10(_ task: SCSITask) -> CommandProgress {
        guard hasMedium else { return task.fail(.notReady, .mediumNotPresent) }
        var bytes: [UInt8] = []
        // All ones: ask READ CAPACITY(16).
        bytes.appendBE32(UInt32(exactly: blockCount - 1) ?? UInt32.max)
        bytes.appendBE32(UInt32(blockSize))
        return task.answer(bytes, allocationLength: bytes.count)
    }

    /// READ CAPACITY(16) (SBC-4 clause 5.21).
    func readCapacity16(_ task: SCSITask) -> CommandProgress {
        guard hasMedium else { return task.fail(.notReady, .mediumNotPresent) }
        var bytes: [UInt8] = []
        bytes.appendBE64(blockCount - 1)
        bytes += blockDescription + [UInt8](repeating: 0, count: 16)
        return task.answer(bytes, allocationLength: Int(task.commandDescriptorBlock.bytes.loadBE32(at: 10)))
    }

    /// Bytes 8 to 15 of READ CAPACITY(16): what it says of blocks.
    var blockDescription: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(blockSize))
        // P_TYPE and PROT_EN; LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
        bytes += [protection.map { ($0.rawValue - 1) << 1 | 0x01 } ?? 0, attributes.physicalBlockExponent]
        // LBPME, LBPRZ (one when the field of that name promises zeros), LOWEST ALIGNED LOGICAL BLOCK ADDRESS.
        let promisesZeros: UInt16 = attributes.unmappedReads & 1 != 0 ? 0x4000 : 0
        bytes.appendBE16(0x8000 | promisesZeros | attributes.lowestAlignedBlock)
        return bytes
    }

    // MARK: SYNCHRONIZE CACHE(10) and (16) (SBC-4 clauses 5.33 and 5.34)

    /// Makes everything durable, whatever range is named: a file has no finer way. With IMMED too the command ends
    /// when it is done, so that GOOD always means durable.
    func synchronizeCache(_ task: SCSITask) -> CommandProgress {
        guard BlockExtent(task.commandDescriptorBlock).isInside(blockCount) else {
            return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange)
        }
        return synchronizeBuffered(task, .synchronize)
    }

    // MARK: READ DEFECT DATA (SBC-3 clauses 5.15 and 5.16)

    /// A file has neither a primary nor a grown defect: the lists are valid and empty.
    func readDefectData10(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        return task.answer([0, block[2] & 0x1F, 0, 0], allocationLength: Int(block.bytes.loadBE16(at: 7)))
    }

    func readDefectData12(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        return task.answer(
            [0, block[1] & 0x1F, 0, 0, 0, 0, 0, 0], allocationLength: Int(block.bytes.loadBE32(at: 6)))
    }
}
