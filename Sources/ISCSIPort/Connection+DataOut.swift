internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

// The Data-Out of a command, from the device's request to its data (RFC 7143 sections 7.9 and 11.8).
extension Connection {
    /// Fetches the Data-Out that the device wants and that is not here, or says that all of it is.
    func progressDataOut(_ slot: CommandSlot) {
        // Unsolicited data comes to its end first: R2Ts begin behind it (section 13.14).
        guard slot.dataOut.requested > 0, slot.dataOut.unsolicited == nil else { return }
        if slot.dataOut.received >= slot.dataOut.requested { return deliverDataOut(slot) }
        if slot.dataOut.plan == nil {
            let isLeased = slot.task.dataOut.lease != nil || leaseDataOut(slot)
            guard isLeased, session?.owe(slot, slot.dataOut.requested) == true else { return fail(slot, .outOfBuffers) }
        }
        datamover?.getData(slot)
    }

    private func leaseDataOut(_ slot: CommandSlot) -> Bool {
        slot.task.dataOut.lease = reactor.pool.lease(capacity: slot.dataOut.requested)
        return slot.task.dataOut.lease != nil
    }

    /// All the data that the device asked for is here; what came beyond it is left out.
    private func deliverDataOut(_ slot: CommandSlot) {
        slot.task.dataOut.lease?.setCount(slot.dataOut.requested)
        session?.counters.count(received: slot.dataOut.received)
        if slot.owedDataOut > 0 { session?.settleDataOut(slot) }
        slot.dataOut.requested = 0
        slot.task.dataOutArrived()
    }

    /// Ends a command whose data transfer went wrong: the answer follows as soon as the device lets go of the task.
    func fail(_ slot: CommandSlot, _ failure: TransportFailure) {
        guard slot.transportFailure == nil else { return }
        slot.dataOut.cancel()
        session?.settleDataOut(slot)
        slot.transportFailure = failure
        if slot.isHeld || slot.task.nexus == nil {
            slot.isCancelled = true
        } else {
            slot.task.abort()
        }
    }
}
