/// The one owner of a piece of pool memory: payload on its way between a socket and a medium.
///
/// A lease cannot be copied; it moves with the operation that fills or empties it, and its memory returns to its
/// `BufferPool` when it is dropped. The memory is page-aligned and is *not* cleared between uses: `count` says how
/// many bytes from the start hold data, and only those can be read.
///
/// A lease belongs to the thread of its pool. An I/O worker may use the memory through `withUnsafeMutableMemory`
/// while the operation owns the lease, but the lease is dropped on its pool's thread.
@safe public struct BufferLease: ~Copyable {
    @usableFromInline let memory: UnsafeMutableRawPointer
    /// How many bytes the lease can hold.
    public let capacity: Int
    /// How many bytes from the start hold data; at most `capacity`.
    public private(set) var count: Int
    @usableFromInline let pool: Unmanaged<BufferPool>
    private let firstPage: Int32

    init(memory: UnsafeMutableRawPointer, capacity: Int, pool: BufferPool, firstPage: Int32) {
        unsafe self.memory = memory
        self.capacity = capacity
        self.count = 0
        unsafe self.pool = Unmanaged.passRetained(pool)
        self.firstPage = firstPage
    }

    deinit {
        // Safe: `pool` was retained in init and is released once, here; `memory` came from it.
        let owner = unsafe pool.takeRetainedValue()
        owner.takeBack(firstPage)
    }

    /// The number of the region of the pool's arena that the memory is in.
    public var region: Int { Int(firstPage) / BufferPool.regionPages }

    /// Where the memory begins in its region, in bytes.
    public var offset: Int { Int(firstPage) % BufferPool.regionPages * BufferPool.pageLength }

    /// The bytes that hold data.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safe: the first `count` bytes are initialised and live as long as the lease.
            let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(memory), byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// All of the memory, for filling (`var target = lease.mutableBytes`); call `setCount` afterwards.
    public var mutableBytes: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // Safe: the memory is `capacity` bytes long, zero-filled by the kernel at first, and this is its one owner.
            let span = unsafe MutableRawSpan(_unsafeStart: memory, byteCount: capacity)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Declares that the first `count` bytes hold data. At most `capacity`.
    public mutating func setCount(_ count: Int) {
        precondition(count >= 0 && count <= capacity, "a lease holds at most its capacity")
        self.count = count
    }

    /// A copy of the data, for parameter lists and tests; never for payload.
    public borrowing func copyToArray() -> [UInt8] {
        bytes.copyToArray()
    }

    /// A copy of its first bytes, at most `limit`.
    public borrowing func copyToArray(first limit: Int) -> [UInt8] {
        bytes.extracting(0..<min(limit, bytes.byteCount)).copyToArray()
    }

    /// Appends all of `source`, which must fit.
    public mutating func append(_ source: RawSpan) {
        let end = count
        var target = mutableBytes
        target.store(source, at: end)
        count = end + source.byteCount
    }

    /// Puts `source`, which must fit, at `offset`; `count` grows to cover it.
    public mutating func store(_ source: RawSpan, at offset: Int) {
        var target = mutableBytes
        target.store(source, at: offset)
        count = max(count, offset + source.byteCount)
    }

    /// Replaces the contents by `source`, which must fit.
    public mutating func assign(_ source: [UInt8]) {
        var target = mutableBytes
        target.store(source.rawSpan, at: 0)
        count = source.count
    }

    /// Fills all bytes up to `end` that hold no data yet with zero and makes them data. Never shrinks.
    public mutating func extendWithZeros(to end: Int) {
        guard end > count else { return }
        let start = count
        var target = mutableBytes
        target.fill(at: start, count: end - start)
        count = end
    }

    /// The memory itself, for system calls of `Platform` and the engines of `Media`; it is valid while the lease is.
    public func withUnsafeMutableMemory<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(UnsafeMutableRawBufferPointer(start: memory, count: capacity))
    }
}
