internal import CFabric
internal import Platform

extension VerbsFabric {
    // MARK: Domains

    public func openDomain(on device: String) throws(FabricError) -> WatchedHandle {
        var domain: OpaquePointer?
        let status = unsafe device.withCString { unsafe cfabric_open_domain($0, &domain) }
        if status == -Errno.noSuchDevice { throw .noDevice(device) }
        let descriptor = try Self.check(status, "open the RDMA device '\(device)'")
        let handle = unsafe FabricHandle(domain)
        domains.withLock { $0[handle] = [] }
        return WatchedHandle(handle: handle, fileDescriptor: descriptor)
    }

    public func closeDomain(_ domain: FabricHandle) {
        domains.withLock { domains in
            domains[domain] = nil
            unsafe cfabric_close_domain(domain.object)
        }
    }

    /// A device tells whoever asks first; so what is told is handed to the domains that it is for.
    public func nextAsynchronousEvent(of domain: FabricHandle) -> AsynchronousEvent? {
        domains.withLock { domains in
            var event = unsafe cfabric_async_event()
            while unsafe cfabric_next_async_event(domain.object, &event) == 1 {
                unsafe Self.distribute(event, from: domain, to: &domains)
            }
            guard domains[domain]?.isEmpty == false else {
                unsafe cfabric_clear_signal(domain.object)
                return nil
            }
            return domains[domain]?.removeFirst()
        }
    }

    private static func distribute(
        _ event: cfabric_async_event, from domain: FabricHandle,
        to domains: inout [FabricHandle: [AsynchronousEvent]]
    ) {
        let kind: AsynchronousEvent.Kind =
            switch unsafe UInt32(event.kind) {
            case CFABRIC_ASYNC_QP_FATAL.rawValue: .queuePairFatal
            case CFABRIC_ASYNC_QP_REQUEST.rawValue: .queuePairRequestError
            case CFABRIC_ASYNC_QP_ACCESS.rawValue: .queuePairAccessError
            case CFABRIC_ASYNC_ESTABLISHED.rawValue: .communicationEstablished
            case CFABRIC_ASYNC_CQ.rawValue: .completionQueueError
            case CFABRIC_ASYNC_DEVICE.rawValue: .deviceFatal
            case CFABRIC_ASYNC_PORT_ACTIVE.rawValue: .portActive
            case CFABRIC_ASYNC_PORT_ERROR.rawValue: .portError
            default: unsafe .other(event.number)
            }
        let report = unsafe AsynchronousEvent(kind: kind, queuePair: event.context == 0 ? nil : event.context)
        let target = unsafe FabricHandle(event.domain)
        for handle in domains.keys where unsafe cfabric_same_device(handle.object, domain.object) != 0 {
            guard target == .none || target == handle, domains[handle, default: []].count < eventLimit else {
                continue
            }
            domains[handle]?.append(report)
            unsafe cfabric_signal(handle.object)
        }
    }

    // MARK: Memory

    public func register(
        _ memory: UnsafeMutableRawBufferPointer, access: AccessRights, in domain: FabricHandle
    ) throws(FabricError) -> MemoryRegion {
        guard let address = memory.baseAddress, unsafe !memory.isEmpty else {
            throw .failed(operation: "register memory", reason: "there is none", code: Errno.invalidArgument)
        }
        var region = unsafe cfabric_region()
        let status = unsafe cfabric_register(
            domain.object, address, memory.count, Int32(access.rawValue), &region)
        if status == -Errno.noMemory { throw Self.lockLimitError(memory.count) }
        _ = try Self.check(status, "register \(memory.count >> 20) MiB of memory for RDMA")
        return unsafe MemoryRegion(
            handle: FabricHandle(word: UInt64(UInt(bitPattern: region.handle))),
            address: UInt64(UInt(bitPattern: address)), length: memory.count, access: access,
            localKey: region.local_key, remoteKey: region.remote_key)
    }

    /// What to do when memory cannot be pinned.
    private static func lockLimitError(_ length: Int) -> FabricError {
        let limit = cfabric_lock_limit()
        let reason =
            limit == .max
            ? "the system has no memory for it"
            : "no more than \(limit >> 10) KiB may be locked in memory (RLIMIT_MEMLOCK; 'ulimit -l', LimitMEMLOCK=)"
        return .failed(
            operation: "register \(length >> 20) MiB of memory for RDMA", reason: reason, code: Errno.noMemory)
    }

    public func deregister(_ region: MemoryRegion) {
        unsafe cfabric_deregister(UnsafeMutableRawPointer(region.handle.object))
    }

    public func allocateWindow(in domain: FabricHandle) throws(FabricError) -> MemoryWindow {
        var window = unsafe cfabric_region()
        let status = unsafe cfabric_allocate_window(domain.object, &window)
        _ = try Self.check(status, "allocate a memory window")
        return unsafe MemoryWindow(
            handle: FabricHandle(word: UInt64(UInt(bitPattern: window.handle))), remoteKey: window.remote_key)
    }

    public func freeWindow(_ window: MemoryWindow) {
        unsafe cfabric_free_window(UnsafeMutableRawPointer(window.handle.object))
    }

    // MARK: Completion queues

    public func openCompletionQueue(capacity: Int, in domain: FabricHandle) throws(FabricError) -> WatchedHandle {
        var queue: OpaquePointer?
        let status = unsafe cfabric_open_cq(domain.object, Int32(clamping: capacity), &queue)
        let descriptor = try Self.check(status, "make a completion queue of \(capacity) entries")
        return WatchedHandle(handle: unsafe FabricHandle(queue), fileDescriptor: descriptor)
    }

    public func closeCompletionQueue(_ queue: FabricHandle) { unsafe cfabric_close_cq(queue.object) }

    public func poll(_ queue: FabricHandle, into completions: inout MutableSpan<Completion>) -> Int {
        var found = InlineArray<32, cfabric_completion>(repeating: cfabric_completion())
        let capacity = Int32(min(completions.count, Int(CFABRIC_POLL_MAX)))
        var places = found.mutableSpan
        let count = unsafe places.withUnsafeMutableBufferPointer { buffer in
            // Safe: there are at least `capacity` elements.
            unsafe cfabric_poll(queue.object, buffer.baseAddress!, capacity)
        }
        for index in 0..<Int(count) {
            let entry = places[index]
            completions[index] = Completion(
                id: entry.id, status: CompletionStatus(rawValue: UInt8(clamping: entry.status)) ?? .generalError,
                opcode: entry.is_receive != 0 ? .receive : .send, byteCount: Int(entry.byte_count),
                invalidatedKey: entry.has_invalidated_key != 0 ? entry.invalidated_key : nil,
                vendorError: entry.vendor_error)
        }
        return Int(count)
    }

    public func arm(_ queue: FabricHandle, solicitedOnly: Bool) {
        unsafe cfabric_arm(queue.object, solicitedOnly ? 1 : 0)
    }

    public func acknowledgeEvents(of queue: FabricHandle) { unsafe cfabric_acknowledge(queue.object) }

    // MARK: Queue pairs

    public func makeQueuePair(
        _ capabilities: QueuePairCapabilities, endpoint: FabricHandle, domain: FabricHandle, queue: FabricHandle,
        context: UInt64
    ) throws(FabricError) -> FabricHandle {
        var pair: OpaquePointer?
        let status = unsafe cfabric_create_qp(
            endpoint.object, domain.object, queue.object, Int32(clamping: capabilities.sends),
            Int32(clamping: capabilities.receives), Int32(clamping: capabilities.sendEntries),
            Int32(clamping: capabilities.receiveEntries), Int32(clamping: capabilities.inlineLength), context, &pair)
        _ = try Self.check(status, "make an RDMA queue pair")
        return unsafe FabricHandle(pair)
    }

    public func destroyQueuePair(_ queuePair: FabricHandle) { unsafe cfabric_destroy_qp(queuePair.object) }

    public func fail(_ queuePair: FabricHandle) { unsafe cfabric_fail_qp(queuePair.object) }

    public func postSends(
        _ requests: Span<SendWorkRequest>, _ entries: Span<ScatterEntry>, to queuePair: FabricHandle
    ) -> Int {
        let pair = unsafe queuePair.object
        return unsafe entries.withUnsafeBufferPointer { entries in
            var first = 0
            var taken = 0
            while taken < requests.count {
                let count = min(requests.count - taken, Int(CFABRIC_BATCH_MAX))
                for index in 0..<count {
                    let request = requests[taken + index]
                    // Safe: the handles of window and region are addresses of objects that are there.
                    var value = unsafe cfabric_send(
                        id: request.id, address: request.address, length: request.length,
                        window: UnsafeMutableRawPointer(bitPattern: UInt(request.window.word)),
                        region: UnsafeMutableRawPointer(bitPattern: UInt(request.region.word)), key: request.key,
                        access: request.access.rawValue, opcode: request.opcode.rawValue,
                        options: request.options.rawValue)
                    // Safe: the entries have the form of the library's, and stay while they are posted.
                    let own = unsafe entries.baseAddress.map { unsafe UnsafeRawPointer($0 + first) }
                    unsafe cfabric_set_send(pair, Int32(index), &value, own, Int32(request.entryCount))
                    first += Int(request.entryCount)
                }
                let posted = Int(unsafe cfabric_post_sends(pair, Int32(count)))
                taken += posted
                if posted < count { break }
            }
            return taken
        }
    }

    public func postReceives(
        _ requests: Span<ReceiveWorkRequest>, _ entries: Span<ScatterEntry>, to queuePair: FabricHandle
    ) -> Int {
        let pair = unsafe queuePair.object
        return unsafe entries.withUnsafeBufferPointer { entries in
            var first = 0
            var taken = 0
            while taken < requests.count {
                let count = min(requests.count - taken, Int(CFABRIC_BATCH_MAX))
                for index in 0..<count {
                    let request = requests[taken + index]
                    // Safe: as above.
                    let own = unsafe entries.baseAddress.map { unsafe UnsafeRawPointer($0 + first) }
                    unsafe cfabric_set_receive(pair, Int32(index), request.id, own, Int32(request.entryCount))
                    first += Int(request.entryCount)
                }
                let posted = Int(unsafe cfabric_post_receives(pair, Int32(count)))
                taken += posted
                if posted < count { break }
            }
            return taken
        }
    }
}
