internal import Bytes
internal import Platform

extension QueuePair {
    /// Ends the connection; `closed` follows, after all requests have ended.
    public func close() {
        beginClosing(.local)
    }

    /// Brings the queue pair into the error state. The first reason counts, but for the peer's disconnection, which may
    /// be noticed before what it is for.
    func beginClosing(_ reason: CloseReason) {
        if state == .closing, closeReason == .peer, reason != .local { closeReason = reason }
        guard state != .closing && state != .closed else { return }
        let wasConnecting = state == .connecting || state == .established
        state = .closing
        closeReason = reason
        if wasConnecting { provider.disconnect(endpoint) }
        provider.fail(handle)
        ring()
        if sendQueue.count > 0 { postMarker() }
        drainTimer = context.reactor?.schedule(after: Self.drainTimeout, DrainTimer(self), token: 0)
        // When there is no timer to be had, nobody would end a wait.
        let mayWait = reason != .deviceRemoved && (context.reactor == nil || drainTimer != nil)
        if !mayWait {
            context.finishLater(self)
        } else {
            finishIfDrained()
        }
    }

    /// A last request of the send queue, whose end says that those before it have ended, also those that succeed
    /// silently.
    private func postMarker() {
        let position = sendQueue.nextPosition
        sendQueue.append(WorkQueue.Entry(id: WorkQueue.Entry.markerID, opcode: .rdmaWrite, isReported: false))
        context.counters.countSends(1)
        let request = SendWorkRequest(
            id: workName(position, isReceive: false).word, opcode: .rdmaWrite, options: .signaled, entryCount: 0)
        let requests: InlineArray<1, SendWorkRequest> = [request]
        let nothing: InlineArray<0, ScatterEntry> = []
        if provider.postSends(requests.span, nothing.span, to: handle) < 1 { context.finishLater(self) }
    }

    func finishIfDrained() {
        if state == .closing, sendQueue.count == 0, receiveQueue.count == 0 { context.finishLater(self) }
    }

    fileprivate func drainTimedOut() {
        drainTimer = nil
        context.finishLater(self)
    }

    /// Destroys queue pair and endpoint, ends what is left, and takes leave of the handler.
    func finish() {
        guard state == .closing else { return }
        if let drainTimer { context.reactor?.cancel(drainTimer) }
        drainTimer = nil
        provider.destroyQueuePair(handle)
        provider.destroyEndpoint(endpoint)
        flushRest()
        state = .closed
        queue.release(capabilities)
        context.remove(self)
        context.counters.countQueuePair(-1)
        let last = handler
        handler = nil
        last?.closed(self, closeReason)
        domain.queuePairEnded()
    }
}

/// Ends the wait for requests to be flushed.
private final class DrainTimer: TimerHandler {
    private let pair: QueuePair

    init(_ pair: QueuePair) {
        self.pair = pair
    }

    func timerFired(_ token: UInt64) { pair.drainTimedOut() }
}
