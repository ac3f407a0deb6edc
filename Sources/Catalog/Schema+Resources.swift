import GRDB

extension Schema {
    /// Version 7: things with a spec in JSON, disks among them, and generations of all things.
    static func addResources(_ database: Database) throws {
        try database.execute(
            sql: """
                -- The last generation that was given; none is given twice. All of them take the same room, so that no
                -- row grows when it gets another one.
                CREATE TABLE lastGeneration (
                    id INTEGER PRIMARY KEY CHECK (id = 1),
                    number INTEGER NOT NULL
                ) STRICT;
                INSERT INTO lastGeneration (id, number) VALUES (1, \(StoredGeneration.zero + 1));

                -- Things of any kind, with what is wanted of them as the table of their kind has it. What the schema is
                -- to keep true of them is in tables of their own. The spec is checked when it is read: one that is
                -- damaged costs its own thing only.
                CREATE TABLE resource (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    kind TEXT NOT NULL,
                    name TEXT NOT NULL,
                    generation INTEGER NOT NULL DEFAULT \(StoredGeneration.zero),
                    phase TEXT NOT NULL CHECK (phase IN ('creating', 'complete', 'deleting')),
                    spec TEXT NOT NULL,
                    created TEXT NOT NULL,
                    UNIQUE (kind, name)
                ) STRICT;
                INSERT INTO resource (kind, name, generation, phase, spec, created)
                    SELECT 'disk', name, \(StoredGeneration.zero + 1), phase,
                        CASE WHEN imageIsExternal
                            THEN json_object('blockSize', blockSize, 'image', image, 'size', size)
                            ELSE json_object('blockSize', blockSize, 'size', size) END,
                        created
                    FROM disk;

                -- The image of a disk, which no other disk has, and who it is for initiators.
                CREATE TABLE diskImage (
                    id INTEGER PRIMARY KEY REFERENCES logicalUnit ON DELETE CASCADE,
                    resource INTEGER NOT NULL UNIQUE REFERENCES resource ON DELETE CASCADE,
                    image TEXT NOT NULL UNIQUE,
                    imageIsExternal INTEGER NOT NULL CHECK (imageIsExternal IN (0, 1))
                ) STRICT;
                INSERT INTO diskImage (id, resource, image, imageIsExternal)
                    SELECT disk.id, resource.id, image, imageIsExternal
                    FROM disk JOIN resource ON resource.kind = 'disk' AND resource.name = disk.name;
                DROP TABLE disk;
                """)
        try addGenerations(database)
    }

    /// Generations are raised by the database itself, so no function that changes something can forget to.
    private static func addGenerations(_ database: Database) throws {
        for table in ["library", "cartridge", "target", "initiatorGroup", "portal", "nameServer"] {
            try database.execute(
                sql: """
                    ALTER TABLE \(table) ADD COLUMN generation INTEGER NOT NULL DEFAULT \(StoredGeneration.zero);
                    UPDATE \(table) SET generation = \(StoredGeneration.zero + 1);
                    """)
        }
        // What a thing is, beside its parts. Keys of rows never change.
        let contents: KeyValuePairs = [
            "resource": ["name", "phase", "spec"],
            "library": ["name", "profile", "phase"],
            "cartridge": [
                "barcode", "capacity", "elementKind", "elementNumber", "sourceKind", "sourceNumber", "isImported",
                "phase",
            ],
            "target": [
                "name", "redirection", "redirectionIsPermanent", "accessLevel", "requiresAuthentication",
            ],
            "initiatorGroup": ["name", "rank", "requiresAuthentication"],
            "portal": ["portalGroupTag"],
            "nameServer": ["host", "port", "controlsAccess", "entityIdentifier"],
        ]
        for (table, columns) in contents {
            let isRow = table == "portal" ? "address = NEW.address AND port = NEW.port" : "id = NEW.id"
            let old = columns.map { "OLD.\($0)" }.joined(separator: ", ")
            let new = columns.map { "NEW.\($0)" }.joined(separator: ", ")
            try database.execute(
                sql: """
                    CREATE TRIGGER \(table)IsNew AFTER INSERT ON \(table) BEGIN \(raise(table, isRow)) END;
                    CREATE TRIGGER \(table)IsChanged AFTER UPDATE OF \(columns.joined(separator: ", ")) ON \(table)
                        WHEN (\(old)) IS NOT (\(new)) BEGIN \(raise(table, isRow)) END;
                    """)
        }
        // Parts of a thing, in tables of their own.
        let parts = [
            ("logicalUnitMapping", "target"), ("targetPortalGroup", "target"), ("targetAccess", "target"),
            ("groupLogicalUnitMapping", "target"), ("initiatorGroupMember", "initiatorGroup"),
        ]
        for (table, whole) in parts { try addGeneration(of: whole, byPartsIn: table, database) }
    }

    /// The thing whose parts are in `table`, which has its key in a column of its name, gets another generation with
    /// each change of them.
    static func addGeneration(of whole: String, byPartsIn table: String, _ database: Database) throws {
        let events = [("Added", "INSERT", "NEW"), ("Changed", "UPDATE", "NEW"), ("Removed", "DELETE", "OLD")]
        for (name, event, row) in events {
            try database.execute(
                sql: """
                    CREATE TRIGGER \(table)\(name) AFTER \(event) ON \(table) BEGIN
                        \(raise(whole, "id = \(row).\(whole)"))
                    END;
                    """)
        }
    }

    private static func raise(_ table: String, _ condition: String) -> String {
        """
        UPDATE lastGeneration SET number = number + 1;
        UPDATE \(table) SET generation = (SELECT number FROM lastGeneration) WHERE \(condition);
        """
    }
}

/// Generations as they stand in the catalog.
enum StoredGeneration {
    /// What is added to them: SQLite takes six bytes for each number from here on, and fewer for small ones.
    static let zero: Int64 = 1 << 40

    /// The generation of the thing that a row has.
    static func of(_ row: Row) -> Int64 { row["generation"] - zero }

    /// The generation of the thing in a row of `table`.
    static func of(_ table: String, id: Int64, in database: Database) throws -> Int64 {
        let number = try Int64.fetchOne(
            database, sql: "SELECT generation FROM \(table) WHERE id = ?", arguments: [id])
        return (number ?? zero) - zero
    }
}

extension Catalog {
    /// A generation that nothing has had, for what is not stored in the catalog.
    public func newGeneration() throws(CatalogError) -> Int64 {
        // What it is for may take something away from somebody.
        try remove { database in
            try database.execute(sql: "UPDATE lastGeneration SET number = number + 1")
            let number = try Int64.fetchOne(database, sql: "SELECT number FROM lastGeneration")
            return (number ?? StoredGeneration.zero) - StoredGeneration.zero
        }
    }
}
