internal import Bytes
internal import SCSI

/// A command to send.
struct LoadCommand {
    enum Purpose {
        /// Counted work.
        case transfer
        /// A filemark between records.
        case filemark
        /// Back to the start of the tape.
        case rewind
    }

    var purpose = Purpose.transfer
    var isWrite = false
    /// Bytes to move.
    var length = 0
    var cdb = CommandDescriptorBlock()
}

/// The endless list of commands of a plan.
struct LoadWork {
    private let plan: LoadPlan
    private var random: SplitMix64
    /// The next address of a sequential load, in logical blocks.
    private var nextBlock: UInt64
    private var recordsSinceFilemark = 0
    /// How many more reads and writes may be begun.
    private var remaining: Int
    /// The tape must go back to its start before the next record, when no command is under way any more.
    private(set) var mustRewind = false

    init(_ plan: LoadPlan) {
        self.plan = plan
        random = SplitMix64(seed: plan.seed)
        remaining = plan.operationLimit ?? .max
        nextBlock =
            switch plan.unit {
            case .disk(_, let region): region.lowerBound
            case .tape: 0
            }
    }

    /// The next command, or nil when those under way must end first (`underWay` says how many there are) or the plan's
    /// limit is reached.
    mutating func next(underWay: Int) -> LoadCommand? {
        guard remaining > 0 else { return nil }
        switch plan.unit {
        case .disk(let logicalBlockLength, let region):
            return diskCommand(logicalBlockLength: logicalBlockLength, region: region)
        case .tape(let recordsPerFilemark):
            return tapeCommand(recordsPerFilemark: recordsPerFilemark, underWay: underWay)
        }
    }

    /// Whether the plan's limit is reached.
    var isExhausted: Bool { remaining == 0 }

    /// The tape has reached an end.
    mutating func endOfTape() { mustRewind = true }

    // MARK: Disk

    private mutating func diskCommand(logicalBlockLength: Int, region: Range<UInt64>) -> LoadCommand {
        remaining -= 1
        let blocks = UInt64(plan.blockLength / logicalBlockLength)
        let address: UInt64
        switch plan.pattern {
        case .random:
            // Aligned to the command's length, as the requests of file systems and databases are.
            address = region.lowerBound + random.next() % (UInt64(region.count) / blocks) * blocks
        case .sequential:
            if nextBlock + blocks > region.upperBound { nextBlock = region.lowerBound }
            address = nextBlock
            nextBlock += blocks
        }
        let isWrite =
            switch plan.operation {
            case .read: false
            case .write: true
            case .mixed: random.next() % 100 >= LoadPlan.mixedReadShare
            }
        return LoadCommand(
            isWrite: isWrite, length: plan.blockLength, cdb: diskCDB(isWrite: isWrite, address, UInt32(blocks)))
    }

    private func diskCDB(isWrite: Bool, _ address: UInt64, _ blocks: UInt32) -> CommandDescriptorBlock {
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        if let shortAddress = UInt32(exactly: address), let shortCount = UInt16(exactly: blocks) {
            bytes.modifyBytes { cdb in
                cdb.store(byte: isWrite ? OperationCode.write10 : OperationCode.read10, at: 0)
                cdb.storeBE32(shortAddress, at: 2)
                cdb.storeBE16(shortCount, at: 7)
            }
        } else {
            bytes.modifyBytes { cdb in
                cdb.store(byte: isWrite ? OperationCode.write16 : OperationCode.read16, at: 0)
                cdb.storeBE64(address, at: 2)
                cdb.storeBE32(blocks, at: 10)
            }
        }
        return CommandDescriptorBlock(bytes.rawSpan)
    }

    // MARK: Tape

    private mutating func tapeCommand(recordsPerFilemark: Int, underWay: Int) -> LoadCommand? {
        if mustRewind {
            guard underWay == 0 else { return nil }
            mustRewind = false
            recordsSinceFilemark = 0
            return LoadCommand(purpose: .rewind, cdb: tapeCDB(OperationCode.rewind, 0))
        }
        let isWrite = plan.operation == .write
        if isWrite, recordsPerFilemark > 0, recordsSinceFilemark == recordsPerFilemark {
            recordsSinceFilemark = 0
            return LoadCommand(purpose: .filemark, cdb: tapeCDB(OperationCode.writeFilemarks6, 1))
        }
        recordsSinceFilemark += 1
        remaining -= 1
        let code = isWrite ? OperationCode.write6 : OperationCode.read6
        return LoadCommand(
            isWrite: isWrite, length: plan.blockLength, cdb: tapeCDB(code, UInt32(plan.blockLength)))
    }

    /// A command of six bytes whose bytes 2–4 hold `count`.
    private func tapeCDB(_ operationCode: UInt8, _ count: UInt32) -> CommandDescriptorBlock {
        var bytes = InlineArray<6, UInt8>(repeating: 0)
        bytes.modifyBytes { cdb in
            cdb.store(byte: operationCode, at: 0)
            cdb.storeBE24(count, at: 2)
        }
        return CommandDescriptorBlock(bytes.rawSpan)
    }
}
