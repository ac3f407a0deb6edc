import Foundation
import GRDB
import Platform

/// The open catalog of a state folder.
public final class Catalog: Sendable {
    /// How many lines of move history are kept; the oldest go first.
    public static let moveHistoryLimit = 100_000

    /// How many rows a transaction adds or removes at most where there are thousands: so long the others wait, moves of
    /// initiators among them.
    static let rowsAtOnce = 512

    /// How many read at the same time; more wait for one of them.
    static let maximumReaders = 16

    /// How many bytes of the write-ahead log stay allocated: what a deletion needs is there when the file system is
    /// full.
    static let logReserve = 256 << 10

    /// What the catalog asks of its owner.
    public struct Hooks: Sendable {
        /// Called at the end of each transaction that changes something; when it throws, nothing is changed.
        public var willCommit: (@Sendable () throws(CatalogError) -> Void)?
        /// Called after each transaction that was committed, on the thread that has made it.
        public var didCommit: (@Sendable () -> Void)?
        /// Called before an empty or new file becomes a catalog; when it throws, it does not.
        public var willCreate: (@Sendable () throws(CatalogError) -> Void)?
        /// Called when the file system is full and something is to be removed, or the catalog to be opened. When it can
        /// make room it does, calls what it is given, which tries again, and keeps the room free until that returns.
        public var makeRoom: (@Sendable (_ attempt: () -> Void) -> Void)?
        /// Called after each transaction with the events that it has recorded, in the order of their numbers; must be
        /// quick, and not call the catalog.
        public var didRecord: (@Sendable ([EventRecord]) -> Void)?

        public init(
            willCommit: (@Sendable () throws(CatalogError) -> Void)? = nil,
            didCommit: (@Sendable () -> Void)? = nil,
            willCreate: (@Sendable () throws(CatalogError) -> Void)? = nil,
            makeRoom: (@Sendable (_ attempt: () -> Void) -> Void)? = nil,
            didRecord: (@Sendable ([EventRecord]) -> Void)? = nil
        ) {
            self.willCommit = willCommit
            self.didCommit = didCommit
            self.willCreate = willCreate
            self.makeRoom = makeRoom
            self.didRecord = didRecord
        }
    }

    private let pool: DatabasePool
    private let path: String
    private let place: CatalogPlace
    let hooks: Hooks
    private let changes = CatalogChanges()

    // What is asked for again and again, and takes long where there is much.
    let rememberedCounts = Remembered<(disks: Int, libraries: Int, cartridges: Int)>()
    let rememberedPlaces = Remembered<Set<AuthenticationPlace>>()
    let rememberedOpenTargets = Remembered<[ExposedTarget]>()
    let rememberedReservedUnits = Remembered<Set<Int64>>()
    let rememberedAccessStates = Remembered<[Int64: [KeptAccessState]]>()
    let rememberedParameterUnits = Remembered<Set<Int64>>()

    /// Opens the catalog at `path`, making it if there is none and migrating an older one.
    ///
    /// - Throws: `CatalogError.newerVersion`, `.notACatalog`, `.damaged` or what the hook `willCreate` throws, without
    ///   having changed anything.
    public init(path: String, hooks: Hooks = Hooks()) throws(CatalogError) {
        self.hooks = hooks
        self.path = path
        do {
            pool = try Self.retryingWhenFull(hooks.makeRoom) { try Self.open(path, hooks.willCreate) }
        } catch {
            throw Self.translated(error)
        }
        place = CatalogPlace(ofCatalogAt: path)
    }

    private static func open(
        _ path: String, _ willCreate: (@Sendable () throws(CatalogError) -> Void)?
    ) throws -> DatabasePool {
        var configuration = Configuration()
        configuration.label = "catalog"
        configuration.maximumReaderCount = maximumReaders
        configuration.prepareDatabase { database in
            // Temporary files could find the file system full as well.
            try database.execute(sql: "PRAGMA temp_store = MEMORY")
            guard !database.configuration.readonly else { return }
            // The log is brought into the database as soon as it fills its reserve, and used again from its beginning.
            let pages = logReserve / 4096 - 16
            try database.execute(
                sql: "PRAGMA wal_autocheckpoint = \(pages); PRAGMA journal_size_limit = \(logReserve)")
        }
        // First by one connection, which changes nothing before it knows what the file is.
        let isNew = (try? FileStatus.of(path, followsLinks: false)) == nil
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        do {
            try migrate(queue, willCreate)
            let mode = try queue.writeWithoutTransaction { try String.fetchOne($0, sql: "PRAGMA journal_mode = WAL") }
            guard mode == "wal" else { throw CatalogError.failed("its file system has no shared memory for SQLite") }
            try queue.close()
        } catch {
            try? queue.close()
            // Where no catalog may begin, none is left: not even an empty one.
            if isNew, (try? FileStatus.of(path, followsLinks: false))?.length == 0 { try? File.remove(path) }
            throw error
        }
        reserveLog(ofCatalogAt: path)
        let pool = try DatabasePool(path: path, configuration: configuration)
        // A transaction that has ended survives a power loss. The pool has chosen less when it was made.
        try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = EXTRA") }
        return pool
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

    /// Makes the write-ahead log of the catalog at `path` as long as it is to stay; nobody has it open.
    ///
    /// Where the file system has no room for it now, the next opening tries again.
    private static func reserveLog(ofCatalogAt path: String) {
        let log = path + "-wal"
        if !FileManager.default.fileExists(atPath: log) {
            _ = FileManager.default.createFile(atPath: log, contents: nil, attributes: [.posixPermissions: 0o600])
        }
        guard let file = FileHandle(forUpdatingAtPath: log), let length = try? file.seekToEnd(), length < logReserve
        else { return }
        // Zeros behind the end change nothing: SQLite reads no further than to the first frame that is not of this log.
        try? file.write(contentsOf: Data(count: logReserve - Int(length)))
        try? file.synchronize()
    }

    /// Whether the files are where they were when they were opened. When they are not, no transaction is committed.
    public var isInPlace: Bool { place.isKept }

    /// Closes the file, which has everything that was in the log then, and the log is removed: one that stayed would be
    /// taken for that of a copy that somebody puts in the place of the file. Nothing may be called afterwards.
    public func close() throws(CatalogError) {
        do {
            // The log holds on to what does not fit the file now.
            _ = try? pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
            try pool.close()
            // SQLite removes the log with the last connection, unless somebody else has the file open; the last one of
            // the pool could only read. What does not work here does no harm: the log is empty.
            guard isInPlace, let last = try? DatabaseQueue(path: path) else { return }
            _ = try? last.read { try Int.fetchOne($0, sql: "PRAGMA user_version") }
            try? last.close()
        } catch {
            throw Self.translated(error)
        }
    }

    /// Copies the catalog as the last transaction left it to a file at `path`, where nothing is, or an empty one;
    /// durable on return.
    public func copy(to path: String) throws(CatalogError) {
        do {
            // VACUUM cannot run in a transaction; who changes something waits for it, who reads does not.
            try pool.writeWithoutTransaction { try $0.execute(sql: "VACUUM INTO ?", arguments: [path]) }
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            try file.synchronize()
            try file.close()
        } catch {
            throw Self.translated(error)
        }
    }

    // MARK: For the extensions by topic

    /// The catalog as the last transaction left it; does not wait for the one that is under way.
    func read<Value>(_ body: (Database) throws -> Value) throws(CatalogError) -> Value {
        do { return try pool.read(body) } catch { throw Self.translated(error) }
    }

    /// The same, without looking again when it is in `memory` and nothing has changed since.
    func read<Value>(
        _ memory: Remembered<Value>, _ body: (Database) throws -> Value
    ) throws(CatalogError) -> Value {
        let count = changes.count
        if let count, let value = memory.value(after: count) { return value }
        let value = try read(body)
        if let count { memory.set(value, after: count) }
        return value
    }

    /// One transaction: all of `body`, with `event`, or nothing.
    func write<Value>(
        _ event: NewEvent? = nil, _ body: (Database) throws -> Value
    ) throws(CatalogError) -> Value {
        try write(event.map { [$0] } ?? [], body)
    }

    /// The same with all of `events`.
    func write<Value>(
        _ events: [NewEvent], _ body: (Database) throws -> Value
    ) throws(CatalogError) -> Value {
        do { return try transaction(events, body) } catch { throw Self.translated(error) }
    }

    /// One transaction that removes something, or leads to that. It is not to fail because the file system is full:
    /// then room is made, and if that does not help, `event` is left out.
    func remove<Value>(
        _ event: NewEvent? = nil, _ body: (Database) throws -> Value
    ) throws(CatalogError) -> Value {
        try remove(event.map { [$0] } ?? [], body)
    }

    /// The same with all of `events`, or none of them.
    func remove<Value>(
        _ events: [NewEvent], _ body: (Database) throws -> Value
    ) throws(CatalogError) -> Value {
        do {
            return try Self.retryingWhenFull(hooks.makeRoom) { try transaction(events, body) }
        } catch let error where !events.isEmpty && Self.isFull(error) {
            return try write([], body)
        } catch {
            throw Self.translated(error)
        }
    }

    private func transaction<Value>(_ events: [NewEvent], _ body: (Database) throws -> Value) throws -> Value {
        let value = try changes.during {
            try pool.write { database in
                let value = try body(database)
                for event in events { try record(event, in: database) }
                try hooks.willCommit?()
                guard place.isKept else { throw CatalogError.displaced }
                return value
            }
        }
        hooks.didCommit?()
        return value
    }

    private static func retryingWhenFull<Value>(
        _ makeRoom: (@Sendable (_ attempt: () -> Void) -> Void)?, _ body: () throws -> Value
    ) throws -> Value {
        do {
            return try body()
        } catch let error where isFull(error) {
            var second: Result<Value, any Error>?
            makeRoom? { second = Result { try body() } }
            guard let second else { throw error }
            return try second.get()
        }
    }

    /// Whether the file system has no room. SQLite says so by other words where it needs the shared memory.
    private static func isFull(_ error: any Error) -> Bool {
        if case CatalogError.full = error { return true }
        guard let error = error as? DatabaseError else { return false }
        return switch error.resultCode {
        case .SQLITE_FULL, .SQLITE_IOERR, .SQLITE_CANTOPEN: true
        default: false
        }
    }

    private static func translated(_ error: any Error) -> CatalogError {
        switch error {
        case let error as CatalogError: error
        case let error as DatabaseError where error.resultCode == .SQLITE_NOTADB: .notACatalog
        case let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT:
            .damaged(error.message ?? "SQLite finds it corrupt")
        case let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT:
            .conflict(error.message ?? "a constraint of the catalog")
        case let error as DatabaseError where error.resultCode == .SQLITE_FULL:
            .full(error.message ?? "the file system is full")
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
