import GRDB

extension AccessChange {
    /// Has the target with the key `target` show `logicalUnits`, and to the groups with the keys in `groups` what is
    /// given there (the same where nil), instead of what was before.
    public func setMaps(
        _ logicalUnits: [Int: Int64], groups: [Int64: [Int: Int64]?], ofTarget target: Int64
    ) throws {
        try database.execute(sql: "DELETE FROM logicalUnitMapping WHERE target = ?", arguments: [target])
        try database.execute(sql: "DELETE FROM targetAccess WHERE target = ?", arguments: [target])
        for (number, unit) in logicalUnits {
            try database.execute(
                sql: "INSERT INTO logicalUnitMapping (target, logicalUnitNumber, logicalUnit) VALUES (?, ?, ?)",
                arguments: [target, number, unit])
        }
        for (group, units) in groups {
            try database.execute(
                sql: "INSERT INTO targetAccess (target, initiatorGroup, hasOwnMap) VALUES (?, ?, ?)",
                arguments: [target, group, units != nil])
            for (number, unit) in units ?? [:] {
                try database.execute(
                    sql: """
                        INSERT INTO groupLogicalUnitMapping (target, initiatorGroup, logicalUnitNumber, logicalUnit)
                        VALUES (?, ?, ?, ?)
                        """, arguments: [target, group, number, unit])
            }
        }
    }
}
