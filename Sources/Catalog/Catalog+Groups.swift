import GRDB

public import struct Foundation.Date

extension Catalog {
    /// The initiator groups, by rank.
    public func initiatorGroups() throws(CatalogError) -> [InitiatorGroupRecord] {
        try read { database in
            try Self.groups(
                try Row.fetchAll(database, sql: "SELECT * FROM initiatorGroup ORDER BY rank, id"),
                members: try Row.fetchAll(database, sql: "SELECT * FROM initiatorGroupMember ORDER BY pattern"))
        }
    }

    /// The group `name`, if there is one. The cost grows with what that group has only.
    public func initiatorGroup(named name: String) throws(CatalogError) -> InitiatorGroupRecord? {
        try read { database in
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM initiatorGroup WHERE name = ?", arguments: [name])
            guard let id: Int64 = rows.first?["id"] else { return nil }
            let members = try Row.fetchAll(
                database, sql: "SELECT * FROM initiatorGroupMember WHERE initiatorGroup = ? ORDER BY pattern",
                arguments: [id])
            return try Self.groups(rows, members: members).first
        }
    }

    private static func groups(_ rows: [Row], members: [Row]) throws -> [InitiatorGroupRecord] {
        var names: [Int64: [String]] = [:]
        var addresses: [Int64: [String]] = [:]
        for row in members {
            let isName = row["kind"] == "name"
            if isName {
                names[row["initiatorGroup"], default: []].append(row["pattern"])
            } else {
                addresses[row["initiatorGroup"], default: []].append(row["pattern"])
            }
        }
        return rows.map { row in
            InitiatorGroupRecord(
                id: row["id"], name: row["name"], rank: row["rank"], namePatterns: names[row["id"]] ?? [],
                addressRanges: addresses[row["id"]] ?? [],
                requiresAuthentication: row["requiresAuthentication"], created: Date(row["created"]),
                generation: StoredGeneration.of(row))
        }
    }
}

extension AccessChange {
    /// Adds the group `name` with its members.
    public func addInitiatorGroup(
        name: String, rank: Int, namePatterns: [String], addressRanges: [String], created: Date
    ) throws {
        try database.execute(
            sql: "INSERT INTO initiatorGroup (name, rank, created) VALUES (?, ?, ?)",
            arguments: [name, rank, created])
        try insertMembers(namePatterns, addressRanges, of: database.lastInsertedRowID)
    }

    /// Replaces rank and members of the group with the key `group`.
    public func setInitiatorGroup(
        _ group: Int64, rank: Int, namePatterns: [String], addressRanges: [String]
    ) throws {
        try database.execute(sql: "UPDATE initiatorGroup SET rank = ? WHERE id = ?", arguments: [rank, group])
        guard database.changesCount == 1 else { throw CatalogError.conflict("there is no such group") }
        try database.execute(sql: "DELETE FROM initiatorGroupMember WHERE initiatorGroup = ?", arguments: [group])
        try insertMembers(namePatterns, addressRanges, of: group)
    }

    /// Removes the group with the key `group`, which no target may count on.
    public func removeInitiatorGroup(_ group: Int64) throws {
        try database.execute(sql: "DELETE FROM initiatorGroup WHERE id = ?", arguments: [group])
        guard database.changesCount == 1 else { throw CatalogError.conflict("there is no such group") }
    }

    private func insertMembers(
        _ namePatterns: [String], _ addressRanges: [String], of group: Int64
    ) throws {
        for (kind, patterns) in [("name", namePatterns), ("address", addressRanges)] {
            for pattern in patterns {
                try database.execute(
                    sql: "INSERT INTO initiatorGroupMember (initiatorGroup, kind, pattern) VALUES (?, ?, ?)",
                    arguments: [group, kind, pattern])
            }
        }
    }
}
