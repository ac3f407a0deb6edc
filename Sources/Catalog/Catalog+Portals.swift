import GRDB

extension Catalog {
    /// The portals that are served, by address and port.
    public func portals() throws(CatalogError) -> [PortalRecord] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM portal ORDER BY address, port").map {
                PortalRecord(address: $0["address"], port: $0["port"], portalGroupTag: $0["portalGroupTag"])
            }
        }
    }

    /// Remembers `portals` instead of those before, and records `events` with it; with `takesAway`, when none is new,
    /// on a full file system too.
    public func setPortals(
        _ portals: [PortalRecord], events: [NewEvent] = [], takesAway: Bool = false
    ) throws(CatalogError) {
        let transaction: (Database) throws -> Void = { database in
            try database.execute(sql: "DELETE FROM portal")
            for portal in portals {
                try database.execute(
                    sql: "INSERT INTO portal (address, port, portalGroupTag) VALUES (?, ?, ?)",
                    arguments: [portal.address, portal.port, portal.portalGroupTag])
            }
        }
        if takesAway { try remove(events, transaction) } else { try write(events, transaction) }
    }
}
