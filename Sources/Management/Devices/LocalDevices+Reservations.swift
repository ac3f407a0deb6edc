import Dispatch
import Platform
import TargetCore

// Who has reserved the units that run.
extension LocalDevices {
    /// The names of the initiator ports that have reserved units by RESERVE, by the units' keys.
    public func reservers() -> [Int64: String] {
        units.withLock { $0 }.compactMapValues { $0.server.attachedNexuses.reserver }
    }

    /// Ends reservation and registrations of the unit, and waits until that is durable; nil when it does not run.
    public func clearReservations(ofUnit key: Int64) -> Bool? {
        guard let unit = units.withLock({ $0[key] }) else { return nil }
        let outcome = Lock<Bool?>(nil)
        let isOver = DispatchSemaphore(value: 0)
        unit.server.attachedNexuses.clearReservations { isCleared in
            outcome.withLock { $0 = isCleared }
            isOver.signal()
        }
        _ = isOver.wait(timeout: .now() + Limit.reservationWait)
        return outcome.withLock { $0 } ?? false
    }
}
