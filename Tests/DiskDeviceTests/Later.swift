import Bytes
import Platform

/// Runs a closure when a timer fires.
final class Later: TimerHandler {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) {
        self.body = body
    }

    func timerFired(_ token: UInt64) { body() }
}
