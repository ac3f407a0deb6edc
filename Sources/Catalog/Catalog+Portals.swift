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

    /// Remembers `portals` instead of those before.
    public func setPortals(_ portals: [PortalRecord]) throws(CatalogError) {
        try write { database in
            try database.execute(sql: "DELETE FROM portal")
            for portal in portals {
                try database.execute(
                    sql: "INSERT INTO portal (address, port, portalGroupTag) VALUES (?, ?, ?)",
                    arguments: [portal.address, portal.port, portal.portalGroupTag])
            }
        }
    }
}
