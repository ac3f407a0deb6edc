internal import Bytes
internal import Platform

/// A request goes three ways: it begins (its local memory is checked), it is executed at the peer, and it completes.
/// Each queue pair's requests go each of them in order; RDMA Reads that have been executed may complete after what
/// follows them was executed, as InfiniBand permits.
extension LoopbackCore {
    // MARK: Posting

    func postSends(
        _ requests: Span<SendWorkRequest>, _ entries: Span<ScatterEntry>, to pair: LoopbackQueuePair
    ) -> Int {
        // In its first state a send queue takes nothing (InfiniBand volume 1, clause 10.3.1.2).
        guard pair.state != .initialized else { return 0 }
        var first = 0
        for index in 0..<requests.count {
            guard pair.append(requests[index], entries, from: first) else { return finish(pair, index) }
            first += Int(requests[index].entryCount)
        }
        return finish(pair, requests.count)
    }

    func postReceives(
        _ requests: Span<ReceiveWorkRequest>, _ entries: Span<ScatterEntry>, to pair: LoopbackQueuePair
    ) -> Int {
        var first = 0
        for index in 0..<requests.count {
            guard pair.append(requests[index], entries, from: first) else { return finish(pair, index) }
            first += Int(requests[index].entryCount)
        }
        // A sender that waits tries again: at once, where time does not count.
        if let peer = pair.peer.flatMap({ pairs[$0] }), let time = peer.waitsUntil {
            setWaiting(peer, isStepped ? min(time, now + Self.rnrTimer) : nil)
            kick(peer)
        }
        return finish(pair, requests.count)
    }

    private func finish(_ pair: LoopbackQueuePair, _ taken: Int) -> Int {
        kick(pair)
        run()
        return taken
    }

    // MARK: Beginning

    func canBegin(_ pair: LoopbackQueuePair) -> Bool {
        guard pair.state == .readyToSend, !pair.isStopped, pair.begunSends < pair.postedSends else { return false }
        let request = unsafe pair.send(pair.begunSends).pointee.request
        if request.options.contains(.fenced), pair.outstandingReads > 0 { return false }
        return request.opcode != .rdmaRead || pair.outstandingReads < max(1, pair.initiatorDepth)
    }

    func beginNext(_ pair: LoopbackQueuePair) {
        let number = pair.begunSends
        let request = unsafe pair.send(number).pointee.request
        pair.begunSends += 1
        if request.opcode == .rdmaRead { pair.outstandingReads += 1 }
        var status = check(number, request, of: pair)
        if status == .success, happens(faults.localFailure) { status = .localQueuePairOperationError }
        if status == .success, let ruled = ruled(request.opcode, device: pair.device) { status = ruled }
        unsafe pair.send(number).pointee.status = status
        unsafe pair.send(number).pointee.isLocal = request.opcode == .bindWindow || request.opcode == .localInvalidate
        if status == .success {
            if request.opcode == .bindWindow && !bind(request, by: pair)
                || request.opcode == .localInvalidate && !invalidate(request.key, of: pair)
            {
                status = .memoryWindowBindError
                unsafe pair.send(number).pointee.status = status
            }
        }
        guard status != .success else { return }
        pair.isStopped = true
        // What the peer finds wrong costs a message; it is not executed.
        unsafe pair.send(number).pointee.isLocal = true
    }

    /// Whether the memory of this side permits the request.
    private func check(
        _ number: Int, _ request: SendWorkRequest, of pair: LoopbackQueuePair
    ) -> CompletionStatus {
        let device = devices[pair.device]
        let count = Int(request.entryCount)
        let isRead = request.opcode == .rdmaRead
        if isRead, pair.initiatorDepth == 0 || count > device.limits.readEntries {
            return .localQueuePairOperationError
        }
        if request.opcode == .sendWithInvalidate, !device.hasInvalidation { return .localQueuePairOperationError }
        if unsafe pair.send(number).pointee.length > device.limits.messageLength { return .localLengthError }
        if request.options.contains(.inline) { return .success }
        let access = isRead ? device.readSinkAccess : []
        for index in 0..<count {
            let entry = pair.entry(number, index)
            guard entry.length > 0 else { continue }
            if unsafe localMemory(entry, of: pair, access: access) == nil { return .localProtectionError }
        }
        return .success
    }

    // MARK: Execution

    func canExecute(_ pair: LoopbackQueuePair) -> Bool {
        guard pair.state == .readyToSend, pair.executedSends < pair.begunSends else { return false }
        // After one that has failed at the peer nothing reaches it.
        if pair.executedSends > pair.completedSends,
            unsafe pair.send(pair.executedSends - 1).pointee.status != .success
        {
            return false
        }
        if unsafe pair.send(pair.executedSends).pointee.isLocal { return true }
        if let time = pair.waitsUntil, time > now { return false }
        // A peer that is still connecting is waited for.
        return pair.peer.flatMap { pairs[$0] }?.state != .initialized
    }

    func executeNext(_ pair: LoopbackQueuePair) {
        let number = pair.executedSends
        let send = unsafe pair.send(number)
        if unsafe !send.pointee.isLocal {
            setWaiting(pair, nil)
            guard let status = execute(number, of: pair) else { return }
            unsafe send.pointee.status = status
            pair.rnrRetries = 0
        }
        pair.executedSends += 1
        if unsafe send.pointee.status != .success { pair.isStopped = true }
    }

    /// How the request ends at the peer; nil when it is to be tried again.
    private func execute(_ number: Int, of pair: LoopbackQueuePair) -> CompletionStatus? {
        guard let peer = pair.peer.flatMap({ pairs[$0] }), peer.state == .readyToSend,
            !happens(faults.lostMessage)
        else { return .transportRetryCounterExceeded }
        if happens(faults.queuePairFailure) {
            report(AsynchronousEvent(kind: .queuePairFatal, queuePair: peer.context), to: peer.domain)
            fail(peer)
            return .transportRetryCounterExceeded
        }
        if happens(faults.remoteFailure) {
            report(AsynchronousEvent(kind: .queuePairFatal, queuePair: peer.context), to: peer.domain)
            fail(peer)
            return .remoteOperationError
        }
        switch unsafe pair.send(number).pointee.request.opcode {
        case .send, .sendWithInvalidate: return receive(number, of: pair, at: peer)
        case .rdmaWrite: return write(number, of: pair, at: peer)
        case .rdmaRead: return read(number, of: pair, at: peer)
        case .localInvalidate, .bindWindow, .receive: return .success
        }
    }

    private func receive(_ number: Int, of pair: LoopbackQueuePair, at peer: LoopbackQueuePair) -> CompletionStatus? {
        guard peer.outstandingReceives > 0 else { return receiverNotReady(pair, peer) }
        let place = peer.completedReceives
        let receive = peer.receive(place)
        let send = unsafe pair.send(number).pointee
        var room = 0
        for index in 0..<Int(receive.entryCount) { room += Int(peer.receiveEntry(place, index).length) }
        var completion = Completion(id: receive.id, status: .success, opcode: .receive)
        var answer = CompletionStatus.success
        if send.length > room {
            completion.status = .localLengthError
            answer = .remoteInvalidRequestError
        } else if let (status, remote) = move(number, of: pair, to: place, of: peer) {
            completion.status = status
            answer = remote
            // What went wrong here has not reached the peer.
            if status == .success { return answer }
        } else if send.request.opcode == .sendWithInvalidate {
            completion.invalidatedKey = send.request.key
            if !invalidate(send.request.key, of: peer) {
                completion.status = .remoteInvalidRequestError
                completion.invalidatedKey = nil
                answer = .remoteOperationError
            }
        }
        if completion.status == .success { completion.byteCount = send.length }
        peer.completedReceives += 1
        add(completion, to: peer, isSolicited: send.request.options.contains(.solicited))
        if completion.status != .success { fail(peer) }
        return answer
    }

    /// There is no receive for the message.
    private func receiverNotReady(_ pair: LoopbackQueuePair, _ peer: LoopbackQueuePair) -> CompletionStatus? {
        usage.receiverNotReady += 1
        if devices[pair.device].transport == .iWARP {
            // RFC 5040 clause 7.2: the stream is terminated.
            report(AsynchronousEvent(kind: .queuePairFatal, queuePair: peer.context), to: peer.domain)
            fail(peer)
            return .remoteOperationError
        }
        if pair.rnrRetryCount < Int(ConnectionParameters.endlessRNRRetries) {
            guard pair.rnrRetries < pair.rnrRetryCount else { return .rnrRetryCounterExceeded }
            pair.rnrRetries += 1
            setWaiting(pair, now + Self.rnrTimer)
        } else {
            // Without end: until there is a receive.
            setWaiting(pair, .max)
        }
        return nil
    }

    private func refuse(
        _ peer: LoopbackQueuePair, _ event: AsynchronousEvent.Kind, _ answer: CompletionStatus
    ) -> CompletionStatus {
        report(AsynchronousEvent(kind: event, queuePair: peer.context), to: peer.domain)
        fail(peer)
        return answer
    }

    private func write(_ number: Int, of pair: LoopbackQueuePair, at peer: LoopbackQueuePair) -> CompletionStatus {
        let send = unsafe pair.send(number).pointee
        // Nothing is written to no memory (InfiniBand volume 1, clause 9.7.4.1.5).
        if send.length == 0 { return .success }
        guard
            let target = unsafe remoteMemory(
                send.request.key, send.request.address, send.length, of: peer, access: .remoteWrite)
        else { return refuse(peer, .queuePairAccessError, .remoteAccessError) }
        var offset = 0
        let segments = send.request.options.contains(.inline) ? 1 : Int(send.request.entryCount)
        for index in 0..<segments {
            guard let (source, length) = unsafe segment(number, index, send, of: pair) else {
                return .localProtectionError
            }
            unsafe (target + offset).copyMemory(from: source, byteCount: length)
            offset += length
        }
        return .success
    }

    private func read(_ number: Int, of pair: LoopbackQueuePair, at peer: LoopbackQueuePair) -> CompletionStatus {
        if pair.outstandingReads > peer.responderResources {
            return refuse(peer, .queuePairRequestError, .remoteInvalidRequestError)
        }
        let send = unsafe pair.send(number).pointee
        if send.length == 0 { return .success }
        guard
            let source = unsafe remoteMemory(
                send.request.key, send.request.address, send.length, of: peer, access: .remoteRead)
        else { return refuse(peer, .queuePairAccessError, .remoteAccessError) }
        if isStepped, random.next() & 1 == 0 {
            unsafe pair.send(number).pointee.isLate = true
            return .success
        }
        return unsafe scatter(number, send, of: pair, from: source) ? .success : .localProtectionError
    }

    // MARK: Completion

    func canComplete(_ pair: LoopbackQueuePair) -> Bool {
        pair.state == .readyToSend && pair.completedSends < pair.executedSends
    }

    func completeNext(_ pair: LoopbackQueuePair) {
        let send = unsafe pair.send(pair.completedSends).pointee
        var status = send.status
        if send.isLate, status == .success { status = finishLate(pair.completedSends, send, of: pair) }
        if send.request.opcode == .rdmaRead { pair.outstandingReads -= 1 }
        pair.completedSends += 1
        if status != .success {
            fail(pair)
        } else if !send.request.options.contains(.signaled) {
            return
        }
        add(Completion(id: send.request.id, status: status, opcode: send.request.opcode), to: pair)
    }

    /// The data of a read that has been executed come only now.
    private func finishLate(
        _ number: Int, _ send: LoopbackQueuePair.Send, of pair: LoopbackQueuePair
    ) -> CompletionStatus {
        guard let peer = pair.peer.flatMap({ pairs[$0] }), peer.state == .readyToSend else {
            return .transportRetryCounterExceeded
        }
        guard
            let source = unsafe remoteMemory(
                send.request.key, send.request.address, send.length, of: peer, access: .remoteRead)
        else { return refuse(peer, .queuePairAccessError, .remoteAccessError) }
        return unsafe scatter(number, send, of: pair, from: source) ? .success : .localProtectionError
    }

    // MARK: Flushing

    func canFlush(_ pair: LoopbackQueuePair) -> Bool {
        pair.state == .error && (pair.outstandingSends > 0 || pair.outstandingReceives > 0)
            && !removed.contains(pair.device)
    }

    func flush(_ pair: LoopbackQueuePair) {
        while pair.outstandingSends > 0 { flushSend(pair) }
        while pair.outstandingReceives > 0 { flushReceive(pair) }
    }

    func flushNext(_ pair: LoopbackQueuePair) {
        if pair.outstandingSends > 0, pair.outstandingReceives == 0 || random.next() & 1 == 0 {
            flushSend(pair)
        } else {
            flushReceive(pair)
        }
    }

    private func flushSend(_ pair: LoopbackQueuePair) {
        let request = unsafe pair.send(pair.completedSends).pointee.request
        pair.completedSends += 1
        pair.executedSends = max(pair.executedSends, pair.completedSends)
        pair.begunSends = max(pair.begunSends, pair.completedSends)
        add(Completion(id: request.id, status: .workRequestFlushedError, opcode: request.opcode), to: pair)
    }

    private func flushReceive(_ pair: LoopbackQueuePair) {
        let receive = pair.receive(pair.completedReceives)
        pair.completedReceives += 1
        add(Completion(id: receive.id, status: .workRequestFlushedError, opcode: .receive), to: pair)
    }
}
