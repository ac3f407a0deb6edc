internal import ISCSI
internal import Platform

// What a session waits for with a time limit. One timer serves all of it, so that no initiator can have many.
extension Session {
    /// Waits for the end of the session that this one reinstates, at most for `limits.reinstatementWait`.
    func waitForFormer(_ connection: Connection, _ reply: LoginReply) {
        guard isWaitingForFormer, !isEnded else { return }
        waitingConnection = (connection, reply)
        let deadline = reactor.now + limits.reinstatementWait
        formerDeadline = deadline
        wake(at: deadline)
    }

    /// Ends the session after `gracePeriod`, or earlier when it is to end earlier already.
    func close(after gracePeriod: Duration) {
        let deadline = reactor.now + gracePeriod
        closingDeadline = min(closingDeadline ?? deadline, deadline)
        wake(at: deadline)
    }

    /// Has `timerFired` called at `deadline`, or before. Without a timer left for it, the deadline is reached at the end of the turn.
    func wake(at deadline: MonotonicTime) {
        guard !isEnded else { return }
        if let timerDeadline, timerDeadline <= deadline { return }
        cancelTimer()
        timer = reactor.schedule(after: deadline - reactor.now, self, token: 0)
        guard timer == nil else { return timerDeadline = deadline }
        hasNoTimer = true
        scheduleTurnEnd()
    }

    /// Has `turnEnded` called at the end of this turn.
    func scheduleTurnEnd() {
        guard !isTurnEndScheduled else { return }
        isTurnEndScheduled = true
        reactor.afterEvents(self)
    }

    func cancelTimer() {
        if let timer { reactor.cancel(timer) }
        timer = nil
        timerDeadline = nil
    }

    /// The earliest deadline of all.
    private var nextDeadline: MonotonicTime? {
        // Held functions all wait equally long, so the first of them is the first to have waited long enough.
        let function = heldRequests.first { $0.deadline != nil }?.deadline
        let failure = failedConnections.map(\.deadline).min()
        return [formerDeadline, closingDeadline, function, fences.first?.deadline, failure].compactMap { $0 }.min()
    }

    /// Gives up what has waited until `now`.
    private func expire(at now: MonotonicTime) {
        if let closingDeadline, closingDeadline <= now { return end(.closedByOperator) }
        if let formerDeadline, formerDeadline <= now {
            self.formerDeadline = nil
            if isWaitingForFormer, let (connection, reply) = waitingConnection {
                waitingConnection = nil
                return connection.refuseStart(self, reply, .serviceUnavailable)
            }
        }
        deliverFunctions(dueAt: now)
        while !isEnded, let fence = fences.first, let deadline = fence.deadline, deadline <= now {
            giveUpFence(fence.number)
        }
        while !isEnded, let failure = failedConnections.first(where: { $0.deadline <= now }) {
            endFailure(failure.number)
        }
    }
}

extension Session: TimerHandler {
    func timerFired(_ token: UInt64) {
        timer = nil
        timerDeadline = nil
        guard !isEnded else { return }
        expire(at: reactor.now)
        if let nextDeadline { wake(at: nextDeadline) }
    }
}

extension Session: TurnHandler {
    func turnEnded() {
        isTurnEndScheduled = false
        guard !isEnded else { return }
        if hasNoTimer {
            hasNoTimer = false
            expire(at: .distantFuture)
        }
        deliveryWork = 0
        deliverHeld()
    }
}
