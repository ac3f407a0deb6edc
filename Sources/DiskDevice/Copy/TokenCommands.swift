internal import Bytes
internal import Media
internal import SCSI
internal import TargetCore

/// POPULATE TOKEN and WRITE USING TOKEN (SBC-4 clauses 5.12 and 5.59). IMMED is not supported: they are in the
/// foreground all the same (SPC-5 clause 5.17.4.3).
extension DiskDeviceServer {
    func populateToken(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let bytes = task.parameterList()
        // No parameter data is no error.
        guard !bytes.isEmpty else { return task.good() }
        switch Result(catching: { () throws(CopyListError) in try PopulateTokenList(bytes, self) }) {
        case .failure(.illegal(let sense)): return task.fail(sense)
        case .success(let list):
            let operation = CopyOperation(
                .populate(list), nexus, identifier: task.commandDescriptorBlock.bytes.loadBE32(at: 6),
                serviceAction: ThirdPartyCopy.populateToken)
            operation.noteMediumGeneration(task.mediumGeneration, of: self)
            operation.wantedBlocks = Int(list.ranges.blocks)
            return beginCopy(task, operation, identifierOffset: nil)
        }
    }

    /// Creates the token when no command is changing the medium: from then on, who does makes it invalid first.
    func populate(_ task: SCSITask, _ operation: CopyOperation, isWoken: Bool = false) -> CommandProgress {
        operation.gate = .alone
        switch writeGate.enterAlone(task, isWoken: isWoken) {
        case .parked: return .pending
        case .entered, .enteredWatched: return populateAlone(task, operation)
        }
    }

    func populateAlone(_ task: SCSITask, _ operation: CopyOperation) -> CommandProgress {
        guard case .populate(let list) = operation.work else { return endCopy(task, operation, nil) }
        if operation.isToEnd {
            return endCopy(
                task, operation, .aborted(CopySense(.commandsClearedByDeviceServer, segment: 0)))
        }
        // It may have been parked for some time.
        if let sense = notReadySense ?? senseBehindGate(task) { return endCopy(task, operation, .sense(sense)) }
        if let failure = image.loss {
            return endCopy(task, operation, .sense(Self.writeFailure(failure, block: nil)))
        }
        guard
            let token = copyManager.tokens.create(
                list.ranges.extents, of: self, targetName: operation.nexus.iTNexus.target.name,
                inactivity: list.inactivity)
        else {
            return endCopy(
                task, operation, .sense(SenseData(.illegalRequest, .insufficientResourcesToCreateROD)))
        }
        // A loss that comes in between has not found the token.
        if let failure = image.loss {
            token.invalidate(.cancelled)
            return endCopy(task, operation, .sense(Self.writeFailure(failure, block: nil)))
        }
        operation.token = token
        return endCopy(task, operation, nil)
    }

    func writeUsingToken(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let bytes = task.parameterList()
        guard !bytes.isEmpty else { return task.good() }
        if let sense = writeProtectionSense { return task.fail(sense) }
        switch Result(catching: { () throws(CopyListError) in try WriteUsingTokenList(bytes, self) }) {
        case .failure(.illegal(let sense)): return task.fail(sense)
        case .success(let list): return writeUsingToken(task, nexus, list)
        }
    }

    private func writeUsingToken(
        _ task: SCSITask, _ nexus: ITLNexus, _ list: WriteUsingTokenList
    ) -> CommandProgress {
        let operation = CopyOperation(
            .transfer, nexus, identifier: task.commandDescriptorBlock.bytes.loadBE32(at: 6),
            serviceAction: ThirdPartyCopy.writeUsingToken)
        operation.noteMediumGeneration(task.mediumGeneration, of: self)
        operation.wantedBlocks = Int(list.ranges.blocks)
        operation.deletesToken = list.deletesToken
        let wanted = byteCount(list.ranges.blocks)
        let destination = CopyParty(
            disk: self, nexus: nexus, descriptorOffset: nil, mediumGeneration: operation.mediumGeneration(of: self))
        if list.isZero {
            startTransfer(
                task, operation,
                CopyTransfer(
                    source: nil, sourceExtents: [], sourceOffset: 0, destination: destination,
                    destinationExtents: list.ranges.extents, length: wanted, dataLength: 0, isDescending: false,
                    token: nil))
            return beginCopy(task, operation, identifierOffset: nil)
        }
        switch copyManager.tokens.use(list.token) {
        case .failure(let error): return task.fail(error.sense)
        case .success(let token):
            if let sense = startTransfer(task, operation, from: token, list, to: destination, wanted) {
                copyManager.tokens.endUse(token, deletes: false)
                return task.fail(sense)
            }
            let progress = beginCopy(task, operation, identifierOffset: nil)
            // It was refused before it began: nobody else ends the use.
            if progress == .complete, !operation.isOver { copyManager.tokens.endUse(token, deletes: false) }
            return progress
        }
    }

    /// Makes the bytes of a token the transfer of an operation; sense data when that cannot be.
    private func startTransfer(
        _ task: SCSITask, _ operation: CopyOperation, from token: RODToken, _ list: WriteUsingTokenList,
        to destination: CopyParty, _ wanted: Int
    ) -> SenseData? {
        let known = token.naa == identity.naa ? self : copyManager.unit(naa: token.naa)?.server as? DiskDeviceServer
        guard let disk = known else { return RODTokenError.cancelled.sense }
        // In bytes of the token, by blocks of the disk that is written.
        guard list.offset < UInt64(token.byteCount + blockSize - 1) >> blockShift,
            byteCount(list.offset) < token.byteCount
        else { return .invalidParameter(byte: WriteUsingTokenList.offsetIntoRODOffset) }
        if disk === self {
            // What the token represents would change while it is read.
            for (index, extent) in list.ranges.extents.enumerated()
            where token.extents.contains(where: { $0.overlaps(extent) }) {
                return .invalidParameter(byte: list.ranges.start + index * BlockRanges.length)
            }
        }
        let offset = byteCount(list.offset)
        let data = min(wanted, token.byteCount - offset)
        let blocks = (data + blockSize - 1) >> Int(blockShift)
        startTransfer(
            task, operation,
            CopyTransfer(
                source: CopyParty(
                    disk: disk, nexus: nil, descriptorOffset: nil,
                    mediumGeneration: operation.mediumGeneration(of: disk)),
                sourceExtents: token.extents, sourceOffset: offset, destination: destination,
                destinationExtents: list.ranges.extents, length: byteCount(UInt64(blocks)), dataLength: data,
                isDescending: false, token: token))
        return nil
    }
}
