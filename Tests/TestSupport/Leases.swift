public import Bytes

/// A pool had no buffer left.
public struct PoolExhausted: Error {}

extension BufferPool {
    /// A lease of at least `capacity` bytes, or an error that fails the test; `#require` cannot carry what is not
    /// copyable.
    public func required(_ capacity: Int) throws -> BufferLease {
        guard let lease = lease(capacity: capacity) else { throw PoolExhausted() }
        return lease
    }

    /// A lease that holds `contents`.
    public func required(_ contents: [UInt8]) throws -> BufferLease {
        var lease = try required(contents.count)
        lease.assign(contents)
        return lease
    }

    /// Whether the pool gives `capacity` bytes now.
    public func canLease(_ capacity: Int) -> Bool {
        lease(capacity: capacity) != nil
    }
}

/// A lease where values that cannot be copied cannot be: in arrays.
public final class BufferLeaseBox {
    private var lease: BufferLease

    public init(_ lease: consuming BufferLease) {
        self.lease = lease
    }

    /// The lease's capacity.
    public var capacity: Int { lease.capacity }
    /// The number of its region.
    public var region: Int { lease.region }
    /// Where it begins in its region.
    public var offset: Int { lease.offset }
    /// Where it begins in the address space.
    public var address: UInt { unsafe lease.withUnsafeMutableMemory { UInt(bitPattern: $0.baseAddress) } }

    /// Writes `value` at the start of each page and at the end of the memory.
    public func mark(_ value: UInt64) {
        let capacity = lease.capacity
        var target = lease.mutableBytes
        for page in stride(from: 0, to: capacity, by: 4096) { target.storeBE64(value, at: page) }
        target.storeBE64(value, at: capacity - 8)
        lease.setCount(capacity)
    }

    /// Whether `mark` wrote that value, and nobody another one since; 0 stands for memory that nobody has written.
    public func isMarked(_ value: UInt64) -> Bool {
        lease.setCount(lease.capacity)
        var isMarked = lease.bytes.loadBE64(at: lease.capacity - 8) == value
        for page in stride(from: 0, to: lease.capacity, by: 4096) where lease.bytes.loadBE64(at: page) != value {
            isMarked = false
        }
        return isMarked
    }
}
