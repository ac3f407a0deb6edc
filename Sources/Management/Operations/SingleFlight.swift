import Platform

/// Work of which one piece at a time may be under way. Whoever does it holds this, and nobody else for longer: when the
/// last holder lets go, because the work has ended or will never begin, `end` hears what came of it. That its caller
/// waits no longer ends nothing.
final class SingleFlight<Value: Sendable>: Sendable {
    private let value = Lock<Value?>(nil)
    private let end: @Sendable (Value?) -> Void

    init(_ end: @escaping @Sendable (Value?) -> Void) { self.end = end }

    /// What came of it; nil until it is done.
    var result: Value? {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }

    deinit { end(value.withLock { $0 }) }
}
