internal import Bytes
internal import CPlatform

/// The memory into which all stream sockets of one reactor receive, a turn at a time.
///
/// A handler begins with the bytes it kept from before (less than one message), receives, handles every complete
/// message in place, and keeps the rest. Nothing stays here between two handlers.
@safe public final class ReceiveBuffer {
    /// The size in bytes.
    public static let capacity = 262_144

    /// How many bytes from the start hold data.
    public private(set) var count = 0
    private let memory: UnsafeMutableRawPointer
    let counters: ReactorCounters

    /// A buffer whose receptions are counted in `counters`.
    init(counters: ReactorCounters) {
        guard let memory = unsafe cplatform_map(Self.capacity) else {
            preconditionFailure("no memory for a receive buffer")
        }
        unsafe self.memory = memory
        self.counters = counters
    }

    /// A buffer for blocking users such as tests and tools, on no reactor.
    public convenience init() {
        self.init(counters: ReactorCounters())
    }

    deinit {
        unsafe cplatform_unmap(memory, Self.capacity)
    }

    /// The bytes that hold data.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safe: the mapping is initialised by the kernel and lives as long as self.
            let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(memory), byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Forgets what is in the buffer and puts `kept` first; at most `capacity`.
    public func begin(with kept: RawSpan) {
        var target = unsafe MutableRawSpan(_unsafeStart: memory, byteCount: Self.capacity)
        target.store(kept, at: 0)
        count = kept.byteCount
    }

    /// Where the next reception goes: at most `limit` bytes after the data.
    func unusedMemory(limit: Int) -> UnsafeMutableRawBufferPointer {
        // Safe: count never exceeds the capacity.
        unsafe UnsafeMutableRawBufferPointer(start: memory + count, count: min(limit, Self.capacity - count))
    }

    /// Declares that `received` bytes were put after the data.
    func extend(by received: Int) {
        count += received
        assert(count <= Self.capacity)
    }
}
