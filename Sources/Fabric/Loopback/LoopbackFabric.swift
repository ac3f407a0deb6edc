internal import Bytes
public import Platform

/// A fabric within this process, exact in what can be seen of it: order, keys and access rights, bounds, limits of
/// scatter entries, inline data and RDMA Reads, receivers that are not ready, invalidation, and what becomes of a queue
/// pair after an error. Everything can fail or be late, by rules and by a seed.
///
/// It needs no RDMA device, and both ends may be on different threads. One lock guards it: this is a provider for tests
/// and for clients within the process, of whom there is no waiting for each other to speak of.
public final class LoopbackFabric: FabricProvider {
    public let name = "loopback"
    private let core: Lock<LoopbackCore>

    /// A fabric of `devices`, which all reach each other.
    public init(devices: [LoopbackDevice] = [LoopbackDevice()], pace: LoopbackPace = .immediate) {
        precondition(!devices.isEmpty, "a fabric has a device")
        core = Lock(LoopbackCore(devices: devices, pace: pace))
    }

    // MARK: Of the simulation

    /// Does one of the things that can be done, which the seed decides; false when nothing can. With
    /// `LoopbackPace.immediate` there is never anything.
    public func step() -> Bool { core.withLock { $0.isStepped && $0.step() } }

    /// What goes wrong by chance from now on.
    public func setFaults(_ faults: LoopbackFaults) { core.withLock { $0.faults = faults } }

    /// Adds a rule; the first that concerns a request decides.
    public func addRule(_ rule: LoopbackRule) { core.withLock { $0.rules.append(rule) } }

    /// The device disappears: whoever uses it is told, and requests on it end without an entry in a completion queue.
    public func removeDevice(_ name: String) { core.withLock { $0.removeDevice(name) } }

    /// An event of a device that changes nothing here: its port goes up or down.
    public func reportPort(of name: String, isActive: Bool) {
        core.withLock { core in
            guard let device = try? core.device(named: name) else { return }
            core.domains.forEachNamed { name, domain in
                guard domain.device == device else { return }
                core.report(AsynchronousEvent(kind: isActive ? .portActive : .portError), to: name)
            }
        }
    }

    /// What there is now.
    public var usage: LoopbackUsage {
        core.withLock { core in
            var usage = core.usage
            core.pairs.forEach { pair in
                usage.outstandingSends += pair.outstandingSends
                usage.postedReceives += pair.outstandingReceives
            }
            return usage
        }
    }

    // MARK: FabricProvider

    public func devices() -> [FabricDevice] {
        core.withLock { core in
            core.devices.indices.filter { !core.removed.contains($0) }.map { core.devices[$0] }
        }
    }

    public func openChannel() throws(FabricError) -> WatchedHandle {
        try core.withLock { (core) throws(FabricError) in try core.openChannel() }
    }

    public func closeChannel(_ channel: FabricHandle) {
        core.withLock { $0.closeChannel(channel.slot) }
    }

    public func nextEvent(of channel: FabricHandle) -> ConnectionEvent? {
        core.withLock { $0.nextEvent(of: channel.slot) }
    }

    public func listen(
        on address: SocketAddress, backlog: Int, channel: FabricHandle, context: UInt64
    ) throws(FabricError) -> (endpoint: FabricHandle, address: SocketAddress) {
        try core.withLock { (core) throws(FabricError) in
            try core.listen(on: address, backlog: backlog, channel: channel.slot, context: context)
        }
    }

    public func resolve(
        _ address: SocketAddress, from source: SocketAddress?, timeout: Duration, channel: FabricHandle,
        context: UInt64
    ) throws(FabricError) -> FabricHandle {
        try core.withLock { (core) throws(FabricError) in
            try core.resolve(address, from: source, channel: channel.slot, context: context)
        }
    }

    public func move(_ endpoint: FabricHandle, to channel: FabricHandle, context: UInt64) throws(FabricError) {
        try core.withLock { (core) throws(FabricError) in
            try core.move(endpoint.slot, to: channel.slot, context: context)
        }
    }

    public func connect(_ endpoint: FabricHandle, _ parameters: ConnectionParameters) throws(FabricError) {
        try core.withLock { (core) throws(FabricError) in try core.connect(endpoint.slot, parameters) }
    }

    public func accept(_ endpoint: FabricHandle, _ parameters: ConnectionParameters) throws(FabricError) {
        try core.withLock { (core) throws(FabricError) in try core.accept(endpoint.slot, parameters) }
    }

    public func reject(_ endpoint: FabricHandle, privateData: [UInt8]) throws(FabricError) {
        try core.withLock { (core) throws(FabricError) in
            try core.reject(endpoint.slot, privateData: privateData)
        }
    }

    public func disconnect(_ endpoint: FabricHandle) { core.withLock { $0.disconnect(endpoint.slot) } }

    public func destroyEndpoint(_ endpoint: FabricHandle) { core.withLock { $0.destroyEndpoint(endpoint.slot) } }

    public func addresses(of endpoint: FabricHandle) -> ConnectionAddresses {
        core.withLock { core in
            let found = core.endpoints[endpoint.slot]
            return ConnectionAddresses(local: found?.local, peer: found?.remote)
        }
    }

    public func openDomain(on device: String) throws(FabricError) -> WatchedHandle {
        try core.withLock { (core) throws(FabricError) in try core.openDomain(on: device) }
    }

    public func closeDomain(_ domain: FabricHandle) { core.withLock { $0.closeDomain(domain.slot) } }

    public func nextAsynchronousEvent(of domain: FabricHandle) -> AsynchronousEvent? {
        core.withLock { $0.nextAsynchronousEvent(of: domain.slot) }
    }

    public func register(
        _ memory: UnsafeMutableRawBufferPointer, access: AccessRights, in domain: FabricHandle
    ) throws(FabricError) -> MemoryRegion {
        // Safe: the pointer is only handed through the lock.
        nonisolated(unsafe) let memory = unsafe memory
        return try core.withLock { (core) throws(FabricError) in
            unsafe try core.register(memory, access: access, in: domain.slot)
        }
    }

    public func deregister(_ region: MemoryRegion) { core.withLock { $0.deregister(region) } }

    public func allocateWindow(in domain: FabricHandle) throws(FabricError) -> MemoryWindow {
        try core.withLock { (core) throws(FabricError) in try core.allocateWindow(in: domain.slot) }
    }

    public func freeWindow(_ window: MemoryWindow) { core.withLock { $0.freeWindow(window) } }

    public func openCompletionQueue(capacity: Int, in domain: FabricHandle) throws(FabricError) -> WatchedHandle {
        try core.withLock { (core) throws(FabricError) in
            try core.openCompletionQueue(capacity: capacity, in: domain.slot)
        }
    }

    public func closeCompletionQueue(_ queue: FabricHandle) {
        core.withLock { $0.closeCompletionQueue(queue.slot) }
    }

    public func poll(_ queue: FabricHandle, into completions: inout MutableSpan<Completion>) -> Int {
        core.withLock { core in
            core.expire()
            guard let queue = core.queues[queue.slot] else { return 0 }
            let count = min(queue.count, completions.count)
            for index in 0..<count { completions[index] = queue.takeFirst() }
            return count
        }
    }

    public func arm(_ queue: FabricHandle, solicitedOnly: Bool) {
        core.withLock { $0.arm(queue.slot, solicitedOnly: solicitedOnly) }
    }

    public func acknowledgeEvents(of queue: FabricHandle) {
        core.withLock { $0.queues[queue.slot]?.watched.clear() }
    }

    public func makeQueuePair(
        _ capabilities: QueuePairCapabilities, endpoint: FabricHandle, domain: FabricHandle, queue: FabricHandle,
        context: UInt64
    ) throws(FabricError) -> FabricHandle {
        try core.withLock { (core) throws(FabricError) in
            try core.makeQueuePair(
                capabilities, endpoint: endpoint.slot, domain: domain.slot, queue: queue.slot, context: context)
        }
    }

    public func destroyQueuePair(_ queuePair: FabricHandle) {
        core.withLock { $0.destroyQueuePair(queuePair.slot) }
    }

    public func fail(_ queuePair: FabricHandle) {
        core.withLock { core in
            guard let pair = core.pairs[queuePair.slot] else { return }
            core.fail(pair)
            core.run()
        }
    }

    public func postSends(
        _ requests: Span<SendWorkRequest>, _ entries: Span<ScatterEntry>, to queuePair: FabricHandle
    ) -> Int {
        core.withLock { core in
            guard let pair = core.pairs[queuePair.slot] else { return 0 }
            return core.postSends(requests, entries, to: pair)
        }
    }

    public func postReceives(
        _ requests: Span<ReceiveWorkRequest>, _ entries: Span<ScatterEntry>, to queuePair: FabricHandle
    ) -> Int {
        core.withLock { core in
            guard let pair = core.pairs[queuePair.slot] else { return 0 }
            return core.postReceives(requests, entries, to: pair)
        }
    }
}

extension FabricHandle {
    /// The slot that it names in a loopback fabric.
    var slot: SlotName { SlotName(word: word) }
}
