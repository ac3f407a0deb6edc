public import Bytes
internal import CPlatform

/// What a connection has yet to send: headers, copied into memory of the queue, and payload, in leases that the queue
/// owns until they are sent. One `flush` sends everything with one system call.
///
/// The queue is bounded and allocates nothing after its creation: appending gives false when there is no room, and the
/// caller flushes, waits until the socket is writable, or gives the connection up. It belongs to the thread of its
/// leases; an empty queue may move to another.
@safe public final class OutputQueue {
    /// The most pieces that a queue can be made for (IOV_MAX, the most that one system call takes).
    public static let maximumPieceLimit = 1024

    /// The most pieces of memory that wait.
    public let pieceLimit: Int
    /// The most leases held at a time.
    public let leaseLimit: Int
    /// The memory for headers, in bytes.
    public let headerCapacity: Int

    /// A lease that the queue holds.
    public struct Payload {
        fileprivate let slot: Int32
    }

    /// What a flush achieved.
    public enum FlushResult: Equatable {
        /// Nothing is left.
        case drained
        /// The socket takes no more for now.
        case blocked
        /// The error number; the connection is of no more use.
        case failed(Int32)
    }

    /// What must happen when a piece is sent.
    private struct PieceEnd {
        /// The slot of the lease to drop, or -1.
        var releasedSlot: Int32
        /// Where header memory becomes free, or -1 for payload.
        var headerEnd: Int32
    }

    private static let none: Int32 = -1

    /// The state, in one struct that its own methods change.
    private struct State {
        var head = 0
        var tail = 0
        var headerHead = 0
        var headerTail = 0
        var queuedBytes = 0
        var freeSlots: Int
    }

    // Allocated once: pieces and their ends, leases by slot, slots that are free, header memory.
    private let pieces: UnsafeMutablePointer<iovec>
    private let ends: UnsafeMutablePointer<PieceEnd>
    private let leases: UnsafeMutablePointer<BufferLease?>
    private let slots: UnsafeMutablePointer<Int32>
    private let headers: UnsafeMutableRawPointer
    private var state: State

    public init(pieceLimit: Int = maximumPieceLimit, leaseLimit: Int = 512, headerCapacity: Int = 65536) {
        precondition((1...Self.maximumPieceLimit).contains(pieceLimit), "one system call takes at most 1024 pieces")
        self.pieceLimit = pieceLimit
        self.leaseLimit = leaseLimit
        self.headerCapacity = headerCapacity
        unsafe pieces = .allocate(capacity: pieceLimit)
        unsafe ends = .allocate(capacity: pieceLimit)
        unsafe leases = .allocate(capacity: leaseLimit)
        unsafe slots = .allocate(capacity: leaseLimit)
        unsafe headers = .allocate(byteCount: headerCapacity, alignment: 64)
        for slot in 0..<leaseLimit {
            unsafe (leases + slot).initialize(to: nil)
            unsafe slots[slot] = Int32(leaseLimit - 1 - slot)
        }
        state = State(freeSlots: leaseLimit)
    }

    deinit {
        unsafe leases.deinitialize(count: leaseLimit)
        unsafe leases.deallocate()
        unsafe pieces.deallocate()
        unsafe ends.deallocate()
        unsafe slots.deallocate()
        unsafe headers.deallocate()
    }

    /// Bytes that wait to be sent.
    public var queuedBytes: Int { state.queuedBytes }
    /// Whether nothing waits.
    public var isEmpty: Bool { state.head == state.tail }
    /// How many more pieces fit.
    public var freePieces: Int { pieceLimit - (state.tail - state.head) }
    /// How many more leases fit.
    public var freeLeases: Int { state.freeSlots }
    /// How many bytes of headers surely fit.
    public var freeHeaderBytes: Int {
        if state.headerHead >= state.headerTail {
            return max(headerCapacity - state.headerHead, state.headerTail - 1)
        }
        return state.headerTail - state.headerHead - 1
    }

    // MARK: Appending

    /// Appends `count` bytes that `write` fills (they hold old data before); false when there is no room.
    public func appendHeader(count: Int, _ write: (inout MutableRawSpan) -> Void) -> Bool {
        guard let offset = reserveHeader(count) else { return false }
        // Safe: reserveHeader gave `count` bytes of header memory from `offset` on.
        var target = unsafe MutableRawSpan(_unsafeStart: headers + offset, byteCount: count)
        write(&target)
        return true
    }

    /// Appends a copy of `bytes`; false when there is no room.
    public func append(copying bytes: RawSpan) -> Bool {
        guard let offset = reserveHeader(bytes.byteCount) else { return false }
        var target = unsafe MutableRawSpan(_unsafeStart: headers + offset, byteCount: bytes.byteCount)
        target.store(bytes, at: 0)
        return true
    }

    /// Takes `lease` into the queue, from where its bytes can be appended; nil, and the lease dropped, when
    /// `leaseLimit` are there.
    public func hold(_ lease: consuming BufferLease) -> Payload? {
        guard state.freeSlots > 0 else { return nil }
        state.freeSlots -= 1
        let slot = unsafe slots[state.freeSlots]
        unsafe leases[Int(slot)] = consume lease
        return Payload(slot: slot)
    }

    /// Appends `count` bytes of the payload from `offset` on; with `release` it is dropped once they are sent. False
    /// when there is no room: nothing is appended or released then.
    public func append(_ payload: Payload, offset: Int, count: Int, release: Bool) -> Bool {
        guard makePieceRoom() else { return false }
        let index = state.tail
        let released = release ? payload.slot : Self.none
        unsafe pieces[index] = unsafe iovec(
            iov_base: address(of: payload, offset: offset, count: count), iov_len: count)
        unsafe ends[index] = PieceEnd(releasedSlot: released, headerEnd: Self.none)
        state.tail = index + 1
        state.queuedBytes += count
        return true
    }

    /// Takes a payload back out of the queue of a connection that is over: nothing may be sent from the queue any more,
    /// only `discard` is left. Nil when it was dropped already.
    public func take(_ payload: Payload) -> BufferLease? {
        // Safe: the slot is one of the queue's; it stays initialised, to nil.
        unsafe leases[Int(payload.slot)].take()
    }

    /// Drops the payload once everything that is queued now is sent; false when there is no room to note it.
    public func release(_ payload: Payload) -> Bool {
        if isEmpty {
            drop(payload.slot)
            return true
        }
        let last = state.tail - 1
        if unsafe ends[last].releasedSlot == Self.none {
            unsafe ends[last].releasedSlot = payload.slot
            return true
        }
        return append(payload, offset: 0, count: 0, release: true)
    }

    /// Gives `body` some bytes of a payload that the queue holds, for a digest.
    public func withBytes<Result>(
        of payload: Payload, offset: Int, count: Int, _ body: (RawSpan) -> Result
    ) -> Result {
        // Safe: address(of:) checks that the range is data of a lease that stays in place during the call.
        let start = unsafe UnsafeRawPointer(address(of: payload, offset: offset, count: count))
        return unsafe body(RawSpan(_unsafeStart: start, byteCount: count))
    }

    private func address(of payload: Payload, offset: Int, count: Int) -> UnsafeMutableRawPointer {
        let base = unsafe Self.memory(of: leases[Int(payload.slot)], from: offset, count: count)
        return unsafe base
    }

    private static func memory(of lease: borrowing BufferLease?, from offset: Int, count: Int)
        -> UnsafeMutableRawPointer
    {
        switch lease {
        case .some(let held):
            precondition(offset >= 0 && count >= 0 && offset + count <= held.count, "payload is data of its lease")
            return unsafe held.withUnsafeMutableMemory { unsafe $0.baseAddress! + offset }
        case .none:
            preconditionFailure("the payload was released")
        }
    }

    /// Makes room for `count` contiguous header bytes as (part of) a piece at the end and gives their offset.
    private func reserveHeader(_ count: Int) -> Int? {
        let start: Int
        if state.headerHead >= state.headerTail {
            if headerCapacity - state.headerHead >= count {
                start = state.headerHead
            } else if state.headerTail > count {
                start = 0
            } else {
                return nil
            }
        } else {
            // One byte stays free, so that a full ring does not look empty.
            guard state.headerTail - state.headerHead > count else { return nil }
            start = state.headerHead
        }
        let last = state.tail - 1
        // Successive headers make one piece.
        if !isEmpty, start == state.headerHead, unsafe ends[last].headerEnd == Int32(start),
            unsafe ends[last].releasedSlot == Self.none
        {
            unsafe pieces[last].iov_len += count
            unsafe ends[last].headerEnd = Int32(start + count)
        } else {
            guard makePieceRoom() else { return nil }
            unsafe pieces[state.tail] = unsafe iovec(iov_base: headers + start, iov_len: count)
            unsafe ends[state.tail] = PieceEnd(releasedSlot: Self.none, headerEnd: Int32(start + count))
            state.tail += 1
        }
        state.headerHead = start + count
        state.queuedBytes += count
        return start
    }

    /// Makes sure that one piece fits at the tail.
    private func makePieceRoom() -> Bool {
        if state.tail < pieceLimit { return true }
        guard state.head > 0 else { return false }
        let count = state.tail - state.head
        // Safe: both arrays have pieceLimit elements of trivial types; update(from:) allows overlap.
        unsafe pieces.update(from: pieces + state.head, count: count)
        unsafe ends.update(from: ends + state.head, count: count)
        state.head = 0
        state.tail = count
        return true
    }

    // MARK: Sending

    /// Sends as much as `socket` takes, with one system call; what it does not take stays queued. Counted in
    /// `counters`.
    public func flush(to socket: StreamSocket, counters: ReactorCounters? = nil) -> FlushResult {
        guard !isEmpty else { return .drained }
        // Safe: pieces between head and tail point to header memory or into held leases.
        let status = unsafe cplatform_send(socket.fileDescriptor, pieces + state.head, state.tail - state.head)
        counters?.countSend(bytes: max(status, 0))
        guard status >= 0 else { return status == -Int(Errno.wouldBlock) ? .blocked : .failed(Int32(-status)) }
        consumeSent(status)
        return isEmpty ? .drained : .blocked
    }

    /// Drops everything that is queued or held: the connection is over.
    public func discard() {
        consumeSent(state.queuedBytes)
        state.freeSlots = 0
        for slot in 0..<leaseLimit { drop(Int32(slot)) }
    }

    private func consumeSent(_ sent: Int) {
        state.queuedBytes -= sent
        var rest = sent
        while state.head < state.tail {
            let length = unsafe pieces[state.head].iov_len
            if rest < length {
                unsafe pieces[state.head].iov_base += rest
                unsafe pieces[state.head].iov_len -= rest
                return
            }
            rest -= length
            let end = unsafe ends[state.head]
            if end.headerEnd >= 0 { state.headerTail = Int(end.headerEnd) }
            if end.releasedSlot >= 0 { drop(end.releasedSlot) }
            state.head += 1
        }
        state.head = 0
        state.tail = 0
        state.headerHead = 0
        state.headerTail = 0
    }

    private func drop(_ slot: Int32) {
        unsafe leases[Int(slot)] = nil
        unsafe slots[state.freeSlots] = slot
        state.freeSlots += 1
    }
}
