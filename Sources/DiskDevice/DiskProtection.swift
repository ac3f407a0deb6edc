internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
public import TargetCore

/// Protection information (SBC-4 clause 4.21): what commands of disks that keep it say of it, and what they move.
///
/// Only a disk whose image keeps it comes here. Its transfers all go by the lane, where the image reads and writes data
/// and protection information together; in a lease it stands behind each block when it goes to the initiator or comes
/// from there, and nowhere else.
extension DiskDeviceServer {
    // MARK: What is now, and what a command has found

    /// The type of its protection information now, if it has any.
    var protection: ProtectionType? { ProtectionType(rawValue: presentProtection.load(ordering: .acquiring)) }

    public var commandVariant: Int { Int(presentProtection.load(ordering: .acquiring)) }

    /// The type that the disk had when it began to process a command: all that the command does goes by that.
    func protection(_ task: SCSITask) -> ProtectionType? {
        ProtectionType(rawValue: UInt8(commands.variant(of: task.command)))
    }

    /// What a command ends with whose data have the protection information of another type than the disk has now: the
    /// disk was formatted meanwhile. Nil when that is not so.
    func formerProtectionSense(_ task: SCSITask) -> SenseData? {
        carriesProtection(task) && protection(task) != protection ? Self.formerProtection : nil
    }

    private static let formerProtection = SenseData(.unitAttention, .inquiryDataHasChanged)

    /// MAXIMUM TRANSFER LENGTH in blocks, with protection information of a type, or none.
    func maximumTransferBlocks(_ protection: ProtectionType?) -> UInt64 {
        UInt64(
            Self.maximumTransferLength / (blockSize + (protection == nil ? 0 : ProtectionInformation.length)))
    }

    // MARK: What a command says

    /// RDPROTECT, WRPROTECT, VRPROTECT or ORPROTECT; 000b where a command has no such field.
    func protectField(_ task: SCSITask) -> ProtectField {
        let block = task.commandDescriptorBlock
        let action = block.isVariableLength ? block.variableLengthServiceAction : nil
        guard Self.hasProtectField(block.operationCode, action) else { return ProtectField(code: 0) }
        return ProtectField(code: block.flags >> 5)
    }

    private static func hasProtectField(_ operationCode: UInt8, _ serviceAction: UInt16?) -> Bool {
        switch operationCode {
        case OperationCode.read10, OperationCode.read12, OperationCode.read16, OperationCode.write10,
            OperationCode.write12, OperationCode.write16, OperationCode.writeAndVerify10,
            OperationCode.writeAndVerify12, OperationCode.writeAndVerify16, OperationCode.verify10,
            OperationCode.verify12, OperationCode.verify16, OperationCode.writeSame10, OperationCode.writeSame16,
            OperationCode.orWrite16, OperationCode.compareAndWrite:
            true
        case OperationCode.variableLength: isOfType2(serviceAction)
        default: false
        }
    }

    /// Whether a variable-length command is one that SBC-4 has for type 2 protection.
    private static func isOfType2(_ serviceAction: UInt16?) -> Bool {
        switch serviceAction {
        case VariableLengthAction.read32, VariableLengthAction.verify32, VariableLengthAction.write32,
            VariableLengthAction.writeAndVerify32, VariableLengthAction.writeSame32:
            true
        default: false
        }
    }

    /// Whether protection information goes with the data of a command.
    func carriesProtection(_ task: SCSITask) -> Bool { protection(task) != nil && protectField(task).transfers }

    /// How many bytes so many blocks are on their way to or from the initiator.
    func transferLength(_ task: SCSITask, _ blocks: UInt64) -> Int {
        carriesProtection(task)
            ? Int(blocks) * (blockSize + ProtectionInformation.length) : byteCount(blocks)
    }

    /// How many whole blocks so many bytes of the initiator's are.
    func blockCount(_ task: SCSITask, ofBytes count: Int) -> UInt64 {
        carriesProtection(task)
            ? UInt64(count / (blockSize + ProtectionInformation.length)) : UInt64(count) >> blockShift
    }

    /// What is known of the tags of a command's blocks: all of them in a 32-byte command, the address with type 1.
    private func expectedTags(_ task: SCSITask) -> ExpectedTags {
        let block = task.commandDescriptorBlock
        if block.isVariableLength {
            return ExpectedTags(
                referenceTag: block.bytes.loadBE32(at: 20), applicationTag: block.bytes.loadBE16(at: 24),
                applicationTagMask: block.bytes.loadBE16(at: 26))
        }
        guard protection(task) == .type1 else { return ExpectedTags() }
        return ExpectedTags(referenceTag: UInt32(truncatingIfNeeded: BlockExtent(block).first))
    }

    /// The tags that the blocks from `first` on should have.
    private func expectedTags(_ task: SCSITask, from first: UInt64) -> ExpectedTags {
        guard let protection = protection(task) else { return ExpectedTags() }
        let index = first &- BlockExtent(task.commandDescriptorBlock).first
        return expectedTags(task).advanced(by: index, protection)
    }

    // MARK: The command table

    /// The rows of a disk with protection information of that type.
    static func protectedRows(
        _ rows: [CommandDescriptor<DiskDeviceServer>], _ type: ProtectionType
    ) -> [CommandDescriptor<DiskDeviceServer>] {
        rows.compactMap { row in
            let (code, action) = (row.attributes.operationCode, row.attributes.serviceAction)
            // Data and protection information are in two files, which no journal writes as a whole.
            if code == OperationCode.writeAtomic16 { return nil }
            // FMTPINFO.
            if code == OperationCode.formatUnit { return row.allowing(0xC0, inByte: 1) }
            guard hasProtectField(code, action) else { return row }
            let protected = row.checkingFirst { device, task in device.protectFieldRefusal(task) }
            guard code == OperationCode.variableLength else {
                return protected.allowing(0xE0, inByte: 1, isShown: type != .type2)
            }
            guard type == .type2 else { return nil }
            // The reference tag, the application tag and its mask.
            return (20..<28).reduce(protected.allowing(0xE0, inByte: 10)) { $0.allowing(0xFF, inByte: $1) }
        }
    }

    /// Why a command may not say what it says of protection information; nil when it may.
    private func protectFieldRefusal(_ task: SCSITask) -> CommandProgress? {
        let field = protectField(task)
        guard field.transfers else { return nil }
        let isLong = task.commandDescriptorBlock.isVariableLength
        // With type 2 only the 32-byte commands know the reference tags.
        if protection(task) == .type2, !isLong { return unknownOperation(task) }
        return field.isReserved ? task.failInvalidField(byte: isLong ? 10 : 1, bit: 7) : nil
    }

    private func unknownOperation(_ task: SCSITask) -> CommandProgress {
        task.fail(
            SenseData(
                .illegalRequest, .invalidCommandOperationCode, fieldPointer: FieldPointer(isInCommand: true, byte: 0)))
    }

    /// With types 1 and 3 the 32-byte commands are unknown operations, although others of their code are known.
    public func unknownCommand(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        if protection != nil, block.isVariableLength, Self.isOfType2(block.variableLengthServiceAction) {
            return unknownOperation(task)
        }
        return refuseUnknown(lookup, task)
    }

    // MARK: Reading

    /// Whether a step of a command reads protection information into its lease.
    func readsProtection(_ task: SCSITask, _ step: DiskStep) -> Bool {
        switch step {
        case .read, .readInGate: carriesProtection(task)
        case .verify: carriesProtection(task) && comparesMedium(task)
        default: false
        }
    }

    func prepareProtectedRead(_ task: SCSITask, at leaseOffset: Int, _ piece: BlockExtent, _ step: DiskStep) {
        let field = protectField(task)
        var checks = step == .verify && comparesMedium(task) ? field.checksOfComparedMedium : field.checksOfMedium
        if !field.transfers, isProtectionIgnored { checks = [] }
        image.prepareRead(
            task.fileRequest, at: leaseOffset, first: piece.first, blocks: piece.count,
            ProtectionTransfer(
                readsProtection(task, step) ? .lease : .image, checks: checks,
                expected: expectedTags(task, from: piece.first)))
    }

    /// What a command ends with whose step has found a block that does not fit its protection information, or none
    /// where there was some when the step was prepared; nil when neither was so.
    func protectionSense(_ task: SCSITask) -> SenseData? {
        guard image.outcome(of: task.fileRequest) == .failed(.protection) else { return nil }
        guard let failure = image.protectionFailure(of: task.fileRequest) else { return Self.formerProtection }
        return SenseData(
            .abortedCommand, failure.field.checkFailed, information: Int64(bitPattern: failure.block))
    }

    // MARK: Data-Out

    /// Has the protection information of a Data-Out checked, before the command changes or compares anything; nil when
    /// there is nothing to check.
    func checkDataOut(_ task: SCSITask) -> CommandProgress? {
        guard !protectField(task).checksOfDataOut.isEmpty, let data = task.dataOut.lease.take() else { return nil }
        task.fileRequest.payload.lease = consume data
        task.progressCount = 0
        return submitDataOutCheck(task)
    }

    /// COMPARE AND WRITE has its blocks twice: `progressCount` is the half to check.
    private func submitDataOutCheck(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let extent = BlockExtent(block)
        var blocks = blockCount(task, ofBytes: task.fileRequest.payload.lease?.count ?? 0)
        var start = 0
        if block.operationCode == OperationCode.compareAndWrite {
            blocks /= 2
            start = task.progressCount * transferLength(task, extent.count)
        }
        image.prepareProtectionCheck(
            task.fileRequest, at: start, first: extent.first, blocks: blocks,
            ProtectionTransfer(.lease, checks: protectField(task).checksOfDataOut, expected: expectedTags(task)))
        return submit(task, .checkDataOut)
    }

    func dataOutChecked(_ task: SCSITask, _ nexus: ITLNexus, _ result: MediaResult) -> CommandProgress {
        guard result == .done else {
            task.fileRequest.payload.lease = nil
            return task.fail(protectionSense(task) ?? SenseData(.hardwareError, .internalTargetFailure))
        }
        if task.commandDescriptorBlock.operationCode == OperationCode.compareAndWrite, task.progressCount == 0 {
            task.progressCount = 1
            return submitDataOutCheck(task)
        }
        task.progressCount = 0
        task.dataOut.lease = task.fileRequest.payload.lease.take()
        return table.execute(task.command, self, task, nexus)
    }

    // MARK: Writing

    func prepareProtectedWrite(_ task: SCSITask, at leaseOffset: Int, _ piece: BlockExtent) {
        let place: ProtectionTransfer.Place
        if !carriesProtection(task) {
            place = .image
        } else {
            place =
                switch task.commandDescriptorBlock.operationCode {
                case OperationCode.orWrite16: .leaseWithoutGuard
                case OperationCode.writeSame10, OperationCode.writeSame16: .repeated(sameInformation(task, piece.first))
                case OperationCode.variableLength where isWriteSame32(task):
                    .repeated(sameInformation(task, piece.first))
                default: .lease
                }
        }
        image.prepareWrite(
            task.fileRequest, at: leaseOffset, first: piece.first, blocks: piece.count, ProtectionTransfer(place))
    }

    func isWriteSame32(_ task: SCSITask) -> Bool {
        task.commandDescriptorBlock.variableLengthServiceAction == VariableLengthAction.writeSame32
    }

    // MARK: WRITE SAME

    /// Repeats a block that has come with its protection information. What has none that is checked, and zeros, may be
    /// given back with UNMAP.
    func writeSameProtected(_ task: SCSITask) -> CommandProgress {
        guard let data = task.dataOut.lease.take() else { return task.good() }
        let extent = writeSameExtent(task)
        let isZero = isZeroWithoutProtection(data)
        let chunk = isZero ? nil : leaseRepetitions(task, data, extent.count)
        // The steps to come ask for its protection information.
        task.dataOut.lease = consume data
        if isZero { return writeSameZeros(task, isProtected: false) }
        guard let chunk else { return task.end(.taskSetFull) }
        return submitWrite(task, BlockExtent(first: extent.first, count: chunk), .fill)
    }

    private func isZeroWithoutProtection(_ data: borrowing BufferLease) -> Bool {
        information(data, at: blockSize) == .unchecked && data.bytes.extracting(0..<blockSize).isAllZero
    }

    /// Gives the file request a lease with the user data of a block again and again; how often, or nil when the pool is
    /// exhausted.
    private func leaseRepetitions(_ task: SCSITask, _ data: borrowing BufferLease, _ count: UInt64) -> UInt64? {
        guard let chunk = leaseChunk(task, blocks: count), var lease = task.fileRequest.payload.lease.take() else {
            return nil
        }
        for _ in 0..<chunk { lease.append(data.bytes.extracting(0..<blockSize)) }
        task.fileRequest.payload.lease = consume lease
        return chunk
    }

    private func information(_ data: borrowing BufferLease, at offset: Int) -> ProtectionInformation {
        ProtectionInformation(word: data.bytes.loadBE64(at: offset))
    }

    /// The protection information of the block that WRITE SAME has, as the block `first` gets it.
    private func sameInformation(_ task: SCSITask, _ first: UInt64) -> ProtectionInformation {
        guard let data = task.dataOut.lease.take() else { return .unchecked }
        var information = information(data, at: blockSize)
        task.dataOut.lease = consume data
        return advance(&information, first &- BlockExtent(task.commandDescriptorBlock).first, task)
    }

    private func advance(
        _ information: inout ProtectionInformation, _ index: UInt64, _ task: SCSITask
    ) -> ProtectionInformation {
        if information != .unchecked, protection(task)?.isCounting == true {
            information.referenceTag &+= UInt32(truncatingIfNeeded: index)
        }
        return information
    }

    // MARK: Comparing

    /// The offset in a Data-Out with protection information of the first byte of user data that is not what the medium
    /// has, of which `found` has the user data alone.
    func firstDifference(_ found: borrowing BufferLease, fromInterleaved data: borrowing BufferLease) -> Int? {
        let stride = blockSize + ProtectionInformation.length
        for index in 0..<found.count / blockSize {
            let own = found.bytes.extracting(index * blockSize..<(index + 1) * blockSize)
            let sent = data.bytes.extracting(index * stride..<index * stride + blockSize)
            if let difference = own.firstDifference(from: sent) { return index * stride + difference }
        }
        return nil
    }

    /// What VERIFY ends with when blocks that it has read do not match its Data-Out, both with protection information;
    /// nil when they do. INFORMATION is the offset in the Data-Out.
    func protectedMiscompare(
        _ found: borrowing BufferLease, _ data: borrowing BufferLease, _ task: SCSITask, isSameBlock: Bool
    ) -> SenseData? {
        let stride = blockSize + ProtectionInformation.length
        let compared = protectField(task).compared
        for index in 0..<found.count / stride {
            let (own, sent) = (index * stride, isSameBlock ? 0 : (task.progressCount + index) * stride)
            let difference = found.bytes.extracting(own..<own + blockSize)
                .firstDifference(from: data.bytes.extracting(sent..<sent + blockSize))
            if let difference {
                return SenseData(.miscompare, .miscompareDuringVerify, information: Int64(sent + difference))
            }
            let stored = information(found, at: own + blockSize)
            var wanted = information(data, at: sent + blockSize)
            if isSameBlock { wanted = advance(&wanted, UInt64(task.progressCount + index), task) }
            if let field = Self.firstDifference(stored, wanted, compared) {
                return SenseData(.miscompare, field.checkFailed, information: Int64(sent + blockSize))
            }
        }
        return nil
    }

    private static func firstDifference(
        _ one: ProtectionInformation, _ other: ProtectionInformation, _ compared: ProtectionChecks
    ) -> ProtectionField? {
        if compared.contains(.blockGuard), one.blockGuard != other.blockGuard { return .blockGuard }
        if compared.contains(.applicationTag), one.applicationTag != other.applicationTag { return .applicationTag }
        return compared.contains(.referenceTag) && one.referenceTag != other.referenceTag ? .referenceTag : nil
    }

    // MARK: ORWRITE

    /// Sets every bit of the blocks in `data`, with protection information behind each, that is set in `other`. The
    /// guards are made anew when they are written.
    func formOr(_ data: inout BufferLease, interleavedWith other: borrowing BufferLease) {
        let stride = blockSize + ProtectionInformation.length
        for index in 0..<other.count / blockSize {
            for offset in Swift.stride(from: 0, to: blockSize, by: 8) {
                let place = index * stride + offset
                let word = data.bytes.loadBE64(at: place) | other.bytes.loadBE64(at: index * blockSize + offset)
                var target = data.mutableBytes
                target.storeBE64(word, at: place)
            }
        }
    }

    // MARK: Pages

    /// SPT, the one type that the disk has; GRD_CHK, APP_CHK and REF_CHK.
    public var protectionChecks: UInt8 {
        switch protection {
        case nil: 0
        case .type1: 0x07
        case .type2: 0x10 | 0x07
        case .type3: 0x20 | 0x07
        }
    }
}
