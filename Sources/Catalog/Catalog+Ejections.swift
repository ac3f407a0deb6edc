import GRDB

extension Schema {
    /// Version 12: the media of removable disks that are ejected.
    static func addEjections(_ database: Database) throws {
        try database.execute(
            sql: """
                -- A disk whose medium is ejected, which it stays over restarts.
                CREATE TABLE ejectedDisk (
                    id INTEGER PRIMARY KEY REFERENCES diskImage ON DELETE CASCADE
                ) STRICT;
                """)
    }
}

extension Catalog {
    /// Says whether the medium of the disk with the key `disk` is ejected, and records `event` with it.
    public func setEjected(_ isEjected: Bool, disk: Int64, event: NewEvent? = nil) throws(CatalogError) {
        try write(event) { database in
            guard isEjected else {
                return try database.execute(sql: "DELETE FROM ejectedDisk WHERE id = ?", arguments: [disk])
            }
            try database.execute(sql: "INSERT OR IGNORE INTO ejectedDisk (id) VALUES (?)", arguments: [disk])
        }
    }
}
