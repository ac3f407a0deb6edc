internal import Foundation
internal import GRDB
internal import Platform

/// Brings a cartridge's index up to date in the background, one transaction at a time.
///
/// At most one batch of extents and the newest tab and load count wait: a cartridge that finds the writer busy hands
/// over a larger batch later, so nothing piles up however slow the host is.
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

    private struct State {
        var batch: Batch?
        /// Stays until it is written.
        var header: CartridgeSettings.Header?
        var isRunning = false
        /// Rows from this object on may be missing, because their batch failed.
        var firstObjectMissing: UInt64?
        /// Why `header` could not be written.
        var headerFailure: String?
    }

    private let index: CartridgeIndex
    private let durability: PartitionDurability?
    private let uuid: [UInt8]
    private let state = Lock(State())

    /// A writer for the cartridge with that UUID; batches that synchronise need its `durability`.
    init(index: CartridgeIndex, durability: PartitionDurability?, uuid: [UInt8]) {
        self.index = index
        self.durability = durability
        self.uuid = uuid
    }

    /// Whether a batch waits or is written.
    var isBusy: Bool { state.withLock { $0.isRunning } }

    /// The first object whose rows may be missing since the last call, because they could not be written.
    func takeFirstObjectMissing() -> UInt64? {
        state.withLock { $0.firstObjectMissing.take() }
    }

    /// Takes a batch over; false when another one is on its way.
    func submit(_ batch: Batch) -> Bool {
        let isAccepted = state.withLock { state in
            guard state.batch == nil, !state.isRunning else { return false }
            state.batch = batch
            state.isRunning = true
            return true
        }
        if isAccepted { start() }
        return isAccepted
    }

    /// Takes tab and load count over; they replace those that wait.
    func submit(_ header: CartridgeSettings.Header) {
        let starts = state.withLock { state in
            state.header = header
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if starts { start() }
    }

    /// Writes attributes durably, in one transaction. Waits for the device. Gives the reason when the host could not.
    ///
    /// The transaction is the first of a write-ahead log. A log counts up to its first gap, and the host may have lost
    /// a part of the present one: commits of rows do not ask it, and of those that failed nothing is written again.
    func commit(_ changes: [AttributeChange]) -> String? {
        index.database.writeWithoutTransaction { database in
            Self.reason {
                _ = try database.checkpoint(.truncate)
                // With the index's usual setting a commit is in order, but not durable.
                try database.execute(sql: "PRAGMA synchronous = FULL")
                defer { try? database.execute(sql: "PRAGMA synchronous = NORMAL") }
                try database.inTransaction {
                    try insertRow(database)
                    for change in changes { try Self.write(change, database) }
                    return .commit
                }
            }
        }
    }

    /// Waits until all that was submitted is written or has failed, and tries once more what had failed before. Gives
    /// the reason when tab and load count could not be written.
    func drain() -> String? {
        let starts = state.withLock { state in
            guard state.header != nil, !state.isRunning else { return false }
            state.isRunning = true
            return true
        }
        if starts { start() }
        // The database's queue is serial, so this comes after the work that runs now; that work empties the state.
        index.database.writeWithoutTransaction { _ in }
        return state.withLock { $0.headerFailure }
    }

    /// Makes all that is written durable, and empties the write-ahead log. Waits for the device. Gives the reason when
    /// the host could not.
    func synchronize() -> String? {
        index.database.writeWithoutTransaction { database in
            Self.reason { _ = try database.checkpoint(.truncate) }
        }
    }

    private func start() {
        index.database.asyncWriteWithoutTransaction { self.work($0) }
    }

    private func work(_ database: Database) {
        var hasFailed = false
        while true {
            let next: (batch: Batch?, header: CartridgeSettings.Header?)? = state.withLock { state in
                guard state.batch != nil || (state.header != nil && !hasFailed) else {
                    state.isRunning = false
                    return nil
                }
                return (state.batch.take(), state.header)
            }
            guard let next else { return }
            let isWritten = write(next.batch, next.header, database)
            hasFailed = !isWritten
        }
    }

    /// Data that cannot be made durable keep their rows out of the index, but not the tab and the load count.
    private func write(_ batch: Batch?, _ header: CartridgeSettings.Header?, _ database: Database) -> Bool {
        var batch = batch
        if let lost = batch, lost.synchronizesData,
            durability?.synchronize(objects: lost.endObject, epoch: lost.epoch) != nil
        {
            noteMissing(lost)
            batch = nil
        }
        let reason = Self.reason {
            try database.inTransaction {
                try insertRow(database)
                if let batch { try Self.write(batch, database) }
                if let header { try Self.write(header, database) }
                return .commit
            }
        }
        if let batch, reason != nil { noteMissing(batch) }
        guard let header else { return reason == nil }
        state.withLock { state in
            state.headerFailure = reason
            if reason == nil, state.header == header { state.header = nil }
        }
        return reason == nil
    }

    private func noteMissing(_ batch: Batch) {
        state.withLock { state in
            state.firstObjectMissing = min(batch.firstObject, state.firstObjectMissing ?? .max)
        }
    }

    private static func reason(_ work: () throws -> Void) -> String? {
        do {
            try work()
            return nil
        } catch {
            return "\(error)"
        }
    }

    private func insertRow(_ database: Database) throws {
        try database.execute(
            sql: "INSERT INTO cartridge (id, uuid, epoch) VALUES (1, ?, 0) ON CONFLICT DO NOTHING",
            arguments: [Data(uuid)])
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

    private static func write(_ header: CartridgeSettings.Header, _ database: Database) throws {
        try database.execute(
            sql: "UPDATE cartridge SET is_write_protected = ?, load_count = ?",
            arguments: [header.isWriteProtected, Int64(clamping: header.loadCount)])
    }

    private static func write(_ change: AttributeChange, _ database: Database) throws {
        let (partition, identifier) = (Int64(change.key.partition), Int64(change.key.identifier))
        guard let attribute = change.attribute else {
            try database.execute(
                sql: "DELETE FROM attribute WHERE partition = ? AND identifier = ?",
                arguments: [partition, identifier])
            return
        }
        try database.execute(
            sql: "INSERT OR REPLACE INTO attribute (partition, identifier, format, value) VALUES (?, ?, ?, ?)",
            arguments: [partition, identifier, Int64(attribute.format.rawValue), Data(attribute.value)])
    }
}
