internal import Bytes
internal import ISCSI
internal import Platform

/// The few bytes that stay between two receptions: less than a header with its digest, or a data segment's padding and
/// digest.
struct KeptBytes {
    /// The most bytes: basic and additional header segments and the digest.
    static let capacity = 96
    private var storage = InlineArray<96, UInt8>(repeating: 0)
    private(set) var count = 0

    /// Keeps a copy of `bytes`.
    mutating func keep(_ bytes: RawSpan) {
        precondition(bytes.byteCount <= Self.capacity, "only an incomplete header is kept")
        count = bytes.byteCount
        storage.modifyBytes { $0.store(bytes, at: 0) }
    }

    /// Puts the bytes at the start of `buffer`.
    func begin(_ buffer: ReceiveBuffer) {
        let bytes = storage
        buffer.begin(with: bytes.rawSpan.extracting(0..<count))
    }
}

/// A PDU whose data segment arrives in more than one reception.
struct IncomingPDU: ~Copyable {
    /// What the stream's next bytes are.
    enum Stage {
        /// The header of a PDU.
        case header
        /// The data segment of the PDU, into the lease.
        case payload
        /// Padding and data digest of the PDU.
        case trailer
        /// The rest of a PDU that is not wanted.
        case discarded
    }

    /// Whose data it is.
    enum Destination {
        case command(SlotReference)
        case dataOut(SlotReference)
        case control
    }

    var stage = Stage.header
    var destination = Destination.control
    var header = BasicHeaderSegment()
    /// Where the data segment goes.
    var lease: BufferLease?
    var leaseOffset = 0
    var dataLength = 0
    var trailerLength = 0
    /// How many bytes of the data segment (or of what is discarded) are still to come.
    var remaining = 0

    /// Forgets the PDU.
    mutating func reset() {
        stage = .header
        lease = nil
        remaining = 0
    }
}
