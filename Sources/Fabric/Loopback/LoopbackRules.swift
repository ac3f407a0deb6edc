/// A device of a `LoopbackFabric`.
public struct LoopbackDevice: Sendable {
    public var description: FabricDevice
    /// The addresses that are its own, without ports.
    public var hosts: [String]

    /// A device; one whose transport is `FabricTransport.iWARP` has the rules of that.
    public init(
        name: String = "loop0", transport: FabricTransport = .roce, limits: DeviceLimits = DeviceLimits(),
        hasInvalidation: Bool = true, hosts: [String] = ["127.0.0.1", "::1"]
    ) {
        var limits = limits
        if transport == .iWARP { limits.readEntries = 1 }
        description = FabricDevice(
            name: name, transport: transport, limits: limits, hasInvalidation: hasInvalidation,
            guid: 0x0200_00FF_FE00_0001)
        self.hosts = hosts
    }
}

/// When a `LoopbackFabric` does what was asked of it.
public enum LoopbackPace: Sendable, Equatable {
    /// At once, in the call that makes it possible.
    case immediate
    /// One step for each call of `LoopbackFabric.step()`; the seed decides which of those that are possible.
    case stepped(seed: UInt64)
}

/// How often something goes wrong by itself, of 65,536 chances each.
public struct LoopbackFaults: Sendable, Equatable {
    /// A message is lost for good: the request ends with `transportRetryCounterExceeded`.
    public var lostMessage: UInt16 = 0
    /// The peer finds a fault of its own: `remoteOperationError`.
    public var remoteFailure: UInt16 = 0
    /// A request fails where it was posted: `localQueuePairOperationError`.
    public var localFailure: UInt16 = 0
    /// A queue pair fails without a request (an asynchronous event).
    public var queuePairFailure: UInt16 = 0
    /// The peer of a connection that is being made does not answer.
    public var lostConnection: UInt16 = 0
    /// Memory cannot be registered.
    public var registration: UInt16 = 0

    public init() {}
}

/// A fault at a place: of the requests with that operation, on that device, `count` fail after `skip` that do not.
public struct LoopbackRule: Sendable {
    /// Nil stands for any.
    public var opcode: WorkOpcode?
    /// The device whose queue pair posts the request; nil for any.
    public var device: String?
    public var skip: Int
    public var count: Int
    /// How the request ends. Errors of the peer are found there, others before anything is sent.
    public var status: CompletionStatus

    public init(
        opcode: WorkOpcode? = nil, device: String? = nil, skip: Int = 0, count: Int = 1, status: CompletionStatus
    ) {
        self.opcode = opcode
        self.device = device
        self.skip = skip
        self.count = count
        self.status = status
    }
}

/// What a `LoopbackFabric` has now: its own count, to hold against `FabricCounters`.
public struct LoopbackUsage: Sendable, Equatable {
    public var channels = 0
    public var endpoints = 0
    public var domains = 0
    public var regions = 0
    public var registeredBytes = 0
    public var windows = 0
    public var completionQueues = 0
    public var queuePairs = 0
    public var outstandingSends = 0
    public var postedReceives = 0
    /// So many times a message came for which there was no receive.
    public var receiverNotReady = 0

    /// Whether there is nothing any more.
    public var isEmpty: Bool {
        channels + endpoints + domains + regions + registeredBytes + windows + completionQueues + queuePairs == 0
    }

    public init() {}
}
