import Dispatch
import Platform
import TargetCore

// Who has reserved the units that run.
extension LocalDevices {
    public func reservationFindings(ofUnit wanted: Int64?) -> ReservationFindings {
        var findings = ReservationFindings()
        let units = units.withLock { units in
            guard let wanted else { return units }
            return units[wanted].map { [wanted: $0] } ?? [:]
        }
        for (key, unit) in units {
            let nexuses = unit.server.attachedNexuses
            findings.reservers[key] = nexuses.reserver
            if nexuses.hasLostReservations { findings.lost.insert(key) }
        }
        return findings
    }

    public func clearReservations(
        ofUnit key: Int64, whenCleared: @escaping @Sendable () -> Void
    ) -> ReservationClearing? {
        guard let unit = units.withLock({ $0[key] }) else { return nil }
        let outcome = Lock(ReservationClearing.waiting)
        let isOver = DispatchSemaphore(value: 0)
        unit.server.attachedNexuses.clearReservations { isCleared in
            if isCleared { whenCleared() }
            outcome.withLock { $0 = isCleared ? .cleared : .refused }
            isOver.signal()
        }
        _ = isOver.wait(timeout: .now() + Limit.reservationWait)
        return outcome.withLock { $0 }
    }
}
