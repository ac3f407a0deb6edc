internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// A response that everything before it must be acknowledged for, and that must be acknowledged before anything follows it.
struct ResponseFence {
    /// The connection that the response goes out on.
    let connection: Connection
    /// Sends the response.
    let send: () -> Void
    /// Which fence it is.
    let number: UInt64
    /// When the initiator has had long enough to acknowledge; nil before the fence is waited for.
    var deadline: MonotonicTime?
    /// The response is sent.
    var isSent = false
    /// The StatSNs that ExpStatSN of each connection has to reach.
    var awaited: [(connection: Connection, statSN: SequenceNumber)] = []
}

// Response fences and FastAbort: what TaskReporting asks for beyond RFC 3720 (RFC 7143 sections 4.2.2.3, 4.2.3.3 and 4.2.3.4).
//
// A fence holds all responses of the session back, not only those of one I_T_L nexus: sessions whose functions matter to several
// connections at once are rare, and the wait is short.
extension Session {
    /// Whether responses of functions on many tasks are fenced. On a single connection the order is enough.
    private var usesFences: Bool { parameters.taskReporting != .rfc3720 && connectionCount > 1 }

    /// Sends a response on `connection` behind a fence, if there has to be one.
    func fence(on connection: Connection, _ send: @escaping () -> Void) {
        guard usesFences || !fences.isEmpty else { return send() }
        nextFence += 1
        isFenced = true
        fences.append(ResponseFence(connection: connection, send: send, number: nextFence))
        if fences.count == 1 { raiseFence() }
    }

    /// The first response from now on is fenced: tasks of this session were cleared by another one.
    private func expectFence() {
        guard usesFences else { return }
        isFenced = true
        fencesNextResponse = true
    }

    /// Keeps the outcome of a command back while there is a fence, or sends it behind one of its own.
    func holdBehindFence(_ slot: CommandSlot) {
        if fencesNextResponse, let connection = connection(of: slot) {
            fencesNextResponse = false
            let reference = slot.reference
            return fence(on: connection) { [unowned self] in sendOutcome(reference) }
        }
        fencedSlots.append(slot.reference)
    }

    private func sendOutcome(_ reference: SlotReference) {
        guard let slot = slot(reference), !slot.isAnswered else { return }
        endOfTask(slot)
    }

    /// Waits for the acknowledgement of all that was sent until now, and asks for it by NOP-In.
    private func raiseFence() {
        fences[0].awaited = connections.compactMap { $0 }.filter(\.hasUnacknowledgedStatus).map { ($0, $0.status.next) }
        let deadline = reactor.now + limits.taskManagementWait
        fences[0].deadline = deadline
        wake(at: deadline)
        for awaited in fences[0].awaited { awaited.connection.ping() }
        checkFence()
    }

    /// Looks whether what the fence waits for has come: an acknowledgement was read, or a connection is gone.
    func checkFence() {
        while let fence = fences.first {
            let awaited = fence.awaited.filter {
                $0.connection.session === self && $0.connection.acknowledgedStatSN.precedes($0.statSN)
            }
            fences[0].awaited = awaited
            guard awaited.isEmpty else { return }
            if fence.isSent || fence.connection.session !== self {
                lowerFence()
            } else {
                passFence()
            }
        }
    }

    private func passFence() {
        fences[0].isSent = true
        let fence = fences[0]
        fence.send()
        guard fence.connection.session === self, !fences.isEmpty else { return }
        fences[0].awaited = [(fence.connection, fence.connection.status.next)]
        fence.connection.ping()
    }

    /// The first fence is cleared: what was held back goes out, unless there is another one.
    private func lowerFence() {
        fences.removeFirst()
        guard fences.isEmpty else { return raiseFence() }
        isFenced = fencesNextResponse
        let held = fencedSlots
        fencedSlots = []
        for reference in held {
            if isFenced {
                if let slot = slot(reference) { holdBehindFence(slot) }
            } else {
                sendOutcome(reference)
            }
        }
    }

    /// The initiator has not acknowledged in time: the responses go out without.
    func giveUpFence(_ number: UInt64) {
        guard let fence = fences.first, fence.number == number else { return }
        if !fence.isSent { fence.send() }
        guard fences.first?.number == number else { return }
        lowerFence()
    }

    // MARK: FastAbort

    /// Tells, for FastAbort, the connections but one that have tasks on a logical unit that these are about to be ended
    /// (section 4.2.3.4).
    func announceTermination(of nexus: ITLNexus, except issuer: Connection?) {
        guard parameters.taskReporting == .fastAbort else { return }
        var places: Set<Int> = []
        for slot in slots where slot.isUsed && !slot.isAnswered && slot.place >= 0 {
            if slot.task.nexus === nexus, slot.task.state != .idle { places.insert(slot.place) }
        }
        for place in places.sorted() {
            guard let connection = connections[place], connection !== issuer else { continue }
            connection.announceTermination(of: nexus.logicalUnitNumber)
        }
    }

    func tasksWillBeCleared(on nexus: ITLNexus) {
        announceTermination(of: nexus, except: nil)
        expectFence()
    }
}

extension Connection {
    /// Whether something that was sent with a StatSN is not acknowledged.
    var hasUnacknowledgedStatus: Bool { acknowledgedStatSN.precedes(status.next) }

    /// Sends the Asynchronous Message that tasks of a logical unit are ended.
    func announceTermination(of logicalUnitNumber: LogicalUnitNumber) {
        guard let session, isOpen else { return }
        session.openWindow()
        var message = AsyncMessagePDU()
        message.event = .tasksTerminated
        message.logicalUnitNumber = logicalUnitNumber
        message.statSN = status.take()
        message.expCmdSN = session.window.expCmdSN
        message.maxCmdSN = session.window.maxCmdSN
        send(message)
    }
}
