public import Bytes
internal import Platform

/// A device as one thread uses it: registered memory, and queue pairs with completion queues that they share.
@safe public final class ProtectionDomain {
    /// The entries of a completion queue, unless the device has fewer.
    public static let completionQueueCapacity = 1 << 14
    /// The most completion queues. A further one is made when the queue pairs may have more requests outstanding than
    /// the others hold.
    public static let maximumCompletionQueues = 16

    public let device: FabricDevice
    public let context: FabricContext
    /// Whether the device is gone: nothing new can be had, and what there was ends.
    public private(set) var isRemoved = false
    let watched: WatchedHandle
    private var queues: [CompletionQueue] = []
    private var arenas: [RegisteredArena] = []
    private var registration: RegistrationName?
    private var isEnded = false
    private var pairCount = 0
    private lazy var watcher = DescriptorWatcher { [unowned self] in _ = self.takeAsynchronousEvents() }

    init(device: FabricDevice, context: FabricContext) throws(FabricError) {
        self.device = device
        self.context = context
        watched = try context.provider.openDomain(on: device.name)
        guard let reactor = context.reactor else { return }
        do {
            registration = try reactor.register(watched.fileDescriptor, interest: .readable, handler: watcher)
        } catch {
            context.provider.closeDomain(watched.handle)
            throw FabricError(error)
        }
    }

    /// Ends it; its queue pairs have ended.
    func end() {
        guard !isEnded else { return }
        isEnded = true
        for arena in arenas { arena.end() }
        arenas = []
        for queue in queues { queue.close() }
        queues = []
        context.unregister(&registration)
        context.provider.closeDomain(watched.handle)
    }

    // MARK: Memory

    /// The regions of the pool's arena, registered once and as they come, for all queue pairs of this domain.
    ///
    /// The arena's memory is anonymous: long-lived pins of file-backed memory are refused by Linux from 6.5 on.
    public func register(_ pool: BufferPool, access: AccessRights) throws(FabricError) -> RegisteredArena {
        if let arena = arenas.first(where: { $0.isOf(pool) && $0.access == access }) { return arena }
        let arena = try RegisteredArena(pool, access: access, domain: self)
        arenas.append(arena)
        return arena
    }

    /// Registers memory that stays mapped until `deregister(_:)`.
    public func register(
        _ memory: UnsafeMutableRawBufferPointer, access: AccessRights
    ) throws(FabricError) -> MemoryRegion {
        guard !isEnded, !isRemoved else { throw .noDevice(device.name) }
        let region = unsafe try context.provider.register(memory, access: access, in: watched.handle)
        context.counters.countRegion(region.length, 1)
        return region
    }

    /// Ends a registration. Work requests that name the region have ended.
    public func deregister(_ region: MemoryRegion) {
        context.provider.deregister(region)
        context.counters.countRegion(region.length, -1)
    }

    /// A window, for `QueuePair.bind`.
    public func makeWindow() throws(FabricError) -> MemoryWindow {
        guard !isEnded, !isRemoved else { throw .noDevice(device.name) }
        let window = try context.provider.allocateWindow(in: watched.handle)
        context.counters.countWindow(1)
        return window
    }

    public func free(_ window: MemoryWindow) {
        context.provider.freeWindow(window)
        context.counters.countWindow(-1)
    }

    // MARK: Queue pairs

    func makeQueuePair(
        _ endpoint: FabricHandle, _ wanted: QueuePairCapabilities, isActive: Bool, handler: any QueuePairHandler
    ) throws(FabricError) -> QueuePair {
        guard !isEnded, !isRemoved else { throw .noDevice(device.name) }
        let capabilities = wanted.limited(to: device.limits)
        let queue = try queue(for: capabilities)
        let pair = QueuePair(
            domain: self, queue: queue, endpoint: endpoint, capabilities: capabilities, isActive: isActive,
            handler: handler)
        guard let name = context.insert(pair) else {
            queue.release(capabilities)
            throw .limitReached("queue pairs of a thread")
        }
        pair.name = name
        let word = EventOwner.queuePair(name)
        do throws(FabricError) {
            try context.provider.move(endpoint, to: context.channel.handle, context: word)
            var sizes = capabilities
            sizes.sends += 1
            pair.handle = try context.provider.makeQueuePair(
                sizes, endpoint: endpoint, domain: watched.handle, queue: queue.watched.handle, context: word)
        } catch {
            context.remove(pair)
            queue.release(capabilities)
            throw error
        }
        context.counters.countQueuePair(1)
        pairCount += 1
        return pair
    }

    /// A completion queue with room, in which it is reserved.
    private func queue(for capabilities: QueuePairCapabilities) throws(FabricError) -> CompletionQueue {
        for queue in queues where queue.reserve(capabilities) { return queue }
        guard queues.count < Self.maximumCompletionQueues else {
            throw .limitReached("completion queues of a device")
        }
        let queue = try CompletionQueue(
            capacity: min(Self.completionQueueCapacity, device.limits.completions), domain: self)
        guard queue.reserve(capabilities) else {
            queue.close()
            throw .limitReached("entries of a completion queue")
        }
        queues.append(queue)
        return queue
    }

    // MARK: The turn

    /// Handles completions; whether there were any.
    func poll() -> Bool {
        var hasWork = false
        for queue in queues where context.takeCompletions(queue.watched.handle) > 0 { hasWork = true }
        return hasWork
    }

    func arm(solicitedOnly: Bool) {
        for queue in queues { context.provider.arm(queue.watched.handle, solicitedOnly: solicitedOnly) }
    }

    /// Handles what the device reports besides completions; whether there was anything.
    func takeAsynchronousEvents() -> Bool {
        for number in 0..<FabricContext.eventsPerTurn {
            guard !isEnded, let event = context.provider.nextAsynchronousEvent(of: watched.handle) else {
                return number > 0
            }
            handle(event)
        }
        return true
    }

    private func handle(_ event: AsynchronousEvent) {
        switch event.kind {
        case .deviceFatal:
            remove()
        case .completionQueueError:
            for pair in context.queuePairs(of: self) {
                pair.beginClosing(.asynchronous(event.kind))
                context.finishLater(pair)
            }
        case .queuePairFatal, .queuePairRequestError, .queuePairAccessError:
            if let word = event.queuePair { context.queuePair(word)?.beginClosing(.asynchronous(event.kind)) }
        case .communicationEstablished:
            if let word = event.queuePair, let pair = context.queuePair(word) { pair.establish(pair.peerParameters) }
        case .portActive: context.observer?.portChanged(device, isActive: true)
        case .portError: context.observer?.portChanged(device, isActive: false)
        case .other: break
        }
    }

    /// The device is gone: its queue pairs end, and then this.
    func remove() {
        guard !isRemoved else { return }
        isRemoved = true
        for pair in context.queuePairs(of: self) { pair.remove() }
        context.observer?.deviceRemoved(device)
        closeIfRemoved()
    }

    /// A queue pair has ended.
    func queuePairEnded() {
        pairCount -= 1
        closeIfRemoved()
    }

    /// Ends a domain whose device is gone, when its last queue pair has ended.
    private func closeIfRemoved() {
        guard isRemoved, !isEnded, pairCount == 0 else { return }
        end()
        context.remove(self)
    }
}
