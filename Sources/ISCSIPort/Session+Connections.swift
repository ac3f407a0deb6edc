internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

/// A connection that is gone whose tasks wait for another one to take them over (RFC 7143 section 7.2.2).
struct FailedConnection {
    /// CID: the initiator's number of the connection in its session (section 4.2.4).
    let connectionID: UInt16
    /// Which failure it was; its tasks carry the number.
    let number: UInt64
    /// When the tasks end: Time2Wait and Time2Retain after the failure.
    let deadline: MonotonicTime
}

/// How a connection leaves its session.
enum ConnectionRemoval {
    /// It broke, or the initiator removed it for recovery: at ErrorRecoveryLevel 2 its tasks wait for reassignment.
    case failed
    /// It was logged out: its tasks end.
    case loggedOut
}

// The connections of a session: how they come and go (RFC 7143 sections 6.3.4, 7.1.4.3 and 8.2).
extension Session {
    /// The connection with that CID.
    func connection(withID connectionID: UInt16) -> Connection? {
        for case .some(let connection) in connections where connection.connectionID == connectionID {
            return connection
        }
        return nil
    }

    /// Takes a connection in. One with the same CID is replaced, which is its implicit logout (section 6.3.4).
    func add(_ connection: Connection) {
        let former = self.connection(withID: connection.connectionID)
        connection.connectionIndex = connections.firstIndex { $0 == nil } ?? connections.count
        var changed = connections
        if connection.connectionIndex == changed.count {
            changed.append(connection)
        } else {
            changed[connection.connectionIndex] = connection
        }
        connections = changed
        connectionCount += 1
        // Last, so that the session is not without a connection in between.
        former?.close(.connectionReinstated)
    }

    /// Whether commands whose data is still on its way must not use up their CmdSN before it is here: those of another
    /// connection could pass them, and with data digests at ErrorRecoveryLevel 1 they may be sent again.
    var ordersArrivals: Bool { connectionCount > 1 || parameters.errorRecoveryLevel > 0 }

    /// Takes a connection out. The session ends with its last connection, unless its tasks wait for another one.
    func remove(_ connection: Connection, _ removal: ConnectionRemoval, _ reason: CloseReason) {
        let index = connection.connectionIndex
        guard index >= 0 else { return }
        var rest = connections
        rest[index] = nil
        connections = rest
        connectionCount -= 1
        connection.leaveSession()
        let retention = parameters.defaultTime2Wait + parameters.defaultTime2Retain
        let isRetained =
            removal == .failed && parameters.errorRecoveryLevel == 2 && parameters.defaultTime2Retain > 0
        order.withdrawRequests { $0.connection === connection }
        if isRetained {
            nextFailure += 1
            let deadline = reactor.now + .seconds(retention)
            failedConnections.append(
                FailedConnection(connectionID: connection.connectionID, number: nextFailure, deadline: deadline))
            wake(at: deadline)
            for slot in slots where slot.isUsed && slot.connectionIndex == index { orphan(slot, from: connection) }
            advanceFences()
            limitFailures()
        } else if connectionCount > 0 || !failedConnections.isEmpty {
            endTasks { $0.connectionIndex == index }
            advanceFences()
            deliverHeld()
        } else {
            end(reason)
        }
    }

    /// A command has lost its connection and waits for another.
    private func orphan(_ slot: CommandSlot, from connection: Connection) {
        if slot.isArriving { return free(slot) }
        slot.connectionIndex = CommandSlot.noConnection
        slot.isOrphaned = true
        slot.failure = nextFailure
        connection.datamover?.returnBuffers(slot)
        slot.restartDataOut()
    }

    /// Failures beyond the number of connections that a session may have: the oldest is over.
    private func limitFailures() {
        guard failedConnections.count > limits.sessionConnections, let oldest = failedConnections.first else { return }
        endFailure(oldest.number)
    }

    /// Ends the tasks that still wait after a failure; the session ends with them when it has no connection.
    func endFailure(_ number: UInt64) {
        guard let position = failedConnections.firstIndex(where: { $0.number == number }) else { return }
        failedConnections.remove(at: position)
        if connectionCount == 0, failedConnections.isEmpty { return end(.recoveryTimedOut) }
        endTasks { $0.isOrphaned && $0.failure == number }
        deliverHeld()
    }

    /// Whether a connection with that CID has failed and its tasks wait; they end now unless they are still wanted.
    func closeFailed(connectionID: UInt16, keepingTasks: Bool) -> Bool {
        let failures = failedConnections.filter { $0.connectionID == connectionID }
        guard !failures.isEmpty else { return false }
        if !keepingTasks { for failure in failures { endFailure(failure.number) } }
        return true
    }

    /// Forgets the failures, whose tasks end by other means.
    func forgetFailures() {
        failedConnections = []
    }

    /// Ends those tasks that `isIncluded` selects, without answers.
    private func endTasks(where isIncluded: (CommandSlot) -> Bool) {
        for slot in slots where slot.isUsed && isIncluded(slot) {
            slot.connectionIndex = CommandSlot.noConnection
            slot.isOrphaned = false
            slot.restartDataOut()
            endOutside(slot)
        }
        nexus?.abortTasks { [slots] task in slots[task.slot].isAbandoned }
    }

    /// Ends a command whose task its logical unit does not have; a task that it has is aborted with the others.
    private func endOutside(_ slot: CommandSlot) {
        if slot.isArriving || slot.isAnswered { return free(slot) }
        slot.transportFailure = nil
        if slot.isHeld {
            // Its CmdSN is used up in its turn.
            slot.isCancelled = true
            slot.task.dataOut.lease = nil
        } else if slot.task.state == .idle || slot.task.state == .ended {
            free(slot)
        }
    }
}
