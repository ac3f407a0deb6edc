import DeviceTestSupport
import Dispatch
import Platform
import Testing

/// How commands have ended, by their name.
final class Endings: Sendable {
    private let endings = Lock<[UInt8: CommandResult]>([:])
    private let arrivals = Arrivals()

    subscript(name: UInt8) -> CommandResult? { endings.withLock { $0[name] } }

    func add(_ name: UInt8, _ result: CommandResult) {
        endings.withLock { $0[name] = result }
        arrivals.add()
    }

    /// Waits until the commands of those names have ended.
    func wait(_ names: UInt8...) {
        arrivals.wait { names.allSatisfy { self[$0] != nil } }
    }
}

/// What other threads bring about, for a test that waits for it.
final class Arrivals: Sendable {
    /// How long nothing may come, before the test fails.
    private static let limit = DispatchTimeInterval.seconds(60)
    private let semaphore = DispatchSemaphore(value: 0)

    /// Something has come.
    func add() { semaphore.signal() }

    /// Waits until `hasArrived`, which is asked now and whenever something has come.
    func wait(_ sourceLocation: SourceLocation = #_sourceLocation, until hasArrived: () -> Bool) {
        while !hasArrived() {
            guard semaphore.wait(timeout: .now() + Self.limit) == .success else {
                Issue.record("what the test waits for does not come", sourceLocation: sourceLocation)
                return
            }
        }
    }
}
