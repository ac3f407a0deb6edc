import Foundation
import GRDB

/// The open catalog of a state folder.
public final class Catalog: Sendable {
    /// How many lines of move history are kept; the oldest go first.
    public static let moveHistoryLimit = 100_000

    private let queue: DatabaseQueue

    /// Opens the catalog at `path`, making it if there is none and migrating an older one.
    ///
    /// - Throws: `CatalogError.newerVersion` or `.notACatalog` without having changed anything.
    public init(path: String) throws(CatalogError) {
        var configuration = Configuration()
        configuration.label = "catalog"
        configuration.prepareDatabase { database in
            // EXTRA: also the removal of the journal is durable, so a committed move survives a power loss.
            try database.execute(sql: "PRAGMA synchronous = EXTRA")
        }
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try Self.migrate(queue)
        } catch let error as CatalogError {
            throw error
        } catch let error as DatabaseError where error.resultCode == .SQLITE_NOTADB {
            throw .notACatalog
        } catch {
            throw Self.translated(error)
        }
    }

    /// Brings the schema to `Schema.version`, one transaction a step.
    private static func migrate(_ queue: DatabaseQueue) throws {
        let (found, application, isEmpty) = try queue.read { database in
            (
                try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0,
                try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0,
                try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0
            )
        }
        guard isEmpty || application == Schema.applicationID else { throw CatalogError.notACatalog }
        guard found <= Schema.version else {
            throw CatalogError.newerVersion(found: found, supported: Schema.version)
        }
        for step in found..<Schema.version {
            try queue.write { database in
                try Schema.migrations[step](database)
                try database.execute(sql: "PRAGMA application_id = \(Schema.applicationID)")
                try database.execute(sql: "PRAGMA user_version = \(step + 1)")
            }
        }
    }

    /// Closes the file; nothing may be called afterwards.
    public func close() throws(CatalogError) {
        do { try queue.close() } catch { throw Self.translated(error) }
    }

    // MARK: For the extensions by topic

    func read<Value>(_ body: (Database) throws -> Value) throws(CatalogError) -> Value {
        do { return try queue.read(body) } catch { throw Self.translated(error) }
    }

    /// One transaction: all of `body` or nothing.
    func write<Value>(_ body: (Database) throws -> Value) throws(CatalogError) -> Value {
        do { return try queue.write(body) } catch { throw Self.translated(error) }
    }

    private static func translated(_ error: any Error) -> CatalogError {
        switch error {
        case let error as CatalogError: error
        case let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT:
            .conflict(error.message ?? "a constraint of the catalog")
        case let error as DatabaseError: .failed(error.message ?? "SQLite error \(error.resultCode.rawValue)")
        default: .failed(String(describing: error))
        }
    }
}
