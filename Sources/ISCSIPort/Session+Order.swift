internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

/// A PDU other than a command that waits for an earlier CmdSN.
struct HeldRequest {
    let cmdSN: SequenceNumber
    let header: BasicHeaderSegment
    let data: [UInt8]
    /// Where it came in; nil when that connection is gone, and nothing but the CmdSN is left to use up.
    var connection: Connection?
    /// For a task management function that waits although it is immediate: until when.
    var deadline: MonotonicTime?
}

// Delivery in the order of CmdSN, over all connections (RFC 7143 section 4.2.2.1).
extension Session {
    /// Keeps a command until the CmdSNs before its own have come.
    func hold(_ slot: CommandSlot) {
        slot.isHeld = true
        heldCount += 1
    }

    /// Whether anything waits for its turn.
    var isHolding: Bool { heldCount > 0 || !skipped.isEmpty || !heldRequests.isEmpty }

    /// Whether what has that CmdSN, which is in the window, is here already.
    func hasReceived(_ cmdSN: SequenceNumber) -> Bool {
        if heldCount > 0, slots.contains(where: { $0.isUsed && $0.isHeld && $0.cmdSN == cmdSN }) { return true }
        return skipped.contains(cmdSN) || heldRequests.contains { $0.deadline == nil && $0.cmdSN == cmdSN }
    }

    /// Calls `body` with every held command.
    func forEachHeld(_ body: (CommandSlot) -> Void) {
        guard heldCount > 0 else { return }
        for slot in slots where slot.isUsed && slot.isHeld { body(slot) }
    }

    /// Lets a CmdSN of the window count as received when its turn comes.
    func skip(_ cmdSN: SequenceNumber) {
        skipped.append(cmdSN)
    }

    /// Delivers everything whose turn has come.
    func deliverHeld() {
        guard isHolding, !isDelivering else { return }
        isDelivering = true
        defer { isDelivering = false }
        while !isEnded {
            // The rest is delivered in the next turn.
            guard deliveryWork < limits.turnWork else { return scheduleTurnEnd() }
            guard deliverNext() else { return }
            deliveryWork += Connection.pduWork
        }
    }

    /// Delivers what has ExpCmdSN, if it is here.
    private func deliverNext() -> Bool {
        if let position = heldRequests.firstIndex(where: { $0.deadline != nil && !window.expCmdSN.precedes($0.cmdSN) })
        {
            deliver(heldRequests.remove(at: position))
            return true
        }
        if let slot = takeNextHeld() {
            useUp(slot.cmdSN)
            deliver(slot)
            return true
        }
        if let position = skipped.firstIndex(of: window.expCmdSN) {
            useUp(skipped.remove(at: position))
            return true
        }
        if let position = heldRequests.firstIndex(where: { $0.deadline == nil && $0.cmdSN == window.expCmdSN }) {
            let request = heldRequests.remove(at: position)
            useUp(request.cmdSN)
            deliver(request)
            return true
        }
        return false
    }

    private func useUp(_ cmdSN: SequenceNumber) {
        _ = window.receive(cmdSN, isImmediate: false)
    }

    /// The held command whose turn it is, no longer held.
    private func takeNextHeld() -> CommandSlot? {
        guard heldCount > 0 else { return nil }
        for slot in slots where slot.isUsed && slot.isHeld && slot.cmdSN == window.expCmdSN {
            // Its data is not here yet: those behind it wait with it.
            guard !slot.isArriving else { return nil }
            slot.isHeld = false
            heldCount -= 1
            return slot
        }
        return nil
    }

    private func deliver(_ slot: CommandSlot) {
        if let failure = slot.transportFailure {
            if let connection = connection(of: slot) {
                connection.respond(slot, failure)
            } else if !slot.isOrphaned {
                free(slot)
            }
        } else if slot.isCancelled {
            free(slot)
        } else {
            deliveryWork += slot.expectedDataInLength + slot.receivedDataOut
            if slot.unsolicitedData == nil { settleDataOut(slot) }
            nexus?.submit(slot.task)
        }
    }

    private func deliver(_ request: HeldRequest) {
        request.connection?.deliverControl(request.header.bytes, request.data.rawSpan)
    }

    /// Task management functions that have waited until `now` go ahead without the commands that have not come.
    func deliverFunctions(dueAt now: MonotonicTime) {
        while !isEnded, let position = heldRequests.firstIndex(where: { $0.deadline.map { $0 <= now } ?? false }) {
            deliver(heldRequests.remove(at: position))
            deliverHeld()
        }
    }
}
