import Dispatch
import Platform

/// What threads wait at until a test opens it.
public final class Barrier: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private let arrivals = Lock(0)

    public init() {}

    /// Lets `count` threads pass, those that wait or those that come.
    public func open(_ count: Int = 1) { for _ in 0..<count { semaphore.signal() } }

    /// Waits until the barrier is opened for this thread.
    public func pass() {
        arrivals.withLock { $0 += 1 }
        semaphore.wait()
    }

    /// Lets other tasks run until a thread has come.
    public func waitForArrival() async {
        while arrivals.withLock({ $0 }) == 0 { await Task.yield() }
    }
}
