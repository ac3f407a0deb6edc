import Foundation
import GRDB

/// A parameter that a logical unit keeps: what an initiator has set (SPC-5), and is there again after a restart.
public struct UnitParameterRecord: Hashable, Sendable {
    /// What it is, in the device's words.
    public var kind: String
    /// Which of its kind.
    public var number: UInt16
    /// What it is set to; empty when it is kept no longer.
    public var value: [UInt8]

    public init(kind: String, number: UInt16, value: [UInt8]) {
        self.kind = kind
        self.number = number
        self.value = value
    }
}

extension Catalog {
    /// What a unit keeps, asked for each unit when thousands of them start, of which few have anything. A row that this
    /// program never writes is left out.
    public func parameters(ofUnit id: Int64) throws(CatalogError) -> [UnitParameterRecord] {
        let units = try read(rememberedParameterUnits) { database in
            try Set(Int64.fetchCursor(database, sql: "SELECT DISTINCT logicalUnit FROM unitParameter"))
        }
        guard units.contains(id) else { return [] }
        return try read { database in
            let rows = try Row.fetchAll(
                database,
                sql: "SELECT kind, number, value FROM unitParameter WHERE logicalUnit = ? ORDER BY kind, number",
                arguments: [id])
            return rows.compactMap { row in
                guard let number = UInt16(exactly: row["number"] as Int64) else { return nil }
                return UnitParameterRecord(kind: row["kind"], number: number, value: Array(row["value"] as Data))
            }
        }
    }

    /// Keeps `records` of the unit with the key `id`, durably and all or none of them; others stay as they are. Nothing
    /// happens when there is no such unit any more.
    public func keep(_ records: [UnitParameterRecord], ofUnit id: Int64) throws(CatalogError) {
        func change(_ database: Database) throws {
            guard try Bool.fetchOne(database, sql: "SELECT 1 FROM logicalUnit WHERE id = ?", arguments: [id]) == true
            else { return }
            for record in records {
                if record.value.isEmpty {
                    try database.execute(
                        sql: "DELETE FROM unitParameter WHERE logicalUnit = ? AND kind = ? AND number = ?",
                        arguments: [id, record.kind, Int64(record.number)])
                } else {
                    try database.execute(
                        sql: """
                            INSERT INTO unitParameter (logicalUnit, kind, number, value) VALUES (?, ?, ?, ?)
                            ON CONFLICT (logicalUnit, kind, number) DO UPDATE SET value = excluded.value
                            """,
                        arguments: [id, record.kind, Int64(record.number), Data(record.value)])
                }
            }
        }
        // The reserve of a full file system is not for initiators to fill.
        if records.allSatisfy(\.value.isEmpty) {
            try remove(nil, change)
        } else {
            try write(nil, change)
        }
    }
}

extension Schema {
    /// Version 11: what initiators set and logical units keep.
    static func addParameters(_ database: Database) throws {
        try database.execute(
            sql: """
                -- What kind and number mean is the device's affair: saved mode pages, identifying information, logs.
                CREATE TABLE unitParameter (
                    logicalUnit INTEGER NOT NULL REFERENCES logicalUnit ON DELETE CASCADE,
                    kind TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 32),
                    number INTEGER NOT NULL CHECK (number BETWEEN 0 AND 65535),
                    value BLOB NOT NULL CHECK (length(value) BETWEEN 1 AND 65536),
                    PRIMARY KEY (logicalUnit, kind, number)
                ) STRICT, WITHOUT ROWID;
                """)
    }
}
