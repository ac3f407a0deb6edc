internal import Platform

// What a session waits for with a time limit. One timer serves all of it, so that no initiator can have many.
extension Session {
    /// Ends the session after `gracePeriod`, or earlier when it is to end earlier already.
    func close(after gracePeriod: Duration) {
        let deadline = reactor.now + gracePeriod
        closingDeadline = min(closingDeadline ?? deadline, deadline)
        wake(at: deadline)
    }

    /// Has `timerFired` called at `deadline`, or before. Without a timer left for it, the deadline is reached at the
    /// end of the turn.
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
        let failure = failedConnections.map(\.deadline).min()
        return [succession.deadline, closingDeadline, order.deadline, fences.deadline, failure].compactMap { $0 }.min()
    }

    /// Gives up what has waited until `now`.
    private func expire(at now: MonotonicTime) {
        if let closingDeadline, closingDeadline <= now { return end(.closedByOperator) }
        if let deadline = succession.deadline, deadline <= now { return giveUpFormer() }
        deliverFunctions(dueAt: now)
        giveUpFences(at: now)
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
