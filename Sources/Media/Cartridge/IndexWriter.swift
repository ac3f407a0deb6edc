internal import Foundation
internal import GRDB
internal import Platform

/// Brings a cartridge's index up to date behind its back, one transaction at a time.
///
/// At most one batch of extents and one set of settings wait: a cartridge that finds the writer busy hands over a
/// larger batch later, so nothing piles up however slow the host is.
final class IndexWriter: Sendable {
    /// What is known about the objects of a partition from `firstObject` on.
    struct Batch: Sendable {
        let partition: UInt32
        let epoch: UInt32
        /// Rows from this object on are replaced.
        let firstObject: UInt64
        let rows: [CartridgeIndex.ExtentRow]
        /// The object that the rows end before.
        let endObject: UInt64
        /// Whether the data must be made durable first.
        let synchronizesData: Bool
    }

    /// How the last batch ended.
    struct Report: Sendable {
        /// Rows from this object on may be missing, because their batch failed.
        var firstObjectMissing: UInt64?
        /// Objects before this are durable, since a batch of that epoch synchronised them.
        var durable: (objects: UInt64, epoch: UInt32)?
        /// Synchronising failed: what the host was told to be buffered may be lost.
        var synchronizationError: Int32?
    }

    private struct State {
        var batch: Batch?
        var settings: CartridgeSettings?
        var isRunning = false
        var report = Report()
        var settingsFailed = false
    }

    private let index: CartridgeIndex
    private let store: any ByteStore
    private let uuid: [UInt8]
    private let state = Lock(State())

    init(index: CartridgeIndex, store: any ByteStore, uuid: [UInt8]) {
        self.index = index
        self.store = store
        self.uuid = uuid
    }

    /// Whether a batch waits or is written.
    var isBusy: Bool { state.withLock { $0.isRunning } }

    /// What happened since the last call.
    func takeReport() -> Report {
        state.withLock { state in
            defer { state.report = Report() }
            return state.report
        }
    }

    /// Takes a batch over; false when another one is on its way.
    func submit(_ batch: Batch) -> Bool {
        let (isAccepted, starts) = state.withLock { state in
            guard state.batch == nil, !state.isRunning else { return (false, false) }
            state.batch = batch
            state.isRunning = true
            return (true, true)
        }
        if starts { start() }
        return isAccepted
    }

    /// Takes new settings over; they replace those that wait.
    func submit(_ settings: CartridgeSettings) {
        let starts = state.withLock { state in
            state.settings = settings
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if starts { start() }
    }

    /// Waits until all that was submitted is written or has failed. True when the settings are written.
    func drain() -> Bool {
        // The database's queue is serial, so this comes after the work that runs now; that work empties the state.
        index.database.writeWithoutTransaction { _ in }
        return state.withLock { !$0.settingsFailed }
    }

    private func start() {
        index.database.asyncWriteWithoutTransaction { self.work($0) }
    }

    private func work(_ database: Database) {
        while true {
            let next: (batch: Batch?, settings: CartridgeSettings?)? = state.withLock { state in
                guard state.batch != nil || state.settings != nil else {
                    state.isRunning = false
                    return nil
                }
                defer {
                    state.batch = nil
                    state.settings = nil
                }
                return (state.batch, state.settings)
            }
            guard let next else { return }
            write(next.batch, next.settings, database)
        }
    }

    private func write(_ batch: Batch?, _ settings: CartridgeSettings?, _ database: Database) {
        if let batch, batch.synchronizesData {
            let code = store.synchronizeData()
            state.withLock { state in
                if code == 0 {
                    state.report.durable = (batch.endObject, batch.epoch)
                } else {
                    state.report.synchronizationError = code
                    state.report.firstObjectMissing = batch.firstObject
                }
            }
            if code != 0 { return }
        }
        var isWritten = true
        do {
            try database.inTransaction {
                try database.execute(
                    sql: "INSERT INTO cartridge (id, uuid, epoch) VALUES (1, ?, 0) ON CONFLICT DO NOTHING",
                    arguments: [Data(uuid)])
                if let batch { try Self.write(batch, database) }
                if let settings { try Self.write(settings, database) }
                return .commit
            }
        } catch {
            isWritten = false
        }
        state.withLock { state in
            if let batch, !isWritten {
                state.report.firstObjectMissing = min(batch.firstObject, state.report.firstObjectMissing ?? .max)
            }
            if settings != nil { state.settingsFailed = !isWritten }
        }
    }

    private static func write(_ batch: Batch, _ database: Database) throws {
        try database.execute(sql: "UPDATE cartridge SET epoch = ?", arguments: [Int64(batch.epoch)])
        try database.execute(
            sql: "DELETE FROM extent WHERE partition = ? AND first_object >= ?",
            arguments: [Int64(batch.partition), Int64(batch.firstObject)])
        let insert = try database.cachedStatement(
            sql: """
                INSERT OR REPLACE INTO extent
                (partition, first_object, kind, count, block_length, stored_length, file_offset)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """)
        for row in batch.rows {
            try insert.execute(arguments: [
                Int64(batch.partition), Int64(row.firstObject), Int64(row.kind.rawValue), Int64(row.count),
                Int64(row.blockLength), Int64(row.storedLength), row.fileOffset,
            ])
        }
    }

    private static func write(_ settings: CartridgeSettings, _ database: Database) throws {
        try database.execute(
            sql: "UPDATE cartridge SET is_write_protected = ?, load_count = ?",
            arguments: [settings.isWriteProtected, Int64(settings.loadCount)])
        try database.execute(sql: "DELETE FROM attribute")
        for (key, attribute) in settings.attributes {
            try database.execute(
                sql: "INSERT INTO attribute (partition, identifier, format, value) VALUES (?, ?, ?, ?)",
                arguments: [
                    Int64(key.partition), Int64(key.identifier), Int64(attribute.format.rawValue),
                    Data(attribute.value),
                ])
        }
    }
}
