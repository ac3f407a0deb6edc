internal import Bytes
internal import Fabric
internal import SRP

/// The sizes of a channel, as far as its device can do them.
struct ChannelSizes {
    /// REQUEST LIMIT.
    let requestLimit: Int
    /// The length of the information units of this initiator, in bytes.
    let maximumLength: Int
    let capabilities: QueuePairCapabilities
    /// RDMA Reads that may be outstanding.
    let outstandingReads: Int

    /// Nil when the device has no receive for a request, or one of both sides no RDMA Read.
    init?(_ device: FabricDevice, _ admitted: AdmittedLogin, _ limits: SRPPortLimits) {
        let receives = min(limits.requestLimit + SRPPortLimits.spareReceives, device.limits.workRequests)
        requestLimit = receives - SRPPortLimits.spareReceives
        maximumLength = Int(admitted.login.maximumLength)
        let depth = admitted.request.parameters.accepting(on: device).initiatorDepth
        outstandingReads = min(limits.outstandingReads, Int(depth))
        guard requestLimit > 0, outstandingReads > 0 else { return nil }
        let wanted = QueuePairCapabilities(
            sends: max(limits.sendQueue, SRPPortLimits.reservedSends + 1), receives: receives,
            inlineLength: SRPPortLimits.maximumTargetLength)
        capabilities = wanted.limited(to: device.limits)
        guard capabilities.sends > SRPPortLimits.reservedSends else { return nil }
    }

    /// How many receives are posted.
    var receives: Int { requestLimit + SRPPortLimits.spareReceives }
    /// How many information units may be on their way to the initiator: responses, SRP_CRED_REQ and SRP_T_LOGOUT.
    var targetUnits: Int { requestLimit + SRPPortLimits.reservedSends }
    /// The bytes of memory for all information units.
    var bufferLength: Int { receives * stride + targetUnits * SRPPortLimits.targetUnitStride }
    /// The bytes between two received information units in memory.
    var stride: Int { (maximumLength + 63) & ~63 }
}

/// The registered memory of a channel for information units in both directions.
final class ChannelBuffers {
    let sizes: ChannelSizes
    let arena: RegisteredArena
    /// What the initiator sends, one information unit after the other.
    let received: BufferLease
    private var sent: BufferLease

    /// Nil when the pool has no room.
    init?(_ sizes: ChannelSizes, pool: BufferPool, arena: RegisteredArena) {
        self.sizes = sizes
        self.arena = arena
        guard var received = pool.lease(capacity: sizes.receives * sizes.stride),
            let sent = pool.lease(capacity: sizes.targetUnits * SRPPortLimits.targetUnitStride)
        else { return nil }
        // Any of it may be written by the device at any time.
        received.setCount(received.capacity)
        self.received = consume received
        self.sent = consume sent
    }

    /// The bytes of the memory.
    var length: Int { received.capacity + sent.capacity }

    /// Calls `body` with `count` bytes of what a slot has received, from `offset` on.
    func withReceived<Result>(
        _ index: Int, offset: Int = 0, count: Int, _ body: (RawSpan) -> Result
    ) -> Result {
        let start = index * sizes.stride + offset
        return Self.read(received, start..<start + count, body)
    }

    private static func read<Result>(
        _ lease: borrowing BufferLease, _ range: Range<Int>, _ body: (RawSpan) -> Result
    ) -> Result {
        body(lease.bytes.extracting(range))
    }

    /// The entry for the receive of a slot; nil when the device is gone.
    func receiveEntry(_ index: Int) -> ScatterEntry? {
        arena.entry(for: received, offset: index * sizes.stride, length: sizes.maximumLength)
    }

    /// Puts an information unit into a place; the entry for it, or nil when the device is gone.
    func store(_ bytes: RawSpan, in place: Int) -> ScatterEntry? {
        let offset = place * SRPPortLimits.targetUnitStride
        sent.store(bytes, at: offset)
        return arena.entry(for: sent, offset: offset, length: bytes.byteCount)
    }
}
