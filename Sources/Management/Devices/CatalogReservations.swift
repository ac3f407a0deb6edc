import Catalog
import Dispatch
import Foundation
import Logging
import TargetCore

/// The catalog as what keeps the registrations and the reservation of one logical unit.
final class CatalogReservations: PersistentReservationKeeper {
    /// Off the reactors: a transaction waits for the storage device.
    private static let queue = DispatchQueue(label: "carousel.reservations")

    let kept: KeptReservations
    private let catalog: Catalog
    private let unit: Int64
    private let logger: Logger
    /// An initiator may ask again and again.
    private let pace: NoticePace

    /// Those of the unit with the key `unit`, as they are in the catalog.
    init(_ catalog: Catalog, unit: Int64, logger: Logger) {
        self.catalog = catalog
        self.unit = unit
        self.logger = logger
        pace = NoticePace { suppressed in
            logger.error(
                "further reservations were refused, for they cannot be kept",
                metadata: ["unit": "\(unit)", "count": "\(suppressed)"])
        }
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
        Self.queue.async { [catalog, unit, logger, pace] in
            do throws(CatalogError) {
                try catalog.keep(record.isEmpty ? nil : ReservationRecord(record, time: Date()), ofUnit: unit)
                completion(true)
            } catch {
                if pace.admits() {
                    logger.error(
                        "a reservation is refused, for it cannot be kept",
                        metadata: ["unit": "\(unit)", "reason": "\(error)"])
                }
                completion(false)
            }
        }
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
