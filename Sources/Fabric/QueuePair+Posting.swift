extension QueuePair {
    /// Requests that were posted and have not gone to the device. Safe: see `QueuePair.batch`.
    @safe struct Batch {
        let sends: UnsafeMutablePointer<SendWorkRequest>
        let sendEntries: UnsafeMutablePointer<ScatterEntry>
        let receives: UnsafeMutablePointer<ReceiveWorkRequest>
        let receiveEntries: UnsafeMutablePointer<ScatterEntry>
        var sendCount = 0
        var sendEntryCount = 0
        var receiveCount = 0
        var receiveEntryCount = 0
        var isListed = false

        init(_ capabilities: QueuePairCapabilities) {
            unsafe sends = .allocate(capacity: batchLimit)
            unsafe sendEntries = .allocate(capacity: batchLimit * capabilities.sendEntries)
            unsafe receives = .allocate(capacity: batchLimit)
            unsafe receiveEntries = .allocate(capacity: batchLimit * capabilities.receiveEntries)
        }

        func destroy() {
            unsafe sends.deallocate()
            unsafe sendEntries.deallocate()
            unsafe receives.deallocate()
            unsafe receiveEntries.deallocate()
        }
    }

    /// How many requests the send queue takes now.
    public var freeSends: Int { max(0, capabilities.sends - sendQueue.count) }
    /// How many receives are posted and not completed.
    public var postedReceives: Int { receiveQueue.count }

    // MARK: The send queue

    /// Posts a Send of `entries`, which takes a receive of the peer; with `key`, a Send with Invalidate.
    public func send(
        _ entries: Span<ScatterEntry>, id: UInt64, options: WorkOptions = .signaled, invalidating key: UInt32? = nil
    ) -> PostResult {
        var request = SendWorkRequest(
            id: id, opcode: key == nil ? .send : .sendWithInvalidate, options: options, entryCount: 0)
        request.key = key ?? 0
        return post(request, entries)
    }

    /// The same of one entry.
    public func send(
        _ entry: ScatterEntry, id: UInt64, options: WorkOptions = .signaled, invalidating key: UInt32? = nil
    ) -> PostResult {
        let entries: InlineArray<1, ScatterEntry> = [entry]
        return send(entries.span, id: id, options: options, invalidating: key)
    }

    /// Posts an RDMA Write of `entries` to the peer's memory at `address`.
    public func write(
        _ entries: Span<ScatterEntry>, to address: UInt64, key: UInt32, id: UInt64, options: WorkOptions = .signaled
    ) -> PostResult {
        var request = SendWorkRequest(id: id, opcode: .rdmaWrite, options: options, entryCount: 0)
        request.key = key
        request.address = address
        return post(request, entries)
    }

    /// The same of one entry.
    public func write(
        _ entry: ScatterEntry, to address: UInt64, key: UInt32, id: UInt64, options: WorkOptions = .signaled
    ) -> PostResult {
        let entries: InlineArray<1, ScatterEntry> = [entry]
        return write(entries.span, to: address, key: key, id: id, options: options)
    }

    /// Posts an RDMA Read of the peer's memory at `address` into `entries`, whose region has
    /// `FabricDevice.readSinkAccess`.
    ///
    /// What is posted after it may be done before it, but for `WorkOptions.fenced`. Reads beyond `initiatorDepth` wait,
    /// and all that is posted after them.
    public func read(
        _ entries: Span<ScatterEntry>, from address: UInt64, key: UInt32, id: UInt64, options: WorkOptions = .signaled
    ) -> PostResult {
        var request = SendWorkRequest(id: id, opcode: .rdmaRead, options: options, entryCount: 0)
        request.key = key
        request.address = address
        return post(request, entries)
    }

    /// The same of one entry.
    public func read(
        _ entry: ScatterEntry, from address: UInt64, key: UInt32, id: UInt64, options: WorkOptions = .signaled
    ) -> PostResult {
        let entries: InlineArray<1, ScatterEntry> = [entry]
        return read(entries.span, from: address, key: key, id: id, options: options)
    }

    /// Posts the binding of `window` to a part of `region`, which permits `AccessRights.windowBind`; the window has its
    /// new key at once, for peers that learn it by what is posted later.
    public func bind(
        _ window: inout MemoryWindow, to region: MemoryRegion, offset: Int, length: Int, access: AccessRights,
        id: UInt64, options: WorkOptions = .signaled
    ) -> PostResult {
        var request = SendWorkRequest(id: id, opcode: .bindWindow, options: options, entryCount: 0)
        request.key = window.nextKey
        request.address = region.address &+ UInt64(truncatingIfNeeded: offset)
        request.length = UInt64(truncatingIfNeeded: length)
        request.access = access
        request.window = window.handle
        request.region = region.handle
        let nothing: InlineArray<0, ScatterEntry> = []
        let result = post(request, nothing.span)
        if result == .posted {
            window.remoteKey = request.key
            // A device takes a window's present key when the request is handed over.
            ring()
        }
        return result
    }

    /// Posts the invalidation of a window of this queue pair.
    public func invalidate(_ key: UInt32, id: UInt64, options: WorkOptions = .signaled) -> PostResult {
        var request = SendWorkRequest(id: id, opcode: .localInvalidate, options: options, entryCount: 0)
        request.key = key
        let nothing: InlineArray<0, ScatterEntry> = []
        return post(request, nothing.span)
    }

    private func post(_ request: SendWorkRequest, _ entries: Span<ScatterEntry>) -> PostResult {
        guard state == .established else { return .notConnected }
        guard freeSends > 0 else { return .queueFull }
        if let problem = problem(request, entries) { return problem }
        if unsafe batch.pointee.sendCount == Self.batchLimit { ring() }
        let position = sendQueue.nextPosition
        let isReported = request.options.contains(.signaled)
        sendQueue.append(WorkQueue.Entry(id: request.id, opcode: request.opcode, isReported: isReported))
        context.counters.countSends(1)
        var request = request
        // Silent requests leave the queue only with one that is not.
        if position & UInt32(Self.silentLimit(sendQueue.limit)) == 0 { request.options.insert(.signaled) }
        request.entryCount = UInt16(entries.count)
        request.id = workName(position, isReceive: false).word
        // Safe: there is room for `batchLimit` requests with as many entries as were checked.
        unsafe (batch.pointee.sends + batch.pointee.sendCount).initialize(to: request)
        for index in 0..<entries.count {
            unsafe (batch.pointee.sendEntries + batch.pointee.sendEntryCount + index).initialize(to: entries[index])
        }
        unsafe batch.pointee.sendCount += 1
        unsafe batch.pointee.sendEntryCount += entries.count
        listForRing()
        return .posted
    }

    /// A mask: one request of so many is always signaled to the provider, a quarter of the queue at most.
    private static func silentLimit(_ limit: Int) -> Int {
        var period = 1
        while period * 8 <= limit { period *= 2 }
        return period - 1
    }

    /// Why a request cannot be posted whatever is outstanding; nil when it can.
    private func problem(_ request: SendWorkRequest, _ entries: Span<ScatterEntry>) -> PostResult? {
        let limits = domain.device.limits
        let isRead = request.opcode == .rdmaRead
        let limit = isRead ? min(limits.readEntries, capabilities.sendEntries) : capabilities.sendEntries
        guard entries.count <= limit else { return .tooManyEntries }
        let needsInvalidation =
            switch request.opcode {
            case .sendWithInvalidate, .localInvalidate, .bindWindow: true
            case .send, .rdmaRead, .rdmaWrite, .receive: false
            }
        if needsInvalidation && !domain.device.hasInvalidation { return .notSupported }
        var length = 0
        for index in 0..<entries.count { length += Int(entries[index].length) }
        guard length <= limits.messageLength else { return .messageTooLong }
        guard request.options.contains(.inline) else { return nil }
        if isRead { return .notSupported }
        return length <= capabilities.inlineLength ? nil : .inlineTooLong
    }

    // MARK: The receive queue

    /// Posts a receive for one message of at most the length of `entries`, whose region permits
    /// `AccessRights.localWrite`.
    public func receive(_ entries: Span<ScatterEntry>, id: UInt64) -> PostResult {
        guard state != .closing && state != .closed else { return .notConnected }
        guard !receiveQueue.isFull else { return .queueFull }
        guard entries.count <= capabilities.receiveEntries else { return .tooManyEntries }
        if unsafe batch.pointee.receiveCount == Self.batchLimit { ring() }
        let position = receiveQueue.nextPosition
        receiveQueue.append(WorkQueue.Entry(id: id, opcode: .receive, isReported: true))
        context.counters.countReceives(1)
        let request = ReceiveWorkRequest(
            id: workName(position, isReceive: true).word, entryCount: UInt16(entries.count))
        // Safe: as in `post`.
        unsafe (batch.pointee.receives + batch.pointee.receiveCount).initialize(to: request)
        for index in 0..<entries.count {
            unsafe (batch.pointee.receiveEntries + batch.pointee.receiveEntryCount + index)
                .initialize(to: entries[index])
        }
        unsafe batch.pointee.receiveCount += 1
        unsafe batch.pointee.receiveEntryCount += entries.count
        listForRing()
        return .posted
    }

    /// The same of one entry.
    public func receive(_ entry: ScatterEntry, id: UInt64) -> PostResult {
        let entries: InlineArray<1, ScatterEntry> = [entry]
        return receive(entries.span, id: id)
    }

    // MARK: Batches

    private func listForRing() {
        if unsafe batch.pointee.isListed { return }
        unsafe batch.pointee.isListed = true
        context.ringLater(self)
    }

    /// Hands what was posted to the device, receives first. It happens by itself at the end of the turn.
    public func ring() {
        let receives = unsafe batch.pointee.receiveCount
        if receives > 0 {
            // Safe: so many elements are initialised, and nobody changes them during the call.
            let requests = unsafe Span(_unsafeStart: batch.pointee.receives, count: receives)
            let entries = unsafe Span(
                _unsafeStart: batch.pointee.receiveEntries, count: batch.pointee.receiveEntryCount)
            unsafe batch.pointee.receiveCount = 0
            unsafe batch.pointee.receiveEntryCount = 0
            let taken = provider.postReceives(requests, entries, to: handle)
            if taken < receives { refused(receives - taken, by: receiveQueue) }
        }
        let sends = unsafe batch.pointee.sendCount
        if sends > 0 {
            // Safe: as above.
            let requests = unsafe Span(_unsafeStart: batch.pointee.sends, count: sends)
            let entries = unsafe Span(_unsafeStart: batch.pointee.sendEntries, count: batch.pointee.sendEntryCount)
            unsafe batch.pointee.sendCount = 0
            unsafe batch.pointee.sendEntryCount = 0
            let taken = provider.postSends(requests, entries, to: handle)
            if taken < sends { refused(sends - taken, by: sendQueue) }
        }
    }

    /// The device has not taken the last `count` requests, which it should have: the queue pair ends.
    private func refused(_ count: Int, by queue: WorkQueue) {
        queue.refuse(last: count)
        beginClosing(.workRequest(.localQueuePairOperationError))
        // Receives have no marker behind them; the device cannot report what it does not have.
        if queue.oldestEntryIsReceive { context.finishLater(self) }
    }
}

extension WorkQueue {
    fileprivate var oldestEntryIsReceive: Bool { count > 0 && oldest.opcode == .receive }
}
