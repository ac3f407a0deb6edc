public import Synchronization

/// A value with its lock: `Mutex` in a form that the thread sanitizer understands.
///
/// `Mutex` locks in the standard library, which is not instrumented, so the sanitizer does not see that one critical
/// section comes before the next and reports races inside them. In its build (`SANITIZE_THREAD`, which `Tools/test`
/// defines) each critical section therefore begins with an acquiring load and ends with a releasing store of an atomic,
/// whose meaning the sanitizer knows. All locks of Carousel are of this type.
public struct Lock<Value: ~Copyable>: ~Copyable, Sendable {
    @usableFromInline let mutex: Mutex<Value>
    #if SANITIZE_THREAD
        @usableFromInline let order = Atomic<Int>(0)
    #endif

    @inlinable
    public init(_ value: consuming sending Value) { mutex = Mutex(value) }

    /// What `body` makes of the value, while nobody else has it. Waits for whoever has; a body must not lock the same
    /// again.
    @inlinable
    public borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        #if SANITIZE_THREAD
            try mutex.withLock { (value) throws(Failure) in
                _ = order.load(ordering: .acquiring)
                defer { order.store(1, ordering: .releasing) }
                return try body(&value)
            }
        #else
            try mutex.withLock(body)
        #endif
    }

    /// The same where nobody has the value now; else nil, at once, and `body` is not called.
    @inlinable
    public borrowing func withLockIfAvailable<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result? {
        #if SANITIZE_THREAD
            try mutex.withLockIfAvailable { (value) throws(Failure) in
                _ = order.load(ordering: .acquiring)
                defer { order.store(1, ordering: .releasing) }
                return try body(&value)
            }
        #else
            try mutex.withLockIfAvailable(body)
        #endif
    }
}
