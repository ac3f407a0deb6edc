internal import Bytes
internal import Platform

/// All state of a `LoopbackFabric`, used under its lock.
final class LoopbackCore: @unchecked Sendable {
    /// The most of each kind of object.
    static let objectLimit = 1 << 16
    /// The most keys at a time: 24 bits of a key name its slot.
    static let keyLimit = 1 << 20
    /// The most events of a domain that wait; more are dropped.
    static let eventLimit = 1 << 10
    /// How long a sender waits for which the peer had no receive, in nanoseconds: code 12 of InfiniBand's table 46.
    static let rnrTimer: Int64 = 640_000

    var devices: [FabricDevice]
    let hosts: [[String]]
    var removed: Set<Int> = []
    let pace: LoopbackPace
    var faults = LoopbackFaults()
    var rules: [LoopbackRule] = []
    var random: SplitMix
    var usage = LoopbackUsage()

    var domains = SlotTable<LoopbackDomain>(limit: objectLimit)
    var keys = SlotTable<LoopbackKey>(limit: keyLimit)
    var queues = SlotTable<LoopbackCompletionQueue>(limit: objectLimit)
    var pairs = SlotTable<LoopbackQueuePair>(limit: objectLimit)
    var channels = SlotTable<LoopbackChannel>(limit: objectLimit)
    var endpoints = SlotTable<LoopbackEndpoint>(limit: objectLimit)
    /// Messages of connection managers that are on their way.
    var messages: [LoopbackMessage] = []
    var nextPort: UInt16 = 49_152

    /// Queue pairs that may have something to do, when everything is done at once.
    var ready: [LoopbackQueuePair] = []
    private var isRunning = false
    /// Queue pairs whose peer has had no receive.
    var waiting = 0
    /// The time of the simulation, in nanoseconds.
    var simulatedTime: Int64 = 0

    init(devices: [LoopbackDevice], pace: LoopbackPace) {
        self.devices = devices.map(\.description)
        hosts = devices.map(\.hosts)
        self.pace = pace
        if case .stepped(let seed) = pace { random = SplitMix(seed: seed) } else { random = SplitMix(seed: 1) }
    }

    var isStepped: Bool { pace != .immediate }

    var now: Int64 { isStepped ? simulatedTime : MonotonicTime.current().nanoseconds }

    /// Whether something that goes wrong by chance does now.
    func happens(_ chance: UInt16) -> Bool {
        chance > 0 && random.next() & 0xFFFF < UInt64(chance)
    }

    /// The status that a rule has for a request, nil when none has.
    func ruled(_ opcode: WorkOpcode, device: Int) -> CompletionStatus? {
        for index in rules.indices {
            guard rules[index].opcode ?? opcode == opcode,
                rules[index].device ?? devices[device].name == devices[device].name
            else { continue }
            if rules[index].skip > 0 {
                rules[index].skip -= 1
            } else if rules[index].count > 0 {
                rules[index].count -= 1
                return rules[index].status
            }
        }
        return nil
    }

    func device(named name: String) throws(FabricError) -> Int {
        for (index, device) in devices.enumerated() where device.name == name && !removed.contains(index) {
            return index
        }
        throw .noDevice(name)
    }

    // MARK: Progress

    /// The queue pair may have something to do.
    func kick(_ pair: LoopbackQueuePair) {
        guard !isStepped, !pair.isListed else { return }
        pair.isListed = true
        ready.append(pair)
    }

    /// Does all that can be done, unless it is done step by step.
    func run() {
        guard !isStepped, !isRunning else { return }
        isRunning = true
        while !messages.isEmpty || !ready.isEmpty {
            while !messages.isEmpty { deliver(messages.removeFirst()) }
            guard let pair = ready.popLast() else { continue }
            pair.isListed = false
            while advance(pair) {}
        }
        isRunning = false
    }

    private func advance(_ pair: LoopbackQueuePair) -> Bool {
        if canFlush(pair) {
            flush(pair)
        } else if canComplete(pair) {
            completeNext(pair)
        } else if canExecute(pair) {
            executeNext(pair)
        } else if canBegin(pair) {
            beginNext(pair)
        } else {
            return false
        }
        return true
    }

    private enum Step {
        case message(Int)
        case begin(LoopbackQueuePair)
        case execute(LoopbackQueuePair)
        case complete(LoopbackQueuePair)
        case flush(LoopbackQueuePair)
    }

    /// Does one of the things that can be done, which the seed decides; false when there is nothing to do.
    func step() -> Bool {
        simulatedTime += 1_000
        var steps = possibleSteps()
        if steps.isEmpty {
            // Nothing but waiting: until the first may try again.
            var deadline = Int64.max
            pairs.forEach { if let time = $0.waitsUntil { deadline = min(deadline, time) } }
            guard deadline < .max, deadline > simulatedTime else { return false }
            simulatedTime = deadline
            steps = possibleSteps()
        }
        guard !steps.isEmpty else { return false }
        switch steps[Int(random.next() % UInt64(steps.count))] {
        case .message(let index): deliver(messages.remove(at: index))
        case .begin(let pair): beginNext(pair)
        case .execute(let pair): executeNext(pair)
        case .complete(let pair): completeNext(pair)
        case .flush(let pair): flushNext(pair)
        }
        return true
    }

    private func possibleSteps() -> [Step] {
        var steps: [Step] = []
        var seen: Set<SlotName> = []
        // Messages for one endpoint stay in order.
        for (index, message) in messages.enumerated() where seen.insert(message.target).inserted {
            steps.append(.message(index))
        }
        pairs.forEach { pair in
            if canBegin(pair) { steps.append(.begin(pair)) }
            if canExecute(pair) { steps.append(.execute(pair)) }
            if canComplete(pair) { steps.append(.complete(pair)) }
            if canFlush(pair) { steps.append(.flush(pair)) }
        }
        return steps
    }

    /// Has those try again that have waited their time. Unless it is done step by step.
    func expire() {
        guard waiting > 0, !isStepped else { return }
        let now = now
        pairs.forEach { pair in
            if let time = pair.waitsUntil, time <= now { kick(pair) }
        }
        run()
    }

    // MARK: Domains and queues

    func openDomain(on name: String) throws(FabricError) -> WatchedHandle {
        let watched = try LoopbackDescriptor()
        guard let slot = domains.insert(LoopbackDomain(device: try device(named: name), watched: watched)) else {
            throw .limitReached("protection domains")
        }
        usage.domains += 1
        return WatchedHandle(handle: FabricHandle(word: slot.word), fileDescriptor: watched.fileDescriptor)
    }

    func closeDomain(_ name: SlotName) {
        if domains.remove(name) != nil { usage.domains -= 1 }
    }

    func report(_ event: AsynchronousEvent, to name: SlotName) {
        guard let domain = domains[name], domain.events.count < Self.eventLimit else { return }
        domain.events.append(event)
        domain.watched.signal()
    }

    func nextAsynchronousEvent(of name: SlotName) -> AsynchronousEvent? {
        guard let domain = domains[name] else { return nil }
        if domain.events.isEmpty {
            domain.watched.clear()
            return nil
        }
        return domain.events.removeFirst()
    }

    func openCompletionQueue(capacity: Int, in name: SlotName) throws(FabricError) -> WatchedHandle {
        guard let domain = domains[name] else { throw .wrongState("there is no such protection domain") }
        guard capacity > 0, capacity <= devices[domain.device].limits.completions else {
            throw .limitReached("entries of a completion queue")
        }
        let watched = try LoopbackDescriptor()
        let queue = LoopbackCompletionQueue(domain: name, watched: watched, capacity: capacity)
        guard let slot = queues.insert(queue) else { throw .limitReached("completion queues") }
        usage.completionQueues += 1
        return WatchedHandle(handle: FabricHandle(word: slot.word), fileDescriptor: watched.fileDescriptor)
    }

    func closeCompletionQueue(_ name: SlotName) {
        if queues.remove(name) != nil { usage.completionQueues -= 1 }
    }

    func arm(_ name: SlotName, solicitedOnly: Bool) {
        guard let queue = queues[name] else { return }
        // A request for the next entry is not weakened by one for the next solicited one.
        if !solicitedOnly { queue.arming = .next } else if queue.arming == .no { queue.arming = .solicited }
        // There is no timer for those that wait for a receive of their peer: whoever polls has them try again.
        guard waiting > 0, !isStepped else { return }
        var isWaited = false
        pairs.forEach { if $0.queue == name, let time = $0.waitsUntil, time < .max { isWaited = true } }
        if isWaited { queue.watched.signal() }
    }

    func add(_ completion: Completion, to pair: LoopbackQueuePair, isSolicited: Bool = false) {
        guard let queue = queues[pair.queue], !queue.hasFailed else { return }
        if queue.add(completion, isSolicited: isSolicited) { return }
        queue.hasFailed = true
        report(AsynchronousEvent(kind: .completionQueueError), to: queue.domain)
    }

    // MARK: Queue pairs

    func makeQueuePair(
        _ capabilities: QueuePairCapabilities, endpoint: SlotName, domain name: SlotName, queue: SlotName,
        context: UInt64
    ) throws(FabricError) -> FabricHandle {
        guard let domain = domains[name], let end = endpoints[endpoint], queues[queue]?.domain == name else {
            throw .wrongState("there is no such protection domain, endpoint or completion queue")
        }
        let limits = devices[domain.device].limits
        guard end.device == domain.device, end.pair == nil, !removed.contains(domain.device),
            capabilities.sends <= limits.workRequests, capabilities.receives <= limits.workRequests,
            max(capabilities.sendEntries, capabilities.receiveEntries) <= limits.entries,
            capabilities.inlineLength <= limits.inlineLength
        else { throw .failed(operation: "make a queue pair", reason: "Invalid argument", code: Errno.invalidArgument) }
        guard usage.queuePairs < limits.queuePairs else { throw .limitReached("queue pairs of a device") }
        let slot = pairs.insert { slot in
            LoopbackQueuePair(
                name: slot, domain: name, queue: queue, device: domain.device, endpoint: endpoint, context: context,
                capabilities: capabilities)
        }
        guard let slot else { throw .limitReached("queue pairs") }
        end.pair = slot
        usage.queuePairs += 1
        return FabricHandle(word: slot.word)
    }

    func destroyQueuePair(_ name: SlotName) {
        guard let pair = pairs.remove(name) else { return }
        usage.queuePairs -= 1
        setWaiting(pair, nil)
        unbindWindows(of: name)
        endpoints[pair.endpoint]?.pair = nil
        wakePeer(of: pair)
        run()
    }

    func setWaiting(_ pair: LoopbackQueuePair, _ time: Int64?) {
        waiting += (time == nil ? 0 : 1) - (pair.waitsUntil == nil ? 0 : 1)
        pair.waitsUntil = time
    }

    func fail(_ pair: LoopbackQueuePair) {
        guard pair.state != .error else { return }
        pair.state = .error
        setWaiting(pair, nil)
        kick(pair)
        wakePeer(of: pair)
    }

    /// The peer's messages have nowhere to go any more, also those that wait for a receive.
    private func wakePeer(of pair: LoopbackQueuePair) {
        guard let peer = pair.peer.flatMap({ pairs[$0] }) else { return }
        setWaiting(peer, nil)
        kick(peer)
    }
}

/// A random sequence that its seed decides (SplitMix64).
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
