internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI

/// What goes out.
extension LoadConnection {
    /// Room in the output queue that surely takes one PDU: header, data, padding and digests.
    private static let piecesOfPDU = 4
    private static let headerBytesOfPDU = 128

    private var hasRoom: Bool {
        output.freePieces >= Self.piecesOfPDU && output.freeHeaderBytes >= Self.headerBytesOfPDU
    }

    /// Puts waiting data and new commands into the output queue; false when it is full before everything is in.
    func fillOutput(_ now: Int64) -> Bool {
        while true {
            // Data first: a command's unsolicited data comes before the next command's.
            while state.transferCount > 0 {
                guard hasRoom else { return false }
                sendNextDataOut()
            }
            guard !state.maxCmdSN.precedes(state.nextCmdSN) else { return true }
            guard hasRoom else { return false }
            if mayRetry, let slot = state.retrySlots.popLast() {
                state.retryAllowance = max(state.retryAllowance - 1, 0)
                start(state.slots[slot].command, in: slot, now)
            } else if let slot = state.freeSlots.last {
                let underWay = plan.depth - state.freeSlots.count
                guard let command = state.work.next(underWay: underWay) else { return true }
                state.freeSlots.removeLast()
                start(command, in: slot, now)
            } else {
                return true
            }
        }
    }

    /// Whether a command that was refused may be sent again: another has ended, or none is under way.
    private var mayRetry: Bool {
        !state.retrySlots.isEmpty
            && (state.retryAllowance > 0 || state.freeSlots.count + state.retrySlots.count == plan.depth)
    }

    private func start(_ command: LoadCommand, in slot: Int, _ now: Int64) {
        let generation = state.slots[slot].generation &+ 1
        // 0xFFFF would make the reserved tag possible.
        let usable = generation == 0xFFFF ? 0 : generation
        state.slots[slot] = Slot(command: command, startTime: now, generation: usable, isActive: true)
        let tag = UInt32(usable) << 16 | UInt32(slot)

        var pdu = SCSICommandPDU()
        pdu.isWrite = command.isWrite
        pdu.isRead = !command.isWrite && command.length > 0
        pdu.logicalUnitNumber = plan.logicalUnitNumber
        pdu.initiatorTaskTag = tag
        pdu.expectedDataTransferLength = UInt32(command.length)
        pdu.cmdSN = state.nextCmdSN
        pdu.expStatSN = state.expStatSN
        pdu.cdb = command.cdb
        state.nextCmdSN = state.nextCmdSN.advanced(by: 1)
        if command.isWrite {
            let parameters = session.parameters
            let first = min(command.length, parameters.firstBurstLength)
            if parameters.immediateData { pdu.dataSegmentLength = min(first, parameters.maxSendDataSegmentLength) }
            if !parameters.initialR2T, first > pdu.dataSegmentLength {
                pdu.isFinal = false
                append(
                    Transfer(tag: tag, targetTransferTag: reservedTag, offset: pdu.dataSegmentLength, end: first))
            }
        }
        append(pdu, dataOffset: 0)
    }

    /// Notes data that waits to be sent; false when there is more than the target may have asked for.
    @discardableResult
    func append(_ transfer: Transfer) -> Bool {
        guard state.transferCount < state.transfers.count else { return false }
        var index = state.firstTransfer + state.transferCount
        if index >= state.transfers.count { index -= state.transfers.count }
        state.transfers[index] = transfer
        state.transferCount += 1
        return true
    }

    /// Sends the next PDU of the first transfer.
    private func sendNextDataOut() {
        var transfer = state.transfers[state.firstTransfer]
        let count = min(transfer.end - transfer.offset, session.parameters.maxSendDataSegmentLength)
        var pdu = DataOutPDU()
        pdu.isFinal = transfer.offset + count == transfer.end
        pdu.dataSegmentLength = count
        if transfer.targetTransferTag != reservedTag { pdu.logicalUnitNumber = plan.logicalUnitNumber }
        pdu.initiatorTaskTag = transfer.tag
        pdu.targetTransferTag = transfer.targetTransferTag
        pdu.expStatSN = state.expStatSN
        pdu.dataSN = transfer.dataSN
        pdu.bufferOffset = UInt32(transfer.offset)
        append(pdu, dataOffset: transfer.offset)
        if pdu.isFinal {
            state.firstTransfer += 1
            if state.firstTransfer == state.transfers.count { state.firstTransfer = 0 }
            state.transferCount -= 1
        } else {
            transfer.offset += count
            transfer.dataSN += 1
            state.transfers[state.firstTransfer] = transfer
        }
    }

    /// Answers a ping of the target.
    func answer(_ ping: NOPInPDU) {
        var answer = NOPOutPDU()
        answer.isImmediate = true
        answer.logicalUnitNumber = ping.logicalUnitNumber
        answer.targetTransferTag = ping.targetTransferTag
        answer.cmdSN = state.nextCmdSN
        answer.expStatSN = state.expStatSN
        append(answer, dataOffset: 0)
    }

    /// Puts a PDU into the output queue, with its data from the payload. The caller has made sure that there is room;
    /// when there is none all the same (many pings at once), the connection fails.
    private func append(_ pdu: some PDUHeader, dataOffset: Int) {
        let hasDigest = outputFramer.hasHeaderDigest
        let headerLength = BasicHeaderSegment.length + (hasDigest ? PDUFramer.digestLength : 0)
        var isQueued = output.appendHeader(count: headerLength) { bytes in
            pdu.encode(into: &bytes)
            if hasDigest {
                let digest = Digest.value(of: bytes.bytes.extracting(0..<BasicHeaderSegment.length))
                bytes.storeBE32(digest, at: BasicHeaderSegment.length)
            }
        }
        let count = pdu.dataSegmentLength
        if count > 0, let payload, isQueued {
            isQueued = output.append(payload, offset: dataOffset, count: count, release: false)
            isQueued = isQueued && appendTrailer(payload, offset: dataOffset, count: count)
        }
        if !isQueued { fail(.protocolViolation("it sends more requests than it takes answers")) }
    }

    /// Puts padding and data digest after the data.
    private func appendTrailer(_ payload: OutputQueue.Payload, offset: Int, count: Int) -> Bool {
        let padLength = -count & 3
        guard padLength > 0 || outputFramer.hasDataDigest else { return true }
        var checksum: UInt32 = 0
        if outputFramer.hasDataDigest {
            checksum = output.withBytes(of: payload, offset: offset, count: count) { CRC32C.checksum($0) }
        }
        let hasDigest = outputFramer.hasDataDigest
        return output.appendHeader(count: padLength + (hasDigest ? PDUFramer.digestLength : 0)) { bytes in
            bytes.fill(at: 0, count: padLength)
            guard hasDigest else { return }
            let whole = CRC32C.checksum(bytes.bytes.extracting(0..<padLength), previous: checksum)
            bytes.storeBE32(whole.byteSwapped, at: padLength)
        }
    }
}
