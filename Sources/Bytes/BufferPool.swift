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
    public private(set) var mappedBytes = 0
    /// The bytes of the buffers that leases hold now.
    public private(set) var leasedBytes = 0
    /// Free buffers by class.
    private var free: [[UnsafeMutableRawPointer]]

    /// A pool of at most `limit` bytes.
    public init(limit: Int) {
        self.limit = limit
        unsafe self.free = Self.classSizes.map { _ in unsafe [] }
        for index in unsafe free.indices { unsafe free[index].reserveCapacity(64) }
    }

    deinit {
        for index in Self.classSizes.indices {
            while let buffer = unsafe free[index].popLast() { unsafe cplatform_unmap(buffer, Self.classSizes[index]) }
        }
    }

    /// A buffer of at least `capacity` bytes with no data in it, or nil when the pool's limit or the largest class
    /// does not allow it.
    public func lease(capacity: Int) -> BufferLease? {
        guard let sizeClass = Self.sizeClass(for: capacity) else { return nil }
        let size = Self.classSizes[sizeClass]
        if let buffer = unsafe free[sizeClass].popLast() {
            leasedBytes += size
            return unsafe BufferLease(memory: buffer, capacity: size, pool: self, sizeClass: sizeClass)
        }
        if mappedBytes + size > limit { trim(toMake: size) }
        guard mappedBytes + size <= limit, let buffer = unsafe cplatform_map(size) else { return nil }
        mappedBytes += size
        leasedBytes += size
        return unsafe BufferLease(memory: buffer, capacity: size, pool: self, sizeClass: sizeClass)
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
        leasedBytes -= Self.classSizes[sizeClass]
        unsafe free[sizeClass].append(memory)
    }

    /// Unmaps kept buffers, largest first, until `size` more bytes fit the limit or none is left.
    private func trim(toMake size: Int) {
        for sizeClass in unsafe free.indices.reversed() {
            while mappedBytes + size > limit, let buffer = unsafe free[sizeClass].popLast() {
                unsafe cplatform_unmap(buffer, Self.classSizes[sizeClass])
                mappedBytes -= Self.classSizes[sizeClass]
            }
        }
    }
}
