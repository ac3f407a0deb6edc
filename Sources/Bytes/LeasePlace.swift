/// Where one lease is, or none: a stored property that several modules fill and empty for every command.
///
/// The lease is in memory of its own, because each access to a stored property that other modules see would call the
/// runtime's exclusivity check, which costs as much as many a step of a command.
@safe public struct LeasePlace: ~Copyable {
    /// Safe: made in init, gone in deinit, used by one thread at a time and never by two accesses.
    @usableFromInline let place: UnsafeMutablePointer<BufferLease?>

    /// An empty place.
    public init() {
        unsafe place = .allocate(capacity: 1)
        unsafe place.initialize(to: nil)
    }

    deinit {
        unsafe place.deinitialize(count: 1)
        unsafe place.deallocate()
    }

    /// What is here.
    @inlinable public var lease: BufferLease? {
        // Not by `_read` and `_modify`, whose callers in other modules allocate memory for them.
        unsafeAddress { unsafe UnsafePointer(place) }
        nonmutating unsafeMutableAddress { unsafe place }
    }
}
