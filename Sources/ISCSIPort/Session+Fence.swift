internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// What TaskReporting asks for beyond RFC 3720: response fences and FastAbort (RFC 7143 sections 4.2.2.3, 4.2.3.3 and
// 4.2.3.4).
extension Session {
    /// Whether responses of functions on many tasks are fenced. On a single connection the order suffices.
    private var usesFences: Bool { parameters.taskReporting != .rfc3720 && connectionCount > 1 }

    /// Sends a response on `connection` behind a fence, if there has to be one.
    func fence(on connection: Connection, _ respond: @escaping () -> Void) {
        guard usesFences || fences.count > 0 else { return respond() }
        fences.append(on: connection, respond)
        advanceFences()
    }

    /// Does what the fences ask for, until an acknowledgement is waited for.
    func advanceFences() {
        while !isEnded,
            let step = fences.next(connections.compactMap { $0 }, until: reactor.now + limits.taskManagementWait)
        {
            switch step {
            case .ask(let asked): for connection in asked { connection.ping() }
            case .respond(let respond): respond()
            case .release(let outcomes):
                for reference in outcomes {
                    guard let slot = slot(reference) else { continue }
                    if fences.isRaised { holdBehindFence(slot) } else { endOfTask(slot) }
                }
            }
        }
        if let deadline = fences.deadline { wake(at: deadline) }
    }

    /// Holds the outcome of a command back while there is a fence, or sends it behind one of its own.
    func holdBehindFence(_ slot: CommandSlot) {
        let reference = slot.reference
        guard let connection = connection(of: slot), fences.takeFenceOfOutcome() else { return fences.hold(reference) }
        fence(on: connection) { [unowned self] in
            if let slot = self.slot(reference), !slot.isAnswered { endOfTask(slot) }
        }
    }

    /// Sends the responses whose fences have waited for the initiator until `now`.
    func giveUpFences(at now: MonotonicTime) {
        while !isEnded, fences.giveUp(at: now) { advanceFences() }
    }

    // MARK: FastAbort

    /// A connection with tasks on a logical unit.
    private struct Place: Hashable, Comparable {
        let connectionIndex: Int
        let logicalUnitNumber: UInt64

        static func < (one: Place, other: Place) -> Bool {
            (one.connectionIndex, one.logicalUnitNumber) < (other.connectionIndex, other.logicalUnitNumber)
        }
    }

    /// Tells, for FastAbort, the connections but one with tasks that `isAffected` selects that these are about to be
    /// ended, logical unit by logical unit (section 4.2.3.4).
    func announceTermination(except issuer: Connection?, of isAffected: (SCSITask) -> Bool) {
        guard parameters.taskReporting == .fastAbort else { return }
        var places: Set<Place> = []
        for slot in slots where slot.isUsed && !slot.isAnswered && slot.connectionIndex >= 0 {
            guard let nexus = slot.task.nexus, slot.task.state != .idle, isAffected(slot.task) else { continue }
            places.insert(
                Place(connectionIndex: slot.connectionIndex, logicalUnitNumber: nexus.logicalUnitNumber.rawValue))
        }
        for place in places.sorted() {
            guard let connection = connections[place.connectionIndex], connection !== issuer else { continue }
            connection.announceTermination(of: LogicalUnitNumber(rawValue: place.logicalUnitNumber))
            // The connection may have closed, and the session with it.
            if isEnded { return }
        }
    }

    func tasksWillBeCleared(where isAffected: (SCSITask) -> Bool) {
        announceTermination(except: nil, of: isAffected)
        if usesFences { fences.fenceNextOutcome() }
    }
}

extension Connection: FencedConnection {
    var nextStatSN: SequenceNumber { status.next }
    var isInSession: Bool { session != nil }

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
