import GRDB

extension Schema {
    /// Version 6: events; moves belong to a library, not to a name.
    static func addEvents(_ database: Database) throws {
        try database.execute(
            sql: """
                -- What was changed, or refused, by whom. It outlives what it tells of, so it holds names. The ordinal
                -- counts the events of each origin, which are bounded separately.
                CREATE TABLE event (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    time TEXT NOT NULL,
                    origin TEXT NOT NULL CHECK (origin IN ('control', 'initiator')),
                    ordinal INTEGER NOT NULL,
                    actor TEXT NOT NULL,
                    kind TEXT NOT NULL,
                    name TEXT NOT NULL,
                    verb TEXT NOT NULL,
                    old TEXT,
                    new TEXT,
                    UNIQUE (origin, ordinal)
                ) STRICT;

                -- The library's key, which no later library gets; its name another one may have. Moves of a library
                -- that has gone have none.
                ALTER TABLE move ADD COLUMN libraryKey INTEGER;
                UPDATE move SET libraryKey = (
                    SELECT id FROM library WHERE library.name = move.library AND library.created <= move.time);
                DROP INDEX moveOnLibrary;
                CREATE INDEX moveOnLibraryKey ON move (libraryKey, id);
                """)
    }
}
