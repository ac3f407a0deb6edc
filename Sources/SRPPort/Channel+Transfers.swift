internal import Bytes
internal import Fabric
internal import Platform
internal import SCSI
internal import SRP
internal import TargetCore

// The data of commands: RDMA Reads of Data-Out and of tables, RDMA Writes of Data-In (SRP r16a clause 5.4).
extension Channel: TaskPort {
    func requestDataOut(_ task: SCSITask, length: Int) {
        let slot = slot(of: task)
        guard state == .serving, let buffers else { return task.abort() }
        if case .immediate = slot.dataOut {
            guard var lease = port.reactor.pool.lease(capacity: length) else { return fail(slot, .outOfBuffers) }
            buffers.withReceived(slot.index, offset: slot.immediateData, count: length) { lease.append($0) }
            task.dataOut.lease = consume lease
            port.counters.count(received: length)
            return task.dataOutArrived()
        }
        slot.phase = .reading
        slot.dataOutLength = length
        if case .indirect(let indirect) = slot.dataOut, !indirect.isListComplete {
            slot.goal = .outTable
            slot.cursor = TransferCursor(total: Int(indirect.table.dataLength))
        } else {
            slot.goal = .dataOut
            slot.cursor = TransferCursor(total: length)
        }
        readers.append(slot, of: slots)
        pump()
    }

    func taskEnded(_ task: SCSITask) {
        letGo(slot(of: task), wantsAnswer: true)
    }

    func taskAborted(_ task: SCSITask) {
        let slot = slot(of: task)
        letGo(slot, wantsAnswer: slot.failure != nil)
    }

    /// The devices have let go of a command.
    private func letGo(_ slot: CommandSlot, wantsAnswer: Bool) {
        if slot.phase == .reading { readers.remove(slot, of: slots) }
        if slot.outstandingReads > 0 {
            slot.phase = .draining
            slot.answersWhenDrained = wantsAnswer
        } else if wantsAnswer, state == .serving {
            answer(slot)
        } else {
            release(slot)
        }
        pump()
    }

    /// Ends a command whose data cannot be fetched: the answer follows when the device has let go of the task.
    private func fail(_ slot: CommandSlot, _ failure: PortFailure) {
        guard slot.failure == nil else { return }
        slot.failure = failure
        slot.task.abort()
    }

    // MARK: The pump

    /// Posts what can be posted.
    func pump() {
        guard !isPumping else {
            mustPumpAgain = true
            return
        }
        isPumping = true
        repeat {
            mustPumpAgain = false
            postReads()
            postAnswers()
            submitHeld()
        } while mustPumpAgain
        isPumping = false
        requestCredits()
    }

    /// Whether the send queue has room beside what is reserved.
    var hasRoom: Bool {
        guard let pair, pair.state == .established else { return false }
        return pair.freeSends > SRPPortLimits.reservedSends
    }

    private func postReads() {
        while state == .serving, !readers.isEmpty, outstandingReads < sizes.outstandingReads, hasRoom {
            let slot = slots[readers.first]
            if slot.goal == .dataOut, slot.cursor.posted == 0 {
                guard let lease = port.reactor.pool.lease(capacity: slot.cursor.total) else {
                    readers.removeFirst(of: slots)
                    fail(slot, .outOfBuffers)
                    continue
                }
                slot.arriving.lease = consume lease
            }
            guard postRead(slot) else { return }
            if slot.cursor.isDone { readers.removeFirst(of: slots) }
        }
    }

    private func postRead(_ slot: CommandSlot) -> Bool {
        guard let pair, let buffers, let (piece, after) = nextPiece(slot, pair) else { return false }
        let entry: ScatterEntry?
        switch slot.goal {
        case .outTable: entry = buffers.entry(in: slot.outTable, piece)
        case .inTable: entry = buffers.entry(in: slot.inTable, piece)
        case .dataOut: entry = buffers.entry(in: slot.arriving, piece)
        case .dataIn: entry = nil
        }
        guard let entry,
            pair.read(entry, from: piece.address, key: piece.key, id: WorkID(.read, slot.index).word) == .posted
        else { return false }
        slot.cursor = after
        slot.outstandingReads += 1
        outstandingReads += 1
        return true
    }

    /// The next piece of a slot's transfer.
    func nextPiece(_ slot: CommandSlot, _ pair: QueuePair) -> (TransferCursor.Piece, TransferCursor)? {
        let limit = min(pair.domain.device.limits.messageLength, Int(UInt32.max))
        let isIn = slot.goal == .inTable || slot.goal == .dataIn
        switch isIn ? slot.dataIn : slot.dataOut {
        case .none, .immediate: return nil
        case .direct(let descriptor): return slot.cursor.next(limit: limit, count: 1) { _ in descriptor }
        case .indirect(let indirect) where slot.goal == .outTable || slot.goal == .inTable:
            return slot.cursor.next(limit: limit, count: 1) { _ in indirect.table }
        case .indirect(let indirect):
            return slot.cursor.next(limit: limit, count: indirect.tableCount) {
                descriptor($0, slot, indirect, isIn: isIn)
            }
        }
    }

    /// A descriptor of an indirect buffer, from the table or, when that is all in the information unit, from there.
    private func descriptor(
        _ position: Int, _ slot: CommandSlot, _ indirect: SRPIndirectBuffer, isIn: Bool
    ) -> SRPMemoryDescriptor {
        let offset = position * SRPMemoryDescriptor.length
        let nothing = SRPMemoryDescriptor(virtualAddress: 0, memoryHandle: 0, dataLength: 0)
        if indirect.isListComplete {
            let start = (isIn ? slot.inList : slot.outList) + offset
            return buffers?.withReceived(slot.index, offset: start, count: SRPMemoryDescriptor.length) {
                SRPMemoryDescriptor($0, at: 0)
            } ?? nothing
        }
        return isIn ? slot.inTable.descriptor(at: offset) : slot.outTable.descriptor(at: offset)
    }

    // MARK: The end of reads

    func readEnded(_ slot: CommandSlot, succeeded: Bool) {
        slot.outstandingReads -= 1
        outstandingReads -= 1
        guard slot.outstandingReads == 0 else { return }
        if slot.phase == .draining {
            slot.arriving.lease = nil
            guard state == .serving, slot.answersWhenDrained else { return release(slot) }
            return answer(slot)
        }
        // After a failure the queue pair ends, and with it the command.
        guard succeeded, state == .serving, slot.phase == .reading, slot.cursor.isDone else { return }
        switch slot.goal {
        case .outTable:
            guard isTableValid(slot.dataOut, slot.outTable) else { return fail(slot, .requestFieldsInvalid) }
            slot.goal = .dataOut
            slot.cursor = TransferCursor(total: slot.dataOutLength)
            readers.append(slot, of: slots)
        case .inTable:
            slot.phase = .answering
            if !isTableValid(slot.dataIn, slot.inTable) { slot.failure = .requestFieldsInvalid }
            beginAnswer(slot)
        case .dataOut: deliverDataOut(slot)
        case .dataIn: break
        }
    }

    private func isTableValid(_ buffer: SRPDataBuffer, _ table: borrowing LeasePlace) -> Bool {
        guard case .indirect(let indirect) = buffer else { return false }
        return table.hasRoom(for: indirect)
    }

    private func deliverDataOut(_ slot: CommandSlot) {
        guard var lease = slot.arriving.lease.take() else { return }
        lease.setCount(slot.dataOutLength)
        slot.task.dataOut.lease = consume lease
        slot.phase = .device
        port.counters.count(received: slot.dataOutLength)
        slot.task.dataOutArrived()
    }
}

extension ChannelBuffers {
    /// The entry for a piece of the lease in a place.
    func entry(in place: borrowing LeasePlace, _ piece: TransferCursor.Piece) -> ScatterEntry? {
        guard let lease = place.lease.take() else { return nil }
        let entry = arena.entry(for: lease, offset: piece.offset, length: piece.length)
        place.lease = consume lease
        return entry
    }
}

extension LeasePlace {
    /// The memory descriptor at an offset of a table.
    func descriptor(at offset: Int) -> SRPMemoryDescriptor {
        guard let table = lease.take() else {
            return SRPMemoryDescriptor(virtualAddress: 0, memoryHandle: 0, dataLength: 0)
        }
        let found = Self.descriptor(table, at: offset)
        lease = consume table
        return found
    }

    private static func descriptor(_ table: borrowing BufferLease, at offset: Int) -> SRPMemoryDescriptor {
        SRPMemoryDescriptor(table.bytes, at: offset)
    }

    /// Whether a table that was fetched has room for what its buffer shall have; it is readable from here on.
    func hasRoom(for indirect: SRPIndirectBuffer) -> Bool {
        guard var table = lease.take() else { return false }
        table.setCount(Int(indirect.table.dataLength))
        let hasRoom = Self.hasRoom(table, for: indirect)
        lease = consume table
        return hasRoom
    }

    private static func hasRoom(_ table: borrowing BufferLease, for indirect: SRPIndirectBuffer) -> Bool {
        do throws(SRPError) {
            try indirect.check(SRPDescriptorList(table.bytes))
            return true
        } catch {
            return false
        }
    }
}
