import Catalog
import Foundation
import Logging
import Resources
import TargetCore

// Who has reserved devices, and is registered for that.
extension ControlPlane {
    /// The devices that somebody has reserved, or is registered with, by name.
    func reservations() throws(ManagementError) -> [Resource<Reservation>] {
        let records = try query { () throws(CatalogError) in try catalog.reservations() }
        let findings = assembly.reservationFindings(ofUnit: nil)
        let keys = Set(records.keys).union(findings.reservers.keys).union(findings.lost)
        let units = try deviceUnits(keys: keys)
        return keys.compactMap { key in
            units.units[key].map { Self.resource($0.name, key, records[key], findings) }
        }.sorted { $0.name < $1.name }
    }

    /// Who has reserved the device `name`, if anybody has.
    func reservation(_ name: String) throws(ManagementError) -> Resource<Reservation> {
        let key = try deviceUnits(named: [name]).key(name)
        let records = try query { () throws(CatalogError) in try catalog.reservations(ofUnit: key) }
        return Self.resource(name, key, records[key], assembly.reservationFindings(ofUnit: key))
    }

    /// Ends the reservation of the device `name`, and all registrations.
    func clearReservation(_ name: String) throws(ManagementError) {
        let key = try deviceUnits(named: [name]).key(name)
        let before = try reservation(name)
        let event = event(
            "clear", "reservation", name,
            old: [
                "type": before.status.type.map { .text($0) } ?? .null,
                "holder": before.status.holder.map { .text($0) } ?? .null,
                "registrations": .integer(Int64(before.status.registrations.count)),
            ])
        let logger = logger
        let whenCleared: @Sendable () -> Void = { [self] in
            record(event)
            logger.notice("reservation cleared", metadata: ["device": "\(name)"])
        }
        switch assembly.clearReservations(ofUnit: key, whenCleared: whenCleared) {
        case .cleared?: break
        case .refused?:
            throw ManagementError(
                .system,
                "the reservation of '\(name)' stays: its end cannot be kept, or too many changes of it wait; see "
                    + "the log, and try again")
        case .waiting?:
            throw ManagementError(
                .system,
                "the reservation of '\(name)' is not ended yet, for the catalog does not answer; it will be then: "
                    + "'carousel reservation show \(name)' tells")
        case nil:
            try query { () throws(CatalogError) in try catalog.keep(nil, ofUnit: key) }
            whenCleared()
        }
    }

    private static func resource(
        _ name: String, _ key: Int64, _ kept: ReservationRecord??, _ findings: ReservationFindings
    ) -> Resource<Reservation> {
        var status = Reservation.Status()
        if let reserver = findings.reservers[key] { (status.type, status.holder) = ("RESERVE", reserver) }
        if kept == .some(nil) || findings.lost.contains(key) {
            status.type = "lost: what the catalog has of it cannot be read, and all are kept away"
            return Resource(name: name, spec: NoFields(), status: status)
        }
        guard let record = kept ?? nil else { return Resource(name: name, spec: NoFields(), status: status) }
        status.persists = record.persists
        status.generation = Int(record.generation)
        status.registrations = record.registrations.map { registration in
            var shown = Reservation.Registration()
            shown.initiator = TransportID(bytes: registration.transportID).description
            shown.target = registration.target
            shown.targetPort = Int(registration.targetPort)
            shown.key = Self.hexadecimal(registration.key)
            shown.since = registration.time
            shown.isHolder =
                record.reservation.map { $0.holder == nil || $0.holder == registration.number } ?? false
            return shown
        }
        if let reservation = record.reservation {
            status.type = PersistentReservationType(rawValue: reservation.type)?.description
            status.holder =
                reservation.holder == nil ? "all registrants" : status.registrations.first(where: \.isHolder)?.initiator
            status.since = reservation.time
        }
        return Resource(name: name, spec: NoFields(), status: status)
    }

    private static func hexadecimal(_ key: UInt64) -> String {
        let digits = String(key, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
