import GRDB

import struct Foundation.Date

extension Catalog {
    /// How many events of initiators are kept, and how many of all others; the oldest go first.
    public static let eventLimit = 100_000

    /// The events after the one with the number `id`, at most `limit`, the oldest first; those of `kind` and `name`
    /// only where these are given. Numbers may be missing: events that are too old are gone.
    public func events(
        after id: Int64 = 0, kind: String? = nil, name: String? = nil, limit: Int
    ) throws(CatalogError) -> [EventRecord] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM event
                    WHERE id > :id AND kind = coalesce(:kind, kind) AND name = coalesce(:name, name)
                    ORDER BY id LIMIT :limit
                    """, arguments: ["id": id, "kind": kind, "name": name, "limit": limit]
            ).map(EventRecord.init(row:))
        }
    }

    /// The last `limit` events, the oldest of them first; those of `kind` and `name` only where these are given.
    public func lastEvents(
        kind: String? = nil, name: String? = nil, limit: Int
    ) throws(CatalogError) -> [EventRecord] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM event WHERE kind = coalesce(:kind, kind) AND name = coalesce(:name, name)
                    ORDER BY id DESC LIMIT :limit
                    """, arguments: ["kind": kind, "name": name, "limit": limit]
            ).map(EventRecord.init(row:)).reversed()
        }
    }

    /// Records an event that goes with no change of the catalog.
    public func record(_ event: NewEvent) throws(CatalogError) { try write(event) { _ in } }

    /// Records an event in the transaction that is under way, and tells of it when that has ended.
    func record(_ event: NewEvent, in database: Database) throws {
        let origin = event.actor.origin.rawValue
        // By numbers, not by time: a clock that is set back loses nothing.
        let last = try Int64.fetchOne(
            database, sql: "SELECT max(ordinal) FROM event WHERE origin = ?", arguments: [origin])
        let ordinal = (last ?? 0) + 1
        let (old, new) = (Self.bounded(event.old), Self.bounded(event.new))
        try database.execute(
            sql: """
                INSERT INTO event (time, origin, ordinal, actor, kind, name, verb, old, new)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                event.time, origin, ordinal, event.actor.description, event.kind, event.name, event.verb, old, new,
            ])
        let recorded = EventRecord(
            id: database.lastInsertedRowID, time: event.time, actor: event.actor.description, kind: event.kind,
            name: event.name, verb: event.verb, old: old, new: new)
        try database.execute(
            sql: "DELETE FROM event WHERE origin = ? AND ordinal <= ?",
            arguments: [origin, ordinal - Int64(Self.eventLimit)])
        guard let didRecord = hooks.didRecord else { return }
        database.afterNextTransaction { _ in didRecord([recorded]) }
    }

    private static func bounded(_ state: String?) -> String? {
        guard let state, state.utf8.count > NewEvent.maximumStateLength else { return state }
        return #"{"omittedBytes":\#(state.utf8.count)}"#
    }
}

extension EventRecord {
    init(row: Row) {
        self.init(
            id: row["id"], time: Date(row["time"]), actor: row["actor"], kind: row["kind"], name: row["name"],
            verb: row["verb"], old: row["old"], new: row["new"])
    }
}
