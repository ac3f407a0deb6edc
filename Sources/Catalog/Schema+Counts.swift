import GRDB

extension Schema {
    /// Version 9: how many devices of each kind there are. SQLite counts by going through an index, which takes
    /// milliseconds where there are 100,000, and the state of the daemon is asked for again and again.
    static func addCounts(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE deviceCount (
                    tableName TEXT PRIMARY KEY,
                    number INTEGER NOT NULL CHECK (number >= 0)
                ) STRICT, WITHOUT ROWID;
                """)
        for table in countedTables {
            try database.execute(
                sql: "INSERT INTO deviceCount (tableName, number) SELECT '\(table)', count(*) FROM \(table);")
            try countRows(of: table, database)
        }
    }

    /// Has the number of rows of `table` follow what comes and goes.
    static func countRows(of table: String, _ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TRIGGER \(table)CountedIn AFTER INSERT ON \(table) BEGIN
                    UPDATE deviceCount SET number = number + 1 WHERE tableName = '\(table)';
                END;
                CREATE TRIGGER \(table)CountedOut AFTER DELETE ON \(table) BEGIN
                    UPDATE deviceCount SET number = number - 1 WHERE tableName = '\(table)';
                END;
                """)
    }

    private static let countedTables = ["diskImage", "library", "cartridge"]
}

extension Catalog {
    /// How many disks, libraries and cartridges there are.
    public func deviceCounts() throws(CatalogError) -> (disks: Int, libraries: Int, cartridges: Int) {
        try read(rememberedCounts) { database in
            func count(_ table: String) throws -> Int {
                try Int.fetchOne(
                    database, sql: "SELECT number FROM deviceCount WHERE tableName = ?", arguments: [table]) ?? 0
            }
            return (try count("diskImage"), try count("library"), try count("cartridge"))
        }
    }
}
