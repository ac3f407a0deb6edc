import Foundation
import GRDB

/// The open catalog of a state folder.
public final class Catalog: Sendable {
    /// How many lines of move history are kept; the oldest go first.
    public static let moveHistoryLimit = 100_000

    /// How many bytes of the rollback journal stay allocated between transactions, zeros then: what a deletion needs is
    /// there when the file system is full.
    static let journalReserve = 256 << 10

    private let queue: DatabaseQueue
    private let willCommit: (@Sendable () throws(CatalogError) -> Void)?

    /// Opens the catalog at `path`, making it if there is none and migrating an older one.
    ///
    /// - Parameters:
    ///   - path: Where the file is.
    ///   - willCommit: Called at the end of each transaction that changes something; when it throws, nothing is
    ///     changed.
    ///   - willCreate: Called before an empty or new file becomes a catalog; when it throws, it does not.
    /// - Throws: `CatalogError.newerVersion`, `.notACatalog`, `.damaged` or what `willCreate` throws, without having
    ///   changed anything.
    public init(
        path: String, willCommit: (@Sendable () throws(CatalogError) -> Void)? = nil,
        willCreate: (() throws(CatalogError) -> Void)? = nil
    ) throws(CatalogError) {
        self.willCommit = willCommit
        var configuration = Configuration()
        configuration.label = "catalog"
        configuration.prepareDatabase { database in
            // The end of the journal is durable, so a committed move survives a power loss: PERSIST ends it by zeros at
            // its beginning, which are synchronised, and keeps the storage that it has.
            try database.execute(
                sql: """
                    PRAGMA synchronous = EXTRA;
                    PRAGMA journal_mode = PERSIST;
                    PRAGMA journal_size_limit = \(Self.journalReserve);
                    """)
        }
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try Self.migrate(queue, willCreate)
            Self.reserveJournal(ofCatalogAt: path)
        } catch let error as CatalogError {
            throw error
        } catch let error as DatabaseError where error.resultCode == .SQLITE_NOTADB {
            throw .notACatalog
        } catch {
            throw Self.translated(error)
        }
    }

    /// Brings the schema to `Schema.version`, one transaction a step.
    private static func migrate(_ queue: DatabaseQueue, _ willCreate: (() throws(CatalogError) -> Void)?) throws {
        let (found, application, isEmpty) = try queue.read { database in
            (
                try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0,
                try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0,
                try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0
            )
        }
        guard isEmpty || application == Schema.applicationID else { throw CatalogError.notACatalog }
        if isEmpty { try willCreate?() }
        guard found <= Schema.version else {
            throw CatalogError.newerVersion(found: found, supported: Schema.version)
        }
        // What the schema promises is believed from here on, so a file that breaks it is not used at all.
        let finding = try queue.read { try String.fetchOne($0, sql: "PRAGMA quick_check(1)") }
        if let finding, finding != "ok" { throw CatalogError.damaged(finding) }
        for step in found..<Schema.version {
            try queue.write { database in
                try Schema.migrations[step](database)
                try database.execute(sql: "PRAGMA application_id = \(Schema.applicationID)")
                try database.execute(sql: "PRAGMA user_version = \(step + 1)")
            }
        }
    }

    /// Makes the journal of the catalog at `path` as long as it is to stay; no transaction is under way.
    ///
    /// Where the file system has no room for it now, the next opening tries again.
    private static func reserveJournal(ofCatalogAt path: String) {
        let journal = path + "-journal"
        if !FileManager.default.fileExists(atPath: journal) {
            _ = FileManager.default.createFile(
                atPath: journal, contents: nil, attributes: [.posixPermissions: 0o600])
        }
        guard let file = FileHandle(forUpdatingAtPath: journal), let length = try? file.seekToEnd(),
            length < journalReserve
        else { return }
        // Zeros behind the end change nothing: SQLite reads no further than the header says, and an empty one says
        // nothing.
        try? file.write(contentsOf: Data(count: journalReserve - Int(length)))
        try? file.synchronize()
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
        do {
            return try queue.write { database in
                let value = try body(database)
                try willCommit?()
                return value
            }
        } catch { throw Self.translated(error) }
    }

    private static func translated(_ error: any Error) -> CatalogError {
        switch error {
        case let error as CatalogError: error
        case let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT:
            .damaged(error.message ?? "SQLite finds it corrupt")
        case let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT:
            .conflict(error.message ?? "a constraint of the catalog")
        case let error as DatabaseError: .failed(error.message ?? "SQLite error \(error.resultCode.rawValue)")
        default: .failed(String(describing: error))
        }
    }
}

extension Date {
    /// The time in a column; 1970 when the text there is no time, for it is only shown.
    init(_ value: DatabaseValue) {
        self = Date.fromDatabaseValue(value) ?? Date(timeIntervalSince1970: 0)
    }
}
