import Foundation
import GRDB

/// A look at a catalog that no daemon has open; nothing is changed.
public struct CatalogInspection: Sendable {
    /// What SQLite finds wrong with the file, one sentence each.
    public let damage: [String]
    /// The portals that are remembered.
    public let portals: [PortalRecord]

    /// Looks at the catalog at `path`.
    ///
    /// - Throws: `CatalogError` as opening it does.
    public init(path: String) throws(CatalogError) {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            let version = try queue.read { try Int.fetchOne($0, sql: "PRAGMA user_version") ?? 0 }
            guard version <= Schema.version else {
                throw CatalogError.newerVersion(found: version, supported: Schema.version)
            }
            (damage, portals) = try queue.read { database in
                (
                    try String.fetchAll(database, sql: "PRAGMA quick_check(10)").filter { $0 != "ok" },
                    try Row.fetchAll(database, sql: "SELECT * FROM portal ORDER BY address, port").map {
                        PortalRecord(address: $0["address"], port: $0["port"], portalGroupTag: $0["portalGroupTag"])
                    }
                )
            }
        } catch let error as CatalogError {
            throw error
        } catch let error as DatabaseError {
            throw .failed(error.message ?? "SQLite error \(error.resultCode.rawValue)")
        } catch {
            throw .failed("\(error)")
        }
    }
}
