/// The transport of a device: it decides what the sink of an RDMA Read needs, and what becomes of a Send without a
/// receive.
public enum FabricTransport: String, Sendable {
    case infiniBand
    /// RDMA over Converged Ethernet.
    case roce
    /// RDMA over TCP (RFC 5040): the sink of an RDMA Read is addressed by the peer, so it needs `remoteWrite`; a Send
    /// without a receive ends the connection.
    case iWARP
}

/// What a device can do at most.
public struct DeviceLimits: Sendable, Equatable {
    /// Work requests of one queue.
    public var workRequests = 1024
    /// Scatter entries of a Send, Receive or RDMA Write.
    public var entries = 32
    /// Scatter entries of an RDMA Read.
    public var readEntries = 32
    /// Entries of a completion queue.
    public var completions = 1 << 15
    /// Bytes of a message.
    public var messageLength = 1 << 30
    /// Bytes of inline data.
    public var inlineLength = 256
    /// RDMA Reads of a peer that a queue pair answers at a time.
    public var responderResources = 16
    /// RDMA Reads that a queue pair has outstanding at a time.
    public var initiatorDepth = 16
    /// Queue pairs.
    public var queuePairs = 1 << 16
    /// Memory regions.
    public var regions = 1 << 16

    public init() {}
}

/// A device of a fabric.
public struct FabricDevice: Sendable, Equatable {
    /// Its name: "rxe0".
    public var name: String
    public var transport: FabricTransport
    public var limits: DeviceLimits
    /// Whether it says that it has Send with Invalidate and local invalidation. Some devices do not keep the promise.
    public var hasInvalidation: Bool
    /// Its node GUID, of which SRP makes the identifier of an I/O controller; 0 where it has none.
    public var guid: UInt64

    public init(
        name: String, transport: FabricTransport, limits: DeviceLimits, hasInvalidation: Bool, guid: UInt64 = 0
    ) {
        self.name = name
        self.transport = transport
        self.limits = limits
        self.hasInvalidation = hasInvalidation
        self.guid = guid
    }

    /// What the memory needs that RDMA Reads of this side write to.
    public var readSinkAccess: AccessRights {
        transport == .iWARP ? [.localWrite, .remoteWrite] : [.localWrite]
    }
}

/// The sizes of a queue pair.
public struct QueuePairCapabilities: Sendable, Equatable {
    /// Work requests of the send queue.
    public var sends: Int
    /// Work requests of the receive queue.
    public var receives: Int
    /// Scatter entries of a work request of the send queue.
    public var sendEntries: Int
    /// Scatter entries of a receive.
    public var receiveEntries: Int
    /// Bytes of inline data.
    public var inlineLength: Int

    public init(sends: Int, receives: Int, sendEntries: Int = 1, receiveEntries: Int = 1, inlineLength: Int = 0) {
        self.sends = sends
        self.receives = receives
        self.sendEntries = sendEntries
        self.receiveEntries = receiveEntries
        self.inlineLength = inlineLength
    }

    /// The same as far as a device can do it.
    public func limited(to limits: DeviceLimits) -> QueuePairCapabilities {
        var result = self
        // One request of each send queue is the provider's: the last of a queue that ends.
        result.sends = min(max(1, sends), limits.workRequests - 1)
        result.receives = min(max(1, receives), limits.workRequests)
        result.sendEntries = min(max(1, sendEntries), limits.entries)
        result.receiveEntries = min(max(1, receiveEntries), limits.entries)
        result.inlineLength = min(max(0, inlineLength), limits.inlineLength)
        return result
    }
}
