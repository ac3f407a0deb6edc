/// The requests of one queue that are posted and not completed, in their order, in a ring.
///
/// Safe: the memory is made in init, is gone after `destroy`, and is used by the queue pair's thread alone.
@safe struct WorkQueue {
    /// What is kept of a request.
    struct Entry {
        var id: UInt64
        var opcode: WorkOpcode
        /// The consumer wants to know of its success.
        var isReported: Bool
        /// The provider has not taken it: it ends as flushed.
        var isRefused = false
    }

    private struct Header {
        var posted: UInt32 = 0
        var completed: UInt32 = 0
    }

    /// The most requests.
    let limit: Int
    private let mask: UInt32
    private let entries: UnsafeMutablePointer<Entry>
    private let header: UnsafeMutablePointer<Header>

    init(limit: Int) {
        self.limit = limit
        var capacity = 1
        while capacity < limit { capacity *= 2 }
        mask = UInt32(capacity - 1)
        unsafe entries = .allocate(capacity: capacity)
        unsafe header = .allocate(capacity: 1)
        unsafe header.initialize(to: Header())
    }

    func destroy() {
        unsafe entries.deallocate()
        unsafe header.deallocate()
    }

    /// How many requests are outstanding.
    var count: Int { unsafe Int(header.pointee.posted &- header.pointee.completed) }
    var isFull: Bool { count >= limit }
    /// The position of the next request.
    var nextPosition: UInt32 { unsafe header.pointee.posted }
    /// The position of the oldest request.
    var oldestPosition: UInt32 { unsafe header.pointee.completed }

    /// Puts a request at the end; there is room.
    func append(_ entry: Entry) {
        precondition(!isFull, "a queue takes no more than its limit")
        unsafe (entries + Int(header.pointee.posted & mask)).initialize(to: entry)
        unsafe header.pointee.posted &+= 1
    }

    /// Whether a request at that position is outstanding.
    func contains(_ position: UInt32) -> Bool {
        unsafe position &- header.pointee.completed < header.pointee.posted &- header.pointee.completed
    }

    /// The oldest request; there is one.
    var oldest: Entry {
        precondition(count > 0, "only what is there is read")
        return unsafe entries[Int(header.pointee.completed & mask)]
    }

    /// Takes the oldest request out.
    func removeFirst() -> Entry {
        let entry = oldest
        unsafe header.pointee.completed &+= 1
        return entry
    }

    /// Marks the last `count` requests, which the provider has not taken.
    func refuse(last count: Int) {
        for distance in 1...UInt32(count) {
            unsafe entries[Int((header.pointee.posted &- distance) & mask)].isRefused = true
        }
    }
}

/// What a provider carries for a request: which queue pair of the context, which queue, and the position in it.
struct WorkName {
    static let indexLimit = 1 << 16
    private static let generationMask: UInt32 = 0x7FFF

    let word: UInt64

    init(word: UInt64) {
        self.word = word
    }

    init(index: Int32, generation: UInt32, isReceive: Bool, position: UInt32) {
        let upper =
            UInt32(truncatingIfNeeded: index) << 16 | (isReceive ? 0x8000 : 0) | generation & Self.generationMask
        word = UInt64(upper) << 32 | UInt64(position)
    }

    var index: Int { Int(word >> 48) }
    var isReceive: Bool { word >> 47 & 1 != 0 }
    var position: UInt32 { UInt32(truncatingIfNeeded: word) }

    /// Whether it is of that use of the queue pair's slot.
    func isOf(generation: UInt32) -> Bool {
        UInt32(truncatingIfNeeded: word >> 32) & Self.generationMask == generation & Self.generationMask
    }
}
