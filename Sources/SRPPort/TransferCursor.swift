internal import SRP

/// How far the RDMA operations of a transfer have been posted, descriptor by descriptor.
struct TransferCursor {
    /// A part of the initiator's memory for one work request, and where its bytes are in the lease.
    struct Piece {
        var address: UInt64
        var key: UInt32
        var offset: Int
        var length: Int
    }

    /// The bytes of the transfer.
    private(set) var total = 0
    /// Those that are posted.
    private(set) var posted = 0
    /// The descriptor that is next, and how much of it is posted.
    private var position = 0
    private var offset = 0

    init() {}

    /// A transfer of `total` bytes, which the descriptors have room for.
    init(total: Int) {
        self.total = total
    }

    /// Whether all is posted.
    var isDone: Bool { posted >= total }

    /// The next piece, of at most `limit` bytes; nil when there is none, because the descriptors end.
    func next(limit: Int, count: Int, _ descriptor: (Int) -> SRPMemoryDescriptor) -> (Piece, TransferCursor)? {
        var after = self
        while after.position < count {
            let current = descriptor(after.position)
            let rest = Int(current.dataLength) - after.offset
            if rest <= 0 {
                after.position += 1
                after.offset = 0
                continue
            }
            let length = min(rest, limit, total - posted)
            guard length > 0 else { return nil }
            let piece = Piece(
                address: current.virtualAddress &+ UInt64(after.offset), key: current.memoryHandle, offset: posted,
                length: length)
            after.offset += length
            after.posted += length
            return (piece, after)
        }
        return nil
    }
}
