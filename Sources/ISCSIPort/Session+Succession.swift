internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// What a session takes over from those before it, and hands on to the one that reinstates it.
struct Succession {
    /// The session that this one reinstates has not ended.
    var isWaiting = false
    /// When that wait is over.
    var deadline: MonotonicTime?
    var waitingLogin: (connection: Connection, reply: LoginReply)?
    /// Begins full feature phase.
    var begin: (() -> Void)?
    /// The session that waits for the end of this one.
    var successor: Session?
    /// Logical units that still work on commands of sessions before.
    var occupiedUnits: Set<LogicalUnit> = []
    /// Logical units that still work on commands of this session, which has ended.
    var leftUnits: Set<LogicalUnit> = []
}

// Session reinstatement (RFC 7143 section 6.3.5): the nexus of the former session is lost, and its tasks are aborted.
//
// A write that is with its medium by then cannot be called back, and must not overtake one of the new session. The new
// session begins at once nevertheless: only the logical units that still work on such commands answer BUSY, each until
// it has let go of its last one. A hung logical unit does not make the others unavailable. A session that ended by
// itself is reinstated no less when its initiator comes back.
extension Session {
    // MARK: The session before

    /// Waits for the end of the session that this one reinstates, at most for `limits.reinstatementWait`; then `begin`
    /// is called.
    func waitForFormer(_ connection: Connection, _ reply: LoginReply, begin: @escaping () -> Void) {
        guard !isEnded else {
            // It was ended before it could take the connection, which nobody else would close.
            connection.close(.sessionEnded)
            return
        }
        guard succession.isWaiting else { return }
        succession.waitingLogin = (connection, reply)
        succession.begin = begin
        let deadline = reactor.now + limits.reinstatementWait
        succession.deadline = deadline
        wake(at: deadline)
    }

    /// The session before has not ended in time.
    func giveUpFormer() {
        succession.deadline = nil
        guard let (connection, reply) = succession.waitingLogin else { return }
        succession.waitingLogin = nil
        connection.refuseStart(identity, authenticatedName, reply, .serviceUnavailable, on: reactor)
        end(.loginRefused(.serviceUnavailable))
    }

    /// The session before has ended.
    func formerHasEnded() {
        succession.isWaiting = false
        succession.deadline = nil
        let begin = succession.begin
        succession.begin = nil
        let isWanted = !isEnded && succession.waitingLogin != nil
        succession.waitingLogin = nil
        if isWanted { begin?() }
        handOver()
    }

    /// A logical unit has let go of the last command of the sessions before.
    func formerHasLetGo(of unit: LogicalUnit) {
        succession.occupiedUnits.remove(unit)
        hasOccupiedUnits = !succession.occupiedUnits.isEmpty
    }

    /// Gives a command to its logical unit, or answers BUSY while that works on commands of a session before.
    func submit(_ slot: CommandSlot) {
        guard !hasOccupiedUnits || !mustWait(slot) else {
            slot.transportFailure = .occupied
            return answerFailure(of: slot)
        }
        nexus?.submit(slot.task)
    }

    private func mustWait(_ slot: CommandSlot) -> Bool {
        switch slot.task.commandDescriptorBlock.operationCode {
        // What discovers logical units depends on no medium.
        case OperationCode.inquiry, OperationCode.reportLUNs, OperationCode.requestSense: false
        default:
            (nexus?.unitNexus(slot.logicalUnitNumber)?.logicalUnit).map(succession.occupiedUnits.contains) ?? false
        }
    }

    // MARK: The session after

    /// Has `successor` begin when this session, which has been told to end, has ended.
    func handOver(to successor: Session) {
        succession.successor = successor
        handOver()
    }

    private func handOver() {
        guard isEnded, !succession.isWaiting, let successor = succession.successor else { return }
        succession.successor = nil
        successor.reactor.postCompletion { successor.formerHasEnded() }
    }

    /// The session has ended: devices that work on its commands keep their logical units occupied.
    func occupyUnits() {
        for slot in slots where slot.isUsed {
            if let unit = slot.task.nexus?.logicalUnit { succession.leftUnits.insert(unit) }
        }
        occupiedUnits?.end(self, leaving: succession.leftUnits)
    }

    /// A device has let go of a command after the end of the session.
    func hasLetGo(of unit: LogicalUnit?) {
        if let unit, succession.leftUnits.contains(unit),
            !slots.contains(where: { $0.isUsed && $0.task.nexus?.logicalUnit === unit })
        {
            succession.leftUnits.remove(unit)
            occupiedUnits?.letGo(of: unit)
        }
        if let occupiedUnits, isDrained, occupiedUnits.isEmpty { server.nexusDrained(self) }
    }
}
