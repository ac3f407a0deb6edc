import GRDB

/// How far a disk, a library or a cartridge is on its way into the catalog or out of it.
///
/// The row states the intent before files are made or removed. What a crash leaves in another phase than `complete`
/// never was, or has been deleted: its files are removed, then its row.
///
/// All names have the same length, so that a row never grows when its phase changes: a deletion has to begin on a full
/// file system too.
public enum RecordPhase: String, Hashable, Sendable {
    /// Its files are being made.
    case creating
    /// It is there.
    case complete
    /// Its files are being removed.
    case deleting

    /// The phase in a row of one of those tables, which hold no other word.
    init(row: Row) {
        self = (row["phase"] as String?).flatMap(RecordPhase.init(rawValue:)) ?? .complete
    }
}

extension Schema {
    /// Version 4: phases of disks, libraries and cartridges; whether the operator put a cartridge into its mail slot.
    static func addPhases(_ database: Database) throws {
        for table in ["disk", "library", "cartridge"] {
            try database.execute(
                sql: """
                    ALTER TABLE \(table) ADD COLUMN phase TEXT NOT NULL DEFAULT 'complete'
                        CHECK (phase IN ('creating', 'complete', 'deleting'));
                    -- Written into each row, for a default value takes no room there.
                    UPDATE \(table) SET phase = 'complete';
                    """)
        }
        try database.execute(
            sql: """
                ALTER TABLE cartridge ADD COLUMN isImported INTEGER NOT NULL DEFAULT 0 CHECK (isImported IN (0, 1));
                UPDATE cartridge SET isImported = 0;
                """)
    }
}

extension Catalog {
    /// Says how far the disk or library with the key `device` is, and records `event` with it.
    public func setPhase(
        _ phase: RecordPhase, ofDevice device: Int64, event: NewEvent? = nil
    ) throws(CatalogError) {
        let transaction: (Database) throws -> Void = { database in
            var changes = 0
            let rows = [
                "library SET phase = ? WHERE id = ?",
                "resource SET phase = ? WHERE id = (SELECT resource FROM diskImage WHERE id = ?)",
            ]
            for row in rows {
                try database.execute(sql: "UPDATE \(row)", arguments: [phase.rawValue, device])
                changes += database.changesCount
            }
            guard changes == 1 else { throw CatalogError.conflict("there is no such disk or library") }
        }
        if phase == .deleting { try remove(event, transaction) } else { try write(event, transaction) }
    }

    /// Says how far the cartridge with the key `cartridge` is, if it is in phase `present` (any when nil); false when
    /// it is not, or has gone. Records `event` with it.
    public func setPhase(
        _ phase: RecordPhase, ofCartridge cartridge: Int64, in present: RecordPhase?, event: NewEvent? = nil
    ) throws(CatalogError) -> Bool {
        let transaction: (Database) throws -> Bool = { database in
            try database.execute(
                sql: "UPDATE cartridge SET phase = :phase WHERE id = :id AND phase = coalesce(:present, phase)",
                arguments: ["phase": phase.rawValue, "id": cartridge, "present": present?.rawValue])
            return database.changesCount == 1
        }
        return phase == .deleting ? try remove(event, transaction) : try write(event, transaction)
    }

    /// Takes the cartridge with the key `cartridge`, which is not complete, out of its element: nothing else may happen
    /// to it than its removal.
    public func withdrawCartridge(_ cartridge: Int64) throws(CatalogError) {
        try remove { database in
            try database.execute(
                sql: """
                    UPDATE cartridge SET phase = 'deleting', elementKind = NULL, elementNumber = NULL
                    WHERE id = ? AND phase <> 'complete'
                    """, arguments: [cartridge])
        }
    }
}
