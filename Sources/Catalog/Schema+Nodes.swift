import GRDB

extension Schema {
    /// Version 14: several disks in one image, each a node of it. SQLite changes no constraint of a table, so
    /// `diskImage` is made again, and what refers to it.
    static func addNodes(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE formerEjection AS SELECT id FROM ejectedDisk;
                DROP TABLE ejectedDisk;

                -- The image of a disk, and the name of the node in it that the disk shows: its own for a head,
                -- DISK@NAME for a snapshot, nothing where an image is one disk.
                CREATE TABLE imageNode (
                    id INTEGER PRIMARY KEY REFERENCES logicalUnit ON DELETE CASCADE,
                    resource INTEGER NOT NULL UNIQUE REFERENCES resource ON DELETE CASCADE,
                    image TEXT NOT NULL,
                    node TEXT NOT NULL,
                    imageIsExternal INTEGER NOT NULL CHECK (imageIsExternal IN (0, 1)),
                    UNIQUE (image, node)
                ) STRICT;
                INSERT INTO imageNode (id, resource, image, node, imageIsExternal)
                    SELECT id, resource, image, '', imageIsExternal FROM diskImage;
                DROP TABLE diskImage;
                ALTER TABLE imageNode RENAME TO diskImage;

                CREATE TABLE ejectedDisk (
                    id INTEGER PRIMARY KEY REFERENCES diskImage ON DELETE CASCADE
                ) STRICT;
                INSERT INTO ejectedDisk (id) SELECT id FROM formerEjection;
                DROP TABLE formerEjection;
                """)
        // Its triggers have gone with it; the number is right.
        try countRows(of: "diskImage", database)
    }
}
