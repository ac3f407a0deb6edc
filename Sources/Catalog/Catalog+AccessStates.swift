public import Foundation
import GRDB

/// What is kept of the access state of a logical unit through one target port group (SPC-5 clause 5.16.2).
public struct KeptAccessState: Hashable, Sendable {
    /// The tag of the portal group.
    public var group: UInt16
    /// ASYMMETRIC ACCESS STATE; nil when what is there is none that this program knows.
    public var state: UInt8?
    /// Whether the group is a preferred one.
    public var isPreferred: Bool
    /// How long changes of the state take, in seconds.
    public var transitionTime: UInt8
    /// STATUS CODE.
    public var cause: UInt8
    /// When it was changed last. Of what is there already as it is to be, that of the first time is kept.
    public var time: Date

    public init(
        group: UInt16, state: UInt8?, isPreferred: Bool, transitionTime: UInt8, cause: UInt8, time: Date
    ) {
        self.group = group
        self.state = state
        self.isPreferred = isPreferred
        self.transitionTime = transitionTime
        self.cause = cause
        self.time = time
    }

    /// Whether they say the same, whenever they were changed.
    fileprivate func isSame(as other: Self?) -> Bool {
        var other = other
        other?.time = time
        return self == other
    }
}

extension Catalog {
    /// The states that ASYMMETRIC ACCESS STATE may have here: not the logical block dependent one, nor transitions.
    static let accessStates: Set<UInt8> = [0, 1, 2, 3, 0xE]

    /// What is kept of all units, by their keys, in the order of the groups. Asked for each unit when thousands of them
    /// start, and read once.
    public func accessStates() throws(CatalogError) -> [Int64: [KeptAccessState]] {
        try read(rememberedAccessStates) { database in
            var states: [Int64: [KeptAccessState]] = [:]
            let rows = try Row.fetchCursor(
                database, sql: "SELECT * FROM accessState ORDER BY logicalUnit, portalGroup")
            while let row = try rows.next() {
                // The tag is the key of the row, which the schema checks.
                guard let state = KeptAccessState(row) else { continue }
                states[row["logicalUnit"], default: []].append(state)
            }
            return states
        }
    }

    /// Keeps `states` of the unit with the key `id` in place of what is there, durably; only what has changed is
    /// written. Nothing happens when there is no such unit any more.
    public func keep(_ states: [KeptAccessState], ofUnit id: Int64) throws(CatalogError) {
        let groups = Set(states.map(\.group))
        try write(nil) { database in
            guard try Bool.fetchOne(database, sql: "SELECT 1 FROM logicalUnit WHERE id = ?", arguments: [id]) == true
            else { return }
            // In the transaction: what was read before may be of an earlier time.
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM accessState WHERE logicalUnit = ?", arguments: [id])
            let present = Dictionary(
                rows.compactMap { KeptAccessState($0) }.map { ($0.group, $0) }, uniquingKeysWith: { first, _ in first })
            for group in present.keys where !groups.contains(group) {
                try database.execute(
                    sql: "DELETE FROM accessState WHERE logicalUnit = ? AND portalGroup = ?",
                    arguments: [id, Int64(group)])
            }
            for state in states where !state.isSame(as: present[state.group]) {
                try database.execute(
                    sql: """
                        INSERT INTO accessState (
                            logicalUnit, portalGroup, state, isPreferred, transitionTime, statusCode, changed)
                        VALUES (?, ?, ?, ?, ?, ?, ?)
                        ON CONFLICT (logicalUnit, portalGroup) DO UPDATE SET state = excluded.state,
                            isPreferred = excluded.isPreferred, transitionTime = excluded.transitionTime,
                            statusCode = excluded.statusCode, changed = excluded.changed
                        """,
                    arguments: [
                        id, Int64(state.group), state.state.map { Int64($0) }, state.isPreferred,
                        Int64(state.transitionTime), Int64(state.cause), state.time,
                    ])
            }
        }
    }
}

extension KeptAccessState {
    fileprivate init?(_ row: Row) {
        guard let group = UInt16(exactly: row["portalGroup"] as Int64) else { return nil }
        let state = UInt8(exactly: row["state"] as Int64).flatMap { Catalog.accessStates.contains($0) ? $0 : nil }
        self.init(
            group: group, state: state, isPreferred: row["isPreferred"],
            transitionTime: UInt8(clamping: row["transitionTime"] as Int64),
            cause: UInt8(clamping: row["statusCode"] as Int64), time: Date(row["changed"] as DatabaseValue))
    }
}

extension Schema {
    /// Version 10: access states of target port groups.
    static func addAccessStates(_ database: Database) throws {
        try database.execute(
            sql: """
                -- Through a portal group without a row a unit is active/optimized and not preferred. The columns state
                -- and statusCode have SPC's numbers, transitionTime has seconds. The portal group need not be there.
                CREATE TABLE accessState (
                    logicalUnit INTEGER NOT NULL REFERENCES logicalUnit ON DELETE CASCADE,
                    portalGroup INTEGER NOT NULL CHECK (portalGroup BETWEEN 1 AND 65535),
                    state INTEGER NOT NULL CHECK (state IN (0, 1, 2, 3, 14)),
                    isPreferred INTEGER NOT NULL CHECK (isPreferred IN (0, 1)),
                    transitionTime INTEGER NOT NULL CHECK (transitionTime BETWEEN 0 AND 255),
                    statusCode INTEGER NOT NULL CHECK (statusCode IN (0, 1, 2)),
                    changed TEXT NOT NULL,
                    PRIMARY KEY (logicalUnit, portalGroup)
                ) STRICT, WITHOUT ROWID;
                """)
    }
}
