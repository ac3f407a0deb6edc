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
        let outcome = Outcome<ReservationClearing>()
        unit.server.attachedNexuses.clearReservations { isCleared in
            if isCleared { whenCleared() }
            outcome.set(isCleared ? .cleared : .refused)
        }
        return outcome.wait(atMost: Limit.reservationWait) ?? .waiting
    }
}
