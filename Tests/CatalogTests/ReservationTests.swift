import Foundation
import GRDB
import Platform
import Resources
import Testing

@testable import Catalog

@Suite("Persistent reservations in the catalog")
struct ReservationTests {
    let folder: ScratchFolder
    let catalog: Catalog
    let unit: Int64

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
        let disk = try catalog.addDisk(
            name: "a", targetName: "t:a", Disk.Spec(size: 4096), image: "a.img", imageIsExternal: false,
            created: Date(timeIntervalSince1970: 0), phase: .complete)
        unit = disk.identity.id
    }

    private func registration(_ number: Int64, key: UInt64) -> ReservationRecord.Registration {
        ReservationRecord.Registration(
            number: number, transportID: [5, 0, 0, 4] + Array("iqn.x".utf8), target: "iqn.y", targetPort: 1, key: key,
            isUnused: false, time: Date(timeIntervalSince1970: Double(number)))
    }

    private func record(_ registrations: [ReservationRecord.Registration]) -> ReservationRecord {
        ReservationRecord(
            persists: true, generation: .max, nextNumber: 9,
            reservation: registrations.last.map {
                ReservationRecord.Reservation(type: 5, holder: $0.number, time: Date(timeIntervalSince1970: 100))
            }, registrations: registrations)
    }

    private func kept() throws -> ReservationRecord? { try catalog.reservations(ofUnit: unit)[unit] ?? nil }

    @Test("what is kept is there again, and the first time of each registration and of the reservation stays")
    func roundTrip() throws {
        #expect(try kept() == nil)
        let first = record([registration(0, key: .max), registration(3, key: 1)])
        try catalog.keep(first, ofUnit: unit)
        #expect(try kept() == first)
        // Another key, one that goes, one that comes; the holder stays.
        var second = record([registration(3, key: 2), registration(4, key: 7)])
        second.reservation = ReservationRecord.Reservation(type: 5, holder: 3, time: Date(timeIntervalSince1970: 200))
        second.registrations[0].time = Date(timeIntervalSince1970: 300)
        try catalog.keep(second, ofUnit: unit)
        var wanted = second
        wanted.registrations[0].time = first.registrations[1].time
        wanted.reservation?.time = Date(timeIntervalSince1970: 100)
        #expect(try kept() == wanted)
        wanted.reservation = ReservationRecord.Reservation(type: 1, holder: 4, time: Date(timeIntervalSince1970: 400))
        wanted.persists = false
        try catalog.keep(wanted, ofUnit: unit)
        #expect(try kept() == wanted && catalog.reservations() == [unit: wanted])
        try catalog.forgetUnkeptReservations()
        #expect(try kept() == nil)
        try catalog.keep(first, ofUnit: unit)
        try catalog.forgetUnkeptReservations()
        #expect(try kept() == first)
        try catalog.keep(nil, ofUnit: unit)
        #expect(try catalog.reservations().isEmpty)
    }

    @Test("on a full file system registrations are taken away with the reserve, and none are added")
    func fullFileSystem() throws {
        final class Host: Sendable {
            let isFull = Lock(false)
            let roomMade = Lock(0)
        }
        let host = Host()
        let path = try ScratchFolder()
        let catalog = try Catalog(
            path: path.catalog,
            hooks: Catalog.Hooks(
                willCommit: { () throws(CatalogError) in
                    if host.isFull.withLock({ $0 }) { throw .full("no room") }
                },
                makeRoom: { attempt in
                    host.roomMade.withLock { $0 += 1 }
                    host.isFull.withLock { $0 = false }
                    attempt()
                    host.isFull.withLock { $0 = true }
                }))
        let unit = try catalog.addDisk(
            name: "a", targetName: "t:a", Disk.Spec(size: 4096), image: "a.img", imageIsExternal: false,
            created: Date(timeIntervalSince1970: 0), phase: .complete
        ).identity.id
        let both = record([registration(0, key: 1), registration(1, key: 2)])
        try catalog.keep(both, ofUnit: unit)
        host.isFull.withLock { $0 = true }
        #expect(throws: CatalogError.self) {
            try catalog.keep(record([registration(0, key: 1), registration(2, key: 3)]), ofUnit: unit)
        }
        #expect(try catalog.reservations() == [unit: both] && host.roomMade.withLock { $0 } == 0)
        // Who is fenced goes, whatever the reservation is then.
        var fenced = record([registration(1, key: 2)])
        fenced.reservation?.type = 1
        try catalog.keep(fenced, ofUnit: unit)
        #expect(try catalog.keptReservation(ofUnit: unit) == fenced && host.roomMade.withLock { $0 } == 1)
        try catalog.keep(nil, ofUnit: unit)
        #expect(try catalog.keptReservation(ofUnit: unit) == nil)
    }

    @Test("registrations go with their unit, and nothing is kept of one that is not there")
    func deletion() throws {
        try catalog.keep(record([registration(0, key: 1)]), ofUnit: unit)
        try catalog.setPhase(.deleting, ofDevice: unit)
        try catalog.removeDisk(named: "a")
        #expect(try catalog.reservations().isEmpty)
        try catalog.keep(record([registration(0, key: 1)]), ofUnit: unit)
        #expect(try catalog.reservations().isEmpty)
    }

    @Test(
        "what cannot be understood is told, not taken for nothing",
        arguments: [
            "UPDATE persistentReservation SET type = NULL, reserved = NULL, holder = 7",
            "UPDATE persistentReservation SET reserved = 'yesterday'", "UPDATE persistentReservation SET holder = 7",
            "UPDATE registration SET registered = ''",
        ])
    func damage(statement: String) throws {
        try catalog.keep(record([registration(0, key: 1)]), ofUnit: unit)
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write { try $0.execute(sql: statement) }
        let found = try catalog.reservations()
        #expect(found.keys.contains(unit))
        #expect(found[unit] == .some(nil))
        // Another may take the number then.
        var other = registration(0, key: 9)
        other.target = "iqn.z"
        let wanted = record([other])
        try catalog.keep(wanted, ofUnit: unit)
        #expect(try catalog.reservations() == [unit: wanted])
    }
}
