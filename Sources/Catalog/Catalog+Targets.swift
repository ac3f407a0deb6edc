import GRDB

extension Catalog {
    /// The targets, by name.
    public func targets() throws(CatalogError) -> [TargetRecord] {
        try read { database in
            var units: [Int64: [Int: Int64]] = [:]
            for row in try Row.fetchAll(database, sql: "SELECT * FROM logicalUnitMapping") {
                units[row["target"], default: [:]][row["logicalUnitNumber"]] = row["logicalUnit"]
            }
            return try Row.fetchAll(database, sql: "SELECT * FROM target ORDER BY name").map { row in
                TargetRecord(name: row["name"], logicalUnits: units[row["id"]] ?? [:])
            }
        }
    }

    /// The portals that were served last, as pairs of address and port.
    public func portals() throws(CatalogError) -> [(address: String, port: Int)] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM portal ORDER BY address, port").map {
                (address: $0["address"], port: $0["port"])
            }
        }
    }

    /// Remembers `portals` instead of those before.
    public func setPortals(_ portals: [(address: String, port: Int)]) throws(CatalogError) {
        try write { database in
            try database.execute(sql: "DELETE FROM portal")
            for portal in portals {
                try database.execute(
                    sql: "INSERT INTO portal (address, port) VALUES (?, ?)", arguments: [portal.address, portal.port])
            }
        }
    }

    /// Adds the target `name` with `logicalUnits` from logical unit number 0 on.
    static func addTarget(_ name: String, logicalUnits: [Int64], in database: Database) throws {
        try database.execute(sql: "INSERT INTO target (name) VALUES (?)", arguments: [name])
        let target = database.lastInsertedRowID
        for (number, unit) in logicalUnits.enumerated() {
            try database.execute(
                sql: "INSERT INTO logicalUnitMapping (target, logicalUnitNumber, logicalUnit) VALUES (?, ?, ?)",
                arguments: [target, number, unit])
        }
    }

    /// Removes the logical units that `condition` selects, what hangs on them, and targets left without any.
    static func removeLogicalUnits(
        matching condition: String, arguments: StatementArguments, in database: Database
    ) throws {
        try database.execute(sql: "DELETE FROM logicalUnit WHERE \(condition)", arguments: arguments)
        guard database.changesCount > 0 else { throw CatalogError.conflict("there is nothing of that name") }
        try database.execute(
            sql: "DELETE FROM target WHERE id NOT IN (SELECT target FROM logicalUnitMapping)")
    }
}
