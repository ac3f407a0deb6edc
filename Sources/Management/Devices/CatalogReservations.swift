import Catalog
import Foundation
import Logging
import TargetCore

/// The catalog as what keeps the registrations and the reservation of one logical unit.
final class CatalogReservations: PersistentReservationKeeper {
    let kept: KeptReservations
    private let catalog: Catalog
    private let unit: Int64
    private let keeping: UnitKeeping

    /// Those of the unit with the key `unit`, as they are in the catalog.
    init(_ catalog: Catalog, unit: Int64, logger: Logger) {
        self.catalog = catalog
        self.unit = unit
        keeping = UnitKeeping(one: "a reservation", many: "reservations", ofUnit: unit, logger: logger)
        do throws(CatalogError) {
            if let record = try catalog.keptReservation(ofUnit: unit) {
                kept = record.flatMap { PersistentReservationRecord($0) }.map { .record($0) } ?? .unreadable
            } else {
                kept = .none
            }
        } catch {
            logger.error("reservations cannot be read", metadata: ["unit": "\(unit)", "reason": "\(error)"])
            kept = .unreadable
        }
    }

    func keep(_ record: PersistentReservationRecord, completion: @escaping @Sendable (Bool) -> Void) {
        keeping.keep(
            { [catalog, unit] () throws(CatalogError) in
                try catalog.keep(record.isEmpty ? nil : ReservationRecord(record, time: Date()), ofUnit: unit)
            }, completion: completion)
    }
}

extension PersistentReservationRecord {
    /// The device's form of what the catalog keeps; nil when it has numbers that there are not.
    init?(_ record: ReservationRecord) {
        let numbers = [record.nextNumber, record.reservation?.holder ?? 0] + record.registrations.map(\.number)
        guard numbers.allSatisfy({ $0 >= 0 }) else { return nil }
        self.init(
            persists: record.persists, generation: record.generation, nextNumber: UInt64(record.nextNumber),
            type: record.reservation?.type, holder: record.reservation?.holder.map { UInt64($0) },
            registrations: record.registrations.map { registration in
                Registration(
                    number: UInt64(registration.number),
                    registrant: Registrant(
                        TransportID(bytes: registration.transportID), target: registration.target,
                        targetPort: registration.targetPort),
                    key: registration.key, isUnused: registration.isUnused)
            })
    }
}

extension ReservationRecord {
    /// The catalog's form of what a device keeps; what is new in it is of `time`.
    init(_ record: PersistentReservationRecord, time: Date) {
        self.init(
            persists: record.persists, generation: record.generation,
            nextNumber: Int64(clamping: record.nextNumber),
            reservation: record.type.map {
                Reservation(type: $0, holder: record.holder.map { Int64(clamping: $0) }, time: time)
            },
            registrations: record.registrations.map { registration in
                Registration(
                    number: Int64(clamping: registration.number),
                    transportID: registration.registrant.transportID.bytes, target: registration.registrant.target,
                    targetPort: registration.registrant.targetPort, key: registration.key,
                    isUnused: registration.isUnused, time: time)
            })
    }
}
