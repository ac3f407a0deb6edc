internal import Bytes

/// A queue pair of the loopback provider. Safe: its memory is made in init, is gone in deinit, and is used under the
/// provider's lock.
@safe final class LoopbackQueuePair {
    enum State {
        case initialized
        /// It takes messages, and sends them.
        case readyToSend
        case error
    }

    /// A request of the send queue.
    struct Send {
        var request: SendWorkRequest
        var length = 0
        var status = CompletionStatus.success
        /// Nothing of it is left to do but its completion.
        var isLocal = false
        /// An RDMA Read that writes its sink only when it completes.
        var isLate = false
    }

    let name: SlotName
    let domain: SlotName
    let queue: SlotName
    let device: Int
    let context: UInt64
    let capabilities: QueuePairCapabilities
    var state = State.initialized
    var peer: SlotName?
    let endpoint: SlotName

    // Of its send queue: requests `completed..<posted` are there; those before `begun` are on their way, those before
    // `executed` were done at the peer.
    private let sends: UnsafeMutablePointer<Send>
    private let sendEntries: UnsafeMutablePointer<ScatterEntry>
    private let inline: UnsafeMutableRawPointer
    var postedSends = 0
    var begunSends = 0
    var executedSends = 0
    var completedSends = 0
    /// RDMA Reads that have begun and are not completed.
    var outstandingReads = 0
    /// A request has failed: none begins after it.
    var isStopped = false

    private let receives: UnsafeMutablePointer<ReceiveWorkRequest>
    private let receiveEntries: UnsafeMutablePointer<ScatterEntry>
    var postedReceives = 0
    var completedReceives = 0

    /// RDMA Reads of its own at a time, and of its peer.
    var initiatorDepth = 0
    var responderResources = 0
    var rnrRetryCount = 0
    var rnrRetries = 0
    /// The peer has had no receive: when to try again, in nanoseconds.
    var waitsUntil: Int64?
    var isListed = false

    init(
        name: SlotName, domain: SlotName, queue: SlotName, device: Int, endpoint: SlotName, context: UInt64,
        capabilities: QueuePairCapabilities
    ) {
        self.name = name
        self.domain = domain
        self.queue = queue
        self.device = device
        self.endpoint = endpoint
        self.context = context
        self.capabilities = capabilities
        unsafe sends = .allocate(capacity: capabilities.sends)
        unsafe sendEntries = .allocate(capacity: capabilities.sends * capabilities.sendEntries)
        unsafe inline = .allocate(byteCount: capabilities.sends * capabilities.inlineLength + 1, alignment: 8)
        unsafe receives = .allocate(capacity: capabilities.receives)
        unsafe receiveEntries = .allocate(capacity: capabilities.receives * capabilities.receiveEntries)
    }

    deinit {
        unsafe sends.deallocate()
        unsafe sendEntries.deallocate()
        unsafe inline.deallocate()
        unsafe receives.deallocate()
        unsafe receiveEntries.deallocate()
    }

    var outstandingSends: Int { postedSends - completedSends }
    var outstandingReceives: Int { postedReceives - completedReceives }

    /// The request with that number, which is outstanding.
    func send(_ number: Int) -> UnsafeMutablePointer<Send> {
        precondition(number >= completedSends && number < postedSends, "the request is outstanding")
        return unsafe sends + number % capabilities.sends
    }

    /// The scatter entry of a request.
    func entry(_ number: Int, _ index: Int) -> ScatterEntry {
        unsafe sendEntries[number % capabilities.sends * capabilities.sendEntries + index]
    }

    /// The inline data of a request.
    func inlineData(_ number: Int) -> UnsafeMutableRawPointer {
        unsafe inline + number % capabilities.sends * capabilities.inlineLength
    }

    /// Puts a request at the end of the send queue, which has room, with the entries from `first` on. False when it
    /// does not fit the capabilities.
    func append(_ request: SendWorkRequest, _ entries: Span<ScatterEntry>, from first: Int) -> Bool {
        let count = Int(request.entryCount)
        guard outstandingSends < capabilities.sends, count <= capabilities.sendEntries, first + count <= entries.count
        else { return false }
        var send = Send(request: request)
        for index in 0..<count { send.length += Int(entries[first + index].length) }
        let isInline = request.options.contains(.inline)
        if isInline && (send.length > capabilities.inlineLength || request.opcode == .rdmaRead) { return false }
        let number = postedSends
        postedSends += 1
        unsafe self.send(number).initialize(to: send)
        var offset = 0
        for index in 0..<count {
            let entry = entries[first + index]
            if isInline {
                // Safe: the poster vouches for inline data as for any memory that it passes; it needs no key.
                if let source = unsafe UnsafeRawPointer(bitPattern: UInt(entry.address)) {
                    unsafe (inlineData(number) + offset).copyMemory(from: source, byteCount: Int(entry.length))
                }
                offset += Int(entry.length)
            } else {
                unsafe (sendEntries + number % capabilities.sends * capabilities.sendEntries + index)
                    .initialize(to: entry)
            }
        }
        return true
    }

    /// The receive with that number, which is outstanding.
    func receive(_ number: Int) -> ReceiveWorkRequest {
        unsafe receives[number % capabilities.receives]
    }

    func receiveEntry(_ number: Int, _ index: Int) -> ScatterEntry {
        unsafe receiveEntries[number % capabilities.receives * capabilities.receiveEntries + index]
    }

    /// Puts a receive at the end of the queue; false when it does not fit.
    func append(_ request: ReceiveWorkRequest, _ entries: Span<ScatterEntry>, from first: Int) -> Bool {
        let count = Int(request.entryCount)
        guard outstandingReceives < capabilities.receives, count <= capabilities.receiveEntries,
            first + count <= entries.count
        else { return false }
        let place = postedReceives % capabilities.receives
        postedReceives += 1
        unsafe (receives + place).initialize(to: request)
        for index in 0..<count {
            unsafe (receiveEntries + place * capabilities.receiveEntries + index)
                .initialize(to: entries[first + index])
        }
        return true
    }
}

/// A completion queue of the loopback provider: a ring of entries. Safe: as `LoopbackQueuePair`.
@safe final class LoopbackCompletionQueue {
    enum Arming {
        case no
        case solicited
        case next
    }

    let domain: SlotName
    let watched: LoopbackDescriptor
    let capacity: Int
    private let entries: UnsafeMutablePointer<Completion>
    private(set) var added = 0
    private(set) var taken = 0
    var arming = Arming.no
    /// It has overrun and reports nothing any more.
    var hasFailed = false

    init(domain: SlotName, watched: LoopbackDescriptor, capacity: Int) {
        self.domain = domain
        self.watched = watched
        self.capacity = capacity
        unsafe entries = .allocate(capacity: capacity)
    }

    deinit {
        unsafe entries.deallocate()
    }

    var count: Int { added - taken }

    /// Adds an entry; false when it overruns.
    func add(_ completion: Completion, isSolicited: Bool) -> Bool {
        guard count < capacity else { return false }
        unsafe (entries + added % capacity).initialize(to: completion)
        added += 1
        if arming == .next || (arming == .solicited && (isSolicited || completion.status != .success)) {
            arming = .no
            watched.signal()
        }
        return true
    }

    func takeFirst() -> Completion {
        precondition(count > 0, "only what is there is taken")
        taken += 1
        return unsafe entries[(taken - 1) % capacity]
    }
}
