public import Bytes

/// A pool had no buffer left.
public struct PoolExhausted: Error {}

extension BufferPool {
    /// A lease of at least `capacity` bytes, or an error that fails the test; `#require` cannot carry what is not copyable.
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
