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
    public func addLibrary(
        _ library: NewLibrary, cartridges: [(barcode: String, capacity: Int64)], adopted: [AdoptedCartridge] = [],
        created: Date, phase: RecordPhase = .creating
    ) throws(CatalogError) -> LibraryRecord {
        try write { database in
            let changer = try LogicalUnitIdentity.insert(.changer, in: database)
            try database.execute(
                sql: "INSERT INTO library (id, name, profile, created, phase) VALUES (?, ?, ?, ?, ?)",
                arguments: [changer.id, library.name, library.profile, created, phase.rawValue])
            let counts: [(ElementKind, Int)] = [
                (.slot, library.slotCount), (.mail, library.mailSlotCount), (.drive, library.driveCount),
            ]
            let insertion = try database.makeStatement(
                sql: "INSERT INTO element (library, kind, number) VALUES (?, ?, ?)")
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
            try Self.addTarget(
                library.targetName, logicalUnits: [changer.id] + drives.map(\.identity.id), in: database)
            for (index, cartridge) in cartridges.enumerated() {
                try Self.insertCartridge(
                    barcode: cartridge.barcode, capacity: cartridge.capacity,
                    location: .element(ElementAddress(kind: .slot, number: index + 1)), library: changer.id,
                    created: created, phase: .complete, in: database)
            }
            for (index, cartridge) in adopted.enumerated() {
                try Self.insert(
                    cartridge,
                    at: index < library.slotCount
                        ? .element(ElementAddress(kind: .slot, number: index + 1)) : .vault, library: changer.id,
                    created: created, in: database)
            }
            return LibraryRecord(
                identity: changer, name: library.name, profile: library.profile, slotCount: library.slotCount,
                mailSlotCount: library.mailSlotCount, drives: drives, created: created, phase: phase)
        }
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

    /// Removes the library `name`: changer, drives, elements, cartridges and target.
    public func removeLibrary(named name: String) throws(CatalogError) {
        try write { database in
            let library = try Int64.fetchOne(database, sql: "SELECT id FROM library WHERE name = ?", arguments: [name])
            guard let library else { throw CatalogError.conflict("there is no library '\(name)'") }
            // First the cartridges: elements are not removed under them.
            try database.execute(sql: "DELETE FROM cartridge WHERE library = ?", arguments: [library])
            try Self.removeLogicalUnits(
                matching: "id IN (SELECT id FROM drive WHERE library = :library) OR id = :library",
                arguments: ["library": library], in: database)
        }
    }
}

extension LibraryRecord {
    init(row: Row, in database: Database) throws {
        let identity = LogicalUnitIdentity(row: row)
        func count(_ kind: ElementKind) throws -> Int {
            try Int.fetchOne(
                database, sql: "SELECT count(*) FROM element WHERE library = ? AND kind = ?",
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
            mailSlotCount: try count(.mail), drives: drives, created: Date(row["created"]), phase: RecordPhase(row: row)
        )
    }
}
