public import Platform

/// An object of a provider with a descriptor that becomes readable when it has something to say.
public struct WatchedHandle: Sendable {
    public let handle: FabricHandle
    public let fileDescriptor: Int32

    public init(handle: FabricHandle, fileDescriptor: Int32) {
        self.handle = handle
        self.fileDescriptor = fileDescriptor
    }
}

/// What carries messages and reaches into the memory of peers: the calls of libibverbs and librdmacm as far as they are
/// needed, below `FabricContext` and `QueuePair`, which ports use.
///
/// Any thread may call, but one at a time for one object. Nothing waits. Handles that are destroyed are not used again:
/// the classes above see to that.
///
/// The send queue of a queue pair begins its requests in the order of their posting and reports their ends in that
/// order; so does the receive queue. The first request that fails brings the queue pair into the error state, in which
/// all other requests are reported as flushed, also those posted later.
public protocol FabricProvider: AnyObject, Sendable {
    /// Its name: "verbs", "loopback".
    var name: String { get }
    /// The devices that are there now. Fails with one sentence where there is no RDMA.
    func devices() throws(FabricError) -> [FabricDevice]

    // MARK: Connections

    /// A channel for the events of endpoints.
    func openChannel() throws(FabricError) -> WatchedHandle
    func closeChannel(_ channel: FabricHandle)
    /// The next event of the channel, nil when there is none.
    func nextEvent(of channel: FabricHandle) -> ConnectionEvent?
    /// An endpoint that listens, and the address with the port that was chosen for 0.
    func listen(
        on address: SocketAddress, backlog: Int, channel: FabricHandle, context: UInt64
    ) throws(FabricError) -> (endpoint: FabricHandle, address: SocketAddress)
    /// An endpoint for a connection to `address`; `resolved` or a failure follows. `source` is the own address, if it
    /// matters.
    func resolve(
        _ address: SocketAddress, from source: SocketAddress?, timeout: Duration, channel: FabricHandle,
        context: UInt64
    ) throws(FabricError) -> FabricHandle
    /// Brings the endpoint, and events of it that wait, to another channel and gives it another word.
    func move(_ endpoint: FabricHandle, to channel: FabricHandle, context: UInt64) throws(FabricError)
    func connect(_ endpoint: FabricHandle, _ parameters: ConnectionParameters) throws(FabricError)
    func accept(_ endpoint: FabricHandle, _ parameters: ConnectionParameters) throws(FabricError)
    func reject(_ endpoint: FabricHandle, privateData: [UInt8]) throws(FabricError)
    /// Begins to disconnect and brings the queue pair into the error state.
    func disconnect(_ endpoint: FabricHandle)
    /// Ends the endpoint, whose queue pair is destroyed; no event of it follows.
    func destroyEndpoint(_ endpoint: FabricHandle)
    func addresses(of endpoint: FabricHandle) -> ConnectionAddresses

    // MARK: Memory

    /// A protection domain on a device, whose descriptor tells of asynchronous events.
    func openDomain(on device: String) throws(FabricError) -> WatchedHandle
    func closeDomain(_ domain: FabricHandle)
    func nextAsynchronousEvent(of domain: FabricHandle) -> AsynchronousEvent?
    /// Registers memory, which stays mapped until it is deregistered.
    func register(
        _ memory: UnsafeMutableRawBufferPointer, access: AccessRights, in domain: FabricHandle
    ) throws(FabricError) -> MemoryRegion
    func deregister(_ region: MemoryRegion)
    func allocateWindow(in domain: FabricHandle) throws(FabricError) -> MemoryWindow
    func freeWindow(_ window: MemoryWindow)

    // MARK: Work

    /// A completion queue for at least `capacity` entries, whose descriptor tells of an entry after `arm`.
    func openCompletionQueue(capacity: Int, in domain: FabricHandle) throws(FabricError) -> WatchedHandle
    func closeCompletionQueue(_ queue: FabricHandle)
    /// Takes the oldest entries out, as many as there are places; how many it were.
    func poll(_ queue: FabricHandle, into completions: inout MutableSpan<Completion>) -> Int
    /// Has the next entry that comes make the descriptor readable, or the next solicited or failed one. Whoever arms
    /// polls again, for entries that have come before.
    func arm(_ queue: FabricHandle, solicitedOnly: Bool)
    /// Makes the descriptor of the queue unreadable again.
    func acknowledgeEvents(of queue: FabricHandle)
    /// The queue pair of an endpoint: receives can be posted at once, sends when it is connected.
    func makeQueuePair(
        _ capabilities: QueuePairCapabilities, endpoint: FabricHandle, domain: FabricHandle, queue: FabricHandle,
        context: UInt64
    ) throws(FabricError) -> FabricHandle
    /// Ends the queue pair. Nothing of it touches memory when this returns; entries of the completion queue may stay.
    func destroyQueuePair(_ queuePair: FabricHandle)
    /// Brings the queue pair into the error state.
    func fail(_ queuePair: FabricHandle)
    /// Posts requests with their entries, which come one after the other; how many were taken.
    func postSends(
        _ requests: Span<SendWorkRequest>, _ entries: Span<ScatterEntry>, to queuePair: FabricHandle
    ) -> Int
    func postReceives(
        _ requests: Span<ReceiveWorkRequest>, _ entries: Span<ScatterEntry>, to queuePair: FabricHandle
    ) -> Int
}
