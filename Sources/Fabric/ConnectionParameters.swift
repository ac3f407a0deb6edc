/// What two sides tell each other when they connect (rdma_connect(3), rdma_accept(3)).
public struct ConnectionParameters: Sendable, Equatable {
    /// RDMA Reads of the peer that this side answers at a time.
    public var responderResources: UInt8
    /// RDMA Reads that this side has outstanding at a time.
    public var initiatorDepth: UInt8
    /// How often an unanswered packet is sent again, 0 to 7. The side that connects decides.
    public var retryCount: UInt8
    /// How often the peer sends a message again for which this side has no receive, 0 to 6; 7 is without end.
    public var rnrRetryCount: UInt8
    /// For the protocol above.
    public var privateData: [UInt8]

    public init(
        responderResources: UInt8 = 4, initiatorDepth: UInt8 = 4, retryCount: UInt8 = 7, rnrRetryCount: UInt8 = 7,
        privateData: [UInt8] = []
    ) {
        self.responderResources = responderResources
        self.initiatorDepth = initiatorDepth
        self.retryCount = retryCount
        self.rnrRetryCount = rnrRetryCount
        self.privateData = privateData
    }

    /// `rnrRetryCount` that never ends.
    public static let endlessRNRRetries: UInt8 = 7

    /// The same from the other side: what the peer has outstanding, this side answers. Reports of a connection manager
    /// are in the view of who gets them (rdma_get_cm_event(3)).
    var seenByPeer: ConnectionParameters {
        var seen = self
        seen.responderResources = initiatorDepth
        seen.initiatorDepth = responderResources
        return seen
    }

    /// The parameters to accept a request with that has these: no more reads on either side than the peer offers and
    /// the device has.
    public func accepting(on device: FabricDevice, privateData: [UInt8] = []) -> ConnectionParameters {
        ConnectionParameters(
            responderResources: min(responderResources, UInt8(clamping: device.limits.responderResources)),
            initiatorDepth: min(initiatorDepth, UInt8(clamping: device.limits.initiatorDepth)),
            retryCount: retryCount, rnrRetryCount: Self.endlessRNRRetries, privateData: privateData)
    }
}

/// How much private data a connection manager carries, in bytes. InfiniBand's messages have these sizes less the header
/// of 36 bytes that RDMA-CM puts into a request.
public enum PrivateDataLimit {
    public static let request = 56
    public static let reply = 196
    public static let reject = 148
}

/// Why a connection did not come about.
public enum ConnectFailure: Sendable, Equatable {
    /// The address or the way to it is not known: the error number.
    case notResolved(Int32)
    /// The peer, or its connection manager, says no: the reason of InfiniBand (volume 1, clause 12.6.7.2) or an error
    /// number of the transport, and what the peer's program says.
    case rejected(reason: Int32, privateData: [UInt8])
    /// The peer does not answer.
    case unreachable(Int32)
    /// Anything else: the error number.
    case failed(Int32)
}

/// Reasons of a rejection (InfiniBand volume 1, clause 12.6.7.2, table 99).
public enum RejectReason {
    /// No queue pair to be had.
    public static let noQueuePair: Int32 = 1
    /// Nobody listens there.
    public static let invalidServiceID: Int32 = 8
    /// The program says no, and its private data why.
    public static let consumerDefined: Int32 = 28
}

/// Why a queue pair was closed.
public enum CloseReason: Sendable, Equatable {
    /// This side has asked for it.
    case local
    /// The peer has disconnected.
    case peer
    /// The connection did not come about.
    case notConnected(ConnectFailure)
    /// A work request failed, the first one with this status.
    case workRequest(CompletionStatus)
    /// The device reported an error of the queue pair or its completion queue.
    case asynchronous(AsynchronousEvent.Kind)
    /// The device is gone.
    case deviceRemoved
}
