import GRDB

/// The iSNS server that the daemon registers with.
public struct NameServerRecord: Hashable, Sendable {
    /// A name or an address.
    public var host: String
    /// The TCP port.
    public var port: Int
    /// Whether discovery domains decide who gets in.
    public var controlsAccess: Bool
    /// What names this daemon there; the same for as long as the record exists.
    public var entityIdentifier: String

    public init(host: String, port: Int, controlsAccess: Bool, entityIdentifier: String) {
        self.host = host
        self.port = port
        self.controlsAccess = controlsAccess
        self.entityIdentifier = entityIdentifier
    }
}

extension Catalog {
    /// The iSNS server, if there is one.
    public func nameServer() throws(CatalogError) -> NameServerRecord? {
        try read { database in
            try Row.fetchOne(database, sql: "SELECT * FROM nameServer").map {
                NameServerRecord(
                    host: $0["host"], port: $0["port"], controlsAccess: $0["controlsAccess"],
                    entityIdentifier: $0["entityIdentifier"])
            }
        }
    }

    /// The generation of the iSNS server, if there is one.
    public func nameServerGeneration() throws(CatalogError) -> Int64? {
        try read { try Row.fetchOne($0, sql: "SELECT * FROM nameServer").map(StoredGeneration.of) }
    }

    /// Remembers the iSNS server, nil for none, and records `events` with it.
    public func setNameServer(_ server: NameServerRecord?, events: [NewEvent] = []) throws(CatalogError) {
        try write(events) { database in
            try database.execute(sql: "DELETE FROM nameServer")
            guard let server else { return }
            try database.execute(
                sql: """
                    INSERT INTO nameServer (id, host, port, controlsAccess, entityIdentifier) VALUES (1, ?, ?, ?, ?)
                    """,
                arguments: [server.host, server.port, server.controlsAccess, server.entityIdentifier])
        }
    }
}

extension Schema {
    /// Version 3: the iSNS server.
    static func addNameServer(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE nameServer (
                    id INTEGER PRIMARY KEY CHECK (id = 1),
                    host TEXT NOT NULL CHECK (length(host) > 0),
                    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
                    controlsAccess INTEGER NOT NULL CHECK (controlsAccess IN (0, 1)),
                    entityIdentifier TEXT NOT NULL CHECK (length(entityIdentifier) BETWEEN 4 AND 255)
                ) STRICT;
                """)
    }
}
