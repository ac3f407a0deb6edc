internal import Bytes
internal import Platform

/// What a queue pair calls, on the thread of its context. It is kept until `closed`.
public protocol QueuePairHandler: AnyObject {
    /// The connection is there; `parameters` are what the peer has said. Of the accepting side nothing but its private
    /// data of the request comes again.
    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters)
    /// A request has ended. Its memory is the consumer's again.
    func completed(_ completion: Completion, on queuePair: QueuePair)
    /// All requests have ended and nothing touches their memory; nothing follows.
    func closed(_ queuePair: QueuePair, _ reason: CloseReason)
}

/// One end of a reliable connection: a send queue, a receive queue, and the connection manager's endpoint.
///
/// It belongs to the thread of its context. What is posted goes to the device in one batch, at the end of the turn or
/// by `ring`. Every request that was posted ends exactly once, each queue in order; those that were posted without
/// `WorkOptions.signaled` end silently when they succeed.
///
/// An error of a request, a disconnection and `close` all lead the same way: the queue pair comes into the error state,
/// all requests end as flushed, and `QueuePairHandler.closed(_:_:)` is the last that the handler hears.
@safe public final class QueuePair {
    /// How far it is.
    public enum State: Sendable {
        /// Receives can be posted.
        case initialized
        /// Connecting or accepting; receives can be posted.
        case connecting
        case established
        /// In the error state: requests are being flushed.
        case closing
        case closed
    }

    /// How long requests may take to be flushed before the queue pair is destroyed without waiting for them.
    public static let drainTimeout = Duration.seconds(10)
    /// The most requests of each queue that are collected for one batch.
    public static let batchLimit = 64

    public let domain: ProtectionDomain
    /// Its sizes.
    public let capabilities: QueuePairCapabilities
    public internal(set) var state = State.initialized
    /// The two ends, as far as they are known.
    public let addresses: ConnectionAddresses
    /// RDMA Reads that this side has outstanding at a time, once it is connected.
    public internal(set) var initiatorDepth = 0

    let provider: any FabricProvider
    let context: FabricContext
    let queue: CompletionQueue
    let endpoint: FabricHandle
    var handle = FabricHandle.none
    var name = SlotName(index: 0, generation: 0)
    var handler: (any QueuePairHandler)?
    let sendQueue: WorkQueue
    let receiveQueue: WorkQueue
    /// Collected requests. Safe: made in init, gone in deinit, used by this thread alone.
    let batch: UnsafeMutablePointer<Batch>
    var closeReason = CloseReason.local
    var drainTimer: TimerName?
    /// Private data of the peer's request, for `established`.
    var peerParameters = ConnectionParameters(responderResources: 0, initiatorDepth: 0)
    let isActive: Bool

    init(
        domain: ProtectionDomain, queue: CompletionQueue, endpoint: FabricHandle, capabilities: QueuePairCapabilities,
        isActive: Bool, handler: any QueuePairHandler
    ) {
        self.domain = domain
        self.queue = queue
        self.endpoint = endpoint
        self.capabilities = capabilities
        self.isActive = isActive
        self.handler = handler
        context = domain.context
        provider = context.provider
        addresses = provider.addresses(of: endpoint)
        sendQueue = WorkQueue(limit: capabilities.sends + 1)
        receiveQueue = WorkQueue(limit: capabilities.receives)
        unsafe batch = .allocate(capacity: 1)
        unsafe batch.initialize(to: Batch(capabilities))
    }

    deinit {
        unsafe batch.pointee.destroy()
        unsafe batch.deallocate()
        sendQueue.destroy()
        receiveQueue.destroy()
    }

    /// What the provider carries for the request at a position.
    func workName(_ position: UInt32, isReceive: Bool) -> WorkName {
        WorkName(index: name.index, generation: name.generation, isReceive: isReceive, position: position)
    }

    // MARK: Connecting

    /// Accepts the peer's request, for which receives are posted; `established` or `closed` follows.
    public func accept(_ parameters: ConnectionParameters) throws(FabricError) {
        try begin(parameters, limit: PrivateDataLimit.reply, isAccepting: true)
    }

    /// Asks the peer for a connection, for which receives are posted; `established` or `closed` follows.
    public func connect(_ parameters: ConnectionParameters) throws(FabricError) {
        try begin(parameters, limit: PrivateDataLimit.request, isAccepting: false)
    }

    private func begin(
        _ parameters: ConnectionParameters, limit: Int, isAccepting: Bool
    ) throws(FabricError) {
        guard state == .initialized, isActive != isAccepting else {
            throw .wrongState("the connection has been connected, accepted or closed before")
        }
        guard parameters.privateData.count <= limit else {
            throw .privateDataTooLong(parameters.privateData.count, limit: limit)
        }
        // What the peer may send at once finds its receive.
        ring()
        if isAccepting {
            try provider.accept(endpoint, parameters)
        } else {
            try provider.connect(endpoint, parameters)
        }
        initiatorDepth = Int(parameters.initiatorDepth)
        state = .connecting
    }

    /// The connection manager says that the connection is there, or a message of the peer does.
    func establish(_ parameters: ConnectionParameters) {
        guard state == .connecting else { return }
        state = .established
        if isActive { peerParameters = parameters }
        handler?.established(self, peerParameters)
    }

    // MARK: Completions

    /// An entry of the completion queue.
    func complete(_ name: WorkName, _ completion: Completion) {
        let work = name.isReceive ? receiveQueue : sendQueue
        guard work.contains(name.position), !name.isReceive || work.oldestPosition == name.position else {
            context.counters.countStrayCompletion()
            beginClosing(.workRequest(.generalError))
            return
        }
        // A message can be here before the report that the connection is.
        if name.isReceive, state == .connecting, completion.status == .success { establish(peerParameters) }
        // What was before it in the send queue and is not reported has succeeded, or was not taken.
        while work.oldestPosition != name.position { retire(work.removeFirst()) }
        let entry = work.removeFirst()
        count(isReceive: name.isReceive)
        if completion.status != .success { failed(completion.status) }
        if entry.opcode == .receive || entry.isReported || (completion.status != .success && !entry.isMarker) {
            var report = completion
            report.id = entry.id
            report.opcode = entry.opcode
            deliver(report)
        }
        if state == .closing { finishIfDrained() }
    }

    private func failed(_ status: CompletionStatus) {
        // A flush without a failure before it: the peer has disconnected, or a report of the device follows.
        if status == .workRequestFlushedError { return beginClosing(.peer) }
        beginClosing(.workRequest(status))
    }

    /// A request of the send queue ends without an entry of its own.
    private func retire(_ entry: WorkQueue.Entry) {
        count(isReceive: false)
        guard (entry.isReported || entry.isRefused) && !entry.isMarker else { return }
        deliver(Completion(id: entry.id, status: .workRequestFlushedError, opcode: entry.opcode))
    }

    private func deliver(_ completion: Completion) {
        context.counters.countCompletion(isSuccess: completion.status == .success)
        handler?.completed(completion, on: self)
    }

    private func count(isReceive: Bool) {
        if isReceive { context.counters.countReceives(-1) } else { context.counters.countSends(-1) }
    }

    /// Ends all requests that the device has not ended. It is destroyed: nothing touches their memory.
    func flushRest() {
        for work in [sendQueue, receiveQueue] {
            while work.count > 0 {
                let entry = work.removeFirst()
                count(isReceive: entry.opcode == .receive)
                if entry.isMarker { continue }
                deliver(Completion(id: entry.id, status: .workRequestFlushedError, opcode: entry.opcode))
            }
        }
    }
}

extension WorkQueue.Entry {
    /// The id of the provider's own last request.
    static let markerID = UInt64.max
    /// Whether it is the last request of a send queue that ends, of which no consumer knows.
    var isMarker: Bool { id == Self.markerID && opcode == .rdmaWrite && !isReported }
}
