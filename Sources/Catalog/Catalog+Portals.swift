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
            let present = try Row.fetchAll(database, sql: "SELECT address, port FROM portal")
            for row in present {
                let (address, port): (String, Int) = (row["address"], row["port"])
                guard !portals.contains(where: { $0.address == address && $0.port == port }) else { continue }
                try database.execute(
                    sql: "DELETE FROM portal WHERE address = ? AND port = ?", arguments: [address, port])
            }
            // Those that stay as they are keep their generations.
            for portal in portals {
                try database.execute(
                    sql: """
                        INSERT INTO portal (address, port, portalGroupTag) VALUES (?, ?, ?)
                        ON CONFLICT (address, port) DO UPDATE SET portalGroupTag = excluded.portalGroupTag
                        """,
                    arguments: [portal.address, portal.port, portal.portalGroupTag])
            }
        }
        if takesAway { try remove(events, transaction) } else { try write(events, transaction) }
    }

    /// The generations of the portals that are served.
    public func portalGenerations() throws(CatalogError) -> [PortalRecord: Int64] {
        try read { database in
            let portals = try Row.fetchAll(database, sql: "SELECT * FROM portal").map {
                (
                    PortalRecord(address: $0["address"], port: $0["port"], portalGroupTag: $0["portalGroupTag"]),
                    StoredGeneration.of($0)
                )
            }
            return Dictionary(uniqueKeysWithValues: portals)
        }
    }
}
