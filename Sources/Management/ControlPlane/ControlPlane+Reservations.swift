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
        let reservers = assembly.reservers()
        let keys = Set(records.keys).union(reservers.keys)
        let units = try deviceUnits(keys: keys)
        return keys.compactMap { key in
            units.units[key].map { Self.resource($0.name, records[key], reserver: reservers[key]) }
        }.sorted { $0.name < $1.name }
    }

    /// Who has reserved the device `name`, if anybody has.
    func reservation(_ name: String) throws(ManagementError) -> Resource<Reservation> {
        let key = try deviceUnits(named: [name]).key(name)
        let records = try query { () throws(CatalogError) in try catalog.reservations(ofUnit: key) }
        return Self.resource(name, records[key], reserver: assembly.reservers()[key])
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
        switch assembly.clearReservations(ofUnit: key) {
        case true?: break
        case false?:
            throw ManagementError(
                .system,
                "the reservation of '\(name)' stays: that it ends cannot be written to the catalog; the log "
                    + "says why")
        case nil: try query { () throws(CatalogError) in try catalog.keep(nil, ofUnit: key) }
        }
        record(event)
        logger.notice("reservation cleared", metadata: ["device": "\(name)"])
    }

    private static func resource(
        _ name: String, _ kept: ReservationRecord??, reserver: String?
    ) -> Resource<Reservation> {
        var status = Reservation.Status()
        if let reserver { (status.type, status.holder) = ("RESERVE", reserver) }
        if case .some(nil) = kept { status.type = "lost: the catalog has something that cannot be read" }
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
