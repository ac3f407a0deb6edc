import GRDB

public import struct Foundation.Date

extension Catalog {
    /// Adds a disk in phase `creating`, unless it is told another one, with a new identity and its target `targetName`,
    /// where it is logical unit 0.
    public func addDisk(
        name: String, targetName: String, image: String, imageIsExternal: Bool, size: Int64, blockSize: Int,
        created: Date, phase: RecordPhase = .creating, event: NewEvent? = nil
    ) throws(CatalogError) -> DiskRecord {
        try write(event) { database in
            let identity = try LogicalUnitIdentity.insert(.disk, in: database)
            try database.execute(
                sql: """
                    INSERT INTO disk (id, name, image, imageIsExternal, size, blockSize, created, phase)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [identity.id, name, image, imageIsExternal, size, blockSize, created, phase.rawValue])
            try Self.addTarget(targetName, logicalUnits: [identity.id], in: database)
            return DiskRecord(
                identity: identity, name: name, image: image, imageIsExternal: imageIsExternal, size: size,
                blockSize: blockSize, created: created, phase: phase)
        }
    }

    /// The disks, by name.
    public func disks() throws(CatalogError) -> [DiskRecord] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM disk JOIN logicalUnit USING (id) ORDER BY name")
                .map(DiskRecord.init(row:))
        }
    }

    /// The disk `name`, if there is one.
    public func disk(named name: String) throws(CatalogError) -> DiskRecord? {
        try read { database in
            try Row.fetchOne(
                database, sql: "SELECT * FROM disk JOIN logicalUnit USING (id) WHERE name = ?", arguments: [name]
            ).map(DiskRecord.init(row:))
        }
    }

    /// The disks among the logical units with `keys`, in no order. The cost grows with the number of keys only.
    public func disks(keys: some Collection<Int64>) throws(CatalogError) -> [DiskRecord] {
        try read { database in
            let statement = try database.makeStatement(
                sql: "SELECT * FROM disk JOIN logicalUnit USING (id) WHERE id = ?")
            return try keys.compactMap { key in
                try Row.fetchOne(statement, arguments: [key]).map(DiskRecord.init(row:))
            }
        }
    }

    /// Sets the capacity of the disk `name` in bytes, and records `event` with it.
    public func setSize(_ size: Int64, ofDisk name: String, event: NewEvent? = nil) throws(CatalogError) {
        try write(event) { database in
            try database.execute(sql: "UPDATE disk SET size = ? WHERE name = ?", arguments: [size, name])
            guard database.changesCount == 1 else { throw CatalogError.conflict("there is no disk '\(name)'") }
        }
    }

    /// Removes the disk `name`, its identity and its target.
    public func removeDisk(named name: String) throws(CatalogError) {
        try remove { database in
            try Self.removeLogicalUnits(
                matching: "id = (SELECT id FROM disk WHERE name = ?)", arguments: [name], in: database)
        }
    }
}

extension DiskRecord {
    init(row: Row) {
        self.init(
            identity: LogicalUnitIdentity(row: row), name: row["name"], image: row["image"],
            imageIsExternal: row["imageIsExternal"], size: row["size"], blockSize: row["blockSize"],
            created: Date(row["created"]), phase: RecordPhase(row: row))
    }
}
