internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// What a session has of the one that it reinstates, and owes to the one that reinstates it.
struct Succession {
    /// The session before has not ended.
    var isWaiting = false
    /// When that wait is over.
    var deadline: MonotonicTime?
    /// The login that waits with it.
    var waitingLogin: (connection: Connection, reply: LoginReply)?
    /// Begins full feature phase.
    var begin: (() -> Void)?
    /// Logical units that still work on commands of sessions before.
    var occupiedUnits: Set<Int> = []
    /// The session that reinstates this one.
    var successor: Session?
    /// It knows which logical units are occupied.
    var isHandedOver = false
}

// Session reinstatement (RFC 7143 section 6.3.5): the nexus of the former session is lost, and its tasks are aborted.
//
// A write that is with its medium by then cannot be called back, and must not overtake one of the new session. The new
// session begins at once nevertheless: only the logical units that still work on such commands answer BUSY, each until
// it has let go of its last one. A hung logical unit takes the others from nobody. A session that ended by itself is
// reinstated no less when its initiator comes back.
extension Session {
    // MARK: The session before

    /// Waits for the end of the session that this one reinstates, at most for `limits.reinstatementWait`; then `begin`
    /// is called.
    func waitForFormer(_ connection: Connection, _ reply: LoginReply, begin: @escaping () -> Void) {
        guard succession.isWaiting, !isEnded else { return }
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
        connection.refuseStart(self, reply, .serviceUnavailable)
    }

    /// The session before has ended; `units` still work on its commands.
    func formerHasEnded(_ units: Set<Int>) {
        succession.isWaiting = false
        succession.deadline = nil
        succession.occupiedUnits = units
        let begin = succession.begin
        succession.begin = nil
        let isWanted = !isEnded && succession.waitingLogin != nil
        succession.waitingLogin = nil
        if isWanted { begin?() }
        handOver()
        checkDrained()
    }

    /// A logical unit has let go of the last command of the sessions before.
    func formerHasLetGo(of unit: Int) {
        succession.occupiedUnits.remove(unit)
        if isEnded { hasLetGo(of: unit) }
    }

    /// Gives a command to its logical unit, or answers BUSY while that works on commands of a session before.
    func submit(_ slot: CommandSlot) {
        guard succession.occupiedUnits.isEmpty || !mustWait(slot) else {
            slot.transportFailure = .occupied
            return answerFailure(of: slot)
        }
        nexus?.submit(slot.task)
    }

    private func mustWait(_ slot: CommandSlot) -> Bool {
        switch slot.task.commandDescriptorBlock.operationCode {
        // What discovers logical units depends on no medium.
        case OperationCode.inquiry, OperationCode.reportLUNs, OperationCode.requestSense: false
        default: slot.logicalUnitNumber.number.map(succession.occupiedUnits.contains) ?? false
        }
    }

    // MARK: The session after

    /// Tells `successor`, now or when this session is itself begun, which logical units it has to wait for.
    func handOver(to successor: Session) {
        succession.successor = successor
        handOver()
    }

    func handOver() {
        guard isEnded, !succession.isWaiting, !succession.isHandedOver, let successor = succession.successor else {
            return
        }
        succession.isHandedOver = true
        var units = succession.occupiedUnits
        for slot in slots where slot.isUsed { slot.logicalUnitNumber.number.map { _ = units.insert($0) } }
        successor.reactor.postCompletion { [units] in successor.formerHasEnded(units) }
    }

    /// A command has ended after the session: tells the successor when it was the last one of its logical unit.
    func hasLetGo(of unit: Int?) {
        if let unit, succession.isHandedOver, let successor = succession.successor,
            !succession.occupiedUnits.contains(unit),
            !slots.contains(where: { $0.isUsed && $0.logicalUnitNumber.number == unit })
        {
            successor.reactor.postCompletion { successor.formerHasLetGo(of: unit) }
        }
        checkDrained()
    }
}
