public import Foundation
import GRDB

/// What is kept of the persistent reservation of a logical unit, and of who is registered (SPC-5 clause 5.14).
public struct ReservationRecord: Hashable, Sendable {
    /// Who is registered.
    public struct Registration: Hashable, Sendable {
        /// Another one for each registration of the unit, in the order in which they came.
        public var number: Int64
        /// The TransportID of the initiator port.
        public var transportID: [UInt8]
        /// The name of the target.
        public var target: String
        /// The relative identifier of the target port.
        public var targetPort: UInt16
        /// The reservation key.
        public var key: UInt64
        /// Whether it was made by somebody else, and not used since.
        public var isUnused: Bool
        /// When it was made. Of one that is there already, that of the first time is kept.
        public var time: Date

        public init(
            number: Int64, transportID: [UInt8], target: String, targetPort: UInt16, key: UInt64, isUnused: Bool,
            time: Date
        ) {
            self.number = number
            self.transportID = transportID
            self.target = target
            self.targetPort = targetPort
            self.key = key
            self.isUnused = isUnused
            self.time = time
        }
    }

    /// The reservation itself.
    public struct Reservation: Hashable, Sendable {
        /// TYPE.
        public var type: UInt8
        /// The number of the registration that holds it; nil when all do.
        public var holder: Int64?
        /// When it was taken.
        public var time: Date

        public init(type: UInt8, holder: Int64?, time: Date) {
            self.type = type
            self.holder = holder
            self.time = time
        }
    }

    /// Whether all of it is there again after a loss of power (APTPL).
    public var persists: Bool
    /// PRGENERATION.
    public var generation: UInt32
    /// The number of the next registration.
    public var nextNumber: Int64
    public var reservation: Reservation?
    /// In the order of their numbers.
    public var registrations: [Registration]

    public init(
        persists: Bool, generation: UInt32, nextNumber: Int64, reservation: Reservation?,
        registrations: [Registration]
    ) {
        self.persists = persists
        self.generation = generation
        self.nextNumber = nextNumber
        self.reservation = reservation
        self.registrations = registrations
    }
}

extension Catalog {
    /// What is kept of all units, by their keys. A unit of which something is kept that cannot be understood is there
    /// with nil: nobody knows then whom it was reserved for.
    ///
    /// With `unit`, of that one only.
    public func reservations(ofUnit unit: Int64? = nil) throws(CatalogError) -> [Int64: ReservationRecord?] {
        let condition = unit == nil ? "" : "WHERE logicalUnit = ?"
        let arguments: StatementArguments = unit.map { [$0] } ?? []
        return try read { database in
            var records: [Int64: ReservationRecord?] = [:]
            let units = try Row.fetchAll(
                database, sql: "SELECT * FROM persistentReservation \(condition)", arguments: arguments)
            for row in units { records[row["logicalUnit"]] = ReservationRecord(row) }
            let rows = try Row.fetchCursor(
                database, sql: "SELECT * FROM registration \(condition) ORDER BY logicalUnit, number",
                arguments: arguments)
            while let row = try rows.next() {
                let unit: Int64 = row["logicalUnit"]
                // Without the row of its unit, it says as little.
                guard var record = records[unit] ?? nil else {
                    records[unit] = .some(nil)
                    continue
                }
                if let registration = ReservationRecord.Registration(row) {
                    record.registrations.append(registration)
                    records[unit] = record
                } else {
                    records[unit] = .some(nil)
                }
            }
            for (unit, record) in records {
                guard let holder = record?.reservation?.holder else { continue }
                if record?.registrations.contains(where: { $0.number == holder }) != true { records[unit] = .some(nil) }
            }
            return records
        }
    }

    /// What is kept of one unit, asked for each unit when thousands of them start, of which few have anything.
    public func keptReservation(ofUnit id: Int64) throws(CatalogError) -> ReservationRecord?? {
        let units = try read(rememberedReservedUnits) { database in
            try Set(
                Int64.fetchCursor(
                    database,
                    sql: "SELECT logicalUnit FROM persistentReservation UNION SELECT logicalUnit FROM registration"))
        }
        return units.contains(id) ? try reservations(ofUnit: id)[id] : nil
    }

    /// Forgets what was not to be there again after the daemon has died. For the start.
    public func forgetUnkeptReservations() throws(CatalogError) {
        try remove { try $0.execute(sql: "DELETE FROM persistentReservation WHERE persists = 0") }
    }

    /// Keeps `record` of the unit with the key `id`, durably; nil when there is nothing to keep. Only what has changed
    /// is written. Nothing happens when there is no such unit any more.
    public func keep(_ record: ReservationRecord?, ofUnit id: Int64) throws(CatalogError) {
        guard let record else {
            return try remove {
                try $0.execute(sql: "DELETE FROM persistentReservation WHERE logicalUnit = ?", arguments: [id])
            }
        }
        func change(_ database: Database) throws {
            guard try Bool.fetchOne(database, sql: "SELECT 1 FROM logicalUnit WHERE id = ?", arguments: [id]) == true
            else { return }
            try Self.keep(record, ofUnit: id, in: database)
        }
        // On a full file system somebody can be kept away, but nobody registered: the reserve is not for initiators to
        // fill.
        let known = try Set((reservations(ofUnit: id)[id] ?? nil)?.registrations.map(\.number) ?? [])
        if record.registrations.allSatisfy({ known.contains($0.number) }) {
            try self.remove(nil, change)
        } else {
            try self.write(nil, change)
        }
    }

    private static func keep(_ record: ReservationRecord, ofUnit id: Int64, in database: Database) throws {
        let former = try Row.fetchOne(
            database, sql: "SELECT * FROM persistentReservation WHERE logicalUnit = ?", arguments: [id]
        ).flatMap { ReservationRecord($0) }
        var reservation = record.reservation
        if let present = former?.reservation, present.type == reservation?.type, present.holder == reservation?.holder {
            reservation?.time = present.time
        }
        try database.execute(
            sql: """
                INSERT INTO persistentReservation (
                    logicalUnit, persists, prGeneration, nextNumber, type, holder, reserved)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (logicalUnit) DO UPDATE SET persists = excluded.persists,
                    prGeneration = excluded.prGeneration, nextNumber = excluded.nextNumber, type = excluded.type,
                    holder = excluded.holder, reserved = excluded.reserved
                """,
            arguments: [
                id, record.persists, Int64(record.generation), record.nextNumber, reservation.map { Int64($0.type) },
                reservation?.holder, reservation?.time,
            ])
        var present: [Int64: ReservationRecord.Registration] = [:]
        let rows = try Row.fetchCursor(
            database, sql: "SELECT * FROM registration WHERE logicalUnit = ?", arguments: [id])
        while let row = try rows.next() { present[row["number"]] = ReservationRecord.Registration(row) }
        // What cannot be understood, and what another has under the number since what was there was lost.
        let numbers = Set(
            record.registrations.filter { $0.isOfSame(as: present[$0.number]) }.map(\.number))
        for number in try Int64.fetchAll(
            database, sql: "SELECT number FROM registration WHERE logicalUnit = ?", arguments: [id])
        where !numbers.contains(number) {
            try database.execute(
                sql: "DELETE FROM registration WHERE logicalUnit = ? AND number = ?", arguments: [id, number])
        }
        for registration in record.registrations {
            let key = Int64(bitPattern: registration.key)
            if numbers.contains(registration.number), let found = present[registration.number] {
                guard found.key != registration.key || found.isUnused != registration.isUnused else { continue }
                try database.execute(
                    sql: """
                        UPDATE registration SET reservationKey = ?, isUnused = ? WHERE logicalUnit = ? AND number = ?
                        """,
                    arguments: [key, registration.isUnused, id, registration.number])
            } else {
                try database.execute(
                    sql: """
                        INSERT INTO registration (
                            logicalUnit, number, transportID, target, targetPort, reservationKey, isUnused, registered)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        id, registration.number, Data(registration.transportID), registration.target,
                        Int64(registration.targetPort), key, registration.isUnused, registration.time,
                    ])
            }
        }
    }
}

extension ReservationRecord {
    /// Without registrations; nil when the row has what this program never writes.
    fileprivate init?(_ row: Row) {
        guard let generation = UInt32(exactly: row["prGeneration"] as Int64) else { return nil }
        var reservation: Reservation?
        if let number: Int64 = row["type"] {
            guard let type = UInt8(exactly: number), let time = Date.fromDatabaseValue(row["reserved"]) else {
                return nil
            }
            reservation = Reservation(type: type, holder: row["holder"], time: time)
        }
        guard reservation != nil || row["holder"] as Int64? == nil else { return nil }
        self.init(
            persists: row["persists"], generation: generation, nextNumber: row["nextNumber"],
            reservation: reservation, registrations: [])
    }
}

extension ReservationRecord.Registration {
    /// Whether they are of one I_T nexus.
    fileprivate func isOfSame(as other: Self?) -> Bool {
        transportID == other?.transportID && target == other?.target && targetPort == other?.targetPort
    }

    fileprivate init?(_ row: Row) {
        guard let port = UInt16(exactly: row["targetPort"] as Int64),
            let time = Date.fromDatabaseValue(row["registered"])
        else { return nil }
        self.init(
            number: row["number"], transportID: Array(row["transportID"] as Data), target: row["target"],
            targetPort: port, key: UInt64(bitPattern: row["reservationKey"]), isUnused: row["isUnused"],
            time: time)
    }
}

extension Schema {
    /// Version 8: persistent reservations.
    static func addReservations(_ database: Database) throws {
        try database.execute(
            sql: """
                -- A unit without a row has no registrations. The columns type and reserved are NULL when nobody holds a
                -- reservation, and holder when nobody or everybody does.
                CREATE TABLE persistentReservation (
                    logicalUnit INTEGER PRIMARY KEY REFERENCES logicalUnit ON DELETE CASCADE,
                    persists INTEGER NOT NULL CHECK (persists IN (0, 1)),
                    prGeneration INTEGER NOT NULL CHECK (prGeneration BETWEEN 0 AND 4294967295),
                    nextNumber INTEGER NOT NULL CHECK (nextNumber >= 0),
                    type INTEGER CHECK (type BETWEEN 1 AND 15),
                    holder INTEGER,
                    reserved TEXT,
                    CHECK ((type IS NULL) = (reserved IS NULL))
                ) STRICT;

                -- reservationKey is 64 bits without a sign, as SQLite has them.
                CREATE TABLE registration (
                    logicalUnit INTEGER NOT NULL REFERENCES persistentReservation ON DELETE CASCADE,
                    number INTEGER NOT NULL CHECK (number >= 0),
                    transportID BLOB NOT NULL CHECK (length(transportID) BETWEEN 4 AND 260),
                    target TEXT NOT NULL CHECK (length(target) > 0),
                    targetPort INTEGER NOT NULL CHECK (targetPort BETWEEN 0 AND 65535),
                    reservationKey INTEGER NOT NULL,
                    isUnused INTEGER NOT NULL CHECK (isUnused IN (0, 1)),
                    registered TEXT NOT NULL,
                    PRIMARY KEY (logicalUnit, number)
                ) STRICT, WITHOUT ROWID;
                """)
    }
}
