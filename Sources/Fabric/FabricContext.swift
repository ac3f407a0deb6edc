internal import Bytes
public import Platform

/// What a context tells whoever owns it, on its thread.
public protocol FabricContextObserver: AnyObject {
    /// A device has gone; the connections on it have been told, or are being told.
    func deviceRemoved(_ device: FabricDevice)
    /// The port of a device has come up or gone down.
    func portChanged(_ device: FabricDevice, isActive: Bool)
}

/// A fabric as one reactor sees it: all connections, protection domains and completion queues that belong to its
/// thread.
///
/// With a reactor it works by itself: completion queues are polled in each turn, and before the reactor waits they are
/// armed, so that their descriptors wake it. Without one, `poll` does everything when it is called.
@safe public final class FabricContext {
    /// The most queue pairs.
    public static let maximumQueuePairs = 1 << 14
    /// The most devices.
    public static let maximumDevices = 16
    /// The most listeners, and the most connections that are being resolved.
    public static let maximumListeners = 1 << 12
    /// The most entries that one poll takes from a completion queue, so that others have their turn.
    public static let completionsPerPoll = 256
    /// The most events of a channel that one turn takes.
    public static let eventsPerTurn = 64
    private static let completionsPerCall = 32

    public let provider: any FabricProvider
    public let counters = FabricCounters()
    public weak var observer: (any FabricContextObserver)?
    /// Whether only solicited and failed completions wake the reactor; others wait until it is awake.
    public var wakesOnSolicitedOnly = false

    let reactor: Reactor?
    let channel: WatchedHandle
    private var channelRegistration: RegistrationName?
    private(set) var domains: [ProtectionDomain] = []
    private var queuePairs = SlotTable<QueuePair>(limit: maximumQueuePairs)
    private var waiters = SlotTable<EventWaiterPlace>(limit: maximumListeners)
    private var ringing: [QueuePair] = []
    private var finishing: [QueuePair] = []
    private var isTurnEndAsked = false
    private var isClosed = false
    /// Where a provider puts completions. Safe: made in init, gone in deinit, used by one poll at a time.
    private let buffer: UnsafeMutablePointer<Completion>
    private var isPolling = false
    private lazy var channelWatcher = DescriptorWatcher { [unowned self] in self.takeEvents() }

    /// The fabric of `provider` on `reactor`, whose thread calls, or polled by hand.
    public init(provider: any FabricProvider, reactor: Reactor?) throws(FabricError) {
        self.provider = provider
        self.reactor = reactor
        channel = try provider.openChannel()
        unsafe buffer = .allocate(capacity: Self.completionsPerCall)
        let empty = Completion(id: 0, status: .success, opcode: .send)
        unsafe buffer.initialize(repeating: empty, count: Self.completionsPerCall)
        ringing.reserveCapacity(256)
        finishing.reserveCapacity(256)
        guard let reactor else { return }
        do {
            channelRegistration = try reactor.register(
                channel.fileDescriptor, interest: .readable, handler: channelWatcher)
        } catch {
            provider.closeChannel(channel.handle)
            throw FabricError(error)
        }
        guard reactor.addPoller(self) else {
            unregister(&channelRegistration)
            provider.closeChannel(channel.handle)
            throw .limitReached("pollers of a reactor")
        }
    }

    deinit {
        unsafe buffer.deallocate()
    }

    /// Ends everything: queue pairs are destroyed, and their handlers told, before this returns. A handler may call it.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        queuePairs.forEach { pair in
            pair.beginClosing(.local)
            finishLater(pair)
        }
        finishAll()
        waiters.forEach { $0.waiter.cancel() }
        for domain in domains { domain.end() }
        domains = []
        reactor?.removePoller(self)
        unregister(&channelRegistration)
        provider.closeChannel(channel.handle)
    }

    // MARK: Objects

    /// The protection domain on the device, which is made at first use.
    public func domain(on device: FabricDevice) throws(FabricError) -> ProtectionDomain {
        guard !isClosed else { throw .wrongState("the fabric of this thread is closed") }
        if let domain = domains.first(where: { $0.device.name == device.name && !$0.isRemoved }) { return domain }
        guard domains.count < Self.maximumDevices else { throw .limitReached("devices of a thread") }
        let domain = try ProtectionDomain(device: device, context: self)
        domains.append(domain)
        return domain
    }

    /// The device of that name.
    func device(named name: String) throws(FabricError) -> FabricDevice {
        if let domain = domains.first(where: { $0.device.name == name }) { return domain.device }
        guard let device = try provider.devices().first(where: { $0.name == name }) else { throw .noDevice(name) }
        return device
    }

    /// Listens for connections on `address`, which may be a wildcard.
    public func listen(
        on address: SocketAddress, backlog: Int = FabricListener.defaultBacklog, handler: any ListenerHandler
    ) throws(FabricError) -> FabricListener {
        let listener = FabricListener(context: self, handler: handler)
        try listener.begin(address, backlog)
        return listener
    }

    /// Looks for the way to `address`; the handler is told when a queue pair can be made.
    public func resolve(
        _ address: SocketAddress, from source: SocketAddress? = nil, timeout: Duration = .seconds(5),
        handler: any RouteHandler
    ) throws(FabricError) -> FabricRoute {
        let route = FabricRoute(context: self, handler: handler)
        try route.begin(address, source, timeout)
        return route
    }

    func insert(_ waiter: any EventWaiter) -> SlotName? {
        isClosed ? nil : waiters.insert(EventWaiterPlace(waiter))
    }
    func remove(waiter name: SlotName) { waiters.remove(name) }
    func insert(_ pair: QueuePair) -> SlotName? { isClosed ? nil : queuePairs.insert(pair) }
    func remove(_ pair: QueuePair) { queuePairs.remove(pair.name) }
    func remove(_ domain: ProtectionDomain) { domains.removeAll { $0 === domain } }

    /// The queue pair whose endpoint has that word.
    func queuePair(_ word: UInt64) -> QueuePair? {
        let owner = EventOwner(word: word)
        return owner.kind == .queuePair ? queuePairs[owner.slot] : nil
    }

    /// All queue pairs of a domain.
    func queuePairs(of domain: ProtectionDomain) -> [QueuePair] {
        var found: [QueuePair] = []
        queuePairs.forEach { if $0.domain === domain { found.append($0) } }
        return found
    }

    func unregister(_ registration: inout RegistrationName?) {
        if let registration { reactor?.unregister(registration) }
        registration = nil
    }

    // MARK: The turn

    func ringLater(_ pair: QueuePair) {
        ringing.append(pair)
        askForTurnEnd()
    }

    func finishLater(_ pair: QueuePair) {
        finishing.append(pair)
        askForTurnEnd()
    }

    private func askForTurnEnd() {
        guard let reactor, !isTurnEndAsked else { return }
        isTurnEndAsked = true
        reactor.afterEvents(self)
    }

    private func ringAll() {
        var index = 0
        // Ringing may list more.
        while index < ringing.count {
            ringing[index].ringListed()
            index += 1
        }
        ringing.removeAll(keepingCapacity: true)
    }

    private func finishAll() {
        var index = 0
        while index < finishing.count {
            finishing[index].finish()
            index += 1
        }
        finishing.removeAll(keepingCapacity: true)
    }

    // MARK: Completions

    /// Takes what there is from the completion queue of the handle and hands it to the queue pairs; how many it were.
    func takeCompletions(_ queue: FabricHandle) -> Int {
        var sum = 0
        // A handler may close the context, and with it the queue.
        while sum < Self.completionsPerPoll && !isClosed {
            // Safe: all elements are initialised, and one call at a time uses them.
            var target = unsafe MutableSpan(_unsafeStart: buffer, count: Self.completionsPerCall)
            let count = provider.poll(queue, into: &target)
            for index in 0..<count { unsafe deliver(buffer[index]) }
            sum += count
            if count < Self.completionsPerCall { break }
        }
        return sum
    }

    private func deliver(_ completion: Completion) {
        let name = WorkName(word: completion.id)
        // A queue pair that is gone has ended its requests itself.
        guard let (pair, generation) = queuePairs.element(at: name.index), name.isOf(generation: generation) else {
            return
        }
        pair.complete(name, completion)
    }

    // MARK: Events

    /// Handles what the connection manager reports; whether there was anything.
    @discardableResult
    private func takeEvents() -> Bool {
        for number in 0..<Self.eventsPerTurn {
            guard !isClosed, let event = provider.nextEvent(of: channel.handle) else { return number > 0 }
            handle(event)
        }
        return true
    }

    private func handle(_ event: ConnectionEvent) {
        let owner = EventOwner(word: event.context)
        switch owner.kind {
        case .waiter:
            if let place = waiters[owner.slot] {
                place.waiter.handle(event)
            } else if event.kind == .requested {
                // Nobody listens any more.
                provider.destroyEndpoint(event.endpoint)
            }
        case .queuePair: queuePairs[owner.slot]?.handle(event)
        case .nobody: break
        }
    }
}

extension FabricContext: Poller, TurnHandler {
    /// Handles completions, and without a reactor also events; whether there were any.
    public func poll() -> Bool {
        // A handler that polls is told that there is nothing.
        guard !isPolling, !isClosed else { return false }
        isPolling = true
        defer { isPolling = false }
        var hasWork = false
        if reactor == nil {
            hasWork = takeEvents()
            for domain in domains where domain.takeAsynchronousEvents() { hasWork = true }
        }
        for domain in domains where domain.poll() { hasWork = true }
        if !ringing.isEmpty {
            ringAll()
            hasWork = true
        }
        if !finishing.isEmpty {
            finishAll()
            hasWork = true
        }
        return hasWork
    }

    public func prepareToWait() -> Bool {
        for domain in domains { domain.arm(solicitedOnly: wakesOnSolicitedOnly) }
        return !poll()
    }

    public func turnEnded() {
        isTurnEndAsked = false
        ringAll()
        finishAll()
    }
}

extension QueuePair {
    /// What the context has listed for the end of the turn.
    func ringListed() {
        unsafe batch.pointee.isListed = false
        ring()
    }

    func handle(_ event: ConnectionEvent) {
        switch event.kind {
        case .established: establish(event.parameters)
        case .failed(let failure): beginClosing(.notConnected(failure))
        case .disconnected: beginClosing(.peer)
        case .deviceRemoved: domain.remove()
        case .resolved, .requested, .other: break
        }
    }

    /// The device is gone, and reports nothing any more.
    func remove() {
        beginClosing(.deviceRemoved)
        context.finishLater(self)
    }
}

/// Calls a closure when a descriptor is readable.
final class DescriptorWatcher: ReadyHandler {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) {
        self.body = body
    }

    func ready(_ events: ReadyEvents) { body() }
}

extension FabricError {
    /// A failed system call.
    init(_ error: SystemError) {
        self = .failed(operation: error.operation.description, reason: error.reason, code: error.code)
    }
}
