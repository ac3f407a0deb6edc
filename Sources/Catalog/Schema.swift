import GRDB

/// The schema and its history (the steps after the first are in `Schema+Access.swift`, `Catalog+NameService.swift`,
/// `Schema+Phases.swift`, `Schema+AccessLevels.swift`, `Schema+Events.swift`, `Schema+Resources.swift`,
/// `Catalog+Reservations.swift`, `Schema+Counts.swift`, `Catalog+AccessStates.swift`, `Catalog+Parameters.swift`,
/// `Catalog+Ejections.swift`, `Schema+Numbers.swift` and `Schema+Nodes.swift`). A released migration is never edited; a
/// change is a new migration and a higher `version`, written to `PRAGMA user_version` in the same transaction.
enum Schema {
    /// The version that this code reads and writes.
    static let version = 14

    /// `PRAGMA application_id`: "Caro", which tells a catalog from other databases.
    static let applicationID = 0x4361_726F

    /// The steps from version n to n + 1, in order.
    static let migrations: [@Sendable (Database) throws -> Void] = [
        createTables, addAccess, addNameServer, addPhases, addAccessLevels, addEvents, addResources,
        addReservations, addCounts, addAccessStates, addParameters, addEjections,
        addNumbers, addNodes,
    ]

    private static func createTables(_ database: Database) throws {
        try database.execute(
            sql: """
                -- The identity of a logical unit, for as long as it exists. naaIdentifier is the 64-bit NAA designator.
                CREATE TABLE logicalUnit (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    kind TEXT NOT NULL CHECK (kind IN ('disk', 'changer', 'drive')),
                    serialNumber TEXT NOT NULL UNIQUE CHECK (length(serialNumber) > 0),
                    naaIdentifier INTEGER NOT NULL UNIQUE
                ) STRICT;

                CREATE TABLE disk (
                    id INTEGER PRIMARY KEY REFERENCES logicalUnit ON DELETE CASCADE,
                    name TEXT NOT NULL UNIQUE,
                    image TEXT NOT NULL UNIQUE,
                    imageIsExternal INTEGER NOT NULL CHECK (imageIsExternal IN (0, 1)),
                    size INTEGER NOT NULL CHECK (size > 0),
                    blockSize INTEGER NOT NULL CHECK (blockSize IN (512, 4096)),
                    created TEXT NOT NULL,
                    CHECK (size % blockSize = 0)
                ) STRICT;

                CREATE TABLE library (
                    id INTEGER PRIMARY KEY REFERENCES logicalUnit ON DELETE CASCADE,
                    name TEXT NOT NULL UNIQUE,
                    profile TEXT NOT NULL,
                    created TEXT NOT NULL
                ) STRICT;

                CREATE TABLE drive (
                    id INTEGER PRIMARY KEY REFERENCES logicalUnit ON DELETE CASCADE,
                    library INTEGER NOT NULL REFERENCES library ON DELETE CASCADE,
                    number INTEGER NOT NULL CHECK (number > 0),
                    profile TEXT NOT NULL,
                    UNIQUE (library, number)
                ) STRICT;

                CREATE TABLE element (
                    library INTEGER NOT NULL REFERENCES library ON DELETE CASCADE,
                    kind TEXT NOT NULL CHECK (kind IN ('slot', 'drive', 'mail')),
                    number INTEGER NOT NULL CHECK (number > 0),
                    PRIMARY KEY (library, kind, number)
                ) STRICT, WITHOUT ROWID;

                -- A cartridge without an element is in the vault: it belongs to the library but is outside it.
                CREATE TABLE cartridge (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    library INTEGER NOT NULL REFERENCES library ON DELETE CASCADE,
                    barcode TEXT NOT NULL CHECK (length(barcode) BETWEEN 1 AND 32),
                    serialNumber TEXT NOT NULL UNIQUE,
                    capacity INTEGER NOT NULL CHECK (capacity > 0),
                    elementKind TEXT,
                    elementNumber INTEGER,
                    sourceKind TEXT,
                    sourceNumber INTEGER,
                    created TEXT NOT NULL,
                    UNIQUE (library, barcode),
                    UNIQUE (library, elementKind, elementNumber),
                    CHECK ((elementKind IS NULL) = (elementNumber IS NULL)),
                    CHECK ((sourceKind IS NULL) = (sourceNumber IS NULL)),
                    FOREIGN KEY (library, elementKind, elementNumber) REFERENCES element (library, kind, number),
                    FOREIGN KEY (library, sourceKind, sourceNumber) REFERENCES element (library, kind, number)
                ) STRICT;

                CREATE TABLE target (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    name TEXT NOT NULL UNIQUE
                ) STRICT;

                CREATE TABLE logicalUnitMapping (
                    target INTEGER NOT NULL REFERENCES target ON DELETE CASCADE,
                    logicalUnitNumber INTEGER NOT NULL CHECK (logicalUnitNumber BETWEEN 0 AND 16383),
                    logicalUnit INTEGER NOT NULL REFERENCES logicalUnit ON DELETE CASCADE,
                    PRIMARY KEY (target, logicalUnitNumber),
                    UNIQUE (target, logicalUnit)
                ) STRICT, WITHOUT ROWID;
                CREATE INDEX logicalUnitMappingOnLogicalUnit ON logicalUnitMapping (logicalUnit);

                CREATE TABLE portal (
                    address TEXT NOT NULL,
                    port INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535),
                    PRIMARY KEY (address, port)
                ) STRICT, WITHOUT ROWID;

                -- History outlives what it tells of, so it holds names.
                CREATE TABLE move (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    time TEXT NOT NULL,
                    library TEXT NOT NULL,
                    barcode TEXT NOT NULL,
                    origin TEXT NOT NULL,
                    destination TEXT NOT NULL,
                    cause TEXT NOT NULL CHECK (cause IN ('command', 'initiator'))
                ) STRICT;
                CREATE INDEX moveOnLibrary ON move (library, id);
                """)
    }
}
