public import Platform

/// An event of the connection manager (rdma_get_cm_event(3)), as a provider reports it.
public struct ConnectionEvent: Sendable {
    public enum Kind: Sendable, Equatable {
        /// Address and route are known.
        case resolved
        /// A peer asks for a connection.
        case requested
        /// The connection is there.
        case established
        /// It does not come about.
        case failed(ConnectFailure)
        /// The peer has disconnected, or has answered to this side's wish.
        case disconnected
        /// The device of the endpoint is gone; the endpoint must be destroyed.
        case deviceRemoved
        /// Another event, which changes nothing.
        case other(Int32)
    }

    public var kind: Kind
    /// The endpoint it is about; of a request, the new one.
    public var endpoint: FabricHandle
    /// The word that was given with the endpoint; of a request, with the listener.
    public var context: UInt64
    /// Of a request and an establishment: what the peer says.
    public var parameters: ConnectionParameters
    /// Of a resolution and a request: the device. Empty while it is not known.
    public var device: String

    public init(
        kind: Kind, endpoint: FabricHandle, context: UInt64,
        parameters: ConnectionParameters = ConnectionParameters(responderResources: 0, initiatorDepth: 0),
        device: String = ""
    ) {
        self.kind = kind
        self.endpoint = endpoint
        self.context = context
        self.parameters = parameters
        self.device = device
    }
}

/// An event of a device that no completion reports (ibv_get_async_event(3)).
public struct AsynchronousEvent: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// The queue pair is in the error state, without a request that failed.
        case queuePairFatal
        /// The peer has sent what it must not send.
        case queuePairRequestError
        /// The peer has used a key that does not permit it.
        case queuePairAccessError
        /// A message has come before the connection was reported as established.
        case communicationEstablished
        /// The completion queue has overrun; it reports nothing any more.
        case completionQueueError
        /// The device has failed; all on it is gone.
        case deviceFatal
        case portActive
        case portError
        /// Another event, which changes nothing.
        case other(Int32)
    }

    public var kind: Kind
    /// The word of the queue pair it is about; nil when it is about the domain or its device.
    public var queuePair: UInt64?

    public init(kind: Kind, queuePair: UInt64? = nil) {
        self.kind = kind
        self.queuePair = queuePair
    }
}

/// The two ends of a connection.
public struct ConnectionAddresses: Sendable, Equatable {
    /// Nil when it cannot be had (any more).
    public var local: SocketAddress?
    public var peer: SocketAddress?

    public init(local: SocketAddress?, peer: SocketAddress?) {
        self.local = local
        self.peer = peer
    }
}
