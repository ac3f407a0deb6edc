import GRDB
import Resources

public import struct Foundation.Date

/// A library to make.
public struct NewLibrary: Sendable {
    /// The name given by the user.
    public var name: String
    /// The iSCSI name of its target.
    public var targetName: String
    /// The name of its library profile.
    public var profile: String
    /// The name of the profile of its drives.
    public var driveProfile: String
    /// How many drives it gets.
    public var driveCount: Int
    /// How many storage elements it gets.
    public var slotCount: Int
    /// How many import/export elements it gets.
    public var mailSlotCount: Int

    public init(
        name: String, targetName: String, profile: String, driveProfile: String, driveCount: Int, slotCount: Int,
        mailSlotCount: Int
    ) {
        self.name = name
        self.targetName = targetName
        self.profile = profile
        self.driveProfile = driveProfile
        self.driveCount = driveCount
        self.slotCount = slotCount
        self.mailSlotCount = mailSlotCount
    }
}

extension Catalog {
    /// Adds a library in phase `creating`, unless it is told another one, with its elements, its drives and its target:
    /// the changer is logical unit 0, the drives follow.
    ///
    /// The cartridges, at most as many as slots, go to the slots from 1 on. Instead of new cartridges `adopted` are
    /// those that are there, which go to the vault where there are no more slots.
    ///
    /// Slots and cartridges of a library in phase `creating` follow it in transactions of a bounded size. When one
    /// fails, the library is removed; when that fails as well it stays, in that phase. In another phase everything is
    /// one transaction, with `event`: nobody would remove what is left of a half.
    public func addLibrary(
        _ library: NewLibrary, cartridges: [(barcode: String, capacity: Int64)], adopted: [AdoptedCartridge] = [],
        created: Date, phase: RecordPhase = .creating, event: NewEvent? = nil
    ) throws(CatalogError) -> LibraryRecord {
        func addSlots(_ slots: Range<Int>, to record: LibraryRecord, in database: Database) throws {
            try Self.addSlots(slots, to: record, cartridges: cartridges, adopted: adopted, in: database)
        }
        guard phase == .creating else {
            return try write(event) { database in
                let record = try Self.insert(library, created: created, phase: phase, in: database)
                try addSlots(0..<library.slotCount, to: record, in: database)
                for cartridge in adopted.dropFirst(library.slotCount) {
                    try Self.insert(
                        cartridge, at: .vault, library: record.identity.id, created: created, in: database)
                }
                return record
            }
        }
        let record = try write { try Self.insert(library, created: created, phase: phase, in: $0) }
        do {
            for start in stride(from: 0, to: library.slotCount, by: Self.rowsAtOnce) {
                let slots = start..<min(start + Self.rowsAtOnce, library.slotCount)
                try write { try addSlots(slots, to: record, in: $0) }
            }
        } catch {
            try? removeLibrary(named: library.name)
            throw error
        }
        return record
    }

    /// Adds the slots at the indices `slots`, with the cartridges at the same indices as far as there are any.
    private static func addSlots(
        _ slots: Range<Int>, to library: LibraryRecord, cartridges: [(barcode: String, capacity: Int64)],
        adopted: [AdoptedCartridge], in database: Database
    ) throws {
        let key = library.identity.id
        let insertion = try database.makeStatement(
            sql: "INSERT INTO element (library, kind, number) VALUES (?, 'slot', ?)")
        for index in slots {
            try insertion.execute(arguments: [key, index + 1])
            let location = CartridgeLocation.element(ElementAddress(kind: .slot, number: index + 1))
            if index < adopted.count {
                try insert(adopted[index], at: location, library: key, created: library.created, in: database)
            } else if index < cartridges.count {
                try insertCartridge(
                    barcode: cartridges[index].barcode, capacity: cartridges[index].capacity, location: location,
                    library: key, created: library.created, phase: .complete, in: database)
            }
        }
    }

    /// Adds a library with its drives, mail slots and target, without slots.
    private static func insert(
        _ library: NewLibrary, created: Date, phase: RecordPhase, in database: Database
    ) throws -> LibraryRecord {
        let changer = try LogicalUnitIdentity.insert(.changer, in: database)
        try database.execute(
            sql: "INSERT INTO library (id, name, profile, created, phase) VALUES (?, ?, ?, ?, ?)",
            arguments: [changer.id, library.name, library.profile, created, phase.rawValue])
        let insertion = try database.makeStatement(
            sql: "INSERT INTO element (library, kind, number) VALUES (?, ?, ?)")
        let counts: [(ElementKind, Int)] = [(.mail, library.mailSlotCount), (.drive, library.driveCount)]
        for (kind, count) in counts {
            for number in 0..<count {
                try insertion.execute(arguments: [changer.id, kind.rawValue, number + 1])
            }
        }
        var drives: [DriveRecord] = []
        for number in 0..<library.driveCount {
            let identity = try LogicalUnitIdentity.insert(.drive, in: database)
            try database.execute(
                sql: "INSERT INTO drive (id, library, number, profile) VALUES (?, ?, ?, ?)",
                arguments: [identity.id, changer.id, number + 1, library.driveProfile])
            drives.append(DriveRecord(identity: identity, number: number + 1, profile: library.driveProfile))
        }
        try addTarget(library.targetName, logicalUnits: [changer.id] + drives.map(\.identity.id), in: database)
        return LibraryRecord(
            identity: changer, name: library.name, profile: library.profile, slotCount: library.slotCount,
            mailSlotCount: library.mailSlotCount, drives: drives, created: created, phase: phase,
            generation: try StoredGeneration.of("library", id: changer.id, in: database))
    }

    /// The libraries, by name.
    public func libraries() throws(CatalogError) -> [LibraryRecord] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM library JOIN logicalUnit USING (id) ORDER BY name")
                .map { try LibraryRecord(row: $0, in: database) }
        }
    }

    /// The library `name`, if there is one.
    public func library(named name: String) throws(CatalogError) -> LibraryRecord? {
        try read { database in
            try Row.fetchOne(
                database, sql: "SELECT * FROM library JOIN logicalUnit USING (id) WHERE name = ?", arguments: [name]
            ).map { try LibraryRecord(row: $0, in: database) }
        }
    }

    /// Removes the library `name`: cartridges, elements, changer, drives and target, in transactions of a bounded size;
    /// when one fails, what is left of the library is still there.
    public func removeLibrary(named name: String) throws(CatalogError) {
        let found = try read { database in
            try Int64.fetchOne(database, sql: "SELECT id FROM library WHERE name = ?", arguments: [name])
        }
        guard let library = found else { throw CatalogError.conflict("there is no library '\(name)'") }
        // First the cartridges: elements are not removed under them.
        let pieces = [
            "DELETE FROM cartridge WHERE id IN (SELECT id FROM cartridge WHERE library = :library LIMIT :count)",
            """
            DELETE FROM element WHERE library = :library AND (kind, number) IN (
                SELECT kind, number FROM element WHERE library = :library LIMIT :count)
            """,
        ]
        for piece in pieces {
            var removed = Self.rowsAtOnce
            while removed == Self.rowsAtOnce {
                removed = try remove { database in
                    try database.execute(sql: piece, arguments: ["library": library, "count": Self.rowsAtOnce])
                    return database.changesCount
                }
            }
        }
        try remove { database in
            try Self.removeLogicalUnits(
                matching: "id IN (SELECT id FROM drive WHERE library = :library) OR id = :library",
                arguments: ["library": library], in: database)
        }
    }
}

extension LibraryRecord {
    init(row: Row, in database: Database) throws {
        let identity = LogicalUnitIdentity(row: row)
        // Elements of a kind are numbered from 1 without gaps, and a library may have thousands.
        func count(_ kind: ElementKind) throws -> Int {
            try Int.fetchOne(
                database,
                sql: "SELECT number FROM element WHERE library = ? AND kind = ? ORDER BY number DESC LIMIT 1",
                arguments: [identity.id, kind.rawValue]) ?? 0
        }
        let drives = try Row.fetchAll(
            database, sql: "SELECT * FROM drive JOIN logicalUnit USING (id) WHERE library = ? ORDER BY number",
            arguments: [identity.id]
        ).map {
            DriveRecord(identity: LogicalUnitIdentity(row: $0), number: $0["number"], profile: $0["profile"])
        }
        self.init(
            identity: identity, name: row["name"], profile: row["profile"], slotCount: try count(.slot),
            mailSlotCount: try count(.mail), drives: drives, created: Date(row["created"]),
            phase: RecordPhase(row: row),
            generation: StoredGeneration.of(row))
    }
}
