import GRDB

extension Schema {
    /// Version 13: logical unit numbers up to 65535. SQLite changes no check of a table, so both are made again.
    static func addNumbers(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE widerMapping (
                    target INTEGER NOT NULL REFERENCES target ON DELETE CASCADE,
                    logicalUnitNumber INTEGER NOT NULL CHECK (logicalUnitNumber BETWEEN 0 AND 65535),
                    logicalUnit INTEGER NOT NULL REFERENCES logicalUnit ON DELETE CASCADE,
                    PRIMARY KEY (target, logicalUnitNumber),
                    UNIQUE (target, logicalUnit)
                ) STRICT, WITHOUT ROWID;
                INSERT INTO widerMapping (target, logicalUnitNumber, logicalUnit)
                    SELECT target, logicalUnitNumber, logicalUnit FROM logicalUnitMapping;
                DROP TABLE logicalUnitMapping;
                ALTER TABLE widerMapping RENAME TO logicalUnitMapping;
                CREATE INDEX logicalUnitMappingOnLogicalUnit ON logicalUnitMapping (logicalUnit);

                CREATE TABLE widerGroupMapping (
                    target INTEGER NOT NULL,
                    initiatorGroup INTEGER NOT NULL,
                    logicalUnitNumber INTEGER NOT NULL CHECK (logicalUnitNumber BETWEEN 0 AND 65535),
                    logicalUnit INTEGER NOT NULL REFERENCES logicalUnit ON DELETE CASCADE,
                    PRIMARY KEY (target, initiatorGroup, logicalUnitNumber),
                    UNIQUE (target, initiatorGroup, logicalUnit),
                    FOREIGN KEY (target, initiatorGroup) REFERENCES targetAccess (target, initiatorGroup)
                        ON DELETE CASCADE
                ) STRICT, WITHOUT ROWID;
                INSERT INTO widerGroupMapping (target, initiatorGroup, logicalUnitNumber, logicalUnit)
                    SELECT target, initiatorGroup, logicalUnitNumber, logicalUnit FROM groupLogicalUnitMapping;
                DROP TABLE groupLogicalUnitMapping;
                ALTER TABLE widerGroupMapping RENAME TO groupLogicalUnitMapping;
                CREATE INDEX groupLogicalUnitMappingOnLogicalUnit ON groupLogicalUnitMapping (logicalUnit);
                """)
        // Their triggers have gone with them.
        for table in ["logicalUnitMapping", "groupLogicalUnitMapping"] {
            try addGeneration(of: "target", byPartsIn: table, database)
        }
    }
}
