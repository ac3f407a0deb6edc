internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

/// A PDU other than a command that is held.
struct HeldRequest {
    let header: BasicHeaderSegment
    let data: [UInt8]
    /// Where it came in.
    let connection: Connection
}

// Delivery in the order of CmdSN.
extension Session {
    /// Holds a command until those before it have come, and its own data.
    func hold(_ slot: CommandSlot) {
        slot.isHeld = true
        order.hold(slot, slot.cmdSN, isComplete: !slot.isArriving)
    }

    /// The data of a command that was held for it is here, or will not come.
    func endArrival(of slot: CommandSlot) {
        slot.isArriving = false
        order.complete(slot)
    }

    /// Delivers everything whose turn has come.
    func deliverHeld() {
        guard !order.isEmpty, !isDelivering else { return }
        isDelivering = true
        defer { isDelivering = false }
        while !isEnded {
            // The rest is delivered in the next turn of the reactor.
            guard deliveryWork < limits.turnWork else { return scheduleTurnEnd() }
            guard let turn = order.next(window.expCmdSN) else { return }
            deliveryWork += StreamDatamover.pduWork
            if case .function(let request) = turn {
                deliver(request)
                continue
            }
            _ = changeWindow { $0.receive($0.expCmdSN, isImmediate: false) }
            switch turn {
            case .command(let slot): deliver(slot)
            case .request(let request): deliver(request)
            case .nothing, .function: break
            }
        }
    }

    private func deliver(_ slot: CommandSlot) {
        slot.isHeld = false
        if slot.transportFailure != nil {
            answerFailure(of: slot)
        } else if slot.isCancelled {
            free(slot)
        } else {
            deliveryWork += slot.expectedDataInLength + slot.dataOut.received
            if slot.dataOut.unsolicited == nil { settleDataOut(slot) }
            submit(slot)
        }
    }

    /// Ends a command with its transport failure, here or on the connection that takes it over.
    func answerFailure(of slot: CommandSlot) {
        guard let failure = slot.transportFailure else { return }
        if let connection = connection(of: slot) {
            connection.respond(slot, failure)
        } else if !slot.isOrphaned {
            free(slot)
        }
    }

    private func deliver(_ request: HeldRequest) {
        request.connection.deliverControl(request.header.bytes, request.data.rawSpan)
    }

    /// Delivers task management functions whose wait is over, without the commands that have not come.
    func deliverFunctions(dueAt now: MonotonicTime) {
        while !isEnded, let request = order.overdueFunction(at: now) {
            deliver(request)
            deliverHeld()
        }
    }
}
