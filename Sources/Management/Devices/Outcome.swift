import Dispatch
import Platform

/// One result on its way from a reactor, or another thread, to the control plane, which waits for it.
final class Outcome<Value: Sendable>: Sendable {
    private let value = Lock<Value?>(nil)
    private let arrived = DispatchSemaphore(value: 0)

    /// Tells the result; once.
    func set(_ result: Value) {
        value.withLock { $0 = result }
        arrived.signal()
    }

    /// The result, or nil when it does not come within `limit`. Not on a reactor.
    func wait(atMost limit: DispatchTimeInterval) -> Value? {
        guard arrived.wait(timeout: .now() + limit) == .success else { return nil }
        return value.withLock { $0 }
    }
}
