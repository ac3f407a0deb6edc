internal import CPlatform

/// A bounded pool of page-aligned buffers that belongs to one thread.
///
/// Requests are rounded up to a size class (4 KiB, 16 KiB, 64 KiB … 16 MiB: powers of four pages). A returned buffer
/// is kept for the next request of its class, so that steady state makes no system call and no allocation. `limit`
/// bounds the bytes of all buffers, in use and kept; when it is reached, kept buffers of other classes are unmapped
/// before a request is refused.
///
/// Every method, and the drop of every lease, runs on the thread that owns the pool.
@safe public final class BufferPool {
    /// The sizes of buffers, in bytes.
    public static let classSizes = [4096, 16384, 65536, 262_144, 1_048_576, 4_194_304, 16_777_216]
    /// The largest buffer a pool gives, in bytes.
    public static let maximumLeaseLength = 16_777_216

    /// The most bytes that all buffers together may take.
    public let limit: Int
    /// The bytes of all buffers mapped now, in use and kept.
    public var mappedBytes: Int { unsafe state.pointee.mappedBytes }
    /// The bytes of the buffers that leases hold now.
    public var leasedBytes: Int { unsafe state.pointee.leasedBytes }

    @unsafe private struct State {
        var mappedBytes = 0
        var leasedBytes = 0
        /// The first free buffer of each class; a free buffer begins with the address of the next.
        var free = unsafe InlineArray<7, UnsafeMutableRawPointer?>(repeating: nil)
    }

    /// In memory of its own, because each access to a stored property of a class would call the runtime's exclusivity check.
    /// Safe: made in init, gone in deinit, used by the pool's thread alone and never by two accesses at a time.
    private let state: UnsafeMutablePointer<State>

    /// A pool of at most `limit` bytes.
    public init(limit: Int) {
        self.limit = limit
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: State())
    }

    deinit {
        for sizeClass in Self.classSizes.indices {
            while let buffer = unsafe takeFree(sizeClass) { unsafe cplatform_unmap(buffer, Self.size(of: sizeClass)) }
        }
        unsafe state.deallocate()
    }

    /// A buffer of at least `capacity` bytes with no data in it, or nil when the pool's limit or the largest class
    /// does not allow it.
    public func lease(capacity: Int) -> BufferLease? {
        guard let sizeClass = Self.sizeClass(for: capacity) else { return nil }
        let size = Self.size(of: sizeClass)
        if let buffer = unsafe takeFree(sizeClass) {
            unsafe state.pointee.leasedBytes += size
            return unsafe BufferLease(memory: buffer, capacity: size, pool: self, sizeClass: sizeClass)
        }
        if mappedBytes + size > limit { trim(toMake: size) }
        guard mappedBytes + size <= limit, let buffer = unsafe cplatform_map(size) else { return nil }
        unsafe state.pointee.mappedBytes += size
        unsafe state.pointee.leasedBytes += size
        return unsafe BufferLease(memory: buffer, capacity: size, pool: self, sizeClass: sizeClass)
    }

    /// The bytes of a buffer of that class.
    private static func size(of sizeClass: Int) -> Int { 4096 << (2 * sizeClass) }

    /// Takes the latest free buffer of a class, or nil when there is none.
    private func takeFree(_ sizeClass: Int) -> UnsafeMutableRawPointer? {
        guard let buffer = unsafe state.pointee.free[sizeClass] else { return nil }
        // Safe: takeBack has put the next one's address there, and nobody else has the buffer.
        unsafe state.pointee.free[sizeClass] = buffer.load(as: UnsafeMutableRawPointer?.self)
        return unsafe buffer
    }

    /// The class of the smallest buffer that holds `capacity` bytes, or nil above the largest.
    static func sizeClass(for capacity: Int) -> Int? {
        if capacity <= 4096 { return 0 }
        guard capacity <= maximumLeaseLength else { return nil }
        // Two bits a class: 4 KiB is 12 bits, 16 MiB is 24.
        let bits = Int.bitWidth - (capacity - 1).leadingZeroBitCount
        return (bits - 12 + 1) / 2
    }

    /// Takes the memory of a dropped lease back.
    func takeBack(_ memory: UnsafeMutableRawPointer, sizeClass: Int) {
        // Safe: the lease that had the buffer is gone, and every buffer has room for an address.
        unsafe state.pointee.leasedBytes -= Self.size(of: sizeClass)
        unsafe memory.storeBytes(of: state.pointee.free[sizeClass], as: UnsafeMutableRawPointer?.self)
        unsafe state.pointee.free[sizeClass] = memory
    }

    /// Unmaps kept buffers, largest first, until `size` more bytes fit the limit or none is left.
    private func trim(toMake size: Int) {
        for sizeClass in Self.classSizes.indices.reversed() {
            while mappedBytes + size > limit, let buffer = unsafe takeFree(sizeClass) {
                unsafe cplatform_unmap(buffer, Self.size(of: sizeClass))
                unsafe state.pointee.mappedBytes -= Self.size(of: sizeClass)
            }
        }
    }
}
