internal import Foundation
internal import GRDB
internal import Platform

/// `index.sqlite` of a cartridge: where its objects are, and what changes besides its data.
///
/// It may be behind the data file, never ahead of what is durable there; `epoch` says what it was right for.
final class CartridgeIndex: Sendable {
    /// The schema that this source code writes.
    static let schemaVersion = 1

    /// Why an index cannot be used.
    enum OpenError: Error {
        case newerVersion
        /// The file is damaged or something else than a database.
        case notADatabase(String)
        /// The host's file system is full.
        case hostFull
        /// The host's storage failed: one clause, with what to do. The file may be in order.
        case storageFailed(String)
        /// The host refuses otherwise: one clause, with what to do. The file may be in order.
        case hostFailed(String)
        /// SQLite cannot do with the file what an index is for.
        case unusable(String)

        /// A value that this source code never writes.
        static var outOfRange: Self { .notADatabase("a value is out of range") }

        init(_ error: any Error) {
            if let error = error as? OpenError {
                self = error
                return
            }
            switch (error as? DatabaseError)?.resultCode {
            case .SQLITE_NOTADB, .SQLITE_CORRUPT: self = .notADatabase("\(error)")
            case .SQLITE_FULL: self = .hostFull
            case .SQLITE_READONLY: self = .hostFailed("the host lets it only be read; make it writable")
            case .SQLITE_IOERR: self = .storageFailed("the host's storage has failed (\(error)); mend it")
            case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
                self = .hostFailed("the host does not let it be opened; see who may write to its folder")
            case .SQLITE_NOMEM: self = .hostFailed("the host has no memory for it")
            case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_PROTOCOL:
                self = .hostFailed("another process has it open; end that")
            default: self = .unusable("\(error)")
            }
        }

        /// The error of a database at `path`. SQLite maps memory of a file that it has made long enough, and says that
        /// input or output has failed, or that it cannot open, when there is no room for that; so the host is asked.
        init(_ error: any Error, path: String) {
            self.init(error)
            guard [.SQLITE_IOERR, .SQLITE_CANTOPEN].contains((error as? DatabaseError)?.resultCode) else { return }
            let folder = try? File.open(path: FilePath.directory(of: path), .directory)
            if let free = try? folder?.freeSpace(), free < Self.leastSpace { self = .hostFull }
        }

        /// What SQLite needs beside an index to open it: a page of its log and the index of that.
        private static let leastSpace: Int64 = 64 << 10

        /// Why the cartridge with the index at `path` cannot be opened.
        func cartridgeError(path: String) -> CartridgeError {
            switch self {
            case .newerVersion: .newerVersion(path: path)
            case .notADatabase(let reason), .unusable(let reason): .damaged(path: path, reason: reason)
            case .hostFull: .unavailable(path: path, reason: "the host's file system is full; make room there")
            case .storageFailed(let reason), .hostFailed(let reason): .unavailable(path: path, reason: reason)
            }
        }
    }

    /// What an index holds.
    struct Contents: Equatable, Sendable {
        var uuid: [UInt8]
        var epoch: UInt32
        var extents: [ExtentRow]
        var settings: CartridgeSettings
    }

    /// One run of objects as the index keeps it.
    struct ExtentRow: Equatable, Sendable {
        let kind: TapeObjectKind
        let blockLength: UInt32
        let storedLength: UInt32
        let firstObject: UInt64
        let count: UInt64
        let fileOffset: Int64

        init(_ extent: Extent) {
            kind = extent.kind
            blockLength = extent.blockLength
            storedLength = extent.storedLength
            firstObject = extent.firstObject
            count = extent.count
            fileOffset = extent.fileOffset
        }

        init(_ row: Row) throws {
            guard let kind = TapeObjectKind(rawValue: try CartridgeIndex.integer(row, 0)) else {
                throw OpenError.outOfRange
            }
            self.kind = kind
            blockLength = try CartridgeIndex.integer(row, 1)
            storedLength = try CartridgeIndex.integer(row, 2)
            firstObject = try CartridgeIndex.integer(row, 3)
            count = try CartridgeIndex.integer(row, 4)
            fileOffset = try CartridgeIndex.integer(row, 5)
        }
    }

    let database: DatabaseQueue

    private init(_ database: DatabaseQueue) {
        self.database = database
    }

    private static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "cartridge index"
        // Ordered but not synchronised at each commit: the data file can always make up for lost rows.
        configuration.journalMode = .wal
        configuration.busyMode = .timeout(5)
        return configuration
    }

    /// Opens or makes the index at `path`; nil means in memory.
    static func open(path: String?) throws(OpenError) -> CartridgeIndex {
        do {
            let database = try path.map { try DatabaseQueue(path: $0, configuration: configuration) } ?? DatabaseQueue()
            try prepare(database)
            return CartridgeIndex(database)
        } catch {
            throw path.map { OpenError(error, path: $0) } ?? OpenError(error)
        }
    }

    /// Opens the index at `path`, which is there, to read it. The file stays as it is, bytes and times, unless a
    /// process that was killed has left a log, which SQLite then writes to it.
    static func openToRead(path: String) throws(OpenError) -> CartridgeIndex {
        do {
            var configuration = configuration
            // To have the log be there writes to the database; without one, SQLite makes it while it reads.
            configuration.journalMode = .default
            let database = try DatabaseQueue(path: path, configuration: configuration)
            let version = try database.read { try Int.fetchOne($0, sql: "PRAGMA user_version") ?? 0 }
            if version > schemaVersion { throw OpenError.newerVersion }
            if version == 0 { throw OpenError.notADatabase("it is empty") }
            return CartridgeIndex(database)
        } catch {
            throw OpenError(error, path: path)
        }
    }

    /// Takes over a database that is open already.
    static func adopt(_ database: DatabaseQueue) throws(OpenError) -> CartridgeIndex {
        do {
            try prepare(database)
        } catch {
            throw OpenError(error)
        }
        return CartridgeIndex(database)
    }

    private static func prepare(_ database: DatabaseQueue) throws {
        try database.write { database in
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if version > schemaVersion { throw OpenError.newerVersion }
            if version == 0 { try database.execute(sql: schema) }
        }
    }

    private static let schema = """
        CREATE TABLE cartridge (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            uuid BLOB NOT NULL,
            epoch INTEGER NOT NULL,
            is_write_protected INTEGER NOT NULL DEFAULT 0,
            load_count INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE extent (
            partition INTEGER NOT NULL,
            first_object INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            count INTEGER NOT NULL,
            block_length INTEGER NOT NULL,
            stored_length INTEGER NOT NULL,
            file_offset INTEGER NOT NULL,
            PRIMARY KEY (partition, first_object)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE attribute (
            partition INTEGER NOT NULL,
            identifier INTEGER NOT NULL,
            format INTEGER NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (partition, identifier)
        ) STRICT, WITHOUT ROWID;
        PRAGMA user_version = \(schemaVersion);
        """

    // MARK: Reading

    /// What changes besides data; the defaults when the index is empty.
    func settings() throws(OpenError) -> CartridgeSettings {
        do {
            return try database.read { try Self.settings($0) } ?? CartridgeSettings()
        } catch {
            throw OpenError(error)
        }
    }

    /// All of the index, or nil when it is empty.
    func contents(partition: UInt32) throws(OpenError) -> Contents? {
        do {
            return try database.read { try Self.contents($0, partition: partition) }
        } catch {
            throw OpenError(error)
        }
    }

    /// A number of a row. Whatever a foreign file holds there is a value with an error.
    fileprivate static func integer<Number: FixedWidthInteger>(_ row: Row, _ column: Int) throws -> Number {
        let value: DatabaseValue = row[column]
        guard let wide = Int64.fromDatabaseValue(value), let number = Number(exactly: wide) else {
            throw OpenError.outOfRange
        }
        return number
    }

    private static func bytes(_ row: Row, _ column: Int) throws -> [UInt8] {
        let value: DatabaseValue = row[column]
        guard let data = Data.fromDatabaseValue(value) else { throw OpenError.outOfRange }
        return Array(data)
    }

    private static func settings(_ database: Database) throws -> CartridgeSettings? {
        guard
            let head = try Row.fetchOne(database, sql: "SELECT is_write_protected, load_count FROM cartridge")
        else { return nil }
        let tab: Int64 = try integer(head, 0)
        var settings = CartridgeSettings(isWriteProtected: tab != 0, loadCount: try integer(head, 1))
        let cursor = try Row.fetchCursor(
            database,
            sql: """
                SELECT partition, identifier, format, CASE WHEN length(value) <= ? THEN value END FROM attribute
                """, arguments: [MediumAttribute.maximumLength])
        while let row = try cursor.next() {
            let key = CartridgeSettings.AttributeKey(partition: try integer(row, 0), identifier: try integer(row, 1))
            let value = try bytes(row, 3)
            // In a foreign table it may be text, whose length SQLite counts in characters.
            guard let format = MediumAttribute.Format(rawValue: try integer(row, 2)), !value.isEmpty,
                value.count <= MediumAttribute.maximumLength,
                settings.attributes.count < MediumAttribute.countLimit
            else { throw OpenError.outOfRange }
            settings.attributes[key] = MediumAttribute(
                identifier: key.identifier, partition: key.partition, format: format, value: value)
        }
        return settings
    }

    private static func contents(_ database: Database, partition: UInt32) throws -> Contents? {
        guard let settings = try settings(database),
            let head = try Row.fetchOne(database, sql: "SELECT uuid, epoch FROM cartridge")
        else { return nil }
        let uuid = try bytes(head, 0)
        let epoch: UInt32 = try integer(head, 1)
        var extents: [ExtentRow] = []
        let cursor = try Row.fetchCursor(
            database,
            sql: """
                SELECT kind, block_length, stored_length, first_object, count, file_offset FROM extent
                WHERE partition = ? ORDER BY first_object
                """, arguments: [Int64(partition)])
        while let row = try cursor.next() {
            guard extents.count < Cartridge.runLimit else { throw OpenError.outOfRange }
            extents.append(try ExtentRow(row))
        }
        return Contents(uuid: uuid, epoch: epoch, extents: extents, settings: settings)
    }

    // MARK: Writing

    /// Fills a fresh index for an empty partition, durably.
    func writeEmpty(_ superblock: Superblock) throws(OpenError) {
        do {
            try database.write { database in
                try database.execute(
                    sql: "INSERT INTO cartridge (id, uuid, epoch) VALUES (1, ?, ?)",
                    arguments: [Data(superblock.identity.uuid), Int64(superblock.epoch.number)])
            }
            _ = try database.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        } catch {
            throw OpenError(error)
        }
    }
}
