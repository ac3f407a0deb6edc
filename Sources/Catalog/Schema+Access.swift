import GRDB

extension Schema {
    /// Version 2: portal groups, targets that are made for themselves, initiator groups with their logical units,
    /// redirection.
    static func addAccess(_ database: Database) throws {
        try database.execute(
            sql: """
                ALTER TABLE portal ADD COLUMN portalGroupTag INTEGER NOT NULL DEFAULT 1
                    CHECK (portalGroupTag BETWEEN 1 AND 65535);

                -- The logical unit that the target was made for and goes with; null for one that was made for itself.
                ALTER TABLE target ADD COLUMN device INTEGER REFERENCES logicalUnit ON DELETE CASCADE;
                UPDATE target SET device = (
                    SELECT logicalUnit FROM logicalUnitMapping
                    WHERE logicalUnitMapping.target = target.id AND logicalUnitNumber = 0);
                CREATE INDEX targetOnDevice ON target (device);
                -- Where logins are sent instead, as address:port.
                ALTER TABLE target ADD COLUMN redirection TEXT;
                ALTER TABLE target ADD COLUMN redirectionIsPermanent INTEGER NOT NULL DEFAULT 0
                    CHECK (redirectionIsPermanent IN (0, 1));

                -- A target without rows here is offered by all portal groups.
                CREATE TABLE targetPortalGroup (
                    target INTEGER NOT NULL REFERENCES target ON DELETE CASCADE,
                    portalGroupTag INTEGER NOT NULL CHECK (portalGroupTag BETWEEN 1 AND 65535),
                    PRIMARY KEY (target, portalGroupTag)
                ) STRICT, WITHOUT ROWID;

                CREATE TABLE initiatorGroup (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    name TEXT NOT NULL UNIQUE,
                    rank INTEGER NOT NULL,
                    created TEXT NOT NULL
                ) STRICT;

                CREATE TABLE initiatorGroupMember (
                    initiatorGroup INTEGER NOT NULL REFERENCES initiatorGroup ON DELETE CASCADE,
                    kind TEXT NOT NULL CHECK (kind IN ('name', 'address')),
                    pattern TEXT NOT NULL CHECK (length(pattern) > 0),
                    PRIMARY KEY (initiatorGroup, kind, pattern)
                ) STRICT, WITHOUT ROWID;

                -- A target without rows here is open to everyone. A group is not deleted while a target counts on
                -- it, for the target could be open then.
                CREATE TABLE targetAccess (
                    target INTEGER NOT NULL REFERENCES target ON DELETE CASCADE,
                    initiatorGroup INTEGER NOT NULL REFERENCES initiatorGroup ON DELETE RESTRICT,
                    hasOwnMap INTEGER NOT NULL CHECK (hasOwnMap IN (0, 1)),
                    PRIMARY KEY (target, initiatorGroup)
                ) STRICT, WITHOUT ROWID;
                CREATE INDEX targetAccessOnInitiatorGroup ON targetAccess (initiatorGroup);

                CREATE TABLE groupLogicalUnitMapping (
                    target INTEGER NOT NULL,
                    initiatorGroup INTEGER NOT NULL,
                    logicalUnitNumber INTEGER NOT NULL CHECK (logicalUnitNumber BETWEEN 0 AND 16383),
                    logicalUnit INTEGER NOT NULL REFERENCES logicalUnit ON DELETE CASCADE,
                    PRIMARY KEY (target, initiatorGroup, logicalUnitNumber),
                    UNIQUE (target, initiatorGroup, logicalUnit),
                    FOREIGN KEY (target, initiatorGroup) REFERENCES targetAccess (target, initiatorGroup)
                        ON DELETE CASCADE
                ) STRICT, WITHOUT ROWID;
                CREATE INDEX groupLogicalUnitMappingOnLogicalUnit ON groupLogicalUnitMapping (logicalUnit);
                """)
    }
}
